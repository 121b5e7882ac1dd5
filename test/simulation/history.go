package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	clocktesting "k8s.io/utils/clock/testing"
)

// New returns the function under test, which tells the time by a clock.
type New func(*clocktesting.FakePassiveClock) Function

// A Result of a history.
type Result struct {
	// Actions of the history.
	Actions []Action

	// Steps are calls of the function.
	Steps int

	// Violation of an invariant, if there was one.
	Violation *Violation
}

// Replay a history, let everything settle, and check how it ends.
func Replay(f New, actions []Action, trace func(string, ...any)) *Result {
	w := newWorld(f)
	if trace != nil {
		w.trace = trace
	}
	for _, a := range actions {
		w.act(a)
		if w.violation != nil {
			break
		}
	}
	w.finish()
	return &Result{Actions: actions, Steps: w.steps, Violation: w.violation}
}

// Play a history that a seed decides.
func Play(f New, seed uint64) *Result {
	w := newWorld(f)
	r := rand.New(rand.NewPCG(seed, 0))
	var actions []Action
	do := func(a Action) {
		actions = append(actions, a)
		w.act(a)
	}

	names := []string{"acme"}
	if r.IntN(4) == 0 {
		names = append(names, "shop")
	}
	for range r.IntN(3) {
		if r.IntN(3) == 0 {
			do(w.trouble(r, names))
		}
	}
	if r.IntN(8) == 0 {
		do(Action{Do: "foreign-database", Tenant: names[0], N: r.IntN(48)})
	}
	for _, name := range names {
		do(Action{Do: "create", Tenant: name, N: r.IntN(9)})
	}
	if r.IntN(3) > 0 {
		// Most of what can go wrong goes wrong in a tenant's later life.
		do(Action{Do: "settle"})
	}

	trouble := []float64{0.05, 0.2, 0.5}[r.IntN(3)]
	for range 10 + r.IntN(40) {
		if w.violation != nil {
			break
		}
		cs := w.candidates()
		switch p := r.Float64(); {
		case p < trouble:
			do(w.trouble(r, names))
		case p < trouble+0.04:
			do(Action{Do: "settle"})
		case p < trouble+0.08:
			do(Action{Do: "pass", N: []int{5, 31, 120, 400, 4000}[r.IntN(5)]})
		case len(cs) == 0:
			do(w.intention(r, names))
		default:
			do(w.mishap(r, cs[r.IntN(len(cs))]))
		}
	}
	w.finish()
	return &Result{Actions: actions, Steps: w.steps, Violation: w.violation}
}

// mishap makes what a program does go wrong now and then.
func (w *World) mishap(r *rand.Rand, a Action) Action {
	often := func(n int, do string) {
		if r.IntN(n) == 0 {
			a.Do = do
		}
	}
	switch a.Do {
	case "reconcile":
		a.N = r.IntN(1000)
		often(20, "reconcile-refused")
		often(20, "reconcile-conflict")
		often(12, "reconcile-behind")
		often(12, "reconcile-lost")
		if xr := w.client(a.Tenant); xr != nil && xr.deleting() {
			often(2, "reconcile-stale")
		}
	case "provide":
		often(15, "provide-in-use")
		often(60, "provide-dies")
		often(60, "provide-is-lost")
		often(60, "provide-is-late")
	case "finish":
		often(10, "terminal")
		often(8, "fail")
		often(8, "break")
	case "pod-gone":
		often(4, "last-gasp")
	}
	return a
}

// intention is what people want of a tenant.
func (w *World) intention(r *rand.Rand, names []string) Action {
	a := Action{Tenant: names[r.IntN(len(names))]}
	if w.client(a.Tenant) == nil {
		a.Do, a.N = "create", r.IntN(36)
		return a
	}
	switch r.IntN(16) {
	case 0, 1, 2:
		a.Do, a.Key = "delete", []string{policyBackground, policyBackground, policyForeground, policyOrphan}[r.IntN(4)]
	case 3:
		a.Do = "cancel"
	case 4:
		a.Do = "suspend"
	case 5:
		a.Do = "resume"
	case 6, 7:
		a.Do, a.N = "tier", r.IntN(3)
	case 8:
		a.Do = "version"
	case 9:
		a.Do, a.N = "rerun", r.IntN(3)
		a.Key = []string{"smoke-test", "matrix-room-create", "account-webhook", "client-provisioned", "tenant-prepare", "filestore-clone"}[r.IntN(6)]
	case 10, 11, 12:
		a.Do = "write"
	case 13:
		a.Do, a.N = "nightly", 0
		a.Key = "backup"
		if r.IntN(3) == 0 {
			a.Do = "nightly-fails"
		}
	case 14:
		a.Do = "dry-run"
	default:
		a.Do = "settle"
		a.Tenant = ""
	}
	return a
}

