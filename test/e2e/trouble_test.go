//go:build e2e

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/test/servers"
)

// testTrouble provokes every row of the runbook's troubleshooting, reads what
// the conditions say, does it, and sees the tenant become Ready.
func testTrouble(t *testing.T, c *cluster) {
	t.Run("name collision", func(t *testing.T) {
		x := &tenant{cluster: c, name: "hooli", project: 41, tier: "starter", version: "18"}
		c.foreign(t, x.database())
		before := c.dump(t, x.database())

		x.apply(t)
		x.condition(t, patience, "DatabaseReady", "False", "NameCollision", "kubectl delete planaclient hooli", "adopt")
		time.Sleep(10 * time.Second)
		if out := c.kubectl(t, "get", "jobs,cronjobs,httproutes", "-A", "-l", "planapulse.com/tenant=hooli", "-o", "name"); strings.TrimSpace(out) != "" {
			t.Errorf("nothing else may happen, but there is: %s", out)
		}
		if _, err := x.delete(); err == nil {
			t.Error("want the delete refused first")
		}
		x.gone(t, patience)
		if after := c.dump(t, x.database()); after != before {
			t.Error("the foreign database has changed")
		}

		// The runbook's own way out: rename it, and have it looked at again.
		// provider-sql looks every ten minutes, or when its object changes.
		x.apply(t)
		x.condition(t, patience, "DatabaseReady", "False", "NameCollision")
		c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %q RENAME TO hooli_of_before", x.database()))
		c.kubectl(t, "-n", namespaceCrossplane, "annotate", "databases.postgresql.sql.m.crossplane.io", x.name, "planapulse.com/look-again=1")
		x.ready(t, 2*patience)
		if after := c.dump(t, "hooli_of_before"); after != before {
			t.Error("the foreign database has changed")
		}
	})

	t.Run("no credentials in the namespace", func(t *testing.T) {
		x := &tenant{cluster: c, name: "umbrella", project: 42, tier: "enterprise", version: "19"}
		c.kubectl(t, "-n", x.namespace(), "delete", "secret", "provider-sql-postgres-creds")
		x.apply(t)
		x.condition(t, 2*patience, "Prepared", "False", "PodNotStarting", "kubectl -n plana-odoo-19 describe pods", "get secret provider-sql-postgres-creds")
		c.apply(t, c.credentials(x.namespace()))
		x.ready(t, patience)
	})

	t.Run("quota", func(t *testing.T) {
		x := &tenant{cluster: c, name: "wonka", project: 43, tier: "enterprise", version: "19"}
		c.kubectl(t, "-n", x.namespace(), "patch", "resourcequota", "plana-quota", "--type=merge", "-p", `{"spec":{"hard":{"limits.cpu":"100m"}}}`)
		eventually(t, time.Minute, "the quota is in force", func() error {
			if out := c.kubectl(t, "-n", x.namespace(), "get", "resourcequota", "plana-quota", "-o", `jsonpath={.status.hard.limits\.cpu}`); out != "100m" {
				return errors.New(out)
			}
			return nil
		})
		x.apply(t)
		x.condition(t, patience, "FilestoreReady", "False", "QuotaExceeded", "kubectl -n plana-odoo-19 describe resourcequota plana-quota")
		c.kubectl(t, "-n", x.namespace(), "patch", "resourcequota", "plana-quota", "--type=merge", "-p", `{"spec":{"hard":{"limits.cpu":"10"}}}`)
		x.ready(t, patience)
	})

	t.Run("no worker", func(t *testing.T) {
		x := &tenant{cluster: c, name: "stark", project: 44, tier: "starter", version: "17"}
		c.workers["17"].setDown(true)
		defer c.workers["17"].setDown(false)
		x.apply(t)
		x.condition(t, patience, "RouteReady", "True", "")
		x.condition(t, patience, "SmokeTestPassed", "False", "")
		if rsp, _, err := x.visit("/web/health"); err != nil || rsp.StatusCode != 503 {
			t.Errorf("want a 503, got %v %v", rsp, err)
		}
		c.workers["17"].setDown(false)
		x.ready(t, patience)
	})

	t.Run("template not there", func(t *testing.T) {
		x := &tenant{cluster: c, name: "tyrell", project: 45, tier: "starter", version: "19"}
		c.apply(t, `
apiVersion: postgresql.sql.m.crossplane.io/v1alpha1
kind: Database
metadata:
  namespace: crossplane-system
  name: basic-template-19
  annotations: {crossplane.io/external-name: basic-template-19.planapulse.app}
spec:
  managementPolicies: [Observe]
  providerConfigRef: {kind: ClusterProviderConfig, name: pg01}
  forProvider: {}
`)
		x.apply(t)
		x.condition(t, patience, "DatabaseReady", "False", "TemplateNotReady", "basic-template-19")
		c.kubectl(t, "-n", namespaceCrossplane, "delete", "databases.postgresql.sql.m.crossplane.io", "basic-template-19")
		x.ready(t, patience)
	})

	t.Run("no room", func(t *testing.T) {
		x := &tenant{cluster: c, name: "cyberdyne", project: 46, tier: "starter", version: "18"}
		c.kubectl(t, "-n", namespaceCrossplane, "patch", "secret", "matrix-support-bot", "--type=merge", "-p", `{"stringData":{"access-token":"wrong"}}`)
		x.apply(t)
		x.ready(t, patience)
		c.kubectl(t, "-n", namespaceCrossplane, "patch", "secret", "matrix-support-bot", "--type=merge", "-p", fmt.Sprintf(`{"stringData":{"access-token":%q}}`, c.bot.AccessToken))
		x.condition(t, 2*patience, "MatrixRoomReady", "", "")
		c.kubectl(t, "-n", namespaceCrossplane, "delete", "job", "matrix-room-create-cyberdyne-46", "--ignore-not-found")
		x.condition(t, patience, "MatrixRoomReady", "True", "")
		if x.room(t) == "" {
			t.Error("there is no room")
		}
	})

	t.Run("the portal is down", func(t *testing.T) {
		x := &tenant{cluster: c, name: "soylent", project: 47, tier: "starter", version: "18"}
		c.portal.setDown(true)
		defer c.portal.setDown(false)
		x.apply(t)
		x.condition(t, patience, "SmokeTestPassed", "True", "")
		x.condition(t, patience, "AccountNotified", "False", "")
		c.portal.setDown(false)
		x.ready(t, patience)
	})
}

