package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// gatewayController is the name under which the gateway speaks of routes.
const gatewayController = "e2e.planapulse.com/gateway"

var httpRoutes = schema.GroupVersionResource{Group: gwv1.GroupName, Version: "v1", Resource: "httproutes"}

// A gateway is just as much of the Gateway API as the tenants' routes use: host
// names, path prefixes, request headers, redirects, and Services as backends. It
// says of every route of its Gateway that it is accepted.
//
// It stands in for a real implementation, which is still to come: Traefik's
// module builds, but hadn't been built and tried when this was written.
type gateway struct {
	URL string

	cluster *cluster
	mu      sync.Mutex
	routes  map[string]*gwv1.HTTPRoute
	refuse  bool
}

// startGateway serves the cluster's routes until the end of the test.
func (c *cluster) startGateway(t testing.TB) {
	t.Helper()
	g := &gateway{cluster: c, routes: map[string]*gwv1.HTTPRoute{}}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.URL = server.URL
	c.gateway = g

	c.apply(t, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: e2e}
spec: {controllerName: %s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {namespace: plana-odoo, name: eg-gateway}
spec:
  gatewayClassName: e2e
  listeners:
    - {name: http, protocol: HTTP, port: 80, hostname: "*.planapulse.app", allowedRoutes: {namespaces: {from: All}}}
`, gatewayController))

	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	factory := dynamicinformer.NewDynamicSharedInformerFactory(c.dynamic, 0)
	_, err := factory.ForResource(httpRoutes).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { g.see(o.(*unstructured.Unstructured)) },
		UpdateFunc: func(_, o any) { g.see(o.(*unstructured.Unstructured)) },
		DeleteFunc: func(o any) {
			if u, ok := o.(*unstructured.Unstructured); ok {
				g.mu.Lock()
				delete(g.routes, u.GetNamespace()+"/"+u.GetName())
				g.mu.Unlock()
			}
		},
	})
	if err != nil {
		t.Fatalf("cannot watch HTTPRoutes: %v", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}

// see a route, and say of it that it is accepted, or refused.
func (g *gateway) see(u *unstructured.Unstructured) {
	r := &gwv1.HTTPRoute{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, r); err != nil {
		return
	}
	g.mu.Lock()
	g.routes[r.GetNamespace()+"/"+r.GetName()] = r
	refuse := g.refuse
	g.mu.Unlock()
	if len(r.Spec.ParentRefs) != 1 || r.Spec.ParentRefs[0].Name != "eg-gateway" {
		return
	}

	status, reason := metav1.ConditionTrue, string(gwv1.RouteReasonAccepted)
	if refuse {
		status, reason = metav1.ConditionFalse, string(gwv1.RouteReasonNotAllowedByListeners)
	}
	for _, p := range r.Status.Parents {
		for _, c := range p.Conditions {
			if c.Type == string(gwv1.RouteConditionAccepted) && c.ObservedGeneration == r.GetGeneration() && c.Status == status {
				return
			}
		}
	}
	condition := func(typ gwv1.RouteConditionType, status metav1.ConditionStatus, reason string) metav1.Condition {
		return metav1.Condition{
			Type: string(typ), Status: status, Reason: reason, Message: "said by the gateway",
			ObservedGeneration: r.GetGeneration(), LastTransitionTime: metav1.Now(),
		}
	}
	patch, err := json.Marshal(map[string]any{"status": gwv1.RouteStatus{Parents: []gwv1.RouteParentStatus{{
		ParentRef: r.Spec.ParentRefs[0], ControllerName: gatewayController,
		Conditions: []metav1.Condition{
			condition(gwv1.RouteConditionAccepted, status, reason),
			condition(gwv1.RouteConditionResolvedRefs, metav1.ConditionTrue, string(gwv1.RouteReasonResolvedRefs)),
		},
	}}}})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, _ = g.cluster.dynamic.Resource(httpRoutes).Namespace(r.GetNamespace()).Patch(ctx, r.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
}

// setRefuse has every route refused, or accepted.
func (g *gateway) setRefuse(refuse bool) {
	g.mu.Lock()
	g.refuse = refuse
	g.mu.Unlock()
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	rule, route := g.match(req)
	if rule == nil {
		http.Error(w, "no route", http.StatusNotFound)
		return
	}
	// Envoy says so too, and a visitor's own word doesn't count.
	req.Header.Set("X-Forwarded-Proto", "https")
	for _, f := range rule.Filters {
		if f.RequestHeaderModifier != nil {
			for _, h := range f.RequestHeaderModifier.Set {
				req.Header.Set(string(h.Name), h.Value)
			}
		}
		if f.RequestRedirect != nil {
			to := url.URL{Scheme: "https", Host: req.Host, Path: req.URL.Path}
			if f.RequestRedirect.Scheme != nil {
				to.Scheme = *f.RequestRedirect.Scheme
			}
			if f.RequestRedirect.Hostname != nil {
				to.Host = string(*f.RequestRedirect.Hostname)
			}
			if p := f.RequestRedirect.Path; p != nil && p.ReplaceFullPath != nil {
				to.Path = *p.ReplaceFullPath
			}
			http.Redirect(w, req, to.String(), *f.RequestRedirect.StatusCode)
			return
		}
	}
	backend := rule.BackendRefs[0]
	service, err := g.cluster.client.CoreV1().Services(route.GetNamespace()).Get(req.Context(), string(backend.Name), metav1.GetOptions{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	at := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(*backend.Port)))
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: at})
	proxy.ServeHTTP(w, req)
}

// match a request with the rule of a route: the longest path prefix counts.
func (g *gateway) match(req *http.Request) (*gwv1.HTTPRouteRule, *gwv1.HTTPRoute) {
	g.mu.Lock()
	defer g.mu.Unlock()
	host, _, _ := strings.Cut(req.Host, ":")
	var best *gwv1.HTTPRouteRule
	var of *gwv1.HTTPRoute
	longest := -1
	for _, r := range g.routes {
		for _, name := range r.Spec.Hostnames {
			if string(name) != host {
				continue
			}
			for i := range r.Spec.Rules {
				for _, m := range r.Spec.Rules[i].Matches {
					prefix := strings.TrimSuffix(*m.Path.Value, "/")
					inside := req.URL.Path == prefix || strings.HasPrefix(req.URL.Path, prefix+"/")
					if inside && len(prefix) > longest {
						best, of, longest = &r.Spec.Rules[i], r, len(prefix)
					}
				}
			}
		}
	}
	return best, of
}
