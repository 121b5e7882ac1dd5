package fn

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
)

// requirementQuota is the required resource that limits the tenant's version
// namespace.
const requirementQuota = "quota"

// noRoom says why a Job's pod doesn't fit into its namespace, if it doesn't. Such a
// Job would be retried and fail at its deadline, having done nothing.
func (t *tenancy) noRoom(s jobSpec) outcome {
	if s.namespace != t.version.Namespace {
		return outcome{}
	}

	t.require(requirementQuota, &fnv1.ResourceSelector{
		ApiVersion: "v1",
		Kind:       "ResourceQuota",
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: t.platform.Quota.Name},
		Namespace:  &s.namespace,
	})

	quota := t.observed.quota
	switch {
	case !t.observed.quotaKnown:
		return waits(reasonWaiting, "it isn't known yet whether namespace %s has room", s.namespace)
	case quota == nil || len(quota.Spec.Scopes) > 0 || quota.Spec.ScopeSelector != nil:
		return outcome{}
	}

	var short []string
	pod := s.pod()
	need := demand(&pod)
	for _, name := range sortedKeys(need) {
		hard, limited := quota.Status.Hard[corev1.ResourceName(name)]
		if !limited {
			continue
		}
		used := quota.Status.Used[corev1.ResourceName(name)]
		after := used.DeepCopy()
		after.Add(need[name])
		if after.Cmp(hard) > 0 {
			q := need[name]
			short = append(short, fmt.Sprintf("%s: needs %s, %s of %s used", name, q.String(), used.String(), hard.String()))
		}
	}
	if len(short) == 0 {
		return outcome{}
	}
	o := troubleQuota.outcome(map[string]string{"namespace": s.namespace, "quota": t.platform.Quota.Name},
		"Job %s doesn't fit under ResourceQuota %s/%s (%s)", t.jobName(s.key), s.namespace, t.platform.Quota.Name, strings.Join(short, "; "))
	// Nobody has to act: running Jobs end, and then there is room.
	o.state = waiting
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
