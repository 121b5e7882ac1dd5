package v1beta1

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// Default every field that isn't set. A pipeline's input never meets the API
// server, so nothing but this applies the defaults that the CRD documents.
func (p *Platform) Default() {
	set(&p.Domain, "planapulse.app")

	set(&p.Postgres.Namespace, "crossplane-system")
	set(&p.Postgres.ClusterProviderConfig, "pg01")
	set(&p.Postgres.Host, "pg01.planapulse.com")
	set(&p.Postgres.Port, 5432)
	set(&p.Postgres.SSLMode, "require")
	set(&p.Postgres.ProvisioningRole, "plana")
	set(&p.Postgres.CredentialsSecret, "provider-sql-postgres-creds")
	set(&p.Postgres.OdooRole, "odoo")
	set(&p.Postgres.OdooSecret, "odoo-postgres-creds")
	set(&p.Postgres.BackupRole, "plana_backup")
	set(&p.Postgres.BackupSecret, "postgres-backup-creds")

	set(&p.Gateway.Namespace, "plana-odoo")
	set(&p.Gateway.Name, "eg-gateway")
	set(&p.Gateway.ControllerName, "gateway.envoyproxy.io/gatewayclass-controller")
	if p.Gateway.PathExpressions == nil {
		p.Gateway.PathExpressions = ptr.To(slices.Contains(matchExpressions, p.Gateway.ControllerName))
	}

	set(&p.Filestore.UserID, 101)
	set(&p.Filestore.GroupID, 101)

	p.Versions.V17.setDefaults("plana-odoo", v1alpha1.OdooVersion17, p.Postgres)
	p.Versions.V18.setDefaults("plana-odoo-18", v1alpha1.OdooVersion18, p.Postgres)
	p.Versions.V19.setDefaults("plana-odoo-19", v1alpha1.OdooVersion19, p.Postgres)

	basic := []string{"account", "calendar", "contacts", "crm", "mail", "project", "sale_management", "web"}
	pro := append(slices.Clone(basic), "hr", "purchase", "stock", "subscription_oca")
	p.Tiers.Starter.setDefaults("basic", 30, basic)
	p.Tiers.Pro.setDefaults("pro", 90, pro)
	p.Tiers.Enterprise.setDefaults("pro", 365, pro)

	set(&p.Effects.Namespace, "crossplane-system")
	set(&p.Effects.Image, "plana-pulse/function-planaclient-effects:v0.1.0")
	p.Effects.Resources.setDefaults(resources("50m", "64Mi"), resources("500m", "256Mi"))
	p.Effects.InstallResources.setDefaults(resources("500m", "512Mi"), resources("1", "2Gi"))
	set(&p.Effects.Deadline, metav1.Duration{Duration: 10 * time.Minute})
	set(&p.Effects.InstallDeadline, metav1.Duration{Duration: time.Hour})
	if p.Effects.ScratchLimit == nil {
		p.Effects.ScratchLimit = ptr.To(resource.MustParse("2Gi"))
	}
	if p.Effects.Retries == nil {
		p.Effects.Retries = ptr.To[int32](4)
	}

	set(&p.Backup.Namespace, "backup")
	set(&p.Backup.Repository, "s3:https://sos-bg-sof-1.exo.io/plana-backup")
	set(&p.Backup.Region, "bg-sof-1")
	set(&p.Backup.Window.Start, "01:00")
	set(&p.Backup.Window.Length, metav1.Duration{Duration: 4 * time.Hour})
	set(&p.Backup.Window.TimeZone, "Europe/Sofia")
	set(&p.Backup.RepositorySecret, SecretKey{Name: "backup-restic", Key: "password"})
	set(&p.Backup.StorageSecret, "backup-s3")
	set(&p.Backup.ReadBackNights, 14)
	set(&p.Backup.Deadline, metav1.Duration{Duration: 4 * time.Hour})
	if p.Backup.ScratchLimit == nil {
		p.Backup.ScratchLimit = ptr.To(resource.MustParse("10Gi"))
	}
	p.Backup.Resources.setDefaults(resources("100m", "256Mi"), resources("1", "1Gi"))

	set(&p.Matrix.Homeserver, "http://synapse.matrix.svc:8008")
	set(&p.Matrix.ServerName, "planapulse.com")
	set(&p.Matrix.TokenSecret, SecretKey{Name: "matrix-support-bot", Key: "access-token"})

	set(&p.Account.WebhookURL, "http://pulse-account-api.pulse-account.svc:8080/v1/webhooks/tenants")
	set(&p.Account.SigningSecret, SecretKey{Name: "account-webhook", Key: "secret"})

	set(&p.Events.Address, "redis.planapulse.com:6379")
	set(&p.Events.PasswordSecret, SecretKey{Name: "redis-credentials", Key: "password"})
	set(&p.Events.Stream, "PLANA:events")
	set(&p.Events.Source, "/planapulse.com/planaclients")

	for _, ca := range []*CABundle{p.Postgres.CASecret, p.Backup.CASecret, p.Matrix.CASecret, p.Account.CASecret, p.Events.CASecret} {
		ca.setDefaults()
	}

	set(&p.Quota.Name, "plana-quota")
	set(&p.Suspension.RedirectURL, "https://my.planapulse.ai/suspended")
	if p.Deletion.GracePeriod == nil {
		p.Deletion.GracePeriod = &metav1.Duration{Duration: 5 * time.Minute}
	}
	set(&p.Deletion.FinalBackup, FinalBackupRequired)
}

func (r *Version) setDefaults(namespace string, version v1alpha1.OdooVersion, postgres Postgres) {
	set(&r.Namespace, namespace)
	set(&r.Image, "plana-pulse/odoo:"+string(version)+".0")
	set(&r.WorkerService, "worker-odoo")
	set(&r.HTTPPort, 8069)
	set(&r.WebsocketPort, 8072)
	set(&r.FilestoreClaim, "odoo-filestore")
	set(&r.BackupFilestoreClaim, "odoo-filestore-"+string(version))
	set(&r.DatabaseRole, postgres.OdooRole)
	set(&r.DatabaseSecret, postgres.OdooSecret)
}

func (c *CABundle) setDefaults() {
	if c == nil {
		return
	}
	set(&c.Kind, CABundleSecret)
	set(&c.Key, "ca.crt")
}

func (t *Tier) setDefaults(template string, retentionDays int32, modules []string) {
	set(&t.Template, template)
	set(&t.RetentionDays, retentionDays)
	if t.Modules == nil {
		t.Modules = modules
	}
}

func (r *Resources) setDefaults(requests, limits corev1.ResourceList) {
	if r.Requests == nil {
		r.Requests = requests
	}
	if r.Limits == nil {
		r.Limits = limits
	}
}

func resources(cpu, memory string) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse(cpu),
		corev1.ResourceMemory: resource.MustParse(memory),
	}
}

// set a field to its default if it is unset.
func set[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

// matchExpressions are the controllers that are known to match paths by regular
// expressions. One that doesn't refuses the whole route.
var matchExpressions = []string{"gateway.envoyproxy.io/gatewayclass-controller", "traefik.io/gateway-controller"}
