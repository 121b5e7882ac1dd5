package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/function-sdk-go/logging"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/plana-pulse/function-planaclient/fn"
)

var (
	seeds = flag.Uint64("seeds", 500, "How many histories to play.")
	first = flag.Uint64("first", 0, "The first history's seed. 0: what SIMULATE_FIRST says, or the clock.")
	tell  = flag.Bool("tell", false, "Tell the whole story of what failed.")
	most  = flag.Int("most", 3, "How many failures to shrink and print.")
)

// theFunction is the one under test.
func theFunction(c *clocktesting.FakePassiveClock) Function {
	return fn.New(logging.NewNopLogger(), c)
}

// firstSeed of the histories to play: fresh ones, unless somebody says which. Go
// keeps what a test that passed has printed, and doesn't run it again unless what it
// reads has changed. So make says the time where it wants fresh ones.
func firstSeed(t *testing.T) uint64 {
	t.Helper()
	if *first > 0 {
		return *first
	}
	if given := os.Getenv("SIMULATE_FIRST"); given != "" {
		seed, err := strconv.ParseUint(given, 10, 64)
		if err != nil {
			t.Fatalf("SIMULATE_FIRST is to be the first seed, a number: %v", err)
		}
		return seed
	}
	return uint64(max(0, time.Now().UnixMicro()))
}

// TestHistories plays histories, and prints those that break an invariant as
// cases of TestRegressions.
func TestHistories(t *testing.T) {
	began, from := time.Now(), firstSeed(t)
	t.Logf("histories of the seeds %d to %d. To play them again: make simulate FIRST=%d SEEDS=%d", from, from+*seeds-1, from, *seeds)
	results := playAll(theFunction, from, *seeds)
	steps := 0
	byInvariant := map[string][]uint64{}
	for seed := from; seed < from+*seeds; seed++ {
		r := results[seed]
		steps += r.Steps
		if r.Violation != nil {
			i := string(r.Violation.Invariant)
			byInvariant[i] = append(byInvariant[i], seed)
		}
	}
	fmt.Printf("%d histories from seed %d on, %d steps, in %s\n", *seeds, from, steps, time.Since(began).Round(time.Millisecond))

	for _, i := range sorted(byInvariant) {
		failed := byInvariant[i]
		t.Errorf("invariant %s was violated by %d of %d histories, such as those of seeds %v", i, len(failed), *seeds, failed[:min(10, len(failed))])
		for _, seed := range failed[:min(*most, len(failed))] {
			r := results[seed]
			actions := Shrink(theFunction, r.Actions, r.Violation)
			again := Replay(theFunction, actions, nil)
			if again.Violation == nil {
				again = r
			}
			t.Logf("%s\n\nTo have it played for ever, with a name and a reason of its own, in regressions_test.go:\n\n%s", again.Violation, TestCase(fmt.Sprintf("Seed%d", seed), actions, again.Violation))
			if *tell {
				Replay(theFunction, actions, teller())
			}
		}
	}
}

// playAll histories, as many at a time as there are processors.
func playAll(f New, from, count uint64) map[uint64]*Result {
	// A history is a lot of short-lived small objects on a small heap.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	results := make(map[uint64]*Result, count)
	var lock sync.Mutex
	var done sync.WaitGroup
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for seed := range next {
				r := Play(f, seed)
				lock.Lock()
				results[seed] = r
				lock.Unlock()
			}
		})
	}
	for seed := from; seed < from+count; seed++ {
		next <- seed
	}
	close(next)
	done.Wait()
	return results
}
