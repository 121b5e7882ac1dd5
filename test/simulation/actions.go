package simulation

import (
	"fmt"
	"slices"
	"strings"
)

// An Action is one thing that happens. One that can't happen in the world as it
// is does nothing, so that any part of a history is a history.
type Action struct {
	// Do is what happens.
	Do string

	// Tenant to whom, and Key of the composed resource to which it happens.
	Tenant, Key string

	// N decides what the action leaves open.
	N int
}

func (a Action) String() string {
	s := fmt.Sprintf("{Do: %q", a.Do)
	if a.Tenant != "" {
		s += fmt.Sprintf(", Tenant: %q", a.Tenant)
	}
	if a.Key != "" {
		s += fmt.Sprintf(", Key: %q", a.Key)
	}
	if a.N != 0 {
		s += fmt.Sprintf(", N: %d", a.N)
	}
	return s + "}"
}

// acts are all actions by their name. Each tells whether it did anything.
var acts map[string]func(*World, Action) bool

// Settling is made of actions itself, so the table can't be filled in where it
// is declared.
func init() {
	acts = map[string]func(*World, Action) bool{
		// What programs do.
		"reconcile":          func(w *World, a Action) bool { return w.reconcileAs(a, endsWell) },
		"reconcile-lost":     func(w *World, a Action) bool { return w.reconcileAs(a, endsLost) },
		"reconcile-stale":    func(w *World, a Action) bool { return w.reconcileAs(a, endsStale) },
		"reconcile-behind":   func(w *World, a Action) bool { return w.reconcileAs(a, endsBehind) },
		"reconcile-conflict": func(w *World, a Action) bool { return w.reconcileAs(a, endsConflict) },
		"reconcile-refused":  func(w *World, a Action) bool { return w.reconcileAs(a, endsRefused) },
		"provide":            func(w *World, a Action) bool { return w.provideAs(a, providesWell) },
		"provide-in-use":     func(w *World, a Action) bool { return w.provideAs(a, providesInUse) },
		"provide-dies":       func(w *World, a Action) bool { return w.provideAs(a, providesDead) },
		"provide-is-lost":    func(w *World, a Action) bool { return w.provideAs(a, providesLost) },
		"provide-is-late":    func(w *World, a Action) bool { return w.provideAs(a, providesLate) },
		"guard":              onObject((*World).guard),
		"accept":             onObject((*World).accept),
		"start":              onObject((*World).startJob),
		"finish":             onJob(attemptSucceeds),
		"fail":               onJob(attemptFails),
		"break":              onJob(attemptBreaks),
		"terminal":           onJob(attemptTerminal),
		"pod-gone":           onObject(func(w *World, o *object) bool { return w.killPod(o, false) }),
		"last-gasp":          onObject(func(w *World, o *object) bool { return w.killPod(o, true) }),
		"nightly":            onObject(func(w *World, o *object) bool { return w.backupNightly(o, false) }),
		"nightly-fails":      onObject(func(w *World, o *object) bool { return w.backupNightly(o, true) }),
		"collect-garbage":    func(w *World, _ Action) bool { return w.collectGarbage() },
		"replay":             func(w *World, _ Action) bool { return w.replay() },
		"restart-core":       func(w *World, _ Action) bool { w.restartCore(); return true },
		"settle":             func(w *World, _ Action) bool { w.settle(); return true },
		"pass":               func(w *World, a Action) bool { w.pass(int64(a.N)); w.wake(); return true },

		// What customers do.
		"write": func(w *World, a Action) bool { return w.write(a.Tenant) },

		// What people do to a tenant.
		"create":  (*World).createClient,
		"delete":  func(w *World, a Action) bool { return w.deleteClient(a.Tenant, a.Key, false) },
		"dry-run": func(w *World, a Action) bool { return w.deleteClient(a.Tenant, policyBackground, true) },
		"cancel":  onClient(cancel),
		"waive":   onClient(waive),
		"tier":    onSpec(func(a Action, spec map[string]any) { spec["tier"] = []any{"starter", "pro", "enterprise"}[a.N%3] }),
		"version": onSpec(raiseVersion),
		"suspend": onSpec(func(_ Action, spec map[string]any) { spec["suspended"] = true }),
		"resume":  onSpec(func(_ Action, spec map[string]any) { spec["suspended"] = false }),
		"protect": onClient(protect),
		"adopt":   onClient(adopt),
		"unadopt": onSpec(func(_ Action, spec map[string]any) { spec["database"] = map[string]any{"adopt": false} }),
		"bad-spec": func(w *World, a Action) bool {
			if xr := w.client(a.Tenant); xr != nil && a.N%5 == 2 && dig(xr.body, "status", "projectId") == nil {
				// The schema has always refused another number. The function knows only
				// once it has recorded the first one.
				return false
			}
			return onSpec(spoil)(w, a)
		},
		"mend": onClient(mend),
		"rerun": onClient(func(w *World, a Action, xr *object) {
			value := a.Key
			if a.N > 0 {
				value += fmt.Sprintf("/%d", a.N)
			}
			w.annotate(xr, annotationRerun, value)
		}),

		// What hands do to the cluster and the server.
		"hand-delete":       onObject((*World).handDelete),
		"hand-edit":         (*World).handEdit,
		"hand-annotate":     (*World).handAnnotate,
		"hand-unref":        (*World).handUnref,
		"pause":             (*World).pause,
		"etcd-backup":       func(w *World, _ Action) bool { return w.backUpCluster() },
		"etcd-restore":      func(w *World, _ Action) bool { return w.restoreCluster() },
		"clock":             func(w *World, a Action) bool { return w.setClock([]int64{0, 20, 7200, -20, -7200}[a.N%5]) },
		"flicker":           onObject((*World).flicker),
		"foreign-database":  (*World).foreignDatabase,
		"foreign-object":    (*World).foreignObject,
		"object-goes":       func(w *World, _ Action) bool { return w.strangerGoes() },
		"misrefer":          (*World).misrefer,
		"hand-over":         func(w *World, a Action) bool { return w.handOver(a.Tenant) },
		"foreign-goes":      func(w *World, a Action) bool { return w.foreignGoes(a.Tenant) },
		"hand-drop":         func(w *World, a Action) bool { return w.handDrop(a.Tenant) },
		"platform":          (*World).changePlatform,
		"template-vanishes": func(w *World, a Action) bool { return w.withdrawTemplate(a.N) },
		"template-returns":  func(w *World, a Action) bool { return w.returnTemplate(a.N) },
		"quota":             (*World).setQuota,
		"provider":          func(w *World, a Action) bool { w.providerDown = a.N%2 == 0; w.wake(); return true },
		"gateway":           func(w *World, a Action) bool { w.gatewayRefuses = a.N%2 == 0; w.wake(); return true },
	}
}

