// Package monitoring tests deploy/monitoring: that alerts fire when they should,
// and that they and the dashboard ask for what there is.
//
// It is a module of its own, for the sake of Prometheus' and kube-state-metrics'
// own code.
package monitoring

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/kube-state-metrics/v2/pkg/customresourcestate"
	"k8s.io/kube-state-metrics/v2/pkg/metric"
	generator "k8s.io/kube-state-metrics/v2/pkg/metric_generator"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	root       = "../.."
	monitoring = root + "/deploy/monitoring"
	dashboard  = monitoring + "/dashboard.json"
)

// A rule is one alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// groups of rules, as Prometheus reads them.
type groups struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []rule `json:"rules"`
	} `json:"groups"`
}

func readGroups(t *testing.T) groups {
	t.Helper()
	var object struct {
		Spec groups `json:"spec"`
	}
	read(t, monitoring+"/rules.yaml", &object)
	return object.Spec
}

func (g groups) each(do func(r *rule)) {
	for i := range g.Groups {
		for j := range g.Groups[i].Rules {
			do(&g.Groups[i].Rules[j])
		}
	}
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// promtool has rules checked, and played against histories. The error is what it
// says.
func promtool(t *testing.T, g groups, histories ...string) error {
	t.Helper()
	dir := t.TempDir()
	b, err := yaml.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rules.yaml"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"}
	if len(histories) > 0 {
		args = []string{"test", "rules"}
		for _, h := range histories {
			b, err := os.ReadFile(filepath.Join("testdata", h))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, h), b, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, h)
		}
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "promtool"), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// tool is the path of one of the tools in tools/.
func tool(t *testing.T, name string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), root+"/hack/tool", name)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot build %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func TestRules(t *testing.T) {
	g := readGroups(t)
	if err := promtool(t, g); err != nil {
		t.Error(err)
	}
	if err := promtool(t, g, "hours.yaml", "days.yaml"); err != nil {
		t.Error(err)
	}
}

// TestRulesAllMatter breaks each alert, and sees that the histories notice.
func TestRulesAllMatter(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	hours, days := read("hours.yaml"), read("days.yaml")

	breakages := map[string]func(r *rule) bool{
		"Never": func(r *rule) bool {
			r.Expr = "vector(0) > 1"
			return true
		},
		"Always": func(r *rule) bool {
			r.Expr, r.For = "vector(1)", ""
			return true
		},
		"AtOnce": func(r *rule) bool {
			had := r.For != ""
			r.For = ""
			return had
		},
	}
	// The histories of backups are of days, and ten minutes more or less aren't
	// seen in them.
	coarse := []string{"PLANAClientBackupOld", "PLANAClientRetentionOld", "PLANAClientTeardownStuck", "PLANAClientFunctionSlow", "PLANAClientUnseen"}

	readGroups(t).each(func(r *rule) {
		for name, how := range breakages {
			broken := readGroups(t)
			applies := false
			broken.each(func(b *rule) {
				if b.Alert == r.Alert {
					applies = how(b)
				}
			})
			if !applies || name == "AtOnce" && slices.Contains(coarse, r.Alert) {
				continue
			}
			t.Run(r.Alert+"/"+name, func(t *testing.T) {
				t.Parallel()
				// The shorter histories are quicker to play.
				history := "hours.yaml"
				if name != "Always" && !strings.Contains(hours, r.Alert) {
					history = "days.yaml"
				}
				if name != "Always" && !strings.Contains(hours+days, r.Alert) {
					t.Fatalf("no history has %s fire", r.Alert)
				}
				if err := promtool(t, broken, history); err == nil {
					t.Errorf("nobody notices that %s is broken", r.Alert)
				}
			})
		}
	})
}

