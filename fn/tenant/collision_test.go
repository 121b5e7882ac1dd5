package tenant_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
)

// wholeLife plays a tenant's life: it comes to be, gets another tier, is suspended and
// resumed, and is deleted. Everything settles as soon as it exists.
func (w *world) wholeLife(each func(*fnv1.RunFunctionResponse)) {
	w.tb.Helper()
	for _, change := range []func(){
		func() {},
		func() { w.client.in("spec")["tier"] = "pro" },
		func() { w.client.in("spec")["suspended"] = true },
		func() { w.client.in("spec")["suspended"] = false },
		func() { w.client.in("metadata", "annotations")[deleted] = "Background" },
	} {
		change()
		var last []string
		for still := 0; still < 5; still++ {
			rsp := w.reconcile()
			each(rsp)
			if keys := keysOf(rsp); !slices.Equal(keys, last) {
				last, still = keys, 0
			}
			for key := range w.composed {
				w.settle(key)
			}
			w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
		}
	}
}

// bornInto returns a tenant that is to come, with or without a template.
func bornInto(tb testing.TB, cloned bool, others ...object) *world {
	tb.Helper()
	w := newWorld(tb, acme())
	w.client.in("spec")["tier"] = "starter"
	if cloned {
		w.others = append(w.others, template("basic-template-18"))
	}
	w.others = append(w.others, others...)
	return w
}

// TestCollisions puts an object of somebody else's where each of the tenant's is to
// stand, in turns, before the tenant comes. It isn't composed upon, the tenant says so,
// and goes on once the object is gone.
func TestCollisions(t *testing.T) {
	places := map[string]object{}
	for _, cloned := range []bool{true, false} {
		w := bornInto(t, cloned)
		w.wholeLife(func(rsp *fnv1.RunFunctionResponse) {
			for key, r := range rsp.GetDesired().GetResources() {
				o := object(r.GetResource().AsMap())
				places[key] = object{"apiVersion": o["apiVersion"], "kind": o["kind"], "metadata": map[string]any{
					"name": o.at("metadata", "name"), "uid": "00000000-0000-4000-9000-000000000001",
				}}
				if ns := o.at("metadata", "namespace"); ns != nil {
					places[key].in("metadata")["namespace"] = ns
				}
			}
		})
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(ours)), slices.Sorted(maps.Keys(places))); diff != "" {
		t.Fatalf("a whole life composes everything: -want, +got:\n%s", diff)
	}

	owners := map[string]struct {
		reason string
		meta   map[string]any
		says   string
	}{
		"Nobodys": {
			reason: "Crossplane would become the controller of an object that has none.",
			meta:   map[string]any{"labels": map[string]any{"app.kubernetes.io/managed-by": "Helm"}},
			says:   "it has no controller, and managed by Helm",
		},
		"Somebodys": {
			reason: "An object has one controller, and who that is is said.",
			meta: map[string]any{"ownerReferences": []any{map[string]any{
				"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs", "uid": "00000000-0000-4000-9000-000000000002", "controller": true,
			}}},
			says: "it is controlled by Deployment theirs",
		},
		"AnEarlierTenants": {
			reason: "The name alone makes nobody the owner.",
			meta: map[string]any{"ownerReferences": []any{map[string]any{
				"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "uid": "00000000-0000-4000-9000-000000000003", "controller": true,
			}}},
			says: "it is controlled by PLANAClient acme",
		},
	}
	for key, place := range places {
		for name, tc := range owners {
			if name != "Nobodys" && !slices.Contains([]string{"guard", "database", "route", "backup", "tenant-prepare"}, key) {
				continue
			}
			t.Run(key+"/"+name, func(t *testing.T) {
				theirs := clone(place)
				maps.Copy(theirs.in("metadata"), clone(tc.meta))
				w := bornInto(t, key != "module-install", theirs)
				said := ""
				w.wholeLife(func(rsp *fnv1.RunFunctionResponse) {
					if rsp.GetDesired().GetResources()[key] != nil {
						t.Fatalf("%s\nRunFunction(...): %s is composed over somebody else's", tc.reason, key)
					}
					for _, c := range rsp.GetConditions() {
						if c.GetReason() == "NameCollision" && c.GetStatus() == fnv1.Status_STATUS_CONDITION_FALSE {
							said = c.GetMessage()
						}
					}
				})
				if key == "matrix-room-retire" {
					// An optional step of a teardown doesn't keep the tenant from going.
					return
				}
				for _, want := range []string{place["kind"].(string), place.at("metadata", "name").(string), tc.says, "kubectl get "} {
					if !strings.Contains(said, want) {
						t.Errorf("%s\nRunFunction(...): a NameCollision has to say %q: %q", tc.reason, want, said)
					}
				}
			})
		}
		t.Run(key+"/Gone", func(t *testing.T) {
			w := bornInto(t, key != "module-install", place)
			composed := false
			see := func(rsp *fnv1.RunFunctionResponse) {
				composed = composed || rsp.GetDesired().GetResources()[key] != nil
			}
			for range 3 {
				see(w.reconcile())
				for key := range w.composed {
					w.settle(key)
				}
			}
			w.others = w.others[:len(w.others)-1]
			w.wholeLife(see)
			if !composed {
				t.Errorf("once nothing is in the way, %s is composed", key)
			}
		})
	}
}

