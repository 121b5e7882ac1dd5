package simulation

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// This file is the cluster in which nothing goes wrong, for those who want to see a
// tenant's life and not to break it. It plays by the same rules.

// A Healthy cluster has every template that it is told of, room, and servers that answer.
type Healthy struct {
	world *World

	// fails are the keys of Jobs that fail for good.
	fails map[string]bool

	// patience is for how many seconds nothing may move before nothing ever will.
	patience int64
}

// NewHealthy returns a cluster without tenants, whose function is given the input, which
// must be that Platform.
func NewHealthy(f New, input *structpb.Struct, p *v1beta1.Platform) *Healthy {
	i := installation{
		domain: p.Domain, system: p.Postgres.Namespace,
		providerRole: p.Postgres.ProvisioningRole, odooRoles: p.ReleaseRoles(),
		controller: p.Gateway.ControllerName, namespaces: map[string]string{},
	}
	for _, v := range versions {
		if version, err := p.Version(v1alpha1.OdooVersion(v)); err == nil {
			i.namespaces[v] = version.Namespace
		}
	}
	w := newEmptyWorld(f, i)
	w.platform.input = input
	return &Healthy{world: w, fails: map[string]bool{}, patience: 70 + 2*int64(p.Deletion.GracePeriod.Seconds())}
}

// SetInput of the function, as an edit of the Composition does.
func (h *Healthy) SetInput(input *structpb.Struct) {
	h.world.platform.input = input
	for _, t := range h.world.tenants {
		t.dirty = true
	}
}

// DeclareTemplate of an edition, such as pro, and a version of Odoo.
func (h *Healthy) DeclareTemplate(edition, version string) { h.world.declareTemplate(edition, version) }

// Fail what is composed under a key for good: a Job's pods, the server that a Database
// needs, or the Gateway that a route needs.
func (h *Healthy) Fail(key string) {
	switch key {
	case "database":
		h.world.mayNotCreate = true
	case "route":
		h.world.gatewayRefuses = true
	default:
		h.fails[key] = true
	}
}

// Create a tenant. Defaults are those of its body.
func (h *Healthy) Create(xr map[string]any) {
	w := h.world
	name := text(xr, "metadata", "name")
	o := &object{ref: ref{kindClient, "", name}, body: clone(xr)}
	put(o.body, name, "metadata", "labels", labelComposite)
	w.create(o)
	w.tenants[name] = &tenant{name: name, dirty: true}
	project, _ := dig(xr, "spec", "projectId").(float64)
	w.lives[o.uid()] = &life{
		name: name, uid: o.uid(), project: int(project), askedAt: -1, adopted: isTrue(xr, "spec", "database", "adopt"),
		done: map[string]bool{}, excused: map[string]bool{}, waived: true, handled: true,
	}
}

// Edit a tenant's manifest.
func (h *Healthy) Edit(name string, edit func(body map[string]any)) {
	if xr := h.world.client(name); xr != nil {
		h.world.update(xr, edit)
	}
}

// Delete a tenant, as kubectl delete does. Crossplane refuses it first, and does it once
// the tenant may go.
func (h *Healthy) Delete(name string) { h.world.deleteClient(name, policyBackground, false) }

// Client returns a tenant's composite resource as it is, or nil.
func (h *Healthy) Client(name string) map[string]any {
	if o := h.world.client(name); o != nil {
		return clone(o.body)
	}
	return nil
}

// Elapsed are the seconds since the beginning.
func (h *Healthy) Elapsed() int64 { return h.world.elapsed }

// Settle lets every program do what it has to do, and time pass, until nothing moves any
// more. It is an error if that never comes.
func (h *Healthy) Settle() error {
	w := h.world
	if !w.untilRest(func() int64 { return h.patience }, h.round) {
		return fmt.Errorf("things still move after %d rounds: %v", mostRounds, w.describe())
	}
	return nil
}

