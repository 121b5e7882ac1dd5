package tenant

import (
	"maps"
	"slices"
	"strings"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"

	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// This file tells what is desired of that which is to stay just as it was observed.

// preserved returns a resource as it was observed.
func (t *tenant) preserved(key string) plan.Composed {
	if w := t.observed.wire[key]; w != nil {
		return plan.Composed{Preserved: withRecordedName(preservedForm(key, w), w, t.xr.Status.DatabaseUID, t.xr.Status.DatabaseName)}
	}
	return plan.Composed{}
}

// preserveAll that the tenant consists of, just as it is.
func (t *tenant) preserveAll(p *progress) {
	for _, key := range composedKeys {
		p.Compose(key, t.preserved(key), t.wasReady())
	}
}

// preserve everything that a tenant has just as it is, and tell whether it has
// anything.
func preserve(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, ready bool) bool {
	found := false
	xr := req.GetObserved().GetComposite().GetResource()
	for _, key := range composedKeys {
		r := req.GetObserved().GetResources()[key].GetResource()
		// One that can't be read is there all the same.
		if foreign, _ := foreignObject(xr, r, key); r != nil && foreign == nil {
			plan.WriteResource(rsp, key, withRecordedName(preservedForm(key, r), r, wire.StringAt(xr, wire.Status, "databaseUID"), wire.StringAt(xr, wire.Status, "databaseName")), ready)
			found = true
		}
	}

	// The conditions are Crossplane's to write; those that aren't mentioned stay.
	status := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, v := range req.GetObserved().GetComposite().GetResource().GetFields()[wire.Status].GetStructValue().GetFields() {
		if name != "conditions" {
			status.Fields[name] = v
			found = true
		}
	}
	if found {
		plan.WriteStatus(rsp, status, ready)
	}
	return found
}

// notOurs are parts of a Job's spec that this function never sets and that people,
// and controllers that queue Jobs, change while it runs. To ask for them as they
// were observed would take back what somebody has changed since.
var notOurs = []string{"suspend", "parallelism", "ttlSecondsAfterFinished"}

// preservedForm returns what is desired of a composed resource that is to stay just as it
// was observed. One isn't: a Database object that may create, and has met a database
// of which nobody says that it created it. Were that one to go, provider-sql would
// create another in its image. So it is read, and what it asks for is left out, or it
// would pass for what was read.
func preservedForm(key string, s *structpb.Struct) *structpb.Struct {
	out := asObserved(s)
	if observed := s.GetFields()[wire.Spec].GetStructValue(); observed != nil && wire.StringAt(s, "kind") == "Job" {
		spec := maps.Clone(observed.GetFields())
		maps.DeleteFunc(spec, func(name string, _ *structpb.Value) bool { return slices.Contains(notOurs, name) })
		out.Fields[wire.Spec] = structpb.NewStructValue(&structpb.Struct{Fields: spec})
	}
	if key != keyDatabase {
		return out
	}
	db, err := wire.Decoded[sqlv1alpha1.Database](s, wire.Spec, wire.Status)
	if err != nil {
		return out
	}
	if !creates(db) {
		if failed, ok := goOn(db); ok {
			metadata := out.GetFields()["metadata"].GetStructValue()
			annotations := ours(s.GetFields()["metadata"].GetStructValue().GetFields()["annotations"].GetStructValue())
			annotations[meta.AnnotationKeyExternalCreateFailed] = structpb.NewStringValue(failed)
			metadata.Fields["annotations"] = structpb.NewStructValue(&structpb.Struct{Fields: annotations})
		}
		return out
	}
	if !available(db) || db.GetAnnotations()[meta.AnnotationKeyExternalCreateSucceeded] != "" {
		return out
	}

	policies := &structpb.ListValue{}
	for _, action := range policiesRead {
		policies.Values = append(policies.Values, structpb.NewStringValue(string(action)))
	}
	spec := maps.Clone(out.GetFields()[wire.Spec].GetStructValue().GetFields())
	spec["managementPolicies"] = structpb.NewListValue(policies)
	params := maps.Clone(spec["forProvider"].GetStructValue().GetFields())
	delete(params, "connectionLimit")
	spec["forProvider"] = structpb.NewStructValue(&structpb.Struct{Fields: params})
	out.Fields[wire.Spec] = structpb.NewStructValue(&structpb.Struct{Fields: spec})
	return out
}

// withRecordedName returns what is preserved with the database's name that is on record for an
// object of that UID. Whatever somebody has written there instead, provider-sql would
// change another database, and it would go on until the request is mended.
func withRecordedName(preserved, observed *structpb.Struct, uid, name string) *structpb.Struct {
	if uid == "" || name == "" || wire.StringAt(observed, "metadata", "uid") != uid {
		return preserved
	}
	annotations := preserved.GetFields()["metadata"].GetStructValue().GetFields()["annotations"].GetStructValue()
	if was, there := annotations.GetFields()[meta.AnnotationKeyExternalName]; there && was.GetStringValue() != name {
		annotations.Fields[meta.AnnotationKeyExternalName] = structpb.NewStringValue(name)
	}
	return preserved
}

// asObserved returns what is desired of an object so that it stays just as it
// is: what this function once applied, and whatever the API server and
// controllers have filled in beside it, but nothing that they keep changing.
func asObserved(s *structpb.Struct) *structpb.Struct {
	metadata := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	observed := s.GetFields()["metadata"].GetStructValue()
	for _, name := range []string{"name", "namespace"} {
		if v := observed.GetFields()[name]; v != nil {
			metadata.Fields[name] = v
		}
	}
	for _, name := range []string{"labels", "annotations"} {
		if preserved := ours(observed.GetFields()[name].GetStructValue()); len(preserved) > 0 {
			metadata.Fields[name] = structpb.NewStructValue(&structpb.Struct{Fields: preserved})
		}
	}

	out := &structpb.Struct{Fields: map[string]*structpb.Value{"metadata": structpb.NewStructValue(metadata)}}
	for _, name := range []string{"apiVersion", "kind", wire.Spec} {
		if v := s.GetFields()[name]; v != nil {
			out.Fields[name] = v
		}
	}
	return out
}

// ours returns the labels or annotations that this function sets.
func ours(all *structpb.Struct) map[string]*structpb.Value {
	preserved := map[string]*structpb.Value{}
	for name, v := range all.GetFields() {
		if strings.HasPrefix(name, ownPrefix) || strings.HasPrefix(name, "app.kubernetes.io/") || name == meta.AnnotationKeyExternalName {
			preserved[name] = v
		}
	}
	return preserved
}
