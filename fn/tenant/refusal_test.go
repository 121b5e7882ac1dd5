package tenant_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// A refusal is one thing that a PLANAClient may not be.
type refusal struct {
	Name   string `json:"name"`
	Client object `json:"client"`
	Was    object `json:"was,omitempty"`
	Field  string `json:"field"`
	Says   string `json:"says"`

	// Schema is for the test of the XRD's schema.
	Schema string `json:"schema,omitempty"`
}

func refusals(tb testing.TB) []refusal {
	tb.Helper()
	b, err := os.ReadFile("testdata/refusals.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	var rs []refusal
	if err := yaml.UnmarshalStrict(b, &rs); err != nil {
		tb.Fatal(err)
	}
	return rs
}

// overlay fields on an object. A nil one is taken away.
func overlay(o, fields map[string]any) {
	for name, v := range fields {
		below, isMap := v.(map[string]any)
		switch {
		case v == nil:
			delete(o, name)
		case isMap:
			overlay(object(o).in(name), below)
		default:
			o[name] = v
		}
	}
}

// TestRefused asks for what can't be had, for a tenant that has nothing yet.
func TestRefused(t *testing.T) {
	for _, tc := range refusals(t) {
		t.Run(tc.Name, func(t *testing.T) {
			if tc.Was != nil {
				t.Skip("a rule about a change: see TestRefusedInService")
			}
			w := newWorld(t, acme())
			overlay(w.client, tc.Client)
			rsp := w.run()

			fatal := resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL)
			if len(fatal) != 1 || !strings.Contains(fatal[0], tc.Field) || !strings.Contains(fatal[0], tc.Says) {
				t.Errorf("RunFunction(...): want one fatal result with %q and %q, got %q", tc.Field, tc.Says, fatal)
			}
			if keys := keysOf(rsp); len(keys) > 0 {
				t.Errorf("RunFunction(...): composed %v for a tenant that was refused", keys)
			}
			if diff := isFalse("Accepted", "InvalidSpec", tc.Says).diff(rsp); diff != "" {
				t.Errorf("RunFunction(...): -want, +got:\n%s", diff)
			}
		})
	}
}

// TestRefusedInService asks for what can't be had for a tenant that is in
// service. Nothing of it may change.
func TestRefusedInService(t *testing.T) {
	type request struct {
		reason string
		change func(w *world)
		says   said
	}
	cases := map[string]request{
		"BadPlatform": {
			reason: "A Platform with a typo is no Platform.",
			change: func(w *world) { w.platform["domian"] = "example.org" },
			says:   isFalse("Accepted", "InvalidPlatform", "domian"),
		},
		"NoPlatform": {
			reason: "Nor is something else.",
			change: func(w *world) { w.platform = object{"apiVersion": "v1", "kind": "ConfigMap"} },
			says:   isFalse("Accepted", "InvalidPlatform", "kind"),
		},
		"BadObserved": {
			reason: "From what can't be read, nothing may be concluded.",
			change: func(w *world) { w.composed["database"]["spec"] = "garbage" },
			says:   isFalse("Accepted", "InvalidObserved", `"database"`),
		},
		"UnreadableSpec": {
			reason: "A field of another type can't be read.",
			change: func(w *world) { w.client.in("spec")["projectId"] = "twenty-three" },
			says:   isFalse("Accepted", "InvalidSpec", "cannot read the PLANAClient"),
		},
	}
	for _, r := range refusals(t) {
		cases[r.Name] = request{
			reason: "What may not be had may not be had later either.",
			change: func(w *world) { overlay(w.client, r.Client) },
			says:   isFalse("Accepted", "InvalidSpec", r.Field, r.Says),
		}
	}

	// One tenant that is in service, and one that is half-way there.
	steady, halfway := finished(t), preparing(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for stage, like := range map[string]*world{"steady": steady, "halfway": halfway} {
				w := *like
				w.tb, w.client, w.platform, w.composed = t, clone(like.client), clone(like.platform), map[string]object{}
				for key, o := range like.composed {
					w.composed[key] = clone(o)
				}
				w.reconcile()
				before := maps.Clone(w.composed)
				status := clone(w.client).in("status")
				wasReady := w.ready()
				tc.change(&w)
				bad := maps.Clone(w.composed)

				rsp := w.reconcile()
				if fatal := resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL); len(fatal) > 0 {
					t.Fatalf("%s\n%s: fatal: %v", tc.reason, stage, fatal)
				}
				if diff := tc.says.diff(rsp); diff != "" {
					t.Errorf("%s\n%s: -want, +got:\n%s", tc.reason, stage, diff)
				}
				if got := resultsOf(rsp, fnv1.Severity_SEVERITY_WARNING); len(got) != 1 {
					t.Errorf("%s\n%s: want one warning, got %v", tc.reason, stage, got)
				}
				if diff := cmp.Diff(slices.Sorted(maps.Keys(before)), keysOf(rsp)); diff != "" {
					t.Errorf("%s\n%s: composed: -before, +after:\n%s", tc.reason, stage, diff)
				}
				if diff := cmp.Diff(bad, w.composed); diff != "" {
					t.Errorf("%s\n%s: composed resources: -before, +after:\n%s", tc.reason, stage, diff)
				}
				delete(status, "conditions")
				after := clone(w.client).in("status")
				delete(after, "conditions")
				if diff := cmp.Diff(status, after); diff != "" {
					t.Errorf("%s\n%s: status: -before, +after:\n%s", tc.reason, stage, diff)
				}
				if w.ready() != wasReady {
					t.Errorf("%s\n%s: ready was %t, is %t", tc.reason, stage, wasReady, w.ready())
				}

				// Events are for what is new.
				rsp = w.reconcile()
				if got := resultsOf(rsp, fnv1.Severity_SEVERITY_WARNING); len(got) > 0 {
					t.Errorf("%s\n%s: warned again: %v", tc.reason, stage, got)
				}
				if diff := cmp.Diff(bad, w.composed); diff != "" {
					t.Errorf("%s\n%s: composed resources, the second time: -before, +after:\n%s", tc.reason, stage, diff)
				}
			}
		})
	}
}

