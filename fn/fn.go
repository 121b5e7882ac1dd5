// Package fn answers Crossplane: it sees which kind of composite a request is about, and
// has that kind's package say what should exist. It does no I/O: what it answers comes of
// the request and the time alone.
//
// A request takes one way:
//
//   - Function.RunFunction finds the kind in the registry, which is kinds.go, and reads
//     the Platform.
//   - The kind's package reads the request into a typed context, and takes the steps of
//     its plans. Package tenant has PLANAClients: see tenant/answer.go.
//   - What a plan is, and how it is carried out, is in package plan. It knows no kind.
//     Package wire has the form in which objects come and go.
//   - watch.go counts and logs what was answered.
package fn

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/wire"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// Function answers Crossplane.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log   logging.Logger
	clock clock.PassiveClock
	kinds []plan.Kind

	// platform is the one that was read last. All composites of a Composition share
	// one, and to read and validate it is most of what a small request costs.
	platform atomic.Pointer[platformRead]

	metrics *metrics
}

// A platformRead is what a pipeline step's input reads as.
type platformRead struct {
	input    *structpb.Struct
	platform *v1beta1.Platform
	err      error
}

// New returns a Function that composes all kinds of composites that there are, logs to
// the supplied logger, and takes the time from the supplied clock.
func New(log logging.Logger, clock clock.PassiveClock) *Function {
	return newFunction(log, clock, kinds)
}

func newFunction(log logging.Logger, clock clock.PassiveClock, kinds []plan.Kind) *Function {
	return &Function{log: log, clock: clock, kinds: kinds, metrics: newMetrics(kinds)}
}

// RunFunction says what should exist for one composite.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := response.To(req, plan.TTLStuck)
	if rsp.GetDesired() == nil {
		// Crossplane always sends one. Nothing obliges others to.
		rsp.Desired = &fnv1.State{}
	}
	xr := req.GetObserved().GetComposite().GetResource()
	log := f.log.WithValues("tag", req.GetMeta().GetTag(), "tenant", wire.StringAt(xr, "metadata", "name"))

	kind, err := f.kindOf(xr)
	if err != nil {
		f.noteBroken(log, err)
		response.Fatal(rsp, err)
		return rsp, nil
	}

	platform, platformErr := f.readPlatform(req.GetInput())
	report, err := kind.Answer(plan.Request{
		RunFunctionRequest: req,
		Platform:           platform, PlatformError: platformErr,
		Now: f.clock.Now(),
	}, rsp)
	if err != nil {
		f.noteBroken(log, err)
		response.Fatal(rsp, err)
		return rsp, nil
	}
	f.note(log, report)
	return rsp, nil
}

// kindOf returns the kind of a composite. One that doesn't say what it is is for the
// first kind to refuse.
func (f *Function) kindOf(xr *structpb.Struct) (plan.Kind, error) {
	apiVersion, kind := wire.StringAt(xr, "apiVersion"), wire.StringAt(xr, "kind")
	if kind == "" || apiVersion == "" {
		return f.kinds[0], nil
	}
	group, _, _ := strings.Cut(apiVersion, "/")
	names := make([]string, 0, len(f.kinds))
	for _, k := range f.kinds {
		if k.GroupKind() == (schema.GroupKind{Group: group, Kind: kind}) {
			return k, nil
		}
		names = append(names, k.GroupKind().String())
	}
	return nil, fmt.Errorf("cannot compose a %s of %s: this function composes %s. Take its step out of the Composition's pipeline, or have the Composition's compositeTypeRef name that kind",
		kind, apiVersion, strings.Join(names, ", "))
}

// readPlatform reads a Platform, unless it is the one that was read last. Nobody
// may change what it returns.
func (f *Function) readPlatform(input *structpb.Struct) (*v1beta1.Platform, error) {
	last := f.platform.Load()
	if last == nil || !proto.Equal(last.input, input) {
		p, err := v1beta1.Parse(input)
		last = &platformRead{input: input, platform: p, err: err}
		f.platform.Store(last)
	}
	return last.platform, last.err
}
