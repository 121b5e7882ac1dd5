package fn_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
)

// deleted is what Crossplane writes on a PLANAClient whose delete its guard has
// refused.
const deleted = "usage.crossplane.io/deletion-attempt-with-policy"

// life goes on: until the desired state doesn't change any more, everything
// settles as soon as it exists, and time passes. It returns what was composed,
// each time that it was something else.
func (w *world) life() [][]string {
	w.tb.Helper()
	var all [][]string
	for range 40 {
		keys := keysOf(w.reconcile())
		if keys == nil {
			keys = []string{}
		}
		if n := len(all); n == 0 || !slices.Equal(all[n-1], keys) {
			all = append(all, keys)
		}
		for key := range w.composed {
			w.settle(key)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	return all
}

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
				{"database", "final-backup", "guard"},
				{"connections-drain", "database", "guard"},
				{"database", "guard"},
				{"guard"},
				{"filestore-wipe", "guard"},
				// A Job stays until the ledger is known to be written.
				{"filestore-wipe", "guard", "matrix-room-retire"},
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
				{"connections-drain", "database", "guard"},
				{"database", "guard"},
				{"guard"},
				{"filestore-wipe", "guard"},
				{"filestore-wipe", "guard", "matrix-room-retire"},
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
			want: [][]string{four, {"database", "guard"}, {"database", "final-backup", "guard"}},
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

// TestKeptDatabaseOnlyLooks keeps an object that has met a stranger's database,
// filled in from it, from ever creating one, whyever the rest is left as it is.
func TestKeptDatabaseOnlyLooks(t *testing.T) {
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
			if diff := cmp.Diff([]any{"Observe"}, w.composed["database"].at("spec", "managementPolicies")); diff != "" {
				t.Errorf("%s\nPolicies of an object that has met a stranger's database: -want, +got:\n%s", tc.reason, diff)
			}
			if got := w.composed["database"].at("spec", "forProvider", "owner"); got != "odoo" {
				t.Errorf("%s\nThe rest of it doesn't stay as it was: owner %v", tc.reason, got)
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
			if got := fatal(rsp); !strings.Contains(got, "kubectl delete planaclient acme --cascade=orphan") {
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
			if !irrevocable && slices.Contains(ours[14:], effect) {
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
	for range 20 {
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

// TestRerun has a finished effect run again.
func TestRerun(t *testing.T) {
	w := finished(t)
	w.client.in("metadata", "annotations")["planapulse.com/rerun"] = "smoke-test/monday"
	w.reconcile()
	job := w.composed["smoke-test"]
	if job == nil || job.at("metadata", "annotations", "planapulse.com/run") != "smoke-test/monday" {
		t.Fatalf("no Job runs the effect again: %v", job)
	}
	if !w.ready() {
		t.Errorf("a tenant whose effect is run again isn't ready: %v", w.conditions())
	}
	w.fail("smoke-test")
	rsp := w.reconcile()
	if diff := isTrue("SmokeTestPassed", "JobFailed", "completed before").diff(rsp); diff != "" || !w.ready() {
		t.Errorf("an effect that fails when it is run again: ready %t: -want, +got:\n%s", w.ready(), diff)
	}

	// Another value, another run. The first one's Job goes first.
	w.client.in("metadata", "annotations")["planapulse.com/rerun"] = "smoke-test/tuesday"
	want := [][]string{
		{"backup", "database", "guard", "route"},
		{"backup", "database", "guard", "route", "smoke-test"},
		{"backup", "database", "guard", "route"},
	}
	if diff := cmp.Diff(want, w.life()); diff != "" {
		t.Errorf("composed, one after the other: -want, +got:\n%s", diff)
	}
	if got := w.client.at("status", "effects", "smoke-test", "run"); got != "smoke-test/tuesday" {
		t.Errorf("the ledger has run %v, want smoke-test/tuesday", got)
	}
}

// TestQuota keeps a Job back whose pod has no room.
func TestQuota(t *testing.T) {
	quota := func(hard, used map[string]any) object {
		return object{
			"apiVersion": "v1", "kind": "ResourceQuota",
			"metadata": map[string]any{"name": "plana-quota", "namespace": "plana-odoo-18"},
			"spec":     map[string]any{},
			"status":   map[string]any{"hard": hard, "used": used},
		}
	}
	cases := map[string]struct {
		reason string
		quota  object
		fits   bool
	}{
		"Room":   {reason: "What fits begins.", quota: quota(map[string]any{"limits.cpu": "10", "pods": "14"}, map[string]any{"limits.cpu": "9500m", "pods": "13"}), fits: true},
		"Pods":   {reason: "A namespace may have so many pods.", quota: quota(map[string]any{"pods": "14"}, map[string]any{"pods": "14"})},
		"CPU":    {reason: "Limits are added up.", quota: quota(map[string]any{"limits.cpu": "10"}, map[string]any{"limits.cpu": "9501m"})},
		"Memory": {reason: "Requests too, by their short name.", quota: quota(map[string]any{"memory": "14Gi"}, map[string]any{"memory": "14Gi"})},
		"Unused": {reason: "What isn't used yet isn't in the status.", quota: quota(map[string]any{"limits.cpu": "10"}, map[string]any{}), fits: true},
		"Unscoped": {reason: "A quota of other pods is none of ours.", quota: func() object {
			q := quota(map[string]any{"pods": "0"}, map[string]any{})
			q.in("spec")["scopes"] = []any{"BestEffort"}
			return q
		}(), fits: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			w.others = []object{template("pro-template-18"), tc.quota}
			for _, key := range []string{"", "guard", "database"} {
				if key != "" {
					w.settle(key)
				}
				w.reconcile()
			}
			w.settle("database") // It has been found to be ours.
			rsp := w.reconcile()
			if _, fits := w.composed["filestore-clone"]; fits != tc.fits {
				t.Errorf("%s\nthe Job is composed: want %t, got %t: %v", tc.reason, tc.fits, fits, conditionOf(rsp, "FilestoreReady"))
			}
			if w.composed["matrix-room-create"] == nil {
				t.Errorf("%s\na Job of another namespace is kept back", tc.reason)
			}
			if tc.fits {
				return
			}
			if diff := isFalse("FilestoreReady", "QuotaExceeded", "plana-quota", "kubectl -n plana-odoo-18 describe resourcequota plana-quota").diff(rsp); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
			// Room is made.
			w.others = w.others[:1]
			w.finish()
		})
	}
}

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
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		says   said
	}{
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
