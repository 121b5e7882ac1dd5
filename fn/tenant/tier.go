package tenant

import (
	"slices"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// changeTier brings a tenant that is in service to another tier. What a tier
// says of backups holds at once; its modules take a Job.
func changeTier(t *tenant) plan.Result {
	from, to := t.tierInService(), t.xr.Spec.Tier
	switch {
	case from == to && t.xr.Status.Tier != "" && lower(to, t.xr.Status.Tier):
		return plan.Say(plan.Degraded(reasonDowngraded, "tier %s was given up for %s: backups are kept for less long, and modules that are installed stay installed",
			t.xr.Status.Tier, to))
	case from != to && t.outOfService() && !t.observed.exists(effectTierModules):
		return plan.Say(plan.Pending(reasonWaiting, "tier %s waits until the tenant is back in service: its database is closed", to))
	case from != to && !t.ownsDatabase() && !t.observed.exists(effectTierModules):
		// Odoo creates a database that it is told to install into and doesn't find.
		return plan.Say(plan.Pending(reasonWaiting, "tier %s waits until database %s is seen again", to, t.database))
	case from == to:
		return plan.Desire(t.unrecorded(effectTierModules), plan.Complete(reasonAvailable, "tier %s is in service", to))
	}
	r := run(t, t.tierModules(from, to))
	if r.OK() {
		r.Outcome = plan.Complete(reasonAvailable, "tier %s is in service", to)
	}
	return r
}

// tierInService is the tier whose modules the tenant has. A lower one is in
// service as soon as it is asked for: nothing is uninstalled.
func (t *tenant) tierInService() v1alpha1.Tier {
	from, to := t.xr.Status.Tier, t.xr.Spec.Tier
	switch {
	case from == "" || t.observed.database == nil && t.xr.Status.DatabaseUID == "" && !t.Done(effectTenantPrepare):
		// There is nothing yet that could have another tier's modules. A Database object
		// that isn't seen for a moment is something else: the database that it stands
		// for has what it had, and a Job may be at work on it.
		return to
	case from == to || lower(to, from) || len(t.newModules()) == 0:
		return to
	case t.DoneRun(effectTierModules, tierRun(from, to)):
		return to
	default:
		return from
	}
}

// tierModules installs the modules that a higher tier has and a lower one
// hasn't.
func (t *tenant) tierModules(from, to v1alpha1.Tier) jobSpec {
	s := t.install(effectTierModules, t.newModules())
	s.run = tierRun(from, to)
	return s
}

// newModules are those of the tier that is asked for, compared with the one that the
// tenant has.
func (t *tenant) newModules() []string {
	had := t.formerTier.Modules
	return slices.DeleteFunc(slices.Clone(t.tier.Modules), func(m string) bool { return slices.Contains(had, m) })
}

// lower tells whether one tier is below another.
func lower(a, b v1alpha1.Tier) bool {
	return slices.Index(tiers, a) < slices.Index(tiers, b)
}

func tierRun(from, to v1alpha1.Tier) string {
	return string(from) + "-" + string(to)
}
