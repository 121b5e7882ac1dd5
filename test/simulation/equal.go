package simulation

import (
	"maps"
	"reflect"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
)

// Most of what a history costs is comparing objects that haven't changed. What
// is here does without reflection, and sees at once that two pointers are one.

// same tells whether two values of objects are equal.
func same(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, same)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case nil, string, bool, float64:
		return a == b
	default:
		return reflect.DeepEqual(a, b)
	}
}

// sameWire tells whether two wire forms are equal.
func sameWire(a, b *structpb.Struct) bool {
	return a == b || a != nil && b != nil && maps.EqualFunc(a.GetFields(), b.GetFields(), sameValue)
}

func sameValue(a, b *structpb.Value) bool {
	if a == b {
		return true
	}
	switch x := a.GetKind().(type) {
	case *structpb.Value_StructValue:
		y, ok := b.GetKind().(*structpb.Value_StructValue)
		return ok && sameWire(x.StructValue, y.StructValue)
	case *structpb.Value_ListValue:
		y, ok := b.GetKind().(*structpb.Value_ListValue)
		return ok && slices.EqualFunc(x.ListValue.GetValues(), y.ListValue.GetValues(), sameValue)
	case *structpb.Value_StringValue:
		y, ok := b.GetKind().(*structpb.Value_StringValue)
		return ok && x.StringValue == y.StringValue
	case *structpb.Value_NumberValue:
		y, ok := b.GetKind().(*structpb.Value_NumberValue)
		return ok && x.NumberValue == y.NumberValue
	case *structpb.Value_BoolValue:
		y, ok := b.GetKind().(*structpb.Value_BoolValue)
		return ok && x.BoolValue == y.BoolValue
	case *structpb.Value_NullValue:
		_, ok := b.GetKind().(*structpb.Value_NullValue)
		return ok
	default:
		return b.GetKind() == nil
	}
}

// sameRequired tells whether the same resources were found. None that was looked
// for isn't the same as an empty list of them.
func sameRequired(a, b map[string]*fnv1.Resources) bool {
	return maps.EqualFunc(a, b, func(a, b *fnv1.Resources) bool {
		return (a == nil) == (b == nil) && slices.EqualFunc(a.GetItems(), b.GetItems(), func(a, b *fnv1.Resource) bool {
			return sameWire(a.GetResource(), b.GetResource())
		})
	})
}