// TestGuardedBySomebodyElse deletes a tenant whose delete a guard refuses that isn't its
// own: one that an earlier tenant of the name has left behind. It says so, and once the
// guard is handed over it goes as if it had been the tenant's all along.
func TestGuardedBySomebodyElse(t *testing.T) {
	theirs := object{"apiVersion": "protection.crossplane.io/v1beta1", "kind": "ClusterUsage", "metadata": map[string]any{
		"name": "planaclient-acme", "uid": "00000000-0000-4000-9000-000000000001",
	}}
	w := bornInto(t, true, theirs)
	w.reconcile()
	w.client.in("metadata", "annotations")[deleted] = "Background"
	for range 3 {
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
	}
	rsp := w.reconcile()
	if step := w.client.at("status", "deletion", "step"); step != "gone" || len(w.composed) > 0 {
		t.Fatalf("a tenant that has nothing is gone, and has %v at step %v", keysOf(rsp), step)
	}
	for _, typ := range []string{"GuardReady", "Deprovisioned"} {
		if diff := isFalse(typ, "NameCollision", "ClusterUsage /planaclient-acme", "kubectl patch clusterusage planaclient-acme").diff(rsp); diff != "" {
			t.Errorf("guarded by somebody else: -want, +got:\n%s", diff)
		}
	}

	theirs.in("metadata")["ownerReferences"] = []any{map[string]any{
		"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "uid": w.client.at("metadata", "uid"), "controller": true,
	}}
	rsp = w.run()
	if diff := cmp.Diff([]string{"guard"}, keysOf(rsp)); diff != "" {
		t.Errorf("Crossplane takes away what it refers to, so the guard is desired once: -want, +got:\n%s", diff)
	}
	w.others = slices.DeleteFunc(w.others, func(o object) bool { return o["kind"] == "ClusterUsage" })
	w.composed["guard"] = theirs
	rsp = w.run()
	if keys := keysOf(rsp); len(keys) > 0 {
		t.Errorf("a guard that was handed over goes: %v", keys)
	}
	if diff := isTrue("Deprovisioned", "Deprovisioned").diff(rsp); diff != "" {
		t.Errorf("once it goes: -want, +got:\n%s", diff)
	}
}

// TestStrangersAreNotComposed has Crossplane show objects as composed that nobody, or
// somebody else, controls: whoever may edit spec.crossplane.resourceRefs can make it.
func TestStrangersAreNotComposed(t *testing.T) {
	for _, bad := range []bool{false, true} {
		for _, key := range []string{"guard", "route", "backup"} {
			w := finished(t)
			delete(w.composed[key].in("metadata"), "ownerReferences")
			if bad {
				w.client.in("spec")["ownerEmail"] = "nobody"
			}
			rsp := w.run()
			if rsp.GetDesired().GetResources()[key] != nil {
				t.Errorf("bad request: %v: a %s without a controller is composed, and would get one", bad, key)
			}
			if got := len(rsp.GetDesired().GetResources()); got != 3 {
				t.Errorf("bad request: %v: without the %s, the other three stay, got %v", bad, key, keysOf(rsp))
			}
		}
	}

	// The status says which Database object is the tenant's.
	w := finished(t)
	delete(w.composed["database"].in("metadata"), "ownerReferences")
	if rsp := w.run(); rsp.GetDesired().GetResources()["database"] == nil {
		t.Errorf("a Database that the status knows stays the tenant's, whoever takes its controller off")
	}
}

// TestRequiresLittle at rest: what a function requires, Crossplane fetches with every
// call, and watches.
func TestRequiresLittle(t *testing.T) {
	w := finished(t)
	if got := w.run().GetRequirements().GetResources(); len(got) > 0 {
		t.Errorf("a steady tenant requires %v", got)
	}
}
