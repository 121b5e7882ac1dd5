package preview

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/apis"
	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// Input of a preview: tenants, and the installation that they come to.
type Input struct {
	// Tenants are PLANAClients, with the defaults of their definition.
	Tenants []map[string]any

	// Platform is the function's input. Nil: all defaults.
	Platform *structpb.Struct

	// From are the objects that a cluster has already: those that the tenant is composed
	// of, with the annotation by which Crossplane knows them, and others such as its
	// template's declaration. Nil: none, the tenant has just been created.
	From []map[string]any
}

// ReadFrom reads objects that a cluster has: the files of a folder, or one file.
func (in *Input) ReadFrom(path string) error {
	if in.From == nil {
		in.From = []map[string]any{}
	}
	return filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("cannot read what a cluster has: %w", err)
		}
		if d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(name) //nolint:gosec // Whoever runs it names the file.
		if err != nil {
			return err
		}
		return documents(name, content, func(o map[string]any) error {
			if text(o, "kind") == "" || text(o, "metadata", "name") == "" {
				return errors.New("it is no object: it has no kind or no name")
			}
			in.From = append(in.From, o)
			return nil
		})
	})
}

// Read the documents of a file: PLANAClients, and a Platform or a Composition that has
// one. Documents of other kinds are an error, which says where they are.
func (in *Input) Read(name string, content []byte) error { return documents(name, content, in.add) }

// documents of a file, each handed over.
func documents(name string, content []byte, take func(map[string]any) error) error {
	reader := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for n := 1; ; n++ {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
		var o map[string]any
		if err := yaml.Unmarshal(doc, &o); err != nil {
			return fmt.Errorf("cannot read document %d of %s: %w", n, name, err)
		}
		if len(o) == 0 {
			continue
		}
		if err := take(o); err != nil {
			return fmt.Errorf("cannot use document %d of %s: %w", n, name, err)
		}
	}
}

func (in *Input) add(o map[string]any) error {
	switch kind, _ := o["kind"].(string); kind {
	case v1alpha1.PLANAClientKind:
		name := text(o, "metadata", "name")
		if name == "" {
			return errors.New("metadata.name is empty: a PLANAClient has a name")
		}
		for _, t := range in.Tenants {
			if text(t, "metadata", "name") == name {
				return fmt.Errorf("PLANAClient %s is there twice", name)
			}
		}
		defaults, err := schemaOf(apis.Definition)
		if err != nil {
			return err
		}
		fill(o, defaults)
		in.Tenants = append(in.Tenants, o)
		return nil
	case "Platform":
		return in.setPlatform(o)
	case "Composition":
		steps, _ := dig(o, "spec", "pipeline").([]any)
		for _, s := range steps {
			step, _ := s.(map[string]any)
			if input, ok := step["input"].(map[string]any); ok && input["kind"] == "Platform" {
				return in.setPlatform(input)
			}
		}
		return errors.New("no step of the Composition's pipeline has a Platform as its input")
	default:
		return fmt.Errorf("it is of kind %q: want a PLANAClient, a Platform, or a Composition that has one", kind)
	}
}

func (in *Input) setPlatform(o map[string]any) error {
	if in.Platform != nil {
		return errors.New("there is another Platform already: a preview is of one installation")
	}
	s, err := structpb.NewStruct(o)
	in.Platform = s
	return err
}

// schemaOf the served version that a definition has.
func schemaOf(definition []byte) (map[string]any, error) {
	var d map[string]any
	if err := yaml.Unmarshal(definition, &d); err != nil {
		return nil, fmt.Errorf("cannot read the definition of PLANAClients: %w", err)
	}
	for _, v := range list(d, "spec", "versions") {
		if schema, ok := dig(v, "schema", "openAPIV3Schema").(map[string]any); ok {
			return schema, nil
		}
	}
	return nil, errors.New("the definition of PLANAClients has no schema")
}

// fill in the defaults of a schema, as the API server does before Crossplane sees an
// object: of what is left out, below what is there.
func fill(value map[string]any, schema map[string]any) {
	properties, _ := schema["properties"].(map[string]any)
	for name, p := range properties {
		property, _ := p.(map[string]any)
		if d, ok := property["default"]; ok && value[name] == nil {
			value[name] = d
		}
		if child, ok := value[name].(map[string]any); ok {
			fill(child, property)
		}
	}
}

// dig returns the value at a path, or nil.
func dig(o any, path ...string) any {
	m, _ := o.(map[string]any)
	v, _, _ := unstructured.NestedFieldNoCopy(m, path...)
	return v
}

func text(v any, path ...string) string {
	s, _ := dig(v, path...).(string)
	return s
}

func list(v any, path ...string) []any {
	l, _ := dig(v, path...).([]any)
	return l
}
