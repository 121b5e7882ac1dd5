package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
)

// A PLANAClient is one tenant: a customer's Odoo workspace with its database,
// files, route, backups, support room and account.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,path=planaclients,singular=planaclient,shortName=pc,categories=plana
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Tier",type=string,JSONPath=`.spec.tier`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.odooVersion`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:printcolumn:name="Synced",type=string,JSONPath=`.status.conditions[?(@.type=='Synced')].status`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=='Ready')].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Database",type=string,priority=1,JSONPath=`.status.databaseName`
// +kubebuilder:printcolumn:name="Namespace",type=string,priority=1,JSONPath=`.status.namespace`
// +kubebuilder:printcolumn:name="Project",type=integer,priority=1,JSONPath=`.spec.projectId`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.subdomain",message="metadata.name and spec.subdomain must be the same: that keeps a subdomain unique. Name both alike"
type PLANAClient struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PLANAClientSpec   `json:"spec"`
	Status PLANAClientStatus `json:"status,omitempty"`
}

// Tier is what a customer pays for.
type Tier string

// Tiers.
const (
	TierStarter    Tier = "starter"
	TierPro        Tier = "pro"
	TierEnterprise Tier = "enterprise"
)

// OdooVersion is Odoo's major version.
type OdooVersion string

// Odoo versions.
const (
	OdooVersion17 OdooVersion = "17"
	OdooVersion18 OdooVersion = "18"
	OdooVersion19 OdooVersion = "19"
)

// PLANAClientSpec says what the tenant should be.
type PLANAClientSpec struct {
	// Subdomain of the tenant, under which its workspace is reached. It can't
	// be changed later.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=30
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",message="must be lower-case letters, digits and dashes, and start and end with a letter or a digit, such as acme-2"
	// +kubebuilder:validation:XValidation:rule="self != 'www'",message="www is reserved: choose another subdomain"
	// +kubebuilder:validation:XValidation:rule="!self.matches('-template-[0-9][0-9]$')",message="names that end in -template-NN are reserved for template databases: choose another subdomain"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="can't be changed: create another PLANAClient instead"
	Subdomain string `json:"subdomain"`

	// ProjectID is the tenant's number in the books: 1 to 999999999. It can't
	// be changed later.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 999999999",message="must be from 1 to 999999999"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="can't be changed: create another PLANAClient instead"
	ProjectID int64 `json:"projectId"`

	// Tier decides on the template, the modules and how long backups are kept.
	// +kubebuilder:validation:Enum=starter;pro;enterprise
	// +kubebuilder:default=starter
	// +optional
	Tier Tier `json:"tier,omitempty"`

	// OdooVersion is Odoo's major version. It can be raised, never lowered.
	// +kubebuilder:validation:Enum="17";"18";"19"
	// +kubebuilder:validation:XValidation:rule="int(self) >= int(oldSelf)",message="can't be lowered: Odoo has no way back to an older version"
	// +kubebuilder:default="18"
	// +optional
	OdooVersion OdooVersion `json:"odooVersion,omitempty"`

	// OwnerEmail is the address of the person who owns the workspace, and the
	// login of its admin user.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=254
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^\\\\pC\\\\s@,;:<>()\"]+@[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+$')",message="must be one mail address, such as ceo@acme.bg"
	OwnerEmail string `json:"ownerEmail"`

	// OwnerName is the name of the customer: 1 to 128 characters of any script.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!self.matches('[\\\\p{Cc}\\\\p{Zl}\\\\p{Zp}]')",message="must be one line without control characters"
	// +kubebuilder:validation:XValidation:rule="self.matches('[^\\\\s]')",message="must have a visible character"
	OwnerName string `json:"ownerName"`

	// DeletionProtection refuses a delete while it is true.
	// +kubebuilder:default=false
	// +optional
	DeletionProtection bool `json:"deletionProtection,omitempty"`

	// Suspended takes the workspace out of service without losing anything.
	// +kubebuilder:default=false
	// +optional
	Suspended bool `json:"suspended,omitempty"`

	// Database says how the tenant's database is come by.
	// +optional
	Database DatabaseSpec `json:"database,omitempty"`
}

// DatabaseSpec says how the tenant's database is come by.
type DatabaseSpec struct {
	// Adopt a database of the tenant's name that exists already: from then on
	// it is this tenant's, is written to, and is dropped when the tenant is
	// deleted. Without it, an existing database is left alone and reported.
	// +kubebuilder:default=false
	// +optional
	Adopt bool `json:"adopt,omitempty"`
}

