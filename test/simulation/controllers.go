package simulation

import "slices"

// accept is what the Gateway's controller does: say of a route, in the form that
// it has, whether it is accepted.
func (w *World) accept(o *object) bool {
	if o.deleting() {
		return false
	}
	status, reason, message := "True", "Accepted", ""
	if w.gatewayRefuses {
		status, reason, message = "False", "NotAllowedByListeners", "no listener allows routes of this namespace"
	}
	g := dig(o.body, "metadata", "generation")
	var parents []any
	for _, p := range list(o.body, "spec", "parentRefs") {
		parents = append(parents, map[string]any{
			"parentRef": clone(p), "controllerName": w.controller,
			"conditions": []any{
				map[string]any{"type": "Accepted", "status": status, "reason": reason, "message": message, "observedGeneration": g, "lastTransitionTime": start.Format("2006-01-02T15:04:05Z07:00")},
				map[string]any{"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs", "message": "", "observedGeneration": g, "lastTransitionTime": start.Format("2006-01-02T15:04:05Z07:00")},
			},
		})
	}
	if same(dig(o.body, "status", "parents"), any(parents)) {
		return false
	}
	put(o.body, parents, "status", "parents")
	w.changed(o)
	return true
}

// backupNightly is what the CronJob controller does at its hour.
func (w *World) backupNightly(o *object, fails bool) bool {
	if o.deleting() || isTrue(o.body, "spec", "suspend") {
		return false
	}
	put(o.body, w.timestamp(), "status", "lastScheduleTime")
	if !fails {
		_, env := environment(podOf(o))
		w.checkEffect(o, "backup", env)
		content := 0
		if db := w.databases[env["TENANT_DATABASE"]]; db != nil {
			content = db.content
		}
		if w.backUp(env, false, content, w.filesContent(env["TENANT_DATABASE"])) == nil {
			put(o.body, w.timestamp(), "status", "lastSuccessfulTime")
		}
	}
	w.changed(o)
	return true
}

// used returns the composite resource that a usage protects.
func (w *World) used(usage *object) *object {
	return w.client(text(usage.body, "spec", "of", "resourceRef", "name"))
}

// protectors of a composite resource.
func (w *World) protectors(name string) []*object {
	var out []*object
	for _, r := range w.refs() {
		if r.kind == kindUsage && text(w.objects[r].body, "spec", "of", "resourceRef", "name") == name {
			out = append(out, w.objects[r])
		}
	}
	return out
}

// guard is one reconcile of Crossplane's usage controller.
func (w *World) guard(usage *object) bool {
	used := w.used(usage)
	if usage.deleting() {
		if used != nil {
			if len(w.protectors(used.name)) < 2 {
				w.update(used, func(body map[string]any) { drop(body, "metadata", "labels", labelInUse) })
			}
			if policy := used.annotation(annotationAttempt); policy != "" && isTrue(usage.body, "spec", "replayDeletion") {
				w.replays = append(w.replays, replay{at: w.elapsed + 2, name: used.name, policy: policy})
			}
		}
		w.unfinalize(usage, finalizerUsage)
		return true
	}
	if used == nil {
		return false
	}
	before := clone(usage.body)
	w.finalize(usage, finalizerUsage)
	if text(used.body, "metadata", "labels", labelInUse) != "true" {
		w.update(used, func(body map[string]any) { put(body, "true", "metadata", "labels", labelInUse) })
	}
	setCondition(usage.body, w.timestamp(), map[string]any{"type": "Ready", "status": "True", "reason": "Available"})
	if same(before, usage.body) {
		return false
	}
	w.changed(usage)
	return true
}

// delete_ is what the API server does when somebody deletes a composite
// resource: first the admission policy of deploy/, then Crossplane's webhook.
func (w *World) deleteClient(name, policy string, dryRun bool) bool {
	xr := w.client(name)
	if xr == nil || xr.deleting() {
		return false
	}
	if dryRun || isTrue(xr.body, "spec", "deletionProtection") {
		// Refused, and nothing is recorded.
		return true
	}
	if text(xr.body, "metadata", "labels", labelInUse) == "true" && len(w.protectors(name)) > 0 {
		if xr.annotation(annotationAttempt) != policy {
			w.update(xr, func(body map[string]any) { put(body, policy, "metadata", "annotations", annotationAttempt) })
			l := w.lives[xr.uid()]
			l.letGo = l.letGo || policy == policyOrphan
			if l.askedAt < 0 {
				l.askedAt = w.elapsed
			}
		}
		return true
	}
	w.checkDelete(xr)
	w.destroy(xr, policy)
	return true
}

// replay the deletes whose time has come.
func (w *World) replay() bool {
	due := slices.IndexFunc(w.replays, func(r replay) bool { return r.at <= w.elapsed })
	if due < 0 {
		return false
	}
	r := w.replays[due]
	w.replays = slices.Delete(w.replays, due, due+1)
	w.trace("  Crossplane replays the delete of %s", r.name)
	w.deleteClient(r.name, r.policy, false)
	return true
}
