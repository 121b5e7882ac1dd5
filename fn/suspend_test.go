package fn_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
		{"backup", "database", "guard", "route", "suspend-backup"},
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
	want := []string{"backup", "database", "guard", "route", "suspend-backup", "suspend-drain"}
	for range 10 {
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