// PLANAClientStatus says what the tenant is.
type PLANAClientStatus struct {
	xpv1.ConditionedStatus `json:",inline"`

	// URL at which the workspace is reached.
	// +optional
	URL string `json:"url,omitempty"`

	// Namespace in which the workspace's route and workers are.
	// +optional
	Namespace string `json:"namespace,omitempty"`

	// DatabaseName is the name of the tenant's database on the server, and of
	// its directory in the filestore.
	// +optional
	DatabaseName string `json:"databaseName,omitempty"`

	// DatabaseUID is the UID of the Database object that is proven to be this
	// tenant's own. Only that one is ever written to or dropped.
	// +optional
	DatabaseUID string `json:"databaseUID,omitempty"`

	// OdooVersion in service.
	// +optional
	OdooVersion OdooVersion `json:"odooVersion,omitempty"`

	// ProjectID of the tenant. It is recorded so that a change is noticed.
	// +optional
	ProjectID int64 `json:"projectId,omitempty"`

	// Tier in service: the one whose modules are installed.
	// +optional
	Tier Tier `json:"tier,omitempty"`

	// Template database from which the tenant was cloned. Empty where Odoo
	// installed the modules itself.
	// +optional
	Template string `json:"template,omitempty"`

	// Backup of the tenant.
	// +optional
	Backup *BackupStatus `json:"backup,omitempty"`

	// MatrixRoom is the name of the support room.
	// +optional
	MatrixRoom string `json:"matrixRoom,omitempty"`

	// Effects is the ledger: the effects that are done, by name. An effect in
	// it isn't run again.
	// +optional
	Effects map[string]EffectStatus `json:"effects,omitempty"`

	// Suspension is how far taking the tenant out of service has come.
	// +optional
	Suspension *SuspensionStatus `json:"suspension,omitempty"`

	// Deletion is how far taking the tenant away has come.
	// +optional
	Deletion *DeletionStatus `json:"deletion,omitempty"`

	// Fence is there from before the tenant's database is taken out of service until
	// it is back: while it is, nobody but the backup is to get into the database.
	// +optional
	Fence *FenceStatus `json:"fence,omitempty"`

	// SpentWaiver is a value of annotation planapulse.com/skip-final-backup that has
	// counted for a delete that was cancelled. It doesn't count for another.
	// +optional
	SpentWaiver string `json:"spentWaiver,omitempty"`
}

// FenceStatus says which fence keeps a tenant out of service.
type FenceStatus struct {
	// Run is when the suspension or the delete was requested that the fence is for.
	Run string `json:"run"`
}

// SuspensionStatus says how far taking a tenant out of service has come.
type SuspensionStatus struct {
	// RequestedAt is when the suspension was first seen.
	RequestedAt metav1.Time `json:"requestedAt"`
}

// DeletionStatus says how far taking a tenant away has come.
type DeletionStatus struct {
	// RequestedAt is when the delete was first seen. The grace period counts
	// from here.
	RequestedAt metav1.Time `json:"requestedAt"`

	// Step that is being taken.
	Step string `json:"step"`

	// Since when it is being taken.
	Since metav1.Time `json:"since"`

	// Message says what the step waits for.
	// +optional
	Message string `json:"message,omitempty"`

	// Irrevocable is true once the database is being dropped. Until then, taking
	// the annotation off that the delete has left cancels it.
	// +optional
	Irrevocable bool `json:"irrevocable,omitempty"`

	// BackupWaivedBy says who let the tenant go without a last backup: its
	// annotation or the Platform.
	// +optional
	BackupWaivedBy string `json:"backupWaivedBy,omitempty"`
}

// BackupStatus says how the tenant is backed up.
type BackupStatus struct {
	// CronJob that makes the backups, as namespace/name.
	CronJob string `json:"cronJob"`

	// Schedule of the backups in cron's form, followed by the time zone.
	Schedule string `json:"schedule"`

	// RetentionDays is how many days a backup is kept.
	RetentionDays int32 `json:"retentionDays"`

	// LastSuccessfulTime is when a backup last succeeded.
	// +optional
	LastSuccessfulTime *metav1.Time `json:"lastSuccessfulTime,omitempty"`
}

// EffectStatus says that an effect is done.
type EffectStatus struct {
	// CompletedAt is when the effect's Job completed.
	CompletedAt metav1.Time `json:"completedAt"`

	// Run that completed, where an effect is run more than once.
	// +optional
	Run string `json:"run,omitempty"`
}