// TestRequestsOfNothing are requests that lack what every request has.
func TestRequestsOfNothing(t *testing.T) {
	cases := map[string]struct {
		reason string
		req    *fnv1.RunFunctionRequest
		says   said
	}{
		"Nil":         {reason: "Nothing at all.", says: isFalse("Accepted", "InvalidSpec", "no composite resource")},
		"Empty":       {reason: "An empty request.", req: &fnv1.RunFunctionRequest{}, says: isFalse("Accepted", "InvalidSpec", "no composite resource")},
		"NoComposite": {reason: "A state without a composite.", req: &fnv1.RunFunctionRequest{Observed: &fnv1.State{}}, says: isFalse("Accepted", "InvalidSpec", "no composite resource")},
		"NilResource": {
			reason: "A composite without a resource.",
			req:    &fnv1.RunFunctionRequest{Observed: &fnv1.State{Composite: &fnv1.Resource{}}},
			says:   isFalse("Accepted", "InvalidSpec", "no composite resource"),
		},
		"EmptyResource": {
			reason: "A composite with no fields.",
			req:    &fnv1.RunFunctionRequest{Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: document(t, `{}`)}}},
			says:   isFalse("Accepted", "InvalidSpec", "spec.subdomain", "spec.projectId", "spec.ownerEmail", "spec.ownerName"),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp, err := newWorld(t, nil).function.RunFunction(t.Context(), tc.req)
			if err != nil {
				t.Fatalf("%s\nRunFunction(...): %v", tc.reason, err)
			}
			if diff := tc.says.diff(rsp); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if fatal := resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL); len(fatal) != 1 {
				t.Errorf("%s\nRunFunction(...): want one fatal result, got %v", tc.reason, fatal)
			}
		})
	}

	t.Run("NothingDesiredYet", func(t *testing.T) {
		w := finished(t)
		req := w.request()
		req.Desired = nil
		rsp, err := w.function.RunFunction(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"backup", "database", "guard", "route"}, keysOf(rsp)); diff != "" {
			t.Errorf("a request without a desired state: -want, +got:\n%s", diff)
		}
	})
}

// TestReserved subdomains of a Platform are refused too.
func TestReserved(t *testing.T) {
	w := newWorld(t, acme())
	w.platform["reservedSubdomains"] = []any{"api", "acme"}
	rsp := w.run()
	if fatal := resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL); len(fatal) != 1 || !strings.Contains(fatal[0], "is reserved: choose another subdomain") {
		t.Errorf("a subdomain that the Platform reserves: want one fatal result, got %q", fatal)
	}
}
