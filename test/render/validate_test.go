package render

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossplane/cli/v2/pkg/validate"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xcrd"
	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/apis/batch"
	_ "k8s.io/kubernetes/pkg/apis/batch/install" // Defaults and conversions.
	_ "k8s.io/kubernetes/pkg/apis/core/install"  // Defaults and conversions.
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
	psapi "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

// validators say what the API server of a cluster with everything installed
// would say.
type validators struct {
	crds []*extv1.CustomResourceDefinition
	pods policy.Evaluator
}

// newValidators loads the CRDs from the very modules whose types the function
// is built with, and from the core that it is rendered with.
func newValidators(ctx context.Context, xrd *extv1.CustomResourceDefinition) (*validators, error) {
	v := &validators{crds: []*extv1.CustomResourceDefinition{xrd}}
	for _, source := range []struct{ module, in, path string }{
		{in: root, module: "github.com/crossplane-contrib/provider-sql", path: "package/crds"},
		{in: root, module: "sigs.k8s.io/gateway-api", path: "config/crd/standard"},
		{in: root + "/tools/crossplane", module: "github.com/crossplane/crossplane/v2", path: "cluster/crds"},
	} {
		out, err := command(ctx, source.in, "go", "mod", "download", "-json", source.module)
		if err != nil {
			return nil, fmt.Errorf("cannot find the CRDs of %s: %w", source.module, err)
		}
		module := struct {
			Dir string `json:"Dir"`
		}{}
		if err := json.Unmarshal(out, &module); err != nil {
			return nil, fmt.Errorf("cannot find the CRDs of %s: %w", source.module, err)
		}
		objects, err := loadFolder(filepath.Join(module.Dir, source.path))
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			if o.GetKind() != "CustomResourceDefinition" {
				continue
			}
			crd := &extv1.CustomResourceDefinition{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, crd); err != nil {
				return nil, fmt.Errorf("cannot read CRD %s: %w", o.GetName(), err)
			}
			v.crds = append(v.crds, crd)
		}
	}

	var err error
	v.pods, err = policy.NewEvaluator(policy.DefaultChecks(), nil)
	return v, err
}

// validate what a render has put out, over what was observed. Every problem is
// one line.
func (v *validators) validate(ctx context.Context, rendered, observed []*unstructured.Unstructured) []string {
	var objects []*unstructured.Unstructured
	for _, o := range rendered {
		if o.GroupVersionKind().Group != "render.crossplane.io" {
			objects = append(objects, o)
		}
	}

	result, err := validate.SchemaValidate(ctx, objects, v.crds)
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	say := func(o *unstructured.Unstructured, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s %s: %s", o.GetKind(), o.GetName(), fmt.Sprintf(format, args...)))
	}
	for i, o := range objects {
		if r := result.Resources[i]; r.Status != validate.ValidationStatusValid {
			say(o, "%s", r.Status)
			for _, e := range r.Errors {
				say(o, "%s", e.Message)
			}
			continue
		}
		if namespaced := v.namespaced(o); namespaced != (o.GetNamespace() != "") {
			say(o, "is in namespace %q, but namespaced is %t", o.GetNamespace(), namespaced)
		}
		for _, problem := range v.pod(o) {
			say(o, "%s", problem)
		}
		old := find(observed, o)
		if old == nil {
			if _, err := v.stored(ctx, o); err != nil {
				say(o, "%s", err)
			}
			continue
		}
		for _, problem := range v.validateUpdate(ctx, applied(old, o), old) {
			say(o, "%s", problem)
		}
	}
	return problems
}

// namespaced tells whether objects of this kind are. Of Kubernetes' own kinds
// this function composes none that isn't.
func (v *validators) namespaced(o *unstructured.Unstructured) bool {
	crd := v.crd(o)
	return crd == nil || crd.Spec.Scope == extv1.NamespaceScoped
}

// crd of the object, or nil if its kind is Kubernetes' own.
func (v *validators) crd(o *unstructured.Unstructured) *extv1.CustomResourceDefinition {
	for _, crd := range v.crds {
		if crd.Spec.Group == o.GroupVersionKind().Group && crd.Spec.Names.Kind == o.GetKind() {
			return crd
		}
	}
	return nil
}

