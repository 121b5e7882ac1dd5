package tenant

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/wire"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// A tenant is all that a request says of one PLANAClient, decoded once. Nothing changes
// it.
type tenant struct {
	// xr is the composite resource, with its defaults.
	xr *v1alpha1.PLANAClient

	// platform is the installation; version and tier are the parts of it that
	// are this tenant's.
	platform *v1beta1.Platform
	version  *v1beta1.Version
	tier     *v1beta1.Tier

	// formerTier is what the status says the tenant has: the same, unless it is being
	// moved to another.
	formerTier *v1beta1.Tier

	// odooVersion is the version that the tenant is on, or will be created
	// with. It differs from the spec's while an upgrade is pending.
	odooVersion v1alpha1.OdooVersion

	// database is the name of the tenant's database, and of its host and
	// filestore directory too.
	database string

	// observed are the tenant's composed and required resources.
	observed *observed

	// template is the database that the tenant's is cloned from.
	template template

	// Effects are what the tenant's Jobs have done.
	plan.Effects

	// now is when the request is answered. What is applied doesn't depend on
	// it, except that the moment in which something is first seen is recorded.
	now metav1.Time
}

// newTenant of a composite and a Platform that are valid. What the status remembers may
// still be of a version or a tier that this function doesn't know.
func newTenant(xr *v1alpha1.PLANAClient, platform *v1beta1.Platform, obs *observed, now time.Time) (*tenant, error) {
	odooVersion := versionOf(xr, obs.database)
	version, err := platform.Version(odooVersion)
	if err != nil {
		return nil, fmt.Errorf("status.odooVersion of the PLANAClient: %w: is this function older than what set it up?", err)
	}
	tier, err := platform.Tier(xr.Spec.Tier)
	if err != nil {
		return nil, fmt.Errorf("spec.tier of the PLANAClient: %w", err)
	}
	former := tier
	if xr.Status.Tier != "" {
		if former, err = platform.Tier(xr.Status.Tier); err != nil {
			return nil, fmt.Errorf("status.tier of the PLANAClient: %w: is this function older than what set it up?", err)
		}
	}
	t := &tenant{
		xr:          xr,
		platform:    platform,
		version:     version,
		tier:        tier,
		formerTier:  former,
		odooVersion: odooVersion,
		database:    databaseName(xr, platform),
		observed:    obs,
		now:         metav1.NewTime(now.UTC().Truncate(time.Second)),
	}
	t.Effects = plan.NewEffects(obs.jobs, xr.Status.Effects, t.isOver)
	for i := range obs.anyJobs {
		// Crossplane may have lost sight of one, and what it has done is to be undone.
		job := &obs.anyJobs[i]
		if effect := job.GetAnnotations()[annotationResourceName]; t.controls(job) && slices.Contains(provisioningEffects, effect) {
			t.See(effect, job)
		}
	}
	t.template = t.chooseTemplate()
	return t, nil
}

// Exists tells whether a composed resource is observed.
func (t *tenant) Exists(key string) bool { return t.observed.exists(key) }

// Working tells whether the Job of a step is still needed, though the tenant doesn't
// need the step any more: it works, or the status has yet to say that it has completed.
// One that has failed is needed by nobody.
func (t *tenant) Working(key string) bool {
	job := t.Jobs[key]
	run := t.runOfStage(key)
	return job != nil && plan.RunOf(job) == run && !t.served(key, run) && plan.JobCondition(job, batchv1.JobFailed) == nil
}

// Begun returns the Job of a step that has begun, until the status says that it is done.
func (t *tenant) Begun(key string) plan.Composed {
	run := t.runOfStage(key)
	if job := t.Jobs[key]; job != nil && plan.RunOf(job) == run && !t.served(key, run) {
		return t.preserved(key)
	}
	return plan.Composed{}
}

