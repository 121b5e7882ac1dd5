// Package preview shows what the function makes of a tenant, without a cluster: it plays a
// healthy one against the function, in process, from the first call to rest. The cluster
// is the simulation's, by whose rules the project's histories are played.
package preview

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/logging"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn"
	"github.com/plana-pulse/function-planaclient/fn/tenant"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
	"github.com/plana-pulse/function-planaclient/test/simulation"
)

// WhatIf changes what becomes of the tenants. The zero value is a life without incident.
type WhatIf struct {
	// WithoutTemplate has Odoo install the modules, because there is no template to clone.
	WithoutTemplate bool

	// Fail names a step that fails for good: its Job does, the server refuses the database,
	// or the Gateway refuses the route.
	Fail string

	// Suspend, move to a Tier and Delete the tenants, in this order, once they are at rest.
	Suspend bool
	Tier    string
	Delete  bool
}

// A Life is what became of one tenant.
type Life struct {
	// Tenant by the name of its PLANAClient.
	Tenant string

	// Calls of the function, in order. Those that change nothing aren't among them.
	Calls []*Call

	// Refused is the function's message, if it refuses the tenant.
	Refused string

	// Gone tells that the PLANAClient is there no more.
	Gone bool
}

// Play the tenants' lives until nothing moves any more. A tenant of which Crossplane never
// asks the function has no life, which is an error.
func Play(in *Input, what WhatIf) ([]*Life, error) {
	s, err := newStage(in, what)
	if err != nil {
		return nil, err
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	for _, change := range s.changes(what) {
		for _, name := range s.names {
			change(name)
		}
		if err := s.settle(); err != nil {
			return nil, err
		}
	}
	return s.lives()
}

// A stage is the cluster in which lives are played, with what is noted of them.
type stage struct {
	cluster  *simulation.Healthy
	recorder *recorder
	names    []string
}

func newStage(in *Input, what WhatIf) (*stage, error) {
	platform, err := v1beta1.Parse(in.Platform)
	if err != nil {
		// For the function to say so, which knows what that means for a tenant in service.
		if platform, err = v1beta1.Parse(nil); err != nil {
			return nil, err
		}
	}
	s := &stage{recorder: &recorder{last: map[string]*Call{}}}
	s.recorder.second = func() int64 { return s.cluster.Elapsed() }
	if in.From != nil && len(in.Tenants) != 1 {
		return nil, fmt.Errorf("cannot begin with what a cluster has of %d tenants: give one PLANAClient", len(in.Tenants))
	}
	s.cluster = simulation.NewHealthy(func(c *clocktesting.FakePassiveClock) simulation.Function {
		s.recorder.function = fn.New(logging.NewNopLogger(), c)
		return s.recorder
	}, in.Platform, platform)

	if what.Fail != "" {
		if err := s.fail(what.Fail); err != nil {
			return nil, err
		}
	}
	for _, xr := range in.Tenants {
		version, tier := text(xr, "spec", "odooVersion"), v1alpha1.Tier(text(xr, "spec", "tier"))
		// One that the Platform hasn't is for the function to refuse.
		if t, err := platform.Tier(tier); err == nil && !what.WithoutTemplate && in.From == nil && slices.Contains([]string{"17", "18", "19"}, version) {
			s.cluster.DeclareTemplate(t.Template, version)
		}
		if in.From != nil {
			s.cluster.Resume(xr, in.From)
		} else {
			s.cluster.Create(xr)
		}
		s.names = append(s.names, text(xr, "metadata", "name"))
	}
	return s, nil
}

// fail a step for good.
func (s *stage) fail(step string) error {
	can := map[string]string{"database": "database", "route": "route"}
	for _, d := range slices.Concat(tenant.Plan(), tenant.Suspension(), tenant.Teardown()) {
		if d.Composes == "Job" {
			can[d.Name] = d.Key
		}
	}
	key, ok := can[step]
	if !ok {
		return fmt.Errorf("cannot have step %q fail: it is none of those that can: %s", step, strings.Join(slices.Sorted(maps.Keys(can)), ", "))
	}
	s.cluster.Fail(key)
	return nil
}

// changes that people make to a tenant at rest.
func (s *stage) changes(what WhatIf) []func(name string) {
	spec := func(field string, value any) func(string) {
		return func(name string) {
			s.cluster.Edit(name, func(body map[string]any) {
				if spec, ok := body["spec"].(map[string]any); ok {
					spec[field] = value
				}
			})
		}
	}
	var out []func(string)
	if what.Tier != "" {
		out = append(out, spec("tier", what.Tier))
	}
	if what.Suspend {
		out = append(out, spec("suspended", true))
	}
	if what.Delete {
		out = append(out, s.cluster.Delete)
	}
	return out
}

func (s *stage) settle() error { return s.cluster.Settle() }

func (s *stage) lives() ([]*Life, error) {
	lives := make([]*Life, 0, len(s.names))
	for _, name := range s.names {
		l := &Life{Tenant: name, Gone: s.cluster.Client(name) == nil}
		for _, c := range s.recorder.calls {
			if c.Tenant == name {
				l.Calls = append(l.Calls, c)
			}
		}
		if len(l.Calls) == 0 {
			return nil, fmt.Errorf("cannot preview PLANAClient %s: Crossplane doesn't ask the function about it, because it is paused or its delete has been carried out: take its annotation crossplane.io/paused or its metadata.deletionTimestamp out of the file", name)
		}
		l.Refused = l.last().refusal()
		lives = append(lives, l)
	}
	return lives, nil
}

// last call. Every life has one.
func (l *Life) last() *Call { return l.Calls[len(l.Calls)-1] }

// refusal of a tenant: the message of the whole answer or, of one that is in service and
// stays as it is, of its condition.
func (c *Call) refusal() string {
	if c.Refused != "" {
		return c.Refused
	}
	for _, d := range c.Conditions {
		if d.Type == "Accepted" && d.Status == "False" {
			return d.Message
		}
	}
	return ""
}
