// Package main turns a CustomResourceDefinition, which controller-gen makes of
// Go types, into a CompositeResourceDefinition of the same schema. It reads the
// one on stdin and writes the other to stdout.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"slices"

	xpv2 "github.com/crossplane/crossplane/apis/v2/apiextensions/v2"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// composition is the one that the Configuration package brings.
const composition = "planaclients"

func main() {
	log.SetFlags(0)
	log.SetPrefix("xrd: ")

	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatalf("cannot read the CustomResourceDefinition: %v", err)
	}
	crd := &extv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(in, crd); err != nil {
		log.Fatalf("cannot parse the CustomResourceDefinition: %v", err)
	}
	xrd, err := fromCRD(crd)
	if err != nil {
		log.Fatalf("cannot turn %s into a CompositeResourceDefinition: %v", crd.GetName(), err)
	}
	out, err := marshal(xrd)
	if err != nil {
		log.Fatalf("cannot write the CompositeResourceDefinition: %v", err)
	}
	fmt.Printf("# Generated from apis/v1alpha1 by make generate. Don't edit.\n---\n%s", out)
}

// fromCRD returns the CompositeResourceDefinition of the supplied CRD's schema.
func fromCRD(crd *extv1.CustomResourceDefinition) (*xpv2.CompositeResourceDefinition, error) {
	xrd := &xpv2.CompositeResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: xpv2.SchemeGroupVersion.String(), Kind: xpv2.CompositeResourceDefinitionKind},
		ObjectMeta: metav1.ObjectMeta{Name: crd.GetName()},
		Spec: xpv2.CompositeResourceDefinitionSpec{
			Group: crd.Spec.Group,
			Names: crd.Spec.Names,
			Scope: xpv2.CompositeResourceScope(crd.Spec.Scope),
			// Without it, an installation that adds a Composition of its own has
			// Crossplane choose one of the two at random, for each tenant.
			DefaultCompositionRef: &xpv2.CompositionReference{Name: composition},
		},
	}
	for _, v := range crd.Spec.Versions {
		raw, err := json.Marshal(ours(v.Schema.OpenAPIV3Schema))
		if err != nil {
			return nil, fmt.Errorf("cannot marshal the schema of version %s: %w", v.Name, err)
		}
		xrd.Spec.Versions = append(xrd.Spec.Versions, xpv2.CompositeResourceDefinitionVersion{
			Name:          v.Name,
			Served:        v.Served,
			Referenceable: v.Storage,
			Schema: &xpv2.CompositeResourceValidation{
				OpenAPIV3Schema: runtime.RawExtension{Raw: raw},
			},
			AdditionalPrinterColumns: slices.DeleteFunc(v.AdditionalPrinterColumns, crossplanes),
		})
	}
	return xrd, nil
}

// ours returns what of a resource's schema is ours to say: Crossplane knows
// apiVersion, kind and metadata, and puts its own conditions in place of any
// that a schema brings.
func ours(schema *extv1.JSONSchemaProps) *extv1.JSONSchemaProps {
	status := schema.Properties["status"]
	delete(status.Properties, "conditions")
	return &extv1.JSONSchemaProps{
		Type:         schema.Type,
		Description:  schema.Description,
		Required:     schema.Required,
		XValidations: schema.XValidations,
		Properties: map[string]extv1.JSONSchemaProps{
			"spec":   schema.Properties["spec"],
			"status": status,
		},
	}
}

// crossplanes tells whether Crossplane shows the column by itself for every
// composite resource. It would be there twice otherwise.
func crossplanes(c extv1.CustomResourceColumnDefinition) bool {
	return slices.Contains([]string{
		".status.conditions[?(@.type=='Synced')].status",
		".status.conditions[?(@.type=='Ready')].status",
		".metadata.creationTimestamp",
	}, c.JSONPath)
}

// marshal the XRD without the status, which is empty but not omitted.
func marshal(xrd *xpv2.CompositeResourceDefinition) ([]byte, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(xrd)
	if err != nil {
		return nil, err
	}
	delete(fields, "status")
	return yaml.Marshal(fields)
}
