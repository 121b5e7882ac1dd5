package simulation

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
)

// An invariant that must hold after every step, whatever happens.
type invariant string

// The invariants of the design, in its order, and two that it takes for granted.
const (
	// Nothing that exists is dropped because something else flickered.
	invariantKept invariant = "1 kept"
	// Somebody else's database is never written to and never dropped.
	invariantForeign invariant = "2 foreign"
	// Create-only fields are frozen.
	invariantFrozen invariant = "3 frozen"
	// Effects run once, the ledger comes first, and a steady tenant owns four
	// objects.
	invariantOnce invariant = "4 once"
	// Same request, same bytes.
	invariantSame invariant = "5 same"
	// A bad request to a running tenant changes nothing of it.
	invariantBad invariant = "6 bad request"
	// Secrets never pass through the function.
	invariantSecret invariant = "7 secret"
	// Every pod is restricted and bounded.
	invariantPod invariant = "8 pod"
	// No data goes without a last backup.
	invariantBackup invariant = "9 backup"
	// A database is Odoo's only once it is its tenant's own.
	invariantPublished invariant = "published"
	// A delete takes everything away, in order, and only when it was asked for.
	invariantOrder invariant = "order"
	// Left alone, everything arrives.
	invariantArrives invariant = "arrives"
	// The function and Crossplane understand each other.
	invariantCore invariant = "core"
)

// A Violation of an invariant.
type Violation struct {
	Invariant invariant
	Message   string
}

func (v *Violation) String() string { return fmt.Sprintf("invariant %s: %s", v.Invariant, v.Message) }

// violate records the first violation. What follows it is of no interest.
func (w *World) violate(i invariant, format string, args ...any) {
	if w.violation == nil {
		w.violation = &Violation{i, fmt.Sprintf(format, args...)}
		w.trace("VIOLATION of %s", w.violation)
	}
}

// A life of a composite resource: what is known of it beyond what the cluster
// shows.
type life struct {
	name, uid string
	project   int

	// done holds the Jobs that have completed, by key and run, and excused those
	// of them that somebody deleted before the ledger knew.
	done, excused map[string]bool

	// askedAt is when a delete was first refused and recorded, or -1. began tells
	// whether taking apart has begun, and dropped whether the database's has.
	askedAt        int64
	began, dropped bool

	// waived tells whether the Platform lets the data go without a backup, and adopted
	// whether a person said that the database is the tenant's.
	waived, adopted bool

	// waiver is what a person has said so that the data may go without a backup in one
	// delete, and spent what was said for one that was cancelled.
	waiver, spent string

	// recorded tells that the status has known of a delete.
	recorded bool

	// handled tells that somebody's hands were where only the function's should
	// be: the guard or the Database was deleted, or the database itself.
	handled bool

	// created tells whether a database was ever created for it, and late whether one
	// came that long after it was asked for that nobody has seen it since.
	created, late bool

	// misremembered tells that the cluster was restored to a time in which the tenant
	// was leaving, or wasn't there, while the world outside went on.
	misremembered bool

	// orphaned tells whether the tenant was deleted with --cascade=orphan.
	orphaned bool

	// released tells that nothing of the tenant has an owner any more, of which the
	// function was told beforehand.
	released bool

	// shortened is by how many seconds a grace period is shorter, because the function's
	// clock was set forward in it.
	shortened int64

	// letGo tells whether --cascade=orphan was ever asked for: somebody who asks for
	// another policy a moment later may be too late.
	letGo bool

	// slipped tells that the composite resource was deleted while its guard was
	// not there.
	slipped bool
}

func (l *life) id(o *object) string { return o.key() + " " + o.annotation(annotationRun) }

// teardownKeys, suspensionKeys: Jobs that come and go with an occasion.
var (
	teardownKeys   = []string{"fence", "final-backup", "connections-drain", "filestore-wipe", "backup-tombstone", "matrix-room-retire", "deprovision-webhook", "client-deprovisioned"}
	suspensionKeys = []string{"suspend-fence", "suspend-backup", "suspend-drain"}
)

