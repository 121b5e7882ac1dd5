package effect

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// A run of a backup, as its snapshots tell.
type run struct {
	id, uid, kind string

	// occasion is the teardown that a final run or a tombstone belongs to. Final
	// runs of earlier versions have none.
	occasion string

	// at is when the run was complete, or wrote its last snapshot.
	at        time.Time
	receipt   *snapshot
	has       map[string]bool
	snapshots []string

	// promised is for how many days the run itself says that it is kept, or 0. Of
	// several promises the longest counts: a snapshot that is added to a run later
	// on takes nothing back.
	promised int
}

// complete tells whether the run was read back and still has all its parts.
func (r *run) complete() bool {
	return r.receipt != nil && r.has[partDatabase] &&
		(r.has[partFilestore] || r.receipt.tag(tagFilestore) == filestoreAbsent)
}

// entombs tells whether the run marks its tenant as gone. Tombstones do. A final
// run doesn't, because its teardown can still be cancelled; but those of earlier
// versions do, which knew no tombstones.
func (r *run) entombs() bool {
	return r.has[partTombstone] || r.complete() && r.kind == kindFinal && r.occasion == ""
}

// runs that snapshots belong to, oldest first. Snapshots that aren't a backup's
// belong to none.
func runs(snapshots []snapshot) []*run {
	type key struct{ id, uid string }
	byID := map[key]*run{}
	for _, s := range snapshots {
		id, uid, part := s.tag(tagRun), s.tag(tagUID), s.tag(tagPart)
		if id == "" || uid == "" || part == "" {
			continue
		}
		r := byID[key{id, uid}]
		if r == nil {
			r = &run{id: id, uid: uid, kind: s.tag(tagKind), occasion: s.tag(tagOccasion), has: map[string]bool{}}
			byID[key{id, uid}] = r
		}
		r.snapshots = append(r.snapshots, s.ID)
		r.has[part] = true
		if part == partReceipt {
			r.receipt = &s
		}
		if days, err := strconv.Atoi(s.tag(tagRetention)); err == nil {
			r.promised = max(r.promised, days)
		}
		if s.Time.After(r.at) {
			r.at = s.Time
		}
	}
	all := slices.Collect(maps.Values(byID))
	slices.SortFunc(all, func(a, b *run) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id), cmp.Compare(a.uid, b.uid))
	})
	return all
}

// newest complete run of those that are chosen, or nil.
func newest(all []*run, chosen func(*run) bool) *run {
	for _, r := range slices.Backward(all) {
		if r.complete() && chosen(r) {
			return r
		}
	}
	return nil
}

// tombstone returns the run that marks a tenant as gone, or nil if it lives: if
// nothing marks it so, or a complete run is newer than what does. The final run of
// the tombstone's own teardown isn't newer, whatever their clocks say.
func tombstone(ofTenant []*run) *run {
	var mark *run
	for _, r := range ofTenant {
		if r.entombs() {
			mark = r
		}
	}
	if mark == nil {
		return nil
	}
	for _, r := range ofTenant {
		own := r.kind == kindFinal && r.occasion == mark.occasion
		if r != mark && r.complete() && !own && r.at.After(mark.at) {
			return nil
		}
	}
	return mark
}

const day = 24 * time.Hour

// expired runs. Each is kept for as long as its own receipt promised, or for as
// long as its tenant's newest run asks for now, whichever is longer: so a change of
// tier, meant or not, never shortens what older backups were promised.
//
//   - Of a living tenant the newest complete run is kept however old it is. A
//     tenant lives until a tombstone says otherwise. One whose deletion was
//     cancelled after its final run lives. One that follows another under the same
//     name changes nothing about the other's.
//   - Of a tenant that is gone everything goes in the end. Its tombstone goes only
//     when nothing else of the tenant is left, in a pass of its own: whoever is
//     killed in between must not leave runs of which nobody knows that their tenant
//     is gone.
//   - Of an incomplete run there is nothing to be kept once a complete one is
//     newer. It may be under way, so it is left alone for a day.
func expired(all []*run, now time.Time) []*run {
	tenants := map[string][]*run{}
	for _, r := range all {
		tenants[r.uid] = append(tenants[r.uid], r)
	}
	var old []*run
	for _, uid := range slices.Sorted(maps.Keys(tenants)) {
		old = append(old, expiredOf(tenants[uid], now)...)
	}
	return old
}

// expiredOf one tenant.
func expiredOf(all []*run, now time.Time) []*run {
	latest, mark := newest(all, func(*run) bool { return true }), tombstone(all)
	asks := cmp.Or(mark, latest)
	if asks == nil || asks.promised < 1 {
		// Half a backup is better than none, and where nobody can say for how long,
		// everything is kept.
		return nil
	}

	var old []*run
	for _, r := range all {
		keep := time.Duration(max(r.promised, asks.promised)) * day
		switch {
		case r == mark && len(all) > 1, r == latest && mark == nil:
			continue
		case latest != nil && !r.complete() && r != mark && r.at.Before(latest.at):
			keep = day
		}
		if now.Sub(r.at) > keep {
			old = append(old, r)
		}
	}
	return old
}

// snapshotsOf runs.
func snapshotsOf(all []*run) []string {
	var ids []string
	for _, r := range all {
		ids = append(ids, r.snapshots...)
	}
	return ids
}
