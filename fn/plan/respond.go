package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/structpb"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"

	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// WriteComposed writes all that is composed into a response.
func (p *Progress) WriteComposed(rsp *fnv1.RunFunctionResponse) error {
	for _, key := range slices.Sorted(maps.Keys(p.Composed)) {
		r, err := p.Composed[key].Wire()
		if err != nil {
			return fmt.Errorf("cannot compose %q: %w", key, err)
		}
		WriteResource(rsp, key, r, p.Ready[key])
	}
	return nil
}

// WriteConditions writes what there is to say into a response and, of what has just come
// to need a person, an event. Crossplane throttles events, so they are for transitions
// alone. The former conditions are the composite's.
func (p *Progress) WriteConditions(rsp *fnv1.RunFunctionResponse, former func(condition string) xpv1.Condition) {
	for _, c := range p.Conditions {
		o := c.Outcome
		if o.OK() {
			response.ConditionTrue(rsp, c.Type, o.Reason).WithMessage(o.Message)
		} else {
			response.ConditionFalse(rsp, c.Type, o.Reason).WithMessage(o.Message)
		}
		if o.NeedsPerson() && former(c.Type).Reason != xpv1.ConditionReason(o.Reason) {
			response.Warning(rsp, errors.New(c.Type+": "+o.Message)).WithReason(o.Reason)
		}
	}
}

// WriteResource adds a composed resource to the desired state of a response.
func WriteResource(rsp *fnv1.RunFunctionResponse, key string, r *structpb.Struct, ready bool) {
	if rsp.Desired.Resources == nil {
		rsp.Desired.Resources = map[string]*fnv1.Resource{}
	}
	readiness := fnv1.Ready_READY_FALSE
	if ready {
		readiness = fnv1.Ready_READY_TRUE
	}
	rsp.Desired.Resources[key] = &fnv1.Resource{Resource: r, Ready: readiness}
}

// WriteStatus writes the status of the composite. Crossplane erases what a status leaves
// out, so what earlier functions of the pipeline desire of it stays, but for the fields
// that are this function's.
func WriteStatus(rsp *fnv1.RunFunctionResponse, status *structpb.Struct, ready bool) {
	xr := rsp.GetDesired().GetComposite()
	if xr == nil {
		xr = &fnv1.Resource{}
		rsp.Desired.Composite = xr
	}
	if xr.GetResource() == nil {
		xr.Resource = &structpb.Struct{}
	}
	if xr.Resource.Fields == nil {
		xr.Resource.Fields = map[string]*structpb.Value{}
	}
	if before := xr.GetResource().GetFields()[wire.Status].GetStructValue(); before != nil {
		status = merged(before, status)
	}
	xr.Resource.Fields[wire.Status] = structpb.NewStructValue(status)

	// Crossplane calls a composite ready once all that it composes is. One that begins
	// with its guard alone would be Ready at once. When the plan is finished it is left
	// to Crossplane, which knows what other functions in the pipeline wait for.
	if !ready {
		xr.Ready = fnv1.Ready_READY_FALSE
	}
}

// merged returns one struct over another. Structs that both have are merged too; of
// everything else the upper one's value counts. Neither is changed.
func merged(under, over *structpb.Struct) *structpb.Struct {
	out := &structpb.Struct{Fields: maps.Clone(under.GetFields())}
	if out.Fields == nil {
		out.Fields = map[string]*structpb.Value{}
	}
	for name, v := range over.GetFields() {
		below, above := out.GetFields()[name].GetStructValue(), v.GetStructValue()
		if below != nil && above != nil {
			v = structpb.NewStructValue(merged(below, above))
		}
		out.Fields[name] = v
	}
	return out
}
