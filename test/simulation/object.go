package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
)

// A ref names an object in the cluster.
type ref struct{ kind, namespace, name string }

func (r ref) String() string {
	return strings.TrimPrefix(r.kind+" "+r.namespace+"/"+r.name, "/")
}

// An object in the cluster, in the form that the API server keeps: maps, lists,
// strings, booleans and, as in protobuf's wire form, numbers that are floats.
type object struct {
	ref
	body map[string]any

	// applied holds the fields that Crossplane has applied and nobody has taken
	// from it since: those that disappear once they are left out.
	applied map[string]bool

	// others holds the fields that somebody else has set. Crossplane may have them as
	// well, at the value that they have.
	others map[string]bool

	// pod tells whether a pod of this Job is running.
	pod bool

	// dumps and dumpsFiles are what a backup's pod has found when it started.
	dumps, dumpsFiles int

	// creates tells whether provider-sql may have created a database by this
	// object when it looked at it last.
	creates bool

	// missed tells that provider-sql saw no database when it looked for this object's
	// last.
	missed bool

	// unreferenced tells that somebody has taken it out of its composite resource's
	// references: it isn't shown to the function until it is desired again.
	unreferenced bool

	// settled is what was desired of the object when it was applied last, as long
	// as nobody else has written to it since: applied again, it changes nothing.
	settled *structpb.Struct

	// theirs is the object as somebody else made it, if it is none of a tenant's.
	theirs map[string]any

	// before is a composite resource as it was when its delete was carried out.
	before map[string]any

	// quiet objects have nothing in store for their controller.
	quiet bool

	// wire form, and that of the spec in one generation of it.
	wire     *structpb.Struct
	specWire *structpb.Value
	specOf   any
}

// dig returns the value at a path, or nil.
func dig(m map[string]any, path ...string) any {
	var v any = m
	for _, p := range path {
		mm, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = mm[p]
	}
	return v
}

// text returns the string at a path, or nothing.
func text(m map[string]any, path ...string) string {
	s, _ := dig(m, path...).(string)
	return s
}

// isTrue returns the boolean at a path, or false.
func isTrue(m map[string]any, path ...string) bool {
	b, _ := dig(m, path...).(bool)
	return b
}

// list returns the list at a path, or nothing.
func list(m map[string]any, path ...string) []any {
	l, _ := dig(m, path...).([]any)
	return l
}

// put a value at a path.
func put(m map[string]any, value any, path ...string) {
	for _, p := range path[:len(path)-1] {
		next, ok := m[p].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[p] = next
		}
		m = next
	}
	m[path[len(path)-1]] = value
}

// drop the value at a path.
func drop(m map[string]any, path ...string) {
	if parent, ok := dig(m, path[:len(path)-1]...).(map[string]any); ok {
		delete(parent, path[len(path)-1])
	}
}

// clone copies a value deeply.
func clone[T any](v T) T {
	c, _ := cloneAny(v).(T)
	return c
}

func cloneAny(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, e := range v {
			c[k] = cloneAny(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = cloneAny(e)
		}
		return c
	default:
		return v
	}
}

// separator of the parts of a field's path, which no field name contains.
const separator = "\x00"

// leaves of a value by path. A list is one leaf: those that matter here are
// replaced whole when they are applied.
func leaves(prefix string, v any, into map[string]any) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		into[prefix] = v
		return
	}
	for k, e := range m {
		leaves(prefix+separator+k, e, into)
	}
}

// managed returns the fields of a body that server-side apply is about.
func managed(body map[string]any) map[string]any {
	out := map[string]any{}
	for _, path := range [][]string{{"spec"}, {"metadata", "labels"}, {"metadata", "annotations"}} {
		if m, ok := dig(body, path...).(map[string]any); ok && len(m) > 0 {
			leaves(strings.Join(path, separator), m, out)
		}
	}
	return out
}