// do an action, which takes a second.
func (w *World) do(a Action) bool {
	w.pass(1)
	act := acts[a.Do]
	if act == nil {
		panic("simulation: there is no action " + a.Do)
	}
	w.trace("%6ds %s", w.elapsed, a)
	did := act(w, a)
	w.work()
	return did
}

// onObject acts on one composed resource of a tenant.
func onObject(act func(*World, *object) bool) func(*World, Action) bool {
	return func(w *World, a Action) bool {
		o := w.find(a.Tenant, a.Key)
		return o != nil && act(w, o)
	}
}

func onJob(how attempt) func(*World, Action) bool {
	return onObject(func(w *World, o *object) bool { return w.finishJob(o, how) })
}

// onClient acts on a tenant's composite resource.
func onClient(act func(*World, Action, *object)) func(*World, Action) bool {
	return func(w *World, a Action) bool {
		xr := w.client(a.Tenant)
		if xr == nil {
			return false
		}
		act(w, a, xr)
		return true
	}
}

// onSpec edits a tenant's spec.
func onSpec(edit func(Action, map[string]any)) func(*World, Action) bool {
	return onClient(func(w *World, a Action, xr *object) {
		w.update(xr, func(body map[string]any) {
			spec, _ := body["spec"].(map[string]any)
			edit(a, spec)
		})
	})
}

// find a composed resource of a tenant by its key, terminating ones included.
// Those of the one that is there come before what another has left behind.
func (w *World) find(name, key string) *object {
	var found *object
	for _, r := range w.refs() {
		o := w.objects[r]
		if o.theirs != nil || o.kind == kindClient || o.key() != key || text(o.body, "metadata", "labels", labelComposite) != name {
			continue
		}
		if xr := w.client(name); xr != nil && o.controller() == xr.uid() {
			return o
		}
		if found == nil {
			found = o
		}
	}
	return found
}

