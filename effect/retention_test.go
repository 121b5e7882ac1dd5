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
	mark := []string{partTombstone}
	// One of a version that knew no tombstones: its final run says that the tenant is
	// gone.
	const kindLegacy = "legacy-final"

	cases := map[string]struct {
		reason string
		runs   []made
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
		"TierRaised": {
			reason: "A tenant that was moved to a higher tier keeps for longer what was made under the old one.",
			runs: []made{
				{"z", "u1", kindBackup, 91, "30", whole},
				{"a", "u1", kindBackup, 80, "30", whole},
				{"b", "u1", kindBackup, 0, "90", whole},
			},
			want: []string{"z"},
		},
		"TierLowered": {
			reason: "A tenant whose manifest lost its tier for a night, or for good, keeps what its older backups were promised.",
			runs: []made{
				{"z", "u1", kindBackup, 366, "365", whole},
				{"a", "u1", kindBackup, 364, "365", whole},
				{"b", "u1", kindBackup, 40, "365", whole},
				{"c", "u1", kindBackup, 31, "30", whole},
				{"d", "u1", kindBackup, 0, "30", whole},
			},
			want: []string{"c", "z"},
		},
		"NewestPromisesNothing": {
			reason: "A newest run that says no number removes nothing.",
			runs: []made{
				{"a", "u1", kindBackup, 400, "30", whole},
				{"b", "u1", kindBackup, 0, "", whole},
			},
		},
		"OlderPromisesNothing": {
			reason: "A receipt without a number goes by what is asked for now.",
			runs: []made{
				{"a", "u1", kindBackup, 31, "", whole},
				{"b", "u1", kindBackup, 29, "", whole},
				{"c", "u1", kindBackup, 0, "30", whole},
			},
			want: []string{"a"},
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
			reason: "Of a tenant that is gone, the rest follows its own age, and the final backup stays for as long as it was promised.",
			runs: []made{
				{"a", "u1", kindBackup, 91, "90", whole},
				{"b", "u1", kindBackup, 89, "90", whole},
				{"c", "u1", kindFinal, 88, "90", whole},
				{"t", "u1", kindTombstone, 88, "90", mark},
			},
			want: []string{"a"},
		},
		"GoneForLong": {
			reason: "In the end nothing is left of a tenant that is gone but its tombstone.",
			runs: []made{
				{"a", "u1", kindBackup, 100, "90", whole},
				{"half", "u1", kindFinal, 93, "90", half},
				{"b", "u1", kindFinal, 92, "90", whole},
				{"t", "u1", kindTombstone, 92, "90", mark},
			},
			want: []string{"a", "b", "half"},
		},
		"TombstoneIsLeft": {
			reason: "And then that goes as well.",
			runs:   []made{{"t", "u1", kindTombstone, 92, "90", mark}},
			want:   []string{"t"},
		},
		"TombstoneOutlivesALongerPromise": {
			reason: "As long as an older run was promised more, somebody must know that its tenant is gone.",
			runs: []made{
				{"a", "u1", kindBackup, 200, "365", whole},
				{"b", "u1", kindFinal, 100, "30", whole},
				{"t", "u1", kindTombstone, 100, "30", mark},
			},
			want: []string{"b"},
		},
		"GoneWithoutFinal": {
			reason: "A tenant whose last backup was waived is gone all the same.",
			runs: []made{
				{"a", "u1", kindBackup, 35, "30", whole},
				{"t", "u1", kindTombstone, 34, "30", mark},
			},
			want: []string{"a"},
		},
		"GoneBeforeTheFirstBackup": {
			reason: "Half a backup of a tenant that is gone is nobody's.",
			runs: []made{
				{"a", "u1", kindBackup, 35, "30", half},
				{"t", "u1", kindTombstone, 34, "30", mark},
			},
			want: []string{"a"},
		},
		"ClocksDiffer": {
			reason: "The final run of the tombstone's own teardown isn't newer, whatever the clocks of two nodes say.",
			runs: []made{
				{"b", "u1", kindFinal, 91, "90", whole},
				{"t", "u1", kindTombstone, 91.01, "90", mark},
			},
			want: []string{"b"},
		},
		"Cancelled": {
			reason: "A final run says nothing of a tenant's end: its teardown was cancelled, and since then the tenant has been suspended, without another backup.",
			runs: []made{
				{"a", "u1", kindBackup, 400, "30", whole},
				{"b", "u1", kindFinal, 399, "30", whole},
			},
			want: []string{"a"},
		},
		"CancelledAndThenBackedUp": {
			reason: "A tenant whose deletion was cancelled goes on as before.",
			runs: []made{
				{"a", "u1", kindFinal, 100, "30", whole},
				{"b", "u1", kindBackup, 99, "30", whole},
			},
			want: []string{"a"},
		},
		"TombstoneOfALivingTenant": {
			reason: "A complete backup that is newer than a tombstone proves it wrong.",
			runs: []made{
				{"a", "u1", kindBackup, 100, "30", whole},
				{"t", "u1", kindTombstone, 99, "30", mark},
				{"b", "u1", kindBackup, 98, "30", whole},
			},
			want: []string{"a", "t"},
		},
		"LegacyGone": {
			reason: "The final run of an earlier version is the tombstone, and outlives the rest.",
			runs: []made{
				{"a", "u1", kindBackup, 93, "90", whole},
				{"b", "u1", kindLegacy, 92, "90", whole},
			},
			want: []string{"a"},
		},
		"LegacyGoneForLong": {
			reason: "And then it goes.",
			runs:   []made{{"b", "u1", kindLegacy, 92, "90", whole}},
			want:   []string{"b"},
		},
		"LegacyStayedAfterAll": {
			reason: "A tenant of an earlier version whose deletion was cancelled lives again from its next backup on.",
			runs: []made{
				{"a", "u1", kindLegacy, 100, "30", whole},
				{"b", "u1", kindBackup, 99, "30", whole},
			},
			want: []string{"a"},
		},
		"SameNameAgain": {
			reason: "A tenant that follows another under the same name lives by its own retention, and the other's tombstone stays in force.",
			runs: []made{
				{"a", "u1", kindBackup, 60, "90", whole},
				{"b", "u1", kindFinal, 50, "90", whole},
				{"t", "u1", kindTombstone, 50, "90", mark},
				{"c", "u2", kindBackup, 40, "30", whole},
				{"d", "u2", kindBackup, 0, "30", whole},
			},
			want: []string{"c"},
		},
		"SameNameAgainAndTheOtherExpired": {
			reason: "The first tenant's backups go although somebody of its name lives.",
			runs: []made{
				{"b", "u1", kindFinal, 91, "90", whole},
				{"t", "u1", kindTombstone, 91, "90", mark},
				{"d", "u2", kindBackup, 31, "30", whole},
			},
			want: []string{"b"},
		},
		"PromiseTakenBack": {
			reason: "A snapshot that is added to a run, by whoever has the key of backups, takes no promise back.",
			runs: []made{
				{"a", "u1", kindBackup, 300, "365", whole},
				{"a", "u1", kindBackup, 300, "1", []string{partReceipt}},
				{"b", "u1", kindBackup, 0, "30", whole},
			},
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
					switch m.kind {
					case kindLegacy:
						s.Tags[2] = tagKind + "=" + kindFinal
					case kindFinal, kindTombstone:
						s.Tags = append(s.Tags, tagOccasion+"=2026-11-21T02:00:00Z")
					}
					if p == partReceipt || p == partTombstone {
						s.Tags = append(s.Tags, tagRetention+"="+m.retention)
						if absent {
							s.Tags = append(s.Tags, tagFilestore+"="+filestoreAbsent)
						}
					}
					snapshots = append(snapshots, s)
				}
			}

			old := expired(runs(snapshots), now)
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
