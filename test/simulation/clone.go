package simulation

import (
	"maps"
	"slices"
)

// A walk goes on from one world in many ways, so it copies worlds. What nobody
// writes to once it is made is shared: wire forms, what was required and composed,
// and an object's old body.

// clone copies a world, with all that the copy may ever write to. Both tell the
// time by the same clock: see adopt.
func (w *World) clone() *World {
	c := *w
	c.objects = make(map[ref]*object, len(w.objects))
	for r, o := range w.objects {
		c.objects[r] = o.copy()
	}
	c.outside = w.outside.copy()
	c.tenants = copied(w.tenants)
	c.lives = make(map[string]*life, len(w.lives))
	for uid, l := range w.lives {
		cl := *l
		cl.done, cl.excused = maps.Clone(l.done), maps.Clone(l.excused)
		c.lives[uid] = &cl
	}
	c.replays = slices.Clone(w.replays)
	return &c
}

// adopt a world that was cloned from another one's: it is the turn of this function,
// which tells the time by its own clock.
func (w *World) adopt(by *World) *World {
	w.function, w.clock = by.function, by.clock
	w.clock.SetTime(w.told())
	return w
}

func (o *object) copy() *object {
	c := *o
	c.body = clone(o.body)
	c.applied, c.others = maps.Clone(o.applied), maps.Clone(o.others)
	return &c
}

func (o *outside) copy() outside {
	c := *o
	c.databases, c.coming = copied(o.databases), copied(o.coming)
	c.files, c.rooms = copied(o.files), copied(o.rooms)
	c.portal, c.stream = slices.Clone(o.portal), slices.Clone(o.stream)
	c.streamed = maps.Clone(o.streamed)
	c.snapshots = make(map[string][]snapshot, len(o.snapshots))
	for repository, all := range o.snapshots {
		c.snapshots[repository] = slices.Clone(all)
	}
	c.tombs = make(map[string][]tomb, len(o.tombs))
	for repository, all := range o.tombs {
		c.tombs[repository] = slices.Clone(all)
	}
	return c
}

// copied returns a map of copies.
func copied[K comparable, V any](m map[K]*V) map[K]*V {
	c := make(map[K]*V, len(m))
	for k, v := range m {
		cv := *v
		c[k] = &cv
	}
	return c
}
