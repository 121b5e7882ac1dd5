package tenant_test

import (
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
)

// TestRoute shows the route in full, and what it takes to be ready.
func TestRoute(t *testing.T) {
	route := func(ready fnv1.Ready) *fnv1.Resource {
		return &fnv1.Resource{Ready: ready, Resource: document(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: acme
  namespace: plana-odoo-18
  labels:
    app.kubernetes.io/name: planaclient
    app.kubernetes.io/instance: acme
    app.kubernetes.io/component: route
    app.kubernetes.io/part-of: plana-pulse
    app.kubernetes.io/managed-by: function-planaclient
    planapulse.com/tenant: acme
    planapulse.com/tier: pro
    planapulse.com/odoo-version: "18"
spec:
  parentRefs:
  - {group: gateway.networking.k8s.io, kind: Gateway, namespace: plana-odoo, name: eg-gateway}
  hostnames: [acme.planapulse.app]
  rules:
  - matches: [{path: {type: PathPrefix, value: /websocket}}]
    filters: &forwardedHost
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Forwarded-Host, value: acme.planapulse.app}]}
    backendRefs: [{group: "", kind: Service, name: worker-odoo, port: 8072, weight: 1}]
    timeouts: {request: 0s}
  - matches: [{path: {type: PathPrefix, value: /web/database}}, {path: {type: RegularExpression, value: "^/[^/]+/web/database(/.*)?$"}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Forwarded-Host, value: acme.planapulse.app}]}
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /web/login}, statusCode: 302}
  - matches: [{path: {type: PathPrefix, value: /}}]
    filters: *forwardedHost
    backendRefs: [{group: "", kind: Service, name: worker-odoo, port: 8069, weight: 1}]
    timeouts: {request: 720s}
`)}
	}

	parents := func(w *world) []any {
		ps, _ := w.composed["route"].at("status", "parents").([]any)
		return ps
	}
	// edited changes what our controller has said.
	edited := func(edit func(parent object)) func(w *world) {
		return func(w *world) {
			parent, _ := parents(w)[0].(map[string]any)
			edit(parent)
		}
	}
	conditionOf := func(parent object, i int) object {
		cs, _ := parent["conditions"].([]any)
		c, _ := cs[i].(map[string]any)
		return c
	}

	cases := map[string]struct {
		reason string
		change func(w *world)
		ready  fnv1.Ready
		says   said
	}{
		"Ready": {
			reason: "Accepted, with all references resolved, by our controller, for our Gateway, at this generation.",
			change: func(*world) {},
			ready:  fnv1.Ready_READY_TRUE,
			says:   isTrue("RouteReady", "Available", "https://acme.planapulse.app"),
		},
		"SecondParent": {
			reason: "Our controller's word counts, wherever it stands.",
			change: func(w *world) {
				other := map[string]any{
					"parentRef":      map[string]any{"name": "eg-gateway"},
					"controllerName": "example.com/other",
					"conditions":     []any{},
				}
				w.composed["route"].in("status")["parents"] = append([]any{other}, parents(w)...)
			},
			ready: fnv1.Ready_READY_TRUE,
			says:  isTrue("RouteReady", "Available"),
		},
		"Unseen": {
			reason: "A route that nobody has looked at isn't served.",
			change: func(w *world) { delete(w.composed["route"], "status") },
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "gateway.envoyproxy.io/gatewayclass-controller hasn't seen it yet"),
		},
		"OtherController": {
			reason: "Another controller's word counts for nothing.",
			change: edited(func(parent object) { parent["controllerName"] = "traefik.io/gateway-controller" }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen it yet"),
		},
		"OtherGateway": {
			reason: "To be accepted by another Gateway is of no use.",
			change: edited(func(parent object) { parent.in("parentRef")["name"] = "another" }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen it yet"),
		},
		"SameNameElsewhere": {
			reason: "A parent without a namespace is one in the route's own namespace.",
			change: edited(func(parent object) { delete(parent.in("parentRef"), "namespace") }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen it yet"),
		},
		"OtherKind": {
			reason: "A Service of the Gateway's name isn't the Gateway.",
			change: edited(func(parent object) { parent.in("parentRef")["kind"], parent.in("parentRef")["group"] = "Service", "" }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen it yet"),
		},
		"OtherListener": {
			reason: "A reference to one listener is another one.",
			change: edited(func(parent object) { parent.in("parentRef")["sectionName"] = "http" }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen it yet"),
		},
		"OtherPort": {
			reason: "A reference to one port is another one.",
			change: edited(func(parent object) { parent.in("parentRef")["port"] = int64(80) }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen it yet"),
		},
		"StaleAccepted": {
			reason: "What was said of a former form of the route counts for nothing.",
			change: edited(func(parent object) { conditionOf(parent, 0)["observedGeneration"] = int64(0) }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen its latest form"),
		},
		"StaleResolvedRefs": {
			reason: "Each condition has a generation of its own.",
			change: edited(func(parent object) { conditionOf(parent, 1)["observedGeneration"] = int64(0) }),
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen its latest form"),
		},
		"NewGeneration": {
			reason: "A route that was changed is ready again only when the controller has seen the change.",
			change: func(w *world) { w.composed["route"].in("metadata")["generation"] = int64(2) },
			ready:  fnv1.Ready_READY_FALSE,
			says:   isFalse("RouteReady", "Creating", "hasn't seen its latest form"),
		},
		"NotAllowedByListeners": {
			reason: "A refusal is passed on in the controller's own words, with the field to look at.",
			change: edited(func(parent object) {
				c := conditionOf(parent, 0)
				c["status"], c["reason"], c["message"] = "False", "NotAllowedByListeners", "No listeners included by this parent ref allowed this attachment."
			}),
			ready: fnv1.Ready_READY_FALSE,
			says: isFalse("RouteReady", "NotAllowedByListeners", "No listeners included by this parent ref allowed this attachment",
				"allowedRoutes", "kubectl -n plana-odoo edit gateway eg-gateway"),
		},
		"BackendNotFound": {
			reason: "Accepted is not enough: the workers' Service must be there.",
			change: edited(func(parent object) {
				c := conditionOf(parent, 1)
				c["status"], c["reason"], c["message"] = "False", "BackendNotFound", "Service plana-odoo-18/worker-odoo not found"
			}),
			ready: fnv1.Ready_READY_FALSE,
			says:  isFalse("RouteReady", "NotAccepted", "Service plana-odoo-18/worker-odoo not found"),
		},
		"NotResolvedYet": {
			reason: "A condition that is missing is not true.",
			change: edited(func(parent object) {
				cs, _ := parent["conditions"].([]any)
				parent["conditions"] = cs[:1]
			}),
			ready: fnv1.Ready_READY_FALSE,
			says:  isFalse("RouteReady", "Creating", "hasn't said yet whether it is ResolvedRefs"),
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			tc.change(w)
			rsp := w.run()
			if diff := (want{route(tc.ready), tc.says}).diff(rsp, "route"); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if got := rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE; got != (tc.ready == fnv1.Ready_READY_TRUE) {
				t.Errorf("%s\nRunFunction(...): the tenant would be ready: %t", tc.reason, got)
			}
		})
	}
}

// TestRouteOfPlatform changes what a Platform may say of routes.
func TestRouteOfPlatform(t *testing.T) {
	w := newWorld(t, client("corner-shop", 7, "starter", "17"))
	w.others = []object{template("basic-template-17")}
	w.platform["domain"] = "example.org"
	w.platform["gateway"] = map[string]any{"namespace": "edge", "name": "public", "sectionName": "https", "controllerName": "example.com/controller"}
	w.platform.in("versions", "17")["namespace"] = "odoo-seventeen"
	w.platform.in("versions", "17")["workerService"] = "workers"
	w.platform.in("versions", "17")["httpPort"] = int64(80)
	w.platform.in("versions", "17")["websocketPort"] = int64(81)
	for range 20 {
		w.reconcile()
		for key := range w.composed {
			w.settle(key)
		}
	}

	r := w.composed["route"]
	if diff := diff(document(t, `
