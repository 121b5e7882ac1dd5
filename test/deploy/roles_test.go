package deploy

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/plana-pulse/function-planaclient/fn/tenant"
)

// What conditions advise is allowed to those who look after tenants, or is said here
// to be an administrator's. A line that nothing needs any more is an error too.
func TestWhoMayFollowAdvice(t *testing.T) {
	administrators := map[string]string{
		"annotate databases.postgresql.sql.m.crossplane.io": "whoever may annotate a Database object may try to change it",
		"delete databases.postgresql.sql.m.crossplane.io":   "templates are the installation's",
		"get providers.pkg.crossplane.io":                   "packages are the cluster's",
		"describe secret":                                   "whoever may get a Secret reads it",
		"patch databases.postgresql.sql.m.crossplane.io":    "a template's declaration is the installation's",
		"edit gateway":     "all tenants hang on it",
		"describe gateway": "it is in a namespace of its own",
		"patch job":        "what suspends Jobs is the cluster's",
		"get {object}":     "it may be of any kind",
		"patch {object}":   "the same",
		"delete {object}":  "the same",
		"create job":       "whoever may create a Job reads every Secret of its namespace",
	}

	objects := build(t, deploy)
	rules := slices.Concat(
		one[*rbacv1.ClusterRole](t, objects, "planaclient-creator").Rules,
		one[*rbacv1.ClusterRole](t, objects, "planaclient-troubleshooter").Rules)
	may := func(verb, resource string) bool {
		return slices.ContainsFunc(rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.Verbs, verb) && slices.ContainsFunc(r.Resources, func(name string) bool {
				return name == resource || name == resource+"s"
			})
		})
	}
	verbs := map[string][]string{
		"get": {"get", "list"}, "describe": {"get", "list"}, "logs": {"get"}, "delete": {"delete"},
		"patch": {"get", "patch"}, "annotate": {"get", "patch"}, "edit": {"get", "patch"}, "create": {"create"}, "apply": {"create"},
	}

	needed := map[string]bool{}
	for _, trouble := range tenant.Troubles() {
		for _, remedy := range trouble.Remedies {
			for part := range strings.SplitSeq(remedy.Command, " | ") {
				words := strings.Fields(part)
				if len(words) == 0 || words[0] != "kubectl" {
					continue
				}
				words = words[1:]
				if words[0] == "-n" {
					words = words[2:]
				}
				does := words[0] + " " + words[1]
				if administrators[does] != "" {
					needed[does] = true
					continue
				}
				resource, _, _ := strings.Cut(words[1], ".")
				if words[0] == "logs" {
					resource = "pods/log"
				}
				if verbs[words[0]] == nil {
					t.Errorf("%s: who may kubectl %s?", trouble.Reason, words[0])
				}
				for _, verb := range verbs[words[0]] {
					if !may(verb, resource) {
						t.Errorf("%s advises this, and nobody who looks after tenants may %s %s: %s", trouble.Reason, verb, resource, remedy.Command)
					}
				}
			}
		}
	}
	for does := range administrators {
		if !needed[does] {
			t.Errorf("nothing advises kubectl %s any more", does)
		}
	}
}
