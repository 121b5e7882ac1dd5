package fn

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	corev1 "k8s.io/api/core/v1"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// How long a response holds. Crossplane watches everything that a tenant
// composes and requires, so these only catch what no watch tells.
const (
	// soon, when the next thing may be done as soon as this one is recorded.
	soon = time.Second

	// ttlSettling while something is expected. Crossplane stops listening to
	// watches once a tenant has changed some fifty times within a minute or two,
	// which one that comes to be quickly does: then it asks again by this alone.
	ttlSettling = 5 * time.Second

	// ttlStuck while it is somebody's turn to act, which may take days.
	ttlStuck = time.Minute

	// ttlUnwatched while it has stopped listening, which it does for five minutes,
	// and ttlUnwatchedAtRest once the tenant is as it should be: all that is missed
	// then is somebody who wants something else of it.
	ttlUnwatched       = time.Second
	ttlUnwatchedAtRest = 10 * time.Second

	// ttlSettled while nothing is. A tenant at rest is looked at again all the
	// same, as often as Crossplane looks at everything (--sync-interval). With
	// Crossplane's response cache those looks don't come here for as long as this.
	ttlSettled = 24 * time.Hour
)

// Reasons of conditions.
const (
	reasonAvailable  = "Available"
	reasonCompleted  = "Completed"
	reasonNotNeeded  = "NotNeeded"
	reasonWaiting    = "Waiting"
	reasonCreating   = "Creating"
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
func respond(rsp *fnv1.RunFunctionResponse, t *tenancy, p *progress) error {
	for _, key := range sortedKeys(p.composed) {
		r, err := p.composed[key].wire()
		if err != nil {
			return fmt.Errorf("cannot compose %q: %w", key, err)
		}
		compose(rsp, key, r, p.ready[key])
	}

	status, err := structOf(t.status(p))
	if err != nil {
		return fmt.Errorf("cannot write the status: %w", err)
	}
	setStatus(rsp, status, p.finished)

	t.reportAccepted(rsp)
	t.reportUpgrade(rsp)
	for _, c := range p.conditions {
		t.report(rsp, c)
	}
	if p.finished && !t.wasReady() {
		response.Normalf(rsp, "Tenant %s is ready at %s", t.client.GetName(), t.url()).WithReason(reasonAvailable)
	}

	if len(t.wanted) > 0 {
		rsp.Requirements = &fnv1.Requirements{Resources: t.wanted}
	}
	t.callAgain(t.patience(p))
	rsp.Meta.Ttl = durationpb.New(t.again)
	return nil
}

// patience is how long a tenant may stand as it does before it is looked at again,
// where no step has asked for less.
func (t *tenancy) patience(p *progress) time.Duration {
	atRest := p.finished && !p.moves()
	switch {
	case t.unwatched() && atRest:
		return ttlUnwatchedAtRest
	case t.unwatched():
		return ttlUnwatched
	case p.moves():
		return ttlSettling
	case !p.finished:
		return ttlStuck
	default:
		return ttlSettled
	}
}

// unwatched tells whether Crossplane has stopped listening to what happens to the
// tenant's resources, for fear of a loop. What was asked for may have been done,
// and no watch tells.
func (t *tenancy) unwatched() bool {
	return t.condition(conditionResponsive).Status == corev1.ConditionFalse
}

// compose adds a resource to the desired state.
func compose(rsp *fnv1.RunFunctionResponse, key string, r *structpb.Struct, ready bool) {
	if rsp.Desired.Resources == nil {
		rsp.Desired.Resources = map[string]*fnv1.Resource{}
	}
	rsp.Desired.Resources[key] = &fnv1.Resource{Resource: r, Ready: readiness(ready)}
}

// setStatus of the composite resource. Whatever a status leaves out is erased, so
// what earlier functions of the pipeline desire of it stays, but for the fields that
// are this function's.
func setStatus(rsp *fnv1.RunFunctionResponse, status *structpb.Struct, ready bool) {
	xr := rsp.GetDesired().GetComposite()
	if xr == nil {
		xr = &fnv1.Resource{}
		rsp.Desired.Composite = xr
	}
	if xr.GetResource() == nil {
		xr.Resource = &structpb.Struct{}
	}
	if xr.Resource.Fields == nil {
		xr.Resource.Fields = map[string]*structpb.Value{}
	}
	if before := xr.GetResource().GetFields()[partStatus].GetStructValue(); before != nil {
		status = merged(before, status)
	}
	xr.Resource.Fields[partStatus] = structpb.NewStructValue(status)

	// Crossplane calls a composite ready once all that it composes is. This one
	// begins with the guard alone, and would be Ready at once. When the plan is
	// finished it is left to Crossplane, which knows what other functions in the
	// pipeline wait for.
	if !ready {
		xr.Ready = fnv1.Ready_READY_FALSE
	}
}

// merged returns one struct over another. Structs that both have are merged too; of
// everything else the upper one's value counts. Neither is changed.
func merged(under, over *structpb.Struct) *structpb.Struct {
	out := &structpb.Struct{Fields: maps.Clone(under.GetFields())}
	if out.Fields == nil {
		out.Fields = map[string]*structpb.Value{}
	}
	for name, v := range over.GetFields() {
		below, above := out.GetFields()[name].GetStructValue(), v.GetStructValue()
		if below != nil && above != nil {
			v = structpb.NewStructValue(merged(below, above))
		}
		out.Fields[name] = v
	}
	return out
}

func readiness(ready bool) fnv1.Ready {
	if ready {
		return fnv1.Ready_READY_TRUE
	}
	return fnv1.Ready_READY_FALSE
}

// status says what the tenant is.
func (t *tenancy) status(p *progress) *v1alpha1.PLANAClientStatus {
	b := t.platform.Backup
	s := &v1alpha1.PLANAClientStatus{
		URL:          t.url(),
		Namespace:    t.version.Namespace,
		DatabaseName: t.database,
		DatabaseUID:  t.client.Status.DatabaseUID,
		OdooVersion:  t.client.Status.OdooVersion,
		ProjectID:    t.client.Status.ProjectID,
		Tier:         t.tierInService(),
		MatrixRoom:   t.supportRoom(),
		Effects:      t.ledger,
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
		s.ProjectID = t.client.Spec.ProjectID
	}
	if t.ownsDatabase() {
		s.DatabaseUID = string(t.observed.database.GetUID())
	}
	// Of a database that isn't proven to be this tenant's, nobody knows it.
	if t.ownsDatabase() && available(t.observed.database) {
		s.Template = t.template.database
	} else {
		s.Template = t.client.Status.Template
	}
	if t.observed.backup != nil {
		s.Backup.LastSuccessfulTime = t.observed.backup.Status.LastSuccessfulTime
	} else if last := t.client.Status.Backup; last != nil {
		s.Backup.LastSuccessfulTime = last.LastSuccessfulTime
	}
	return s
}

// report a condition and, when it has just come to need somebody, an event.
// Crossplane throttles events, so they are for transitions alone.
func (t *tenancy) report(rsp *fnv1.RunFunctionResponse, c condition) {
	o := c.outcome
	if o.ok() {
		response.ConditionTrue(rsp, c.typ, o.reason).WithMessage(o.message)
	} else {
		response.ConditionFalse(rsp, c.typ, o.reason).WithMessage(o.message)
	}

	wants := o.state == failed || o.state == ailing
	if wants && t.condition(c.typ).Reason != xpv1.ConditionReason(o.reason) {
		response.Warning(rsp, errors.New(c.typ+": "+o.message)).WithReason(o.reason)
	}
}

// reportUpgrade says that the tenant isn't on the version that is asked for. It
// goes on serving on the one that it is on.
func (t *tenancy) reportUpgrade(rsp *fnv1.RunFunctionResponse) {
	wanted := t.client.Spec.OdooVersion
	if wanted != t.odooVersion {
		response.ConditionTrue(rsp, conditionUpgradePending, reasonUpgradeNotBuilt).WithMessage(fmt.Sprintf(
			"this tenant stays on Odoo %s, and in service: upgrading to %s isn't supported yet. To end this notice: "+
				"kubectl patch planaclient %s --type merge -p '{\"spec\":{\"odooVersion\":\"%s\"}}'", t.odooVersion, wanted, t.client.GetName(), t.odooVersion))
		return
	}
	response.ConditionFalse(rsp, conditionUpgradePending, reasonUpToDate)
}

// condition of the PLANAClient as it was when this request was made.
func (t *tenancy) condition(typ string) xpv1.Condition {
	return t.client.Status.GetCondition(xpv1.ConditionType(typ))
}

// knows tells whether the PLANAClient has a condition at all.
func (t *tenancy) knows(typ string) bool {
	return t.condition(typ).Reason != ""
}

// reportAccepted says that the spec and the Platform can be used.
func (t *tenancy) reportAccepted(rsp *fnv1.RunFunctionResponse) {
	c := response.ConditionTrue(rsp, conditionAccepted, reasonAccepted)
	switch {
	case t.waiver() == "":
	case t.waiver() == t.spentWaiver():
		c.WithMessage(fmt.Sprintf("annotation %[1]s is spent: it was for a delete that was cancelled. The next delete makes a last backup, unless it is waived anew: kubectl annotate planaclient %[2]s --overwrite %[1]s=%[3]s",
			annotationSkipFinalBackup, t.client.GetName(), t.nextWaiver()))
	default:
		c.WithMessage(fmt.Sprintf("annotation %[1]s is in force: a delete makes NO last backup. To have one made: kubectl annotate planaclient %[2]s %[1]s-",
			annotationSkipFinalBackup, t.client.GetName()))
	}
	effect, _, _ := strings.Cut(t.client.GetAnnotations()[annotationRerun], "/")
	if effect != "" && !slices.Contains(provisioningEffects, effect) {
		c.WithMessage(fmt.Sprintf("annotation %s is ignored: %q can't be run again. It may be one of: %s",
			annotationRerun, effect, strings.Join(provisioningEffects, ", ")))
	}
}

// A refusal of a request from which nothing may be concluded.
type refusal struct {
	// reason of condition Accepted.
	reason string
	err    error
}

// refuse a request. A tenant that has something keeps all of it, just as it is;
// one that has nothing gets nothing, and nor does one that is let go of, to which
// what it has would be given back. It tells whether this is the first time that it
// says so.
func refuse(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, r *refusal) (news bool) {
	before := &v1alpha1.PLANAClient{}
	// What can't be read has no conditions to compare with.
	_ = decode(req.GetObserved().GetComposite().GetResource(), before, partStatus)
	news = before.Status.GetCondition(conditionAccepted).Message != r.err.Error()
	response.ConditionFalse(rsp, conditionAccepted, r.reason).WithMessage(r.err.Error())

	var guard *protectionv1beta1.ClusterUsage
	xr := req.GetObserved().GetComposite().GetResource()
	if r := req.GetObserved().GetResources()[keyGuard].GetResource(); r != nil {
		// One that can't be read is there all the same.
		if stranger, _ := strange(xr, r, keyGuard); stranger == nil {
			guard, _ = decoded[protectionv1beta1.ClusterUsage](r)
		}
	}
	if orphaning(before) && unguarded(guard) {
		response.Fatal(rsp, fmt.Errorf("%s. What it asks for can't be had: %w", letGoMessage(before.GetName()), r.err))
		return news
	}

	kept := keep(req, rsp, before.Status.GetCondition(xpv1.TypeReady).Status == corev1.ConditionTrue)
	switch {
	case !kept:
		response.Fatal(rsp, r.err)
	case news:
		response.Warning(rsp, r.err).WithReason(r.reason)
	}
	return news
}