parentRefs:
- {group: gateway.networking.k8s.io, kind: Gateway, namespace: edge, name: public, sectionName: https}
hostnames: [corner-shop.example.org]
rules:
- matches: [{path: {type: PathPrefix, value: /websocket}}]
  filters: &forwardedHost
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: X-Forwarded-Host, value: corner-shop.example.org}]}
  backendRefs: [{group: "", kind: Service, name: workers, port: 81, weight: 1}]
  timeouts: {request: 0s}
- matches: [{path: {type: PathPrefix, value: /web/database}}]
  filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: {set: [{name: X-Forwarded-Host, value: corner-shop.example.org}]}
  - type: RequestRedirect
    requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /web/login}, statusCode: 302}
- matches: [{path: {type: PathPrefix, value: /}}]
  filters: *forwardedHost
  backendRefs: [{group: "", kind: Service, name: workers, port: 80, weight: 1}]
  timeouts: {request: 720s}
`), w.structOf(r.in("spec"))); diff != "" {
		t.Errorf("a route of another Platform: -want, +got:\n%s", diff)
	}
	if got := r.at("metadata", "namespace"); got != "odoo-seventeen" {
		t.Errorf("a route of another Platform is in namespace %v, want odoo-seventeen", got)
	}

	// Our controller is the Platform's, and so is the listener.
	if w.ready() {
		t.Error("a route that another controller has accepted is ready")
	}
	parents, _ := r.at("status", "parents").([]any)
	parent, _ := parents[0].(map[string]any)
	parent["controllerName"] = "example.com/controller"
	parent["parentRef"] = map[string]any{"namespace": "edge", "name": "public", "sectionName": "https"}
	for range 6 {
		w.reconcile()
		for key := range w.composed {
			if key != "route" {
				w.settle(key)
			}
		}
	}
	if !w.ready() {
		t.Errorf("a route that the Platform's controller has accepted isn't ready: %v", w.conditions())
	}
}
