package tenant

import (
	"fmt"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"

	"github.com/plana-pulse/function-planaclient/fn/wire"
)

// observed are the resources that a request shows, by their key in the
// pipeline. A nil one doesn't exist.
type observed struct {
	guard    *protectionv1beta1.ClusterUsage
	database *sqlv1alpha1.Database
	route    *gwv1.HTTPRoute
	backup   *batchv1.CronJob

	// jobs of effects, by the effect's name.
	jobs map[string]*batchv1.Job

	// template is the object that declares the tenant's template database, and
	// templateKnown tells whether it has been looked for.
	template      *sqlv1alpha1.Database
	templateKnown bool

	// quota limits the tenant's version namespace, and quotaKnown tells whether
	// it has been looked for.
	quota      *corev1.ResourceQuota
	quotaKnown bool

	// anyDatabase is the object of the tenant's name and anyJobs are those with its
	// label, composed or not. They too are known once they have been looked for.
	anyDatabase      *sqlv1alpha1.Database
	anyDatabaseKnown bool
	anyJobs          []batchv1.Job
	anyJobsKnown     bool

	// foreign are objects that Crossplane shows as composed and that this composite
	// doesn't control, by key. Nothing else here knows of them.
	foreign map[string]*metav1.PartialObjectMetadata

	// found are the objects that were looked for because one is to be composed, by
	// key: nil where there is none.
	found     map[string]*metav1.PartialObjectMetadata
	foundWire map[string]*structpb.Struct

	// wire holds all composed ones as they came.
	wire map[string]*structpb.Struct
}

// observe decodes what a request shows of the resources that this function
// composes, each once. Other functions' resources are none of its business.
func observe(req *fnv1.RunFunctionRequest) (*observed, error) {
	o := &observed{
		jobs:      map[string]*batchv1.Job{},
		foreign:   map[string]*metav1.PartialObjectMetadata{},
		found:     map[string]*metav1.PartialObjectMetadata{},
		foundWire: map[string]*structpb.Struct{},
		wire:      map[string]*structpb.Struct{},
	}

	xr := req.GetObserved().GetComposite().GetResource()
	resources := req.GetObserved().GetResources()
	for _, key := range composedKeys {
		there, known, err := required[metav1.PartialObjectMetadata](req, key)
		if err != nil {
			return nil, err
		}
		if known {
			o.found[key] = there
			if there != nil {
				o.foundWire[key] = req.GetRequiredResources()[key].GetItems()[0].GetResource()
			}
		}

		s := resources[key].GetResource()
		if s == nil {
			continue
		}
		foreign, err := foreignObject(xr, s, key)
		if err != nil {
			return nil, fmt.Errorf("cannot read the observed composed resource %q: %w", key, err)
		}
		if foreign != nil {
			o.foreign[key] = foreign
			continue
		}
		o.wire[key] = s

		switch key {
		case keyGuard:
			o.guard, err = wire.Decoded[protectionv1beta1.ClusterUsage](s, wire.Status)
		case keyDatabase:
			o.database, err = wire.Decoded[sqlv1alpha1.Database](s, wire.Spec, wire.Status)
		case keyRoute:
			o.route, err = wire.Decoded[gwv1.HTTPRoute](s, wire.Status)
		case keyBackup:
			o.backup, err = wire.Decoded[batchv1.CronJob](s, wire.Status)
		default:
			o.jobs[key], err = wire.Decoded[batchv1.Job](s, wire.Status)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the observed composed resource %q: %w", key, err)
		}
	}

	var err error
	if o.template, o.templateKnown, err = required[sqlv1alpha1.Database](req, requirementTemplate); err != nil {
		return nil, err
	}
	if o.quota, o.quotaKnown, err = required[corev1.ResourceQuota](req, requirementQuota); err != nil {
		return nil, err
	}
	if o.anyDatabase, o.anyDatabaseKnown, err = required[sqlv1alpha1.Database](req, keyDatabase); err != nil {
		return nil, err
	}
	if o.anyJobs, o.anyJobsKnown, err = requiredAll[batchv1.Job](req, requirementJobs, wire.Status); err != nil {
		return nil, err
	}
	return o, nil
}

// required returns a required resource, and whether it has been looked for.
func required[T any](req *fnv1.RunFunctionRequest, name string) (*T, bool, error) {
	all, looked, err := requiredAll[T](req, name, wire.Spec, wire.Status)
	if len(all) == 0 {
		return nil, looked, err
	}
	return &all[0], looked, err
}

// requiredAll returns the named parts of all resources of a requirement, and
// whether they have been looked for.
func requiredAll[T any](req *fnv1.RunFunctionRequest, name string, parts ...string) ([]T, bool, error) {
	found, looked := req.GetRequiredResources()[name]
	var all []T
	for _, item := range found.GetItems() {
		if item.GetResource() == nil {
			continue
		}
		r, err := wire.Decoded[T](item.GetResource(), parts...)
		if err != nil {
			return nil, looked, fmt.Errorf("cannot read the required resource %q: %w", name, err)
		}
		all = append(all, *r)
	}
	return all, looked, nil
}

// exists tells whether a composed resource is observed.
func (o *observed) exists(key string) bool {
	return o.wire[key] != nil
}
