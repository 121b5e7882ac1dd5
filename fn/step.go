package fn

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"
)

// A step is one row of a plan.
type step struct {
	// name of the step, by which others wait for it.
	name string

	// does says what the step is for, to people.
	does string

	// condition of the PLANAClient that tells how the step stands.
	condition string

	// key of the composed resource. A Job's is the name of what it does. Empty
	// for a step that changes another step's resource.
	key string

	// after names the steps without which this one may not begin. Steps of a
	// sequence have none: each comes after the one before.
	after []string

	// optional steps may fail without stopping anything else.
	optional bool

	// applies tells whether this tenant needs the step, and otherwise says why
	// it doesn't. Nil: every tenant does.
	applies   func(*tenancy) bool
	otherwise string

	// take the step: say what should exist, and how it stands.
	take func(*tenancy) (composed, outcome)
}

// begun tells whether a step has been taken before.
func (s *step) begun(t *tenancy) bool {
	return s.key != "" && (t.observed.exists(s.key) || t.done(s.key))
}

// waitsFor returns the steps that must be done before this one may begin.
func (s *step) waitsFor(past map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(s.after), func(name string) bool { return past[name] })
}

// composed is what a step wants to exist: a typed object, or one that is to
// stay as it was observed. The zero value is nothing.
type composed struct {
	object runtime.Object
	kept   *structpb.Struct
}

// exists tells whether there is anything to compose.
func (c composed) exists() bool { return c.object != nil || c.kept != nil }

// wire returns the wire form of what is composed.
func (c composed) wire() (*structpb.Struct, error) {
	if c.kept != nil {
		return c.kept, nil
	}
	return encode(c.object)
}

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

// hinders tells whether there is anything to wait for. Where an outcome says what
// is in the way, the zero one says that nothing is.
func (o outcome) hinders() bool { return o != outcome{} }

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
