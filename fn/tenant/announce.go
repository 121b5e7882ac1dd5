package tenant

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// clientProvisioned puts the event into the stream that starts, among other
// things, the welcome mail.
func clientProvisioned(t *tenant) jobSpec {
	return jobSpec{
		key:       effectClientProvisioned,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectClientProvisioned, t.eventEnv())) },
	}
}

// eventEnv tells an effect where events go.
func (t *tenant) eventEnv() []corev1.EnvVar {
	e := t.platform.Events
	env := []corev1.EnvVar{
		plainEnv("REDIS_ADDRESS", e.Address),
		secretEnv("REDIS_PASSWORD", e.PasswordSecret),
		plainEnv("REDIS_TLS", strconv.FormatBool(e.TLS)),
		plainEnv("EVENT_STREAM", e.Stream),
		plainEnv("EVENT_SOURCE", e.Source),
	}
	if e.Username != "" {
		env = append(env, plainEnv("REDIS_USERNAME", e.Username))
	}
	return append(env, t.eventAuthority().env()...)
}

// clientDeprovisioned puts the event into the stream.
func clientDeprovisioned(t *tenant) jobSpec {
	return jobSpec{
		key:       effectClientDeprovisioned,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.pod(t.container(effectClientDeprovisioned, t.eventEnv())) },
	}
}
