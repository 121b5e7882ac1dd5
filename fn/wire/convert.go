package wire

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// Typed values and their wire form, each turned into the other in one pass. The
// way that apimachinery offers goes over a map[string]any, which used to be most
// of what a call cost. What JSON makes of a type is left to the library that the
// API server's own field management asks.

var (
	errNotUTF8 = errors.New("is not valid UTF-8")
	objectMeta = reflect.TypeFor[metav1.ObjectMeta]()
)

// toWire returns the wire form of a typed value.
func toWire(v reflect.Value) (*structpb.Value, error) {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return structpb.NewNullValue(), nil
		}
		v = v.Elem()
	}

	entry := value.TypeReflectEntryOf(v.Type())
	if entry.CanConvertToUnstructured() {
		plain, err := entry.ToUnstructured(v)
		if err != nil {
			return nil, err
		}
		return structpb.NewValue(plain)
	}

	switch v.Kind() {
	case reflect.String:
		if !utf8.ValidString(v.String()) {
			return nil, errNotUTF8
		}
		return structpb.NewStringValue(v.String()), nil
	case reflect.Bool:
		return structpb.NewBoolValue(v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return structpb.NewNumberValue(float64(v.Int())), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return structpb.NewNumberValue(float64(v.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return structpb.NewNumberValue(v.Float()), nil
	case reflect.Slice:
		return sliceToWire(v)
	case reflect.Map:
		return mapToWire(v)
	case reflect.Struct:
		s, err := structToWire(v, entry)
		return structpb.NewStructValue(s), err
	default:
		return nil, fmt.Errorf("a %s has no wire form", v.Kind())
	}
}

func sliceToWire(v reflect.Value) (*structpb.Value, error) {
	if v.IsNil() {
		return structpb.NewNullValue(), nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		return structpb.NewStringValue(base64.StdEncoding.EncodeToString(v.Bytes())), nil
	}
	l := &structpb.ListValue{Values: make([]*structpb.Value, v.Len())}
	for i := range l.GetValues() {
		item, err := toWire(v.Index(i))
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		l.Values[i] = item
	}
	return structpb.NewListValue(l), nil
}

func mapToWire(v reflect.Value) (*structpb.Value, error) {
	if v.IsNil() {
		return structpb.NewNullValue(), nil
	}
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, v.Len())}
	if m, ok := v.Interface().(map[string]string); ok {
		for name, item := range m {
			if !utf8.ValidString(name) || !utf8.ValidString(item) {
				return nil, fmt.Errorf("%s: %w", name, errNotUTF8)
			}
			s.Fields[name] = structpb.NewStringValue(item)
		}
		return structpb.NewStructValue(s), nil
	}
	for it := v.MapRange(); it.Next(); {
		item, err := toWire(it.Value())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", it.Key(), err)
		}
		s.Fields[it.Key().String()] = item
	}
	return structpb.NewStructValue(s), nil
}

func structToWire(v reflect.Value, entry *value.TypeReflectCacheEntry) (*structpb.Struct, error) {
	s := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for _, f := range entry.OrderedFields() {
		field := f.GetFrom(v)
		if f.CanOmit(field) {
			continue
		}
		item, err := toWire(field)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.JsonName, err)
		}
		s.Fields[f.JsonName] = item
	}
	return s, nil
}

// A wireError says what a field of a wire form should be, and where it is.
type wireError struct {
	path string
	want string
	got  string
}

func (e *wireError) Error() string {
	return fmt.Sprintf("%s: must be %s, not %s", e.path, e.want, e.got)
}

// at a place that the path begins with.
func at(name string, err error) error {
	if e := (*wireError)(nil); errors.As(err, &e) {
		e.path = name + e.path
		return e
	}
	return err
}

