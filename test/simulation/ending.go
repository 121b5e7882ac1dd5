package simulation

import (
	"fmt"
	"slices"
	"strings"
)

// This file is how every history ends: people mend what can be mended, all
// programs are left to settle, and then everything has to be as it should be.

// finish a history.
func (w *World) finish() {
	if w.violation != nil {
		return
	}
	w.trace("        everything settles, and people mend what they can")
	w.repair()
	for range 8 {
		w.settle()
		if w.violation != nil || !w.help() {
			break
		}
	}
	w.checkStrangers()
	if w.violation != nil {
		return
	}
	for _, uid := range sorted(w.lives) {
		if l := w.lives[uid]; w.owner(uid) != nil {
			w.checkPresent(l)
		} else {
			w.checkGone(l)
		}
	}
	w.checkNotices()
}

// repair what surrounds the tenants.
func (w *World) repair() {
	w.providerDown, w.gatewayRefuses = false, false
	for _, r := range w.refs() {
		if o := w.objects[r]; o != nil && o.annotation(annotationPaused) != "" {
			w.trace("        somebody lets %s go on", r)
			w.update(o, func(body map[string]any) { drop(body, "metadata", "annotations", annotationPaused) })
		}
	}
	if w.platform.current().bad {
		w.changePlatform(Action{})
	}
	for n := range 6 {
		w.returnTemplate(n)
	}
	for i := range versions {
		w.setQuota(Action{N: 2*i + 1})
	}
	for _, name := range sorted(w.tenants) {
		if xr := w.client(name); xr != nil {
			mend(w, Action{}, xr)
		}
	}
	w.wake()
}

// help does what the conditions of tenants ask people to do. It tells whether
// there was anything.
func (w *World) help() bool {
	helped := false
	for _, r := range w.refs() {
		o := w.objects[r]
		if o == nil {
			continue
		}
		switch l := w.lives[o.controller()]; {
		case o.kind == kindJob && jobFailed(o) && !o.deleting() && l != nil:
			if db := w.databases[databaseOf(l.name)]; db != nil && l.adopted && db.preparedFor != l.uid {
				// The effect refuses what another tenant was, until a person says
				// that it is handed over.
				db.preparedFor = ""
			}
			w.trace("        somebody deletes %s, which failed", r)
			w.handDelete(o)
			helped = true
		case o.kind == kindJob && l == nil && !o.deleting() && w.client(text(o.body, "metadata", "labels", labelComposite)) != nil:
			w.trace("        somebody deletes %s, which an orphaned tenant left behind", r)
			w.destroy(o, policyBackground)
			helped = true
		case o.kind == kindDatabase && l != nil && !l.adopted && w.ofStranger(l) && w.foreignGoes(l.name):
			w.trace("        somebody renames the database that is in the way of %s", l.name)
			helped = true
		case o.kind == kindDatabase && l != nil && !o.deleting() && text(condition(w.owner(l.uid).bodyOrNil(), "DatabaseReady"), "reason") == "BareDatabase":
			// By what a person sees from outside, and no more.
			switch db := w.databases[databaseOf(l.name)]; {
			case db == nil:
			case db.fenced || !db.allowConnections:
				w.trace("        somebody gives %s, which was taken out of service, back to Odoo's role", db.name)
				db.owner, db.fenced, db.allowConnections = odooRole, false, true
			case db.owner == providerRole:
				w.trace("        somebody renames %s, which looks bare", db.name)
				delete(w.databases, db.name)
				db.name += "-left-behind"
				for w.databases[db.name] != nil {
					db.name += "-too"
				}
				w.databases[db.name] = db
			}
			w.trace("        somebody has %s read anew", r)
			w.destroy(o, policyBackground)
			helped = true
		}
	}
	if w.strangerGoes() {
		w.trace("        somebody takes away what is in the way")
		helped = true
	}
	for _, name := range sorted(w.tenants) {
		if xr := w.client(name); xr != nil && !xr.deleting() && len(w.protectors(name)) > 0 && strings.Contains(conditionsOf(xr), "is let go of") {
			w.trace("        somebody cancels the delete of %s, which is refused", name)
			cancel(w, Action{}, xr)
			helped = true
		}
		helped = w.handOver(name) || helped
	}
	for _, name := range sorted(w.tenants) {
		if xr := w.client(name); xr != nil && text(condition(xr.body, "Accepted"), "status") == "False" {
			w.trace("        somebody mends the spec of %s", name)
			mend(w, Action{}, xr)
			helped = true
		}
	}
	for _, name := range sorted(w.tenants) {
		xr := w.client(name)
		if xr == nil || xr.deleting() || xr.annotation(annotationAttempt) == "" || len(w.protectors(name)) > 0 {
			continue
		}
		// Crossplane died before it could replay the delete.
		w.trace("        somebody deletes %s again", name)
		w.deleteClient(name, xr.annotation(annotationAttempt), false)
		helped = true
	}
	w.wake()
	return helped
}

