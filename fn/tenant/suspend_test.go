package tenant_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
)

// TestSuspend takes a tenant out of service and back.
func TestSuspend(t *testing.T) {
	w := finished(t)
	w.platform["suspension"] = map[string]any{"redirectURL": "https://my.example.org:8443/suspended"}
	rules := clone(w.composed["route"]).at("spec", "rules")

	w.client.in("spec")["suspended"] = true
	got := w.life()
	four := []string{"backup", "database", "guard", "route"}
	want := [][]string{
		four,
		{"backup", "database", "guard", "route", "suspend-fence"},
		{"backup", "database", "guard", "route", "suspend-backup", "suspend-fence"},
		{"backup", "database", "guard", "route", "suspend-drain"},
		four,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("composed, one after the other, while a tenant is suspended: -want, +got:\n%s", diff)
	}
	rsp := w.reconcile()
	if diff := isTrue("Suspended", "Suspended", "https://my.example.org:8443/suspended", "kubectl patch planaclient acme").diff(rsp); diff != "" {
		t.Errorf("a suspended tenant: -want, +got:\n%s", diff)
	}
	if !w.ready() {
		t.Errorf("a suspended tenant isn't ready: %v", w.conditions())
	}
	if diff := diff(document(t, `
rules:
- matches: [{path: {type: PathPrefix, value: /}}]
  filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: X-Forwarded-Host, value: acme.planapulse.app}]}
  - type: RequestRedirect
    requestRedirect: {scheme: https, hostname: my.example.org, port: 8443, path: {type: ReplaceFullPath, replaceFullPath: /suspended}, statusCode: 302}
`), w.structOf(object{"rules": w.composed["route"].at("spec", "rules")})); diff != "" {
		t.Errorf("a suspended tenant's route: -want, +got:\n%s", diff)
	}
	if owner := w.composed["database"].at("spec", "forProvider", "owner"); owner != "plana" {
		t.Errorf("a suspended tenant's database belongs to %v", owner)
	}
	if open := w.composed["database"].at("spec", "forProvider", "allowConnections"); open != false {
		t.Errorf("a suspended tenant's database: allowConnections is %v", open)
	}
	if paused := w.composed["backup"].at("spec", "suspend"); paused != true {
		t.Errorf("a suspended tenant's backups: suspend is %v", paused)
	}

	w.client.in("spec")["suspended"] = false
	w.life()
	if diff := cmp.Diff(rules, w.composed["route"].at("spec", "rules")); diff != "" {
		t.Errorf("a resumed tenant's route: -want, +got:\n%s", diff)
	}
	if owner := w.composed["database"].at("spec", "forProvider", "owner"); owner != "odoo" {
		t.Errorf("a resumed tenant's database belongs to %v", owner)
	}
	if open := w.composed["database"].at("spec", "forProvider", "allowConnections"); open != true {
		t.Errorf("a resumed tenant's database: allowConnections is %v", open)
	}
	if paused := w.composed["backup"].at("spec", "suspend"); paused != false {
		t.Errorf("a resumed tenant's backups: suspend is %v", paused)
	}
	if !w.ready() || w.client.at("status", "suspension") != nil || w.client.at("status", "effects", "suspend-backup") != nil {
		t.Errorf("a resumed tenant: %v", w.client["status"])
	}
}

// TestSuspendWhileUnready keeps a suspension's Jobs, like all others, until the
// tenant is Ready, also when a step in front of them is undone.
func TestSuspendWhileUnready(t *testing.T) {
	w := finished(t)
	w.client.in("spec")["suspended"] = true
	round := func() []string {
		w.composed["route"]["status"] = map[string]any{}
		keys := keysOf(w.reconcile())
		for key := range w.composed {
			w.settle(key)
		}
		return keys
	}
	want := []string{"backup", "database", "guard", "route", "suspend-backup", "suspend-drain", "suspend-fence"}
	for range 14 {
		round()
	}
	if diff := cmp.Diff(want, round()); diff != "" {
		t.Fatalf("suspended, and not Ready: -want, +got:\n%s", diff)
	}
	w.composed["database"]["status"] = map[string]any{"conditions": conditions("Ready", "True", "Synced", "False")}
	if diff := cmp.Diff(want, round()); diff != "" {
		t.Errorf("suspended, not Ready, and the database is out of sync: -want, +got:\n%s", diff)
	}
}

