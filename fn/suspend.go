package fn

import (
	"time"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// conditionSuspended tells whether the tenant is out of service.
const conditionSuspended = "Suspended"

// The suspension: what takes a tenant out of service without losing anything.
// Its route answers with a redirect from the first moment on.
var suspension = []step{
	// What has begun to work in the database ends first: it would be cut off half-way.
	{name: "suspend-quiesce", take: quiesce, does: "waits for Jobs that work in the database. The nightly backups pause"},
	{
		name: stepSuspendDisown, take: disown, does: "gives the database to the provisioning role, so that Odoo runs nothing in it",
		applies: observesOwnDatabase, otherwise: noOwnDatabase,
	},
	{
		name: "suspend-fence", key: effectSuspendFence, take: stage(suspendFence), does: "ends all sessions, lets only the backup connect, and sees that it is so",
		applies: observesOwnDatabase, otherwise: noOwnDatabase,
	},

	// Nothing changes from here on, so one backup covers all of the suspension.
	{name: "suspend-backup", key: effectSuspendBackup, take: stage(suspendBackup), does: "makes one more backup, which covers all of the suspension"},

	{
		name: "suspend-close", take: closeDatabase, does: "closes the database to connections",
		applies: observesOwnDatabase, otherwise: noOwnDatabase,
	},
	{name: "suspend-drain", key: effectSuspendDrain, take: stage(suspendDrain), does: "ends the sessions that are left"},
}

// suspend a tenant that should be, once it is in service.
func suspend(t *tenancy, p *progress) {
	switch {
	case !t.client.Spec.Suspended && t.fenced():
		p.say(conditionSuspended, waits(reasonUnfencing, "the tenant is on its way back into service: see condition %s", conditionFenced))

	case !t.client.Spec.Suspended:
		// Only a tenant that ever was suspended has something to say of it.
		if t.knows(conditionSuspended) {
			p.say(conditionSuspended, waits(reasonInService, "the tenant is in service"))
		}

	case !t.done(effectClientProvisioned):
		p.say(conditionSuspended, waits(reasonWaiting, "waits until the tenant is provisioned"))

	case !t.suspending():
		// What isn't recorded hasn't begun.
		p.suspension = &v1alpha1.SuspensionStatus{RequestedAt: t.now}
		t.callAgain(soon)
		p.say(conditionSuspended, settling(reasonSuspending, "the tenant is being taken out of service"))

	default:
		p.suspension = t.client.Status.Suspension
		current, o := follow(t, p, suspension)
		p.fence = t.fenceStatus(t.suspensionRun(), current != nil && current.name == stepSuspendDisown)
		if current != nil {
			p.say(conditionSuspended, o)
			return
		}
		p.say(conditionSuspended, arrived(reasonSuspended, "visitors are sent to %s, and database %s is closed. To resume: kubectl patch planaclient %s --type merge -p '{\"spec\":{\"suspended\":false}}'",
			t.platform.Suspension.RedirectURL, t.database, t.client.GetName()))
	}
}

// suspending tells whether a suspension is recorded and still wanted.
func (t *tenancy) suspending() bool {
	return t.client.Spec.Suspended && t.client.Status.Suspension != nil
}

// suspensionRun tells the effects of this suspension from an earlier one's.
func (t *tenancy) suspensionRun() string {
	if s := t.client.Status.Suspension; s != nil {
		return s.RequestedAt.UTC().Format(time.RFC3339)
	}
	return ""
}