// ofStranger tells whether a movable database is in a tenant's way.
func (w *World) ofStranger(l *life) bool {
	db := w.databases[databaseOf(l.name)]
	return db != nil && db.foreign && db.movable
}

// checkPresent looks at a tenant that is there at the end.
func (w *World) checkPresent(l *life) {
	xr := w.owner(l.uid)
	owned := slices.DeleteFunc(w.composedBy(l.uid), func(o *object) bool {
		// Nobody knows of it any more, and it goes with the tenant.
		return o.kind == kindJob && o.unreferenced
	})
	var names []string
	for _, o := range owned {
		names = append(names, o.ref.String())
	}
	wrong := func(format string, args ...any) {
		w.violate(invariantArrives, "%s in the end: %s (owns %s; %s)", l.name, fmt.Sprintf(format, args...), strings.Join(names, ", "), conditionsOf(xr))
	}

	db := w.databases[databaseOf(l.name)]
	// Where it was taken back in time, what was to be adopted is in the way again.
	adopted := l.adopted && (isTrue(xr.body, "spec", "database", "adopt") || conditionTrue(xr.body, "Ready"))
	switch {
	case xr.deleting():
		wrong("is still being deleted")
		return
	case xr.annotation(annotationAttempt) != "":
		// One that was protected after the fact stays until somebody decides.
		if !l.handled && !isTrue(xr.body, "spec", "deletionProtection") {
			wrong("was to be deleted and is still there")
		}
		return
	case l.dropped:
		// It was cancelled too late. Its conditions say what to do.
		return
	case db != nil && db.foreign && !adopted:
		// A name collision is for people to resolve. All is untouched.
		if conditionTrue(xr.body, "Ready") {
			wrong("is Ready with somebody else's database")
		}
		return
	case (w.orphaned(xr) || db != nil && db.madeFor != "" && db.madeFor != l.uid) && !adopted:
		// The Database object is an earlier tenant's, and so may be what it
		// stands for. That, too, is for people to resolve.
		return
	case l.handled || w.foreignFiles(l):
		return
	}
	if db != nil && db.foreign && (db.template || !db.initialised) {
		// Odoo serves no template, nor a database without its tables, and this one
		// was adopted as it is.
		return
	}
	if !conditionTrue(xr.body, "Ready") || !conditionTrue(xr.body, "Synced") {
		wrong("isn't Ready and Synced")
		return
	}
	suspended := isTrue(xr.body, "spec", "suspended")
	keys := map[string]bool{}
	for _, o := range owned {
		keys[o.key()] = true
	}
	if len(owned) != 4 || !keys["guard"] || !keys["database"] || !keys["route"] || !keys["backup"] {
		w.violate(invariantOnce, "%s in the end owns %s, rather than its guard, database, route and backup", l.name, strings.Join(names, ", "))
		return
	}
	switch {
	case db == nil:
		wrong("has no database")
	case db.owner != map[bool]string{false: odooRole, true: providerRole}[suspended] || db.fenced != suspended:
		wrong("suspended: %v, and its database is: %+v", suspended, db)
	case db.preparedFor != l.uid && !l.adopted:
		wrong("has a database that isn't its own: %+v", db)
	case !db.foreign && (db.tablespace != defaultTablespace || db.limit < leastLimit || db.template):
		wrong("has a database in somebody else's image: %+v", db)
	case db.allowConnections == suspended:
		wrong("suspended: %v, and its database takes connections: %v", suspended, db.allowConnections)
	case w.routed(xr) == suspended:
		wrong("suspended: %v, and its route leads to Odoo: %v", suspended, w.routed(xr))
	case isTrue(w.find(l.name, "backup").body, "spec", "suspend") != suspended:
		wrong("suspended: %v, and its backups aren't, or the other way round", suspended)
	case w.rooms[fmt.Sprintf("support-%s-%03d", l.name, l.project)] == nil:
		wrong("has no support room")
	case !slices.Contains(w.portal, notice{l.uid, "tenant.provisioned"}), !slices.Contains(w.stream, notice{l.uid, "client.provisioned"}) && !slices.Contains(w.stream, notice{l.uid, "client-provisioned"}):
		wrong("was never announced")
	}
}

