package fn

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// composed is what a step wants to exist: a typed object, or one that is to
// stay as it was observed. The zero value is nothing.
type composed struct {
	object runtime.Object
	kept   *structpb.Struct
}

// exists tells whether there is anything to compose.
func (c composed) exists() bool { return c.object != nil || c.kept != nil }

// An outcome is how a step stands.
type outcome struct {
	state   state
	reason  string
	message string
}

// A state of a step.
type state int

// States of a step.
const (
	// waiting for other steps, before it begins.
	waiting state = iota
	// working: what was asked for isn't there yet.
	working
	// failed: it won't come of itself. Somebody has to act.
	failed
	// ailing: what was asked for is there and in use, and somebody should look.
	ailing
	// done: what was asked for is there.
	done
)

// ok tells whether others may build on the step.
func (o outcome) ok() bool { return o.state == done || o.state == ailing }

// waits returns how a step stands that may not begin yet.
func waits(reason, format string, args ...any) outcome {
	return outcome{waiting, reason, fmt.Sprintf(format, args...)}
}

// settling returns how a step stands that hasn't arrived yet.
func settling(reason, format string, args ...any) outcome {
	return outcome{working, reason, fmt.Sprintf(format, args...)}
}

// arrived returns how a step stands that is done.
func arrived(reason, format string, args ...any) outcome {
	return outcome{done, reason, fmt.Sprintf(format, args...)}
}

// A condition of the PLANAClient.
type condition struct {
	typ     string
	holds   bool
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

	// suspension and deletion as the status is to remember them.
	suspension *v1alpha1.SuspensionStatus
	deletion   *v1alpha1.DeletionStatus
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

// say how something stands. A condition holds if its outcome is ok.
func (p *progress) say(typ string, o outcome) {
	p.conditions = append(p.conditions, condition{typ: typ, holds: o.ok(), outcome: o})
}

// moves tells whether anything is about to change without anybody's doing.
func (p *progress) moves() bool {
	return slices.ContainsFunc(p.conditions, func(c condition) bool { return c.outcome.state == working })
}

// provision a tenant: take every step of the plan that may be taken.
func provision(t *tenancy) *progress {
	p := newProgress()
	p.finished = true
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
		// An optional step's resource must not keep the tenant from Ready.
		p.compose(s.key, c, o.ok() || s.optional)
		p.say(s.condition, o)

		// A step counts as past only if those before it do too: once a database
		// turns out to be somebody else's, nothing that hasn't begun begins.
		past[s.name] = o.ok() && len(missing) == 0
		p.finished = p.finished && (past[s.name] || s.optional)
	}

	suspend(t, p)
	stay(t, p)
	return p
}

// follow a sequence of steps, strictly one after the other, and return the one
// that it has come to: nil once all are done.
func follow(t *tenancy, p *progress, sequence []step, run string) (*step, outcome) {
	for i := range sequence {
		s := &sequence[i]
		if s.applies != nil && !s.applies(t) {
			continue
		}
		c, o := s.take(t)
		p.compose(s.key, c, o.ok())
		if !o.ok() && (!s.optional || o.state != failed) {
			t.keepBegun(p, sequence[i+1:], run)
			return s, o
		}
	}
	return nil, outcome{}
}

// keepBegun keeps the Jobs of later steps that have begun before an earlier step
// was undone by somebody's hand.
func (t *tenancy) keepBegun(p *progress, later []step, run string) {
	for i := range later {
		key := later[i].key
		if job := t.observed.jobs[key]; job != nil && runOf(job) == run && !t.served(key, run) {
			p.compose(key, t.kept(key), false)
		}
	}
}