// wake the controllers: something that they don't watch has changed.
func (w *World) wake() {
	for _, o := range w.objects {
		o.quiet = false
	}
}

func (w *World) reconcileAs(a Action, end ending) bool {
	if w.tenants[a.Tenant] == nil {
		return false
	}
	w.reconcile(a.Tenant, end, a.N)
	return true
}

func (w *World) provideAs(a Action, how provision) bool {
	o := w.find(a.Tenant, "database")
	return o != nil && o.kind == kindDatabase && w.provide(o, how)
}

// createClient is kubectl apply of a new tenant.
func (w *World) createClient(a Action) bool {
	if w.client(a.Tenant) != nil {
		return false
	}
	project := 23 + a.N/18%2
	o := &object{ref: ref{kindClient, "", a.Tenant}, body: map[string]any{
		"apiVersion": "planapulse.com/v1alpha1", "kind": kindClient,
		"metadata": map[string]any{"labels": map[string]any{labelComposite: a.Tenant}},
		"spec": map[string]any{
			"subdomain": a.Tenant, "projectId": float64(project),
			"tier":        []string{"starter", "pro", "enterprise"}[a.N%3],
			"odooVersion": []string{"18", "17", "19"}[a.N/3%3],
			"ownerEmail":  "ceo@" + a.Tenant + ".example", "ownerName": "Acme Corp $(HOME)",
			"deletionProtection": false, "suspended": false, "database": map[string]any{"adopt": a.N/9%2 == 1},
		},
	}}
	w.create(o)
	w.tenants[a.Tenant] = &tenant{name: a.Tenant, dirty: true}
	w.lives[o.uid()] = &life{
		name: a.Tenant, uid: o.uid(), project: project, askedAt: -1, adopted: a.N/9%2 == 1,
		done: map[string]bool{}, excused: map[string]bool{},
		handled: a.N/9%2 == 1 && w.outdated(a.Tenant),
	}
	if w.platform.current().skip {
		w.lives[o.uid()].waived = true
	}
	return true
}

func (w *World) annotate(xr *object, name, value string) {
	w.update(xr, func(body map[string]any) { put(body, value, "metadata", "annotations", name) })
}

// waive the last backup, for one delete.
func waive(w *World, a Action, xr *object) {
	value := a.Tenant
	if a.N > 0 {
		value += fmt.Sprintf("/%d", a.N)
	}
	if l := w.lives[xr.uid()]; l.spent != value {
		l.waiver = value
	}
	w.annotate(xr, annotationWaiver, value)
}

// cancel a delete: take the annotation off. Once the guard is gone for a
// --cascade=orphan, that may be too late.
func cancel(w *World, _ Action, xr *object) {
	w.lives[xr.uid()].letGo = slices.ContainsFunc(w.replays, func(r replay) bool { return r.name == xr.name && r.policy == policyOrphan })
	w.update(xr, func(body map[string]any) { drop(body, "metadata", "annotations", annotationAttempt) })
}

// protect a tenant from being deleted, or let it go on.
func protect(w *World, a Action, xr *object) {
	l := w.lives[xr.uid()]
	w.update(xr, func(body map[string]any) { put(body, a.N%2 == 0, "spec", "deletionProtection") })
	if a.N%2 != 0 && xr.annotation(annotationAttempt) != "" && l.askedAt < 0 {
		l.askedAt = w.elapsed
	}
}

// outdated tells whether provider-sql hasn't seen yet that a database is gone. A
// tenant that adopts it is one that has lost its database.
func (w *World) outdated(tenant string) bool {
	o := w.objects[ref{kindDatabase, nsSystem, tenant}]
	return o != nil && conditionTrue(o.body, "Ready") && w.databases[databaseOf(tenant)] == nil
}

func raiseVersion(_ Action, spec map[string]any) {
	if i := slices.Index(versions, fmt.Sprint(spec["odooVersion"])); i >= 0 && i < len(versions)-1 {
		spec["odooVersion"] = versions[i+1]
	}
}

func adopt(w *World, _ Action, xr *object) {
	l := w.lives[xr.uid()]
	l.adopted = true
	l.handled = l.handled || w.outdated(xr.name)
	w.update(xr, func(body map[string]any) { put(body, true, "spec", "database", "adopt") })
}

