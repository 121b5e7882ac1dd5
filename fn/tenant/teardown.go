package tenant

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// annotationDeletionAttempt is what Crossplane puts on a resource whose deletion
// a usage has refused. Its value is the propagation policy.
const annotationDeletionAttempt = "usage.crossplane.io/deletion-attempt-with-policy"

// conditionDeprovisioned tells how far a teardown has come.
const conditionDeprovisioned = "Deprovisioned"

// Steps of a teardown that mean more than their place in it.
const (
	stepGrace    = "grace"
	stepWithdraw = "withdraw"
	stepDrop     = "drop"
	stepGone     = "gone"
)

// The teardown: the plan in reverse, strictly one step after the other. Nothing
// is taken away before the step in front of it is done, and nothing that can't
// be undone is begun before the status says so.
var teardown = []plan.Step[*tenant]{
	// Whoever deleted the wrong tenant notices within minutes.
	{Name: stepGrace, Take: grace, Does: "waits out the time in which the delete can be cancelled"},

	// From here on nobody uses the tenant, and nothing works on it: a Job that
	// still installs modules would write behind the backup's back.
	{Name: stepWithdraw, Take: withdraw, Does: "takes the route, the nightly backup and every Job away, and sees them gone"},

	// A route stops neither Odoo's scheduled actions nor who is connected. Nothing is
	// written behind the fence, so what comes after it is the last backup.
	{
		Name: stepDisown, Take: disown, Does: "gives the database to the provisioning role, so that Odoo runs nothing in it",
		Applies: needsFence, Otherwise: noData,
	},
	{
		Name: "fence", Key: effectFence, Composes: "Job", Take: stage(fence), Does: "ends all sessions, lets only the backup connect, and sees that it is so",
		Applies: needsFence, Otherwise: noData,
	},

	// A suspended tenant's database is closed. Behind the fence, nobody but the backup
	// notices that it is opened.
	{
		Name: "open", Take: openDatabase, Does: "opens a database that a suspension has closed",
		Applies: needsOpenDatabase, Otherwise: "there is no last backup to make",
	},
	{
		Name: "final-backup", Key: effectFinalBackup, Composes: "Job", Take: stage(finalBackup), Does: "makes a last backup, and reads it back",
		Applies: needsFinalBackup, Otherwise: "nobody's data is in it yet, or somebody has waived the backup",
	},

	// A dump needs a connection, so closing comes after it. And DROP DATABASE
	// fails while anybody is connected, so it comes after both of these.
	{
		Name: "close", Take: closeDatabase, Does: "closes the database to connections",
		Applies: observesOwnDatabase, Otherwise: noOwnDatabase,
	},
	{
		Name: "drain", Key: effectConnectionsDrain, Composes: "Job", Take: stage(connectionsDrain), Does: "ends the sessions that are left",
		Applies: observesOwnDatabase, Otherwise: noOwnDatabase,
	},

	// A database that isn't ours only loses the object that looks at it.
	{
		Name: "release", Take: releaseDatabase, Does: "has provider-sql leave a database alone that isn't proven to be the tenant's",
		Applies: observesForeignDatabase, Otherwise: "the database is the tenant's own, or there is none",
	},

	{Name: stepDrop, Take: dropDatabase, Does: "drops the database, and sees it gone. From here there is no way back"},

	// A database without its files is a wreck, files without a database are
	// only waste: so the files go last.
	{
		Name: "wipe", Key: effectFilestoreWipe, Composes: "Job", Take: stage(filestoreWipe), Does: "removes the tenant's files",
		Applies: hadDatabase, Otherwise: "the tenant never had a database of its own",
	},

	// A last backup says nothing of the tenant's end, since a teardown can be cancelled
	// until the drop; and a tenant whose last backup was waived has older ones. So it
	// is said now, or the newest of them would be kept for ever.
	{
		Name: "tombstone", Key: effectBackupTombstone, Composes: "Job", Take: stage(backupTombstone), Does: "marks the tenant's backups, so that all of them expire",
		Applies: hadDatabase, Otherwise: "the tenant never had a database of its own",
	},

	// What was told of the tenant's coming is told of its going.
	{
		Name: "retire", Key: effectMatrixRoomRetire, Composes: "Job", Optional: true, Take: stage(matrixRoomRetire), Does: "closes the support room",
		Applies: hasDone(effectMatrixRoomCreate), Otherwise: "there is no support room",
	},
	{
		Name: "account", Key: effectDeprovisionWebhook, Composes: "Job", Take: stage(deprovisionWebhook), Does: "tells the account portal that the tenant is gone",
		Applies: hasDone(effectAccountWebhook), Otherwise: "the portal was never told of it",
	},
	{
		Name: "announce", Key: effectClientDeprovisioned, Composes: "Job", Take: stage(clientDeprovisioned), Does: "tells the event bus that the tenant is gone",
		Applies: hasDone(effectClientProvisioned), Otherwise: "the bus was never told of it",
	},
}

