package simulation

import (
	"flag"
	"fmt"
	"runtime/debug"
	"testing"
	"time"
)

var (
	depth  = flag.Int("depth", 1, "How many actions to explore from each root.")
	within = flag.Duration("within", 0, "How long exploring may take in all. 0: as long as it takes.")
	rooted = flag.String("root", "", "The only root to explore from. Empty: all.")
)

// roots of the walk.
var roots = map[string][]Action{
	"fresh":   {{Do: "create", Tenant: "acme"}},
	"settled": inService(),
}

// TestWalk takes every action from a tenant that was just created and from one in
// service, every action after each of those, and so on.
func TestWalk(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	began := time.Now()
	names := sorted(roots)
	for i, name := range names {
		if *rooted != "" && *rooted != name {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var deadline time.Time
			if *within > 0 {
				// Each has its share of the time that is left.
				left := *within - time.Since(began)
				if *rooted == "" {
					left /= time.Duration(len(names) - i)
				}
				deadline = time.Now().Add(left)
			}
			since := time.Now()
			k := Explore(theFunction, roots[name], *depth, deadline)
			fmt.Printf("from %s: %s, in %s\n", name, k, time.Since(since).Round(time.Millisecond))
			if k.Deepest < *depth {
				t.Errorf("the time was over before all within %d actions was walked", *depth)
			}
			for i, f := range k.Failures {
				if i >= *most {
					t.Errorf("met %d times: %s, after %v", f.Times, f.Violation, f.Actions[len(roots[name]):])
					continue
				}
				actions := Shrink(theFunction, f.Actions, f.Violation)
				t.Errorf("met %d times: %s\n\n%s", f.Times, f.Violation, TestCase(fmt.Sprintf("Walk%d", i), actions, f.Violation))
			}
		})
	}
}

// TestClone has everything happen to copies of a world, and nothing to the world.
func TestClone(t *testing.T) {
	for _, name := range sorted(roots) {
		w := newWorld(theFunction)
		for _, a := range roots[name] {
			w.act(a)
		}
		before := w.state()
		for _, a := range w.alphabet() {
			next := w.clone().adopt(w)
			next.act(a)
			w.clock.SetTime(w.told())
			if w.state() != before {
				t.Fatalf("%s: %s in a copy of the world changed the world itself", name, a)
			}
		}
	}
}

// TestState tells worlds apart that go on differently, and no others.
func TestState(t *testing.T) {
	cases := map[string]struct {
		reason string
		a, b   []Action
		same   bool
	}{
		"Order": {
			reason: "What has nothing to do with each other may come in any order.",
			a:      inService(Action{Do: "quota", N: 2}, Action{Do: "waive", Tenant: "acme"}),
			b:      inService(Action{Do: "waive", Tenant: "acme"}, Action{Do: "quota", N: 2}),
			same:   true,
		},
		"Nothing": {
			reason: "What has no effect makes no difference, nor does the second that it takes.",
			a:      inService(),
			b:      inService(Action{Do: "object-goes"}, Action{Do: "accept", Tenant: "acme", Key: "route"}),
			same:   true,
		},
		"Grace": {
			reason: "A delete whose grace period is over is something else than one in it.",
			a:      inService(Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}),
			b:      inService(Action{Do: "delete", Tenant: "acme", Key: "Background"}, Action{Do: "reconcile", Tenant: "acme"}, Action{Do: "pass", N: 400}),
		},
		"Outside": {
			reason: "So is a database that is gone, though nobody has seen that yet.",
			a:      inService(),
			b:      inService(Action{Do: "hand-drop", Tenant: "acme"}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			after := func(actions []Action) state {
				w := newWorld(theFunction)
				for _, a := range actions {
					w.act(a)
				}
				return w.state()
			}
			if got := after(tc.a) == after(tc.b); got != tc.same {
				t.Errorf("%s\nthe same state: want %t, got %t", tc.reason, tc.same, got)
			}
		})
	}
}
