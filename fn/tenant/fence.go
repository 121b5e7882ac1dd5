package tenant

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// This file has the one way out of service and back. A route that is withdrawn stops
// nobody: Odoo runs the scheduled actions of every database that its role owns, and
// who is connected stays connected. So the database is given to the provisioning role,
// which has Odoo's workers let go of it, and effect fence shuts out who is left. Only
// behind the fence is a backup the last one. The way back is the reverse, and the
// route comes last.
//
// The status says from before the fence is begun until it is down that there is one:
// whatever happens in between, the function knows what there is to undo.

// conditionFenced tells whether the fence stands.
const conditionFenced = "Fenced"

// Steps with which the fence is begun. The status says so before they do anything.
const (
	stepDisown        = "disown"
	stepSuspendDisown = "suspend-disown"
)

// The unfencing: how a tenant comes back into service.
var unfencing = []plan.Step[*tenant]{
	{Name: "unfence-quiesce", Take: quiesce, Does: "sees that no Job of a suspension or a teardown works on the tenant any more"},
	{Name: "unfence", Key: effectUnfence, Composes: "Job", Take: stage(unfence), Does: "lets everybody connect to the database again"},
	{Name: "give-back", Take: giveBack, Does: "gives the database back to Odoo's role, open to connections. Then the route comes back"},
}

// fenced tells whether the status says that there is a fence, or the beginning or the
// rest of one.
func (t *tenant) fenced() bool { return t.xr.Status.Fence != nil }

// fencedFor tells whether the status says that the fence of a run has been begun.
func (t *tenant) fencedFor(run string) bool {
	return t.fenced() && t.xr.Status.Fence.Run == run
}

// fenceStatus is what the status is to remember of the fence: the one that there is,
// or one that is about to be begun for a run.
func (t *tenant) fenceStatus(run string, begins bool) *v1alpha1.FenceStatus {
	if begins && !t.fencedFor(run) {
		return &v1alpha1.FenceStatus{Run: run}
	}
	return t.xr.Status.Fence
}

// unfenceRun is the run of effect unfence: it undoes one fence.
func (t *tenant) unfenceRun() string {
	if f := t.xr.Status.Fence; f != nil {
		return f.Run
	}
	return ""
}

// outOfService tells whether visitors are kept out: because the tenant is suspended,
// or because it is on its way back.
func (t *tenant) outOfService() bool { return t.suspending() || t.fenced() }

// databaseOwner is the role that the database is to belong to, if it is for the
// function to say: until it is prepared it stays whose it is.
func (t *tenant) databaseOwner() (role string, known bool) {
	switch {
	case t.fenced() && t.ownsDatabase() && !t.DoneRun(effectUnfence, t.unfenceRun()):
		return t.platform.Postgres.ProvisioningRole, true
	case t.Done(effectTenantPrepare):
		return t.releaseRole(), true
	default:
		return "", false
	}
}

// databaseClosed tells whether the tenant's database may refuse connections. One that
// is closed is opened only behind a fence.
func (t *tenant) databaseClosed() bool {
	db := t.observed.database
	closed := db != nil && !ptr.Deref(db.Spec.ForProvider.AllowConnections, true)
	switch {
	case t.leaving() && needsFence(t) && !t.DoneRun(effectFence, t.teardownRun()):
		return closed
	case t.leaving():
		return !needsFinalBackup(t) || t.DoneRun(effectFinalBackup, t.runOfStage(effectFinalBackup))
	case t.suspending() && !t.DoneRun(effectSuspendFence, t.suspensionRun()):
		return closed
	case t.suspending():
		return t.DoneRun(effectSuspendBackup, t.runOfStage(effectSuspendBackup))
	case t.fenced() && !t.DoneRun(effectUnfence, t.unfenceRun()):
		return closed
	default:
		return false
	}
}