// merge the fields that Crossplane applies into a body, by the rules of a forced
// server-side apply: they are set, and fields that it had applied before and now
// leaves out are removed, unless others have them too. It returns what Crossplane and
// what others have then.
func merge(body map[string]any, applied, others map[string]bool, desired map[string]any) (map[string]bool, map[string]bool) {
	fields := managed(desired)
	for path := range applied {
		if _, still := fields[path]; !still && !others[path] {
			drop(body, strings.Split(path, separator)...)
		}
	}
	now, rest := make(map[string]bool, len(fields)), maps.Clone(others)
	for path, v := range fields {
		at := strings.Split(path, separator)
		if !same(dig(body, at...), v) {
			delete(rest, path)
		}
		put(body, cloneAny(v), at...)
		now[path] = true
	}
	return now, rest
}

// disown the fields that somebody else has just changed: they are theirs alone.
func (o *object) disown(before, after map[string]any) {
	for path, v := range after {
		if was, there := before[path]; there && same(was, v) {
			continue
		}
		delete(o.applied, path)
		if o.others == nil {
			o.others = map[string]bool{}
		}
		o.others[path] = true
	}
	for path := range before {
		if _, still := after[path]; !still {
			delete(o.applied, path)
			delete(o.others, path)
		}
	}
}

// message returns the wire form, made once for every form that the object has.
// Its spec, which is the most of it, is made once for every generation.
func (o *object) message() *structpb.Struct {
	if o.wire != nil {
		return o.wire
	}
	generation := dig(o.body, "metadata", "generation")
	if o.specOf != generation {
		o.specWire, o.specOf = nil, generation
	}
	o.wire = &structpb.Struct{Fields: make(map[string]*structpb.Value, len(o.body))}
	for name, part := range o.body {
		v := o.specWire
		if name != "spec" || v == nil {
			var err error
			if v, err = structpb.NewValue(part); err != nil {
				panic(fmt.Sprintf("simulation: %s: %v", o.ref, err))
			}
		}
		if name == "spec" {
			o.specWire = v
		}
		o.wire.Fields[name] = v
	}
	return o.wire
}

func (o *object) deleting() bool { return text(o.body, "metadata", "deletionTimestamp") != "" }
func (o *object) uid() string    { return text(o.body, "metadata", "uid") }

func (o *object) annotation(name string) string { return text(o.body, "metadata", "annotations", name) }

// controller is the UID of the object's controller.
func (o *object) controller() string {
	for _, r := range list(o.body, "metadata", "ownerReferences") {
		if m, ok := r.(map[string]any); ok && isTrue(m, "controller") {
			return text(m, "uid")
		}
	}
	return ""
}

func (o *object) finalizers() []any { return list(o.body, "metadata", "finalizers") }

// key is the object's composition resource name.
func (o *object) key() string { return o.annotation(annotationKey) }

// condition of an object's status.
func condition(body map[string]any, typ string) map[string]any {
	for _, c := range list(body, "status", "conditions") {
		if m, ok := c.(map[string]any); ok && text(m, "type") == typ {
			return m
		}
	}
	return nil
}

// conditionTrue tells whether a condition is true.
func conditionTrue(body map[string]any, typ string) bool {
	return text(condition(body, typ), "status") == "True"
}

// setCondition sets a condition. As in Crossplane's own, one that doesn't change
// keeps its time.
func setCondition(body map[string]any, now string, c map[string]any) {
	conditions := slices.Clone(list(body, "status", "conditions"))
	for i := range conditions {
		old, ok := conditions[i].(map[string]any)
		if !ok || old["type"] != c["type"] {
			continue
		}
		c["lastTransitionTime"] = old["lastTransitionTime"]
		if same(old, c) {
			return
		}
		c["lastTransitionTime"] = now
		conditions[i] = c
		put(body, conditions, "status", "conditions")
		return
	}
	c["lastTransitionTime"] = now
	put(body, append(conditions, any(c)), "status", "conditions")
}

// sorted keys of a map.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
