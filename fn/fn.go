// Package fn turns a PLANAClient into the objects that make it a tenant. It does
// no I/O: what it answers comes of the request and the time alone.
//
// A request takes one way:
//
//   - It is read into a tenancy: the tenant, the platform, and what was observed,
//     all typed. See tenancy.go, tenant.go for the rules of a tenant, observed.go,
//     and wire.go and convert.go for the form in which objects come and go.
//   - The steps of a plan are taken in order. What a step is, is in step.go. The
//     plans are tables: plan.go, suspend.go and teardown.go. They are walked in
//     provision.go.
//   - What the steps say becomes the response: respond.go. What is wrong and wants
//     a person is in trouble.go. A bad request changes nothing: keep.go.
//   - What was done is counted and logged: watch.go.
//
// All other files are steps, each with its reverse where it has one, and what
// steps are made of: job.go and pod.go, quota.go for whether there is room, going.go
// for what isn't gone yet, proof.go for whose a database is.
package fn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/utils/clock"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// Function composes tenants.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log   logging.Logger
	clock clock.PassiveClock

	// platform is the one that was read last. All tenants of a Composition share
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

// New returns a Function that logs to the supplied logger, and takes the time
// from the supplied clock.
func New(log logging.Logger, clock clock.PassiveClock) *Function {
	return &Function{log: log, clock: clock, metrics: newMetrics()}
}

// RunFunction says what should exist for one tenant.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := response.To(req, ttlStuck)
	if rsp.GetDesired() == nil {
		// Crossplane always sends one. Nothing obliges others to.
		rsp.Desired = &fnv1.State{}
	}
	log := f.log.WithValues("tag", req.GetMeta().GetTag(), "tenant", nameOf(req))

	if err := checkKind(req.GetObserved().GetComposite().GetResource()); err != nil {
		f.noteBroken(log, err)
		response.Fatal(rsp, err)
		return rsp, nil
	}

	t, refused := f.read(req)
	if refused != nil {
		news := refuse(req, rsp, refused)
		f.noteRefusal(log, refused, news)
		return rsp, nil
	}

	p := t.pursue()
	if p.hold != "" {
		f.noteProgress(log, t, p)
		response.Fatal(rsp, errors.New(p.hold))
		return rsp, nil
	}
	if err := respond(rsp, t, p); err != nil {
		f.noteBroken(log, err)
		response.Fatal(rsp, err)
		return rsp, nil
	}

	f.noteProgress(log, t, p)
	return rsp, nil
}

// checkKind returns an error for a composite resource of a kind that this function
// doesn't compose. One that doesn't say what it is is for the rest of the function to
// refuse.
func checkKind(xr *structpb.Struct) error {
	apiVersion, kind := stringAt(xr, "apiVersion"), stringAt(xr, "kind")
	group, _, _ := strings.Cut(apiVersion, "/")
	if kind == "" || apiVersion == "" || group == v1alpha1.Group && kind == v1alpha1.PLANAClientKind {
		return nil
	}
	return fmt.Errorf("cannot compose a %s of %s: this function composes %s.%s. Take its step out of the Composition's pipeline, or have the Composition's compositeTypeRef name that kind",
		kind, apiVersion, v1alpha1.PLANAClientKind, v1alpha1.Group)
}

// read a request, unless it has to be refused.
func (f *Function) read(req *fnv1.RunFunctionRequest) (*tenancy, *refusal) {
	platform, err := f.readPlatform(req.GetInput())
	if err != nil {
		return nil, &refusal{reasonInvalidPlatform, err}
	}
	client, err := readClient(req.GetObserved().GetComposite().GetResource())
	if err != nil {
		return nil, &refusal{reasonInvalidSpec, err}
	}
	if err := validate(client, platform).ToAggregate(); err != nil {
		return nil, &refusal{reasonInvalidSpec, fmt.Errorf("cannot use the PLANAClient: %w", err)}
	}
	obs, err := observe(req)
	if err != nil {
		return nil, &refusal{reasonInvalidObserved, err}
	}
	t, err := newTenancy(client, platform, obs, f.clock.Now())
	if err != nil {
		return nil, &refusal{reasonInvalidSpec, err}
	}
	return t, nil
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

// pursue what is asked for: that the tenant exists, or that it goes.
func (t *tenancy) pursue() *progress {
	if t.leaving() {
		return deprovision(t)
	}
	return provision(t)
}
