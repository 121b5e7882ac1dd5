// Package plan is what a composite's plan is made of, and how it is carried out: ordered
// steps, each of which composes a resource or waits for one. It knows no kind of
// composite.
package plan

import "slices"

// A Step is one row of a plan, for composites that are read as a T.
type Step[T Context] struct {
	// Name of the step, by which others wait for it.
	Name string

	// Does says what the step is for, to people: the rest of a sentence that its name
	// begins.
	Does string

	// Condition of the composite that tells how the step stands. Empty in a sequence,
	// whose steps share one.
	Condition string

	// Key of the composed resource. A Job's is the name of its effect. Empty for a step
	// that changes another step's resource, or waits for it.
	Key string

	// Composes is the kind of that resource, for people.
	Composes string

	// After names the steps that must be done before this one begins. Steps of a
	// sequence have none: each comes after the one before.
	After []string

	// Optional steps may fail without stopping anything else.
	Optional bool

	// Applies tells whether this composite needs the step, and Otherwise says why it
	// doesn't. Nil: every composite does.
	Applies   func(T) bool
	Otherwise string

	// Take the step: say what should exist, how it stands, and what the next request
	// needs. It changes nothing that it is given.
	Take func(T) Result
}

// A Context is what a request says of one composite, as far as a plan has to know.
type Context interface {
	// Exists tells whether a composed resource is observed.
	Exists(key string) bool

	// Done tells whether the ledger has an effect.
	Done(key string) bool

	// Admit what a step composes, unless something is in the way of it.
	Admit(key string, r Result) Result

	// Working tells whether the Job of a sequence's step is still needed, though the
	// composite doesn't need the step any more.
	Working(key string) bool

	// Begun returns the Job of a sequence's step that has begun and isn't recorded, or
	// nothing.
	Begun(key string) Composed
}

// begun tells whether a step has been taken before.
func (s *Step[T]) begun(xr T) bool {
	return s.Key != "" && (xr.Exists(s.Key) || xr.Done(s.Key))
}

// waitsFor returns the steps that must be done before this one may begin.
func (s *Step[T]) waitsFor(past map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(s.After), func(name string) bool { return past[name] })
}
