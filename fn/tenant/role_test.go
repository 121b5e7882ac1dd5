package tenant_test

import (
	"maps"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
)

// TestReleaseRole hands a tenant's database over to the role that Odoo of its version
// logs in as.
func TestReleaseRole(t *testing.T) {
	cases := map[string]struct {
		reason   string
		platform map[string]any
		want     string
	}{
		"OneForAll": {
			reason: "A version without a role of its own has the Platform's.",
			want:   "odoo",
		},
		"Renamed": {
			reason:   "The Platform's role may have any name.",
			platform: map[string]any{"postgres": map[string]any{"odooRole": "plana odoo"}},
			want:     "plana odoo",
		},
		"OnePerVersion": {
			reason:   "A version with a role of its own is served by no other version's workers.",
			platform: map[string]any{"versions": map[string]any{"18": map[string]any{"databaseRole": "odoo18"}}},
			want:     "odoo18",
		},
		"AnotherVersions": {
			reason:   "Another version's role is none of its business.",
			platform: map[string]any{"versions": map[string]any{"17": map[string]any{"databaseRole": "odoo17"}}},
			want:     "odoo",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			w.others = []object{template("pro-template-18")}
			maps.Copy(w.platform, tc.platform)
			prepare := kubelet(jobsOf(t, w)["tenant-prepare"].Spec.Template.Spec.Containers[0])
			if diff := cmp.Diff(tc.want, prepare["ODOO_ROLE"]); diff != "" {
				t.Errorf("%s\ntenant-prepare's ODOO_ROLE: -want, +got:\n%s", tc.reason, diff)
			}
			w.finish()
			if diff := cmp.Diff(any(tc.want), w.composed["database"].at("spec", "forProvider", "owner")); diff != "" {
				t.Errorf("%s\nowner of the database: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestExposedTemplate clones no template that customers could have changed.
func TestExposedTemplate(t *testing.T) {
	cases := map[string]struct {
		reason string
		owner  any
		clones bool
	}{
		"Unknown":        {reason: "Of a template that isn't read nobody knows whose it is.", clones: true},
		"Provisioning":   {reason: "The role that clones it is the one that should have it.", owner: "plana", clones: true},
		"Odoo":           {reason: "What Odoo's role owns, each customer could change.", owner: "odoo"},
		"AnotherVersion": {reason: "The same for another version's role.", owner: "odoo17"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			w.platform["versions"] = map[string]any{"17": map[string]any{"databaseRole": "odoo17"}}
			declared := template("pro-template-18")
			if tc.owner != nil {
				declared.in("spec", "forProvider")["owner"] = tc.owner
			}
			w.others = []object{declared}
			var rsp *fnv1.RunFunctionResponse
			for range 3 {
				rsp = w.reconcile()
				if w.composed["guard"] != nil {
					w.settle("guard")
				}
			}
			if got := w.composed["database"] != nil; got != tc.clones {
				t.Errorf("%s\ncloned: %t, want %t", tc.reason, got, tc.clones)
			}
			if tc.clones {
				return
			}
			want := isFalse("DatabaseReady", "TemplateExposed", `ALTER DATABASE "pro-template-18.planapulse.app" OWNER TO "plana"`, "/spec/forProvider/owner")
			if diff := want.diff(rsp); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRoleBeforeTheSplit still takes a database for one in service that Odoo served
// before each version got a role of its own: it doesn't go without a last backup.
func TestRoleBeforeTheSplit(t *testing.T) {
	w := finished(t)
	each := map[string]any{}
	for _, v := range []string{"17", "18", "19"} {
		each[v] = map[string]any{"databaseRole": "odoo" + v}
	}
	w.platform["versions"] = each
	w.platform["deletion"] = map[string]any{"gracePeriod": "0s"}
	// The status came out of an older backup, and knows nothing of what was done.
	delete(w.client.in("status"), "effects")
	w.client.in("metadata", "annotations")[deleted] = "Background"
	// As provider-sql reads it.
	w.composed["database"].in("spec", "forProvider")["owner"] = "odoo"
	delete(w.composed["database"].in("metadata", "annotations"), "planapulse.com/published")
	for range 30 {
		w.reconcile()
		if w.composed["final-backup"] != nil {
			return
		}
		for key := range w.composed {
			w.settle(key)
		}
	}
	t.Error("a database that belongs to the Platform's odooRole is dropped without a last backup")
}
