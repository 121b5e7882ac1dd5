// Package v1alpha1 holds the PLANAClient, the composite resource of this
// project. The XRD's schema is generated from these types.
//
// +kubebuilder:object:generate=true
// +groupName=planapulse.com
// +versionName=v1alpha1
package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// Kind of the composite resource.
const Kind = "PLANAClient"

// GroupVersion of the composite resource.
var GroupVersion = schema.GroupVersion{Group: "planapulse.com", Version: "v1alpha1"}
