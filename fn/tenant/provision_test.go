package tenant_test

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/fn/tenant"
)

// A stage of a tenant's making: a composed resource settles, and because of that
// others begin.
type stage struct {
	settles string
	begins  []string
}

// The stages of a tenant that is cloned, and of one whose modules Odoo installs.
// They are written down here by hand: this is what was asked for, the plan is
// what was made of it.
var (
	cloned = []stage{
		{begins: []string{"guard"}},
		{settles: "guard", begins: []string{"database"}},
		{settles: "database", begins: []string{"filestore-clone", "matrix-room-create"}},
		{settles: "database"}, // It has been found to be ours.
		{settles: "matrix-room-create"},
		{settles: "filestore-clone", begins: []string{"tenant-prepare"}},
		{settles: "tenant-prepare"},                                // The database is to have another owner.
		{settles: "database", begins: []string{"backup", "route"}}, // It has.
		{settles: "backup"},
		{settles: "route", begins: []string{"smoke-test"}},
		{settles: "smoke-test", begins: []string{"account-webhook"}},
		{settles: "account-webhook", begins: []string{"client-provisioned"}},
		{settles: "client-provisioned"},
	}

	installed = []stage{
		{begins: []string{"guard"}},
		{settles: "guard", begins: []string{"database"}},
		{settles: "database", begins: []string{"matrix-room-create", "module-install"}},
		{settles: "database"},
		{settles: "module-install", begins: []string{"tenant-prepare"}},
		{settles: "tenant-prepare"},
		{settles: "database", begins: []string{"backup", "route"}},
		{settles: "route", begins: []string{"smoke-test"}},
		{settles: "matrix-room-create"},
		{settles: "smoke-test", begins: []string{"account-webhook"}},
		{settles: "account-webhook", begins: []string{"client-provisioned"}},
		{settles: "backup"},
		{settles: "client-provisioned"},
	}
)

// forEveryTenant runs a test for every tier and version, with a template and
// without.
func forEveryTenant(t *testing.T, test func(t *testing.T, tier, version string, hasTemplate bool)) {
	t.Helper()
	for _, tier := range []string{"starter", "pro", "enterprise"} {
		for _, version := range []string{"17", "18", "19"} {
			for _, hasTemplate := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/template=%t", tier, version, hasTemplate), func(t *testing.T) {
					test(t, tier, version, hasTemplate)
				})
			}
		}
	}
}

var templateOf = map[string]string{"starter": "basic", "pro": "pro", "enterprise": "pro"}

// newTenant returns a world with nothing but a PLANAClient, and perhaps a
// template for it.
func newTenant(t *testing.T, tier, version string, hasTemplate bool) *world {
	t.Helper()
	w := newWorld(t, client("acme", 23, tier, version))
	if hasTemplate {
		w.others = append(w.others, template(templateOf[tier]+"-template-"+version))
	}
	return w
}

func TestWalk(t *testing.T) {
	namespaceOf := map[string]string{"17": "plana-odoo", "18": "plana-odoo-18", "19": "plana-odoo-19"}

	forEveryTenant(t, func(t *testing.T, tier, version string, hasTemplate bool) {
		t.Helper()
		w := newTenant(t, tier, version, hasTemplate)
		stages := installed
		if hasTemplate {
			stages = cloned
		}

		want := []string{}
		var rsp *fnv1.RunFunctionResponse
		for i, s := range stages {
			if s.settles != "" {
				w.settle(s.settles)
			}
			want = append(want, s.begins...)
			slices.Sort(want)

			// Twice: a step that begins one response late, or because another was
			// merely composed, is as wrong as one that never begins.
			for range 2 {
				rsp = w.reconcile()
				if diff := cmp.Diff(want, keysOf(rsp)); diff != "" {
					t.Fatalf("stage %d, %s is settled: composed resources: -want, +got:\n%s", i, s.settles, diff)
				}
				if last := i == len(stages)-1; w.ready() != last {
					t.Fatalf("stage %d, %s is settled: ready: want %t, got %t: %v", i, s.settles, last, w.ready(), rsp.GetConditions())
				}
				if i == len(stages)-1 {
					break
				}
			}
		}

		// True would say that something is going on.
		calm := []string{"UpgradePending", "Suspended", "Deprovisioned"}
		for _, c := range rsp.GetConditions() {
			if good := slices.Contains(calm, c.GetType()) == (statusOf(c) == "False"); !good {
				t.Errorf("the tenant is ready, but %s is %s: %s: %s", c.GetType(), statusOf(c), c.GetReason(), c.GetMessage())
			}
		}
		for key, namespace := range map[string]string{
			"guard": "", "database": "crossplane-system", "backup": "backup", "route": namespaceOf[version],
			"filestore-clone": namespaceOf[version], "module-install": namespaceOf[version], "tenant-prepare": namespaceOf[version],
			"smoke-test": "crossplane-system", "matrix-room-create": "crossplane-system",
			"account-webhook": "crossplane-system", "client-provisioned": "crossplane-system",
		} {
			if o, ok := w.composed[key]; ok {
				if got, _ := o.at("metadata", "namespace").(string); got != namespace {
					t.Errorf("%s is in namespace %q, want %q", key, got, namespace)
				}
			}
		}

		// The ledger is written, so the Jobs have served.
		for range 2 {
			rsp = w.reconcile()
			if diff := cmp.Diff([]string{"backup", "database", "guard", "route"}, keysOf(rsp)); diff != "" {
				t.Errorf("a steady tenant's resources: -want, +got:\n%s", diff)
			}
			if !w.ready() {
				t.Errorf("a steady tenant is no longer ready: %v", rsp.GetConditions())
			}
		}
		if ttl := rsp.GetMeta().GetTtl().AsDuration().Hours(); ttl != 24 {
			t.Errorf("a steady tenant is looked at again after %v hours, want 24", ttl)
		}
		if got := len(w.client.in("status", "effects")); got != 6 {
			t.Errorf("the ledger has %d effects, want 6: %v", got, w.client.at("status", "effects"))
		}
	})
}

