package tenant

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// filestoreClone gives the tenant the files of its template.
func filestoreClone(t *tenant) jobSpec {
	env := append(filestoreEnv(), plainEnv("TEMPLATE_DATABASE", t.template.database))
	return jobSpec{
		key:       effectFilestoreClone,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectFilestoreClone, env), t.withFilestore()) },
	}
}

// filestoreWipe removes the tenant's files.
func filestoreWipe(t *tenant) jobSpec {
	return jobSpec{
		key:       effectFilestoreWipe,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			// Not whether it did adopt something: the database is gone by now.
			adopted := plainEnv("TENANT_ADOPTED", strconv.FormatBool(t.xr.Spec.Database.Adopt))
			return t.pod(t.container(effectFilestoreWipe, append(filestoreEnv(), adopted)), t.withFilestore())
		},
	}
}
