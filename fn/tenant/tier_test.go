package tenant_test

import (
	"slices"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
)

// TestTier changes the tier of a tenant in service.
func TestTier(t *testing.T) {
	up := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, client("acme", 23, "starter", "18"))
		w.others = []object{template("basic-template-18")}
		w.finish()
		w.client.in("spec")["tier"] = "pro"
		return w
	}

	t.Run("Up", func(t *testing.T) {
		w := up(t)
		rsp := w.reconcile()
		if diff := isFalse("TierInService", "Creating").diff(rsp); diff != "" {
			t.Errorf("a higher tier: -want, +got:\n%s", diff)
		}
		if got := kubelet(cronJobOf(t, w).Spec.JobTemplate.Spec.Template.Spec.Containers[0])["BACKUP_RETENTION_DAYS"]; got != "90" {
			t.Errorf("a higher tier's retention holds at once: want 90 days, got %s", got)
		}
		if !w.ready() || w.client.at("status", "tier") != "starter" {
			t.Errorf("a higher tier, before its modules are installed: ready %t, status.tier %v", w.ready(), w.client.at("status", "tier"))
		}
		env, _ := w.composed["tier-modules"].at("spec", "template", "spec", "initContainers").([]any)
		if len(env) == 0 {
			t.Fatalf("no Job installs the modules: %v", w.composed["tier-modules"])
		}
		args, _ := object(env[1].(map[string]any))["args"].([]any)
		if !slices.Contains(args, any("--init=hr,purchase,stock,subscription_oca")) {
			t.Errorf("a higher tier installs more than the modules that it has and the lower one hasn't: %v", args)
		}
		all := w.life()
		if last := all[len(all)-1]; len(last) != 4 || w.client.at("status", "tier") != "pro" || !w.ready() {
			t.Errorf("a higher tier, in the end: %v, status.tier %v, ready %t", last, w.client.at("status", "tier"), w.ready())
		}
	})

	t.Run("UpFails", func(t *testing.T) {
		w := up(t)
		w.reconcile()
		w.fail("tier-modules")
		rsp := w.reconcile()
		if diff := isFalse("TierInService", "JobFailed", "kubectl -n plana-odoo-18 delete job tier-modules-acme-23").diff(rsp); diff != "" {
			t.Errorf("modules that can't be installed: -want, +got:\n%s", diff)
		}
		if !w.ready() || w.client.at("status", "tier") != "starter" {
			t.Errorf("modules that can't be installed: ready %t, status.tier %v", w.ready(), w.client.at("status", "tier"))
		}
	})

	t.Run("UpWhileItsDatabaseObjectIsGone", func(t *testing.T) {
		w := up(t)
		w.reconcile()
		job, db := w.composed["tier-modules"], w.composed["database"]
		delete(w.composed, "database")
		if w.reconcile(); w.composed["tier-modules"] == nil || w.client.at("status", "tier") != "starter" {
			t.Errorf("modules are being installed, and somebody deletes the Database object: the Job goes on, and the old tier is in service until it is done: Job %v, status.tier %v",
				w.composed["tier-modules"], w.client.at("status", "tier"))
		}

		delete(w.composed, "database")
		delete(w.composed, "tier-modules")
		rsp := w.reconcile()
		if diff := isFalse("TierInService", "Waiting").diff(rsp); diff != "" || w.composed["tier-modules"] != nil {
			t.Errorf("nothing is installed into a database that isn't seen: Job %v; -want, +got:\n%s", w.composed["tier-modules"], diff)
		}

		w.composed["database"], w.composed["tier-modules"] = db, job
		if w.life(); w.client.at("status", "tier") != "pro" || !w.ready() {
			t.Errorf("a higher tier, in the end: status.tier %v, ready %t", w.client.at("status", "tier"), w.ready())
		}
	})

	t.Run("Down", func(t *testing.T) {
		w := finished(t)
		w.client.in("spec")["tier"] = "starter"
		rsp := w.reconcile()
		if got := resultsOf(rsp, fnv1.Severity_SEVERITY_WARNING); len(got) != 1 {
			t.Errorf("a lower tier: want one warning, got %v", got)
		}
		if w.client.at("status", "tier") != "starter" || !w.ready() || len(w.composed) != 4 {
			t.Errorf("a lower tier is in service at once: status.tier %v, ready %t", w.client.at("status", "tier"), w.ready())
		}
		if got := resultsOf(w.reconcile(), fnv1.Severity_SEVERITY_WARNING); len(got) > 0 {
			t.Errorf("a lower tier, later: want no warning, got %v", got)
		}
	})

	t.Run("UpWithoutModules", func(t *testing.T) {
		w := finished(t)
		w.client.in("spec")["tier"] = "enterprise"
		w.reconcile()
		if w.client.at("status", "tier") != "enterprise" || len(w.composed) != 4 {
			t.Errorf("a higher tier with no more modules: status.tier %v, %v", w.client.at("status", "tier"), keysOf(w.run()))
		}
	})
}

// TestUnknownInStatus has the status remember a tier or a version that this function
// doesn't know, as after a return to an older function: nothing of the tenant changes.
func TestUnknownInStatus(t *testing.T) {
	for field, value := range map[string]string{"tier": "gold", "odooVersion": "21"} {
		w := finished(t)
		before := w.run()
		w.client.in("status")[field] = value
		if field == "odooVersion" {
			// It is what was asked for, too, by then.
			w.client.in("spec")[field] = "19"
		}
		after := w.run()
		if diff := isFalse("Accepted", "InvalidSpec", value).diff(after); diff != "" {
			t.Errorf("status.%s: RunFunction(...): -want, +got:\n%s", field, diff)
		}
		for key, r := range before.GetDesired().GetResources() {
			if diff := cmp.Diff(object(r.GetResource().AsMap()).at("spec"), object(after.GetDesired().GetResources()[key].GetResource().AsMap()).at("spec")); diff != "" {
				t.Errorf("status.%s: %s changes: -before, +after:\n%s", field, key, diff)
			}
		}
	}
}
