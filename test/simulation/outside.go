package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// outside is all that tenants have outside of the cluster.
type outside struct {
	databases map[string]*database
	coming    map[string]*database  // by name: those that the server is still making
	files     map[string]*directory // by namespace/name
	rooms     map[string]*room      // by alias
	portal    []notice
	stream    []notice
	streamed  map[notice]bool
	snapshots map[string][]snapshot // by repository
	tombs     map[string][]tomb     // by repository

	// written counts all that was ever written, so that no two contents are
	// alike, and a later one is greater.
	written int

	// superuser tells whether provider-sql logs in as one. Others may not name a
	// tablespace, nor an owner whose member they aren't.
	superuser bool

	// mayNotCreate tells that provider-sql's role lacks CREATEDB.
	mayNotCreate bool
}

// A database on the server.
type database struct {
	name             string
	owner            string
	allowConnections bool
	template         bool
	sessions         int

	// fenced tells that nobody but the backup role and the owner may connect.
	fenced bool

	// tablespace, and the most connections at a time: -1 is no limit.
	tablespace string
	limit      int

	// madeFor is the UID of the tenant that it was created for.
	madeFor string

	// foreign databases were there before any tenant, and are somebody's, who
	// takes a movable one away when a tenant needs its name.
	foreign, movable bool

	// preparedFor is the UID of the tenant that the database has been made the
	// own of. Until then it shares its template's secrets.
	preparedFor string

	// shares tells that it has its template's secrets, or none.
	shares bool

	// initialised databases hold Odoo's tables.
	initialised bool

	// content tells what customers have written last. Zero is a mere clone.
	content int
}

// A directory in a filestore.
type directory struct {
	uid     string // of the tenant that cloned it
	foreign bool
	content int
}

// A room for support.
type room struct {
	uid string
}

// A notice of the account portal or the event bus.
type notice struct{ uid, event string }

// A snapshot in a backup repository.
type snapshot struct {
	database string
	uid      string
	content  int
	files    int
	verified bool

	// occasion is the teardown that it was made for, if it is a last one.
	occasion string
}

// A tomb marks a tenant's backups as those of one that is gone: they expire.
type tomb struct{ uid, occasion string }

func newOutside() outside {
	return outside{
		databases: map[string]*database{},
		coming:    map[string]*database{},
		files:     map[string]*directory{},
		rooms:     map[string]*room{},
		streamed:  map[notice]bool{},
		snapshots: map[string][]snapshot{},
		tombs:     map[string][]tomb{},
	}
}

func templateName(edition, version string) string { return edition + "-template-" + version }

// declareTemplate creates a template database, and the object that says so.
func (w *World) declareTemplate(edition, version string) {
	object_ := templateName(edition, version)
	name := object_ + "." + w.domain
	if w.databases[name] == nil {
		w.databases[name] = &database{name: name, owner: w.providerRole, tablespace: defaultTablespace, limit: -1, template: true, initialised: true}
		w.files[w.namespaces[version]+"/"+name] = &directory{}
	}
	r := ref{kindDatabase, w.system, object_}
	if o := w.objects[r]; o != nil {
		// provider-sql may have been down when it came.
		w.provide(o, providesWell)
		return
	}
	o := &object{ref: r, body: map[string]any{
		"apiVersion": apiVersions[kindDatabase], "kind": kindDatabase,
		"metadata": map[string]any{"annotations": map[string]any{annotationExternal: name}},
		"spec":     map[string]any{"managementPolicies": []any{"Observe"}, "forProvider": map[string]any{}},
	}}
	w.create(o)
	w.provide(o, providesWell)
}

// A provision is how a step of provider-sql may come out.
type provision int

const (
	providesWell provision = iota
	// providesInUse: somebody is connected to the template.
	providesInUse
	// providesDead: the provider dies right after it has created a database.
	providesDead
	// providesLost: the connection is lost while the server creates a database. The
	// server goes on with it, and the provider takes it for failed.
	providesLost
	// providesLate: the provider dies while the server creates a database, which takes
	// the server until nobody waits for it any more.
	providesLate
)

