package simulation

import "maps"

// This file has what hands do beyond kubectl edit: to annotations that controllers
// go by, to the references of a composite resource, to clocks, and to all of etcd.

// elsewhere is a database that nobody has.
const elsewhere = "elsewhere." + domain

// handAnnotate changes what provider-sql goes by.
func (w *World) handAnnotate(a Action) bool {
	o := w.find(a.Tenant, "database")
	if o == nil || o.kind != kindDatabase {
		return false
	}
	w.update(o, func(body map[string]any) {
		switch a.N % 4 {
		case 0:
			put(body, w.timestamp(), "metadata", "annotations", annotationPending)
		case 1:
			// What provider-sql itself advises, if it doesn't know what came of a creation.
			drop(body, "metadata", "annotations", annotationPending)
		case 2:
			put(body, w.timestamp(), "metadata", "annotations", annotationFailed)
		case 3:
			// Whatever provider-sql does by it until Crossplane applies it again is that
			// hand's.
			if l := w.lives[o.controller()]; l != nil {
				l.handled = true
			}
			put(body, elsewhere, "metadata", "annotations", annotationExternal)
		}
	})
	return true
}

// handUnref takes a composed resource out of its composite resource's references.
func (w *World) handUnref(a Action) bool {
	xr, o := w.client(a.Tenant), w.find(a.Tenant, a.Key)
	if xr == nil || o == nil {
		return false
	}
	var rest []any
	for _, r := range list(xr.body, "spec", "crossplane", "resourceRefs") {
		if m, ok := r.(map[string]any); !ok || text(m, "kind") != o.kind || text(m, "name") != o.name || text(m, "namespace") != o.namespace {
			rest = append(rest, r)
		}
	}
	if l := w.lives[o.controller()]; l != nil && a.Key == "guard" {
		// For --cascade=orphan this is as good as deleting it.
		l.handled = true
	}
	o.unreferenced = o.controller() == xr.uid()
	w.update(xr, func(body map[string]any) { put(body, rest, "spec", "crossplane", "resourceRefs") })
	return true
}

// pause Crossplane's reconciles of a composite resource, or provider-sql's of a
// Database object, or let them go on.
func (w *World) pause(a Action) bool {
	o := w.client(a.Tenant)
	if a.Key != "" {
		o = w.find(a.Tenant, a.Key)
	}
	if o == nil {
		return false
	}
	w.update(o, func(body map[string]any) {
		if a.N == 0 {
			put(body, "true", "metadata", "annotations", annotationPaused)
			return
		}
		drop(body, "metadata", "annotations", annotationPaused)
	})
	return true
}

// setClock of the function's machine.
func (w *World) setClock(ahead int64) bool {
	for _, l := range w.lives {
		xr := w.owner(l.uid)
		if xr != nil && dig(xr.body, "status", "deletion") != nil && l.askedAt >= 0 && ahead > w.ahead {
			l.shortened += ahead - w.ahead
		}
	}
	w.ahead = ahead
	w.clock.SetTime(w.told())
	return true
}

// A backedUp cluster.
type backedUp struct {
	objects  map[ref]*object
	platform platform
	state    state

	// deletes are those that were under way, by the UID of their tenant.
	deletes map[string]pendingDelete
}

// A pendingDelete is what is known of a delete beyond what the cluster shows.
type pendingDelete struct {
	askedAt, shortened int64
	began, recorded    bool
}

// backUpCluster is etcdctl snapshot save.
func (w *World) backUpCluster() bool {
	w.etcd = nil
	b := &backedUp{objects: map[ref]*object{}, platform: w.platform, state: w.state(), deletes: map[string]pendingDelete{}}
	for uid, l := range w.lives {
		b.deletes[uid] = pendingDelete{l.askedAt, l.shortened, l.began, l.recorded}
	}
	for r, o := range w.objects {
		b.objects[r] = o.copy()
	}
	w.etcd = b
	return true
}

// restoreCluster is etcdctl snapshot restore, of a cluster whose databases, files and
// rooms have gone on meanwhile. Tenants that were created or deleted between the two,
// or were leaving at either time, are for people to look at.
func (w *World) restoreCluster() bool {
	b := w.etcd
	if b == nil {
		return false
	}
	// fenced tells that a tenant that was on its way then has been fenced since: its Jobs
	// stand in front of a fence that the cluster doesn't know of.
	fenced := func(then, now *object) bool {
		return now != nil && dig(now.body, "status", "fence") != nil && then != nil && dig(then.body, "status", "effects", "client-provisioned") == nil
	}
	leaves := func(xr *object) bool {
		return xr == nil || xr.deleting() || xr.annotation(annotationAttempt) != "" || dig(xr.body, "status", "deletion") != nil
	}
	now := map[string]*object{}
	for _, o := range w.objects {
		if o.kind == kindClient {
			now[o.uid()] = o
		}
	}
	w.objects, w.ordered = map[ref]*object{}, nil
	for r, o := range b.objects {
		w.objects[r] = o.copy()
	}
	w.platform, w.replays, w.tenants = b.platform, nil, map[string]*tenant{}
	for _, l := range w.lives {
		xr := w.owner(l.uid)
		if xr != nil {
			w.tenants[l.name] = &tenant{name: l.name, dirty: true}
			// What it was let go of with meanwhile is its own once more.
			if db := w.databases[databaseOf(l.name)]; db != nil && db.madeFor == l.uid {
				db.foreign, l.orphaned, l.released = false, false, false
			}
		}
		if (xr != nil || now[l.uid] != nil) && (leaves(xr) || leaves(now[l.uid]) || fenced(xr, now[l.uid])) {
			l.handled, l.misremembered = true, true
		}
		if d, there := b.deletes[l.uid]; there && xr != nil {
			l.askedAt, l.shortened, l.began, l.recorded = d.askedAt, d.shortened, d.began, d.recorded
		}
		l.dropped = xr != nil && isTrue(xr.body, "status", "deletion", "irrevocable")
		// What was done since is done again: the ledger doesn't know.
		maps.Copy(l.excused, l.done)
	}
	if w.platform.current().skip {
		for _, l := range w.lives {
			l.waived = true
		}
	}
	w.wake()
	return true
}
