package tenant

import "slices"

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