// call the function, and check that it is one: deterministic, and without an
// eye for anything but its request.
func (w *World) call(xr *object, t *tenant, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	w.steps++
	sampled := (w.steps+t.seen)%16 == 0
	var again *fnv1.RunFunctionRequest
	if sampled {
		again, _ = proto.Clone(req).(*fnv1.RunFunctionRequest)
	}
	// A response may share its desired state with the request, which costs
	// nothing where the two go over a wire.
	req.Desired = &fnv1.State{}
	rsp, err := w.function.RunFunction(context.Background(), req)
	req.Desired = nil
	if err != nil || !sampled {
		return rsp, err
	}

	again.Desired = nil
	if !proto.Equal(req, again) {
		w.violate(invariantSame, "the function changed its request")
	}
	again.Desired = &fnv1.State{}
	second, err := w.function.RunFunction(context.Background(), again)
	if err != nil {
		w.violate(invariantSame, "the second call for one request failed: %v", err)
		return rsp, nil
	}
	a, _ := proto.MarshalOptions{Deterministic: true}.Marshal(rsp)
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(second)
	if !slices.Equal(a, b) {
		w.violate(invariantSame, "two responses to one request differ:\n%s", cmp.Diff(rsp, second, protocmp.Transform()))
	}

	// Where nothing waits for a moment, another moment makes no difference to
	// what is applied. Hints and what is said may tell the time.
	if xr.annotation(annotationAttempt) != "" || dig(xr.body, "status", "deletion") != nil ||
		(isTrue(xr.body, "spec", "suspended") != (dig(xr.body, "status", "suspension") != nil)) {
		return rsp, nil
	}
	w.clock.SetTime(w.told().Add(77 * time.Minute))
	again.Desired = &fnv1.State{}
	later, err := w.function.RunFunction(context.Background(), again)
	w.clock.SetTime(w.told())
	if err == nil && !proto.Equal(rsp.GetDesired(), later.GetDesired()) {
		w.violate(invariantSame, "the time of day changes what is applied:\n%s", cmp.Diff(rsp.GetDesired(), later.GetDesired(), protocmp.Transform()))
	}
	return rsp, nil
}

// A moment before a response is applied, to compare the one after it with.
type moment struct {
	w    *World
	xr   *object
	l    *life
	bad  string
	owns int

	specs  map[ref]any
	status map[string]any
}

// beforeApply remembers what a bad request must not change.
func (w *World) beforeApply(xr *object, _ *fnv1.RunFunctionRequest) *moment {
	m := &moment{w: w, xr: xr, l: w.lives[xr.uid()], bad: w.badRequest(xr)}
	m.owns = len(w.composedBy(xr.uid()))
	if m.bad != "" {
		m.specs = map[ref]any{}
		for _, o := range w.composedBy(xr.uid()) {
			m.specs[o.ref] = clone(o.body["spec"])
		}
		m.status, _ = clone(xr.body["status"]).(map[string]any)
	}
	return m
}

// badRequest says what is wrong with a tenant's spec or with the Platform.
func (w *World) badRequest(xr *object) string {
	if w.platform.current().bad {
		return "Platform: " + w.platform.current().name
	}
	spec, status := func(f string) string { return text(xr.body, "spec", f) }, func(f string) string { return text(xr.body, "status", f) }
	project, _ := dig(xr.body, "spec", "projectId").(float64)
	recorded, _ := dig(xr.body, "status", "projectId").(float64)
	switch {
	case !slices.Contains([]string{"starter", "pro", "enterprise"}, spec("tier")):
		return "tier"
	case !slices.Contains(versions, spec("odooVersion")), status("odooVersion") != "" && spec("odooVersion") < status("odooVersion"):
		return "odooVersion"
	case spec("subdomain") != xr.name:
		return "subdomain"
	case !strings.Contains(spec("ownerEmail"), "@"):
		return "ownerEmail"
	case spec("ownerName") == "":
		return "ownerName"
	case recorded != 0 && project != recorded, project < 1:
		return "projectId"
	}
	return ""
}

