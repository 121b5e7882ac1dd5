package tenant

import (
	"fmt"
	"slices"
	"strings"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/durationpb"
	corev1 "k8s.io/api/core/v1"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// Reasons of conditions.
const (
	reasonAvailable  = "Available"
	reasonCompleted  = plan.ReasonCompleted
	reasonNotNeeded  = plan.ReasonNotNeeded
	reasonWaiting    = plan.ReasonWaiting
	reasonCreating   = plan.ReasonCreating
	reasonUpdating   = "Updating"
	reasonPublishing = "Publishing"
	reasonRunning    = "Running"
	reasonRetrying   = "Retrying"
	reasonDowngraded = "Downgraded"

	reasonSuspending = "Suspending"
	reasonSuspended  = "Suspended"
	reasonInService  = "InService"
	reasonFencing    = "Fencing"
	reasonFenced     = "Fenced"
	reasonUnfencing  = "Unfencing"

	reasonGracePeriod    = "GracePeriod"
	reasonWithdrawing    = "Withdrawing"
	reasonProtected      = "Protected"
	reasonOpening        = "Opening"
	reasonClosing        = "Closing"
	reasonDropping       = "Dropping"
	reasonDeprovisioning = "Deprovisioning"
	reasonDeprovisioned  = "Deprovisioned"
	reasonOrphaned       = "Orphaned"

	reasonAccepted        = "Accepted"
	reasonInvalidSpec     = "InvalidSpec"
	reasonInvalidPlatform = "InvalidPlatform"
	reasonInvalidObserved = "InvalidObserved"

	reasonUpToDate        = "UpToDate"
	reasonUpgradeNotBuilt = "UpgradeNotSupported"
)

// Conditions that are no step's.
const (
	conditionAccepted       = "Accepted"
	conditionUpgradePending = "UpgradePending"

	// conditionResponsive is Crossplane's own: false while it doesn't listen to
	// watches.
	conditionResponsive = "Responsive"
)

// respond says what should exist, how it stands, and when to ask again.
func respond(rsp *fnv1.RunFunctionResponse, t *tenant, p *progress) error {
	if err := p.WriteComposed(rsp); err != nil {
		return err
	}
	status, err := wire.EncodeValue(t.status(p))
	if err != nil {
		return fmt.Errorf("cannot write the status: %w", err)
	}
	plan.WriteStatus(rsp, status, p.Finished)

	t.reportAccepted(rsp)
	t.reportUpgrade(rsp)
	p.WriteConditions(rsp, t.condition)
	if p.Finished && !t.wasReady() {
		response.Normalf(rsp, "Tenant %s is ready at %s", t.xr.GetName(), t.url()).WithReason(reasonAvailable)
	}

	needs := p.Needs.And(plan.Again(t.ttl(p)))
	if len(needs.Required) > 0 {
		rsp.Requirements = &fnv1.Requirements{Resources: needs.Required}
	}
	rsp.Meta.Ttl = durationpb.New(needs.Within)
	return nil
}

// ttl is how long a tenant may stand as it does before it is looked at again,
// where no step has asked for less.
func (t *tenant) ttl(p *progress) time.Duration {
	atRest := p.Finished && !p.Moves()
	switch {
	case t.unwatched() && atRest:
		return plan.TTLUnwatchedAtRest
	case t.unwatched():
		return plan.TTLUnwatched
	case p.Moves():
		return plan.TTLProgressing
	case !p.Finished:
		return plan.TTLStuck
	default:
		return plan.TTLAtRest
	}
}

// unwatched tells whether Crossplane has stopped listening to what happens to the
// tenant's resources, for fear of a loop. What was asked for may have been done,
// and no watch tells.
func (t *tenant) unwatched() bool {
	return t.condition(conditionResponsive).Status == corev1.ConditionFalse
}

// status says what the tenant is.
func (t *tenant) status(p *progress) *v1alpha1.PLANAClientStatus {
	b := t.platform.Backup
	s := &v1alpha1.PLANAClientStatus{
		URL:          t.url(),
		Namespace:    t.version.Namespace,
		DatabaseName: t.database,
		DatabaseUID:  t.xr.Status.DatabaseUID,
		OdooVersion:  t.xr.Status.OdooVersion,
		ProjectID:    t.xr.Status.ProjectID,
		Tier:         t.tierInService(),
		MatrixRoom:   t.supportRoom(),
		Effects:      t.Ledger,
		Suspension:   p.suspension,
		Deletion:     p.deletion,
		Fence:        p.fence,
		SpentWaiver:  t.spentWaiver(),
		Backup: &v1alpha1.BackupStatus{
			CronJob:       b.Namespace + "/" + t.backupName(),
			Schedule:      t.backupSchedule() + " " + b.Window.TimeZone,
			RetentionDays: t.tier.RetentionDays,
		},
	}
	if t.observed.database != nil {
		// From here on these are facts that a later spec can't undo.
		s.OdooVersion = t.odooVersion
		s.ProjectID = t.xr.Spec.ProjectID
	}
	if t.ownsDatabase() {
		s.DatabaseUID = string(t.observed.database.GetUID())
	}
	// Of a database that isn't proven to be this tenant's, nobody knows it.
	if t.ownsDatabase() && available(t.observed.database) {
		s.Template = t.template.database
	} else {
		s.Template = t.xr.Status.Template
	}
	if t.observed.backup != nil {
		s.Backup.LastSuccessfulTime = t.observed.backup.Status.LastSuccessfulTime
	} else if last := t.xr.Status.Backup; last != nil {
		s.Backup.LastSuccessfulTime = last.LastSuccessfulTime
	}
	return s
}

// reportUpgrade says that the tenant isn't on the version that is asked for. It
// goes on serving on the one that it is on.
func (t *tenant) reportUpgrade(rsp *fnv1.RunFunctionResponse) {
	requirements := t.xr.Spec.OdooVersion
	if requirements != t.odooVersion {
		response.ConditionTrue(rsp, conditionUpgradePending, reasonUpgradeNotBuilt).WithMessage(fmt.Sprintf(
			"this tenant stays on Odoo %s, and in service: upgrading to %s isn't supported yet. To end this notice: "+
				"kubectl patch planaclient %s --type merge -p '{\"spec\":{\"odooVersion\":\"%s\"}}'", t.odooVersion, requirements, t.xr.GetName(), t.odooVersion))
		return
	}
	response.ConditionFalse(rsp, conditionUpgradePending, reasonUpToDate)
}

// condition of the PLANAClient as it was when this request was made.
func (t *tenant) condition(typ string) xpv1.Condition {
	return t.xr.Status.GetCondition(xpv1.ConditionType(typ))
}

// knows tells whether the PLANAClient has a condition at all.
func (t *tenant) knows(typ string) bool {
	return t.condition(typ).Reason != ""
}

// reportAccepted says that the spec and the Platform can be used.
func (t *tenant) reportAccepted(rsp *fnv1.RunFunctionResponse) {
	c := response.ConditionTrue(rsp, conditionAccepted, reasonAccepted)
	switch {
	case t.waiver() == "":
	case t.waiver() == t.spentWaiver():
		c.WithMessage(fmt.Sprintf("annotation %[1]s is spent: it was for a delete that was cancelled. The next delete makes a last backup, unless it is waived anew: kubectl annotate planaclient %[2]s --overwrite %[1]s=%[3]s",
			annotationSkipFinalBackup, t.xr.GetName(), t.nextWaiver()))
	default:
		c.WithMessage(fmt.Sprintf("annotation %[1]s is in force: a delete makes NO last backup. To have one made: kubectl annotate planaclient %[2]s %[1]s-",
			annotationSkipFinalBackup, t.xr.GetName()))
	}
	effect, _, _ := strings.Cut(t.xr.GetAnnotations()[annotationRerun], "/")
	if effect != "" && !slices.Contains(provisioningEffects, effect) {
		c.WithMessage(fmt.Sprintf("annotation %s is ignored: %q can't be run again. It may be one of: %s",
			annotationRerun, effect, strings.Join(provisioningEffects, ", ")))
	}
}

// refuse a request. A tenant that has something keeps all of it, just as it is;
// one that has nothing gets nothing, and nor does one that is let go of, to which
// what it has would be given back. It tells whether this is the first time that it
// says so.
func refuse(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, r *plan.Refusal) (news bool) {
	before := &v1alpha1.PLANAClient{}
	// What can't be read has no conditions to compare with.
	_ = wire.Decode(req.GetObserved().GetComposite().GetResource(), before, wire.Status)
	news = before.Status.GetCondition(conditionAccepted).Message != r.Err.Error()
	response.ConditionFalse(rsp, conditionAccepted, r.Reason).WithMessage(r.Err.Error())

	var guard *protectionv1beta1.ClusterUsage
	xr := req.GetObserved().GetComposite().GetResource()
	if r := req.GetObserved().GetResources()[keyGuard].GetResource(); r != nil {
		// One that can't be read is there all the same.
		if foreign, _ := foreignObject(xr, r, keyGuard); foreign == nil {
			guard, _ = wire.Decoded[protectionv1beta1.ClusterUsage](r)
		}
	}
	if orphaning(before) && unguarded(guard) {
		response.Fatal(rsp, fmt.Errorf("%s. What it asks for can't be had: %w", letGoMessage(before.GetName()), r.Err))
		return news
	}

	preserved := preserve(req, rsp, before.Status.GetCondition(xpv1.TypeReady).Status == corev1.ConditionTrue)
	switch {
	case !preserved:
		response.Fatal(rsp, r.Err)
	case news:
		response.Warning(rsp, r.Err).WithReason(r.Reason)
	}
	return news
}
