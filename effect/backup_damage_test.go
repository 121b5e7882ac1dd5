package effect

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Within so many nights every part of a repository has had its turn, whichever night is
// the first.
func TestSamplesCoverAll(t *testing.T) {
	for _, nights := range []int{1, 2, 14, 256} {
		for _, hour := range []int{12, 22, 23, 24, 27, 35} {
			seen := map[int]bool{}
			first := time.Date(2026, 3, 20, hour, 0, 0, 0, time.UTC)
			for night := range nights {
				for _, part := range samples(first.AddDate(0, 0, night), nights, nil) {
					if part < 1 || part > nights {
						t.Fatalf("part %d of %d", part, nights)
					}
					seen[part] = true
				}
			}
			if len(seen) != nights {
				t.Errorf("%d nights from hour %d: %d parts were read", nights, hour, len(seen))
			}
		}
	}
}

func TestSamples(t *testing.T) {
	// Part 1 of 14 is that of night 0, which ends at noon.
	tonight := time.Date(1970, 1, 1, 23, 30, 0, 0, time.UTC).AddDate(0, 0, 14*1000)
	is := func(days float64, whole bool) *run {
		r := &run{at: tonight.Add(time.Duration(days * float64(day))), has: map[string]bool{partDatabase: true, partFilestore: true}}
		if whole {
			r.receipt = &snapshot{}
		}
		return r
	}
	for name, tc := range map[string]struct {
		reason string
		runs   []*run
		want   []int
	}{
		"First":      {reason: "A tenant without backups has nothing to catch up on.", want: []int{1}},
		"UnderWay":   {reason: "Tonight's own run isn't complete yet.", runs: []*run{is(0, false)}, want: []int{1}},
		"Steady":     {reason: "Every night has its part.", runs: []*run{is(-2, true), is(-1, true)}, want: []int{1}},
		"Again":      {reason: "So has a second backup in the same night.", runs: []*run{is(-0.1, true)}, want: []int{1}},
		"Failed":     {reason: "The part that was found damaged is read until it is whole.", runs: []*run{is(-2, true), is(-1, false)}, want: []int{1, 14}},
		"FailedLong": {reason: "It stays the same part, and one more.", runs: []*run{is(-5, true), is(-4, false), is(-1, false)}, want: []int{1, 11}},
		"Never":      {reason: "One that has never succeeded has failed since its first run.", runs: []*run{is(-3, false), is(-1, false)}, want: []int{1, 12}},
		"Round":      {reason: "It may be tonight's part.", runs: []*run{is(-15, true)}, want: []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, samples(tonight, 14, tc.runs)); diff != "" {
				t.Errorf("%s -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestDamage(t *testing.T) {
	pack := func(c string) string { return strings.Repeat(c, 64) }
	var d damage
	for _, line := range []string{
		"pack " + pack("a") + ": does not exist",
		"pack " + pack("b") + ": unexpected file size: got 100, expected 17624450",
		"Pack ID does not match, want " + pack("c") + ", got " + pack("d"),
		"pack " + pack("b") + " failed to download: StreamPack: ReadFull: unexpected EOF",
		"pack " + pack("e") + ": not referenced in any index",
		"pack " + pack("f") + " contains 1 errors: [blob 0: no]",
		"Fatal: repository contains errors",
	} {
		d.note(line)
	}
	want := map[string]string{
		pack("a"): "missing", pack("b"): "unexpected file size: got 100, expected 17624450",
		pack("c"): "its content isn't what was written", pack("f"): "contains 1 errors: [blob 0: no]",
	}
	if diff := cmp.Diff(want, d.packs); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	err := errors.New("exit status 1")
	if got := d.explain(err); !errors.Is(got, err) || !errors.Is(got, errDamaged) || !strings.Contains(got.Error(), "4 of its files") {
		t.Errorf("got %v", got)
	}
	if none := (&damage{}).explain(err); errors.Is(none, errDamaged) {
		t.Errorf("no file is damaged, and yet: %v", none)
	}
}