// checkResponse looks at a response before it is applied.
func (m *moment) checkResponse(rsp *fnv1.RunFunctionResponse, observed, desired map[string]*object) {
	w := m.w
	if w.steps%32 == 0 {
		if raw, err := proto.Marshal(rsp); err == nil && bytes.Contains(raw, []byte(secretsMarker)) {
			w.violate(invariantSecret, "the response to %s has a secret in it", m.xr.name)
		}
	}
	leaks := mentions(structpb.NewStructValue(rsp.GetDesired().GetComposite().GetResource()), secretsMarker)
	for _, o := range desired {
		// What is desired as it was before was looked at before.
		leaks = leaks || o.body != nil && mentions(structpb.NewStructValue(o.settled), secretsMarker)
	}
	for _, r := range rsp.GetResults() {
		leaks = leaks || strings.Contains(r.GetMessage(), secretsMarker)
	}
	for _, c := range rsp.GetConditions() {
		leaks = leaks || strings.Contains(c.GetMessage(), secretsMarker)
	}
	if leaks {
		w.violate(invariantSecret, "the response to %s has a secret in it", m.xr.name)
	}
	for _, key := range sorted(desired) {
		o := desired[key]
		if o.body == nil || o.kind != kindJob && o.kind != kindCronJob {
			continue
		}
		// What exists already was looked at when it came.
		if was := observed[key]; was != nil && same(podOf(was), podOf(o)) {
			continue
		}
		w.checkPod(o)
	}
}

// checkApplied looks at what a response has made of the cluster.
func (m *moment) checkApplied(_ *fnv1.RunFunctionResponse, _ map[string]*object) {
	w, xr := m.w, m.xr
	// What a cache hasn't shown yet isn't cancelled.
	actual := xr
	if c := w.client(xr.name); c != nil {
		actual = c
	}
	called := actual.annotation(annotationAttempt) != "" && !isTrue(actual.body, "spec", "deletionProtection")
	if !called && dig(xr.body, "status", "deletion") == nil {
		// A delete that was cancelled or forbidden, and seen to be.
		m.l.askedAt, m.l.shortened, m.l.began = -1, 0, false
		if m.l.recorded && m.l.waiver != "" {
			m.l.waiver, m.l.spent = "", m.l.waiver
		}
		m.l.recorded = false
	}
	m.l.recorded = m.l.recorded || dig(xr.body, "status", "deletion") != nil
	w.checkStrangers()
	if recorded, ok := dig(xr.body, "status", "projectId").(float64); ok {
		m.l.project = int(recorded)
	}
	if m.bad == "" || m.owns == 0 {
		return
	}
	for r, spec := range m.specs {
		o := w.objects[r]
		if o == nil {
			w.violate(invariantBad, "a bad request (%s) to %s took %s away", m.bad, xr.name, r)
			return
		}
		after := clone(o.body["spec"])
		if o.kind == kindDatabase && o.annotation(annotationSucceeded) == "" {
			// It has met a database, and is to tell whose it is: then it may do less,
			// or, if it is the tenant's, keep it.
			for _, spec := range []any{spec, after} {
				spec, _ := spec.(map[string]any)
				drop(spec, "managementPolicies")
				drop(spec, "forProvider", "connectionLimit")
			}
		}
		if !same(spec, after) {
			w.violate(invariantBad, "a bad request (%s) to %s changed %s:\n%s", m.bad, xr.name, r, cmp.Diff(spec, after))
		}
	}
	if n := len(w.composedBy(xr.uid())); n > m.owns {
		w.violate(invariantBad, "a bad request (%s) to %s created something", m.bad, xr.name)
	}
	after, _ := clone(xr.body["status"]).(map[string]any)
	delete(after, "conditions")
	delete(m.status, "conditions")
	if len(m.status) == 0 && len(after) == 0 {
		return
	}
	if !same(m.status, after) {
		w.violate(invariantBad, "a bad request (%s) to %s changed its status:\n%s", m.bad, xr.name, cmp.Diff(m.status, after))
	}
}