// provide is one reconcile of provider-sql. It tells whether it changed anything.
func (w *World) provide(o *object, how provision) bool {
	if w.providerDown {
		return false
	}
	if o.annotation(annotationPaused) == "true" {
		// Whatever it is, also one that is being deleted.
		was := clone(o.body)
		setCondition(o.body, w.timestamp(), map[string]any{"type": "Synced", "status": "False", "reason": "ReconcilePaused"})
		if same(was, o.body) {
			return false
		}
		w.changed(o)
		return true
	}
	policies := list(o.body, "spec", "managementPolicies")
	may := func(action string) bool { return permits(o, action) }
	name := o.annotation(annotationExternal)
	before := clone(o.body)
	unchanged := func() bool { return same(before, o.body) }
	defer func() { o.disown(managed(before), managed(o.body)) }()

	if o.deleting() && !may("Delete") {
		w.unfinalize(o, finalizerManaged)
		return true
	}

	if !slices.Contains(supportedPolicies, initials(policies)) {
		w.violate(invariantCore, "provider-sql doesn't support the policies %v of %s", policies, o.ref)
		return false
	}

	o.creates = may("Create")
	db := w.databases[name]
	onlyObserves := len(policies) == 1 && policies[0] == "Observe"
	incomplete := o.annotation(annotationPending) > max(o.annotation(annotationSucceeded), o.annotation(annotationFailed))
	if !incomplete {
		o.missed = db == nil
		if l := w.lives[o.controller()]; l != nil && db != nil && db.madeFor == l.uid {
			l.late = false
		}
	}
	switch {
	case incomplete:
		setCondition(o.body, w.timestamp(), map[string]any{"type": "Ready", "status": "False", "reason": "Creating"})
		return w.providerSays(o, unchanged, "cannot determine creation result - remove the crossplane.io/external-create-pending annotation if it is safe to proceed")

	case db == nil && onlyObserves:
		// Ready stays as it was, here as wherever there is nothing to be seen.
		return w.providerSays(o, unchanged, "observe failed: external resource does not exist")

	// For 30 seconds after a creation it isn't believed that there is none.
	case db == nil && o.annotation(annotationSucceeded) > w.now().Add(-30*time.Second).Format(time.RFC3339):
		return false

	case o.deleting():
		if db == nil {
			w.unfinalize(o, finalizerManaged)
			return true
		}
		if db.sessions > 0 {
			return w.providerSays(o, unchanged, fmt.Sprintf("cannot drop database: database %q is being accessed by other users (55006)", name))
		}
		w.dropDatabase(o, db)
		return true
	}

	// What is looked at fills in the object, and the finalizer is written with it
	// whether the policies have a LateInitialize or not.
	changed := w.finalize(o, finalizerManaged)
	if db != nil && (changed || may("LateInitialize")) {
		w.lateInitialize(o, db)
	}

	switch {
	case db == nil && may("Create"):
		return w.provideNew(o, name, how, before)

	case db == nil && may("Update"):
		return w.providerSays(o, unchanged, fmt.Sprintf("cannot alter database: database %q does not exist (3D000)", name))

	case db == nil:
		// There is nothing that it may do, so it is content.
		w.synced(o)

	default:
		w.ready(o, "Available")
		if w.drifted(o, db) && may("Update") {
			w.alter(o, db)
		}
	}
	if changed || !unchanged() {
		w.changed(o)
		return true
	}
	return false
}

// provideNew creates the database of an object.
func (w *World) provideNew(o *object, name string, how provision, before map[string]any) bool {
	put(o.body, w.timestamp(), "metadata", "annotations", annotationPending)
	created, err := w.createDatabase(o, name, how)
	if err == "" && how == providesLate {
		w.coming[name] = created
		w.changed(o)
		return true
	}
	if err == "" {
		w.databases[name] = created
		if l := w.lives[o.controller()]; l != nil {
			l.created = true
		}
		w.checkPublished(o, created)
	}
	if err == "" && how == providesLost {
		err = "cannot create database: unexpected EOF"
	}
	if err != "" {
		put(o.body, w.timestamp(), "metadata", "annotations", annotationFailed)
		setCondition(o.body, w.timestamp(), map[string]any{"type": "Ready", "status": "False", "reason": "Creating"})
		// Every attempt leaves another time behind, and nothing else.
		return w.providerSays(o, func() bool { return same(before["status"], o.body["status"]) }, err)
	}
	if how == providesDead {
		w.changed(o)
		return true
	}
	put(o.body, w.timestamp(), "metadata", "annotations", annotationSucceeded)
	w.ready(o, "Creating")
	w.changed(o)
	return true
}

// supportedPolicies are the combinations that provider-sql takes, by their
// initials. With any other it does nothing at all.
var supportedPolicies = []string{"*", "O", "CO", "DO", "OU", "LO", "CDO", "CLO", "COU", "LOU", "CDLO", "CDOU", "CLOU", "CDLOU"}

func initials(policies []any) string {
	var out []string
	for _, p := range policies {
		if p, ok := p.(string); ok && p != "" {
			out = append(out, p[:1])
		}
	}
	slices.Sort(out)
	return strings.Join(out, "")
}

