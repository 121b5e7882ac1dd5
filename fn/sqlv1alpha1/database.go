// Package sqlv1alpha1 is what the function says to provider-sql, and reads of it: its
// Database, of API group postgresql.sql.m.crossplane.io.
//
// The provider has Go types of its own. They bring its resolvers along, with them
// controller-runtime, client-go and every API group of Kubernetes, and were more than
// a third of what a build compiled. A test holds these types to the provider's.
//
// +kubebuilder:object:generate=true
package sqlv1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	xpv1 "github.com/crossplane/crossplane-runtime/v2/apis/common/v1"
	xpv2 "github.com/crossplane/crossplane-runtime/v2/apis/common/v2"
)

// Kinds of the group.
const (
	DatabaseKind              = "Database"
	ClusterProviderConfigKind = "ClusterProviderConfig"
)

// The group and its kinds as the API server knows them.
var (
	SchemeGroupVersion       = schema.GroupVersion{Group: "postgresql.sql.m.crossplane.io", Version: "v1alpha1"}
	DatabaseGroupVersionKind = SchemeGroupVersion.WithKind(DatabaseKind)
)

// Annotations by which a provider goes. Times are RFC 3339.
const (
	// AnnotationExternalName is the name of the database on the server.
	AnnotationExternalName = "crossplane.io/external-name"

	// AnnotationCreatePending says since when the provider has been about to create it,
	// AnnotationCreateSucceeded and AnnotationCreateFailed what came of that, and when.
	AnnotationCreatePending   = "crossplane.io/external-create-pending"
	AnnotationCreateSucceeded = "crossplane.io/external-create-succeeded"
	AnnotationCreateFailed    = "crossplane.io/external-create-failed"
)

// +kubebuilder:object:root=true

// A Database of PostgreSQL, as it should be and as the provider has seen it.
type Database struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DatabaseSpec   `json:"spec"`
	Status DatabaseStatus `json:"status,omitempty"`
}

// DatabaseSpec is the database as it should be.
type DatabaseSpec struct {
	// Which server it is on, and what the provider may do to it.
	xpv2.ManagedResourceSpec `json:",inline"`

	ForProvider DatabaseParameters `json:"forProvider"`
}

// DatabaseStatus is what the provider says of it.
type DatabaseStatus struct {
	xpv1.ResourceStatus `json:",inline"`
}

// DatabaseParameters are the parameters of CREATE DATABASE and of ALTER DATABASE. What is
// nil the provider leaves to the server, or fills in with what it has seen there.
type DatabaseParameters struct {
	Owner         *string                   `json:"owner,omitempty"`
	OwnerRef      *xpv1.NamespacedReference `json:"ownerRef,omitempty"`
	OwnerSelector *xpv1.NamespacedSelector  `json:"ownerSelector,omitempty"`

	Template *string `json:"template,omitempty"`

	// Strategy by which the template is copied: WAL_LOG or FILE_COPY.
	Strategy *string `json:"strategy,omitempty"`

	Encoding   *string `json:"encoding,omitempty"`
	LCCollate  *string `json:"lcCollate,omitempty"`
	LCCType    *string `json:"lcCType,omitempty"`
	Tablespace *string `json:"tablespace,omitempty"`

	AllowConnections *bool `json:"allowConnections,omitempty"`
	ConnectionLimit  *int  `json:"connectionLimit,omitempty"`
	IsTemplate       *bool `json:"isTemplate,omitempty"`
}

// ExternalName of the database, by which the server knows it.
func (db *Database) ExternalName() string { return db.GetAnnotations()[AnnotationExternalName] }

// CreatePending is when the provider was about to create it last. Zero: never, as far as
// can be read.
func (db *Database) CreatePending() time.Time { return db.when(AnnotationCreatePending) }

// CreateSucceeded is when the provider created it last.
func (db *Database) CreateSucceeded() time.Time { return db.when(AnnotationCreateSucceeded) }

// CreateFailed is when a creation failed last.
func (db *Database) CreateFailed() time.Time { return db.when(AnnotationCreateFailed) }

// CreateIncomplete tells whether the provider was about to create it, and hasn't said
// what came of that. It looks no further while that is so.
func (db *Database) CreateIncomplete() bool {
	pending := db.CreatePending()
	return !pending.IsZero() && pending.After(db.CreateSucceeded()) && pending.After(db.CreateFailed())
}

// when an annotation says that something was.
func (db *Database) when(annotation string) time.Time {
	t, err := time.Parse(time.RFC3339, db.GetAnnotations()[annotation])
	if err != nil {
		return time.Time{}
	}
	return t
}
