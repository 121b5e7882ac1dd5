package plan

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// AnnotationRun on a Job tells which run of its effect it is.
const AnnotationRun = "planapulse.com/run"

// Effects are what a composite's Jobs have done. An effect is done once for each run of it.
type Effects struct {
	// Jobs that are observed, by the effect's key.
	Jobs map[string]*batchv1.Job

	// Recorded is the ledger as the API server has it.
	Recorded map[string]v1alpha1.EffectStatus

	// Ledger has the effects that are known to be done, those that this request shows for
	// the first time included.
	Ledger map[string]v1alpha1.EffectStatus
}

// NewEffects returns the effects of which the ledger or an observed Job tells. An entry of
// the ledger that is of an occasion which is over is left out.
func NewEffects(jobs map[string]*batchv1.Job, recorded map[string]v1alpha1.EffectStatus, over func(effect string, e v1alpha1.EffectStatus) bool) Effects {
	l := map[string]v1alpha1.EffectStatus{}
	for effect, e := range recorded {
		if !over(effect, e) {
			l[effect] = e
		}
	}
	for effect, job := range jobs {
		if e, known := l[effect]; known && e.Run == RunOf(job) {
			continue
		}
		if at, ok := CompletedAt(job); ok {
			l[effect] = v1alpha1.EffectStatus{CompletedAt: at, Run: RunOf(job)}
		}
	}
	return Effects{Jobs: jobs, Recorded: recorded, Ledger: l}
}

// See a Job that isn't observed as composed: what it has completed is done, unless the
// ledger has a run of the effect.
func (e *Effects) See(effect string, job *batchv1.Job) {
	if at, completed := CompletedAt(job); completed && !e.Done(effect) {
		e.Ledger[effect] = v1alpha1.EffectStatus{CompletedAt: at, Run: RunOf(job)}
	}
}

// Done tells whether an effect is done, in whichever run.
func (e *Effects) Done(effect string) bool {
	_, ok := e.Ledger[effect]
	return ok
}

// DoneRun tells whether a run of an effect is done.
func (e *Effects) DoneRun(effect, run string) bool {
	s, ok := e.Ledger[effect]
	return ok && s.Run == run
}

// RecordedRun tells whether the API server's ledger has a run of an effect.
func (e *Effects) RecordedRun(effect, run string) bool {
	s, ok := e.Recorded[effect]
	return ok && s.Run == run
}

// Unrecorded tells whether the Job of an effect has completed, and the API server's ledger
// doesn't say so yet. Crossplane deletes composed resources before it writes a status, so
// such a Job stays.
func (e *Effects) Unrecorded(effect string) bool {
	job := e.Jobs[effect]
	if job == nil || e.RecordedRun(effect, RunOf(job)) {
		return false
	}
	_, completed := CompletedAt(job)
	return completed
}

// A Run of an effect.
type Run struct {
	// Effect by its key, and the ID of the run.
	Effect, ID string

	// Released tells whether nobody needs the Job any more once the ledger has the run.
	Released bool

	// Preserve the Job as it is observed.
	Preserve func() Composed

	// Stands says how a Job stands that hasn't completed.
	Stands func(*batchv1.Job) Outcome

	// Blocked says what is in the way of a new Job, if anything is, and what has to be
	// seen to know that.
	Blocked func() Result

	// Create the Job.
	Create func() *batchv1.Job
}

// Reasons of conditions about Jobs.
const (
	ReasonCreating  = "Creating"
	ReasonCompleted = "Completed"
)

// Once composes the Job of a run until the run is done.
func (e *Effects) Once(r Run) Result {
	job := e.Jobs[r.Effect]
	completed := Complete(ReasonCompleted, "completed at %s", e.Ledger[r.Effect].CompletedAt.UTC().Format(time.RFC3339))
	recorded := e.RecordedRun(r.Effect, r.ID)

	switch {
	// A Job has one name for all its runs. The one of an earlier run goes first.
	case job != nil && RunOf(job) != r.ID:
		return Say(Progressing(ReasonCreating, "Job %s/%s of an earlier run is being taken away", job.GetNamespace(), job.GetName()))

	// The status says so already, so nobody needs the Job. One response earlier would be
	// too soon: Crossplane deletes composed resources before it writes a status. A
	// composite that comes to be keeps its Jobs for whoever looks for what went wrong.
	case recorded && (r.Released || job == nil):
		return Say(completed)

	case e.DoneRun(r.Effect, r.ID):
		return Desire(r.Preserve(), completed)

	// All of a Job's pod template is immutable, so a Job that exists stays as it is,
	// whatever has become of images and settings since.
	case job != nil:
		return Desire(r.Preserve(), r.Stands(job))
	}

	blocked := r.Blocked()
	if blocked.Blocks() {
		return blocked
	}
	created := r.Create()
	if r.ID != "" {
		metav1.SetMetaDataAnnotation(&created.ObjectMeta, AnnotationRun, r.ID)
	}
	return Desire(Composed{Object: created}, Progressing(ReasonCreating, "Job %s/%s is being created", created.GetNamespace(), created.GetName())).With(blocked.Needs)
}

// RunOf a Job: empty for the first run of an effect, and where there is no Job.
func RunOf(job *batchv1.Job) string {
	if job == nil {
		return ""
	}
	return job.GetAnnotations()[AnnotationRun]
}

// CompletedAt returns when a Job completed, if it did.
func CompletedAt(job *batchv1.Job) (metav1.Time, bool) {
	c := JobCondition(job, batchv1.JobComplete)
	switch {
	case c == nil:
		return metav1.Time{}, false
	case job.Status.CompletionTime != nil:
		return *job.Status.CompletionTime, true
	default:
		return c.LastTransitionTime, true
	}
}

// JobCondition returns a Job's condition if it is true.
func JobCondition(job *batchv1.Job, typ batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range job.Status.Conditions {
		if c := &job.Status.Conditions[i]; c.Type == typ && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}
