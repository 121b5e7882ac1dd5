package tenant

import (
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// exitTerminal is the exit code of an effect that no further attempt would help.
// It stands in package effect too, which this one doesn't import: effects bring
// half of the world's client libraries with them.
const exitTerminal = 2

const (
	// annotationRun on a Job tells which run of its effect it is.
	annotationRun = ownPrefix + "run"

	// annotationRerun on a PLANAClient runs a finished effect again, once for
	// each value: <effect>, or <effect>/<anything> for another time.
	annotationRerun = ownPrefix + "rerun"
)

// A jobSpec is what is particular to one Job.
type jobSpec struct {
	// key of the Job, and the first part of its name.
	key string

	namespace string
	deadline  time.Duration

	// pod is built only for a Job that is to be created: few requests create one.
	pod func() corev1.PodSpec

	// run of the effect, which is done once for each. The step says which it is.
	run string
}

// effect makes a step of the plan out of a Job that is run once in a tenant's
// life, unless a person has it run again. That takes nothing back: the tenant
// stays as ready as it is.
func effect(spec func(*tenant) jobSpec) func(*tenant) plan.Result {
	return func(t *tenant) plan.Result {
		s := spec(t)
		s.run = t.provisioningRun(s.key)

		r := run(t, s)
		if !r.OK() && t.Done(s.key) {
			again := plan.Complete(r.Reason, "completed before, and is run again: %s", r.Message)
			if r.State == plan.StateFailed {
				again.State = plan.StateDegraded
			}
			r.Outcome = again
		}
		return r
	}
}

// stage makes a step of a sequence out of a Job that is run once each time that
// the sequence is followed.
func stage(spec func(*tenant) jobSpec) func(*tenant) plan.Result {
	return func(t *tenant) plan.Result {
		s := spec(t)
		s.run = t.runOfStage(s.key)
		return run(t, s)
	}
}

// stageRun is the run of the effects of the sequence that is followed. A tenant
// that leaves follows the teardown, suspended or not.
func (t *tenant) stageRun() string {
	if t.leaving() {
		return t.teardownRun()
	}
	return t.suspensionRun()
}

// run a Job, once for each run.
func run(t *tenant, s jobSpec) plan.Result {
	job := t.observed.jobs[s.key]
	completed := plan.Complete(reasonCompleted, "completed at %s", t.ledger[s.key].CompletedAt.UTC().Format(time.RFC3339))

	switch {
	// A Job has one name for all its runs. The one of an earlier run goes first.
	case job != nil && runOf(job) != s.run:
		return plan.Say(plan.Progressing(reasonCreating, "Job %s/%s of an earlier run is being taken away", job.GetNamespace(), job.GetName()))

	// The status says so already, so the Job has served. One response earlier
	// would be too soon: composed resources are deleted before a status is
	// written. A tenant that is being provisioned keeps its Jobs for whoever
	// looks for what went wrong.
	case t.served(s.key, s.run), t.remembered(s.key, s.run) && job == nil:
		return plan.Say(completed)

	case t.doneRun(s.key, s.run):
		return plan.Desire(t.preserved(s.key), completed)

	// All of a Job's pod template is immutable, so a Job that exists stays as
	// it is, whatever has become of images and settings since.
	case job != nil:
		return plan.Desire(t.preserved(s.key), t.jobOutcome(job, s))

	// A Job that works in the database would be shut out.
	case t.fenced() && slices.Contains(provisioningEffects, s.key) && slices.Contains(databaseEffects, s.key):
		return plan.Say(plan.Pending(reasonFenced, "waits until the tenant is back in service: see condition %s", conditionFenced))

	default:
		// Both are asked, whatever the first says: what is required stays the same.
		taken, noRoom := t.taken(s.key, place{jobKind, s.namespace, t.jobName(s.key)}), t.noRoom(s)
		switch {
		case taken.Blocks():
			return taken.With(noRoom.Needs)
		case noRoom.Blocks():
			return noRoom.With(taken.Needs)
		}
		return plan.Desire(plan.Composed{Object: t.job(s)}, plan.Progressing(reasonCreating, "Job %s/%s is being created", s.namespace, t.jobName(s.key))).
			With(taken.Needs).With(noRoom.Needs)
	}
}

// unrecorded returns a Job that has completed for as long as the status doesn't
// say so: composed resources are deleted before a status is written.
func (t *tenant) unrecorded(key string) plan.Composed {
	job := t.observed.jobs[key]
	if job == nil || t.remembered(key, runOf(job)) {
		return plan.Composed{}
	}
	if _, completed := completedAt(job); !completed {
		return plan.Composed{}
	}
	return t.preserved(key)
}

// runOf a Job: empty for the first run of an effect of the plan, and where there
// is no Job.
func runOf(job *batchv1.Job) string {
	if job == nil {
		return ""
	}
	return job.GetAnnotations()[annotationRun]
}

// provisioningRun is the run of one of the plan's effects: the one that is done,
// unless a person asks for another.
func (t *tenant) provisioningRun(effect string) string {
	again := t.xr.GetAnnotations()[annotationRerun]
	if again == effect || strings.HasPrefix(again, effect+"/") {
		// A suspended tenant's database is closed: what begins then would fail.
		if !t.outOfService() || runOf(t.observed.jobs[effect]) == again {
			return again
		}
	}
	if e, ok := t.ledger[effect]; ok {
		return e.Run
	}
	return runOf(t.observed.jobs[effect])
}

// makeLedger of the effects that are done: those that the status remembers,
// and those whose Jobs are seen complete.
func (t *tenant) makeLedger() map[string]v1alpha1.EffectStatus {
	l := map[string]v1alpha1.EffectStatus{}
	for effect, e := range t.xr.Status.Effects {
		// An occasion that has passed leaves nothing behind.
		if !t.leaving() && isTeardownEffect(effect) || !t.suspending() && slices.Contains(suspensionEffects, effect) ||
			effect == effectUnfence && !t.fencedFor(e.Run) {
			continue
		}
		l[effect] = e
	}
	for effect, job := range t.observed.jobs {
		if e, known := l[effect]; known && e.Run == runOf(job) {
			continue
		}
		if at, ok := completedAt(job); ok {
			l[effect] = v1alpha1.EffectStatus{CompletedAt: at, Run: runOf(job)}
		}
	}
	return l
}

func isTeardownEffect(key string) bool {
	return slices.Contains(teardownEffects, key)
}

// Done tells whether an effect is done, in whichever run.
func (t *tenant) Done(effect string) bool {
	_, ok := t.ledger[effect]
	return ok
}

// doneRun tells whether a run of an effect is done.
func (t *tenant) doneRun(effect, run string) bool {
	e, ok := t.ledger[effect]
	return ok && e.Run == run
}

// remembered tells whether a run of an effect is in the ledger as the API server
// has it.
func (t *tenant) remembered(effect, run string) bool {
	e, ok := t.xr.Status.Effects[effect]
	return ok && e.Run == run
}

// served tells whether the Job of a run isn't needed any more.
func (t *tenant) served(effect, run string) bool {
	return t.remembered(effect, run) && (t.wasReady() || t.leaving())
}

// slowStart is how long a pod may take to start before somebody should look.
const slowStart = 2 * time.Minute

// jobOutcome tells how an unfinished Job stands.
func (t *tenant) jobOutcome(job *batchv1.Job, s jobSpec) plan.Outcome {
	at := map[string]string{
		"namespace": job.GetNamespace(), "job": job.GetName(), "secret": t.platform.Postgres.CredentialsSecret,
		"home": t.platform.Postgres.Namespace, "database": t.database, "url": t.platform.Account.WebhookURL,
	}

	if c := jobCondition(job, batchv1.JobFailed); c != nil {
		x := troubleJobFailed
		switch s.key {
		case effectMatrixRoomCreate, effectMatrixRoomRetire:
			x = troubleMatrixFailed
		case effectAccountWebhook, effectDeprovisionWebhook:
			x = troublePortalFailed
		case effectFinalBackup:
			x = troubleFinalBackupFailed
		}
		at["name"], at["waiver"] = t.xr.GetName(), t.nextWaiver()
		return x.Outcome(at, "Job %s/%s failed: %s (%s)", job.GetNamespace(), job.GetName(), strings.TrimSuffix(c.Message, "."), c.Reason)
	}

	if jobCondition(job, batchv1.JobSuspended) != nil {
		o := troubleJobSuspended.Outcome(at, "Job %s/%s is suspended", job.GetNamespace(), job.GetName())
		o.State = plan.StateProgressing
		return o
	}

	if job.Status.Failed > 0 {
		return plan.Progressing(reasonRetrying, "Job %s/%s runs again: %d of %d attempts have failed. Read why: kubectl -n %s logs job/%s --all-containers",
			job.GetNamespace(), job.GetName(), job.Status.Failed, *t.platform.Effects.Retries+1, job.GetNamespace(), job.GetName())
	}

	started := job.Status.StartTime
	if started != nil && job.Status.Active > 0 && ptr.Deref(job.Status.Ready, 1) == 0 && t.now.Sub(started.Time) > slowStart {
		o := troublePodNotStarting.Outcome(at, "the pod of Job %s/%s hasn't started since %s", job.GetNamespace(), job.GetName(), started.UTC().Format(time.RFC3339))
		// It may yet: a Secret that appears is noticed within a minute.
		o.State = plan.StateProgressing
		return o
	}
	return plan.Progressing(reasonRunning, "Job %s/%s is running", job.GetNamespace(), job.GetName())
}

// completedAt returns when a Job completed, if it did.
func completedAt(job *batchv1.Job) (metav1.Time, bool) {
	c := jobCondition(job, batchv1.JobComplete)
	switch {
	case c == nil:
		return metav1.Time{}, false
	case job.Status.CompletionTime != nil:
		return *job.Status.CompletionTime, true
	default:
		return c.LastTransitionTime, true
	}
}

// jobCondition returns a Job's condition if it is true.
func jobCondition(job *batchv1.Job, typ batchv1.JobConditionType) *batchv1.JobCondition {
	i := slices.IndexFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == typ && c.Status == corev1.ConditionTrue
	})
	if i < 0 {
		return nil
	}
	return &job.Status.Conditions[i]
}