// versionOf Odoo that a tenant is on, or will be created with.
func versionOf(xr *v1alpha1.PLANAClient, db *sqlv1alpha1.Database) v1alpha1.OdooVersion {
	recorded := xr.Status.OdooVersion
	switch {
	case recorded != "" && xr.Status.DatabaseUID != "":
		return recorded
	case db == nil:
		return xr.Spec.OdooVersion
	}
	// The version that was asked for may have changed since the database was
	// composed, and what the status says may be of an object before this one.
	if v := v1alpha1.OdooVersion(db.GetLabels()[labelOdooVersion]); slices.Contains(versions, v) {
		return v
	}
	return cmp.Or(recorded, xr.Spec.OdooVersion)
}

// databaseName of a tenant, which is its host's too.
func databaseName(xr *v1alpha1.PLANAClient, platform *v1beta1.Platform) string {
	if s := xr.Status; s.DatabaseUID != "" && s.DatabaseName != "" {
		// A Platform with another domain must not lead this tenant's Database
		// object to a database of that name, which would pass for proven.
		return s.DatabaseName
	}
	return xr.Spec.Subdomain + "." + platform.Domain
}

// wasReady tells whether the tenant was Ready when it was last reconciled.
func (t *tenant) wasReady() bool {
	return t.xr.Status.GetCondition(xpv1.TypeReady).Status == corev1.ConditionTrue
}

// url at which the tenant is reached.
func (t *tenant) url() string {
	return "https://" + t.database
}

// releaseRole is the role that Odoo of the tenant's version logs in as.
func (t *tenant) releaseRole() string {
	return t.version.DatabaseRole
}

// isReleaseRole tells whether some version's Odoo logs in as a role. The tenant may
// have been served by another one, before its version had a role of its own.
func (t *tenant) isReleaseRole(role string) bool {
	return slices.Contains(t.platform.ReleaseRoles(), role)
}

// supportRoom is the name and alias of the tenant's Matrix room.
func (t *tenant) supportRoom() string {
	return fmt.Sprintf("support-%s-%03d", t.xr.Spec.Subdomain, t.xr.Spec.ProjectID)
}

// jobName of one of the tenant's effects.
func (t *tenant) jobName(effect string) string {
	return fmt.Sprintf("%s-%s-%d", effect, t.xr.Spec.Subdomain, t.xr.Spec.ProjectID)
}

// objectMeta of an object of the tenant.
func (t *tenant) objectMeta(namespace, name, component string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: t.labels(component)}
}

// labels of an object of the tenant.
func (t *tenant) labels(component string) map[string]string {
	return map[string]string{
		labelName:                      kindName,
		"app.kubernetes.io/instance":   t.xr.Spec.Subdomain,
		"app.kubernetes.io/component":  component,
		"app.kubernetes.io/part-of":    "plana-pulse",
		"app.kubernetes.io/managed-by": "function-planaclient",
		labelTenant:                    t.xr.Spec.Subdomain,
		labelTier:                      string(t.xr.Spec.Tier),
		labelOdooVersion:               string(t.odooVersion),
	}
}

// Labels that are this project's own.
const (
	ownPrefix = "planapulse.com/"

	// labelName is the kind of composite that an object belongs to: another kind's Jobs
	// may be about the same tenant.
	labelName = "app.kubernetes.io/name"
	kindName  = "planaclient"

	labelTenant      = ownPrefix + "tenant"
	labelTier        = ownPrefix + "tier"
	labelOdooVersion = ownPrefix + "odoo-version"
)

// readClient reads the composite resource, and applies the defaults that the
// XRD documents: a rendered preview hasn't met the API server.
func readClient(xr *structpb.Struct) (*v1alpha1.PLANAClient, error) {
	if xr == nil {
		return nil, errors.New("the request has no composite resource")
	}
	c := &v1alpha1.PLANAClient{}
	if err := wire.Decode(xr, c, wire.Spec, wire.Status); err != nil {
		return nil, fmt.Errorf("cannot read the PLANAClient: %w", err)
	}
	if c.Spec.Tier == "" {
		c.Spec.Tier = v1alpha1.TierStarter
	}
	if c.Spec.OdooVersion == "" {
		c.Spec.OdooVersion = v1alpha1.OdooVersion18
	}
	return c, nil
}

// sortedKeys of a map, for all that must come out the same every time.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
