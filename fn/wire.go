package fn

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"
)

// This file is the one place where typed objects and their wire form meet.

// Parts of an object.
const (
	partSpec   = "spec"
	partStatus = "status"
)

// decode a wire form into a typed object: its metadata, and the parts that are
// named. A pod template or a list of managed fields costs more to decode than
// all that any step reads.
func decode(s *structpb.Struct, into any, parts ...string) error {
	content := make(map[string]any, 3+len(parts))
	for name, v := range s.GetFields() {
		switch {
		case name == "apiVersion", name == "kind", slices.Contains(parts, name):
			content[name] = v.AsInterface()
		case name == "metadata":
			content[name] = metadata(v)
		}
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(content, into)
}

// metadata of an object, without its managed fields.
func metadata(v *structpb.Value) any {
	fields := v.GetStructValue().GetFields()
	if fields == nil {
		return v.AsInterface()
	}
	content := make(map[string]any, len(fields))
	for name, v := range fields {
		if name != "managedFields" {
			content[name] = v.AsInterface()
		}
	}
	return content
}

// decoded returns the named parts of a wire form as a typed object.
func decoded[T any](s *structpb.Struct, parts ...string) (*T, error) {
	into := new(T)
	return into, decode(s, into, parts...)
}

// encode a typed object as its wire form: what is desired of it, no more.
func encode(o runtime.Object) (*structpb.Struct, error) {
	s, err := structOf(o)
	if err != nil {
		return nil, err
	}
	// A typed object has these whether it is meant to or not. Applied, they
	// would make the function their owner.
	delete(s.GetFields(), "status")
	delete(s.GetFields()["metadata"].GetStructValue().GetFields(), "creationTimestamp")
	return s, nil
}

// structOf returns the wire form of a typed value.
func structOf(typed any) (*structpb.Struct, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil, fmt.Errorf("cannot convert a %T: %w", typed, err)
	}
	s, err := structpb.NewStruct(content)
	if err != nil {
		return nil, fmt.Errorf("cannot convert a %T: %w", typed, err)
	}
	return s, nil
}

// asObserved returns what is desired of an object so that it stays just as it
// is: what this function once applied, and whatever the API server and
// controllers have filled in beside it, but nothing that they keep changing.
func asObserved(s *structpb.Struct) *structpb.Struct {
	meta := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	observed := s.GetFields()["metadata"].GetStructValue()
	for _, name := range []string{"name", "namespace"} {
		if v := observed.GetFields()[name]; v != nil {
			meta.Fields[name] = v
		}
	}
	for _, name := range []string{"labels", "annotations"} {
		if kept := ours(observed.GetFields()[name].GetStructValue()); len(kept) > 0 {
			meta.Fields[name] = structpb.NewStructValue(&structpb.Struct{Fields: kept})
		}
	}

	out := &structpb.Struct{Fields: map[string]*structpb.Value{"metadata": structpb.NewStructValue(meta)}}
	for _, name := range []string{"apiVersion", "kind", "spec"} {
		if v := s.GetFields()[name]; v != nil {
			out.Fields[name] = v
		}
	}
	return out
}

// ours returns the labels or annotations that this function sets.
func ours(all *structpb.Struct) map[string]*structpb.Value {
	kept := map[string]*structpb.Value{}
	for name, v := range all.GetFields() {
		if strings.HasPrefix(name, ownPrefix) || strings.HasPrefix(name, "app.kubernetes.io/") || name == annotationExternalName {
			kept[name] = v
		}
	}
	return kept
}

// stringAt returns the string at a path of a wire form, or nothing.
func stringAt(s *structpb.Struct, path ...string) string {
	v := structpb.NewStructValue(s)
	for _, name := range path {
		v = v.GetStructValue().GetFields()[name]
	}
	return v.GetStringValue()
}