// job returns the Job of a run.
func (t *tenant) job(s jobSpec) *batchv1.Job {
	j := &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"},
		ObjectMeta: t.objectMeta(s.namespace, t.jobName(s.key), s.key),
		Spec:       t.jobTemplate(s.key, s.deadline, s.pod()),
	}
	if s.run != "" {
		j.SetAnnotations(map[string]string{annotationRun: s.run})
	}
	return j
}

// jobTemplate bounds a pod's attempts in number and in time.
func (t *tenant) jobTemplate(component string, deadline time.Duration, pod corev1.PodSpec) batchv1.JobSpec {
	return batchv1.JobSpec{
		ActiveDeadlineSeconds: ptr.To(int64(deadline.Seconds())),
		BackoffLimit:          t.platform.Effects.Retries,
		PodFailurePolicy: &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
			{
				// An hour of retries hides what one look would have shown.
				Action: batchv1.PodFailurePolicyActionFailJob,
				OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
					Operator: batchv1.PodFailurePolicyOnExitCodesOpIn,
					Values:   []int32{exitTerminal},
				},
			},
			{
				// A drained node is no fault of the effect's.
				Action: batchv1.PodFailurePolicyActionIgnore,
				OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{
					Type:   corev1.DisruptionTarget,
					Status: corev1.ConditionTrue,
				}},
			},
		}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: t.labels(component)},
			Spec:       pod,
		},
	}
}