// TestAnnotations holds alerts to what somebody needs who is woken by one.
func TestAnnotations(t *testing.T) {
	const pages = "https://github.com/plana-pulse/function-planaclient/blob/main/"
	reasons := regexp.MustCompile(`[A-Z]\w+`)
	readGroups(t).each(func(r *rule) {
		t.Run(r.Alert, func(t *testing.T) {
			if s := r.Labels["severity"]; s != "warning" && s != "critical" {
				t.Errorf("severity: got %q", s)
			}
			if r.Annotations["summary"] == "" {
				t.Error("it has no summary")
			}
			if d := r.Annotations["description"]; !strings.Contains(d, ": kubectl ") {
				t.Errorf("the description gives no command: %s", d)
			}

			page, anchor, _ := strings.Cut(strings.TrimPrefix(r.Annotations["runbook_url"], pages), "#")
			b, err := os.ReadFile(filepath.Join(root, page))
			if err != nil {
				t.Fatalf("runbook: %v", err)
			}
			anchors := []string{anchor}
			if strings.Contains(anchor, "$labels.reason") {
				_, list, _ := strings.Cut(r.Expr, `reason=~"`)
				list, _, _ = strings.Cut(list, `"`)
				anchors = reasons.FindAllString(list, -1)
			}
			for _, a := range anchors {
				heading := regexp.MustCompile(`(?mi)^#+ ` + regexp.QuoteMeta(a) + `$`)
				if !strings.Contains(string(b), `<a id="`+a+`">`) && !heading.Match(b) {
					t.Errorf("%s has nothing of %s", page, a)
				}
			}
		})
	})
}

