package tenant

import (
	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// The plan: how a tenant comes to be, in order. A step begins once those that it
// comes after are done. From then on what it composes stays, whatever becomes
// of them: nothing that exists is dropped because something else flickered.
//
// The way back is in teardown.go.
var provisioning = []plan.Step[*tenant]{
	// First of all and alone, so that there is no moment in which a tenant has
	// something to lose and can be deleted without order.
	{
		Name: "guard", Condition: "GuardReady", Key: keyGuard, Composes: "ClusterUsage", Take: guard,
		Does: "has a delete of the tenant refused, and then done in order",
	},

	{
		Name: "database", Condition: "DatabaseReady", Key: keyDatabase, Composes: "Database", After: []string{"guard"}, Take: database,
		Does: "clones the template's database, or creates an empty one",
	},

	// A tenant's files and modules come with its template, or from Odoo itself.
	{
		Name: "filestore", Condition: "FilestoreReady", Key: effectFilestoreClone, Composes: "Job", After: []string{"database"}, Take: effect(filestoreClone),
		Does:    "gives the tenant the template's files",
		Applies: clonesFiles, Otherwise: "there is no template with files to clone",
	},
	{
		Name: "modules", Condition: "ModulesReady", Key: effectModuleInstall, Composes: "Job", After: []string{"database"}, Take: effect(moduleInstall),
		Does:    "has Odoo install the tier's modules",
		Applies: installsModules, Otherwise: "the modules come with the database",
	},

	// Until it is prepared, a clone shares its template's secrets: nobody may
	// reach it. Publishing is what lets Odoo list the database, so the order of
	// these two is what keeps one tenant's reset links out of another's hands.
	// Of what comes before, only the database always Applies: a step that doesn't
	// is as good as done, and would let this one begin on whatever is there.
	{
		Name: "prepare", Condition: "Prepared", Key: effectTenantPrepare, Composes: "Job", After: []string{"database", "filestore", "modules"}, Take: effect(tenantPrepare),
		Does: "makes the clone the tenant's own: fresh secrets, its address, its owner",
	},
	{
		Name: "publish", Condition: "Published", After: []string{"prepare"}, Take: publish,
		Does: "hands the database to Odoo's role, so that Odoo serves it",
	},

	{
		Name: "route", Condition: "RouteReady", Key: keyRoute, Composes: "HTTPRoute", After: []string{"publish"}, Take: route,
		Does: "leads the tenant's host name to the workers",
	},
	{
		Name: "backup", Condition: "BackupReady", Key: keyBackup, Composes: "CronJob", After: []string{"publish"}, Take: backup,
		Does: "backs the tenant up every night",
	},
	{
		Name: "smoke", Condition: "SmokeTestPassed", Key: effectSmokeTest, Composes: "Job", After: []string{"route"}, Take: effect(smokeTest),
		Does: "sees that Odoo shows the tenant's login form",
	},

	// The support room is worth having early, and never worth waiting for.
	{
		Name: "matrix", Condition: "MatrixRoomReady", Key: effectMatrixRoomCreate, Composes: "Job", After: []string{"database"}, Optional: true, Take: effect(matrixRoomCreate),
		Does: "makes the support room",
	},

	// A customer is told of a workspace only once it has been seen to answer.
	{
		Name: "account", Condition: "AccountNotified", Key: effectAccountWebhook, Composes: "Job", After: []string{"smoke"}, Take: effect(accountWebhook),
		Does: "tells the account portal that the tenant is in service",
	},

	// The event starts what can't be taken back, the welcome mail for one.
	{
		Name: "announce", Condition: "Announced", Key: effectClientProvisioned, Composes: "Job", After: []string{"backup", "account"}, Take: effect(clientProvisioned),
		Does: "tells the event bus that the tenant is in service",
	},

	// A tenant that is in service stays in service while its tier changes.
	{
		Name: "tier", Condition: "TierInService", Key: effectTierModules, Composes: "Job", After: []string{"announce"}, Optional: true, Take: changeTier,
		Does: "installs what a higher tier has, once the tenant is moved to one",
	},
}

// progress is how a tenant stands, and what its status is to remember of that.
type progress struct {
	*plan.Progress

	// suspension, deletion and fence as the status is to remember them.
	suspension *v1alpha1.SuspensionStatus
	deletion   *v1alpha1.DeletionStatus
	fence      *v1alpha1.FenceStatus
}

func newProgress(t *tenant) *progress {
	p := &progress{Progress: plan.NewProgress()}
	p.Need(t.template.needs)
	return p
}

// provision a tenant: take every step of the plan that may be taken.
func provision(t *tenant) *progress {
	p := newProgress(t)
	p.fence = t.xr.Status.Fence
	plan.Walk(t, p.Progress, provisioning)
	suspend(t, p)
	backInService(t, p)
	sayNotLeaving(t, p)
	return p
}
