package tenant

import (
	batchv1 "k8s.io/api/batch/v1"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// What a response leaves out, Crossplane doesn't refer to any more, and so it
// isn't observed any more, however long it takes to go: a Job until its pod has
// stopped, a Database until nobody is connected to it. To see something gone, it
// has to be required.
//
// requirementJobs are all Jobs with the tenant's label, nightly ones too.
const requirementJobs = "jobs"

// databaseObject returns the object of the tenant's name, composed or not, and
// whether it has been looked for. Whoever asks needs toSeeDatabase.
func (t *tenant) databaseObject() (object *sqlv1alpha1.Database, known bool) {
	if t.observed.database != nil {
		return t.observed.database, true
	}
	return t.observed.anyDatabase, t.observed.anyDatabaseKnown
}

// toSeeDatabase is what it takes to see the object of the tenant's name.
func (t *tenant) toSeeDatabase() plan.Needs {
	if t.observed.database != nil {
		return plan.Needs{}
	}
	return plan.Require(keyDatabase, place{sqlv1alpha1.DatabaseGroupVersionKind, t.platform.Postgres.Namespace, t.xr.GetName()}.selector())
}

// stillWorking returns the Jobs that work for the tenant and aren't part of its
// teardown. Until it is known whether there are any, known is false. Whoever asks needs
// toSeeJobs.
func (t *tenant) stillWorking() (jobs []batchv1.Job, known bool) {
	for _, job := range t.observed.anyJobs {
		over := plan.JobCondition(&job, batchv1.JobFailed) != nil
		if _, completed := plan.CompletedAt(&job); !over && !completed && !isTeardownEffect(job.GetAnnotations()[annotationResourceName]) {
			jobs = append(jobs, job)
		}
	}
	return jobs, t.observed.anyJobsKnown
}

// toSeeJobs is what it takes to see all Jobs with the labels of the tenant's, composed or
// not. An earlier tenant of its name may have left some behind. Another kind's Jobs, which
// may be about the same tenant, are none of them.
func (t *tenant) toSeeJobs() plan.Needs {
	return plan.Require(requirementJobs, &fnv1.ResourceSelector{
		ApiVersion: batchv1.SchemeGroupVersion.String(),
		Kind:       "Job",
		Match: &fnv1.ResourceSelector_MatchLabels{MatchLabels: &fnv1.MatchLabels{
			Labels: map[string]string{labelName: kindName, labelTenant: t.xr.Spec.Subdomain},
		}},
	})
}

// annotationResourceName is where Crossplane writes a composed resource's key.
const annotationResourceName = "crossplane.io/composition-resource-name"
