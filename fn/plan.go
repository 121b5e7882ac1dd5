package fn

import "slices"

// The plan: how a tenant comes to be, in order. A step begins once those that it
// comes after are done. From then on what it composes stays, whatever becomes
// of them: nothing that exists is dropped because something else flickered.
//
// The way back is in teardown.go.
var plan = []step{
	// First of all and alone, so that there is no moment in which a tenant has
	// something to lose and can be deleted without order.
	{
		name: "guard", condition: "GuardReady", key: keyGuard, take: guard,
		does: "has a delete of the tenant refused, and then done in order",
	},

	{
		name: "database", condition: "DatabaseReady", key: keyDatabase, after: []string{"guard"}, take: database,
		does: "clones the template's database, or creates an empty one",
	},

	// A tenant's files and modules come with its template, or from Odoo itself.
	{
		name: "filestore", condition: "FilestoreReady", key: effectFilestoreClone, after: []string{"database"}, take: effect(filestoreClone),
		does:    "gives the tenant the template's files",
		applies: clonesFiles, otherwise: "there is no template with files to clone",
	},
	{
		name: "modules", condition: "ModulesReady", key: effectModuleInstall, after: []string{"database"}, take: effect(moduleInstall),
		does:    "has Odoo install the tier's modules",
		applies: installsModules, otherwise: "the modules come with the database",
	},

	// Until it is prepared, a clone shares its template's secrets: nobody may
	// reach it. Publishing is what lets Odoo list the database, so the order of
	// these two is what keeps one tenant's reset links out of another's hands.
	// Of what comes before, only the database always applies: a step that doesn't
	// is as good as done, and would let this one begin on whatever is there.
	{
		name: "prepare", condition: "Prepared", key: effectTenantPrepare, after: []string{"database", "filestore", "modules"}, take: effect(tenantPrepare),
		does: "makes the clone the tenant's own: fresh secrets, its address, its owner",
	},
	{
		name: "publish", condition: "Published", after: []string{"prepare"}, take: publish,
		does: "hands the database to Odoo's role, so that Odoo serves it",
	},

	{
		name: "route", condition: "RouteReady", key: keyRoute, after: []string{"publish"}, take: route,
		does: "leads the tenant's host name to the workers",
	},
	{
		name: "backup", condition: "BackupReady", key: keyBackup, after: []string{"publish"}, take: backup,
		does: "backs the tenant up every night",
	},
	{
		name: "smoke", condition: "SmokeTestPassed", key: effectSmokeTest, after: []string{"route"}, take: effect(smokeTest),
		does: "sees that Odoo shows the tenant's login form",
	},

	// The support room is worth having early, and never worth waiting for.
	{
		name: "matrix", condition: "MatrixRoomReady", key: effectMatrixRoomCreate, after: []string{"database"}, optional: true, take: effect(matrixRoomCreate),
		does: "makes the support room",
	},

	// A customer is told of a workspace only once it has been seen to answer.
	{
		name: "account", condition: "AccountNotified", key: effectAccountWebhook, after: []string{"smoke"}, take: effect(accountWebhook),
		does: "tells the account portal that the tenant is in service",
	},

	// The event starts what can't be taken back, the welcome mail for one.
	{
		name: "announce", condition: "Announced", key: effectClientProvisioned, after: []string{"backup", "account"}, take: effect(clientProvisioned),
		does: "tells the event bus that the tenant is in service",
	},

	// A tenant that is in service stays in service while its tier changes.
	{
		name: "tier", condition: "TierInService", key: effectTierModules, after: []string{"announce"}, optional: true, take: changeTier,
		does: "installs what a higher tier has, once the tenant is moved to one",
	},
}

// Keys of composed resources that aren't Jobs.
const (
	keyGuard    = "guard"
	keyDatabase = "database"
	keyRoute    = "route"
	keyBackup   = "backup"
)

// Effects, which are the keys of their Jobs and the first part of their names.
const (
	effectFilestoreClone    = "filestore-clone"
	effectModuleInstall     = "module-install"
	effectTenantPrepare     = "tenant-prepare"
	effectSmokeTest         = "smoke-test"
	effectMatrixRoomCreate  = "matrix-room-create"
	effectAccountWebhook    = "account-webhook"
	effectClientProvisioned = "client-provisioned"
	effectTierModules       = "tier-modules"

	effectSuspendFence  = "suspend-fence"
	effectSuspendBackup = "suspend-backup"
	effectSuspendDrain  = "suspend-drain"

	effectUnfence = "unfence"

	effectFence               = "fence"
	effectFinalBackup         = "final-backup"
	effectConnectionsDrain    = "connections-drain"
	effectFilestoreWipe       = "filestore-wipe"
	effectBackupTombstone     = "backup-tombstone"
	effectMatrixRoomRetire    = "matrix-room-retire"
	effectDeprovisionWebhook  = "deprovision-webhook"
	effectClientDeprovisioned = "client-deprovisioned"
)

// composedKeys are the keys of everything that this function ever composes.
var composedKeys = slices.Concat(
	[]string{keyGuard, keyDatabase, keyRoute, keyBackup},
	provisioningEffects, suspensionEffects, []string{effectUnfence}, teardownEffects,
)

// Effects by the occasion on which they are run. Those of a suspension or a
// teardown are done anew on each.
var (
	provisioningEffects = []string{
		effectFilestoreClone, effectModuleInstall, effectTenantPrepare, effectSmokeTest,
		effectMatrixRoomCreate, effectAccountWebhook, effectClientProvisioned, effectTierModules,
	}
	suspensionEffects = []string{effectSuspendFence, effectSuspendBackup, effectSuspendDrain}
	teardownEffects   = []string{
		effectFence, effectFinalBackup, effectConnectionsDrain, effectFilestoreWipe, effectBackupTombstone,
		effectMatrixRoomRetire, effectDeprovisionWebhook, effectClientDeprovisioned,
	}
)

// databaseEffects are those that work in the tenant's database, or on who may.
var databaseEffects = []string{
	effectModuleInstall, effectTenantPrepare, effectTierModules,
	effectSuspendFence, effectSuspendBackup, effectSuspendDrain,
	effectUnfence,
	effectFence, effectFinalBackup, effectConnectionsDrain,
}
