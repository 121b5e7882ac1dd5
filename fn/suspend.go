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
	// Nothing changes from here on, so one backup covers all of the suspension.
	{name: "suspend-backup", key: effectSuspendBackup, take: stage(suspendBackup), does: "makes one more backup, after which the nightly ones pause"},

	{
		name: "suspend-close", take: closeDatabase, does: "closes the database to connections",
		applies: observesOwnDatabase, otherwise: noOwnDatabase,
	},
	{name: "suspend-drain", key: effectSuspendDrain, take: stage(suspendDrain), does: "ends the sessions that are left"},
}

// suspend a tenant that should be, once it is in service.
func suspend(t *tenancy, p *progress) {
	switch {
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
		if current, o := follow(t, p, suspension); current != nil {
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
