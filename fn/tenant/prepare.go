package tenant

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// tenantPrepare makes a clone this tenant's: fresh secrets, its own address, its
// owner as admin. One that was adopted is only marked as this tenant's: it has
// users who know their passwords.
func tenantPrepare(t *tenant) jobSpec {
	adopted := []corev1.EnvVar{plainEnv("TENANT_ADOPTED", strconv.FormatBool(t.adopted()))}
	return jobSpec{
		key:       effectTenantPrepare,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectTenantPrepare, t.odooEnv(), adopted)) },
	}
}