// spoil a spec, as an older XRD would let somebody.
func spoil(a Action, spec map[string]any) {
	switch a.N % 5 {
	case 0:
		spec["tier"] = "gold"
	case 1:
		spec["ownerEmail"] = "nobody"
	case 2:
		spec["projectId"] = 4711.0
	case 3:
		spec["odooVersion"] = "16"
	case 4:
		spec["ownerName"] = ""
	}
}

// mend a spec that was spoilt.
func mend(w *World, _ Action, xr *object) {
	l := w.lives[xr.uid()]
	w.update(xr, func(body map[string]any) {
		if !slices.Contains([]string{"starter", "pro", "enterprise"}, text(body, "spec", "tier")) {
			put(body, "pro", "spec", "tier")
		}
		put(body, "ceo@"+l.name+".example", "spec", "ownerEmail")
		put(body, "Acme Corp", "spec", "ownerName")
		put(body, float64(l.project), "spec", "projectId")
		// It can always be raised.
		if v, inService := text(body, "spec", "odooVersion"), text(body, "status", "odooVersion"); !slices.Contains(versions, v) || v < inService {
			put(body, max(inService, "19"), "spec", "odooVersion")
		}
	})
}

// write is what a customer does in a workspace.
func (w *World) write(name string) bool {
	xr, db := w.client(name), w.databases[databaseOf(name)]
	if xr == nil || db == nil || !w.served(db.name) || !w.routed(xr) {
		return false
	}
	if db.fenced {
		return false
	}
	db.sessions = 1
	w.writeTo(db)
	w.wake()
	return true
}

// handDelete is kubectl delete of a composed resource.
func (w *World) handDelete(o *object) bool {
	l := w.lives[o.controller()]
	if l == nil || o.deleting() {
		return false
	}
	switch o.kind {
	case kindUsage, kindDatabase:
		l.handled = true
	case kindJob:
		xr := w.owner(l.uid)
		if entry, ok := dig(xr.bodyOrNil(), "status", "effects", o.key()).(map[string]any); !ok || text(entry, "run") != o.annotation(annotationRun) {
			l.excused[l.id(o)] = true
		}
	}
	w.destroy(o, policyBackground)
	return true
}

// bodyOrNil of an object that may not be there.
func (o *object) bodyOrNil() map[string]any {
	if o == nil {
		return nil
	}
	return o.body
}

// handEdit is kubectl edit of a composed resource.
func (w *World) handEdit(a Action) bool {
	o := w.find(a.Tenant, a.Key)
	if o == nil {
		return false
	}
	w.update(o, func(body map[string]any) {
		switch {
		case a.N%4 == 0:
			drop(body, "metadata", "labels", "planapulse.com/tenant")
		case a.N%4 == 1:
			put(body, "somebody", "metadata", "annotations", "example.com/note")
		case o.kind == kindRoute:
			put(body, []any{"elsewhere.example"}, "spec", "hostnames")
		case o.kind == kindCronJob:
			put(body, "* * * * *", "spec", "schedule")
			put(body, a.N%2 == 0, "spec", "suspend")
		case o.kind == kindUsage:
			put(body, "because", "spec", "reason")
		case o.kind == kindJob:
			put(body, 600.0, "spec", "ttlSecondsAfterFinished")
			drop(body, "spec", "ttlSecondsAfterFinished")
		case o.kind == kindDatabase && a.N%4 == 2:
			drop(body, "metadata", "annotations", annotationSucceeded)
		case o.kind == kindDatabase:
			put(body, true, "spec", "forProvider", "isTemplate")
			drop(body, "spec", "forProvider", "isTemplate")
		}
	})
	return true
}

// flicker: what was ready isn't for a moment.
func (w *World) flicker(o *object) bool {
	switch o.kind {
	case kindDatabase, kindUsage:
		setCondition(o.body, w.timestamp(), map[string]any{"type": "Ready", "status": "False", "reason": "Unavailable"})
	case kindRoute:
		drop(o.body, "status")
	case kindCronJob:
		drop(o.body, "status")
	default:
		return false
	}
	w.changed(o)
	return true
}

