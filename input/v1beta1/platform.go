// Package v1beta1 holds the Platform, this function's input: everything that
// belongs to an installation rather than to one tenant.
//
// +kubebuilder:object:generate=true
// +groupName=planaclient.fn.planapulse.com
// +versionName=v1beta1
package v1beta1

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// A Platform is one installation: names, namespaces, images, ports, secrets and
// policies that all tenants share. Every field has a default, so that an empty
// Platform describes PLANA's own cluster. Secrets are named here, never held.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=crossplane
type Platform struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Domain below which tenants are reached. A tenant's host name, database
	// and filestore directory are all named <subdomain>.<domain>.
	// +kubebuilder:default="planapulse.app"
	// +optional
	Domain string `json:"domain,omitempty"`

	// ReservedSubdomains can't be had by tenants, beside www and template names.
	// +listType=set
	// +optional
	ReservedSubdomains []string `json:"reservedSubdomains,omitempty"`

	// Postgres server that holds the tenants' databases.
	// +optional
	Postgres Postgres `json:"postgres,omitempty"`

	// Gateway that tenants' routes attach to.
	// +optional
	Gateway Gateway `json:"gateway,omitempty"`

	// Filestore that holds the tenants' files.
	// +optional
	Filestore Filestore `json:"filestore,omitempty"`

	// Versions of Odoo that tenants can be on.
	// +optional
	Versions Versions `json:"versions,omitempty"`

	// Tiers that tenants can have.
	// +optional
	Tiers Tiers `json:"tiers,omitempty"`

	// Effects are the Jobs that do what no controller does.
	// +optional
	Effects Effects `json:"effects,omitempty"`

	// Backup of every tenant.
	// +optional
	Backup Backup `json:"backup,omitempty"`

	// Matrix homeserver with the support rooms.
	// +optional
	Matrix Matrix `json:"matrix,omitempty"`

	// Account portal that is told of every tenant.
	// +optional
	Account Account `json:"account,omitempty"`

	// Events bus that is told of every tenant.
	// +optional
	Events Events `json:"events,omitempty"`

	// Quota of the version namespaces.
	// +optional
	Quota Quota `json:"quota,omitempty"`

	// Suspension of tenants.
	// +optional
	Suspension Suspension `json:"suspension,omitempty"`

	// Deletion of tenants.
	// +optional
	Deletion Deletion `json:"deletion,omitempty"`
}

// Postgres is a PostgreSQL server and how it is reached.
type Postgres struct {
	// Namespace of the tenants' Database objects and of the templates'.
	// +kubebuilder:default="crossplane-system"
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// ClusterProviderConfig with which provider-sql reaches the server.
	// +kubebuilder:default="pg01"
	// +optional
	ClusterProviderConfig string `json:"clusterProviderConfig,omitempty"`

	// Host at which Jobs reach the server.
	// +kubebuilder:default="pg01.planapulse.com"
	// +optional
	Host string `json:"host,omitempty"`

	// Port at which Jobs reach the server.
	// +kubebuilder:default=5432
	// +optional
	Port int32 `json:"port,omitempty"`

	// SSLMode is libpq's sslmode: disable, allow, prefer, require, verify-ca or
	// verify-full. Only verify-full makes sure that it is this server that
	// answers.
	// +kubebuilder:default="require"
	// +optional
	SSLMode string `json:"sslMode,omitempty"`

	// ProvisioningRole creates the tenants' databases and owns the templates'. It
	// may create databases, is a member of every release's role, and connects to
	// the database postgres only. It must be the role that provider-sql logs in as.
	// +kubebuilder:default="plana"
	// +optional
	ProvisioningRole string `json:"provisioningRole,omitempty"`

	// CredentialsSecret is the name of the Secret with the keys username and
	// password of ProvisioningRole. Jobs in the namespace of the effects use it.
	// +kubebuilder:default="provider-sql-postgres-creds"
	// +optional
	CredentialsSecret string `json:"credentialsSecret,omitempty"`

	// CASecret holds the certificates of the authorities that sign the server's
	// certificate. Only these are trusted then. It goes with SSLMode verify-full
	// (or verify-ca). Unset: the authorities that the image of the pod knows. It
	// must exist in every namespace in which Jobs run.
	// +optional
	CASecret *CABundle `json:"caSecret,omitempty"`

	// OdooRole is the role that Odoo logs in as, where a version names no
	// databaseRole of its own. Odoo serves the databases that this role owns, so
	// owning one is what publishes a tenant.
	// +kubebuilder:default="odoo"
	// +optional
	OdooRole string `json:"odooRole,omitempty"`

	// OdooSecret is the name of the Secret with the keys username and password of
	// OdooRole, where a version names no databaseSecret of its own. Jobs in the
	// version namespaces use it.
	// +kubebuilder:default="odoo-postgres-creds"
	// +optional
	OdooSecret string `json:"odooSecret,omitempty"`

	// BackupRole dumps the tenants' databases. It may read everything and change
	// nothing.
	// +kubebuilder:default="plana_backup"
	// +optional
	BackupRole string `json:"backupRole,omitempty"`

	// BackupSecret is the name of the Secret with the keys username and password
	// of BackupRole. Jobs in the namespace of the backups use it.
	// +kubebuilder:default="postgres-backup-creds"
	// +optional
	BackupSecret string `json:"backupSecret,omitempty"`
}