// leaving tells whether a tenant may be taken apart: somebody asked for it, and
// the grace period is over or was seen to be.
func (w *World) leaving(xr *object) bool {
	l := w.lives[xr.uid()]
	if l.dropped {
		return true
	}
	policy := xr.annotation(annotationAttempt)
	if policy == "" || policy == policyOrphan || l.askedAt < 0 || isTrue(xr.body, "spec", "deletionProtection") {
		return false
	}
	return l.began || w.elapsed+l.shortened >= l.askedAt+w.platform.graceSeconds()
}

// checkIrrevocable is called when a status is written: from the moment in which
// it says so, a delete can't be cancelled any more.
func (w *World) checkIrrevocable(xr *object) {
	l := w.lives[xr.uid()]
	if l.dropped || !isTrue(xr.body, "status", "deletion", "irrevocable") {
		return
	}
	if !w.leaving(xr) {
		w.violate(invariantOrder, "%s can't be kept any more, though nobody asked for a delete, or in its grace period", xr.name)
	}
	l.began, l.dropped = true, true
}

// checkRemoval is called before Crossplane deletes what a response leaves out.
func (w *World) checkRemoval(xr, o *object) {
	l, key := w.lives[xr.uid()], o.key()
	leaving := w.leaving(xr)

	switch key {
	case "guard":
		w.checkUnguarded(xr, l, leaving)
		return
	case "database":
		w.checkDatabaseLeft(xr, o, l, leaving)
		return
	case "route", "backup":
		if !leaving {
			w.violate(invariantKept, "%s of %s was left out though nobody asked for that", key, xr.name)
		}
		l.began = l.began || leaving
		return
	}

	// A Job.
	run := o.annotation(annotationRun)
	entry, remembered := dig(xr.body, "status", "effects", key).(map[string]any)
	recorded := remembered && text(entry, "run") == run
	switch {
	case w.stale(xr, key, run):
	case key == "final-backup" && l.mayGo(), key == "connections-drain" && l.handled:
		// Nobody needs it any more.
	case leaving && !slices.Contains(teardownKeys, key):
		l.began = true
		// What is finished has to be on record before it goes, or nobody knows
		// what there is to undo.
		if completed(o) && !recorded {
			w.violate(invariantOnce, "Job %s of %s completed and was left out before the ledger knew", key, xr.name)
		}
	case !completed(o):
		w.violate(invariantKept, "Job %s of %s was left out before it completed", key, xr.name)
	case !recorded:
		w.violate(invariantOnce, "Job %s of %s completed and was left out before the ledger knew", key, xr.name)
	case !conditionTrue(xr.body, "Ready") && !leaving:
		w.violate(invariantOnce, "Job %s of %s was left out before the tenant was Ready", key, xr.name)
	}
}

// mayGo tells whether a tenant's data may go without a backup.
func (l *life) mayGo() bool { return l.waived || l.waiver != "" }

// occasion of a run: the suspension or the teardown that it is part of.
func occasion(run string) string { return strings.TrimSuffix(run, "/fenced") }

// stale tells whether a Job belongs to an occasion that is over.
func (w *World) stale(xr *object, key, run string) bool {
	switch {
	case slices.Contains(teardownKeys, key):
		// A teardown that was cancelled, or forbidden, or asked for anew.
		return xr.annotation(annotationAttempt) == "" || isTrue(xr.body, "spec", "deletionProtection") && !w.lives[xr.uid()].dropped || xr.annotation(annotationAttempt) == policyOrphan || occasion(run) != text(xr.body, "status", "deletion", "requestedAt")
	case slices.Contains(suspensionKeys, key):
		return !isTrue(xr.body, "spec", "suspended") || occasion(run) != text(xr.body, "status", "suspension", "requestedAt")
	case key == "unfence":
		return isTrue(xr.body, "spec", "suspended") || run != text(xr.body, "status", "fence", "run")
	case key == "tier-modules":
		return run != text(xr.body, "status", "tier")+"-"+text(xr.body, "spec", "tier")
	}
	// Somebody asked for a rerun of it.
	value := xr.annotation(annotationRerun)
	return run != value && (value == key || strings.HasPrefix(value, key+"/")) || strings.HasPrefix(run, key) && run != value
}

