package fn_test

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
	// cutOff is a tenant whose provider was, and says so, having begun then.
	cutOff := func(t *testing.T, begun string) *world {
		t.Helper()
		w := creating(t)
		annotated(w, "pending", begun)
		w.composed["database"]["status"] = map[string]any{"conditions": []any{map[string]any{
			"type": "Synced", "status": "False", "lastTransitionTime": "2026-11-02T08:00:25Z",
			"message": "cannot determine creation result - remove the crossplane.io/external-create-pending annotation if it is safe to proceed",
		}}}
		return w
	}
	// mistaken is a tenant whose database is there, though it couldn't be created.
	mistaken := func(t *testing.T) *world {
		t.Helper()
		w := creating(t)
		annotated(w, "pending", "2026-11-02T08:00:10Z")
		annotated(w, "failed", "2026-11-02T08:00:11Z")
		w.databaseExisted = true
		w.settle("database")
		return w
	}
	const (
		drop  = `psql -c 'DROP DATABASE IF EXISTS "acme.planapulse.app"'`
		again = `kubectl -n crossplane-system annotate databases.postgresql.sql.m.crossplane.io acme --overwrite crossplane.io/external-create-failed="$(date -u +%FT%TZ)"`
		other = "kubectl -n crossplane-system delete databases.postgresql.sql.m.crossplane.io acme"
	)

	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		says   said
	}{
		"CreationCutOff": {
			reason: "A provider that is killed while it creates a database goes no further by itself, and what it says to do ends in a clone that is served with its template's secrets.",
			world: func(t *testing.T) *world {
				t.Helper()
				return cutOff(t, "2026-11-02T08:00:20Z")
			},
			says: isFalse("DatabaseReady", "CreationUnknown", "2026-11-02T08:00:20Z", drop, again, other),
		},
		"CreationTriedAgain": {
			reason: "What provider-sql says stays there while it tries once more. Whoever followed that advice again would drop what is just being made.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cutOff(t, "2026-11-02T08:01:20Z")
				annotated(w, "failed", "2026-11-02T08:01:10Z")
				w.clock.SetTime(time.Date(2026, 11, 2, 8, 1, 21, 0, time.UTC))
				return w
			},
			says: isFalse("DatabaseReady", "Creating", "told to go on"),
		},
		"CreationCutOffAgain": {
			reason: "It may be cut off once more, and says the same then.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cutOff(t, "2026-11-02T08:01:20Z")
				w.clock.SetTime(time.Date(2026, 11, 2, 8, 4, 0, 0, time.UTC))
				return w
			},
			says: isFalse("DatabaseReady", "CreationUnknown", "2026-11-02T08:01:20Z", drop, again, other),
		},
		"CreationToldToGoOn": {
			reason: "It takes a moment to hear that it is to go on.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cutOff(t, "2026-11-02T08:00:20Z")
				annotated(w, "failed", "2026-11-02T08:02:00Z")
				return w
			},
			says: isFalse("DatabaseReady", "Creating", "told to go on"),
		},
		"CreationUnderWay": {
			reason: "While the server makes a database, its object looks as if provider-sql had been cut off.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := creating(t)
				annotated(w, "pending", "2026-11-02T08:00:20Z")
				return w
			},
			says: isFalse("DatabaseReady", "Updating"),
		},
		"CreationMistaken": {
			reason: "A server may go on with a database that provider-sql takes for failed. It isn't one that was there before.",
			world:  mistaken,
			says:   isFalse("DatabaseReady", "CreationUnknown", "2026-11-02T08:00:11Z", drop, again, other),
		},
		"CreationMistakenAndAdopted": {
			reason: "An adopted database keeps its secrets, and such a one has its template's.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := mistaken(t)
				w.client.in("spec", "database")["adopt"] = true
				return w
			},
			says: isFalse("DatabaseReady", "CreationUnknown", drop, again, other),
		},
		"RestoredMeanwhile": {
			reason: "What Odoo's role owns was made by nobody's mistake: dropping it is never advised.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := mistaken(t)
				w.composed["database"].in("spec", "forProvider")["owner"] = "odoo"
				return w
			},
			says: isFalse("DatabaseReady", "NameCollision", `{"adopt":true}`),
		},
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
			says: isFalse("Prepared", "PodNotStarting", "provider-sql-postgres-creds", "kubectl -n plana-odoo-18"),
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