// TestSuspendedWithoutItsObject sees a Job that has begun to its end, though somebody
// deletes the Database object meanwhile and nothing proves whose the database is.
func TestSuspendedWithoutItsObject(t *testing.T) {
	for change, key := range map[string]string{"suspended": "suspend-fence", "deleted": "fence"} {
		t.Run(key, func(t *testing.T) {
			w := finished(t)
			if change == "suspended" {
				w.client.in("spec")["suspended"] = true
			} else {
				w.client.in("metadata", "annotations")[deleted] = "Background"
			}
			reconcileTo(t, w, key, func() bool { return w.composed[key] != nil })
			delete(w.composed, "database")
			for range 3 {
				w.reconcile()
				if w.composed[key] == nil {
					t.Fatalf("Job %s is left out while it works: %v", key, keysOf(w.run()))
				}
			}
			w.settle(key)
			w.reconcile()
			if w.composed[key] == nil {
				t.Errorf("Job %s is left out before the status says that it has completed", key)
			}
			if w.client.at("status", "effects", key) == nil {
				t.Errorf("Job %s has completed, and the status doesn't say so: %v", key, w.client["status"])
			}
		})
	}
}

// TestSuspendTooEarly waits until there is something to suspend.
func TestSuspendTooEarly(t *testing.T) {
	w := preparing(t)
	w.client.in("spec")["suspended"] = true
	if diff := isFalse("Suspended", "Waiting").diff(w.reconcile()); diff != "" {
		t.Errorf("suspended while it is being provisioned: -want, +got:\n%s", diff)
	}
	w.life()
	if diff := isTrue("Suspended", "Suspended").diff(w.reconcile()); diff != "" {
		t.Errorf("provisioned, then suspended: -want, +got:\n%s", diff)
	}
}

// reconcileTo runs a world until something holds, for a while.
func reconcileTo(t *testing.T, w *world, what string, holds func() bool) {
	t.Helper()
	for range 30 {
		w.reconcile()
		if holds() {
			return
		}
		for key := range w.composed {
			w.settle(key)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	t.Fatalf("it never comes to this: %s", what)
}

// TestSuspendedBeforeTheFence goes on with a tenant that a version without a fence has
// suspended: it is fenced while it stays closed, isn't backed up again, and comes back.
func TestSuspendedBeforeTheFence(t *testing.T) {
	w := finished(t)
	w.client.in("spec")["suspended"] = true
	w.client.in("status")["suspension"] = map[string]any{"requestedAt": "2026-11-02T08:00:30Z"}
	for _, effect := range []string{"suspend-backup", "suspend-drain"} {
		w.client.in("status", "effects")[effect] = map[string]any{"completedAt": "2026-11-02T08:00:40Z", "run": "2026-11-02T08:00:30Z"}
	}
	w.composed["database"].in("spec", "forProvider")["allowConnections"] = false
	w.settle("database")

	for _, keys := range w.life() {
		if slices.Contains(keys, "suspend-backup") || slices.Contains(keys, "suspend-drain") {
			t.Errorf("a tenant that was suspended is backed up or drained once more: %v", keys)
		}
	}
	params := w.composed["database"].in("spec", "forProvider")
	if params["owner"] != "plana" || params["allowConnections"] != false || w.client.at("status", "effects", "suspend-fence") == nil {
		t.Errorf("want it fenced and closed, got %v and %v", params, w.client["status"])
	}
	w.client.in("spec")["suspended"] = false
	w.life()
	params = w.composed["database"].in("spec", "forProvider")
	if params["owner"] != "odoo" || params["allowConnections"] != true || w.client.at("status", "fence") != nil || !w.ready() {
		t.Errorf("want it back in service, got %v and %v", params, w.client["status"])
	}
}

// TestTornDownBeforeTheFence makes the last backup again that a version without a
// fence has made: something may have been written after it.
func TestTornDownBeforeTheFence(t *testing.T) {
	w := finished(t)
	w.client.in("metadata", "annotations")[deleted] = "Background"
	w.client.in("status")["deletion"] = map[string]any{"requestedAt": "2026-11-02T08:00:30Z", "since": "2026-11-02T08:00:50Z", "step": "drain"}
	for _, effect := range []string{"final-backup", "connections-drain"} {
		w.client.in("status", "effects")[effect] = map[string]any{"completedAt": "2026-11-02T08:00:40Z", "run": "2026-11-02T08:00:30Z"}
	}
	for _, key := range []string{"route", "backup"} {
		delete(w.composed, key)
	}
	w.composed["database"].in("spec", "forProvider")["allowConnections"] = false
	w.settle("database")
	w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))

	reconcileTo(t, w, "fence", func() bool { return w.composed["fence"] != nil })
	if open := w.composed["database"].at("spec", "forProvider", "allowConnections"); open != false {
		t.Error("the database is opened before the fence stands")
	}
	reconcileTo(t, w, "final-backup", func() bool { return w.composed["final-backup"] != nil })
	if open := w.composed["database"].at("spec", "forProvider", "allowConnections"); open != true {
		t.Error("the database isn't opened for its last backup")
	}
	reconcileTo(t, w, "gone", func() bool { return len(w.composed) == 0 })
}