// checkUnguarded is called before the guard goes: it is the last to go.
func (w *World) checkUnguarded(xr *object, l *life, leaving bool) {
	if xr.annotation(annotationAttempt) == policyOrphan {
		return
	}
	if !leaving {
		w.violate(invariantKept, "the guard of %s was left out though nobody asked for that", xr.name)
		return
	}
	l.began = true
	if w.hasSnapshots(l.uid) && !w.entombed(l.uid) && !l.handled {
		w.violate(invariantBackup, "%s goes, and nobody knows that its newest backup isn't to be kept for ever", xr.name)
	}
	for _, o := range w.composedBy(xr.uid()) {
		if o.key() != "guard" && !(o.kind == kindJob && o.unreferenced) && !(o.kind == kindJob && (completed(o) || o.deleting())) {
			if o.kind == kindJob && slices.Contains(teardownKeys, o.key()) && jobFailed(o) {
				continue // An optional step that failed.
			}
			w.violate(invariantOrder, "the guard of %s goes before %s (terminating: %v)", xr.name, o.ref, o.deleting())
		}
	}
}

// checkDatabaseLeft is called before a Database object is deleted. If it may
// drop the database, that is as good as dropped.
func (w *World) checkDatabaseLeft(xr, o *object, l *life, leaving bool) {
	db := w.databases[o.annotation(annotationExternal)]
	if l.handled && o.annotation(annotationExternal) != databaseOf(l.name) && !mayDelete(o) {
		// A hand has made it stand for another database before the tenant had one. It
		// drops nothing, and proves nothing any more: a fresh one takes its place.
		return
	}
	reader := !mayDelete(o) && !mayCreate(o) && !o.creates
	if l.created && o.missed && reader && !w.everPrepared(xr) {
		// The server made it after provider-sql, which only reads by this object, had
		// looked last and seen none: nobody could know. Nothing is dropped with the
		// object: deleted without a Delete among its policies, it loses its finalizer
		// and no more. Who looks next, by a fresh object, finds the database.
		l.late = true
		if !leaving {
			return
		}
	}
	if !l.created && (db == nil && !w.everPrepared(xr) || db != nil && db.foreign && !l.adopted) && !mayDelete(o) {
		// It only looks at what isn't the tenant's. Nothing is lost with it, but
		// for a provider that still believes that it is to create a database: it
		// would be one that nobody knows of.
		if mayCreate(o) || o.creates {
			w.violate(invariantOrder, "the Database of %s was left out while provider-sql may yet create by it", xr.name)
		}
		if !leaving {
			return
		}
	}
	if !leaving {
		w.violate(invariantKept, "the database of %s was left out though nobody asked for that", xr.name)
		return
	}
	l.began, l.dropped = true, true
	for _, other := range w.composedBy(xr.uid()) {
		if k := other.key(); k == "route" || k == "backup" {
			w.violate(invariantOrder, "the database of %s is dropped while its %s is there", xr.name, k)
		}
	}
	w.checkLoss(o, db)
}

// checkLoss is called when a database is about to go: what it holds, and the
// files that are worthless without it, must be in a backup.
func (w *World) checkLoss(o *object, db *database) {
	if db == nil || !mayDelete(o) {
		return
	}
	l := w.lives[o.controller()]
	switch {
	case l == nil || l.handled || l.mayGo():
	case db.foreign && !l.adopted:
	case db.content > 0 && !w.hasBackup(db.name, db.content, w.filesContent(db.name)):
		w.violate(invariantBackup, "database %s goes with data that no verified backup has", db.name)
	}
}

// checkTomb is called when a tenant's backups are marked as those of one that is
// gone: from then on its newest expires like any other, so it must be gone for good.
func (w *World) checkTomb(o *object) {
	l := w.lives[o.controller()]
	if l == nil || l.handled {
		return
	}
	switch db := w.databases[databaseOf(l.name)]; {
	case !l.dropped:
		w.violate(invariantBackup, "the backups of %s expire, though its deletion can be cancelled", l.name)
	case db != nil && !db.foreign:
		w.violate(invariantBackup, "the backups of %s expire, though its database is there", l.name)
	}
}

