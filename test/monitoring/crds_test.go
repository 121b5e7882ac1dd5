package monitoring

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	crd "github.com/prometheus-operator/prometheus-operator/example"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// schemas of the Prometheus operator's kinds, by apiVersion and kind.
func schemas(t *testing.T) map[string]*spec.Schema {
	t.Helper()
	var all bytes.Buffer
	if err := crd.PrintAll(&all); err != nil {
		t.Fatal(err)
	}
	found := map[string]*spec.Schema{}
	documents := kyaml.NewYAMLReader(bufio.NewReader(&all))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Group string `json:"group"`
				Names struct {
					Kind string `json:"kind"`
				} `json:"names"`
				Versions []struct {
					Name   string `json:"name"`
					Schema struct {
						OpenAPIV3Schema json.RawMessage `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(document, &definition); err != nil {
			t.Fatal(err)
		}
		for _, v := range definition.Spec.Versions {
			schema := &spec.Schema{}
			if err := json.Unmarshal(v.Schema.OpenAPIV3Schema, schema); err != nil {
				t.Fatal(err)
			}
			closed(schema)
			found[definition.Spec.Group+"/"+v.Name+" "+definition.Spec.Names.Kind] = schema
		}
	}
}

// closed to fields that it doesn't know, which an API server would drop.
func closed(s *spec.Schema) {
	if _, open := s.Extensions["x-kubernetes-preserve-unknown-fields"]; len(s.Properties) > 0 && s.AdditionalProperties == nil && !open {
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: false}
	}
	for name, p := range s.Properties {
		closed(&p)
		s.Properties[name] = p
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		closed(s.AdditionalProperties.Schema)
	}
	if s.Items != nil && s.Items.Schema != nil {
		closed(s.Items.Schema)
	}
}

// TestCRDs holds what is for the Prometheus operator to its own definitions.
func TestCRDs(t *testing.T) {
	definitions := schemas(t)
	check := func(object map[string]any) error {
		schema := definitions[fmt.Sprintf("%s %s", object["apiVersion"], object["kind"])]
		if schema == nil {
			return fmt.Errorf("the operator knows no %s %s", object["apiVersion"], object["kind"])
		}
		return validate.AgainstSchema(schema, object, strfmt.Default)
	}

	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), monitoring)
	if err != nil {
		t.Fatal(err)
	}
	checked := map[any]map[string]any{}
	for _, r := range resources.Resources() {
		object, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		if version, _ := object["apiVersion"].(string); !strings.HasPrefix(version, "monitoring.coreos.com/") {
			continue
		}
		if err := check(object); err != nil {
			t.Errorf("%s: %v", r.CurId(), err)
		}
		checked[object["kind"]] = object
	}

	for name, tc := range map[string]struct {
		reason string
		kind   string
		from   string
		to     string
	}{
		"NoField":  {"A field that the operator doesn't know is dropped.", "PodMonitor", `"podTargetLabels"`, `"podLabels"`},
		"NoTime":   {"An interval is a span of time.", "PodMonitor", `"interval":"30s"`, `"interval":"often"`},
		"NoLabels": {"A selector selects by labels.", "PodMonitor", `"matchLabels":{`, `"matchLabels":{"a":["b"],`},
		"NoExpr":   {"A rule without an expression is none.", "PrometheusRule", `"expr":`, `"query":`},
		"NoFor":    {"For how long is a span of time.", "PrometheusRule", `"for":"10m"`, `"for":10`},
		"NoName":   {"A group has a name.", "PrometheusRule", `"name":"planaclient-tenants"`, `"name":""`},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(checked[tc.kind])
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text), tc.from) {
				t.Fatalf("%s has no %s", tc.kind, tc.from)
			}
			var broken map[string]any
			if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), tc.from, tc.to)), &broken); err != nil {
				t.Fatal(err)
			}
			if check(broken) == nil {
				t.Errorf("%s Nobody notices.", tc.reason)
			}
		})
	}
}
