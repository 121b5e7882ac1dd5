package tenant

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// guard composes the ClusterUsage that makes deletion orderly. Crossplane calls
// no function once a composite resource is being deleted. So the delete is
// refused, what it means is done in order, and when the guard goes, Crossplane
// replays the delete.
func guard(t *tenant) plan.Result {
	name := t.xr.GetName()
	usage := &protectionv1beta1.ClusterUsage{
		TypeMeta:   metav1.TypeMeta{APIVersion: protectionv1beta1.SchemeGroupVersion.String(), Kind: "ClusterUsage"},
		ObjectMeta: t.objectMeta("", "planaclient-"+name, "guard"),
		Spec: protectionv1beta1.ClusterUsageSpec{
			Of: protectionv1beta1.Resource{
				APIVersion:  t.xr.APIVersion,
				Kind:        t.xr.Kind,
				ResourceRef: &protectionv1beta1.ResourceRef{Name: name},
			},
			// Whoever types kubectl delete reads this in the refusal.
			Reason: ptr.To(fmt.Sprintf("tenant %[1]s is deleted in order, %[3]s, and this has begun. "+
				"Watch it: kubectl get planaclient %[1]s --watch. "+
				"Cancel it: kubectl annotate planaclient %[1]s %[2]s-", name, annotationDeletionAttempt, t.howBackedUp())),
			ReplayDeletion: ptr.To(true),
		},
	}

	c := plan.Composed{Object: usage}
	switch observed := t.observed.guard; {
	case observed == nil:
		return plan.Desire(c, plan.Progressing(reasonCreating, "ClusterUsage %s is being created", usage.GetName()))
	case observed.Status.GetCondition(xpv2.TypeReady).Status != corev1.ConditionTrue:
		return plan.Desire(c, plan.Progressing(reasonCreating, "ClusterUsage %s isn't in force yet", usage.GetName()))
	default:
		return plan.Desire(c, plan.Complete(reasonAvailable, "a delete is carried out in order"))
	}
}

// howBackedUp says whether a delete makes a last backup.
func (t *tenant) howBackedUp() string {
	if who := t.backupWaivedBy(); who != "" {
		return "WITHOUT a last backup (waived by " + who + ")"
	}
	return "after a last backup"
}
