package plan

import (
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// A Kind of composite, as the function's registry has it.
type Kind interface {
	// GroupKind of the composites.
	GroupKind() schema.GroupKind

	// Conditions that steps of the kind's plans have, for metrics.
	Conditions() []string

	// Answer a request: write what should exist into the response. An error is a fault of
	// the function's own.
	Answer(Request, *fnv1.RunFunctionResponse) (Report, error)
}

// A Request is what one composite is answered from.
type Request struct {
	*fnv1.RunFunctionRequest

	// Platform is the pipeline step's input, or PlatformError why it can't be used.
	Platform      *v1beta1.Platform
	PlatformError error

	// Now is when the request is answered.
	Now time.Time
}

// A Report is what a kind says of its answer to those who watch the function.
type Report struct {
	// Outcome of the call.
	Outcome CallOutcome

	// Refused says why nothing was done, if nothing was.
	Refused *Refusal

	// Changes are the conditions that are new, and From their reasons as they were.
	Changes []Change

	// Composed is how many resources are desired.
	Composed int

	// Step of a sequence that isn't the plan, and whether it has just come to that.
	Step    string
	NewStep bool
}

// A Change is a condition that differs from what the composite has.
type Change struct {
	Condition

	// From is the reason as it was. Empty: the composite didn't have the condition.
	From string
}

// A Refusal of a request from which nothing may be concluded.
type Refusal struct {
	// Reason of condition Accepted.
	Reason string
	Err    error

	// News tells that this is the first time that the composite is told.
	News bool
}

// A CallOutcome is how a composite stands after a call, in one word.
type CallOutcome string

// Outcomes of calls.
const (
	CallRefused   CallOutcome = "refused"
	CallBroken    CallOutcome = "broken"
	CallStuck     CallOutcome = "stuck"
	CallGone      CallOutcome = "gone"
	CallLeaving   CallOutcome = "leaving"
	CallSuspended CallOutcome = "suspended"
	CallReady     CallOutcome = "ready"
	CallWorking   CallOutcome = "working"
)

// CallOutcomes are all that there are.
func CallOutcomes() []CallOutcome {
	return []CallOutcome{CallRefused, CallBroken, CallStuck, CallGone, CallLeaving, CallSuspended, CallReady, CallWorking}
}
