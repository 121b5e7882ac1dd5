package tenant

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// requirementQuota is the required resource that limits the tenant's version
// namespace.
const requirementQuota = "quota"

// noRoom says why a Job's pod doesn't fit into its namespace, if it doesn't. Such a
// Job would be retried and fail at its deadline, having done nothing.
func (t *tenant) noRoom(s jobSpec) plan.Result {
	if s.namespace != t.version.Namespace {
		return plan.Result{}
	}
	return plan.Say(t.quotaInTheWay(s)).With(plan.Require(requirementQuota, &fnv1.ResourceSelector{
		ApiVersion: "v1",
		Kind:       "ResourceQuota",
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: t.platform.Quota.Name},
		Namespace:  &s.namespace,
	}))
}

// quotaInTheWay of a Job, as far as it is known.
func (t *tenant) quotaInTheWay(s jobSpec) plan.Outcome {
	quota := t.observed.quota
	switch {
	case !t.observed.quotaKnown:
		return plan.Pending(reasonWaiting, "it isn't known yet whether namespace %s has room", s.namespace)
	case quota == nil || len(quota.Spec.Scopes) > 0 || quota.Spec.ScopeSelector != nil:
		return plan.Outcome{}
	}

	room := true
	var needs []string
	pod := s.pod()
	need := demand(&pod)
	for _, name := range sortedKeys(need) {
		hard, limited := quota.Status.Hard[corev1.ResourceName(name)]
		if !limited {
			continue
		}
		q := need[name]
		needs = append(needs, fmt.Sprintf("%s %s of %s", name, q.String(), hard.String()))
		after := quota.Status.Used[corev1.ResourceName(name)].DeepCopy()
		after.Add(q)
		room = room && after.Cmp(hard) <= 0
	}
	if room {
		return plan.Outcome{}
	}
	// What is used isn't said: it changes with every pod, and would be written to
	// the status of every tenant that waits, each of which Crossplane looks at again
	// because of that.
	o := troubleQuota.Outcome(map[string]string{"namespace": s.namespace, "quota": t.platform.Quota.Name},
		"ResourceQuota %s/%s has no room for the pod of Job %s, which needs %s", s.namespace, t.platform.Quota.Name, t.jobName(s.key), strings.Join(needs, ", "))
	// Nobody has to act: running Jobs end, and then there is room.
	o.State = plan.StatePending
	return o
}

// demand of a pod on a quota, by the quota's names. Init containers run one
// after the other, before the others: the largest counts, if it exceeds them.
func demand(pod *corev1.PodSpec) map[string]resource.Quantity {
	sum := map[string]resource.Quantity{}
	add := func(name string, q resource.Quantity) {
		total := sum[name]
		total.Add(q)
		sum[name] = total
	}
	for i := range pod.Containers {
		eachDemand(&pod.Containers[i], add)
	}
	for i := range pod.InitContainers {
		eachDemand(&pod.InitContainers[i], func(name string, q resource.Quantity) {
			if most := sum[name]; q.Cmp(most) > 0 {
				sum[name] = q
			}
		})
	}
	one := *resource.NewQuantity(1, resource.DecimalSI)
	for _, name := range []string{"pods", "count/pods", "count/jobs.batch"} {
		sum[name] = one
	}
	return sum
}

// eachDemand calls a function with what a container asks for, under every name
// that a quota may have for it.
func eachDemand(c *corev1.Container, do func(name string, q resource.Quantity)) {
	for name, q := range c.Resources.Requests {
		do(string(name), q)
		do("requests."+string(name), q)
	}
	for name, q := range c.Resources.Limits {
		do("limits."+string(name), q)
	}
}
