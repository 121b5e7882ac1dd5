package effect

// Effects returns every effect, in the order in which a tenant meets them.
func Effects() []Effect {
	return []Effect{
		define("filestore-clone", "Gives the tenant copies of its template's files, which share blocks with them where the file system can.", FilestoreClone),
		define("module-grant", "Lets Odoo's role install modules into a database that isn't its own yet.", ModuleGrant),
		define("module-verify", "Tells whether Odoo has installed every module that it was asked for.", ModuleVerify),
		define("tenant-prepare", "Turns a clone of the template's database into the tenant's own, in one transaction.", TenantPrepare),
		define("smoke-test", "Waits until Odoo's workers show the tenant's login form.", SmokeTest),
		define("matrix-room-create", "Creates the tenant's support room, and invites those who are to be in it.", MatrixRoomCreate),
		define("account-webhook", "Tells the account portal that the tenant is in service, or gone.", AccountWebhook),
		define("client-provisioned", "Announces on the event bus that the tenant is in service.", ClientProvisioned),
		define("backup", "Backs up the tenant's database and filestore, and reads the backup back.", Backup),
		define("final-backup", "Makes the last backup before the tenant goes, and reads all of it back.", FinalBackup),
		define("fence", "Shuts everybody but the backup role out of the tenant's database, and sees that nobody is left in it.", Fence),
		define("unfence", "Lets those into the tenant's database again whom the fence has shut out.", Unfence),
		define("connections-drain", "Ends the sessions of the tenant's database, once that is closed.", ConnectionsDrain),
		define("filestore-wipe", "Removes the tenant's directory from the filestore.", FilestoreWipe),
		define("backup-tombstone", "Marks the tenant's backups as those of a tenant that is gone, so that all of them expire.", BackupTombstone),
		define("matrix-room-retire", "Renames the tenant's support room, puts its members out and drops its alias.", MatrixRoomRetire),
		define("client-deprovisioned", "Announces on the event bus that the tenant is gone.", ClientDeprovisioned),
		define("restore", "Restores a backup into a new database and filestore.", Restore),
		define("backup-retention", "Removes expired backups of all tenants, also of those that are gone.", BackupRetention),
	}
}
