package plan

import (
	"maps"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
)

// A Result is all that a step has to say: what should exist, how it stands, and what the
// next request needs.
type Result struct {
	Composed
	Outcome
	Needs
}

// Say how a step stands that composes nothing.
func Say(o Outcome) Result { return Result{Outcome: o} }

// Desire a resource, and say how it stands.
func Desire(c Composed, o Outcome) Result { return Result{Composed: c, Outcome: o} }

// With other needs beside the result's own.
func (r Result) With(n Needs) Result {
	r.Needs = r.And(n)
	return r
}

// Needs are what has to be so at the next request.
type Needs struct {
	// Required resources, by the names that this function gives them. Crossplane shows
	// only those that were asked for in the response before.
	Required map[string]*fnv1.ResourceSelector

	// Within is when the next request should be made, if nothing happens before. Zero:
	// when the composite as a whole needs one.
	Within time.Duration
}

// Require a resource under a name.
func Require(name string, s *fnv1.ResourceSelector) Needs {
	return Needs{Required: map[string]*fnv1.ResourceSelector{name: s}}
}

// Again asks for the next request within a duration.
func Again(within time.Duration) Needs { return Needs{Within: within} }

// And returns these needs and others. Neither is changed.
func (n Needs) And(others Needs) Needs {
	switch {
	case len(n.Required) == 0:
		n.Required = others.Required
	case len(others.Required) > 0:
		n.Required = maps.Clone(n.Required)
		maps.Copy(n.Required, others.Required)
	}
	if n.Within == 0 || others.Within != 0 && others.Within < n.Within {
		n.Within = others.Within
	}
	return n
}
