package plan

import "fmt"

// An Outcome is how a step stands.
type Outcome struct {
	State   State
	Reason  string
	Message string
}

// A State of a step.
type State int

// States of a step.
const (
	// StatePending waits for other steps, before it begins.
	StatePending State = iota
	// StateProgressing has asked for something that isn't there yet.
	StateProgressing
	// StateFailed doesn't come right by itself: a person has to act.
	StateFailed
	// StateDegraded has what it asked for, in use, and a person should look.
	StateDegraded
	// StateComplete has what it asked for.
	StateComplete
)

// States are all that there are, in their order.
func States() []State {
	return []State{StatePending, StateProgressing, StateFailed, StateDegraded, StateComplete}
}

// OK tells whether others may build on the step.
func (o Outcome) OK() bool { return o.State == StateComplete || o.State == StateDegraded }

// Blocks tells whether there is anything to wait for. Where an outcome says what is in
// the way, the zero one says that nothing is.
func (o Outcome) Blocks() bool { return o != Outcome{} }

// NeedsPerson tells whether a person should act.
func (o Outcome) NeedsPerson() bool { return o.State == StateFailed || o.State == StateDegraded }

// Pending is the outcome of a step that may not begin yet.
func Pending(reason, format string, args ...any) Outcome {
	return Outcome{StatePending, reason, fmt.Sprintf(format, args...)}
}

// Progressing is the outcome of a step whose resource isn't as it should be yet.
func Progressing(reason, format string, args ...any) Outcome {
	return Outcome{StateProgressing, reason, fmt.Sprintf(format, args...)}
}

// Degraded is the outcome of a step that has what it asked for, at which a person should
// look.
func Degraded(reason, format string, args ...any) Outcome {
	return Outcome{StateDegraded, reason, fmt.Sprintf(format, args...)}
}

// Complete is the outcome of a step that is done.
func Complete(reason, format string, args ...any) Outcome {
	return Outcome{StateComplete, reason, fmt.Sprintf(format, args...)}
}