// leaving tells whether the tenant is to be taken away. Taking the annotation
// off cancels, as long as the database hasn't begun to be dropped, and so does
// protecting the tenant.
func (t *tenant) leaving() bool {
	return t.deletionPolicy() != "" && !t.xr.Spec.DeletionProtection || t.dropping()
}

// deletionPolicy is the propagation policy of the delete that was refused.
func (t *tenant) deletionPolicy() string {
	return t.xr.GetAnnotations()[annotationDeletionAttempt]
}

// dropping tells whether the status says that the database is being dropped, or
// is gone: from there only forward.
func (t *tenant) dropping() bool {
	d := t.xr.Status.Deletion
	return d != nil && d.Irrevocable
}

// sayNotLeaving says that a tenant isn't being taken away, if there ever was a question
// of that.
func sayNotLeaving(t *tenant, p *progress) {
	switch {
	case t.deletionPolicy() != "":
		p.Say(conditionDeprovisioned, plan.Pending(reasonProtected, "a delete has been asked for, and spec.deletionProtection forbids it. To forget it: kubectl annotate planaclient %s %s-",
			t.xr.GetName(), annotationDeletionAttempt))
	case t.knows(conditionDeprovisioned):
		p.Say(conditionDeprovisioned, plan.Pending(reasonInService, "no delete has been asked for"))
	}
}

// deprovision a tenant, one step at a time.
func deprovision(t *tenant) *progress {
	p := newProgress(t)
	p.fence = t.xr.Status.Fence
	if t.xr.Spec.Suspended {
		// A teardown that is cancelled leaves it as it was.
		p.suspension = t.xr.Status.Suspension
	}

	if orphaning(t.xr) && !t.dropping() {
		// --cascade=orphan: what the tenant consists of outlives its object.
		if unguarded(t.observed.guard) {
			p.Hold = letGoMessage(t.xr.GetName())
			return p
		}
		t.preserveAll(p)
		p.Finished = t.wasReady()
		delete(p.Composed, keyGuard)
		p.Say(conditionDeprovisioned, plan.Complete(reasonOrphaned, "everything that the tenant consists of stays, without an owner"))
		return p
	}

	missed, needs := t.unreferenced()
	p.Need(needs)
	if len(missed) > 0 {
		// First of all they are shown again: what isn't observed is neither seen gone
		// nor, if it is the database, closed, drained and dropped; and visitors would
		// go on writing while the last backup is made.
		t.preserveAll(p)
		t.composeGuard(p)
		for _, key := range missed {
			form := t.observed.foundWire[key]
			p.Compose(key, plan.Composed{Preserved: withRecordedName(preservedForm(key, form), form, t.xr.Status.DatabaseUID, t.xr.Status.DatabaseName)}, t.wasReady())
		}
		p.Finished, p.deletion = t.wasReady(), t.xr.Status.Deletion
		p.Say(conditionDeprovisioned, plan.Progressing(reasonWithdrawing, "%s isn't among what Crossplane knows the tenant to consist of, and is put there again", strings.Join(missed, ", ")))
		return p
	}

	current, o := plan.Follow(t, p.Progress, teardown)
	p.deletion = t.deletionStatus(current, o)
	p.fence = t.fenceStatus(t.teardownRun(), current != nil && current.Name == stepDisown)

	guarded := plan.Outcome{}
	switch {
	case p.deletion.Step == stepGrace:
		t.preserveAll(p)
		t.composeGuard(p)
		p.Finished = t.wasReady()
		p.Say(conditionDeprovisioned, o)
		return p

	case p.deletion.Step != stepGone:
		guarded = t.composeGuard(p)

	case t.xr.Status.Deletion.Step != stepGone:
		// The guard goes one response later than this is recorded, so that it
		// never comes back: Crossplane couldn't replay the delete then.
		guarded = t.composeGuard(p)
		p.Need(plan.Again(plan.Soon))

	default:
		guarded = t.letGuardGo(p)
	}
	if p.deletion.Step == stepGone {
		o = plan.Complete(reasonDeprovisioned, "the tenant is gone. If its object isn't within a minute, delete it again: kubectl delete planaclient %s", t.xr.GetName())
		if guarded.State == plan.StateFailed {
			guarded.Message = "all that the tenant consisted of is gone, and its object can't be deleted: " + guarded.Message
			o = guarded
		}
	}

	// Nobody could undo what has been done just now, were its Job to go before
	// the status says so.
	for _, key := range slices.Concat(provisioningEffects, suspensionEffects, []string{effectUnfence}) {
		p.Compose(key, t.unrecorded(key), true)
	}
	if t.observed.database != nil && !t.mayDrop() {
		p.Add(keyDatabase, database(t), true)
	}

	if p.fence != nil {
		t.sayFenced(p, effectFence, t.teardownRun())
	}

	// What the plan's conditions promise doesn't hold any more.
	for i := range provisioning {
		if provisioning[i].Key == keyGuard && guarded.State == plan.StateFailed {
			p.Say(provisioning[i].Condition, guarded)
			continue
		}
		p.Say(provisioning[i].Condition, plan.Pending(reasonDeprovisioning, "the tenant is being taken away: see condition %s", conditionDeprovisioned))
	}
	p.Say(conditionDeprovisioned, o)
	return p
}

