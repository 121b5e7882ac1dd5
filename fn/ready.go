package fn

import (
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

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

// unbacked returns for how long a tenant had gone without a successful backup
// when the latest one began: zero if that one succeeded, or still runs.
func unbacked(c *batchv1.CronJob) time.Duration {
	began, succeeded := c.Status.LastScheduleTime, c.Status.LastSuccessfulTime
	if began == nil || len(c.Status.Active) > 0 {
		return 0
	}
	if succeeded == nil {
		succeeded = &c.CreationTimestamp
	}
	return max(0, began.Sub(succeeded.Time))
}
