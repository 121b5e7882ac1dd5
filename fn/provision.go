package fn

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"
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

// progress is how the whole plan stands.
type progress struct {
	// composed resources by key, and whether each is ready.
	composed map[string]composed
	ready    map[string]bool

	// outcomes of all steps, in the plan's order.
	outcomes []outcome

	// finished is whether every step that the tenant needs is done.
	finished bool
}

// provision a tenant: take every step of the plan that may be taken.
func provision(t *tenancy) *progress {
	p := &progress{composed: map[string]composed{}, ready: map[string]bool{}, finished: true}
	past := make(map[string]bool, len(plan))

	for i := range plan {
		s := &plan[i]

		if s.applies != nil && !s.applies(t) {
			past[s.name] = true
			p.outcomes = append(p.outcomes, outcome{done, reasonNotNeeded, "this tenant needs no such step"})
			continue
		}

		missing := s.waitsFor(past)
		if len(missing) > 0 && !s.begun(t) {
			p.finished = p.finished && s.optional
			p.outcomes = append(p.outcomes, outcome{waiting, reasonWaiting, "waits for: " + strings.Join(missing, ", ")})
			continue
		}

		c, o := s.take(t)
		if c.exists() {
			p.composed[s.key] = c
			// An optional step's resource must not keep the tenant from Ready.
			p.ready[s.key] = o.ok() || s.optional
		}
		p.outcomes = append(p.outcomes, o)

		// A step counts as past only if those before it do too: once a database
		// turns out to be somebody else's, nothing that hasn't begun begins.
		past[s.name] = o.ok() && len(missing) == 0
		p.finished = p.finished && (past[s.name] || s.optional)
	}
	return p
}

// settling returns how a step stands that hasn't arrived yet.
func settling(reason, format string, args ...any) outcome {
	return outcome{working, reason, fmt.Sprintf(format, args...)}
}

// failure returns how a step stands that needs somebody to act.
func failure(reason, format string, args ...any) outcome {
	return outcome{failed, reason, fmt.Sprintf(format, args...)}
}