func mayDelete(o *object) bool { return permits(o, "Delete") }
func mayCreate(o *object) bool { return permits(o, "Create") }

// permits tells whether provider-sql may do something by an object.
func permits(o *object, action string) bool {
	p := list(o.body, "spec", "managementPolicies")
	return slices.Contains(p, any("*")) || slices.Contains(p, any(action))
}

// checkDrop is called before provider-sql drops a database.
func (w *World) checkDrop(o *object, db *database) {
	if l := w.lives[o.controller()]; db.foreign && (l == nil || !l.adopted) {
		w.violate(invariantForeign, "%s, which is somebody else's, was dropped", db.name)
	}
	w.checkLoss(o, db)
}

// checkWipe is called before a directory is wiped.
func (w *World) checkWipe(o *object, name string, d *directory) {
	l := w.lives[o.controller()]
	switch db := w.databases[name]; {
	case l == nil || l.handled:
	case !l.adopted && (d.foreign || d.uid != "" && d.uid != l.uid):
		w.violate(invariantForeign, "the files of %s, which are somebody else's, were wiped", name)
	case db != nil:
		w.violate(invariantOrder, "the files of %s were wiped while its database is there", name)
	case d.content > 0 && !l.mayGo() && !w.hasBackup(name, 0, d.content):
		w.violate(invariantBackup, "the files of %s go without a verified backup", name)
	}
}

// checkCreation is called before a response makes something new.
func (w *World) checkCreation(xr *object, key string, o *object) {
	l := w.lives[xr.uid()]
	if l.dropped && !slices.Contains(teardownKeys, key) && !(key == "guard" && l.handled) {
		w.violate(invariantOrder, "%s of %s comes back while it is being taken away", key, xr.name)
	}
	if xr.annotation(annotationAttempt) != "" && !slices.Contains(teardownKeys, key) && !l.handled && key != "guard" && w.leaving(xr) && l.began {
		w.violate(invariantOrder, "%s of %s begins while it is being taken away", key, xr.name)
	}
	switch {
	case slices.Contains(teardownKeys, key):
		w.checkTeardown(xr, l, key)
	case key == "database" && w.everPrepared(xr) && mayCreate(o):
		w.violate(invariantKept, "the database of %s, which was in service, may be created anew", xr.name)
	}
	if o.kind == kindJob {
		id := key + " " + o.annotation(annotationRun)
		if l.done[id] && !l.excused[id] {
			w.violate(invariantOnce, "Job %q of %s has completed, and is run again", id, xr.name)
		}
	}
}

// everPrepared tells whether the ledger knows a database that was in service.
func (w *World) everPrepared(xr *object) bool {
	return dig(xr.body, "status", "effects", "tenant-prepare") != nil
}

// checkTeardown is called before a step of a teardown begins.
func (w *World) checkTeardown(xr *object, l *life, key string) {
	if !w.leaving(xr) {
		w.violate(invariantOrder, "%s of %s begins though nobody asked for a delete, or in its grace period", key, xr.name)
		return
	}
	l.began = true
	name := databaseOf(xr.name)
	db := w.databases[name]
	for _, o := range w.composedBy(xr.uid()) {
		k := o.key()
		if k == "guard" || o.kind == kindJob && o.unreferenced || slices.Contains(teardownKeys, k) || o.kind == kindJob && (completed(o) || jobFailed(o)) {
			continue // The pods of a Job that is over do nothing any more.
		}
		if k == "database" && (key == "fence" || key == "final-backup" || key == "connections-drain") {
			continue
		}
		w.violate(invariantOrder, "%s of %s begins while %s is there (terminating: %v)", key, xr.name, o.ref, o.deleting())
	}
	if key != "fence" && key != "final-backup" && key != "connections-drain" && db != nil && !db.foreign && !l.handled {
		w.violate(invariantOrder, "%s of %s begins while its database is there", key, xr.name)
	}
}

