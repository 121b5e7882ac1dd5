package fn

import corev1 "k8s.io/api/core/v1"

// filestoreClone gives the tenant the files of its template.
func filestoreClone(t *tenancy) jobSpec {
	env := append(filestoreEnv(), plainEnv("TEMPLATE_DATABASE", t.template.database))
	return jobSpec{
		key:       effectFilestoreClone,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectFilestoreClone, env), t.withFilestore()) },
	}
}
