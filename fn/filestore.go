package fn

import corev1 "k8s.io/api/core/v1"

// filestoreClone gives the tenant the files of its template.
func filestoreClone(t *tenancy) jobSpec {
	env := append(filestoreEnv(), corev1.EnvVar{Name: "TEMPLATE_DATABASE", Value: t.template.database})
	return jobSpec{
		key:       effectFilestoreClone,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       t.pod(t.container(effectFilestoreClone, env), t.withFilestore()),
	}
}
