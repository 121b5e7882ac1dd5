package tenant

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// smokeTest asks a worker for the tenant's login page. An accepted route says
// nothing of what answers behind it.
func smokeTest(t *tenant) jobSpec {
	worker := fmt.Sprintf("http://%s.%s.svc:%d", t.version.WorkerService, t.version.Namespace, t.version.HTTPPort)
	return jobSpec{
		key:       effectSmokeTest,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container(effectSmokeTest, []corev1.EnvVar{plainEnv("SMOKE_URL", worker)}))
		},
	}
}
