package simulation

import (
	"fmt"
	"slices"
	"strings"
)

// This file has objects of somebody else's that stand where a tenant's are to stand.
// Nobody but whoever they belong to may write to them or delete them.

// strangerKeys are the keys of what somebody may be in the way of. A teardown doesn't
// wait for its one optional step: whoever is in the way of that has the room stay.
var strangerKeys = slices.DeleteFunc(slices.Concat(
	[]string{"guard", "database", "route", "backup", "filestore-clone", "tenant-prepare", "smoke-test", "matrix-room-create", "account-webhook", "client-provisioned", "tier-modules"},
	suspensionKeys, teardownKeys,
), func(key string) bool { return key == "matrix-room-retire" })

// placeOf a tenant's composed object.
func placeOf(tenant, key, version string, project int) ref {
	switch key {
	case "guard":
		return ref{kindUsage, "", "planaclient-" + tenant}
	case "database":
		return ref{kindDatabase, nsSystem, tenant}
	case "route":
		return ref{kindRoute, versionNamespace(version), tenant}
	case "backup":
		return ref{kindCronJob, "backup", "backup-" + tenant}
	}
	namespace := nsSystem
	switch key {
	case "filestore-clone", "tenant-prepare", "tier-modules", "filestore-wipe":
		namespace = versionNamespace(version)
	case "suspend-backup", "final-backup":
		namespace = "backup"
	}
	return ref{kindJob, namespace, fmt.Sprintf("%s-%s-%d", key, tenant, project)}
}

// foreignObject is one that somebody else makes under the name of a tenant's.
func (w *World) foreignObject(a Action) bool {
	project, version := 23, versions[a.N/4%3]
	if xr := w.client(a.Tenant); xr != nil {
		project, version = w.lives[xr.uid()].project, text(xr.body, "spec", "odooVersion")
		if v := text(xr.body, "status", "odooVersion"); v != "" {
			version = v
		}
	}
	r := placeOf(a.Tenant, a.Key, version, project)
	if w.objects[r] != nil {
		return false
	}
	o := &object{ref: r, body: map[string]any{
		"apiVersion": apiVersions[r.kind], "kind": r.kind,
		"metadata": map[string]any{"labels": map[string]any{"app.kubernetes.io/managed-by": "somebody"}},
		"spec":     map[string]any{},
	}}
	if r.kind == kindDatabase {
		put(o.body, []any{"Observe"}, "spec", "managementPolicies")
	}
	if a.N%2 == 1 {
		put(o.body, []any{map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs", "uid": w.newUID(), "controller": true,
		}}, "metadata", "ownerReferences")
	}
	if a.N/2%2 == 1 {
		// Whoever may create objects may write this onto them.
		put(o.body, a.Key, "metadata", "annotations", annotationKey)
	}
	w.create(o)
	o.theirs = clone(o.body)
	return true
}

// misrefer has somebody write a stranger's object into a tenant's resourceRefs.
func (w *World) misrefer(a Action) bool {
	xr := w.client(a.Tenant)
	if xr == nil || xr.deleting() {
		return false
	}
	for _, r := range w.refs() {
		o := w.objects[r]
		if o.theirs == nil || o.key() == "" || slices.Contains(references(xr), r) || w.find(a.Tenant, o.key()) != nil {
			continue
		}
		w.update(xr, func(body map[string]any) {
			entry := map[string]any{"kind": r.kind, "name": r.name, "apiVersion": apiVersions[r.kind]}
			if r.namespace != "" {
				entry["namespace"] = r.namespace
			}
			put(body, append(slices.Clone(list(body, "spec", "crossplane", "resourceRefs")), any(entry)), "spec", "crossplane", "resourceRefs")
		})
		return true
	}
	return false
}

// strangerGoes is what whoever an object belongs to does about a collision.
func (w *World) strangerGoes() bool {
	gone := false
	for _, r := range w.refs() {
		if o := w.objects[r]; o != nil && o.theirs != nil {
			w.erase(o)
			gone = true
		}
	}
	return gone
}

// handOver gives what an earlier tenant of the name has left behind to the one that is
// there, as the condition tells people to. Jobs are deleted instead.
func (w *World) handOver(name string) bool {
	xr := w.client(name)
	if xr == nil || xr.deleting() {
		return false
	}
	done := false
	for _, r := range w.refs() {
		o := w.objects[r]
		if o.theirs != nil || o.kind == kindClient || o.kind == kindJob || o.deleting() || o.controller() != "" || text(o.body, "metadata", "labels", labelComposite) != name {
			continue
		}
		if !strings.Contains(conditionsOf(xr), r.String()) {
			continue
		}
		w.trace("        somebody hands %s over to %s", r, name)
		w.update(o, func(body map[string]any) { put(body, []any{ownerReference(xr)}, "metadata", "ownerReferences") })
		done = true
	}
	return done
}

// checkStrangers looks for what isn't as whoever it belongs to has made it.
func (w *World) checkStrangers() {
	for _, r := range w.refs() {
		if o := w.objects[r]; o.theirs != nil && !same(o.theirs, o.body) {
			w.violate(invariantForeign, "%s, which is somebody else's, was written to", r)
		}
	}
}
