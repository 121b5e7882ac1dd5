package tenant

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// matrixRoomCreate makes the tenant's support room.
func matrixRoomCreate(t *tenant) jobSpec {
	invite := []corev1.EnvVar{plainEnv("MATRIX_INVITE", strings.Join(t.platform.Matrix.Invite, ","))}
	return jobSpec{
		key:       effectMatrixRoomCreate,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectMatrixRoomCreate, t.matrixEnv(), invite)) },
	}
}

// matrixEnv tells an effect which room, and how to reach the homeserver.
func (t *tenant) matrixEnv() []corev1.EnvVar {
	m := t.platform.Matrix
	return append([]corev1.EnvVar{
		plainEnv("MATRIX_HOMESERVER", m.Homeserver),
		plainEnv("MATRIX_SERVER_NAME", m.ServerName),
		secretEnv("MATRIX_ACCESS_TOKEN", m.TokenSecret),
		plainEnv("MATRIX_ROOM", t.supportRoom()),
	}, t.matrixAuthority().env()...)
}

// matrixRoomRetire marks the support room inactive.
func matrixRoomRetire(t *tenant) jobSpec {
	return jobSpec{
		key:       effectMatrixRoomRetire,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectMatrixRoomRetire, t.matrixEnv())) },
	}
}