// Steps compose what people are told that they compose.
func TestStepsCompose(t *testing.T) {
	kinds := map[string]string{}
	for _, d := range slices.Concat(tenant.Plan(), tenant.Suspension(), tenant.Teardown()) {
		kinds[d.Key] = d.Composes
	}
	forEveryTenant(t, func(t *testing.T, tier, version string, hasTemplate bool) {
		t.Helper()
		w := newTenant(t, tier, version, hasTemplate)
		stages := installed
		if hasTemplate {
			stages = cloned
		}
		for _, s := range stages {
			if s.settles != "" {
				w.settle(s.settles)
			}
			for key, r := range w.reconcile().GetDesired().GetResources() {
				if got := r.GetResource().GetFields()["kind"].GetStringValue(); got != kinds[key] {
					t.Errorf("%s is a %s, and described as a %q", key, got, kinds[key])
				}
			}
		}
	})
}

// needs are what must be settled before a resource is composed. A database is
// published when it has settled with Odoo's role as its owner.
var needs = map[string][]string{
	"guard":              nil,
	"database":           {"guard"},
	"filestore-clone":    {"guard", "database"},
	"module-install":     {"guard", "database"},
	"matrix-room-create": {"guard", "database"},
	"tenant-prepare":     {"guard", "database", "filestore-clone|module-install"},
	"route":              {"guard", "published"},
	"backup":             {"guard", "published"},
	"smoke-test":         {"guard", "published", "route"},
	"account-webhook":    {"guard", "published", "route", "smoke-test"},
	"client-provisioned": {"guard", "published", "route", "smoke-test", "account-webhook", "backup"},
}

// TestWander lets resources settle, and come unsettled again, in any order. What
// begins has all that it needs, and what has begun stays.
func TestWander(t *testing.T) {
	forEveryTenant(t, func(t *testing.T, tier, version string, hasTemplate bool) {
		t.Helper()
		for seed := range uint64(2) {
			// Another way for each tenant, and the same one every time.
			name := fnv.New64a()
			_, _ = name.Write([]byte(t.Name()))
			random := rand.New(rand.NewPCG(seed, name.Sum64()))
			w := newTenant(t, tier, version, hasTemplate)
			wasReady, steady := false, 0

			for step := 0; steady < 10; step++ {
				if step == 300 {
					t.Fatalf("seed %d: %d steps weren't enough to provision the tenant, which has %v", seed, step, w.client.at("status", "effects"))
				}
				composed := slices.Sorted(maps.Keys(w.composed))
				if len(composed) > 0 {
					key := composed[random.IntN(len(composed))]
					// What is still to come matters more than what has been.
					if open := slices.DeleteFunc(slices.Clone(composed), w.settled); len(open) > 0 && random.IntN(3) > 0 {
						key = open[random.IntN(len(open))]
					}
					o := w.composed[key]
					// A Job that is complete stays so; all else may falter.
					if random.IntN(5) == 0 && o["kind"] != "Job" && o["kind"] != "CronJob" {
						delete(o, "status")
					} else {
						w.settle(key)
					}
				}
				settled := func(need string) bool {
					return slices.ContainsFunc(strings.Split(need, "|"), w.settled)
				}
				before := map[string]bool{}
				for _, list := range needs {
					for _, need := range list {
						before[need] = settled(need)
					}
				}

				keys := keysOf(w.reconcile())
				for _, key := range keys {
					if slices.Contains(composed, key) {
						continue
					}
					for _, need := range needs[key] {
						if !before[need] {
							t.Fatalf("seed %d, step %d: %s begins without %s", seed, step, key, need)
						}
					}
				}
				for _, key := range composed {
					if !slices.Contains(keys, key) && (w.client.at("status", "effects", key) == nil || !wasReady) {
						t.Fatalf("seed %d, step %d: %s is dropped", seed, step, key)
					}
				}
				if w.ready() && slices.ContainsFunc(keys, func(key string) bool {
					return key != "matrix-room-create" && !before[key] && !settled(key)
				}) {
					t.Fatalf("seed %d, step %d: ready, but not all of %v has settled", seed, step, keys)
				}
				if wasReady = w.ready(); len(keys) == 4 && w.client.at("status", "effects", "client-provisioned") != nil {
					steady++
				}
			}
		}
	})
}

// settled tells whether a composed resource is as ready as it gets.
func (w *world) settled(key string) bool {
	if w.client.at("status", "effects", key) != nil {
		return true
	}
	if key == "published" {
		db := w.composed["database"]
		return w.settled("database") && db.at("spec", "forProvider", "owner") == "odoo"
	}
	o, ok := w.composed[key]
	switch {
	case !ok:
		return false
	case o["kind"] == "CronJob":
		return true
	case o["kind"] == "Database":
		cs, _ := o.at("status", "conditions").([]any)
		return len(cs) > 0 && object(cs[0].(map[string]any))["observedGeneration"] == o.at("metadata", "generation")
	default:
		return o["status"] != nil
	}
}
