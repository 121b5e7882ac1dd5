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

	// at is when the run was complete, or wrote its last snapshot.
	at        time.Time
	receipt   *snapshot
	has       map[string]bool
	snapshots []string
}

// complete tells whether the run was read back and still has all its parts.
func (r *run) complete() bool {
	return r.receipt != nil && r.has[partDatabase] &&
		(r.has[partFilestore] || r.receipt.tag(tagFilestore) == filestoreAbsent)
}

// runs that snapshots belong to, oldest first. Snapshots that aren't a backup's
// belong to none.
func runs(snapshots []snapshot) []*run {
	byID := map[string]*run{}
	for _, s := range snapshots {
		id, uid, part := s.tag(tagRun), s.tag(tagUID), s.tag(tagPart)
		if id == "" || uid == "" || part == "" {
			continue
		}
		r := byID[id]
		if r == nil {
			r = &run{id: id, uid: uid, kind: s.tag(tagKind), has: map[string]bool{}}
			byID[id] = r
		}
		r.snapshots = append(r.snapshots, s.ID)
		r.has[part] = true
		if part == partReceipt {
			r.receipt = &s
		}
		if s.Time.After(r.at) {
			r.at = s.Time
		}
	}
	all := slices.Collect(maps.Values(byID))
	slices.SortFunc(all, func(a, b *run) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
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

const day = 24 * time.Hour

// expired runs, by the retention of the tenant that each belongs to: the days
// given for its UID, else those that its newest complete run was made under.
//
//   - Of a living tenant the newest complete run is kept however old it is. A
//     tenant lives unless its newest complete run is a final one: so one that was
//     to go, and then stayed, lives again from its next backup on; and one that
//     follows another under the same name changes nothing about the other's.
//   - Of a tenant that is gone everything goes in the end.
//   - Of an incomplete run there is nothing to be kept once a complete one is
//     newer. It may be under way, so it is left alone for a day.
func expired(all []*run, days map[string]int, now time.Time) []*run {
	newestOf := map[string]*run{}
	for _, r := range all {
		if r.complete() {
			newestOf[r.uid] = r
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(r *run) bool {
		latest := newestOf[r.uid]
		if latest == nil {
			return true
		}
		retention, known := days[r.uid]
		if !known {
			retention, _ = strconv.Atoi(latest.receipt.tag(tagRetention))
		}
		if retention < 1 {
			// Nobody can say for how long: keep it.
			return true
		}
		gone := latest.kind == kindFinal
		age := now.Sub(r.at)
		switch {
		case r == latest && !gone:
			return true
		case !r.complete() && r.at.Before(latest.at):
			return age <= day
		default:
			return age <= time.Duration(retention)*day
		}
	})
}

// snapshotsOf runs.
func snapshotsOf(all []*run) []string {
	var ids []string
	for _, r := range all {
		ids = append(ids, r.snapshots...)
	}
	return ids
}
