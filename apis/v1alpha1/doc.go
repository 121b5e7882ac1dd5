// Package v1alpha1 holds the PLANAClient, the composite resource of this
// project. The XRD's schema is generated from these types.
//
// +kubebuilder:object:generate=true
// +groupName=planapulse.com
// +versionName=v1alpha1
package v1alpha1

// The kind of the composite resource, and the API group that it is in.
const (
	Group           = "planapulse.com"
	PLANAClientKind = "PLANAClient"
)
