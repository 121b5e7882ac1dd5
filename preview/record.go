package preview

import (
	"context"
	"maps"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/plana-pulse/function-planaclient/test/simulation"
)

// A Call is one answer of the function, and what is new in it.
type Call struct {
	// Tenant that it is about, by the name of its PLANAClient.
	Tenant string

	// Number of the call in the tenant's life, from 1, and Second since its beginning.
	Number int
	Second int64

	// New and Gone are the objects that are desired since this call, and no more.
	New, Gone []Object

	// Changed are the conditions that the function says otherwise than before.
	Changed []Condition

	// Conditions are all of them, in the function's order.
	Conditions []Condition

	// Desired objects by key, and the composite resource with its status.
	Desired   map[string]*structpb.Struct
	Composite *structpb.Struct

	// Refused is the function's message, if it refuses the tenant.
	Refused string

	// before is the call before this one.
	before *Call
}

// An Object that the function desires.
type Object struct {
	Key, Kind, Namespace, Name string
}

// A Condition that the function sets.
type Condition struct {
	Type, Status, Reason, Message string
}

// recorder notes what the function answers.
type recorder struct {
	function simulation.Function
	second   func() int64
	calls    []*Call
	last     map[string]*Call
}

// RunFunction asks the function, and notes what is new.
func (r *recorder) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp, err := r.function.RunFunction(ctx, req)
	if err != nil {
		return rsp, err
	}
	xr := req.GetObserved().GetComposite().GetResource()
	name := xr.GetFields()["metadata"].GetStructValue().GetFields()["name"].GetStringValue()
	call := &Call{Tenant: name, Second: r.second(), Desired: map[string]*structpb.Struct{}}
	for key, o := range rsp.GetDesired().GetResources() {
		call.Desired[key] = o.GetResource()
	}
	for _, res := range rsp.GetResults() {
		if res.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
			call.Refused = res.GetMessage()
		}
	}
	for _, c := range rsp.GetConditions() {
		call.Conditions = append(call.Conditions, Condition{c.GetType(), status[c.GetStatus()], c.GetReason(), c.GetMessage()})
	}
	call.Composite = composite(xr, rsp)

	// Crossplane asks again at once when the function has asked for another object. What
	// comes of that is one call to a reader.
	before := r.last[name]
	if before != nil && before.Second == call.Second {
		r.calls = slices.DeleteFunc(r.calls, func(c *Call) bool { return c == before })
		before = before.before
	}
	if before == nil {
		before = &Call{}
	}
	call.before = before
	call.Number = before.Number + 1
	call.compare(before)
	r.last[name] = call
	r.calls = append(r.calls, call)
	return rsp, nil
}

// compare a call with the one before it.
func (c *Call) compare(before *Call) {
	if c.Refused != "" {
		// Crossplane applies nothing of it.
		c.Desired = before.Desired
		return
	}
	for _, key := range slices.Sorted(maps.Keys(c.Desired)) {
		if before.Desired[key] == nil {
			c.New = append(c.New, objectOf(key, c.Desired[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before.Desired)) {
		if c.Desired[key] == nil {
			c.Gone = append(c.Gone, objectOf(key, before.Desired[key]))
		}
	}
	for _, condition := range c.Conditions {
		if !slices.Contains(before.Conditions, condition) {
			c.Changed = append(c.Changed, condition)
		}
	}
}

var status = map[fnv1.Status]string{
	fnv1.Status_STATUS_CONDITION_TRUE: "True", fnv1.Status_STATUS_CONDITION_FALSE: "False", fnv1.Status_STATUS_CONDITION_UNKNOWN: "Unknown",
}

func objectOf(key string, s *structpb.Struct) Object {
	meta := s.GetFields()["metadata"].GetStructValue().GetFields()
	return Object{key, s.GetFields()["kind"].GetStringValue(), meta["namespace"].GetStringValue(), meta["name"].GetStringValue()}
}

// composite resource as it was sent, with the status that the function desires.
func composite(xr *structpb.Struct, rsp *fnv1.RunFunctionResponse) *structpb.Struct {
	out := &structpb.Struct{Fields: maps.Clone(xr.GetFields())}
	if s := rsp.GetDesired().GetComposite().GetResource().GetFields()["status"]; s != nil {
		out.Fields["status"] = s
	}
	return out
}