// fromWire fills in a typed value, which is settable and zero. An error is of the
// first field by name, so that it is the same every time.
func fromWire(s *structpb.Value, v reflect.Value) error {
	if _, null := s.GetKind().(*structpb.Value_NullValue); null || s.GetKind() == nil {
		return nil
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return fromWire(s, v.Elem())
	}

	// Every condition has a time, and the general way goes over JSON.
	if when, ok := v.Addr().Interface().(*metav1.Time); ok {
		parsed, err := time.Parse(time.RFC3339, s.GetStringValue())
		if err != nil {
			return &wireError{want: "a time such as 2026-11-02T08:00:00Z", got: kindOf(s)}
		}
		*when = metav1.NewTime(parsed.Local())
		return nil
	}

	entry := value.TypeReflectEntryOf(v.Type())
	if entry.CanConvertFromUnstructured() {
		if err := entry.FromUnstructured(reflect.ValueOf(s.AsInterface()), v); err != nil {
			return &wireError{want: "a " + v.Type().Name(), got: kindOf(s)}
		}
		return nil
	}

	switch k := s.GetKind().(type) {
	case *structpb.Value_StringValue:
		switch {
		case v.Kind() == reflect.String:
			v.SetString(k.StringValue)
			return nil
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
			b, err := base64.StdEncoding.DecodeString(k.StringValue)
			if err == nil {
				v.SetBytes(b)
				return nil
			}
		}
	case *structpb.Value_BoolValue:
		if v.Kind() == reflect.Bool {
			v.SetBool(k.BoolValue)
			return nil
		}
	case *structpb.Value_NumberValue:
		if numberFromWire(k.NumberValue, v) {
			return nil
		}
	case *structpb.Value_ListValue:
		if v.Kind() == reflect.Slice {
			return sliceFromWire(k.ListValue, v)
		}
	case *structpb.Value_StructValue:
		switch v.Kind() {
		case reflect.Map:
			return mapFromWire(k.StructValue, v)
		case reflect.Struct:
			return structFromWire(k.StructValue, v, entry, nil)
		}
	}
	return &wireError{want: wanted(v.Type()), got: kindOf(s)}
}

// numberFromWire sets a number, unless it doesn't fit.
func numberFromWire(n float64, v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if n != math.Trunc(n) || math.Abs(n) >= 1<<63 || v.OverflowInt(int64(n)) {
			return false
		}
		v.SetInt(int64(n))
		return true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n != math.Trunc(n) || n < 0 || n >= 1<<64 || v.OverflowUint(uint64(n)) {
			return false
		}
		v.SetUint(uint64(n))
		return true
	case reflect.Float32, reflect.Float64:
		v.SetFloat(n)
		return true
	default:
		return false
	}
}

func sliceFromWire(l *structpb.ListValue, v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), len(l.GetValues()), len(l.GetValues())))
	for i, item := range l.GetValues() {
		if err := fromWire(item, v.Index(i)); err != nil {
			return at(fmt.Sprintf("[%d]", i), err)
		}
	}
	return nil
}

func mapFromWire(s *structpb.Struct, v reflect.Value) error {
	// Labels and annotations are most of the maps that there are.
	if into, ok := v.Addr().Interface().(*map[string]string); ok {
		if m, ok := stringsFromWire(s); ok {
			*into = m
			return nil
		}
	}

	t := v.Type()
	v.Set(reflect.MakeMapWithSize(t, len(s.GetFields())))
	for _, name := range slices.Sorted(maps.Keys(s.GetFields())) {
		item := reflect.New(t.Elem()).Elem()
		if err := fromWire(s.GetFields()[name], item); err != nil {
			return at("."+name, err)
		}
		v.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), item)
	}
	return nil
}

// stringsFromWire returns a map of strings, if that is all that it holds.
func stringsFromWire(s *structpb.Struct) (map[string]string, bool) {
	m := make(map[string]string, len(s.GetFields()))
	for name, item := range s.GetFields() {
		k, ok := item.GetKind().(*structpb.Value_StringValue)
		if !ok {
			return nil, false
		}
		m[name] = k.StringValue
	}
	return m, true
}

// structFromWire fills in the fields of a struct that are wanted: all if that is
// nil.
func structFromWire(s *structpb.Struct, v reflect.Value, entry *value.TypeReflectCacheEntry, wants func(name string) bool) error {
	for _, f := range entry.OrderedFields() {
		item, given := s.GetFields()[f.JsonName]
		if !given || wants != nil && !wants(f.JsonName) {
			continue
		}
		// Who set which field when is longer than all that any step reads.
		if f.JsonName == "managedFields" && v.Type() == objectMeta {
			continue
		}
		if err := fromWire(item, f.GetFrom(v)); err != nil {
			return at("."+f.JsonName, err)
		}
	}
	return nil
}

// wanted says what a type is written as.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fmt.Sprintf("a whole number of %d bits", t.Bits())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number of %d bits, and no less than 0", t.Bits())
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

// kindOf says what a wire form is.
func kindOf(s *structpb.Value) string {
	switch k := s.GetKind().(type) {
	case *structpb.Value_StringValue:
		return fmt.Sprintf("the string %q", k.StringValue)
	case *structpb.Value_BoolValue:
		return fmt.Sprint(k.BoolValue)
	case *structpb.Value_NumberValue:
		return fmt.Sprint(k.NumberValue)
	case *structpb.Value_ListValue:
		return "a list"
	default:
		return "an object"
	}
}