// fencedRun is the run of an effect that counts only if it is done behind the fence of
// a run. A version without a fence has done it under the name of the run alone.
func fencedRun(run string) string {
	if run == "" {
		return ""
	}
	return run + "/fenced"
}

// runOfStage is the run of an effect of the sequence that is followed.
func (t *tenant) runOfStage(key string) string {
	switch key {
	case effectUnfence:
		return t.unfenceRun()
	case effectFinalBackup, effectConnectionsDrain:
		return fencedRun(t.teardownRun())
	case effectSuspendBackup, effectSuspendDrain:
		// A version without a fence has suspended it: it is closed, and all that was
		// ever written is in it.
		if run := t.suspensionRun(); t.DoneRun(effectSuspendDrain, run) {
			return run
		}
		return fencedRun(t.suspensionRun())
	default:
		return t.stageRun()
	}
}

// needsFence tells whether there is a database that may hold somebody's data, and
// that is to be dropped.
func needsFence(t *tenant) bool {
	return observesOwnDatabase(t) && holdsData(t)
}

// quiesce waits until no Job works in the database that isn't part of what is to be
// done. None of them begins any more; those that have begun end by themselves, or are
// being taken away.
func quiesce(t *tenant) plan.Result {
	return plan.Say(t.quiet()).With(t.toSeeJobs())
}

// quiet tells whether a Job works in the database that isn't part of what is to be done.
func (t *tenant) quiet() plan.Outcome {
	ours := suspensionEffects
	if !t.suspending() {
		ours = []string{effectUnfence}
	}
	for _, job := range t.observed.anyJobs {
		key := job.GetAnnotations()[annotationResourceName]
		_, completed := plan.CompletedAt(&job)
		if completed || plan.JobCondition(&job, batchv1.JobFailed) != nil || slices.Contains(ours, key) || !slices.Contains(databaseEffects, key) {
			continue
		}
		return plan.Progressing(reasonFencing, "Job %s/%s still works in database %s", job.GetNamespace(), job.GetName(), t.database)
	}
	if !t.observed.anyJobsKnown {
		return plan.Progressing(reasonFencing, "it isn't known yet whether a Job works in database %s", t.database)
	}
	return plan.Complete(reasonCompleted, "no Job works in database %s", t.database)
}

// disown waits until the database is the provisioning role's. That the fence has
// begun is on record before.
func disown(t *tenant) plan.Result {
	if !t.fencedFor(t.stageRun()) {
		return plan.Say(plan.Progressing(reasonFencing, "database %s is about to be taken out of service", t.database)).With(plan.Again(plan.Soon))
	}
	if t.observed.database == nil {
		return plan.Say(plan.Pending(reasonWaiting, "waits for database %s: see condition DatabaseReady", t.database))
	}
	stands := effectSuspendFence
	if t.leaving() {
		stands = effectFence
	}
	role := t.platform.Postgres.ProvisioningRole
	if db := t.observed.database; ownerOf(db) != role || !synced(db) && !t.DoneRun(stands, t.stageRun()) {
		return plan.Say(t.changing(db, reasonFencing, "given to role "+role+", so that Odoo doesn't run anything in it"))
	}
	return plan.Say(plan.Complete(reasonCompleted, "database %s belongs to role %s", t.database, role))
}

// giveBack waits until the database is Odoo's role's again, and open.
func giveBack(t *tenant) plan.Result {
	db := t.observed.database
	owner, known := t.databaseOwner()
	switch {
	case !t.ownsDatabase():
		return plan.Say(plan.Pending(reasonWaiting, "waits for database %s: see condition DatabaseReady", t.database))
	case known && ownerOf(db) != owner, !ptr.Deref(db.Spec.ForProvider.AllowConnections, true), !synced(db):
		return plan.Say(t.changing(db, reasonUnfencing, "given back to role "+owner))
	case !t.RecordedRun(effectUnfence, t.unfenceRun()):
		return plan.Desire(t.preserved(effectUnfence), plan.Progressing(reasonUnfencing, "database %s is about to be served again", t.database)).
			With(plan.Again(plan.Soon))
	}
	return plan.Say(plan.Complete(reasonCompleted, "database %s is back in service", t.database))
}