// pod checks the pods of a Job or CronJob.
func (v *validators) pod(o *unstructured.Unstructured) []string {
	var spec batchv1.JobSpec
	var err error
	switch o.GetKind() {
	case "Job":
		j := &batchv1.Job{}
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, j)
		spec = j.Spec
	case "CronJob":
		c := &batchv1.CronJob{}
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, c)
		spec = c.Spec.JobTemplate.Spec
	default:
		return nil
	}
	if err != nil {
		return []string{err.Error()}
	}

	problems := bounded(spec)
	restricted := psapi.LevelVersion{Level: psapi.LevelRestricted, Version: psapi.LatestVersion()}
	for _, r := range v.pods.EvaluatePod(restricted, &spec.Template.ObjectMeta, &spec.Template.Spec) {
		if !r.Allowed {
			problems = append(problems, fmt.Sprintf("pod security: %s: %s", r.ForbiddenReason, r.ForbiddenDetail))
		}
	}
	return problems
}

// bounded checks what Kubernetes permits and this project doesn't: pods without
// requests and limits, with a service account's token, or without an end.
func bounded(spec batchv1.JobSpec) []string {
	var problems []string
	pod := spec.Template.Spec
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			for what, list := range map[string]corev1.ResourceList{"request": c.Resources.Requests, "limit": c.Resources.Limits} {
				if q := list[name]; q.Sign() <= 0 {
					problems = append(problems, fmt.Sprintf("container %s has no %s %s", c.Name, name, what))
				}
			}
		}
	}
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		problems = append(problems, "mounts a service account's token")
	}
	if spec.ActiveDeadlineSeconds == nil {
		problems = append(problems, "has no deadline")
	}
	if spec.BackoffLimit == nil || *spec.BackoffLimit > 10 {
		problems = append(problems, "has no bound to its retries")
	}
	return problems
}

// A workload is what the API server knows of a kind of its own.
type workload struct {
	versioned, internal runtime.Object
	strategy            interface {
		rest.RESTCreateStrategy
		rest.RESTUpdateStrategy
	}
}

// workloadOf returns the workload of an object, or nil if its kind is custom.
func workloadOf(o *unstructured.Unstructured) *workload {
	switch o.GetKind() {
	case "Job":
		return &workload{&batchv1.Job{}, &batch.Job{}, job.Strategy}
	case "CronJob":
		return &workload{&batchv1.CronJob{}, &batch.CronJob{}, cronjob.Strategy}
	default:
		return nil
	}
}

// convert an object into the API server's own type, with defaults.
func (w *workload) convert(o *unstructured.Unstructured) error {
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, w.versioned); err != nil {
		return err
	}
	legacyscheme.Scheme.Default(w.versioned)
	return legacyscheme.Scheme.Convert(w.versioned, w.internal, nil)
}

// stored returns an object as the API server stores it when it is created: with
// defaults, and with what the server adds. The error says why the server would
// refuse it, or warn of it.
func (v *validators) stored(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	o = o.DeepCopy()
	if o.GetUID() == "" {
		o.SetUID(uid(o.GetName()))
	}
	o.SetResourceVersion("1")
	o.SetGeneration(1)

	w := workloadOf(o)
	if w == nil {
		return o, complain(admit(ctx, v.crd(o), o.Object, nil))
	}
	if err := w.convert(o); err != nil {
		return nil, err
	}
	ctx = request.WithNamespace(ctx, o.GetNamespace())
	w.strategy.PrepareForCreate(ctx, w.internal)
	problems := append(lines(w.strategy.Validate(ctx, w.internal)), w.strategy.WarningsOnCreate(ctx, w.internal)...)
	if err := complain(problems); err != nil {
		return nil, err
	}

	if err := legacyscheme.Scheme.Convert(w.internal, w.versioned, nil); err != nil {
		return nil, err
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w.versioned)
	if err != nil {
		return nil, err
	}
	delete(fields, "status")
	stored := &unstructured.Unstructured{Object: fields}
	stored.SetGroupVersionKind(o.GroupVersionKind())
	return stored, nil
}

