package fn

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// clientProvisioned puts the event into the stream that starts, among other
// things, the welcome mail.
func clientProvisioned(t *tenancy) jobSpec {
	return jobSpec{
		key:       effectClientProvisioned,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       t.pod(t.container(effectClientProvisioned, t.eventEnv())),
	}
}

// eventEnv tells an effect where events go.
func (t *tenancy) eventEnv() []corev1.EnvVar {
	e := t.platform.Events
	return []corev1.EnvVar{
		{Name: "REDIS_ADDRESS", Value: e.Address},
		secretEnv("REDIS_PASSWORD", e.PasswordSecret),
		{Name: "REDIS_TLS", Value: strconv.FormatBool(e.TLS)},
		{Name: "EVENT_STREAM", Value: verbatim(e.Stream)},
		{Name: "EVENT_SOURCE", Value: verbatim(e.Source)},
	}
}
