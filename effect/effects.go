package effect

// Effects returns every effect, in the order in which a tenant meets them.
func Effects() []Effect {
	return []Effect{
		define("smoke-test", "Waits until Odoo's workers show the tenant's login form.", SmokeTest),
		define("matrix-room-create", "Creates the tenant's support room, and invites those who are to be in it.", MatrixRoomCreate),
		define("account-webhook", "Tells the account portal that the tenant is in service, or gone.", AccountWebhook),
		define("client-provisioned", "Announces on the event bus that the tenant is in service.", ClientProvisioned),
		define("matrix-room-retire", "Renames the tenant's support room, puts its members out and drops its alias.", MatrixRoomRetire),
		define("client-deprovisioned", "Announces on the event bus that the tenant is gone.", ClientDeprovisioned),
	}
}
