//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// patience with a tenant. What it takes on an idle machine is in the time line.
const patience = 3 * time.Minute

// testRunbook walks the runbook, from the apply to the customer's portal.
func testRunbook(t *testing.T, c *cluster, r *report) {
	acme := &tenant{cluster: c, name: "acme", project: 23, tier: "pro", version: "18"}
	callsBefore, tookBefore := c.handled(t)
	line := acme.timeline(t)
	acme.apply(t)
	acme.ready(t, patience)
	line.stop()
	calls, took := c.handled(t)
	r.note("from the apply of acme to Ready:\n%s%s", line, line.verdict(calls-callsBefore, took-tookBefore))
	if counts, err := c.breaker(); err == nil {
		r.note("Crossplane's circuit breaker, by then:\n%s", counts)
	} else {
		t.Errorf("cannot read the core's metrics: %v", err)
	}

	acme.inService(t)
	if got := query[string](t, c, acme.database(), "SELECT value FROM ir_config_parameter WHERE key = 'database.secret'"); got == "the secret of the template" {
		t.Error("the tenant shares its template's secret")
	}
	if got := query[string](t, c, acme.database(), "SELECT login FROM res_users WHERE id = 12"); got != "ceo@acme.bg" {
		t.Errorf("the admin's login: want the owner's address, got %s", got)
	}

	out := c.kubectl(t, "get", "planaclient", "acme")
	for _, word := range []string{"TIER", "VERSION", "URL", "SYNCED", "READY", "AGE", "https://acme.planapulse.app", "pro", "18", "True"} {
		if !strings.Contains(out, word) {
			t.Errorf("kubectl get planaclient lacks %s:\n%s", word, out)
		}
	}
	eventually(t, time.Minute, "a steady tenant owns four objects", func() error {
		var xr struct {
			Spec struct {
				Crossplane struct {
					ResourceRefs []struct{ Kind, Name string } `json:"resourceRefs"`
				} `json:"crossplane"`
			} `json:"spec"`
		}
		if err := c.object(&xr, "planaclient", "acme"); err != nil {
			return err
		}
		if refs := xr.Spec.Crossplane.ResourceRefs; len(refs) != 4 {
			return fmt.Errorf("it owns %v", refs)
		}
		return nil
	})

	// The others take their time side by side.
	others := []*tenant{
		{cluster: c, name: "corner-shop", project: 7, tier: "starter", version: "17"},
		{cluster: c, name: "globex", project: 1042, tier: "enterprise", version: "19"},
		{cluster: c, name: "initech", project: 9, tier: "pro", version: "17"},
	}
	for _, x := range others {
		x.apply(t)
	}
	for _, x := range others {
		x.ready(t, patience)
		x.inService(t)
	}
	others[2].eventually(t, time.Minute, "there is no template pro-template-17, so it isn't cloned from one", func(client *v1alpha1.PLANAClient) error {
		if client == nil || client.Status.Template != "" {
			return fmt.Errorf("got %+v", client)
		}
		return nil
	})
	if got := query[string](t, c, others[2].database(), "SELECT state FROM ir_module_module WHERE name = 'subscription_oca'"); got != "installed" {
		t.Errorf("subscription_oca is %s", got)
	}
}

// inService checks what the runbook says to check.
func (x *tenant) inService(t testing.TB) {
	t.Helper()
	c := x.cluster
	if got := c.owner(t, x.database()); got != "odoo" {
		t.Errorf("database %s: want odoo to own it, got %q", x.database(), got)
	}
	c.kubectl(t, "-n", x.namespace(), "get", "httproute", x.name)
	c.kubectl(t, "-n", namespaceBackup, "get", "cronjob", "backup-"+x.name)
	if !exists(x.files()) {
		t.Errorf("there is no folder %s", x.files())
	}
	// Ready doesn't wait for the room.
	x.condition(t, patience, "MatrixRoomReady", "True", "")
	if x.room(t) == "" {
		t.Errorf("%s has no support room", x.name)
	}
	if diff := cmp.Diff([]string{"client.provisioned"}, x.events(t)); diff != "" {
		t.Errorf("events of %s: -want, +got:\n%s", x.name, diff)
	}
	if diff := cmp.Diff([]string{"tenant.provisioned"}, c.portal.about(x.name)); diff != "" {
		t.Errorf("webhooks of %s: -want, +got:\n%s", x.name, diff)
	}

	x.served(t)
	// Odoo takes the database from this header, and a visitor's never gets there.
	for _, forged := range []string{"X-Forwarded-Host", "x-forwarded-host"} {
		got, err := x.visit("/web/login", forged, "somebody-else."+domain)
		if err != nil || got.status != http.StatusOK || !strings.Contains(got.body, x.name+" Corp") {
			t.Errorf("%s with a forged %s: %+v %v", x.url("/web/login"), forged, got, err)
		}
	}
	got, err := visit(c.gateway.upgrading, x.url("/websocket"), "Connection", "Upgrade", "Upgrade", "websocket")
	if err != nil || got.status != http.StatusSwitchingProtocols || !strings.Contains(got.body, "websocket of "+x.database()) {
		t.Errorf("%s: %+v %v", x.url("/websocket"), got, err)
	}
	for _, path := range []string{"/web/database/manager", "/bg/web/database/manager", "/en_US/web/database"} {
		got, err = x.visit(path)
		if err != nil || got.status != http.StatusFound || got.location != x.url("/web/login") {
			t.Errorf("%s: want a redirect away from it, got %+v %v", x.url(path), got, err)
		}
	}
}

// served checks what the runbook calls the first HTTP smoke. A gateway takes a
// moment between its word that a route is accepted and serving it.
func (x *tenant) served(t testing.TB) {
	t.Helper()
	for path, says := range map[string]string{"/web/health": `"status": "pass"`, "/web/login": x.name + " Corp"} {
		eventually(t, 5*time.Second, x.url(path), func() error {
			got, err := x.visit(path)
			if err == nil && (got.status != http.StatusOK || got.version != 2 || !strings.Contains(got.body, says)) {
				err = fmt.Errorf("got %+v", got)
			}
			return err
		})
	}
}
