package fn

// tenantPrepare makes a clone this tenant's: fresh secrets, its own address, its
// owner as admin.
func tenantPrepare(t *tenancy) jobSpec {
	return jobSpec{
		key:       effectTenantPrepare,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.Deadline.Duration,
		pod:       t.pod(t.container(effectTenantPrepare, t.postgresEnv())),
	}
}