// ready says that a database is available, or about to be.
func (w *World) ready(o *object, reason string) {
	status := "True"
	if reason != "Available" {
		status = "False"
	}
	setCondition(o.body, w.timestamp(), map[string]any{"type": "Ready", "status": status, "reason": reason})
	w.synced(o)
}

// synced says that all is done that may be done.
func (w *World) synced(o *object) {
	g := dig(o.body, "metadata", "generation")
	setCondition(o.body, w.timestamp(), map[string]any{"type": "Synced", "status": "True", "reason": "ReconcileSuccess", "observedGeneration": g})
}

// providerSays why an object is out of sync.
func (w *World) providerSays(o *object, unchanged func() bool, message string) bool {
	g := dig(o.body, "metadata", "generation")
	setCondition(o.body, w.timestamp(), map[string]any{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": message, "observedGeneration": g})
	if unchanged() {
		return false
	}
	w.changed(o)
	return true
}

// arrive is the end of a CREATE DATABASE that nobody waits for any more.
func (w *World) arrive(name string) {
	db := w.coming[name]
	delete(w.coming, name)
	if w.databases[name] != nil {
		return
	}
	w.trace("  the server has made database %s", name)
	w.databases[name] = db
	if l := w.lives[db.madeFor]; l != nil {
		l.created = true
		l.late = l.late || w.find(l.name, "database") == nil
	}
}

// createDatabase is CREATE DATABASE, with all that the object says.
func (w *World) createDatabase(o *object, name string, how provision) (*database, string) {
	if w.coming[name] != nil {
		// The server has one wait for the other.
		w.arrive(name)
	}
	if w.mayNotCreate {
		return nil, "cannot create database: permission denied to create database (42501)"
	}
	if w.databases[name] != nil {
		return nil, fmt.Sprintf("cannot create database: database %q already exists (42P04)", name)
	}
	db := &database{name: name, madeFor: o.controller(), owner: w.providerRole, tablespace: defaultTablespace, limit: -1, allowConnections: true, shares: true}
	params, _ := dig(o.body, "spec", "forProvider").(map[string]any)
	if owner := text(params, "owner"); owner != "" {
		if owner != w.providerRole && !slices.Contains(w.odooRoles, owner) && !w.superuser {
			return nil, fmt.Sprintf("cannot create database: must be able to SET ROLE %q (42501)", owner)
		}
		db.owner = owner
	}
	if space := text(params, "tablespace"); space != "" {
		if !w.superuser {
			return nil, fmt.Sprintf("cannot create database: permission denied for tablespace %s (42501)", space)
		}
		db.tablespace = space
	}
	if allow, ok := params["allowConnections"].(bool); ok {
		db.allowConnections = allow
	}
	if limit, ok := params["connectionLimit"].(float64); ok {
		db.limit = int(limit)
	}
	db.template = isTrue(params, "isTemplate")
	if template := text(params, "template"); template != "" {
		from := w.databases[template]
		switch {
		case from == nil:
			return nil, fmt.Sprintf("cannot create database: template database %q does not exist (3D000)", template)
		case how == providesInUse:
			return nil, fmt.Sprintf("cannot create database: source database %q is being accessed by other users (55006)", template)
		}
		db.initialised = from.initialised
	}
	w.trace("  provider-sql creates database %s", name)
	return db, ""
}

// dropDatabase is DROP DATABASE.
func (w *World) dropDatabase(o *object, db *database) {
	w.trace("  provider-sql drops database %s", db.name)
	w.checkDrop(o, db)
	delete(w.databases, db.name)
	w.changed(o)
}

// lateInitialize fills in what an object leaves open.
func (w *World) lateInitialize(o *object, db *database) {
	spec := clone(o.body["spec"])
	for field, value := range map[string]any{
		"owner": db.owner, "encoding": "UTF8", "lcCollate": "C.UTF-8", "lcCType": "C.UTF-8", "tablespace": db.tablespace,
		"allowConnections": db.allowConnections, "connectionLimit": float64(db.limit), "isTemplate": db.template,
	} {
		if dig(o.body, "spec", "forProvider", field) == nil {
			put(o.body, value, "spec", "forProvider", field)
		}
	}
	if !same(spec, o.body["spec"]) {
		w.saved(o, spec)
	}
}

// drifted tells whether a database differs from what its object says.
func (w *World) drifted(o *object, db *database) bool {
	params, _ := dig(o.body, "spec", "forProvider").(map[string]any)
	owner := text(params, "owner")
	allow, hasAllow := params["allowConnections"].(bool)
	limit, hasLimit := params["connectionLimit"].(float64)
	template, hasTemplate := params["isTemplate"].(bool)
	return owner != "" && owner != db.owner || hasAllow && allow != db.allowConnections ||
		hasLimit && int(limit) != db.limit || hasTemplate && template != db.template
}

// alter is ALTER DATABASE.
func (w *World) alter(o *object, db *database) {
	// An orphaned object goes on standing for its own database.
	if l := w.lives[o.controller()]; db.foreign && l != nil && !l.adopted && db.madeFor != l.uid {
		w.violate(invariantForeign, "%s, which is somebody else's, was altered", db.name)
	}
	if owner := text(o.body, "spec", "forProvider", "owner"); owner != "" && owner != db.owner {
		w.trace("  provider-sql gives database %s to %s", db.name, owner)
		db.owner = owner
	}
	if allow, ok := dig(o.body, "spec", "forProvider", "allowConnections").(bool); ok {
		db.allowConnections = allow
	}
	if limit, ok := dig(o.body, "spec", "forProvider", "connectionLimit").(float64); ok {
		db.limit = int(limit)
	}
	if template, ok := dig(o.body, "spec", "forProvider", "isTemplate").(bool); ok {
		db.template = template
	}
	w.checkPublished(o, db)
}

// served tells whether a database is one that Odoo serves to a tenant's
// visitors: it is Odoo's own, it takes connections and a route leads to it.
func (w *World) served(name string) bool {
	db := w.databases[name]
	return db != nil && slices.Contains(w.odooRoles, db.owner) && db.allowConnections && !db.template
}

// work is what goes on in databases without any visitor: Odoo's workers run scheduled
// actions, fetch mail and so on in every database that their role owns and may connect
// to, whatever routes there are; and who is connected stays connected and writes,
// though others are kept out by then.
func (w *World) work() {
	for _, name := range sorted(w.databases) {
		db := w.databases[name]
		if db.template || db.madeFor == "" && !w.adopted(name) || !db.initialised {
			continue
		}
		if w.served(name) && !db.fenced {
			db.sessions = 1
		}
		if db.sessions > 0 {
			w.writeTo(db)
		}
	}
}

// adopted tells whether a tenant that is there has adopted a database.
func (w *World) adopted(name string) bool {
	for uid, l := range w.lives {
		if l.adopted && databaseOf(l.name) == name && w.owner(uid) != nil {
			return true
		}
	}
	return false
}

// writeTo a database and to its files.
func (w *World) writeTo(db *database) {
	w.written++
	db.content = w.written
	for _, version := range versions {
		if d := w.files[w.namespaces[version]+"/"+db.name]; d != nil {
			d.content = w.written
		}
	}
}

// routed tells whether visitors get to Odoo through a tenant's route.
func (w *World) routed(xr *object) bool {
	for _, o := range w.composedBy(xr.uid()) {
		if o.kind != kindRoute || o.deleting() || len(list(o.body, "status", "parents")) == 0 {
			continue
		}
		for _, rule := range list(o.body, "spec", "rules") {
			if m, ok := rule.(map[string]any); ok && len(list(m, "backendRefs")) > 0 {
				return true
			}
		}
	}
	return false
}

// databaseOf a tenant. Its name is also the directory's.
func databaseOf(tenant string) string { return tenant + "." + domain }

// repositoryOf a backup, from what its pod is told.
func repositoryOf(env map[string]string) string { return env["RESTIC_REPOSITORY"] }

// hasBackup tells whether a verified snapshot of a tenant's has all that its
// database and its files hold now.
func (w *World) hasBackup(name string, content, files int) bool {
	for _, all := range w.snapshots {
		for _, s := range all {
			if s.verified && s.database == name && s.content >= content && s.files >= files {
				return true
			}
		}
	}
	return false
}

// hasSnapshots tells whether there is a backup of a tenant's in any repository.
func (w *World) hasSnapshots(uid string) bool {
	for _, all := range w.snapshots {
		if slices.ContainsFunc(all, func(s snapshot) bool { return s.uid == uid }) {
			return true
		}
	}
	return false
}

// entombed tells whether the backups of a tenant are marked.
func (w *World) entombed(uid string) bool {
	for _, all := range w.tombs {
		if slices.ContainsFunc(all, func(t tomb) bool { return t.uid == uid }) {
			return true
		}
	}
	return false
}

// repositoryBelongs tells whether a repository is the one of a tenant.
func repositoryBelongs(repository, tenant string, project int) bool {
	return strings.HasSuffix(repository, fmt.Sprintf("/%s-%d", tenant, project))
}
