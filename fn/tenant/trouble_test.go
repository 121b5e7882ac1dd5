package tenant_test

import (
	"testing"
	"time"
)

// TestTroubles are told apart, each with its own way out.
func TestTroubles(t *testing.T) {
	unsynced := func(message string) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": "Synced", "status": "False", "message": message}}}
	}
	creating := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, acme())
		w.others = []object{template("pro-template-18")}
		w.reconcile()
		w.settle("guard")
		w.reconcile()
		return w
	}
	annotated := func(w *world, what, at string) {
		w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-"+what] = at
	}
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		says   said
	}{
		"CreationFailed": {
			reason: "An attempt that failed and left nothing is tried again.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := creating(t)
				annotated(w, "pending", "2026-11-02T08:00:10Z")
				annotated(w, "failed", "2026-11-02T08:00:11Z")
				w.composed["database"]["status"] = unsynced("cannot create database: the server is on fire")
				return w
			},
			says: isFalse("DatabaseReady", "ProviderFails", "the server is on fire"),
		},
		"TemplateMissing": {
			reason: "The template is declared, but isn't on the server.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := creating(t)
				w.composed["database"]["status"] = unsynced(`template database "pro-template-18.planapulse.app" does not exist (3D000)`)
				return w
			},
			says: isFalse("DatabaseReady", "TemplateMissing", "pro-template-18.planapulse.app"),
		},
		"OwnDatabaseMissing": {
			reason: "When the tenant's own database is what doesn't exist, it is lost.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.composed["database"]["status"] = unsynced(`database "acme.planapulse.app" does not exist (3D000)`)
				return w
			},
			says: isFalse("DatabaseReady", "DatabaseLost", "kubectl patch planaclient acme"),
		},
		"ProviderDown": {
			reason: "A provider that doesn't look at an object for a while isn't there.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := creating(t)
				w.clock.SetTime(w.clock.Now().Add(2 * time.Minute))
				return w
			},
			says: isFalse("DatabaseReady", "ProviderNotResponding", "kubectl get providers.pkg.crossplane.io"),
		},
		"PodNotStarting": {
			reason: "A pod that doesn't start most often lacks a Secret.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.composed["tenant-prepare"]["status"] = map[string]any{"active": int64(1), "ready": int64(0), "startTime": "2026-11-02T08:01:00Z"}
				w.clock.SetTime(time.Date(2026, 11, 2, 8, 4, 0, 0, time.UTC))
				return w
			},
			says: isFalse("Prepared", "PodNotStarting", "docs/how-to/install.md", "kubectl -n plana-odoo-18"),
		},
		"JobSuspended": {
			reason: "Who suspends a Job is told how to resume it.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.composed["tenant-prepare"]["status"] = map[string]any{"conditions": conditions("Suspended", "True")}
				return w
			},
			says: isFalse("Prepared", "JobSuspended", `kubectl -n plana-odoo-18 patch job tenant-prepare-acme-23 --type merge -p '{"spec":{"suspend":false}}'`),
		},
		"PodStarting": {
			reason: "A pod may take a while.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.composed["tenant-prepare"]["status"] = map[string]any{"active": int64(1), "ready": int64(0), "startTime": "2026-11-02T08:01:00Z"}
				w.clock.SetTime(time.Date(2026, 11, 2, 8, 2, 0, 0, time.UTC))
				return w
			},
			says: isFalse("Prepared", "Running"),
		},
		"PortalFailed": {
			reason: "Whoever runs the portal wants to know which address didn't answer.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, acme())
				w.others = []object{template("pro-template-18")}
				for w.composed["account-webhook"] == nil {
					w.reconcile()
					for key := range w.composed {
						if key != "account-webhook" {
							w.settle(key)
						}
					}
				}
				w.fail("account-webhook")
				return w
			},
			says: isFalse("AccountNotified", "PortalFailed", "http://pulse-account-api.pulse-account.svc:8080/v1/webhooks/tenants"),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			if diff := tc.says.diff(w.reconcile()); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if w.ready() {
				t.Errorf("%s\nRunFunction(...): the tenant is ready", tc.reason)
			}
		})
	}
}
