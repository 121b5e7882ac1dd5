package tenant

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

const kindGateway gwv1.Kind = "Gateway"

const (
	// requestTimeout is Odoo's documented proxy timeout: a report or an import
	// may well take minutes.
	requestTimeout gwv1.Duration = "720s"

	// noTimeout is what a websocket needs.
	noTimeout gwv1.Duration = "0s"
)

// route composes the HTTPRoute that leads the tenant's host name to the workers
// of its version.
func route(t *tenant) plan.Result {
	parent := t.parentRef()
	r := &gwv1.HTTPRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: gwv1.GroupVersion.String(), Kind: "HTTPRoute"},
		ObjectMeta: t.objectMeta(t.version.Namespace, t.xr.GetName(), "route"),
		Spec: gwv1.HTTPRouteSpec{
			CommonRouteSpec: gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{parent}},
			Hostnames:       []gwv1.Hostname{gwv1.Hostname(t.database)},
			Rules:           t.rules(),
		},
	}

	c := plan.Composed{Object: r}
	if t.observed.route == nil {
		return plan.Desire(c, plan.Progressing(reasonCreating, "HTTPRoute %s/%s is being created", r.GetNamespace(), r.GetName()))
	}

	at := map[string]string{
		"namespace": r.GetNamespace(), "name": r.GetName(),
		"gatewayNamespace": t.platform.Gateway.Namespace, "gateway": t.platform.Gateway.Name,
	}
	seen := routeStatus(t.observed.route, parent, gwv1.GatewayController(t.platform.Gateway.ControllerName))
	switch {
	case seen.ready:
		return plan.Desire(c, plan.Complete(reasonAvailable, "%s is served", t.url()))
	case seen.reason == "":
		return plan.Desire(c, plan.Progressing(reasonCreating, "HTTPRoute %s/%s: %s", r.GetNamespace(), r.GetName(), seen.message))
	case seen.reason == string(gwv1.RouteReasonNotAllowedByListeners), seen.reason == string(gwv1.RouteReasonNoMatchingListenerHostname):
		return plan.Desire(c, troubleNotAllowed.Outcome(at, "HTTPRoute %s/%s isn't let in: %s: %s", r.GetNamespace(), r.GetName(), seen.reason, seen.message))
	default:
		return plan.Desire(c, troubleNotAccepted.Outcome(at, "HTTPRoute %s/%s isn't served: %s: %s", r.GetNamespace(), r.GetName(), seen.reason, seen.message))
	}
}

// rules of the route.
func (t *tenant) rules() []gwv1.HTTPRouteRule {
	if t.outOfService() {
		return []gwv1.HTTPRouteRule{t.redirect("/", t.suspendedURL())}
	}
	// The database manager can drop databases. It is no customer's.
	manager := t.redirect("/web/database", &gwv1.HTTPRequestRedirectFilter{Path: fullPath("/web/login")})
	if *t.platform.Gateway.PathExpressions {
		manager.Matches = append(manager.Matches, gwv1.HTTPRouteMatch{
			Path: &gwv1.HTTPPathMatch{Type: ptr.To(gwv1.PathMatchRegularExpression), Value: ptr.To(managerBehindLanguage)},
		})
	}
	return []gwv1.HTTPRouteRule{
		t.rule("/websocket", noTimeout, t.version.WebsocketPort),
		manager,
		t.rule("/", requestTimeout, t.version.HTTPPort),
	}
}

// managerBehindLanguage is where Odoo shows the database manager too: it takes the code
// of a language off the path, which is whatever a tenant's administrator calls it.
const managerBehindLanguage = "^/[^/]+/web/database(/.*)?$"

// suspendedURL is where the visitors of a suspended tenant are sent.
func (t *tenant) suspendedURL() *gwv1.HTTPRequestRedirectFilter {
	u, err := url.Parse(t.platform.Suspension.RedirectURL)
	if err != nil {
		// A validated Platform has none but good ones.
		return &gwv1.HTTPRequestRedirectFilter{}
	}
	r := &gwv1.HTTPRequestRedirectFilter{
		Scheme:   ptr.To(u.Scheme),
		Hostname: ptr.To(gwv1.PreciseHostname(u.Hostname())),
		Path:     fullPath("/" + strings.TrimPrefix(u.Path, "/")),
	}
	if port, err := strconv.ParseInt(u.Port(), 10, 32); err == nil {
		r.Port = ptr.To(gwv1.PortNumber(port))
	}
	return r
}

func fullPath(path string) *gwv1.HTTPPathModifier {
	return &gwv1.HTTPPathModifier{Type: gwv1.FullPathHTTPPathModifier, ReplaceFullPath: ptr.To(path)}
}

// parentRef is the Gateway that the route attaches to.
func (t *tenant) parentRef() gwv1.ParentReference {
	g := t.platform.Gateway
	parent := gwv1.ParentReference{
		Group:     ptr.To(gwv1.Group(gwv1.GroupName)),
		Kind:      ptr.To(kindGateway),
		Namespace: ptr.To(gwv1.Namespace(g.Namespace)),
		Name:      gwv1.ObjectName(g.Name),
	}
	if g.SectionName != "" {
		parent.SectionName = ptr.To(gwv1.SectionName(g.SectionName))
	}
	return parent
}