// Gateway is the Gateway that tenants' routes attach to.
type Gateway struct {
	// Namespace of the Gateway.
	// +kubebuilder:default="plana-odoo"
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Name of the Gateway.
	// +kubebuilder:default="eg-gateway"
	// +optional
	Name string `json:"name,omitempty"`

	// SectionName of the listener to attach to. Empty: every listener that
	// takes the host name.
	// +optional
	SectionName string `json:"sectionName,omitempty"`

	// ControllerName of the Gateway's controller. Only its word counts when a
	// route is asked whether it was accepted.
	// +kubebuilder:default="gateway.envoyproxy.io/gatewayclass-controller"
	// +optional
	ControllerName string `json:"controllerName,omitempty"`

	// PathExpressions tells that the Gateway's controller matches paths by regular
	// expressions, so that the database manager is kept from visitors behind the prefix of a
	// language, too. A controller that doesn't refuses the whole route. Default: true
	// for Envoy Gateway and Traefik, false for others.
	// +optional
	PathExpressions *bool `json:"pathExpressions,omitempty"`
}

// Filestore is the shared filesystem with a directory for each database.
type Filestore struct {
	// UserID that Odoo's workers run as, and so the Jobs that touch files.
	// +kubebuilder:default=101
	// +optional
	UserID int64 `json:"userID,omitempty"`

	// GroupID that Odoo's workers run as, and so the Jobs that touch files.
	// +kubebuilder:default=101
	// +optional
	GroupID int64 `json:"groupID,omitempty"`
}

// Versions of Odoo that tenants can be on.
type Versions struct {
	// V17 is Odoo 17. Defaults: namespace plana-odoo, image
	// plana-pulse/odoo:17.0, backup claim odoo-filestore-17.
	// +optional
	V17 Version `json:"17,omitempty"`

	// V18 is Odoo 18. Defaults: namespace plana-odoo-18, image
	// plana-pulse/odoo:18.0, backup claim odoo-filestore-18.
	// +optional
	V18 Version `json:"18,omitempty"`

	// V19 is Odoo 19. Defaults: namespace plana-odoo-19, image
	// plana-pulse/odoo:19.0, backup claim odoo-filestore-19.
	// +optional
	V19 Version `json:"19,omitempty"`
}

// Version is where and how one version of Odoo runs.
type Version struct {
	// Namespace of the version's workers, filestore claim and routes.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Image of Odoo with every module that a tier may name. It installs the
	// modules of tenants for which there is no template.
	// +optional
	Image string `json:"image,omitempty"`

	// WorkerService is the name of the Service in front of the workers.
	// +kubebuilder:default="worker-odoo"
	// +optional
	WorkerService string `json:"workerService,omitempty"`

	// HTTPPort of the worker Service.
	// +kubebuilder:default=8069
	// +optional
	HTTPPort int32 `json:"httpPort,omitempty"`

	// WebsocketPort of the worker Service, at which Odoo's gevent worker
	// answers.
	// +kubebuilder:default=8072
	// +optional
	WebsocketPort int32 `json:"websocketPort,omitempty"`

	// FilestoreClaim is the PersistentVolumeClaim in the version's namespace
	// whose root holds a directory for each database.
	// +kubebuilder:default="odoo-filestore"
	// +optional
	FilestoreClaim string `json:"filestoreClaim,omitempty"`

	// BackupFilestoreClaim is a claim of the same volume in the backup
	// namespace.
	// +optional
	BackupFilestoreClaim string `json:"backupFilestoreClaim,omitempty"`

	// DatabaseRole is the role that this version's Odoo logs in as, which owns the
	// databases of its tenants and everything in them. Workers of one version can
	// touch no database of another version that has another role. Default:
	// postgres.odooRole.
	// +optional
	DatabaseRole string `json:"databaseRole,omitempty"`

	// DatabaseSecret is the name of the Secret with the keys username and password
	// of DatabaseRole, in the version's namespace. Default: postgres.odooSecret.
	// +optional
	DatabaseSecret string `json:"databaseSecret,omitempty"`
}

