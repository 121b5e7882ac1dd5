// Package tenant composes PLANAClients: it turns one into the objects that make it a
// tenant, keeps them, and takes them away again.
//
// A request takes one way:
//
//   - It is read into a tenant: the composite, the platform, and what was observed, all
//     typed. See tenant.go, validate.go for the rules of a PLANAClient, and observed.go.
//   - The steps of a plan are taken in order. The plans are tables: plan.go, suspend.go,
//     fence.go and teardown.go.
//   - What the steps say becomes the response: respond.go. What is wrong and needs a
//     person is in trouble.go. A bad request changes nothing: preserve.go.
//
// All other files are steps, each with its reverse where it has one, and what
// steps are made of: job.go and pod.go, quota.go for whether there is room, terminating.go
// for what isn't gone yet, ownership.go for whose a database is.
package tenant

import (
	"errors"
	"fmt"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// Kind is that of PLANAClients.
type Kind struct{}

// GroupKind of the composites.
func (Kind) GroupKind() schema.GroupKind {
	return schema.GroupKind{Group: v1alpha1.Group, Kind: v1alpha1.PLANAClientKind}
}

// Conditions of the plans.
func (Kind) Conditions() []string {
	conditions := make([]string, 0, len(provisioning)+2)
	for i := range provisioning {
		conditions = append(conditions, provisioning[i].Condition)
	}
	return append(conditions, conditionSuspended, conditionDeprovisioned)
}

// Answer a request about one tenant.
func (Kind) Answer(req plan.Request, rsp *fnv1.RunFunctionResponse) (plan.Report, error) {
	t, refused := read(req)
	if refused != nil {
		refused.News = refuse(req.RunFunctionRequest, rsp, refused)
		return plan.Report{Outcome: plan.CallRefused, Refused: refused}, nil
	}

	p := t.reconcile()
	if p.Hold != "" {
		response.Fatal(rsp, errors.New(p.Hold))
		return t.report(p), nil
	}
	return t.report(p), respond(rsp, t, p)
}

// read a request, unless it has to be refused.
func read(req plan.Request) (*tenant, *plan.Refusal) {
	if req.PlatformError != nil {
		return nil, &plan.Refusal{Reason: reasonInvalidPlatform, Err: req.PlatformError}
	}
	client, err := readClient(req.GetObserved().GetComposite().GetResource())
	if err != nil {
		return nil, &plan.Refusal{Reason: reasonInvalidSpec, Err: err}
	}
	if err := validate(client, req.Platform).ToAggregate(); err != nil {
		return nil, &plan.Refusal{Reason: reasonInvalidSpec, Err: fmt.Errorf("cannot use the PLANAClient: %w", err)}
	}
	obs, err := observe(req.RunFunctionRequest)
	if err != nil {
		return nil, &plan.Refusal{Reason: reasonInvalidObserved, Err: err}
	}
	t, err := newTenant(client, req.Platform, obs, req.Now)
	if err != nil {
		return nil, &plan.Refusal{Reason: reasonInvalidSpec, Err: err}
	}
	return t, nil
}

// reconcile follows the plan that the tenant is due: it exists, or it goes.
func (t *tenant) reconcile() *progress {
	if t.leaving() {
		return deprovision(t)
	}
	return provision(t)
}

// report how a tenant stands, and what is new of it.
func (t *tenant) report(p *progress) plan.Report {
	r := plan.Report{Outcome: p.sum(), Composed: len(p.Composed)}
	for _, c := range p.Conditions {
		if t.isNews(c) {
			r.Changes = append(r.Changes, plan.Change{Condition: c, From: string(t.condition(c.Type).Reason)})
		}
	}
	if p.deletion != nil {
		last := t.xr.Status.Deletion
		r.Step, r.NewStep = p.deletion.Step, last == nil || last.Step != p.deletion.Step
	}
	return r
}

// sum of how the steps stand, in one word.
func (p *progress) sum() plan.CallOutcome {
	switch {
	case p.Stuck():
		return plan.CallStuck
	case p.deletion != nil && p.deletion.Step == stepGone:
		return plan.CallGone
	case p.deletion != nil:
		return plan.CallLeaving
	case p.suspension != nil:
		return plan.CallSuspended
	case p.Finished:
		return plan.CallReady
	default:
		return plan.CallWorking
	}
}

// noNews are the reasons of steps that aren't taken, or not yet.
var noNews = []string{reasonWaiting, reasonNotNeeded, reasonDeprovisioning}

// isNews tells whether a condition differs from what the PLANAClient has.
func (t *tenant) isNews(c plan.Condition) bool {
	before := t.condition(c.Type)
	return !slices.Contains(noNews, c.Outcome.Reason) &&
		(string(before.Reason) != c.Outcome.Reason || (before.Status == corev1.ConditionTrue) != c.Outcome.OK())
}
