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

// TestTeardown takes tenants away.
func TestTeardown(t *testing.T) {
	four := []string{"backup", "database", "guard", "route"}
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		want   [][]string
	}{
		"InService": {
			reason: "Nothing goes before the step in front of it is done: service, backup, sessions, database, files, room, portal, event, guard.",
			world: func(t *testing.T) *world {
				t.Helper()
				return finished(t)
			},
			want: [][]string{
				four,
				{"database", "guard"},
				{"database", "fence", "guard"},
				{"database", "fence", "final-backup", "guard"},
				{"database", "final-backup", "guard"},
				{"connections-drain", "database", "guard"},
				{"database", "guard"},
				{"guard"},
				{"filestore-wipe", "guard"},
				// A Job stays until the ledger is known to be written.
				{"backup-tombstone", "filestore-wipe", "guard"},
				{"backup-tombstone", "guard", "matrix-room-retire"},
				{"deprovision-webhook", "guard", "matrix-room-retire"},
				{"client-deprovisioned", "deprovision-webhook", "guard"},
				{"client-deprovisioned", "guard"},
				{},
			},
		},
		"BackupWaived": {
			reason: "A person may let one tenant's data go, by its name.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.client.in("metadata", "annotations")["planapulse.com/skip-final-backup"] = "acme"
				return w
			},
			want: [][]string{
				four,
				{"database", "guard"},
				{"database", "fence", "guard"},
				{"connections-drain", "database", "guard"},
				{"database", "guard"},
				{"guard"},
				{"filestore-wipe", "guard"},
				{"backup-tombstone", "filestore-wipe", "guard"},
				{"backup-tombstone", "guard", "matrix-room-retire"},
				{"deprovision-webhook", "guard", "matrix-room-retire"},
				{"client-deprovisioned", "deprovision-webhook", "guard"},
				{"client-deprovisioned", "guard"},
				{},
			},
		},
		"BackupWaivedForAnother": {
			reason: "Another tenant's name waives nothing.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.client.in("metadata", "annotations")["planapulse.com/skip-final-backup"] = "true"
				return w
			},
			want: [][]string{four, {"database", "guard"}, {"database", "fence", "guard"}, {"database", "fence", "final-backup", "guard"}},
		},
		"Unprepared": {
			reason: "A clone that never was anybody's has no data to back up, and nobody was told of it. It has files.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, acme())
				w.others = []object{template("pro-template-18")}
				for _, key := range []string{"", "guard", "database", "database"} {
					if key != "" {
						w.settle(key)
					}
					w.reconcile()
				}
				return w
			},
			want: [][]string{
				{"database", "filestore-clone", "guard", "matrix-room-create"},
				{"database", "guard"},
				{"connections-drain", "database", "guard"},
				{"database", "guard"},
				{"guard"},
				{"filestore-wipe", "guard"},
				{"backup-tombstone", "filestore-wipe", "guard"},
			},
		},
		"Nothing": {
			reason: "A tenant that has nothing but its guard goes at once, after the grace period.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, acme())
				w.reconcile()
				return w
			},
			want: [][]string{{"guard"}, {}},
		},
		"Collision": {
			reason: "Somebody else's database, and its files, are left where they are: only the object that looks at it goes.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, acme())
				w.databaseExisted = true
				for range 6 {
					w.reconcile()
					for key := range w.composed {
						w.settle(key)
					}
				}
				return w
			},
			want: [][]string{{"database", "guard"}, {"guard"}, {}},
		},
		"Orphan": {
			reason: "What the tenant consists of outlives its object, at once.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := finished(t)
				w.client.in("metadata", "annotations")[deleted] = "Orphan"
				return w
			},
			want: [][]string{{"backup", "database", "route"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			annotations := w.client.in("metadata", "annotations")
			if annotations[deleted] == nil {
				annotations[deleted] = "Background"
			}
			got := w.life()
			if len(got) > len(tc.want) {
				if last := got[len(got)-1]; len(tc.want[len(tc.want)-1]) != 0 && len(last) != 0 {
					t.Errorf("%s\nthe tenant isn't gone in the end, but has %v", tc.reason, last)
				}
				got = got[:len(tc.want)]
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\ncomposed, one after the other: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestForeignDatabaseIsNeverDropped looks at what provider-sql may do to it on
// the way out.
func TestForeignDatabaseIsNeverDropped(t *testing.T) {
	w := newWorld(t, acme())
	w.databaseExisted = true
	for range 40 {
		rsp := w.reconcile()
		if db := rsp.GetDesired().GetResources()["database"]; db != nil {
			policies, _ := object(db.GetResource().AsMap()).at("spec", "managementPolicies").([]any)
			for _, p := range policies {
				if p == "*" || p == "Delete" || p == "Update" {
					t.Fatalf("provider-sql may %v somebody else's database", p)
				}
			}
		}
		for key := range w.composed {
			w.settle(key)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
		w.client.in("metadata", "annotations")[deleted] = "Background"
	}
	if len(w.composed) > 0 {
		t.Errorf("the tenant isn't gone: %v", w.conditions()["Deprovisioned"])
	}
}

// TestKeptDatabaseIsRead keeps an object that has met a stranger's database, filled in
// from it, from ever creating one, whyever the rest is left as it is. What it asked for
// doesn't stay: it would pass for what was read.
func TestKeptDatabaseIsRead(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(w *world)
	}{
		"Refused": {
			reason: "A bad spec may have come before anybody looked at what provider-sql has found.",
			change: func(w *world) { w.client.in("spec")["ownerEmail"] = "nobody" },
		},
		"GracePeriod": {
			reason: "So may a delete.",
			change: func(w *world) {
				w.client.in("metadata", "annotations")[deleted] = "Background"
			},
		},
		"Orphaned": {
			reason: "What an orphan leaves behind is never looked at again.",
			change: func(w *world) {
				w.client.in("metadata", "annotations")[deleted] = "Orphan"
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			w.others = []object{template("pro-template-18")}
			w.reconcile()
			w.settle("guard")
			w.reconcile()
			if diff := cmp.Diff([]any{"Observe", "Create", "LateInitialize"}, w.composed["database"].at("spec", "managementPolicies")); diff != "" {
				t.Fatalf("policies of a new object: -want, +got:\n%s", diff)
			}

			w.databaseExisted = true
			w.settle("database")
			w.composed["database"].in("spec", "forProvider")["owner"] = "odoo"
			tc.change(w)
			w.reconcile()
			if diff := cmp.Diff([]any{"Observe", "LateInitialize"}, w.composed["database"].at("spec", "managementPolicies")); diff != "" {
				t.Errorf("%s\nPolicies of an object that has met a stranger's database: -want, +got:\n%s", tc.reason, diff)
			}
			if got := w.composed["database"].at("spec", "forProvider", "owner"); got != "odoo" {
				t.Errorf("%s\nThe rest of it doesn't stay as it was: owner %v", tc.reason, got)
			}
			if got := w.composed["database"].at("spec", "forProvider", "connectionLimit"); got != nil {
				t.Errorf("%s\nIt asks for what is to be read: a limit of %v", tc.reason, got)
			}
		})
	}
}

// TestOrphanIsLeftAlone has nothing applied any more once a delete with
// --cascade=orphan may be carried out at any moment: what is applied then gets an
// owner that is gone in the next one, and is collected as garbage.
func TestOrphanIsLeftAlone(t *testing.T) {
	fatal := func(rsp *fnv1.RunFunctionResponse) string {
		return strings.Join(resultsOf(rsp, fnv1.Severity_SEVERITY_FATAL), "\n")
	}

	w := finished(t)
	w.client.in("metadata", "annotations")[deleted] = "Orphan"
	before := clone(w.composed["guard"])
	if rsp := w.reconcile(); fatal(rsp) != "" {
		t.Fatalf("the guard must go first: %s", fatal(rsp))
	}

	for name, guard := range map[string]object{"going": before, "gone": nil} {
		delete(w.composed, "guard")
		if guard != nil {
			guard.in("metadata")["deletionTimestamp"] = "2026-11-03T08:00:00Z"
			w.composed["guard"] = guard
		}
		// One that asks for what can't be had would keep what it has.
		for _, tier := range []string{"gold", "pro"} {
			w.client.in("spec")["tier"] = tier
			rsp := w.reconcile()
			if got := fatal(rsp); !strings.Contains(got, "kubectl delete planaclient acme --cascade=orphan") || !strings.Contains(got, "If that is refused") {
				t.Errorf("the guard of a %s tenant is %s: want a fatal result that says what to do, got %q", tier, name, got)
			}
			if keys := keysOf(rsp); len(keys) > 0 {
				t.Errorf("the guard of a %s tenant is %s: want nothing composed, got %v", tier, name, keys)
			}
		}
	}

	delete(w.composed, "guard")
	delete(w.client.in("metadata", "annotations"), deleted)
	if rsp := w.reconcile(); fatal(rsp) != "" || !slices.Contains(keysOf(rsp), "guard") {
		t.Errorf("a delete that was cancelled: want the guard back, got %v %s", keysOf(rsp), fatal(rsp))
	}
}

// TestWithdrawnOnRecord has what is done just as the grace period ends on record
// before its Job goes: nobody would know what there is to be undone.
func TestWithdrawnOnRecord(t *testing.T) {
	w := withDatabase(t)
	w.client.in("metadata", "annotations")[deleted] = "Background"
	w.reconcile()
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	w.settle("matrix-room-create")

	if diff := cmp.Diff([]string{"database", "guard", "matrix-room-create"}, keysOf(w.reconcile())); diff != "" {
		t.Errorf("a Job that completed in the last moment: -want, +got:\n%s", diff)
	}
	if w.client.at("status", "effects", "matrix-room-create") == nil {
		t.Errorf("a Job that completed in the last moment isn't in the ledger: %v", w.client.at("status", "effects"))
	}
	if diff := cmp.Diff([]string{"database", "guard"}, keysOf(w.reconcile())); diff != "" {
		t.Errorf("one that is on record: -want, +got:\n%s", diff)
	}
}

// TestTeardownCancelled takes the annotation off at every stage.
func TestTeardownCancelled(t *testing.T) {
	for n := range 40 {
		w := finished(t)
		w.client.in("metadata", "annotations")[deleted] = "Background"
		for range n {
			w.reconcile()
			for key := range w.composed {
				w.settle(key)
			}
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
		}
		irrevocable, _ := w.client.at("status", "deletion", "irrevocable").(bool)
		delete(w.client.in("metadata", "annotations"), deleted)
		for range 40 {
			w.reconcile()
			for key := range w.composed {
				w.settle(key)
			}
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
		}
		switch {
		case irrevocable && len(w.composed) > 0:
			t.Errorf("cancelled after %d responses, when the database was being dropped: it isn't gone: %v", n, w.conditions()["Deprovisioned"])
		case !irrevocable && (!w.ready() || len(w.composed) != 4 || w.client.at("status", "deletion") != nil):
			t.Errorf("cancelled after %d responses: the tenant isn't in service again: %v", n, w.conditions())
		}
		for effect := range w.client.in("status", "effects") {
			if !irrevocable && slices.Contains(ours[16:], effect) {
				t.Errorf("cancelled after %d responses: the ledger remembers %s", n, effect)
			}
		}
	}
}

// TestTeardownStops where a step fails, but for an optional one.
func TestTeardownStops(t *testing.T) {
	cases := map[string]struct {
		reason string
		key    string
		stops  bool
		says   string
	}{
		"FinalBackup": {reason: "No data goes without a last backup.", key: "final-backup", stops: true, says: "planapulse.com/skip-final-backup=acme"},
		"Drain":       {reason: "A database with sessions isn't dropped.", key: "connections-drain", stops: true, says: "kubectl -n crossplane-system delete job"},
		"Tombstone":   {reason: "A backup that nobody knows to be a gone tenant's would be kept for ever.", key: "backup-tombstone", stops: true, says: "kubectl -n backup delete job"},
		"Wipe":        {reason: "Files don't stay behind unnoticed.", key: "filestore-wipe", stops: true, says: "kubectl -n plana-odoo-18 delete job"},
		"Retire":      {reason: "A room is worth no more at the end than at the beginning.", key: "matrix-room-retire"},
		"Portal":      {reason: "The portal must know.", key: "deprovision-webhook", stops: true, says: "http://pulse-account-api.pulse-account.svc:8080"},
		"Event":       {reason: "So must the bus.", key: "client-deprovisioned", stops: true, says: "kubectl -n crossplane-system delete job"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			w.client.in("metadata", "annotations")[deleted] = "Background"
			var message string
			for range 40 {
				rsp := w.reconcile()
				for key := range w.composed {
					if key == tc.key {
						w.fail(key)
						continue
					}
					w.settle(key)
				}
				w.clock.SetTime(w.clock.Now().Add(time.Minute))
				message = conditionOf(rsp, "Deprovisioned").GetMessage()
			}
			if stopped := w.composed["guard"] != nil; stopped != tc.stops {
				t.Errorf("%s\nstopped: want %t, got %t: %v", tc.reason, tc.stops, stopped, slices.Sorted(maps.Keys(w.composed)))
			}
			if !strings.Contains(message, tc.says) {
				t.Errorf("%s\n%q isn't in %q", tc.reason, tc.says, message)
			}
			if !tc.stops {
				return
			}
			if tc.key == "final-backup" && w.composed["database"] == nil {
				t.Errorf("%s\nthe database is gone", tc.reason)
			}
			// Somebody has seen to it.
			delete(w.composed, tc.key)
			if all := w.life(); len(all[len(all)-1]) > 0 {
				t.Errorf("%s\nthe Job was run again, and the tenant isn't gone, but has %v", tc.reason, all[len(all)-1])
			}
		})
	}
}

// TestTeardownWaitsForProvider has somebody look wherever a teardown waits for
// provider-sql, and provider-sql can't do what it is told.
func TestTeardownWaitsForProvider(t *testing.T) {
	told := func(t *testing.T, rsp *fnv1.RunFunctionResponse, says string) {
		t.Helper()
		want := isFalse("Deprovisioned", "ProviderFails", says+": cannot log in", "kubectl -n crossplane-system describe secret provider-sql-postgres-creds")
		if diff := want.diff(rsp); diff != "" {
			t.Error(diff)
		}
		if got := rsp.GetMeta().GetTtl().AsDuration(); got != time.Minute {
			t.Errorf("want it looked at again after a minute, got %s", got)
		}
	}

	w := finished(t)
	w.client.in("metadata", "annotations")[deleted] = "Background"
	var rsp *fnv1.RunFunctionResponse
	for range 24 {
		rsp = w.reconcile()
		for key, o := range w.composed {
			if closing := o.at("spec", "forProvider", "allowConnections") == false; key == "database" && closing {
				w.refuse(o)
				continue
			}
			w.settle(key)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	told(t, rsp, "database acme.planapulse.app is being closed to connections")

	// Once it isn't composed any more, the object is still there for as long as
	// provider-sql hasn't dropped the database.
	var object object
	for range 20 {
		if o := w.composed["database"]; o != nil {
			object = o
			w.settle("database")
		}
		w.reconcile()
		if w.composed["database"] == nil {
			break
		}
		for key := range w.composed {
			w.settle(key)
		}
	}
	object.in("metadata")["deletionTimestamp"] = "2026-11-02T09:00:00Z"
	w.refuse(object)
	w.others = append(w.others, object)
	told(t, w.reconcile(), "database acme.planapulse.app is being dropped")
}

// TestTeardownOfOtherKinds has Jobs with the tenant's label run while it goes: those of
// PLANAClients hold it up, those of another kind of composite don't.
func TestTeardownOfOtherKinds(t *testing.T) {
	for name, heldUp := range map[string]bool{"planaclient": true, "tenantenvironment": false} {
		w := finished(t)
		w.client.in("metadata", "annotations")[deleted] = "Background"
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(time.Hour))
		w.others = append(w.others, object{
			"apiVersion": "batch/v1", "kind": "Job",
			"metadata": map[string]any{
				"namespace": "elsewhere", "name": "copy-acme",
				"labels": map[string]any{"app.kubernetes.io/name": name, "planapulse.com/tenant": "acme"},
			},
			"status": map[string]any{"active": int64(1)},
		})
		for range 6 {
			w.reconcile()
		}
		if got := w.client.at("status", "deletion", "step") == "withdraw"; got != heldUp {
			t.Errorf("a Job of %s: want the teardown held up %t, got step %v", name, heldUp, w.client.at("status", "deletion", "step"))
		}
	}
}

// TestReleaseSaysWhyItWaits looks at a tenant that goes while nobody knows whether a
// database was made for it, and provider-sql can't look.
func TestReleaseSaysWhyItWaits(t *testing.T) {
	w := newWorld(t, acme())
	w.others = []object{template("pro-template-18")}
	w.reconcile()
	w.settle("guard")
	w.reconcile()
	w.composed["database"].in("metadata", "annotations")["crossplane.io/external-create-pending"] = "2026-11-02T08:00:20Z"
	w.client.in("metadata", "annotations")[deleted] = "Background"
	var rsp *fnv1.RunFunctionResponse
	for range 5 {
		w.refuse(w.composed["database"])
		rsp = w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
	}
	said := isFalse("Deprovisioned", "ProviderFails", "is being looked at", "cannot log in", "describe databases.postgresql.sql.m.crossplane.io acme")
	if diff := said.diff(rsp); diff != "" {
		t.Errorf("A tenant that doesn't go has to say why.\nRunFunction(...): -want, +got:\n%s", diff)
	}

	// Once it can, there is nothing.
	w.composed["database"]["status"] = map[string]any{"conditions": []any{map[string]any{
		"type": "Synced", "status": "True", "observedGeneration": w.composed["database"].at("metadata", "generation"),
	}}}
	for range 5 {
		w.reconcile()
		w.clock.SetTime(w.clock.Now().Add(10 * time.Minute))
	}
	if len(w.composed) > 0 {
		t.Errorf("the tenant isn't gone: %v", w.conditions()["Deprovisioned"])
	}
}

// TestTeardownOfUnreferenced takes a tenant away of which somebody has taken an object
// out of the composite's references, so that it isn't observed.
func TestTeardownOfUnreferenced(t *testing.T) {
	all := []string{"backup", "database", "guard", "route"}
	cases := map[string]struct {
		reason string
		key    string
		change func(o object)
		want   []string
	}{
		"Database": {
			reason: "It is desired again, so that it is observed, before anything else happens: the files would go, and it would stay.",
			key:    "database",
			want:   all,
		},
		"Route": {
			reason: "Visitors would go on writing while the last backup is made.",
			key:    "route",
			want:   all,
		},
		"Backup": {
			reason: "A nightly backup would begin in the middle.",
			key:    "backup",
			want:   all,
		},
		"SomebodyElses": {
			reason: "One that the tenant doesn't control is none of its business.",
			key:    "database",
			change: func(o object) { delete(o.in("metadata"), "ownerReferences") },
			want:   []string{"backup", "guard", "route"},
		},
		"Going": {
			reason: "One that is going is waited for, as always.",
			key:    "database",
			change: func(o object) { o.in("metadata")["deletionTimestamp"] = "2026-11-02T09:00:00Z" },
			want:   []string{"backup", "guard", "route"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			o := clone(w.composed[tc.key])
			o.in("metadata")["ownerReferences"] = []any{map[string]any{
				"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme",
				"uid": w.client.at("metadata", "uid"), "controller": true,
			}}
			if tc.change != nil {
				tc.change(o)
			}
			delete(w.composed, tc.key)
			w.others = append(w.others, o)
			w.client.in("metadata", "annotations")[deleted] = "Background"

			if diff := cmp.Diff(tc.want, keysOf(w.run())); diff != "" {
				t.Errorf("%s\nin the grace period: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestKeptDatabaseStandsForItsOwn has somebody make a tenant's Database object stand for
// another database while everything is to stay as it is: provider-sql would change that.
func TestKeptDatabaseStandsForItsOwn(t *testing.T) {
	const externalName = "crossplane.io/external-name"
	cases := map[string]struct {
		reason string
		change func(w *world)
		want   any
	}{
		"Refused": {
			reason: "A bad spec may not be mended for days.",
			change: func(w *world) { w.client.in("spec")["ownerEmail"] = "nobody" },
			want:   "acme.planapulse.app",
		},
		"GracePeriod": {
			reason: "A grace period is long enough to do harm.",
			change: func(w *world) { w.client.in("metadata", "annotations")[deleted] = "Background" },
			want:   "acme.planapulse.app",
		},
		"NotOnRecord": {
			reason: "Of an object that isn't known to be the tenant's nobody knows better.",
			change: func(w *world) {
				w.client.in("spec")["ownerEmail"] = "nobody"
				w.composed["database"].in("metadata")["uid"] = "another"
			},
			want: "shop.planapulse.app",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			w.composed["database"].in("metadata", "annotations")[externalName] = "shop.planapulse.app"
			tc.change(w)
			w.reconcile()
			if got := w.composed["database"].at("metadata", "annotations", externalName); got != tc.want {
				t.Errorf("%s\nexternal name: want %v, got %v", tc.reason, tc.want, got)
			}
		})
	}
}

// TestGraceOfAClockThatWasAhead has a delete recorded by a clock that is ahead, and is
// set right then.
func TestGraceOfAClockThatWasAhead(t *testing.T) {
	w := finished(t)
	right := w.clock.Now()
	w.clock.SetTime(right.Add(2 * time.Hour))
	w.client.in("metadata", "annotations")[deleted] = "Background"
	w.reconcile()
	w.clock.SetTime(right.Add(time.Minute))
	w.reconcile()
	if got, want := w.client.at("status", "deletion", "requestedAt"), any(right.Add(time.Minute).UTC().Format(time.RFC3339)); got != want {
		t.Errorf("a delete that was recorded in the future counts from when that is seen: want %v, got %v", want, got)
	}
	w.clock.SetTime(right.Add(2 * time.Minute))
	w.reconcile()
	if got, want := w.client.at("status", "deletion", "requestedAt"), any(right.Add(time.Minute).UTC().Format(time.RFC3339)); got != want {
		t.Errorf("and then stays: want %v, got %v", want, got)
	}
	w.clock.SetTime(right.Add(7 * time.Minute))
	if diff := cmp.Diff([]string{"database", "guard"}, keysOf(w.reconcile())); diff != "" {
		t.Errorf("after the grace period: -want, +got:\n%s", diff)
	}
}
