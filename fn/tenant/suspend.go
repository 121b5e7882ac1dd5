package tenant

import (
	"time"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// conditionSuspended tells whether the tenant is out of service.
const conditionSuspended = "Suspended"

// The suspension: what takes a tenant out of service without losing anything.
// Its route answers with a redirect from the first moment on.
var suspension = []plan.Step[*tenant]{
	// What has begun to work in the database ends first: it would be cut off half-way.
	{Name: "suspend-quiesce", Take: quiesce, Does: "waits for Jobs that work in the database. The nightly backups pause"},
	{
		Name: stepSuspendDisown, Take: disown, Does: "gives the database to the provisioning role, so that Odoo runs nothing in it",
		Applies: hasDatabase, Otherwise: noOwnDatabase,
	},
	{
		Name: "suspend-fence", Key: effectSuspendFence, Composes: "Job", Take: stage(suspendFence), Does: "ends all sessions, lets only the backup connect, and sees that it is so",
		Applies: hasDatabase, Otherwise: noOwnDatabase,
	},

	// Nothing changes from here on, so one backup covers all of the suspension.
	{Name: "suspend-backup", Key: effectSuspendBackup, Composes: "Job", Take: stage(suspendBackup), Does: "makes one more backup, which covers all of the suspension"},

	{
		Name: "suspend-close", Take: closeDatabase, Does: "closes the database to connections",
		Applies: hasDatabase, Otherwise: noOwnDatabase,
	},
	{Name: "suspend-drain", Key: effectSuspendDrain, Composes: "Job", Take: stage(suspendDrain), Does: "ends the sessions that are left"},
}

// hasDatabase tells whether the tenant has a database of its own, as far as is known. One
// that isn't observed for a moment, or is lost, is still to be fenced: what comes after
// the fence must not begin without it.
func hasDatabase(t *tenant) bool {
	return observesOwnDatabase(t) || t.observed.database == nil && t.xr.Status.DatabaseUID != ""
}

// suspend a tenant that should be, once it is in service.
func suspend(t *tenant, p *progress) {
	switch {
	case !t.xr.Spec.Suspended && t.fenced():
		p.Say(conditionSuspended, plan.Pending(reasonUnfencing, "the tenant is on its way back into service: see condition %s", conditionFenced))

	case !t.xr.Spec.Suspended:
		// Only a tenant that ever was suspended has something to say of it.
		if t.knows(conditionSuspended) {
			p.Say(conditionSuspended, plan.Pending(reasonInService, "the tenant is in service"))
		}

	case !t.Done(effectClientProvisioned):
		p.Say(conditionSuspended, plan.Pending(reasonWaiting, "waits until the tenant is provisioned"))

	case !t.suspending():
		// What isn't recorded hasn't begun.
		p.suspension = &v1alpha1.SuspensionStatus{RequestedAt: t.now}
		p.Need(plan.Again(plan.Soon))
		p.Say(conditionSuspended, plan.Progressing(reasonSuspending, "the tenant is being taken out of service"))

	default:
		p.suspension = t.xr.Status.Suspension
		current, o := plan.Follow(t, p.Progress, suspension)
		p.fence = t.fenceStatus(t.suspensionRun(), current != nil && current.Name == stepSuspendDisown)
		if current != nil {
			p.Say(conditionSuspended, o)
			return
		}
		p.Say(conditionSuspended, plan.Complete(reasonSuspended, "visitors are sent to %s, and database %s is closed. To resume: kubectl patch planaclient %s --type merge -p '{\"spec\":{\"suspended\":false}}'",
			t.platform.Suspension.RedirectURL, t.database, t.xr.GetName()))
	}
}

// suspending tells whether a suspension is recorded and still wanted.
func (t *tenant) suspending() bool {
	return t.xr.Spec.Suspended && t.xr.Status.Suspension != nil
}

// suspensionRun tells the effects of this suspension from an earlier one's.
func (t *tenant) suspensionRun() string {
	if s := t.xr.Status.Suspension; s != nil {
		return s.RequestedAt.UTC().Format(time.RFC3339)
	}
	return ""
}