// foreign makes a database full of rows that is none of this project's.
func (c *cluster) foreign(t testing.TB, name string) {
	t.Helper()
	c.postgres.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %q OWNER %s", name, servers.PostgresAdmin))
	c.postgres.Exec(t, servers.PostgresAdmin, name,
		"CREATE TABLE precious AS SELECT n, md5(n::text) AS what FROM generate_series(1, 10000) n",
		"CREATE TABLE ir_config_parameter (id serial PRIMARY KEY, key varchar UNIQUE, value text)",
		"INSERT INTO ir_config_parameter (key, value) VALUES ('database.secret', 'somebody else''s')")
}

// dump is the digest of all that a database holds, and of who owns it.
func (c *cluster) dump(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(postgresBin(), "pg_dump"), "--dbname", c.postgres.URL(servers.PostgresSuperuser, name))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot dump %s: %v", name, err)
	}
	// Newer ones begin and end with a word of their own making.
	var kept []string
	for _, line := range strings.Split(string(out), "\n") {
		if !strings.HasPrefix(line, `\restrict`) && !strings.HasPrefix(line, `\unrestrict`) {
			kept = append(kept, line)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(kept, "\n")))
	return hex.EncodeToString(sum[:]) + " of " + c.owner(t, name)
}

// testHostile has people do what they shouldn't.
func testHostile(t *testing.T, c *cluster) {
	t.Run("refused by the API server", func(t *testing.T) {
		good := &tenant{cluster: c, name: "massive", project: 51, tier: "pro", version: "18"}
		for reason, change := range map[string]struct{ from, to, says string }{
			"a subdomain that isn't the name": {"subdomain: massive", "subdomain: other", "must be the same"},
			"capital letters":                 {"subdomain: massive", "subdomain: Massive", "lower-case letters"},
			"no project":                      {"projectId: 51", "projectId: 0", "from 1 to 999999999"},
			"no such tier":                    {"tier: pro", "tier: gold", "Unsupported value"},
			"no such version":                 {`odooVersion: "18"`, `odooVersion: "16"`, "Unsupported value"},
			"no address":                      {"ownerEmail: ceo@massive.bg", "ownerEmail: massive", "mail address"},
			"two lines":                       {`ownerName: "massive Corp"`, `ownerName: "massive\nCorp"`, "one line"},
		} {
			bad := strings.Replace(good.yaml(), change.from, change.to, 1)
			out, err := c.tryKubectl(bad, "apply", "-f", "-")
			if err == nil || !strings.Contains(out, change.says) {
				t.Errorf("%s: want it refused with %q, got %v\n%s", reason, change.says, err, out)
			}
		}
		for _, reserved := range []string{"www", "basic-template-18"} {
			x := &tenant{cluster: c, name: reserved, project: 52, tier: "pro", version: "18"}
			if out, err := c.tryKubectl(x.yaml(), "apply", "-f", "-"); err == nil || !strings.Contains(out, "reserved") {
				t.Errorf("%s: want it refused, got %v\n%s", reserved, err, out)
			}
		}
	})

	t.Run("edited by hand", func(t *testing.T) {
		x := &tenant{cluster: c, name: "vandelay", project: 53, tier: "starter", version: "18"}
		x.apply(t)
		x.ready(t, patience)
		for what, edit := range map[string][]string{
			"a change of the subdomain":   {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"subdomain":"other"}}`},
			"a change of the project":     {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"projectId":54}}`},
			"a lower version":             {"patch", "planaclient", x.name, "--type=merge", "-p", `{"spec":{"odooVersion":"17"}}`},
			"the guard's label taken off": {"label", "planaclient", x.name, "crossplane.io/in-use-"},
			"the guard deleted":           {"delete", "clusterusages.protection.crossplane.io", "planaclient-" + x.name, "--wait=false"},
		} {
			if out, err := c.tryKubectl("", edit...); err == nil {
				t.Errorf("%s: want it refused, got %s", what, out)
			}
		}

		c.kubectl(t, "-n", x.namespace(), "delete", "httproute", x.name)
		c.kubectl(t, "-n", namespaceBackup, "patch", "cronjob", "backup-"+x.name, "--type=merge", "-p", `{"spec":{"suspend":true,"schedule":"0 0 1 1 *"}}`)
		eventually(t, time.Minute, "the CronJob is as it was", func() error {
			out := c.kubectl(t, "-n", namespaceBackup, "get", "cronjob", "backup-"+x.name, "-o", "jsonpath={.spec.suspend} {.spec.schedule}")
			if !strings.HasPrefix(out, "false ") || strings.HasSuffix(out, "0 0 1 1 *") {
				return errors.New(out)
			}
			return nil
		})
		eventually(t, time.Minute, "the route is back", func() error {
			rsp, _, err := x.visit("/web/login")
			if err != nil || rsp.StatusCode != 200 {
				return fmt.Errorf("%v %w", rsp, err)
			}
			return nil
		})

		// Whoever deletes the Database object doesn't drop the database.
		c.kubectl(t, "-n", namespaceCrossplane, "delete", "databases.postgresql.sql.m.crossplane.io", x.name, "--timeout=2m")
		x.eventually(t, patience, "the loss of the object is noticed", func(client *v1alpha1.PLANAClient) error {
			for _, condition := range client.Status.Conditions {
				if condition.Type == "DatabaseReady" {
					return nil
				}
			}
			return errors.New("no word of it")
		})
		if got := c.owner(t, x.database()); got != "odoo" {
			t.Errorf("the database must still be there and Odoo's, its owner is %q", got)
		}
	})

	t.Run("a creator", func(t *testing.T) {
		c.apply(t, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: alice-creates-tenants}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: planaclient-creator}
subjects: [{kind: User, name: alice}]
`)
		x := &tenant{cluster: c, name: "pendant", project: 55, tier: "starter", version: "18"}
		if out, err := c.tryKubectl(x.yaml(), "apply", "-f", "-", "--as=alice"); err != nil {
			t.Fatalf("a creator can't create: %v\n%s", err, out)
		}
		x.ready(t, patience)
		for _, args := range [][]string{
			{"get", "secrets", "-A"},
			{"get", "pods", "-A"},
			{"delete", "databases.postgresql.sql.m.crossplane.io", "-n", namespaceCrossplane, x.name},
			{"delete", "clusterusages.protection.crossplane.io", "planaclient-" + x.name},
			{"patch", "composition", compositionName, "--type=merge", "-p", `{"metadata":{"labels":{"x":"y"}}}`},
			{"create", "job", "-n", "plana-odoo", "x", "--image=x"},
		} {
			if out, err := c.tryKubectl("", append(args, "--as=alice")...); err == nil || !strings.Contains(out, "forbidden") {
				t.Errorf("kubectl %s: want it forbidden, got %v\n%s", strings.Join(args, " "), err, out)
			}
		}
	})
}