// validateUpdate checks whether the API server would let an object become
// another.
func (v *validators) validateUpdate(ctx context.Context, o, old *unstructured.Unstructured) []string {
	w, before := workloadOf(o), workloadOf(old)
	if w == nil {
		return admit(ctx, v.crd(o), o.DeepCopy().Object, old.Object)
	}
	if err := errors.Join(w.convert(o), before.convert(old)); err != nil {
		return []string{err.Error()}
	}
	ctx = request.WithNamespace(ctx, o.GetNamespace())
	w.strategy.PrepareForUpdate(ctx, w.internal, before.internal)
	return lines(w.strategy.ValidateUpdate(ctx, w.internal, before.internal))
}

// applied returns an object after another was applied over it.
func applied(old, o *unstructured.Unstructured) *unstructured.Unstructured {
	a := old.DeepCopy()
	merge(a.Object, o.Object)
	return a
}

// merge an applied configuration into an object: maps by key, all else by
// replacement.
func merge(into, from map[string]any) {
	for k, v := range from {
		a, ok := into[k].(map[string]any)
		if b, isMap := v.(map[string]any); ok && isMap {
			merge(a, b)
			continue
		}
		into[k] = v
	}
}

// find the object of the same identity.
func find(in []*unstructured.Unstructured, o *unstructured.Unstructured) *unstructured.Unstructured {
	i := slices.IndexFunc(in, func(c *unstructured.Unstructured) bool {
		return c.GroupVersionKind() == o.GroupVersionKind() && c.GetNamespace() == o.GetNamespace() && c.GetName() == o.GetName()
	})
	if i < 0 {
		return nil
	}
	return in[i]
}

func complain(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

// admit an object of a custom kind, or its update if there is an old one: fill in
// the defaults, and return what the API server would say.
func admit(ctx context.Context, crd *extv1.CustomResourceDefinition, o, old map[string]any) []string {
	internal := &apiextensions.CustomResourceDefinition{}
	if err := extv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(crd.DeepCopy(), internal, nil); err != nil {
		return []string{err.Error()}
	}
	version := (&unstructured.Unstructured{Object: o}).GroupVersionKind().Version
	validation, err := apiextensions.GetSchemaForVersion(internal, version)
	if err != nil {
		return []string{err.Error()}
	}
	structural, err := schema.NewStructural(validation.OpenAPIV3Schema)
	if err != nil {
		return []string{err.Error()}
	}
	validator, _, err := crdvalidation.NewSchemaValidator(validation.OpenAPIV3Schema)
	if err != nil {
		return []string{err.Error()}
	}

	defaulting.Default(o, structural)
	errs := crdvalidation.ValidateCustomResource(nil, o, validator)
	for _, unknown := range pruning.PruneWithOptions(runtime.DeepCopyJSON(o), structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Forbidden(field.NewPath(unknown), "unknown field"))
	}
	// As in the API server, rules are only asked about what has the right types.
	if len(errs) == 0 {
		rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
		var before any
		if old != nil {
			before = old
		}
		errs, _ = rules.Validate(ctx, nil, structural, o, before, celconfig.RuntimeCELCostBudget)
	}
	return lines(errs)
}

// lines are the errors, one each.
func lines(errs field.ErrorList) []string {
	ls := make([]string, 0, len(errs))
	for _, e := range errs {
		ls = append(ls, e.Error())
	}
	return ls
}

// loadXRD returns the CRD that Crossplane makes of the XRD in a file.
func loadXRD(path string) (*extv1.CustomResourceDefinition, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	xrd := &xpv1.CompositeResourceDefinition{}
	if err := yaml.UnmarshalStrict(b, xrd); err != nil {
		return nil, fmt.Errorf("cannot read the XRD in %s: %w", path, err)
	}
	return xcrd.ForCompositeResource(xrd)
}

// loadFolder returns all objects in a folder of YAML files.
func loadFolder(path string) ([]*unstructured.Unstructured, error) {
	files, err := filepath.Glob(filepath.Join(path, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are no YAML files in %s", path)
	}
	var objects []*unstructured.Unstructured
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		os, err := parse(b)
		if err != nil {
			return nil, fmt.Errorf("cannot parse %s: %w", f, err)
		}
		objects = append(objects, os...)
	}
	return objects, nil
}

// parse a stream of YAML documents.
func parse(stream []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for r := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := yaml.YAMLToJSON(document)
		if err != nil {
			return nil, err
		}
		if string(b) == "null" {
			continue
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(b); err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
}