// unreferenced are the keys of the tenant's objects that are there, and that somebody
// has taken out of the composite's references, so that Crossplane doesn't show them.
func (t *tenant) unreferenced() (missed []string, needs plan.Needs) {
	at := map[string]place{keyDatabase: {sqlv1alpha1.DatabaseGroupVersionKind, t.platform.Postgres.Namespace, t.xr.GetName()}}
	if d := t.xr.Status.Deletion; d == nil || d.Step == stepGrace || d.Step == stepWithdraw {
		// Later on they have been seen gone.
		at[keyRoute] = place{schema.FromAPIVersionAndKind(gwv1.GroupVersion.String(), "HTTPRoute"), t.version.Namespace, t.xr.GetName()}
		at[keyBackup] = place{batchv1.SchemeGroupVersion.WithKind("CronJob"), t.platform.Backup.Namespace, t.backupName()}
	}
	for _, key := range sortedKeys(at) {
		if t.observed.exists(key) || t.observed.foreign[key] != nil {
			continue
		}
		needs = needs.And(plan.Require(key, at[key].selector()))
		if there := t.observed.found[key]; there != nil && there.GetDeletionTimestamp() == nil && t.controls(there) {
			missed = append(missed, key)
		}
	}
	return missed, needs
}

// unguarded tells whether the guard is gone, or as good as gone, so that the delete
// is carried out at any moment. With --cascade=orphan the garbage collector then
// takes the owner off all that the tenant consists of. Crossplane, which may not
// have seen the delete yet, would put it on again with whatever it applies: once the
// owner is gone, route, backup and Database object would follow it.
func unguarded(guard *protectionv1beta1.ClusterUsage) bool {
	return guard == nil || guard.GetDeletionTimestamp() != nil
}

// orphaning tells whether the delete that was asked for is one with --cascade=orphan.
func orphaning(client *v1alpha1.PLANAClient) bool {
	return metav1.DeletionPropagation(client.GetAnnotations()[annotationDeletionAttempt]) == metav1.DeletePropagationOrphan
}

// letGoMessage says why nothing is done for a tenant any more.
func letGoMessage(name string) string {
	return fmt.Sprintf("tenant %[1]s is let go of, so nothing is changed any more. If its object isn't gone within a minute, delete it again: kubectl delete planaclient %[1]s --cascade=orphan. If that is refused, or to keep it, cancel: kubectl annotate planaclient %[1]s %[2]s-. Condition GuardReady then says what refuses it",
		name, annotationDeletionAttempt)
}

// composeGuard whether it is observed or not, and say how it stands. Somebody who takes
// it away while the teardown is under way would have Crossplane replay the delete at once.
func (t *tenant) composeGuard(p *progress) plan.Outcome {
	r := t.Admit(keyGuard, guard(t))
	p.Add(keyGuard, r, r.OK())
	return r.Outcome
}

