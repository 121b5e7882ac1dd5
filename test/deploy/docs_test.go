package deploy

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	kustomizev1 "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/google/cel-go/cel"
	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
	"github.com/plana-pulse/function-planaclient/test/pages"
)

const projectFolder = "../.."

var link = regexp.MustCompile(`\]\(([^)#:\s]*)(#[^)\s]*)?\)`)

func read(t *testing.T) []pages.Page {
	t.Helper()
	all, err := pages.Read(projectFolder)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// commandsOf all pages.
func commandsOf(t *testing.T) []pages.Command {
	t.Helper()
	var commands []pages.Command
	for _, p := range read(t) {
		for _, b := range p.Blocks() {
			commands = append(commands, b.Commands()...)
		}
	}
	return commands
}

// What pages link to is there: files, and headings in them.
func TestPages(t *testing.T) {
	headings := map[string][]string{}
	for _, p := range read(t) {
		headings[filepath.Clean(p.Path)] = anchors(p)
	}
	for _, p := range read(t) {
		for _, m := range link.FindAllStringSubmatch(p.Text, -1) {
			target := p.Path
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(p.Path), m[1])
			}
			if _, err := os.Stat(filepath.Join(projectFolder, target)); err != nil {
				t.Errorf("%s: %v", p.Path, err)
				continue
			}
			if anchor := strings.TrimPrefix(m[2], "#"); anchor != "" && !slices.Contains(headings[target], anchor) {
				t.Errorf("%s: %s has no heading #%s", p.Path, target, anchor)
			}
		}
	}
}

