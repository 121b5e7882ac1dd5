package effect

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestExpired(t *testing.T) {
	now := time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)

	// A run of so many days ago, with the parts it has.
	type made struct {
		id        string
		uid       string
		kind      string
		age       float64
		retention string
		parts     []string
	}
	whole := []string{partDatabase, partFilestore, partReceipt}
	half := []string{partDatabase, partFilestore}

	cases := map[string]struct {
		reason string
		runs   []made
		days   map[string]int
		want   []string
	}{
		"Empty": {
			reason: "Nothing can be removed from an empty repository.",
		},
		"ByAge": {
			reason: "Complete runs go when they are older than the retention, and not on the day itself.",
			runs: []made{
				{"a", "u1", kindBackup, 31, "30", whole},
				{"b", "u1", kindBackup, 30.5, "30", whole},
				{"c", "u1", kindBackup, 30, "30", whole},
				{"d", "u1", kindBackup, 0, "30", whole},
			},
			want: []string{"a", "b"},
		},
		"NewestOfALivingTenantStays": {
			reason: "A tenant whose backups have been failing for a year keeps its last good one.",
			runs: []made{
				{"a", "u1", kindBackup, 370, "30", whole},
				{"b", "u1", kindBackup, 365, "30", whole},
				{"c", "u1", kindBackup, 2, "30", half},
			},
			want: []string{"a"},
		},
		"RetentionOfTheTierNow": {
			reason: "A tenant that was upgraded keeps for longer what was made under the old tier.",
			runs: []made{
				{"a", "u1", kindBackup, 80, "30", whole},
				{"b", "u1", kindBackup, 0, "30", whole},
			},
			days: map[string]int{"u1": 90},
		},
		"RetentionOfTheNewestRun": {
			reason: "Who isn't told the tier goes by the newest run.",
			runs: []made{
				{"a", "u1", kindBackup, 80, "30", whole},
				{"b", "u1", kindBackup, 0, "90", whole},
			},
		},
		"Incomplete": {
			reason: "What a killed run left goes a day after, once a complete run is newer; what may be under way stays.",
			runs: []made{
				{"old", "u1", kindBackup, 2, "30", half},
				{"recent", "u1", kindBackup, 0.5, "30", half},
				{"good", "u1", kindBackup, 0.4, "30", whole},
				{"now", "u1", kindBackup, 0, "30", half},
			},
			want: []string{"old"},
		},
		"OnlyIncomplete": {
			reason: "As long as there is no complete run, half a backup is better than none.",
			runs:   []made{{"a", "u1", kindBackup, 400, "30", half}},
		},
		"ReceiptWithoutDump": {
			reason: "A run whose dump was removed doesn't count, whatever its receipt says.",
			runs: []made{
				{"a", "u1", kindBackup, 40, "30", whole},
				{"b", "u1", kindBackup, 3, "30", []string{partFilestore, partReceipt}},
			},
		},
		"WithoutFilestore": {
			reason: "A tenant without files has complete runs of two parts.",
			runs: []made{
				{"a", "u1", kindBackup, 40, "30", whole},
				{"b", "u1", kindBackup, 3, "30", []string{partDatabase, partReceipt, filestoreAbsent}},
			},
			want: []string{"a"},
		},
		"Gone": {
			reason: "Of a tenant that is gone, the rest follows its own age, and the final backup stays for as long as the tombstone says.",
			runs: []made{
				{"a", "u1", kindBackup, 91, "90", whole},
				{"b", "u1", kindBackup, 89, "90", whole},
				{"c", "u1", kindFinal, 88, "90", whole},
			},
			want: []string{"a"},
		},
		"GoneForLong": {
			reason: "In the end nothing is left of a tenant that is gone.",
			runs: []made{
				{"a", "u1", kindBackup, 100, "90", whole},
				{"half", "u1", kindFinal, 91, "90", half},
				{"b", "u1", kindFinal, 92, "90", whole},
			},
			want: []string{"a", "b", "half"},
		},
		"StayedAfterAll": {
			reason: "A tenant whose deletion was cancelled lives again from its next backup on.",
			runs: []made{
				{"a", "u1", kindFinal, 100, "30", whole},
				{"b", "u1", kindBackup, 99, "30", whole},
			},
			want: []string{"a"},
		},
		"SameNameAgain": {
			reason: "A tenant that follows another under the same name lives by its own retention, and the other's tombstone stays in force.",
			runs: []made{
				{"a", "u1", kindBackup, 60, "90", whole},
				{"b", "u1", kindFinal, 50, "90", whole},
				{"c", "u2", kindBackup, 40, "30", whole},
				{"d", "u2", kindBackup, 0, "30", whole},
			},
			days: map[string]int{"u2": 30},
			want: []string{"c"},
		},
		"SameNameAgainAndTheOtherExpired": {
			reason: "The first tenant's backups go although somebody of its name lives.",
			runs: []made{
				{"b", "u1", kindFinal, 91, "90", whole},
				{"d", "u2", kindBackup, 31, "30", whole},
			},
			want: []string{"b"},
		},
		"NoRetention": {
			reason: "Where a run doesn't say for how long, nothing is removed.",
			runs: []made{
				{"a", "u1", kindBackup, 4000, "", whole},
				{"b", "u1", kindBackup, 0, "many", whole},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			snapshots := []snapshot{{ID: "somebody-elses", Time: now.Add(-9999 * day), Tags: []string{"by-hand"}}}
			for _, m := range tc.runs {
				absent := slices.Contains(m.parts, filestoreAbsent)
				for _, p := range m.parts {
					if p == filestoreAbsent {
						continue
					}
					s := snapshot{
						ID:   m.id + "-" + p,
						Time: now.Add(-time.Duration(m.age * float64(day))),
						Tags: []string{tagUID + "=" + m.uid, tagRun + "=" + m.id, tagKind + "=" + m.kind, tagPart + "=" + p},
					}
					if p == partReceipt {
						s.Tags = append(s.Tags, tagRetention+"="+m.retention)
						if absent {
							s.Tags = append(s.Tags, tagFilestore+"="+filestoreAbsent)
						}
					}
					snapshots = append(snapshots, s)
				}
			}

			old := expired(runs(snapshots), tc.days, now)
			var got []string
			for _, r := range old {
				got = append(got, r.id)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nexpired(...): -want, +got:\n%s", tc.reason, diff)
			}
			for _, id := range snapshotsOf(old) {
				if id == "somebody-elses" {
					t.Error("a snapshot that isn't a backup's is removed")
				}
			}
		})
	}
}
