package plan

import (
	"slices"
	"strings"
)

// A Condition of the composite. It is true if its outcome is OK.
type Condition struct {
	Type    string
	Outcome Outcome
}

// Progress is how a composite stands: what it should consist of, and what there is to
// say of it.
type Progress struct {
	// Composed resources by key, and whether each is ready.
	Composed map[string]Composed
	Ready    map[string]bool

	Conditions []Condition

	// Finished tells whether the composite is as it was asked to be.
	Finished bool

	// Needs of the next request.
	Needs Needs

	// Hold says why nothing at all may be applied or taken away. Empty: it may.
	Hold string
}

// NewProgress returns the progress of a composite of which nothing is said yet.
func NewProgress() *Progress {
	return &Progress{Composed: map[string]Composed{}, Ready: map[string]bool{}}
}

// Compose a resource, if there is one.
func (p *Progress) Compose(key string, c Composed, ready bool) {
	if c.Exists() {
		p.Composed[key] = c
		p.Ready[key] = ready
	}
}

// Add what a step composes, if anything, and what it needs.
func (p *Progress) Add(key string, r Result, ready bool) {
	p.Compose(key, r.Composed, ready)
	p.Need(r.Needs)
}

// Need something at the next request.
func (p *Progress) Need(n Needs) { p.Needs = p.Needs.And(n) }

// Say how something stands.
func (p *Progress) Say(condition string, o Outcome) {
	p.Conditions = append(p.Conditions, Condition{condition, o})
}

// Moves tells whether anything is about to change without a person's doing.
func (p *Progress) Moves() bool { return p.any(StateProgressing) }

// Stuck tells whether a person has to act.
func (p *Progress) Stuck() bool { return p.any(StateFailed) }

func (p *Progress) any(s State) bool {
	return slices.ContainsFunc(p.Conditions, func(c Condition) bool { return c.Outcome.State == s })
}

// Reasons of conditions that come of the plan itself.
const (
	ReasonNotNeeded = "NotNeeded"
	ReasonWaiting   = "Waiting"
)

// Walk takes every step that may be taken. The progress is finished if all are done that
// aren't optional.
func Walk[T Context](xr T, p *Progress, steps []Step[T]) {
	p.Finished = true
	past := make(map[string]bool, len(steps))

	for i := range steps {
		s := &steps[i]

		// What has begun goes on, whatever has come to light since.
		if s.Applies != nil && !s.Applies(xr) && !xr.Exists(s.Key) {
			past[s.Name] = true
			p.Say(s.Condition, Complete(ReasonNotNeeded, "%s", s.Otherwise))
			continue
		}

		missing := s.waitsFor(past)
		if len(missing) > 0 && !s.begun(xr) {
			p.Finished = p.Finished && s.Optional
			p.Say(s.Condition, Pending(ReasonWaiting, "waits for: %s", strings.Join(missing, ", ")))
			continue
		}

		r := xr.Admit(s.Key, s.Take(xr))
		// An optional step's resource must not keep the composite from Ready.
		p.Add(s.Key, r, r.OK() || s.Optional)
		p.Say(s.Condition, r.Outcome)

		// A step counts as past only if those before it do too: once a step before it
		// turns out to be undone, nothing that hasn't begun begins.
		past[s.Name] = r.OK() && len(missing) == 0
		p.Finished = p.Finished && (past[s.Name] || s.Optional)
	}
}

// Follow a sequence of steps, strictly one after the other. It returns the step that the
// sequence has come to and how that stands: nil once all are done.
func Follow[T Context](xr T, p *Progress, sequence []Step[T]) (*Step[T], Outcome) {
	for i := range sequence {
		s := &sequence[i]
		if s.Applies != nil && !s.Applies(xr) && !xr.Working(s.Key) {
			continue
		}
		r := xr.Admit(s.Key, s.Take(xr))
		p.Add(s.Key, r, r.OK())
		if !r.OK() && (!s.Optional || r.State != StateFailed) {
			// Jobs of later steps have begun before a hand undid an earlier one.
			for j := range sequence[i+1:] {
				key := sequence[i+1+j].Key
				p.Compose(key, xr.Begun(key), false)
			}
			return s, r.Outcome
		}
	}
	return nil, Outcome{}
}