// anchors of a page's headings, as they are linked to.
func anchors(p pages.Page) []string {
	var found []string
	code := false
	for line := range strings.Lines(p.Text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && line[0] == '#' && !code {
			title = regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			found = append(found, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return found
}

// Every page can be found from the README, by links alone.
func TestPagesAreLinked(t *testing.T) {
	linked := map[string][]string{}
	for _, p := range read(t) {
		for _, m := range link.FindAllStringSubmatch(p.Text, -1) {
			linked[p.Path] = append(linked[p.Path], filepath.Join(filepath.Dir(p.Path), m[1]))
		}
	}
	seen, next := map[string]bool{}, []string{"README.md"}
	for len(next) > 0 {
		page := next[0]
		next = next[1:]
		if !seen[page] {
			seen[page] = true
			next = append(next, linked[page]...)
		}
	}
	for _, p := range read(t) {
		if !seen[p.Path] {
			t.Errorf("no links lead from README.md to %s", p.Path)
		}
	}
}

// The README's picture is the plan's.
func TestPicture(t *testing.T) {
	picture := func(path string) string {
		for _, p := range read(t) {
			if p.Path != path {
				continue
			}
			for _, b := range p.Blocks() {
				if b.Language == "mermaid" {
					return b.Text
				}
			}
		}
		return ""
	}
	if want := picture("docs/reference/plan.md"); want == "" || picture("README.md") != want {
		t.Errorf("README.md: want the picture of docs/reference/plan.md:\n%s", want)
	}
}

// Commands that need no cluster work, and their output is what is shown of it.
func TestCommandsRun(t *testing.T) {
	for _, c := range commandsOf(t) {
		local, err := c.Local()
		if err != nil {
			t.Error(err)
		}
		if !local {
			continue
		}
		out, err := runInProject(t, c.Run)
		if err != nil && c.Shows == "" {
			t.Errorf("%s:%d: %s: %v\n%s", c.Page, c.Line, c.Run, err, out)
		}
		if c.Shows != "" && !c.Matches(out) {
			t.Errorf("%s:%d: this is shown:\n%s\nand this is what comes of it:\n%s", c.Page, c.Line, c.Shows, out)
		}
	}
}

// runInProject runs what a reader would type, and returns what they would see.
func runInProject(t *testing.T, script string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", script)
	cmd.Dir = projectFolder
	cmd.WaitDelay = time.Minute
	// A make that runs this test must not be taken for the parent of theirs.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"}, name)
	})
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Commands that need a cluster, or more time, name what exists: targets of make,
// commands of kubectl and of Crossplane's CLI, their flags, kinds and files.
func TestCommandsExist(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(projectFolder, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	names := namesOfKinds(t)
	all := commandsOf(t)
	for _, p := range read(t) {
		all = append(all, p.Inline()...)
	}
	for _, c := range all {
		calls, err := c.Calls()
		if err != nil {
			t.Error(err)
		}
		for _, call := range calls {
			var problems []string
			switch call[0] {
			case "make":
				problems = checkMake(string(makefile), call[1:])
			case "kubectl":
				problems = checkKubectl(t, c, names, call[1:])
			case "crossplane":
				problems = checkCrossplane(t, call[1:])
			}
			for _, problem := range problems {
				t.Errorf("%s:%d: %s: %s", c.Page, c.Line, strings.Join(call, " "), problem)
			}
		}
	}
}

// checkMake tells which targets the Makefile hasn't.
func checkMake(makefile string, args []string) []string {
	var problems []string
	for _, target := range args {
		if !strings.Contains(target, "=") && !strings.HasPrefix(target, "-") && !strings.Contains(makefile, "\n"+target+":") {
			problems = append(problems, "the Makefile has no target "+target)
		}
	}
	return problems
}

// checkKubectl has kubectl itself parse a command line.
func checkKubectl(t *testing.T, c pages.Command, names map[string]bool, args []string) []string {
	t.Helper()
	root := kubectl.NewKubectlCommand(kubectl.KubectlOptions{IOStreams: genericiooptions.NewTestIOStreamsDiscard()})
	command, rest, err := root.Find(args)
	if err != nil {
		return []string{err.Error()}
	}
	if err := command.ParseFlags(rest); err != nil {
		return []string{err.Error()}
	}
	words := command.Flags().Args()
	if !command.Runnable() || command == root {
		return []string{"kubectl has no such command"}
	}

	var problems []string
	flag := func(name string) string {
		if f := command.Flags().Lookup(name); f != nil {
			return strings.Trim(f.Value.String(), "[]")
		}
		return ""
	}
	switch command.Name() {
	case "get", "describe", "delete", "annotate", "label", "patch", "edit", "wait":
		if len(words) > 0 && !names[kindIn(words[0])] {
			problems = append(problems, "there is no kind "+kindIn(words[0]))
		}
	case "can-i":
		if len(words) > 1 && !names[kindIn(words[1])] {
			problems = append(problems, "there is no kind "+kindIn(words[1]))
		}
	}
	if command.Name() == "patch" && !json.Valid([]byte(flag("patch"))) {
		problems = append(problems, "the patch is no JSON")
	}
	if dir := flag("kustomize"); dir != "" {
		problems = append(problems, checkKustomization(t, dir)...)
	}
	if command.Name() != "logs" {
		problems = append(problems, checkFile(t, c, flag("filename"))...)
	}
	return problems
}

// checkKustomization builds a folder of ours, and reads what comes of it.
func checkKustomization(t *testing.T, dir string) []string {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(projectFolder, dir))
	if err != nil {
		return []string{err.Error()}
	}
	b, err := built.AsYaml()
	if err != nil {
		return []string{err.Error()}
	}
	return checkYAML(t, b)
}

// checkFile tells what is wrong with a file that is applied. One without a
// folder is the reader's own, and the page says what is in it.
func checkFile(t *testing.T, c pages.Command, path string) []string {
	t.Helper()
	switch {
	case path == "" || path == "-":
		return nil
	case strings.Contains(path, "/"):
		b, err := os.ReadFile(filepath.Join(projectFolder, path))
		if err != nil {
			return []string{err.Error()}
		}
		return checkYAML(t, b)
	}
	for _, p := range read(t) {
		for _, b := range p.Blocks() {
			if p.Path == c.Page && b.Language == "yaml" {
				return nil
			}
		}
	}
	return []string{"the page doesn't say what is in " + path}
}

// kindIn an argument such as job/restore-acme-23.
func kindIn(word string) string {
	kind, _, _ := strings.Cut(word, "/")
	return kind
}

// namesOfKinds returns all names by which kubectl knows the kinds that pages may
// speak of.
func namesOfKinds(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{
		// Of these there are no Go types here.
		"planaclient": true, "planaclients": true, "pc": true,
		"crd": true, "xrd": true, "composition": true,
		"provider.pkg.crossplane.io": true, "providers.pkg.crossplane.io": true, "function.pkg.crossplane.io": true, "functions.pkg.crossplane.io": true,
		"configurations.pkg.crossplane.io": true, "functionrevisions.pkg.crossplane.io": true, "configurationrevisions.pkg.crossplane.io": true,
		"gateway": true, "deploy": true,
		// Which can be impersonated.
		"groups": true,
		// Which stands for any.
		"object": true,
	}
	for gvk := range scheme.AllKnownTypes() {
		plural, singular := meta.UnsafeGuessKindToResource(gvk)
		for _, name := range []string{plural.Resource, singular.Resource, plural.GroupResource().String(), singular.GroupResource().String()} {
			names[name] = true
		}
	}
	return names
}

// checkCrossplane looks a command's flags up in what Crossplane's CLI says of it.
func checkCrossplane(t *testing.T, args []string) []string {
	t.Helper()
	var command []string
	for _, word := range args {
		if strings.HasPrefix(word, "-") || len(command) == 2 {
			break
		}
		command = append(command, word)
	}
	out, err := runInProject(t, `"$(hack/tool crossplane-cli)" `+strings.Join(command, " ")+" --help")
	if err != nil {
		return []string{out}
	}
	var problems []string
	for _, word := range args {
		name, _, _ := strings.Cut(word, "=")
		if strings.HasPrefix(name, "-") && !strings.Contains(out, name) {
			problems = append(problems, "there is no flag "+name)
		}
	}
	return problems
}

// The README's table has each field of a tenant, and no others.
func TestFields(t *testing.T) {
	var want []string
	var collect func(prefix string, typ reflect.Type)
	collect = func(prefix string, typ reflect.Type) {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if below := typ.Field(i).Type; below.Kind() == reflect.Struct {
				collect(prefix+name+".", below)
				continue
			}
			want = append(want, prefix+name)
		}
	}
	collect("", reflect.TypeFor[v1alpha1.PLANAClientSpec]())
	slices.Sort(want)

	b, err := os.ReadFile(filepath.Join(projectFolder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "\n| `spec.` |")
	table, _, _ = strings.Cut(table, "\n\n")
	var got []string
	for _, row := range strings.Split(table, "\n")[1:] {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(strings.Split(row, "|")[1], -1) {
			got = append(got, name[1])
		}
	}
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("README.md: fields of a tenant: -want, +got:\n%s", diff)
	}
}

// The threat model says of each Job what it holds.
func TestSecurityPage(t *testing.T) {
	type holding struct{ where, secrets, claims, talks string }
	servers := map[string]string{
		"PGHOST": "PostgreSQL", "RESTIC_REPOSITORY": "object storage", "MATRIX_HOMESERVER": "Matrix",
		"ACCOUNT_WEBHOOK_URL": "the portal", "REDIS_ADDRESS": "Redis", "SMOKE_URL": "workers",
	}
	holds := map[string]holding{}
	for _, template := range []bool{true, false} {
		for job, pod := range podsOf(t, "18", template) {
			namespace, name, _ := strings.Cut(job, "/")
			var secrets, claims, talks []string
			for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
				for _, e := range c.Env {
					if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
						secrets = append(secrets, "`"+e.ValueFrom.SecretKeyRef.Name+"`")
					}
					if server := servers[e.Name]; server != "" {
						talks = append(talks, server)
					}
				}
			}
			for _, v := range pod.Volumes {
				if c := v.PersistentVolumeClaim; c != nil {
					claim := "`" + c.ClaimName + "`, " + map[bool]string{true: "to read", false: "to write"}[c.ReadOnly]
					if slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name && m.SubPath != "" }) {
						claim = "its directory of " + claim
					}
					claims = append(claims, claim)
				}
			}
			slices.Sort(secrets)
			slices.Sort(talks)
			holds[strings.TrimSuffix(strings.TrimSuffix(name, "-23"), "-acme")] = holding{
				namespace, strings.Join(slices.Compact(secrets), ", "), strings.Join(claims, ", "), strings.Join(slices.Compact(talks), ", "),
			}
		}
	}
	want := "| Job | namespace | Secrets | volume | talks to |\n|---|---|---|---|---|\n"
	for _, job := range slices.Sorted(maps.Keys(holds)) {
		want += fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |\n", job, holds[job].where,
			cmp.Or(holds[job].secrets, "none"), cmp.Or(holds[job].claims, "none"), cmp.Or(holds[job].talks, "nobody"))
	}
	contains(t, filepath.Join(projectFolder, "SECURITY.md"), want)
}

