package fn

import (
	"fmt"
	"reflect"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// This file is the one place where typed objects and their wire form meet. How the
// one becomes the other is in convert.go.

// Parts of an object.
const (
	partSpec   = "spec"
	partStatus = "status"
)

// decode a wire form into a typed object: its metadata, and the parts that are
// named. A pod template costs more to decode than all that any step reads.
func decode(s *structpb.Struct, into any, parts ...string) error {
	v := reflect.ValueOf(into).Elem()
	wants := func(name string) bool {
		return name == "apiVersion" || name == "kind" || name == "metadata" || slices.Contains(parts, name)
	}
	return structFromWire(s, v, value.TypeReflectEntryOf(v.Type()), wants)
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
	delete(s.GetFields(), partStatus)
	delete(s.GetFields()["metadata"].GetStructValue().GetFields(), "creationTimestamp")
	return s, nil
}

// structOf returns the wire form of a typed value.
func structOf(typed any) (*structpb.Struct, error) {
	v := reflect.ValueOf(typed).Elem()
	s, err := structToWire(v, value.TypeReflectEntryOf(v.Type()))
	if err != nil {
		return nil, fmt.Errorf("cannot convert a %T: %w", typed, err)
	}
	return s, nil
}

// stringAt returns the string at a path of a wire form, or nothing.
func stringAt(s *structpb.Struct, path ...string) string {
	v := structpb.NewStructValue(s)
	for _, name := range path {
		v = v.GetStructValue().GetFields()[name]
	}
	return v.GetStringValue()
}