// round lets everybody who has something to do, do it. Crossplane calls the function last.
func (h *Healthy) round() (moved, over bool) {
	cs := h.world.candidates()
	slices.SortStableFunc(cs, func(a, b Action) int {
		return order(a.Do == "reconcile") - order(b.Do == "reconcile")
	})
	for _, a := range cs {
		if a.Do == "finish" && h.fails[a.Key] {
			a.Do = "terminal"
		}
		moved = h.world.act(a) || moved
	}
	return moved, false
}

func order(last bool) int { return map[bool]int{true: 1}[last] }

// Resume the life of a tenant that a cluster has, with the objects that it had: those
// that the tenant composed, which Crossplane marks, and others. What was outside of the
// cluster is taken to fit.
func (h *Healthy) Resume(xr map[string]any, objects []map[string]any) {
	w := h.world
	name, uid := text(xr, "metadata", "name"), text(xr, "metadata", "uid")
	for _, body := range objects {
		// Whoever exports objects has cleaned the composite resource up at times.
		if o := (&object{body: body}); uid == "" && o.key() != "" {
			uid = o.controller()
		}
	}
	if uid == "" {
		uid = w.newUID()
	}
	put(xr, uid, "metadata", "uid")
	var refs []any
	for _, body := range objects {
		o := w.place(body)
		if o.key() == "" {
			if o.kind == kindDatabase && len(list(body, "status", "conditions")) > 0 {
				w.databases[o.annotation(annotationExternal)] = &database{
					name: o.annotation(annotationExternal), owner: w.providerRole, tablespace: defaultTablespace, limit: -1, template: true, initialised: true,
				}
			}
			continue
		}
		put(o.body, name, "metadata", "labels", labelComposite)
		if o.controller() == "" {
			put(o.body, []any{ownerReference(&object{ref: ref{kindClient, "", name}, body: xr})}, "metadata", "ownerReferences")
		}
		refs = append(refs, map[string]any{"apiVersion": body["apiVersion"], "kind": o.kind, "namespace": o.namespace, "name": o.name})
		if o.kind == kindDatabase {
			w.resumeDatabase(o, uid)
		}
	}
	put(xr, refs, "spec", "crossplane", "resourceRefs")
	put(xr, name, "metadata", "labels", labelComposite)
	w.place(xr)
	w.tenants[name] = &tenant{name: name, dirty: true}
	w.lives[uid] = &life{
		name: name, uid: uid, askedAt: -1, adopted: isTrue(xr, "spec", "database", "adopt"),
		done: map[string]bool{}, excused: map[string]bool{}, waived: true, handled: true,
	}
}

// place an object as it is.
func (w *World) place(body map[string]any) *object {
	o := &object{ref: ref{text(body, "kind"), text(body, "metadata", "namespace"), text(body, "metadata", "name")}, body: clone(body)}
	w.objects[o.ref], w.ordered = o, nil
	w.changed(o)
	return o
}

// resumeDatabase makes the database that an object stands for, as the object says it is.
func (w *World) resumeDatabase(o *object, uid string) {
	name := o.annotation(annotationExternal)
	if o.annotation(annotationSucceeded) == "" && !conditionTrue(o.body, "Ready") {
		return
	}
	db := &database{
		name: name, madeFor: uid, owner: w.providerRole, tablespace: defaultTablespace, limit: -1,
		allowConnections: true, initialised: text(o.body, "spec", "forProvider", "template") != "",
	}
	if owner := text(o.body, "spec", "forProvider", "owner"); owner != "" {
		db.owner = owner
	}
	if slices.Contains(w.odooRoles, db.owner) {
		db.preparedFor, db.initialised = uid, true
	}
	if allow, ok := dig(o.body, "spec", "forProvider", "allowConnections").(bool); ok {
		db.allowConnections = allow
	}
	if limit, ok := dig(o.body, "spec", "forProvider", "connectionLimit").(float64); ok {
		db.limit = int(limit)
	}
	w.databases[name] = db
	for _, namespace := range w.namespaces {
		w.files[namespace+"/"+name] = &directory{uid: uid}
	}
}

// Reconcile a tenant once.
func (h *Healthy) Reconcile(name string) { h.world.do(Action{Do: "reconcile", Tenant: name}) }