// What pages show of objects is of the types that it says it is.
func TestManifestsOnPages(t *testing.T) {
	for _, p := range read(t) {
		for _, b := range p.Blocks() {
			switch b.Language {
			case "yaml":
				for _, problem := range checkYAML(t, []byte(b.Text)) {
					t.Errorf("%s:%d: %s", b.Page, b.Line, problem)
				}
			case "json":
				for values := json.NewDecoder(strings.NewReader(b.Text)); values.More(); {
					if err := values.Decode(&json.RawMessage{}); err != nil {
						t.Errorf("%s:%d: %v", b.Page, b.Line, err)
						break
					}
				}
			}
		}
	}
}

// checkYAML tells what is wrong with YAML: whole objects are read strictly, and
// parts of them must at least be YAML.
func checkYAML(t *testing.T, b []byte) []string {
	t.Helper()
	var problems []string
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	for {
		doc, err := documents.Read()
		if err != nil {
			break
		}
		o := map[string]any{}
		if err := sigsyaml.UnmarshalStrict(doc, &o); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		if err := checkObject(t, doc, o); err != nil {
			problems = append(problems, err.Error())
		}
	}
	return problems
}

// checkObject reads an object as what it says it is.
func checkObject(t *testing.T, doc []byte, o map[string]any) error {
	t.Helper()
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	spec, _ := o["spec"].(map[string]any)
	switch kind {
	case "PLANAClient":
		// What is Crossplane's own isn't in the Go type.
		delete(spec, "crossplane")
		b, err := sigsyaml.Marshal(o)
		if err != nil {
			return err
		}
		return sigsyaml.UnmarshalStrict(b, &v1alpha1.PLANAClient{})
	case "Platform":
		_, err := v1beta1.Parse(structOf(t, o))
		return err
	case "Composition":
		pipeline, _ := spec["pipeline"].([]any)
		for _, step := range pipeline {
			fields, _ := step.(map[string]any)
			input, _ := fields["input"].(map[string]any)
			if _, err := v1beta1.Parse(structOf(t, input)); err != nil {
				return err
			}
		}
		return nil
	case kustomizev1.KustomizationKind:
		checks, _ := spec["healthCheckExprs"].([]any)
		for _, check := range checks {
			fields, _ := check.(map[string]any)
			expression, _ := fields["current"].(string)
			if err := checkHealth(expression); err != nil {
				return err
			}
		}
	}
	if !scheme.Recognizes(schema.FromAPIVersionAndKind(version, kind)) {
		return nil
	}
	_, _, err := decoder.Decode(doc, nil, nil)
	return err
}

// checkHealth evaluates an expression that tells an object's health: one that has
// just been created isn't healthy, one whose conditions are True is.
func checkHealth(expression string) error {
	env, err := cel.NewEnv(cel.OptionalTypes(), cel.Variable("status", cel.DynType))
	if err != nil {
		return err
	}
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return err
	}
	program, err := env.Program(ast)
	if err != nil {
		return err
	}
	for word, want := range map[string]bool{"": false, "False": false, "True": true} {
		status := map[string]any{}
		if word != "" {
			status["conditions"] = []any{map[string]any{"type": "Healthy", "status": word}, map[string]any{"type": "Ready", "status": word}}
		}
		got, _, err := program.Eval(map[string]any{"status": status})
		if err != nil {
			return err
		}
		if got.Value() != want {
			return fmt.Errorf("%s is %v of an object whose conditions are %q", expression, got.Value(), word)
		}
	}
	return nil
}
