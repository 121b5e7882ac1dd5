package simulation

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// teller prints a history as it happens, if that is asked for.
func teller() func(string, ...any) {
	if !*tell {
		return nil
	}
	return func(format string, args ...any) {
		fmt.Fprintln(os.Stderr, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
	}
}

// TestRegressions replays histories that a function once came to grief on, or
// that say in few words what a tenant's life is like.
func TestRegressions(t *testing.T) {
	cases := map[string]struct {
		reason  string
		actions []Action
	}{
		"Created": {
			reason:  "A tenant that is left in peace is Ready with four objects.",
			actions: []Action{{Do: "create", Tenant: "acme"}},
		},
		"Deleted": {
			reason: "A tenant that is deleted leaves nothing but its backup, and its files go only when its database has gone.",
			actions: []Action{
				{Do: "create", Tenant: "acme"},
				{Do: "settle"},
				{Do: "write", Tenant: "acme"},
				{Do: "delete", Tenant: "acme", Key: "Background"},
			},
		},
		"Suspended": {
			reason: "A suspended tenant is Ready and closed.",
			actions: []Action{
				{Do: "create", Tenant: "acme"},
				{Do: "settle"},
				{Do: "write", Tenant: "acme"},
				{Do: "suspend", Tenant: "acme"},
			},
		},
		"ReplacedAfterOrphan": {
			reason: "What a tenant that was deleted with --cascade=orphan leaves behind isn't the next one's.",
			actions: []Action{
				{Do: "create", Tenant: "acme"},
				{Do: "settle"},
				{Do: "write", Tenant: "acme"},
				{Do: "delete", Tenant: "acme", Key: "Orphan"},
				{Do: "settle"},
				{Do: "create", Tenant: "acme"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if r := Replay(theFunction, tc.actions, teller()); r.Violation != nil {
				t.Errorf("%s\nReplay(...): %s", tc.reason, r.Violation)
			}
		})
	}
}