// foreignDatabase is one that somebody else makes before provider-sql does.
func (w *World) foreignDatabase(a Action) bool {
	name := databaseOf(a.Tenant)
	if w.databases[name] != nil || w.coming[name] != nil {
		return false
	}
	if xr := w.client(a.Tenant); xr != nil && (w.lives[xr.uid()].created || w.lives[xr.uid()].adopted || xr.deleting()) {
		return false
	}
	if o := w.objects[ref{kindDatabase, nsSystem, a.Tenant}]; o != nil && mayDelete(o) {
		// It would be dropped together with what it has taken the place of.
		return false
	}
	w.written++
	db := &database{
		name: name, owner: []string{odooRole, providerRole, "alice"}[a.N/2%3], tablespace: defaultTablespace, limit: -1,
		allowConnections: true, foreign: true, movable: a.N%2 == 1, initialised: true, content: w.written,
	}
	if a.N/12%2 == 1 {
		db.tablespace, db.limit = "fast", 5
	}
	db.template = a.N/24%2 == 1
	w.superuser = w.superuser || a.N/6%2 == 1
	w.databases[name] = db
	if path := versionNamespace("18") + "/" + name; w.files[path] == nil {
		w.files[path] = &directory{foreign: true, content: w.written}
	}
	w.wake()
	return true
}

// foreignGoes is what the owner of somebody else's database does about a name
// collision: rename it, files and all. For the tenant it is as good as dropped.
func (w *World) foreignGoes(tenant string) bool {
	name := databaseOf(tenant)
	db := w.databases[name]
	if db == nil || !db.foreign {
		return false
	}
	// People take longer than programs do: none of them renames a database in the
	// moment after provider-sql has seen it and before the function is told.
	if t := w.tenants[tenant]; t != nil && t.dirty {
		return false
	}
	if xr := w.client(tenant); xr != nil {
		if l := w.lives[xr.uid()]; l.adopted {
			// It was said to be the tenant's own.
			l.handled = true
		}
	}
	delete(w.databases, name)
	for _, version := range versions {
		delete(w.files, versionNamespace(version)+"/"+name)
	}
	w.wake()
	return true
}

// handDrop is DROP DATABASE by a person.
func (w *World) handDrop(name string) bool {
	db := w.databases[databaseOf(name)]
	if db == nil || db.foreign {
		return false
	}
	for _, l := range w.lives {
		if l.name == name {
			l.handled = true
		}
	}
	delete(w.databases, db.name)
	w.wake()
	return true
}

func (w *World) changePlatform(a Action) bool {
	w.platform.change(a.N % len(variants))
	if w.platform.current().skip {
		// Whoever goes while this is in force, or has gone that far, may go without.
		for _, l := range w.lives {
			l.waived = true
		}
	}
	for _, t := range w.tenants {
		t.dirty = true
	}
	return true
}

func templateAt(n int) (edition, version string) {
	return []string{"basic", "pro"}[n%2], versions[n/2%3]
}

// withdrawTemplate takes a template's declaration away, and sometimes its database.
func (w *World) withdrawTemplate(n int) bool {
	edition, version := templateAt(n)
	o := w.objects[ref{kindDatabase, nsSystem, templateName(edition, version)}]
	if o == nil {
		return false
	}
	if n/6%2 == 1 {
		delete(w.databases, templateName(edition, version)+"."+domain)
	}
	if n/12%2 == 1 {
		w.erase(o)
	}
	w.wake()
	return true
}

func (w *World) returnTemplate(n int) bool {
	edition, version := templateAt(n)
	w.declareTemplate(edition, version)
	w.wake()
	return true
}

// setQuota fills a namespace up, or frees it.
func (w *World) setQuota(a Action) bool {
	o := w.objects[quotaRef(versions[a.N/2%3])]
	w.update(o, func(body map[string]any) { put(body, quotaUsed(a.N%2 == 0), "status", "used") })
	w.wake()
	return true
}

