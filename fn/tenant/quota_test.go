package tenant_test

import (
	"testing"
)

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
			// Others come and go, and that is nothing to write down for each who waits.
			said := conditionOf(rsp, "FilestoreReady").GetMessage()
			used := w.others[1].in("status", "used")
			for name := range used {
				used[name] = "1000Gi"
			}
			if now := conditionOf(w.reconcile(), "FilestoreReady").GetMessage(); now != said {
				t.Errorf("%s\nthe message changes with what is used:\n%s\n%s", tc.reason, said, now)
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
