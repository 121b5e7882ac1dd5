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
