package fn

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// A condition of the PLANAClient. It holds if its outcome is ok.
type condition struct {
	typ     string
	outcome outcome
}

// progress is how a tenant stands: what it should consist of, and what there is
// to say about it.
type progress struct {
	// composed resources by key, and whether each is ready.
	composed map[string]composed
	ready    map[string]bool

	conditions []condition

	// finished is whether the tenant is as it was asked to be.
	finished bool

	// hold says why nothing at all may be applied or taken away. Empty: it may.
	hold string

	// suspension, deletion and fence as the status is to remember them.
	suspension *v1alpha1.SuspensionStatus
	deletion   *v1alpha1.DeletionStatus
	fence      *v1alpha1.FenceStatus
}

func newProgress() *progress {
	return &progress{composed: map[string]composed{}, ready: map[string]bool{}}
}

// compose a resource, if there is one.
func (p *progress) compose(key string, c composed, ready bool) {
	if c.exists() {
		p.composed[key] = c
		p.ready[key] = ready
	}
}

// say how something stands.
func (p *progress) say(typ string, o outcome) {
	p.conditions = append(p.conditions, condition{typ, o})
}

// moves tells whether anything is about to change without anybody's doing.
func (p *progress) moves() bool {
	return slices.ContainsFunc(p.conditions, func(c condition) bool { return c.outcome.state == working })
}

// provision a tenant: take every step of the plan that may be taken.
func provision(t *tenancy) *progress {
	p := newProgress()
	p.finished = true
	p.fence = t.client.Status.Fence
	past := make(map[string]bool, len(plan))

	for i := range plan {
		s := &plan[i]

		// What has begun goes on, whatever has come to light since.
		if s.applies != nil && !s.applies(t) && !t.observed.exists(s.key) {
			past[s.name] = true
			p.say(s.condition, arrived(reasonNotNeeded, "%s", s.otherwise))
			continue
		}

		missing := s.waitsFor(past)
		if len(missing) > 0 && !s.begun(t) {
			p.finished = p.finished && s.optional
			p.say(s.condition, waits(reasonWaiting, "waits for: %s", strings.Join(missing, ", ")))
			continue
		}

		c, o := s.take(t)
		c, o = t.admit(s.key, c, o)
		// An optional step's resource must not keep the tenant from Ready.
		p.compose(s.key, c, o.ok() || s.optional)
		p.say(s.condition, o)

		// A step counts as past only if those before it do too: once a database
		// turns out to be somebody else's, nothing that hasn't begun begins.
		past[s.name] = o.ok() && len(missing) == 0
		p.finished = p.finished && (past[s.name] || s.optional)
	}

	suspend(t, p)
	backInService(t, p)
	stay(t, p)
	return p
}

// follow a sequence of steps, strictly one after the other, and return the one
// that it has come to: nil once all are done.
func follow(t *tenancy, p *progress, sequence []step) (*step, outcome) {
	for i := range sequence {
		s := &sequence[i]
		if s.applies != nil && !s.applies(t) && !t.underway(s.key) {
			continue
		}
		c, o := s.take(t)
		c, o = t.admit(s.key, c, o)
		p.compose(s.key, c, o.ok())
		if !o.ok() && (!s.optional || o.state != failed) {
			t.keepBegun(p, sequence[i+1:])
			return s, o
		}
	}
	return nil, outcome{}
}

// underway tells whether the Job of a step is still needed, though the tenant doesn't
// need the step any more: it works, or the status has yet to say that it has completed.
// One that has failed is needed by nobody.
func (t *tenancy) underway(key string) bool {
	job := t.observed.jobs[key]
	run := t.runOfStage(key)
	return job != nil && runOf(job) == run && !t.served(key, run) && jobCondition(job, batchv1.JobFailed) == nil
}

// keepBegun keeps the Jobs of later steps that have begun before an earlier step
// was undone by somebody's hand.
func (t *tenancy) keepBegun(p *progress, later []step) {
	for i := range later {
		key := later[i].key
		run := t.runOfStage(key)
		if job := t.observed.jobs[key]; job != nil && runOf(job) == run && !t.served(key, run) {
			p.compose(key, t.kept(key), false)
		}
	}
}
