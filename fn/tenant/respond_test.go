package tenant_test

import (
	"testing"
	"time"
)

func TestCallAgain(t *testing.T) {
	starting := func(tb testing.TB) *world { return newWorld(tb, acme()) }
	inService := func(tb testing.TB) *world { return newWorld(tb, acme()).finish() }

	for name, tc := range map[string]struct {
		reason     string
		world      func(testing.TB) *world
		responsive string
		atMost     time.Duration
		atLeast    time.Duration
	}{
		"Settling": {
			reason:  "What is expected is looked for again within seconds: Crossplane may stop listening to watches any time.",
			world:   starting,
			atLeast: time.Second, atMost: 5 * time.Second,
		},
		"SettlingUnwatched": {
			reason:     "While Crossplane doesn't listen to watches, only this asks again.",
			world:      starting,
			responsive: "False",
			atLeast:    time.Second, atMost: 2 * time.Second,
		},
		"SomebodysTurn": {
			reason: "What a person has to do may take days, and nothing comes of asking all the time.",
			world: func(tb testing.TB) *world {
				w := preparing(tb)
				left := w.composed["tenant-prepare"]
				delete(left.in("metadata"), "ownerReferences")
				w.others = append(w.others, left)
				delete(w.composed, "tenant-prepare")
				return w
			},
			atLeast: time.Minute, atMost: time.Minute,
		},
		"Settled": {
			reason:     "A steady tenant costs next to nothing.",
			world:      inService,
			responsive: "True",
			atLeast:    24 * time.Hour, atMost: 24 * time.Hour,
		},
		"SettledUnwatched": {
			reason:     "Somebody who wants something else of it must be noticed all the same, if not within a second.",
			world:      inService,
			responsive: "False",
			atLeast:    5 * time.Second, atMost: 10 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			if tc.responsive != "" {
				status := w.client.in("status")
				all, _ := status["conditions"].([]any)
				status["conditions"] = append(all, conditions("Responsive", tc.responsive)...)
				w.client["status"] = map[string]any(status)
			}
			if got := w.run().GetMeta().GetTtl().AsDuration(); got < tc.atLeast || got > tc.atMost {
				t.Errorf("%s\nwant to be called again after %s to %s, got %s", tc.reason, tc.atLeast, tc.atMost, got)
			}
		})
	}
}