// trouble is what may happen at any time.
func (w *World) trouble(r *rand.Rand, names []string) Action {
	a := Action{Tenant: names[r.IntN(len(names))]}
	keys := []string{"guard", "database", "route", "backup"}
	if xr := w.client(a.Tenant); xr != nil {
		for _, o := range w.composedBy(xr.uid()) {
			keys = append(keys, o.key())
		}
	}
	key := keys[r.IntN(len(keys))]
	switch r.IntN(35) {
	case 0, 1, 2, 3, 4, 5:
		return w.intention(r, names)
	case 6:
		a.Do, a.Key = "hand-delete", key
	case 7:
		a.Do, a.Key = "hand-delete", []string{"route", "backup"}[r.IntN(2)]
	case 8, 9:
		a.Do, a.Key, a.N = "hand-edit", key, r.IntN(4)
	case 10, 11:
		a.Do, a.Key = "flicker", key
	case 12, 13:
		a = Action{Do: "platform", N: r.IntN(len(variants))}
	case 14:
		a = Action{Do: "platform"}
	case 15:
		a = Action{Do: "template-vanishes", N: r.IntN(24)}
	case 16:
		a = Action{Do: "template-returns", N: r.IntN(6)}
	case 17:
		a = Action{Do: "quota", N: r.IntN(6)}
	case 18:
		a = Action{Do: "provider", N: r.IntN(2)}
	case 19:
		a = Action{Do: "gateway", N: r.IntN(2)}
	case 20:
		a = Action{Do: "restart-core"}
	case 21:
		a.Do, a.N = "bad-spec", r.IntN(5)
	case 22:
		a.Do = "mend"
	case 23:
		a.Do = []string{"waive", "adopt", "unadopt", "protect", "hand-drop"}[r.IntN(5)]
		a.N = r.IntN(2)
	case 24:
		a.Do, a.N = "foreign-database", r.IntN(48)
	case 25:
		a.Do = "foreign-goes"
	case 26:
		a.Do, a.Key, a.N = "foreign-object", strangerKeys[r.IntN(len(strangerKeys))], r.IntN(12)
	case 27:
		a.Do, a.Key, a.N = "foreign-object", strangerKeys[r.IntN(4)], r.IntN(12)
	case 28:
		a.Do = []string{"misrefer", "object-goes", "hand-over"}[r.IntN(3)]
	case 29, 30:
		a.Do, a.N = "hand-annotate", r.IntN(4)
	case 31:
		a.Do, a.Key = "hand-unref", key
	case 32:
		a.Do, a.N = "pause", r.IntN(3)
		a.Key = []string{"", "database"}[r.IntN(2)]
	case 33:
		a = Action{Do: []string{"etcd-backup", "etcd-restore"}[r.IntN(2)]}
	case 34:
		a = Action{Do: "clock", N: r.IntN(5)}
	}
	return a
}

// Shrink a history that violates an invariant to the actions that it takes.
func Shrink(f New, actions []Action, v *Violation) []Action {
	fails := func(candidate []Action) bool {
		got := Replay(f, candidate, nil).Violation
		return got != nil && got.Invariant == v.Invariant
	}
	if !fails(actions) {
		// Whatever made it fail isn't in the actions. Better the whole of it
		// than nothing.
		return actions
	}
	for size := len(actions) / 2; size > 0; {
		removed := false
		for at := 0; at+size <= len(actions); {
			candidate := slices.Delete(slices.Clone(actions), at, at+size)
			if fails(candidate) {
				actions, removed = candidate, true
			} else {
				at += size
			}
		}
		if !removed || size > 1 {
			size /= 2
		}
	}
	for i, a := range actions {
		// Of two alike, the plain one says more.
		plain := a
		plain.N = 0
		if candidate := slices.Clone(actions); a.N != 0 {
			candidate[i] = plain
			if fails(candidate) {
				actions = candidate
			}
		}
	}
	return actions
}

// TestCase returns a history as one of TestRegressions.
func TestCase(name string, actions []Action, v *Violation) string {
	b := &strings.Builder{}
	fmt.Fprintf(b, "\t%q: {\n\t\treason: %q,\n\t\tactions: []Action{\n", name, strings.SplitN(v.String(), "\n", 2)[0])
	for _, a := range actions {
		fmt.Fprintf(b, "\t\t\t%s,\n", a)
	}
	b.WriteString("\t\t},\n\t},\n")
	return b.String()
}