// checkObject looks at an object that has just been applied.
func (w *World) checkObject(xr, o *object) {
	if o.kind == kindRoute && w.routed(xr) && !w.lives[xr.uid()].handled {
		if db := w.databases[databaseOf(xr.name)]; db != nil && db.fenced {
			w.violate(invariantOrder, "the route of %s leads to Odoo, and its database is fenced", xr.name)
		}
	}
	if o.kind != kindDatabase {
		return
	}
	db := w.databases[o.annotation(annotationExternal)]
	l := w.lives[xr.uid()]
	if db != nil && db.foreign && !l.adopted && (mayDelete(o) || permits(o, "Update")) {
		w.violate(invariantForeign, "provider-sql may write to or drop %s, which is somebody else's", db.name)
	}
	if want := databaseOf(xr.name); o.annotation(annotationExternal) != want && (!l.handled || text(xr.body, "status", "databaseUID") == o.uid()) {
		w.violate(invariantFrozen, "the Database of %s stands for %s rather than %s", xr.name, o.annotation(annotationExternal), want)
	}
}

// checkPublished is called when a database is created or altered: until it is
// prepared, it shares its template's secrets, and Odoo must not serve it.
func (w *World) checkPublished(o *object, db *database) {
	l := w.lives[o.controller()]
	if l == nil || l.misremembered || !w.served(db.name) {
		return
	}
	if l.handled && db.name != databaseOf(l.name) {
		// A hand has led provider-sql there.
		return
	}
	if !db.foreign && !l.adopted && db.preparedFor != l.uid {
		w.violate(invariantPublished, "database %s is Odoo's before it is %s's own", db.name, l.name)
	}
	if db.shares {
		w.violate(invariantPublished, "database %s is Odoo's and has its template's secrets", db.name)
	}
}

// checkEffect is called before an effect does anything.
func (w *World) checkEffect(o *object, program string, env map[string]string) {
	l := w.lives[o.controller()]
	if l == nil {
		return
	}
	if env["TENANT_UID"] != l.uid || env["TENANT_NAME"] != l.name {
		w.violate(invariantCore, "%s of %s works for %s", program, l.name, env["TENANT_NAME"])
	}
	if strings.Contains(program, "backup") && !repositoryBelongs(repositoryOf(env), l.name, l.project) {
		w.violate(invariantForeign, "%s of %s goes into %s", program, l.name, repositoryOf(env))
	}
	if told, ok := env["BACKUP_OCCASION"]; ok && told != occasion(o.annotation(annotationRun)) {
		w.violate(invariantBackup, "%s of %s is for the teardown %q, and is told of %q: what one that was cancelled has left would do for it", program, l.name, occasion(o.annotation(annotationRun)), told)
	}
	if program == "client-provisioned" && !w.streamed[notice{l.uid, program}] && !w.served(env["TENANT_DATABASE"]) && !l.handled && !o.deleting() {
		db := w.databases[env["TENANT_DATABASE"]]
		w.violate(invariantPublished, "%s is announced before it is served: %+v", l.name, db)
	}
}

// jobCompleted remembers a Job that has done what it is for.
func (w *World) jobCompleted(o *object) {
	if l := w.lives[o.controller()]; l != nil {
		l.done[l.id(o)] = true
	}
}

// checkDelete is called when nothing refuses to delete a composite resource.
func (w *World) checkDelete(xr *object) {
	l := w.lives[xr.uid()]
	switch {
	case xr.annotation(annotationAttempt) == policyOrphan:
		l.orphaned = true
		// What it leaves behind is nobody's, and certainly not the next one's.
		if db := w.databases[databaseOf(l.name)]; db != nil {
			db.foreign = true
		}
		for _, version := range versions {
			if d := w.files[versionNamespace(version)+"/"+databaseOf(l.name)]; d != nil {
				d.foreign = true
			}
		}
	case l.dropped || l.began:
	default:
		// There is no guard: it isn't there yet, or a person took it away, or it
		// went for a --cascade=orphan. Whatever happens now is the garbage
		// collector's work, and only the database matters.
		l.slipped = true
	}
}