// rule leads a path to a port of the workers.
func (t *tenant) rule(path string, timeout gwv1.Duration, port int32) gwv1.HTTPRouteRule {
	return gwv1.HTTPRouteRule{
		Matches: pathPrefix(path),
		Filters: []gwv1.HTTPRouteFilter{t.forwardedHost()},
		BackendRefs: []gwv1.HTTPBackendRef{{BackendRef: gwv1.BackendRef{
			BackendObjectReference: gwv1.BackendObjectReference{
				Group: ptr.To[gwv1.Group](""),
				Kind:  ptr.To[gwv1.Kind]("Service"),
				Name:  gwv1.ObjectName(t.version.WorkerService),
				Port:  ptr.To(port),
			},
			Weight: ptr.To[int32](1),
		}}},
		Timeouts: &gwv1.HTTPRouteTimeouts{Request: ptr.To(timeout)},
	}
}

// redirect answers a path with another address.
func (t *tenant) redirect(from string, to *gwv1.HTTPRequestRedirectFilter) gwv1.HTTPRouteRule {
	// For now, not for good: browsers keep the other kind.
	to.StatusCode = ptr.To(http.StatusFound)
	return gwv1.HTTPRouteRule{
		Matches: pathPrefix(from),
		Filters: []gwv1.HTTPRouteFilter{
			t.forwardedHost(),
			{Type: gwv1.HTTPRouteFilterRequestRedirect, RequestRedirect: to},
		},
	}
}

// forwardedHost sets X-Forwarded-Host. Odoo takes the database from it, so one
// that a visitor sends must never get through; and without it Odoo ignores
// X-Forwarded-Proto.
func (t *tenant) forwardedHost() gwv1.HTTPRouteFilter {
	return gwv1.HTTPRouteFilter{
		Type: gwv1.HTTPRouteFilterRequestHeaderModifier,
		RequestHeaderModifier: &gwv1.HTTPHeaderFilter{
			Set: []gwv1.HTTPHeader{{Name: "X-Forwarded-Host", Value: t.database}},
		},
	}
}

func pathPrefix(path string) []gwv1.HTTPRouteMatch {
	return []gwv1.HTTPRouteMatch{{
		Path: &gwv1.HTTPPathMatch{Type: ptr.To(gwv1.PathMatchPathPrefix), Value: ptr.To(path)},
	}}
}

// A routeState is what our Gateway's controller says of a route.
type routeState struct {
	ready bool

	// reason that the controller gives for refusing the route, if it does.
	reason  string
	message string
}

// routeStatus tells whether our Gateway's own controller has accepted a route, in
// the form that the route has now. Any controller may write a parent's status,
// and may have written it for an older form.
func routeStatus(r *gwv1.HTTPRoute, parent gwv1.ParentReference, controller gwv1.GatewayController) routeState {
	i := slices.IndexFunc(r.Status.Parents, func(s gwv1.RouteParentStatus) bool {
		return s.ControllerName == controller && sameParent(s.ParentRef, parent, r.GetNamespace())
	})
	if i < 0 {
		return routeState{message: fmt.Sprintf("controller %s hasn't seen it yet", controller)}
	}

	for _, typ := range []gwv1.RouteConditionType{gwv1.RouteConditionAccepted, gwv1.RouteConditionResolvedRefs} {
		j := slices.IndexFunc(r.Status.Parents[i].Conditions, func(c metav1.Condition) bool { return c.Type == string(typ) })
		if j < 0 {
			return routeState{message: fmt.Sprintf("controller %s hasn't said yet whether it is %s", controller, typ)}
		}
		c := r.Status.Parents[i].Conditions[j]
		if c.ObservedGeneration != r.GetGeneration() {
			return routeState{message: fmt.Sprintf("controller %s hasn't seen its latest form yet", controller)}
		}
		if c.Status != metav1.ConditionTrue {
			return routeState{reason: c.Reason, message: c.Message}
		}
	}
	return routeState{ready: true}
}

// sameParent tells whether two references mean the same parent of a route in the
// supplied namespace.
func sameParent(a, b gwv1.ParentReference, namespace string) bool {
	ns := gwv1.Namespace(namespace)
	return a.Name == b.Name &&
		ptr.Deref(a.Namespace, ns) == ptr.Deref(b.Namespace, ns) &&
		ptr.Deref(a.Kind, kindGateway) == ptr.Deref(b.Kind, kindGateway) &&
		ptr.Deref(a.Group, gwv1.GroupName) == ptr.Deref(b.Group, gwv1.GroupName) &&
		ptr.Deref(a.SectionName, "") == ptr.Deref(b.SectionName, "") &&
		ptr.Deref(a.Port, 0) == ptr.Deref(b.Port, 0)
}