// letGuardGo takes the guard away, after everything else, and says what is in the way of
// that, if anything is. What an earlier tenant of the name left behind refuses the delete
// of this one. Once it is handed over Crossplane has to refer to it, or it would never
// take it away.
func (t *tenant) letGuardGo(p *progress) plan.Outcome {
	if t.observed.guard != nil {
		return plan.Outcome{}
	}
	r := t.Admit(keyGuard, guard(t))
	p.Need(r.Needs)
	if r.Preserved != nil {
		p.Compose(keyGuard, r.Composed, true)
		p.Need(plan.Again(plan.Soon))
	}
	return r.Outcome
}

// deletionStatus is what the status is to remember of a teardown.
func (t *tenant) deletionStatus(current *plan.Step[*tenant], o plan.Outcome) *v1alpha1.DeletionStatus {
	d := &v1alpha1.DeletionStatus{
		RequestedAt:    t.now,
		Step:           stepGone,
		Since:          t.now,
		Message:        o.Message,
		BackupWaivedBy: t.backupWaivedBy(),
		Irrevocable:    t.dropping(),
	}
	if current != nil {
		d.Step = current.Name
		d.Irrevocable = d.Irrevocable || current.Name == stepDrop
	}
	if last := t.xr.Status.Deletion; last != nil {
		d.RequestedAt = last.RequestedAt
		if last.Step == stepGrace && t.now.Before(&d.RequestedAt) {
			// A clock that was ahead has been set right. Nobody is to wait for the
			// difference; and nothing has begun yet whose run this tells.
			d.RequestedAt = t.now
		}
		if last.Step == d.Step {
			d.Since = last.Since
		}
		if d.BackupWaivedBy == "" && d.Irrevocable {
			// On record, whatever becomes of the annotation.
			d.BackupWaivedBy = last.BackupWaivedBy
		}
	}
	return d
}

// grace waits until it is too late to have noticed a mistake.
func grace(t *tenant) plan.Result {
	d := t.xr.Status.Deletion
	if d == nil {
		// What isn't recorded hasn't begun.
		return plan.Say(plan.Progressing(reasonGracePeriod, "a delete has been asked for")).With(plan.Again(plan.Soon))
	}
	if d.Step != stepGrace {
		// It was over before. A clock that is set back doesn't bring it back.
		return plan.Say(plan.Complete(reasonCompleted, "the grace period is over"))
	}
	over := d.RequestedAt.Add(t.platform.Deletion.GracePeriod.Duration)
	if t.now.Before(ptr.To(metav1.NewTime(over))) {
		return plan.Say(plan.Progressing(reasonGracePeriod, "tenant %[1]s is taken away from %[2]s on. To cancel: kubectl annotate planaclient %[1]s %[3]s-",
			t.xr.GetName(), over.UTC().Format(time.RFC3339), annotationDeletionAttempt)).
			With(plan.Again(over.Sub(t.now.Time)))
	}
	return plan.Say(plan.Complete(reasonCompleted, "the grace period is over"))
}

// withdraw waits until all that works for or on the tenant is seen gone. It goes
// because no step of the teardown composes it.
func withdraw(t *tenant) plan.Result {
	for _, key := range composedKeys {
		if key == keyGuard || key == keyDatabase || isTeardownEffect(key) {
			continue
		}
		if t.observed.exists(key) {
			return plan.Say(plan.Progressing(reasonWithdrawing, "%s is being taken away", key))
		}
	}
	return plan.Say(t.jobsStopped()).With(t.toSeeJobs())
}

// jobsStopped tells whether a Job still works on the tenant.
func (t *tenant) jobsStopped() plan.Outcome {
	switch working, known := t.stillWorking(); {
	case !known:
		return plan.Progressing(reasonWithdrawing, "it isn't known yet whether anything still works on the tenant")
	case len(working) > 0:
		return plan.Progressing(reasonWithdrawing, "Job %s/%s is being stopped", working[0].GetNamespace(), working[0].GetName())
	}
	return plan.Complete(reasonCompleted, "nothing works on the tenant any more")
}

// hasDone makes a condition of an effect.
func hasDone(effect string) func(*tenant) bool {
	return func(t *tenant) bool { return t.Done(effect) }
}

// teardownRun tells the effects of this teardown from those of one that was
// cancelled: its backup would be the wrong one.
func (t *tenant) teardownRun() string {
	if d := t.xr.Status.Deletion; d != nil {
		return d.RequestedAt.UTC().Format(time.RFC3339)
	}
	return ""
}
