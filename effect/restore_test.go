package effect

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	now := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)
	made := func(id, uid, kind string, daysAgo int) *run {
		return &run{
			id: id, uid: uid, kind: kind, at: now.Add(-time.Duration(daysAgo) * day),
			receipt: &snapshot{Tags: []string{tagFilestore + "=" + filestoreAbsent}}, has: map[string]bool{partDatabase: true, partReceipt: true},
		}
	}
	half := made("half", "u1", kindBackup, 0)
	half.receipt = nil
	one := []*run{made("a", "u1", kindBackup, 3), made("b", "u1", kindBackup, 2), half}
	two := []*run{made("a", "u1", kindBackup, 9), made("b", "u1", kindFinal, 8), made("c", "u2", kindBackup, 2), made("d", "u2", kindBackup, 1)}

	cases := map[string]struct {
		reason    string
		all       []*run
		id, uid   string
		want      string
		ambiguous []string
	}{
		"Latest":          {reason: "One tenant's latest complete run.", all: one, id: latestRun, want: "b"},
		"ByRun":           {reason: "Any of them, by its name.", all: one, id: "a", want: "a"},
		"Incomplete":      {reason: "What was never read back is no backup.", all: one, id: "half"},
		"None":            {reason: "An empty repository.", id: latestRun},
		"LatestOfTwo":     {reason: "The latest of two tenants is the later one's, and asked for may be the earlier one's.", all: two, id: latestRun, ambiguous: []string{"d", "b"}},
		"LatestOfFirst":   {reason: "The earlier tenant's last.", all: two, id: latestRun, uid: "u1", want: "b"},
		"LatestOfSecond":  {reason: "The later tenant's.", all: two, id: latestRun, uid: "u2", want: "d"},
		"LatestOfNobody":  {reason: "A tenant that isn't in there.", all: two, id: latestRun, uid: "u3"},
		"ByRunOfTwo":      {reason: "A run is one tenant's.", all: two, id: "a", want: "a"},
		"ByRunOfAnother":  {reason: "Who says both must mean one.", all: two, id: "a", uid: "u2"},
		"SameRunOfTwo":    {reason: "Nothing keeps two tenants from a run of one name but chance.", all: []*run{made("a", "u1", kindBackup, 2), made("a", "u2", kindBackup, 1)}, id: "a", ambiguous: []string{"a", "a"}},
		"TombstoneBeside": {reason: "A tombstone is no backup.", all: append(one[:2:2], &run{id: "t", uid: "u2", kind: kindTombstone, has: map[string]bool{partTombstone: true}}), id: latestRun, want: "b"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := choose(tc.all, tc.id, tc.uid)
			var ambiguous *ambiguousError
			var candidates []string
			if errors.As(err, &ambiguous) {
				for _, c := range ambiguous.candidates {
					candidates = append(candidates, c.id)
				}
			}
			if diff := cmp.Diff(tc.ambiguous, candidates); diff != "" {
				t.Errorf("%s\nchoose(...): candidates: -want, +got:\n%s", tc.reason, diff)
			}
			chosen := ""
			if got != nil {
				chosen = got.id
			}
			if chosen != tc.want || (tc.want == "") != (err != nil) {
				t.Errorf("%s\nchoose(...): want %q, got %q and %v", tc.reason, tc.want, chosen, err)
			}
		})
	}
}
