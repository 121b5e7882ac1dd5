// Package fn turns a PLANAClient into the objects that make it a tenant. It is
// pure: a response depends on the request alone.
//
// A request takes one way. It is read into a tenancy (the tenant, the platform,
// and what was observed, all typed), the plan's steps are taken in order, and
// what they say becomes the response.
package fn

import (
	"context"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"k8s.io/utils/clock"
)

// Function composes tenants.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log   logging.Logger
	clock clock.PassiveClock
}

// New returns a Function that logs to the supplied logger, and takes the time
// from the supplied clock.
func New(log logging.Logger, clock clock.PassiveClock) *Function {
	return &Function{log: log, clock: clock}
}

// RunFunction says what should exist for one tenant.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := response.To(req, ttlSettling)
	if rsp.GetDesired() == nil {
		// Crossplane always sends one. Nothing obliges others to.
		rsp.Desired = &fnv1.State{}
	}
	log := f.log.WithValues("tag", req.GetMeta().GetTag(), "tenant", nameOf(req))

	t, err := read(req, f.clock.Now())
	if err != nil {
		log.Info("Refused a request", "error", err)
		refuse(req, rsp, err)
		return rsp, nil
	}

	p := t.pursue()
	if err := respond(rsp, t, p); err != nil {
		log.Info("Cannot express the desired state", "error", err)
		response.Fatal(rsp, err)
		return rsp, nil
	}

	log.Debug("Composed a tenant", "finished", p.finished, "composed", len(p.composed))
	return rsp, nil
}

// pursue what is asked for: that the tenant exists, or that it goes.
func (t *tenancy) pursue() *progress {
	if t.leaving() {
		return deprovision(t)
	}
	return provision(t)
}