// candidates are the actions of programs that have something to do.
func (w *World) candidates() []Action {
	var out []Action
	for _, name := range sorted(w.tenants) {
		if t := w.tenants[name]; t.dirty || (t.due > 0 && t.due <= w.elapsed) {
			out = append(out, Action{Do: "reconcile", Tenant: name})
		}
	}
	for _, r := range w.refs() {
		o := w.objects[r]
		if o.quiet || o.theirs != nil || o.kind == kindClient || o.kind == kindQuota {
			continue
		}
		name, key := text(o.body, "metadata", "labels", labelComposite), o.key()
		if name == "" {
			continue
		}
		a := Action{Tenant: name, Key: key}
		switch {
		case o.kind == kindDatabase:
			a.Do, a.Key = "provide", ""
		case o.kind == kindUsage:
			a.Do = "guard"
		case o.kind == kindRoute:
			a.Do = "accept"
		case o.kind == kindJob && o.deleting():
			a.Do = "pod-gone"
		case o.kind == kindJob && o.pod:
			a.Do = "finish"
		case o.kind == kindJob && !completed(o) && !jobFailed(o):
			a.Do = "start"
		default:
			continue
		}
		out = append(out, a)
	}
	if slices.ContainsFunc(w.replays, func(r replay) bool { return r.at <= w.elapsed }) {
		out = append(out, Action{Do: "replay"})
	}
	if w.hasGarbage() {
		out = append(out, Action{Do: "collect-garbage"})
	}
	return out
}

// hasGarbage tells whether the garbage collector has something to do.
func (w *World) hasGarbage() bool {
	for _, o := range w.objects {
		if o.kind == kindClient && o.deleting() && (slices.Contains(o.finalizers(), any(finalizerForeground)) || slices.Contains(o.finalizers(), any(finalizerOrphan))) {
			return true
		}
		if uid := o.controller(); uid != "" && !o.deleting() && w.owner(uid) == nil && o.theirs == nil {
			return true
		}
	}
	return false
}

// act on a candidate, and note one that had nothing to do.
func (w *World) act(a Action) bool {
	version := w.version
	did := w.do(a)
	if !did || version == w.version {
		if o := w.find(a.Tenant, a.Key); o != nil {
			o.quiet = true
		}
		if a.Do == "provide" {
			if o := w.find(a.Tenant, "database"); o != nil {
				o.quiet = true
			}
		}
	}
	return w.version != version
}

// mostRounds of settling: a world that still moves after that never settles.
const mostRounds = 400

// settle lets every program do what it has to do, time pass, and nothing else
// happen, until nothing moves any more.
func (w *World) settle() {
	rests := w.untilRest(w.patience, func() (moved, over bool) {
		if w.violation != nil {
			return false, true
		}
		for _, a := range w.candidates() {
			moved = w.act(a) || moved
			if w.violation != nil {
				return moved, true
			}
		}
		return moved, false
	})
	if !rests {
		w.violate(invariantArrives, "things still move after %d rounds: %s", mostRounds, strings.Join(w.describe(), "; "))
	}
}

// untilRest plays rounds, and lets time pass where nobody has anything to do, until
// nothing has moved for as long as the patience lasts, in seconds, or a round says that it
// is over. It tells whether that ever comes.
func (w *World) untilRest(patience func() int64, round func() (moved, over bool)) bool {
	idle, since := 0, w.elapsed
	for range mostRounds {
		moved, over := round()
		if over {
			return true
		}
		if moved {
			idle, since = 0, w.elapsed
			continue
		}
		if idle++; idle == 1 {
			continue
		}
		// Nobody has anything to do now. Who said that he would look again?
		next := w.nextLook()
		if next < 0 || (idle > 2 && next > since+patience()) {
			return true
		}
		w.pass(max(0, next-w.elapsed))
		w.wake()
	}
	return false
}

// nextLook is when somebody has said that he would look again, or -1.
func (w *World) nextLook() int64 {
	next := int64(-1)
	for _, t := range w.tenants {
		if t.due > 0 && (next < 0 || t.due < next) {
			next = t.due
		}
	}
	for _, r := range w.replays {
		if next < 0 || r.at < next {
			next = r.at
		}
	}
	return next
}

// patience is for how long nothing may move before nothing ever will. A delete's
// grace period is the longest that anybody waits for.
func (w *World) patience() int64 {
	for _, o := range w.objects {
		if o.kind == kindClient && o.annotation(annotationAttempt) != "" {
			return 2 * defaultGrace
		}
	}
	return 70
}

// describe what is there, for people.
func (w *World) describe() []string {
	var out []string
	for _, r := range w.refs() {
		o := w.objects[r]
		if o.kind == kindQuota || (o.kind == kindDatabase && strings.Contains(o.name, "-template-")) {
			continue
		}
		s := r.String()
		if o.deleting() {
			s += " (terminating)"
		}
		out = append(out, s)
	}
	return out
}
