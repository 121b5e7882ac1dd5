package fn

import "slices"

// A step is one row of the plan.
type step struct {
	// name of the step, by which others wait for it.
	name string

	// condition of the PLANAClient that tells how the step stands.
	condition string

	// key of the composed resource. An effect's is the effect's name. Empty for
	// a step that changes another step's resource.
	key string

	// after names the steps without which this one may not begin.
	after []string

	// optional steps may fail without keeping the tenant from being Ready.
	optional bool

	// applies tells whether this tenant needs the step. Nil: every one does.
	applies func(*tenancy) bool

	// take the step: say what should exist, and how it stands.
	take func(*tenancy) (composed, outcome)
}

// The plan: how a tenant comes to be, in order. A step begins once those that it
// comes after are done. From then on what it composes stays, whatever becomes
// of them: nothing that exists is dropped because something else flickered.
var plan = []step{
	// First of all and alone, so that there is no moment in which a tenant has
	// something to lose and can be deleted without order.
	{name: "guard", condition: "GuardReady", key: keyGuard, take: guard},

	{name: "database", condition: "DatabaseReady", key: keyDatabase, after: []string{"guard"}, take: database},

	// A tenant's files and modules come with its template, or from Odoo itself.
	{name: "filestore", condition: "FilestoreReady", key: effectFilestoreClone, after: []string{"database"}, applies: fromTemplate, take: effect(filestoreClone)},
	{name: "modules", condition: "ModulesReady", key: effectModuleInstall, after: []string{"database"}, applies: withoutTemplate, take: effect(moduleInstall)},

	// Until it is prepared, a clone shares its template's secrets: nobody may
	// reach it. Publishing is what lets Odoo list the database, so the order of
	// these two is what keeps one tenant's reset links out of another's hands.
	{name: "prepare", condition: "Prepared", key: effectTenantPrepare, after: []string{"filestore", "modules"}, take: effect(tenantPrepare)},
	{name: "publish", condition: "Published", after: []string{"prepare"}, take: publish},

	{name: "route", condition: "RouteReady", key: keyRoute, after: []string{"publish"}, take: route},
	{name: "backup", condition: "BackupReady", key: keyBackup, after: []string{"publish"}, take: backup},
	{name: "smoke", condition: "SmokeTestPassed", key: effectSmokeTest, after: []string{"route"}, take: effect(smokeTest)},

	// The support room is worth having early, and never worth waiting for.
	{name: "matrix", condition: "MatrixRoomReady", key: effectMatrixRoomCreate, after: []string{"database"}, optional: true, take: effect(matrixRoomCreate)},

	// A customer is told of a workspace only once it has been seen to answer.
	{name: "account", condition: "AccountNotified", key: effectAccountWebhook, after: []string{"smoke"}, take: effect(accountWebhook)},

	// The event starts what can't be taken back, the welcome mail for one.
	{name: "announce", condition: "Announced", key: effectClientProvisioned, after: []string{"backup", "account"}, take: effect(clientProvisioned)},
}

// Keys of composed resources that no effect makes.
const (
	keyGuard    = "guard"
	keyDatabase = "database"
	keyRoute    = "route"
	keyBackup   = "backup"
)

// Effects, which are the keys of their Jobs.
const (
	effectFilestoreClone    = "filestore-clone"
	effectModuleInstall     = "module-install"
	effectTenantPrepare     = "tenant-prepare"
	effectSmokeTest         = "smoke-test"
	effectMatrixRoomCreate  = "matrix-room-create"
	effectAccountWebhook    = "account-webhook"
	effectClientProvisioned = "client-provisioned"
)

// composedKeys are the keys of everything that this function ever composes.
var composedKeys = []string{
	keyGuard, keyDatabase, keyRoute, keyBackup,
	effectFilestoreClone, effectModuleInstall, effectTenantPrepare, effectSmokeTest,
	effectMatrixRoomCreate, effectAccountWebhook, effectClientProvisioned,
}

// begun tells whether a step has been taken before.
func (s *step) begun(t *tenancy) bool {
	return s.key != "" && (t.observed.exists(s.key) || t.done(s.key))
}

// waitsFor returns the steps that must be done before this one may begin.
func (s *step) waitsFor(done map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(s.after), func(name string) bool { return done[name] })
}