// orphaned tells whether a tenant's Database object is older than the tenant.
func (w *World) orphaned(xr *object) bool {
	o := w.find(xr.name, "database")
	return o != nil && text(o.body, "metadata", "creationTimestamp") < text(xr.body, "metadata", "creationTimestamp")
}

// foreignFiles tells whether somebody else's files are where a tenant's should
// be. They are for people to move.
func (w *World) foreignFiles(l *life) bool {
	for _, version := range versions {
		d, db := w.files[versionNamespace(version)+"/"+databaseOf(l.name)], w.databases[databaseOf(l.name)]
		if d != nil && d.uid != l.uid && (!l.adopted || db == nil || !db.foreign) {
			return true
		}
	}
	return false
}

// checkGone looks at what a tenant that isn't there any more has left behind.
func (w *World) checkGone(l *life) {
	if l.handled || l.orphaned || l.letGo || l.slipped {
		return
	}
	name := databaseOf(l.name)
	for _, o := range w.composedBy(l.uid) {
		w.violate(invariantOrder, "%s is gone and has left %s behind", l.name, o.ref)
	}
	if db := w.databases[name]; db != nil && db.madeFor == l.uid && !db.foreign && !l.late {
		w.violate(invariantOrder, "%s is gone and has left its database behind: %+v", l.name, *db)
	}
	for _, version := range versions {
		if d := w.files[versionNamespace(version)+"/"+name]; d != nil && d.uid == l.uid {
			w.violate(invariantOrder, "%s is gone and has left its files behind: %+v", l.name, *d)
		}
	}
	// A hand that deletes a Job before the ledger knows that it has completed takes away
	// the only sign of that. It is run again, unless the tenant is deleted first: then
	// nobody knows what there is to be undone.
	unknown := func(key string) bool {
		for id := range l.excused {
			if l.done[id] && strings.HasPrefix(id, key+" ") {
				return true
			}
		}
		return false
	}
	for alias, r := range w.rooms {
		if r.uid == l.uid && !unknown("matrix-room-create") {
			w.violate(invariantOrder, "%s is gone and has left its support room %s behind", l.name, alias)
		}
	}
	for _, pair := range []struct {
		notices   []notice
		key       string
		come, go_ string
	}{
		{w.portal, "account-webhook", "tenant.provisioned", "tenant.deprovisioned"},
		{w.stream, "client-provisioned", "client-provisioned", "client-deprovisioned"},
	} {
		if !unknown(pair.key) && slices.Contains(pair.notices, notice{l.uid, pair.come}) && !slices.Contains(pair.notices, notice{l.uid, pair.go_}) {
			w.violate(invariantOrder, "%s is gone, and who was told %s wasn't told %s", l.name, pair.come, pair.go_)
		}
	}
}

// checkNotices looks for what was said more than once.
func (w *World) checkNotices() {
	said := map[notice]int{}
	for _, n := range w.stream {
		said[n]++
		if said[n] > 1 {
			w.violate(invariantOnce, "the event %s of %s is in the stream %d times", n.event, n.uid, said[n])
		}
	}
}

// conditionsOf a composite resource that don't hold, for people.
func conditionsOf(xr *object) string {
	var out []string
	for _, c := range list(xr.body, "status", "conditions") {
		if m, ok := c.(map[string]any); ok && text(m, "status") != "True" {
			out = append(out, fmt.Sprintf("%s=%s: %s: %s", text(m, "type"), text(m, "status"), text(m, "reason"), text(m, "message")))
		}
	}
	return strings.Join(out, "; ")
}