// Tiers that tenants can have.
type Tiers struct {
	// Starter tier. Defaults: template basic, backups kept 30 days.
	// +optional
	Starter Tier `json:"starter,omitempty"`

	// Pro tier. Defaults: template pro, backups kept 90 days, the modules of
	// starter and subscription_oca.
	// +optional
	Pro Tier `json:"pro,omitempty"`

	// Enterprise tier. Defaults: template pro, backups kept 365 days, the
	// modules of pro.
	// +optional
	Enterprise Tier `json:"enterprise,omitempty"`
}

// Tier is what tenants of a tier get.
type Tier struct {
	// Template from which tenants are cloned: the first part of
	// <template>-template-<version>.<domain>, which is the template's database.
	// Whether there is one for a version is told by the observe-only Database
	// object <template>-template-<version> in the Postgres namespace.
	// +optional
	Template string `json:"template,omitempty"`

	// RetentionDays is how many days a backup is kept: 1 to 36500.
	// +optional
	RetentionDays int32 `json:"retentionDays,omitempty"`

	// Modules that Odoo installs where there is no template.
	// +listType=set
	// +optional
	Modules []string `json:"modules,omitempty"`
}

// Effects are the Jobs that do what no controller does.
type Effects struct {
	// Namespace of the Jobs that need no volume of a version namespace.
	// +kubebuilder:default="crossplane-system"
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Image of the effects: this function's program, with pg_dump and restic.
	// +kubebuilder:default="plana-pulse/function-planaclient-effects:v0.1.0"
	// +optional
	Image string `json:"image,omitempty"`

	// ImagePullSecrets of every pod, which must exist in every namespace in
	// which Jobs run.
	// +listType=set
	// +optional
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`

	// Resources of an effect's container. Defaults: requests 50m CPU and 64Mi,
	// limits 500m CPU and 256Mi.
	// +optional
	Resources Resources `json:"resources,omitempty"`

	// InstallResources of the container in which Odoo installs modules.
	// Defaults: requests 500m CPU and 512Mi, limits 1 CPU and 2Gi.
	// +optional
	InstallResources Resources `json:"installResources,omitempty"`

	// Deadline of an effect's Job, all attempts together.
	// +kubebuilder:default="10m"
	// +optional
	Deadline metav1.Duration `json:"deadline,omitempty"`

	// InstallDeadline of the Job in which Odoo installs modules.
	// +kubebuilder:default="1h"
	// +optional
	InstallDeadline metav1.Duration `json:"installDeadline,omitempty"`

	// ScratchLimit of each of the two empty volumes that Odoo writes to while it
	// installs modules, sessions and temporary files. A pod that exceeds it is evicted.
	// +kubebuilder:default="2Gi"
	// +optional
	ScratchLimit *resource.Quantity `json:"scratchLimit,omitempty"`

	// Retries after a failed attempt, before the Job has failed.
	// +kubebuilder:default=4
	// +optional
	Retries *int32 `json:"retries,omitempty"`
}

// Resources of a container. Both are needed where a ResourceQuota is in force.
type Resources struct {
	// Requests are set aside for the container.
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`

	// Limits are the most that the container may use.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// Backup of every tenant.
type Backup struct {
	// Namespace of the backup CronJobs.
	// +kubebuilder:default="backup"
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// Repository below which every tenant has a restic repository of its own,
	// <subdomain>-<projectId>, in restic's notation.
	// +kubebuilder:default="s3:https://sos-bg-sof-1.exo.io/plana-backup"
	// +optional
	Repository string `json:"repository,omitempty"`

	// Region of the object storage.
	// +kubebuilder:default="bg-sof-1"
	// +optional
	Region string `json:"region,omitempty"`

	// Window of the night in which backups start. Tenants are spread over it.
	// +optional
	Window Window `json:"window,omitempty"`

	// RepositorySecret is the key with which the repositories are encrypted.
	// +kubebuilder:default={name: "backup-restic", key: "password"}
	// +optional
	RepositorySecret SecretKey `json:"repositorySecret,omitempty"`

	// StorageSecret is the name of the Secret with the keys access-key and
	// secret-key of the object storage.
	// +kubebuilder:default="backup-s3"
	// +optional
	StorageSecret string `json:"storageSecret,omitempty"`

	// CASecret holds the certificates of the authorities that sign the object
	// storage's certificate, in the backup namespace. Only these are trusted
	// then. Unset: the authorities that the effects image knows.
	// +optional
	CASecret *CABundle `json:"caSecret,omitempty"`

	// ScratchLimit of the empty volume that restic keeps its cache in, which grows
	// with the number of a tenant's files. A pod that exceeds it is evicted.
	// +kubebuilder:default="10Gi"
	// +optional
	ScratchLimit *resource.Quantity `json:"scratchLimit,omitempty"`

	// ReadBackNights is over how many nights everything in a tenant's repository is
	// read back, a part each night: a backup that can't read its part fails. 1 is
	// all of it every night. A part takes as long as it takes to download it, within
	// the deadline. A last backup, and that of a suspension, read everything.
	// +kubebuilder:default=14
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	// +optional
	ReadBackNights int32 `json:"readBackNights,omitempty"`

	// Deadline of one backup.
	// +kubebuilder:default="4h"
	// +optional
	Deadline metav1.Duration `json:"deadline,omitempty"`

	// Resources of a backup's container. Defaults: requests 100m CPU and
	// 256Mi, limits 1 CPU and 1Gi.
	// +optional
	Resources Resources `json:"resources,omitempty"`
}

// Window is a span of every night.
type Window struct {
	// Start of the window, as HH:MM.
	// +kubebuilder:default="01:00"
	// +optional
	Start string `json:"start,omitempty"`

	// Length of the window: 1m to 24h, in whole minutes.
	// +kubebuilder:default="4h"
	// +optional
	Length metav1.Duration `json:"length,omitempty"`

	// TimeZone of the window, by its name in the IANA database.
	// +kubebuilder:default="Europe/Sofia"
	// +optional
	TimeZone string `json:"timeZone,omitempty"`
}

// SecretKey names one key of a Secret in the namespace in which it is used.
type SecretKey struct {
	// Name of the Secret.
	Name string `json:"name,omitempty"`

	// Key in the Secret.
	Key string `json:"key,omitempty"`
}

// CABundleKind is what kind of object holds certificates.
//
// +kubebuilder:validation:Enum=Secret;ConfigMap
type CABundleKind string

// Kinds of objects that certificates can be in.
const (
	CABundleSecret    CABundleKind = "Secret"
	CABundleConfigMap CABundleKind = "ConfigMap"
)

// CABundle names one key of a Secret, or of a ConfigMap, that holds certificates
// of authorities as PEM. It is looked for in the namespace in which it is used.
type CABundle struct {
	// Kind of the object: Secret or ConfigMap.
	// +kubebuilder:default="Secret"
	// +optional
	Kind CABundleKind `json:"kind,omitempty"`

	// Name of the object.
	Name string `json:"name"`

	// Key in the object.
	// +kubebuilder:default="ca.crt"
	// +optional
	Key string `json:"key,omitempty"`
}

// Matrix homeserver with the support rooms.
type Matrix struct {
	// Homeserver URL at which Jobs reach it.
	// +kubebuilder:default="http://synapse.matrix.svc:8008"
	// +optional
	Homeserver string `json:"homeserver,omitempty"`

	// ServerName of the homeserver: what stands after the colon in an alias.
	// +kubebuilder:default="planapulse.com"
	// +optional
	ServerName string `json:"serverName,omitempty"`

	// TokenSecret is the access token of the user who makes the rooms. No
	// admin is needed.
	// +kubebuilder:default={name: "matrix-support-bot", key: "access-token"}
	// +optional
	TokenSecret SecretKey `json:"tokenSecret,omitempty"`

	// CASecret holds the certificates of the authorities that sign the
	// homeserver's certificate, in the effects' namespace. Only these are trusted
	// then. Unset: the authorities that the effects image knows.
	// +optional
	CASecret *CABundle `json:"caSecret,omitempty"`

	// Invite these users into every support room.
	// +listType=set
	// +optional
	Invite []string `json:"invite,omitempty"`
}

// Account portal that is told of every tenant.
type Account struct {
	// WebhookURL that takes tenant.provisioned and tenant.deprovisioned.
	// +kubebuilder:default="http://pulse-account-api.pulse-account.svc:8080/v1/webhooks/tenants"
	// +optional
	WebhookURL string `json:"webhookURL,omitempty"`

	// SigningSecret is the key with which webhooks are signed (whsec_…).
	// +kubebuilder:default={name: "account-webhook", key: "secret"}
	// +optional
	SigningSecret SecretKey `json:"signingSecret,omitempty"`

	// CASecret holds the certificates of the authorities that sign the portal's
	// certificate, in the effects' namespace. Only these are trusted then. Unset:
	// the authorities that the effects image knows.
	// +optional
	CASecret *CABundle `json:"caSecret,omitempty"`
}

// Events bus that is told of every tenant.
type Events struct {
	// Address of the Redis server, as host:port.
	// +kubebuilder:default="redis.planapulse.com:6379"
	// +optional
	Address string `json:"address,omitempty"`

	// TLS to the Redis server.
	// +kubebuilder:default=false
	// +optional
	TLS bool `json:"tls,omitempty"`

	// CASecret holds the certificates of the authorities that sign the server's
	// certificate, in the effects' namespace. Only these are trusted then. Unset:
	// the authorities that the effects image knows.
	// +optional
	CASecret *CABundle `json:"caSecret,omitempty"`

	// Username that Jobs log in to Redis as. Empty: Redis' default user. One
	// who may add to Stream, and do nothing else, is enough.
	// +optional
	Username string `json:"username,omitempty"`

	// PasswordSecret is the password of that user.
	// +kubebuilder:default={name: "redis-credentials", key: "password"}
	// +optional
	PasswordSecret SecretKey `json:"passwordSecret,omitempty"`

	// Stream that takes the events.
	// +kubebuilder:default="PLANA:events"
	// +optional
	Stream string `json:"stream,omitempty"`

	// Source of the events, in CloudEvents' sense.
	// +kubebuilder:default="/planapulse.com/planaclients"
	// +optional
	Source string `json:"source,omitempty"`
}

// Quota of the version namespaces. A Job whose pod wouldn't fit waits until it
// does.
type Quota struct {
	// Name of the ResourceQuota in each version namespace. A namespace without
	// one has room for everything.
	// +kubebuilder:default="plana-quota"
	// +optional
	Name string `json:"name,omitempty"`
}

// Suspension of tenants.
type Suspension struct {
	// RedirectURL is where the visitors of a suspended tenant are sent.
	// +kubebuilder:default="https://my.planapulse.ai/suspended"
	// +optional
	RedirectURL string `json:"redirectURL,omitempty"`
}

// FinalBackup says whether a tenant's data may go without a last backup.
type FinalBackup string

// Policies on last backups.
const (
	FinalBackupRequired FinalBackup = "Required"
	FinalBackupSkip     FinalBackup = "Skip"
)

// Deletion of tenants.
type Deletion struct {
	// GracePeriod between a delete and the first thing that is taken away. It
	// may be cancelled meanwhile.
	// +kubebuilder:default="5m"
	// +optional
	GracePeriod *metav1.Duration `json:"gracePeriod,omitempty"`

	// FinalBackup is Required, or Skip to let every tenant's data go without
	// one. Skip is for installations that have nothing to lose.
	// +kubebuilder:default=Required
	// +optional
	FinalBackup FinalBackup `json:"finalBackup,omitempty"`
}

// Version returns how the supplied version of Odoo runs. One that the Platform hasn't is
// an error: how another one runs would be no answer.
func (p *Platform) Version(v v1alpha1.OdooVersion) (*Version, error) {
	switch v {
	case v1alpha1.OdooVersion17:
		return &p.Versions.V17, nil
	case v1alpha1.OdooVersion18:
		return &p.Versions.V18, nil
	case v1alpha1.OdooVersion19:
		return &p.Versions.V19, nil
	}
	return nil, fmt.Errorf("the Platform has no Odoo version %q: it has %s, %s and %s", v, v1alpha1.OdooVersion17, v1alpha1.OdooVersion18, v1alpha1.OdooVersion19)
}

// ReleaseRoles are the roles that Odoo logs in as, each once. One of them is OdooRole
// even where each version has a role of its own: it owns what hasn't been handed over.
func (p *Platform) ReleaseRoles() []string {
	roles := []string{p.Postgres.OdooRole, p.Versions.V17.DatabaseRole, p.Versions.V18.DatabaseRole, p.Versions.V19.DatabaseRole}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// Tier returns what tenants of the supplied tier get. One that the Platform hasn't is an
// error.
func (p *Platform) Tier(t v1alpha1.Tier) (*Tier, error) {
	switch t {
	case v1alpha1.TierStarter:
		return &p.Tiers.Starter, nil
	case v1alpha1.TierPro:
		return &p.Tiers.Pro, nil
	case v1alpha1.TierEnterprise:
		return &p.Tiers.Enterprise, nil
	}
	return nil, fmt.Errorf("the Platform has no tier %q: it has %s, %s and %s", t, v1alpha1.TierStarter, v1alpha1.TierPro, v1alpha1.TierEnterprise)
}
