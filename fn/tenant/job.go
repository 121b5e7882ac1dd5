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

// annotationRerun on a PLANAClient runs a finished effect again, once for each value:
// <effect>, or <effect>/<anything> for another time.
const annotationRerun = ownPrefix + "rerun"

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
	return t.Once(plan.Run{
		Effect: s.key, ID: s.run,
		Released: t.wasReady() || t.leaving(),
		Preserve: func() plan.Composed { return t.preserved(s.key) },
		Stands:   func(job *batchv1.Job) plan.Outcome { return t.jobOutcome(job, s) },
		Blocked:  func() plan.Result { return t.jobBlocked(s) },
		Create:   func() *batchv1.Job { return t.job(s) },
	})
}

// jobBlocked says what is in the way of a Job, if anything is.
func (t *tenant) jobBlocked(s jobSpec) plan.Result {
	// A Job that works in the database would be shut out.
	if t.fenced() && slices.Contains(provisioningEffects, s.key) && slices.Contains(databaseEffects, s.key) {
		return plan.Say(plan.Pending(reasonFenced, "waits until the tenant is back in service: see condition %s", conditionFenced))
	}
	// Both are asked, whatever the first says: what is required stays the same.
	taken, noRoom := t.taken(s.key, place{jobKind, s.namespace, t.jobName(s.key)}), t.noRoom(s)
	if taken.Blocks() {
		return taken.With(noRoom.Needs)
	}
	return noRoom.With(taken.Needs)
}

// unrecorded returns a Job that has completed for as long as the status doesn't say so.
func (t *tenant) unrecorded(key string) plan.Composed {
	if t.Unrecorded(key) {
		return t.preserved(key)
	}
	return plan.Composed{}
}

// provisioningRun is the run of one of the plan's effects: the one that is done,
// unless a person asks for another.
func (t *tenant) provisioningRun(effect string) string {
	again := t.xr.GetAnnotations()[annotationRerun]
	if again == effect || strings.HasPrefix(again, effect+"/") {
		// A suspended tenant's database is closed: what begins then would fail.
		if !t.outOfService() || plan.RunOf(t.Jobs[effect]) == again {
			return again
		}
	}
	if e, ok := t.Ledger[effect]; ok {
		return e.Run
	}
	return plan.RunOf(t.Jobs[effect])
}

// isOver tells whether a ledger's entry is of an occasion that has passed.
func (t *tenant) isOver(effect string, e v1alpha1.EffectStatus) bool {
	return !t.leaving() && isTeardownEffect(effect) ||
		!t.suspending() && slices.Contains(suspensionEffects, effect) ||
		effect == effectUnfence && !t.fencedFor(e.Run)
}

func isTeardownEffect(key string) bool {
	return slices.Contains(teardownEffects, key)
}

// served tells whether the Job of a run isn't needed any more.
func (t *tenant) served(effect, run string) bool {
	return t.RecordedRun(effect, run) && (t.wasReady() || t.leaving())
}

// slowStart is how long a pod may take to start before somebody should look.
const slowStart = 2 * time.Minute

// jobOutcome tells how an unfinished Job stands.
func (t *tenant) jobOutcome(job *batchv1.Job, s jobSpec) plan.Outcome {
	at := map[string]string{
		"namespace": job.GetNamespace(), "job": job.GetName(), "secret": t.platform.Postgres.CredentialsSecret,
		"home": t.platform.Postgres.Namespace, "database": t.database, "url": t.platform.Account.WebhookURL,
	}

	if c := plan.JobCondition(job, batchv1.JobFailed); c != nil {
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

	if plan.JobCondition(job, batchv1.JobSuspended) != nil {
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

// job returns a new Job.
func (t *tenant) job(s jobSpec) *batchv1.Job {
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "Job"},
		ObjectMeta: t.objectMeta(s.namespace, t.jobName(s.key), s.key),
		Spec:       t.jobTemplate(s.key, s.deadline, s.pod()),
	}
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