// checkPod of a Job or a CronJob.
func (w *World) checkPod(o *object) {
	pod := podOf(o)
	job, _ := dig(o.body, "spec").(map[string]any)
	if o.kind == kindCronJob {
		job, _ = dig(o.body, "spec", "jobTemplate", "spec").(map[string]any)
	}
	problems := podProblems(pod)
	for _, field := range []string{"activeDeadlineSeconds", "backoffLimit"} {
		if job[field] == nil {
			problems = append(problems, field+" is missing")
		}
	}
	if len(problems) > 0 {
		w.violate(invariantPod, "%s: %s", o.ref, strings.Join(problems, "; "))
	}
	for _, secret := range unreferencedSecrets(pod) {
		w.violate(invariantSecret, "%s: %s isn't a reference to a Secret", o.ref, secret)
	}
}

// podProblems returns what the restricted Pod Security Standard, a ResourceQuota
// and the design have against a pod.
func podProblems(pod map[string]any) []string {
	var out []string
	want := func(ok bool, problem string) {
		if !ok {
			out = append(out, problem)
		}
	}
	want(dig(pod, "automountServiceAccountToken") == false, "has a service account's token")
	want(isTrue(pod, "securityContext", "runAsNonRoot"), "may run as root")
	want(text(pod, "securityContext", "seccompProfile", "type") == "RuntimeDefault", "has no seccomp profile")
	want(!isTrue(pod, "hostNetwork") && !isTrue(pod, "hostPID") && !isTrue(pod, "hostIPC"), "is in a host namespace")
	for _, v := range list(pod, "volumes") {
		if v, ok := v.(map[string]any); ok && v["emptyDir"] != nil {
			want(text(v, "emptyDir", "sizeLimit") != "", "has an empty volume without a limit")
		}
		for kind := range v.(map[string]any) { //nolint:forcetypeassert // A volume is a map.
			want(slices.Contains([]string{"name", "persistentVolumeClaim", "emptyDir", "secret", "configMap", "projected"}, kind), "has a volume of kind "+kind)
		}
	}
	containers := slices.Concat(list(pod, "initContainers"), list(pod, "containers"))
	want(len(containers) > 0, "has no container")
	for _, c := range containers {
		c, _ := c.(map[string]any)
		name := text(c, "name") + " "
		want(dig(c, "securityContext", "allowPrivilegeEscalation") == false, name+"may escalate its privileges")
		want(!isTrue(c, "securityContext", "privileged"), name+"is privileged")
		want(reflect.DeepEqual(list(c, "securityContext", "capabilities", "drop"), []any{"ALL"}), name+"keeps capabilities")
		for _, kind := range []string{"requests", "limits"} {
			for _, resource := range []string{"cpu", "memory"} {
				want(text(c, "resources", kind, resource) != "", name+"has no "+kind+" of "+resource)
			}
		}
	}
	return out
}

// mentions tells whether a string is part of one in a wire form.
func mentions(v *structpb.Value, what string) bool {
	switch x := v.GetKind().(type) {
	case *structpb.Value_StringValue:
		return strings.Contains(x.StringValue, what)
	case *structpb.Value_ListValue:
		return slices.ContainsFunc(x.ListValue.GetValues(), func(v *structpb.Value) bool { return mentions(v, what) })
	case *structpb.Value_StructValue:
		for name, v := range x.StructValue.GetFields() {
			if strings.Contains(name, what) || mentions(v, what) {
				return true
			}
		}
	}
	return false
}

// unreferencedSecrets returns the names of environment variables that hold what
// should be taken from a Secret.
func unreferencedSecrets(pod map[string]any) []string {
	var out []string
	for _, c := range slices.Concat(list(pod, "initContainers"), list(pod, "containers")) {
		c, _ := c.(map[string]any)
		for _, e := range list(c, "env") {
			e, _ := e.(map[string]any)
			name := text(e, "name")
			for _, word := range []string{"PASSWORD", "SECRET", "TOKEN", "ACCESS_KEY"} {
				if strings.Contains(name, word) && text(e, "valueFrom", "secretKeyRef", "name") == "" {
					out = append(out, name)
				}
			}
		}
	}
	return out
}
