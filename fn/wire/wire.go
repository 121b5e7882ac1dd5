// Package wire turns typed objects into the form in which a request has them, which is
// protobuf's Struct, and back.
package wire

import (
	"fmt"
	"reflect"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Parts of an object.
const (
	Spec   = "spec"
	Status = "status"
)

// Decode a wire form into a typed object: its metadata, and the parts that are
// named. A pod template costs more to decode than all that any step reads.
func Decode(s *structpb.Struct, into any, parts ...string) error {
	v := reflect.ValueOf(into).Elem()
	wants := func(name string) bool {
		return name == "apiVersion" || name == "kind" || name == "metadata" || slices.Contains(parts, name)
	}
	return structFromWire(s, v, value.TypeReflectEntryOf(v.Type()), wants)
}

// Decoded returns the named parts of a wire form as a typed object.
func Decoded[T any](s *structpb.Struct, parts ...string) (*T, error) {
	into := new(T)
	return into, Decode(s, into, parts...)
}

// Encode a typed object as its wire form: what is desired of it, no more.
func Encode(o runtime.Object) (*structpb.Struct, error) {
	s, err := EncodeValue(o)
	if err != nil {
		return nil, err
	}
	// A typed object has these whether it is meant to or not. Applied, they
	// would make the function their owner.
	delete(s.GetFields(), Status)
	delete(s.GetFields()["metadata"].GetStructValue().GetFields(), "creationTimestamp")
	return s, nil
}

// EncodeValue returns the wire form of a typed value.
func EncodeValue(typed any) (*structpb.Struct, error) {
	v := reflect.ValueOf(typed).Elem()
	s, err := structToWire(v, value.TypeReflectEntryOf(v.Type()))
	if err != nil {
		return nil, fmt.Errorf("cannot convert a %T: %w", typed, err)
	}
	return s, nil
}

// StringAt returns the string at a path of a wire form, or nothing.
func StringAt(s *structpb.Struct, path ...string) string {
	v := structpb.NewStructValue(s)
	for _, name := range path {
		v = v.GetStructValue().GetFields()[name]
	}
	return v.GetStringValue()
}