// TestWaiver counts for one delete, and everybody reads that it does.
func TestWaiver(t *testing.T) {
	w := finished(t)
	reason := func() string { return fmt.Sprint(w.composed["guard"].at("spec", "reason")) }
	annotations := w.client.in("metadata", "annotations")
	annotations["planapulse.com/skip-final-backup"] = "acme"
	rsp := w.reconcile()
	if !strings.Contains(reason(), "WITHOUT a last backup (waived by annotation planapulse.com/skip-final-backup)") {
		t.Errorf("whoever deletes the tenant isn't told of the waiver: %s", reason())
	}
	if diff := isTrue("Accepted", "Accepted", "makes NO last backup").diff(rsp); diff != "" {
		t.Error(diff)
	}
	annotations[deleted] = "Background"
	w.reconcile()
	delete(annotations, deleted)
	w.reconcile()
	rsp = w.reconcile()
	if !strings.Contains(reason(), "after a last backup") || w.client.at("status", "spentWaiver") != "acme" {
		t.Errorf("a waiver outlives the delete that it was given for: %s, %v", reason(), w.client["status"])
	}
	if diff := isTrue("Accepted", "Accepted", "is spent", "--overwrite planapulse.com/skip-final-backup=acme/again").diff(rsp); diff != "" {
		t.Error(diff)
	}
	annotations["planapulse.com/skip-final-backup"] = "acme/again"
	w.reconcile()
	if !strings.Contains(reason(), "WITHOUT") {
		t.Errorf("another value doesn't count: %s", reason())
	}
}

// TestSuspendReadsEverythingBack: the nightly backups, which would come round to all of
// it, pause.
func TestSuspendReadsEverythingBack(t *testing.T) {
	w := finished(t)
	w.client.in("spec")["suspended"] = true
	got := map[string]string{}
	for range 20 {
		for key, r := range w.reconcile().GetDesired().GetResources() {
			job, cronJob := &batchv1.Job{}, &batchv1.CronJob{}
			switch key {
			case "suspend-backup":
				decode(t, r, job)
			case "backup":
				decode(t, r, cronJob)
				job.Spec = cronJob.Spec.JobTemplate.Spec
			default:
				continue
			}
			for _, e := range job.Spec.Template.Spec.Containers[0].Env {
				if e.Name == "BACKUP_READ_BACK_NIGHTS" {
					got[key] = e.Value
				}
			}
		}
		for key := range w.composed {
			w.settle(key)
		}
	}
	if diff := cmp.Diff(map[string]string{"backup": "14", "suspend-backup": "1"}, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
