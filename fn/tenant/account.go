package tenant

import corev1 "k8s.io/api/core/v1"

// accountWebhook tells the account portal of the tenant.
func accountWebhook(t *tenant) jobSpec {
	return jobSpec{
		key:       effectAccountWebhook,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container(effectAccountWebhook, t.accountEnv("tenant.provisioned")))
		},
	}
}

// accountEnv tells an effect what to tell the portal, and how.
func (t *tenant) accountEnv(event string) []corev1.EnvVar {
	a := t.platform.Account
	return append([]corev1.EnvVar{
		plainEnv("ACCOUNT_WEBHOOK_URL", a.WebhookURL),
		secretEnv("ACCOUNT_WEBHOOK_SECRET", a.SigningSecret),
		plainEnv("ACCOUNT_EVENT", event),
	}, t.accountAuthority().env()...)
}

// deprovisionWebhook tells the account portal that the tenant is gone.
func deprovisionWebhook(t *tenant) jobSpec {
	return jobSpec{
		key:       effectDeprovisionWebhook,
		namespace: t.platform.Effects.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container(effectAccountWebhook, t.accountEnv("tenant.deprovisioned")))
		},
	}
}
