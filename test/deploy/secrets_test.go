package deploy

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

const installPage = "../../docs/how-to/install.md"

// The page that tells people what to have ready lists exactly what the Jobs of a
// tenant's whole life ask for.
func TestInstallPage(t *testing.T) {
	// Keys of Secrets, and names of claims, by where they are.
	secrets, claims := map[[2]string]map[string]bool{}, map[[2]string]bool{}
	for _, version := range []string{"17", "18", "19"} {
		for _, template := range []bool{true, false} {
			for job, pod := range podsOf(t, version, template) {
				namespace, _, _ := strings.Cut(job, "/")
				if lack := restricted(pod); lack != "" {
					t.Errorf("Job %s: %s", job, lack)
				}
				for _, c := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
					for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
						if c.Resources.Requests.Name(name, "").IsZero() || c.Resources.Limits.Name(name, "").IsZero() {
							t.Errorf("Job %s, container %s: a pod under a ResourceQuota needs a request and a limit of %s", job, c.Name, name)
						}
					}
					for _, e := range c.Env {
						if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
							continue
						}
						at := [2]string{namespace, e.ValueFrom.SecretKeyRef.Name}
						if secrets[at] == nil {
							secrets[at] = map[string]bool{}
						}
						secrets[at][e.ValueFrom.SecretKeyRef.Key] = true
					}
				}
				for _, v := range pod.Volumes {
					if v.PersistentVolumeClaim != nil {
						claims[[2]string{namespace, v.PersistentVolumeClaim.ClaimName}] = true
					}
				}
			}
		}
	}

	// provider-sql reads this one too, and wants to know where the server is.
	p := platform(t).Postgres
	credentials := [2]string{p.Namespace, p.CredentialsSecret}
	if secrets[credentials] == nil {
		secrets[credentials] = map[string]bool{}
	}
	for _, key := range []string{"endpoint", "port", "username", "password"} {
		secrets[credentials][key] = true
	}

	byPlace := func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
	want := &strings.Builder{}
	fmt.Fprint(want, "| namespace | Secret | keys |\n|---|---|---|\n")
	for _, at := range slices.SortedFunc(maps.Keys(secrets), byPlace) {
		fmt.Fprintf(want, "| `%s` | `%s` | `%s` |\n", at[0], at[1], strings.Join(slices.Sorted(maps.Keys(secrets[at])), "`, `"))
	}
	contains(t, installPage, want.String())

	want.Reset()
	fmt.Fprint(want, "| namespace | PersistentVolumeClaim |\n|---|---|\n")
	for _, at := range slices.SortedFunc(maps.Keys(claims), byPlace) {
		fmt.Fprintf(want, "| `%s` | `%s` |\n", at[0], at[1])
	}
	contains(t, installPage, want.String())
}

var update = flag.Bool("update", false, "write the tables of what Jobs hold into their pages")

// contains fails a test whose page lacks a table, or has another one. With -update, the
// page gets the table in place of the one with the same head.
func contains(t *testing.T, page, table string) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Contains(text, "\n\n"+table+"\n") {
		return
	}
	head, _, _ := strings.Cut(table, "\n")
	before, after, found := strings.Cut(text, "\n\n"+head+"\n")
	_, after, ends := strings.Cut(after, "\n\n")
	if !*update || !found || !ends {
		t.Errorf("%s must have this table, which `go test . -run 'TestInstallPage|TestSecurityPage' -update` writes:\n%s", page, table)
		return
	}
	if err := os.WriteFile(page, []byte(before+"\n\n"+table+"\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