// ownerOf a database as its object asks for it, or as it was read.
func ownerOf(db *sqlv1alpha1.Database) string {
	if db == nil {
		return ""
	}
	return ptr.Deref(db.Spec.ForProvider.Owner, "")
}

// suspendFence raises the fence of a suspension.
func suspendFence(t *tenant) jobSpec { return t.fenceJob(effectSuspendFence, effectFence) }

// fence raises the fence of a teardown.
func fence(t *tenant) jobSpec { return t.fenceJob(effectFence, effectFence) }

// unfence takes the fence down.
func unfence(t *tenant) jobSpec { return t.fenceJob(effectUnfence, effectUnfence) }

// fenceJob works on the database from outside, as the provisioning role.
func (t *tenant) fenceJob(key, program string) jobSpec {
	who := []corev1.EnvVar{plainEnv("BACKUP_ROLE", t.platform.Postgres.BackupRole)}
	return jobSpec{
		key:       key,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container(program, t.postgresEnv(t.platform.Postgres.CredentialsSecret), who))
		},
	}
}

// backInService takes down the fence of a tenant that is to be in service, and says
// how the fence stands.
func backInService(t *tenant, p *progress) {
	switch {
	case t.xr.Spec.Suspended && p.fence != nil:
		// A suspension needs it, or is about to. What has begun to take it down ends
		// before it is raised anew.
		if job := t.Jobs[effectUnfence]; job != nil && t.fencedFor(plan.RunOf(job)) {
			p.Compose(effectUnfence, t.preserved(effectUnfence), false)
		}
		t.sayFenced(p, effectSuspendFence, t.suspensionRun())
		return
	case p.fence == nil:
		// Only a tenant that ever had a fence has something to say of it.
		if t.knows(conditionFenced) {
			p.Say(conditionFenced, plan.Pending(reasonInService, "the tenant is in service"))
		}
		return
	}

	current, o := plan.Follow(t, p.Progress, unfencing)
	if current != nil {
		o.Message = "the tenant is on its way back into service, and all that it has is still there: " + o.Message
		if o.OK() {
			o.State = plan.StateProgressing
		}
		p.Say(conditionFenced, o)
		return
	}
	// The Job that has done it stays until the status is known to say so.
	p.Compose(effectUnfence, t.preserved(effectUnfence), true)
	p.fence = nil
	p.Need(plan.Again(plan.Soon))
	p.Say(conditionFenced, plan.Progressing(reasonUnfencing, "the fence is down, and the route comes back"))
}

// sayFenced tells how a fence stands that isn't to be taken down.
func (t *tenant) sayFenced(p *progress, effect, run string) {
	if t.DoneRun(effect, run) {
		p.Say(conditionFenced, plan.Complete(reasonFenced, "nobody can write to database %s, and all that it has is still there", t.database))
		return
	}
	p.Say(conditionFenced, plan.Progressing(reasonFencing, "database %s is being taken out of service", t.database))
}

// changing tells how a database stands that provider-sql has been told to change.
// Whatever it complains of, it is somebody's turn to look: it tries again, but
// nothing else here would ever say why a tenant doesn't go.
func (t *tenant) changing(db *sqlv1alpha1.Database, reason, how string) plan.Outcome {
	if db.Status.GetCondition(xpv1.TypeSynced).Status != corev1.ConditionFalse {
		return plan.Progressing(reason, "database %s is being %s", t.database, how)
	}
	at := map[string]string{"name": t.xr.GetName(), "home": t.platform.Postgres.Namespace, "secret": t.platform.Postgres.CredentialsSecret}
	return troubleProviderFails.Outcome(at, "database %s is being %s: %s", t.database, how, whyUnsynced(db))
}