// TestStuck holds the alert about troubles to the troubles that there are. Failing
// backups are another alert's matter.
func TestStuck(t *testing.T) {
	b, err := os.ReadFile(root + "/docs/reference/troubles.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for _, m := range regexp.MustCompile(`<a id="(\w+)">`).FindAllStringSubmatch(string(b), -1) {
		want[m[1]] = true
	}
	delete(want, "LastBackupFailed")
	delete(want, "BackupsFail")

	got := map[string]bool{}
	readGroups(t).each(func(r *rule) {
		if r.Alert == "PLANAClientStuck" {
			_, list, _ := strings.Cut(r.Expr, `reason=~"`)
			list, _, _ = strings.Cut(list, `"`)
			for reason := range strings.SplitSeq(list, "|") {
				got[reason] = true
			}
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// exposed are the labels of metrics, by the metrics' names.
type exposed map[string]map[string]bool

// add what a program exposes in Prometheus' text form, with the labels that a
// scrape adds.
func (e exposed) add(t *testing.T, text string, scrape ...string) {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	for name, family := range families {
		names := []string{name}
		if family.GetType().String() == "HISTOGRAM" {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, n := range names {
			if e[n] == nil {
				e[n] = map[string]bool{}
			}
			for _, l := range scrape {
				e[n][l] = true
			}
			for _, m := range family.GetMetric() {
				for _, l := range m.GetLabel() {
					e[n][l.GetName()] = true
				}
			}
			if strings.HasSuffix(n, "_bucket") {
				e[n]["le"] = true
			}
		}
	}
}

// everything that the alerts and the dashboard may ask for: of tenants, of their
// Jobs, and of the function.
func everything(t *testing.T) exposed {
	t.Helper()
	e := exposed{}
	for _, text := range ofTenants(t) {
		e.add(t, text)
	}
	e.add(t, ofFunction(t), "pod", "pkg_crossplane_io_function")
	ofKubernetes(t, e)
	return e
}

// ofTenants is what kube-state-metrics, with its own code, tells of tenants that
// Crossplane's engine has rendered, and of one that is being taken away.
func ofTenants(t *testing.T) map[string]string {
	t.Helper()
	var config customresourcestate.Metrics
	read(t, monitoring+"/kube-state-metrics.yaml", &config)
	if len(config.Spec.Resources) != 1 {
		t.Fatalf("want one resource, got %d", len(config.Spec.Resources))
	}
	for i := range config.Spec.Resources[0].Metrics {
		// As kube-state-metrics does when it reads its configuration.
		each := &config.Spec.Resources[0].Metrics[i].Each
		each.Type = metric.Type(strings.ToLower(string(each.Type)))
	}
	factory, err := customresourcestate.NewCustomResourceMetrics(config.Spec.Resources[0])
	if err != nil {
		t.Fatal(err)
	}

	tenants := map[string]map[string]any{}
	for _, name := range []string{"pro-18-first", "pro-18-halfway", "pro-18-finished", "job-failed"} {
		tenants[name] = rendered(t, name)
	}
	leaving := rendered(t, "pro-18-finished")
	leaving["metadata"].(map[string]any)["creationTimestamp"] = "1970-01-01T00:00:10Z"
	status := leaving["status"].(map[string]any)
	status["deletion"] = map[string]any{"requestedAt": "1970-01-01T00:01:00Z", "step": "drain", "since": "1970-01-01T00:02:00Z"}
	status["backup"].(map[string]any)["lastSuccessfulTime"] = "1970-01-01T00:03:00Z"
	tenants["leaving"] = leaving

	texts := map[string]string{}
	for name, o := range tenants {
		var b strings.Builder
		families := factory.MetricFamilyGenerators()
		headers := generator.ExtractMetricFamilyHeaders(families)
		for i, g := range families {
			b.WriteString(headers[i] + "\n")
			b.Write(g.Generate(&unstructured.Unstructured{Object: o}).ByteSlice())
		}
		texts[name] = regexp.MustCompile(`(?m)^# TYPE (\w+) info$`).ReplaceAllString(b.String(), "# TYPE $1 gauge")
	}
	return texts
}

// rendered is a PLANAClient of test/render.
func rendered(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "test", "render", "testdata", name, "want.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for document := range bytes.SplitSeq(b, []byte("\n---\n")) {
		var o map[string]any
		if err := yaml.Unmarshal(document, &o); err != nil {
			t.Fatal(err)
		}
		if o["kind"] == "PLANAClient" {
			return o
		}
	}
	t.Fatalf("%s has no PLANAClient", name)
	return nil
}

// TestTenantMetrics reads what kube-state-metrics tells of a tenant.
func TestTenantMetrics(t *testing.T) {
	got := ofTenants(t)
	const labels = `customresource_group="planapulse.com",customresource_kind="PLANAClient",customresource_version="v1alpha1"`
	for name, lines := range map[string][]string{
		"pro-18-finished": {
			`planaclient_info{` + labels + `,odoo_version="18",tenant="acme",tier="pro"} 1`,
			`planaclient_condition{` + labels + `,reason="Available",tenant="acme",type="Ready"} 1`,
			`planaclient_condition{` + labels + `,reason="Available",tenant="acme",type="RouteReady"} 1`,
			`planaclient_condition{` + labels + `,reason="UpToDate",tenant="acme",type="UpgradePending"} 0`,
			`planaclient_condition_last_transition_timestamp_seconds{` + labels + `,tenant="acme",type="Ready"} 1.7040672e+09`,
			`planaclient_suspended{` + labels + `,tenant="acme"} 0`,
		},
		"job-failed": {
			`,reason="JobFailed",tenant="acme",type=`,
		},
		"leaving": {
			`planaclient_created_timestamp_seconds{` + labels + `,tenant="acme"} 10`,
			`planaclient_deletion_step_since_timestamp_seconds{` + labels + `,step="drain",tenant="acme"} 120`,
			`planaclient_backup_last_success_timestamp_seconds{` + labels + `,tenant="acme"} 180`,
		},
	} {
		for _, want := range lines {
			if !strings.Contains(got[name], want) {
				t.Errorf("%s: no %s in:\n%s", name, want, got[name])
			}
		}
	}
	if strings.Contains(got["pro-18-finished"], "planaclient_deletion_step_since_timestamp_seconds{") {
		t.Error("a tenant that stays has a teardown")
	}
}

// ofFunction is what the function exposes once it serves.
func ofFunction(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "function")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the function: %v\n%s", err, out)
	}
	serve := exec.CommandContext(t.Context(), binary, "--insecure", "--address=127.0.0.1:0", "--metrics-address=127.0.0.1:0")
	log, err := serve.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = serve.Process.Signal(os.Interrupt)
		_ = serve.Wait()
	}()

	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct {
			Msg     string `json:"msg"`
			Address string `json:"address"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || !strings.HasPrefix(line.Msg, "Serving metrics") {
			continue
		}
		client := http.Client{Timeout: 10 * time.Second}
		rsp, err := client.Get("http://" + line.Address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		b, err := io.ReadAll(rsp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	t.Fatalf("the function doesn't say where it serves metrics: %v", lines.Err())
	return ""
}

// ofKubernetes adds what kube-state-metrics tells of Jobs by itself: its own pages
// say so.
func ofKubernetes(t *testing.T, e exposed) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kube-state-metrics/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	label := regexp.MustCompile("`([a-z_]+)`=")
	for _, page := range []string{"job", "cronjob"} {
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "docs", "metrics", "workload", page+"-metrics.md"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			cells := strings.Split(line, "|")
			if len(cells) < 3 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "kube_") {
				continue
			}
			of := map[string]bool{}
			for _, m := range label.FindAllStringSubmatch(line, -1) {
				of[m[1]] = true
			}
			e[strings.TrimSpace(cells[1])] = of
		}
	}
	// These two are allowed by name: see docs/how-to/watch.md.
	e["kube_job_labels"]["label_planapulse_com_tenant"] = true
	e["kube_job_labels"]["label_app_kubernetes_io_component"] = true
}

// check a query: that it can be parsed, and asks for what there is.
func (e exposed) check(query string) error {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return err
	}
	var errs []error
	asked := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			asked++
			errs = append(errs, e.known(s.Name, s.LabelMatchers))
		}
		return nil
	})
	if asked == 0 {
		errs = append(errs, errors.New("it asks for nothing"))
	}
	return errors.Join(errs...)
}

// known tells whether there is a metric of that name with those labels.
func (e exposed) known(name string, matchers []*labels.Matcher) error {
	of, ok := e[name]
	if !ok {
		return fmt.Errorf("nothing exposes %s", name)
	}
	for _, m := range matchers {
		if m.Name != model.MetricNameLabel && !of[m.Name] {
			return fmt.Errorf("%s has no label %s", name, m.Name)
		}
	}
	return nil
}

// TestQueries parses every query of the alerts, of their histories and of the
// dashboard, and holds it to what is exposed.
func TestQueries(t *testing.T) {
	e := everything(t)

	readGroups(t).each(func(r *rule) {
		if err := e.check(r.Expr); err != nil {
			t.Errorf("alert %s: %v", r.Alert, err)
		}
	})

	for _, name := range []string{"hours.yaml", "days.yaml"} {
		var h struct {
			Tests []struct {
				Name        string `json:"name"`
				InputSeries []struct {
					Series string `json:"series"`
				} `json:"input_series"`
			} `json:"tests"`
		}
		read(t, filepath.Join("testdata", name), &h)
		for _, test := range h.Tests {
			for _, s := range test.InputSeries {
				if err := e.check(s.Series); err != nil {
					t.Errorf("history of %s: %v", test.Name, err)
				}
			}
		}
	}

	queries := dashboardQueries(t)
	if len(queries) < 20 {
		t.Fatalf("the dashboard has only %d queries", len(queries))
	}
	for title, q := range queries {
		if err := e.check(q); err != nil {
			t.Errorf("panel %s: %s: %v", title, q, err)
		}
	}

	for _, wrong := range []string{"planaclient_condition{kind=\"Ready\"}", "planaclient_conditions", "sum(", "1 + 1"} {
		if e.check(wrong) == nil {
			t.Errorf("nobody notices that %s is wrong", wrong)
		}
	}
}

// dashboardQueries by panel, with the dashboard's variables filled in.
func dashboardQueries(t *testing.T) map[string]string {
	t.Helper()
	var d struct {
		UID    string `json:"uid"`
		Panels []struct {
			ID      int    `json:"id"`
			Title   string `json:"title"`
			Type    string `json:"type"`
			Targets []struct {
				RefID string `json:"refId"`
				Expr  string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	read(t, dashboard, &d)
	variables := strings.NewReplacer("$__rate_interval", "5m", "$tenant", ".*")
	queries, ids := map[string]string{}, map[int]bool{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have ID %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %s has no query", p.Title)
		}
		for _, target := range p.Targets {
			q := variables.Replace(target.Expr)
			if strings.Contains(q, "$") {
				t.Errorf("panel %s has a variable that isn't filled in: %s", p.Title, q)
			}
			queries[p.Title+" "+target.RefID] = q
		}
	}
	return queries
}

// TestDocumented holds the page to the metrics that this project exposes.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile(root + "/docs/how-to/watch.md")
	if err != nil {
		t.Fatal(err)
	}
	e := everything(t)
	for name := range e {
		if strings.HasPrefix(name, "planaclient_") && !strings.Contains(string(b), "`"+name+"`") {
			t.Errorf("watch.md doesn't explain %s", name)
		}
	}
	for _, m := range regexp.MustCompile("`((?:planaclient|grpc_server|kube)_\\w+)`").FindAllStringSubmatch(string(b), -1) {
		if e[m[1]] == nil {
			t.Errorf("watch.md explains %s, which nothing exposes", m[1])
		}
	}
	readGroups(t).each(func(r *rule) {
		if !strings.Contains(string(b), r.Alert) {
			t.Errorf("watch.md doesn't mention %s", r.Alert)
		}
	})
}

// TestKustomization builds what is applied.
func TestKustomization(t *testing.T) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), monitoring)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]*unstructured.Unstructured{}
	for _, r := range resources.Resources() {
		m, err := r.Map()
		if err != nil {
			t.Fatal(err)
		}
		o := &unstructured.Unstructured{Object: m}
		got[o.GetKind()+"/"+o.GetName()] = o
	}
	for key, path := range map[string]string{
		"ConfigMap/planaclient-dashboard":          dashboard,
		"ConfigMap/planaclient-kube-state-metrics": monitoring + "/kube-state-metrics.yaml",
	} {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got[key] == nil {
			t.Errorf("there is no %s", key)
			continue
		}
		data, _, _ := unstructured.NestedStringMap(got[key].Object, "data")
		for file, text := range data {
			if diff := cmp.Diff(string(want), text); diff != "" {
				t.Errorf("%s: %s: -want, +got:\n%s", key, file, diff)
			}
		}
	}
	if l := got["ConfigMap/planaclient-dashboard"].GetLabels()["grafana_dashboard"]; l != "1" {
		t.Errorf("Grafana's sidecar looks for a label, got %q", l)
	}

	// The pods' labels and the port's name are Crossplane's.
	monitor := got["PodMonitor/function-planaclient"]
	if monitor == nil {
		t.Fatal("there is no PodMonitor")
	}
	selector, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	if diff := cmp.Diff(map[string]string{"pkg.crossplane.io/function": "function-planaclient"}, selector); diff != "" {
		t.Errorf("PodMonitor's selector: -want, +got:\n%s", diff)
	}
	endpoints, _, _ := unstructured.NestedSlice(monitor.Object, "spec", "podMetricsEndpoints")
	if len(endpoints) != 1 || endpoints[0].(map[string]any)["port"] != "metrics" {
		t.Errorf("PodMonitor's endpoints: %v", endpoints)
	}
}
