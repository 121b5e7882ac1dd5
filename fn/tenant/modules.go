package tenant

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// odooHome is where Odoo keeps what it writes.
const odooHome = "/var/lib/odoo"

// moduleInstall has Odoo itself fill an empty database with the tier's modules.
func moduleInstall(t *tenant) jobSpec {
	return t.install(effectModuleInstall, t.tier.Modules)
}

// install modules with Odoo itself. It exits with 0 even where a module doesn't
// exist, so what it has done is verified by an effect.
func (t *tenant) install(key string, names []string) jobSpec {
	modules := strings.Join(names, ",")
	files := t.withFilestore()
	if key == effectTierModules {
		// By then the tenant has a directory.
		files = t.withOwnFiles(t.version.FilestoreClaim, false)
	}
	env := append(t.odooEnv(), plainEnv("ODOO_MODULES", modules))

	args := []string{
		"--database=" + t.database,
		"--init=" + modules,
		"--data-dir=" + odooHome,
		"--stop-after-init",
		"--no-http",
		// Odoo has a default of its own, prefer, and takes no other from libpq's
		// environment.
		"--db_sslmode=" + t.platform.Postgres.SSLMode,
	}
	if t.odooVersion < "19" {
		// From 19 on, Odoo installs no demonstration data unless it is asked to.
		args = append(args, "--without-demo=all")
	}

	install := corev1.Container{
		Name:    "odoo",
		Image:   t.version.Image,
		Command: []string{"odoo"},
		Args:    args,
		// Odoo's own role doesn't own the database yet: else it would be listed while
		// half installed.
		Env:             env,
		Resources:       requirements(t.platform.Effects.InstallResources),
		SecurityContext: restricted(),
	}

	return jobSpec{
		key:       key,
		namespace: t.version.Namespace,
		deadline:  t.platform.Effects.InstallDeadline.Duration,
		pod: func() corev1.PodSpec {
			return t.pod(t.container("module-verify", env),
				withInit(t.container("module-grant", env)),
				withInit(install),
				withScratch("home", odooHome, *t.platform.Effects.ScratchLimit),
				withScratch("tmp", "/tmp", *t.platform.Effects.ScratchLimit),
				files,
			)
		},
	}
}
