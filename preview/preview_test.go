package preview

import (
	"slices"
	"strings"
	"testing"

	"github.com/plana-pulse/function-planaclient/example"
)

const acme = "PLANAClient acme"

// read the documentation's tenant, changed.
func read(t *testing.T, instead ...string) *Input {
	t.Helper()
	in := &Input{}
	if err := in.Read("acme.yaml", []byte(strings.NewReplacer(instead...).Replace(string(example.PLANAClient)))); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestText(t *testing.T) {
	cases := map[string]struct {
		reason  string
		instead []string
		what    WhatIf
		want    []string
		not     []string
	}{
		"Clone": {
			reason: "With a template, its files are cloned, and four objects stay.",
			want:   []string{acme, "+ Job plana-odoo-18/filestore-clone-acme-23", "- Job plana-odoo-18/filestore-clone-acme-23", "In the end there are\n  CronJob backup/backup-acme\n  Database crossplane-system/acme\n  ClusterUsage planaclient-acme\n  HTTPRoute plana-odoo-18/acme\n\n", "10 objects, 6 of them Jobs"},
			not:    []string{"module-install", "\x1b"},
		},
		"WithoutTemplate": {
			reason: "Without one, Odoo installs the modules.",
			what:   WhatIf{WithoutTemplate: true},
			want:   []string{"module-install", "Announced True"},
			not:    []string{"filestore-clone"},
		},
		"OtherVersion": {
			reason: "A field that is left out has the default of the definition.", instead: []string{`  odooVersion: "18"` + "\n", "", "tier: pro", "tier: starter"},
			want: []string{"basic-template-18.planapulse.app"},
		},
		"Fail": {
			reason: "Who has a step fail wants to know which command mends it, and what waits.",
			what:   WhatIf{Fail: "smoke"},
			want:   []string{"SmokeTestPassed False JobFailed", "kubectl -n crossplane-system delete job smoke-test-acme-23"},
			not:    []string{"account-webhook"},
		},
		"FailTheDatabase": {
			reason: "A server that refuses the database is shown as provider-sql shows it, and nothing that needs one begins.",
			what:   WhatIf{Fail: "database"},
			want:   []string{"DatabaseReady False ProviderFails", "permission denied to create database (42501)", "kubectl -n crossplane-system describe databases"},
			not:    []string{"+ Job"},
		},
		"FailTheRoute": {
			reason: "A route that the Gateway refuses holds up what goes through it, and nothing else.",
			what:   WhatIf{Fail: "route"},
			want:   []string{"RouteReady False NotAllowedByListeners", "+ CronJob backup/backup-acme", "kubectl -n plana-odoo edit gateway eg-gateway"},
			not:    []string{"smoke-test"},
		},
		"Suspend": {
			reason: "A suspended tenant is backed up, and stays.",
			what:   WhatIf{Suspend: true},
			want:   []string{"suspend-backup", "In the end there are"},
		},
		"Delete": {
			reason: "A deleted tenant goes in order, and only its backups stay.",
			what:   WhatIf{Delete: true},
			want:   []string{"final-backup", "- Database crossplane-system/acme", "- ClusterUsage planaclient-acme", "nothing stays but its backups"},
		},
		"Tier": {
			reason: "A tenant is moved to a tier once it is at rest.",
			what:   WhatIf{Tier: "enterprise"},
			want:   []string{"tier pro is in service", "tier enterprise is in service"},
		},
		"FailTheWayOut": {
			reason: "A last backup that fails drops nothing.",
			what:   WhatIf{Fail: "final-backup", Delete: true},
			want:   []string{"final-backup-acme-23 failed", "In the end there are", "Database crossplane-system/acme"},
			not:    []string{"- Database"},
		},
		"Refused": {
			reason: "What can't be is said as the function says it.", instead: []string{"tier: pro", "tier: gold"},
			want: []string{`Refused: cannot use the PLANAClient: spec.tier: Unsupported value: "gold"`},
			not:  []string{"In the end", "new (+)"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lives, err := Play(read(t, tc.instead...), tc.what)
			if err != nil {
				t.Fatal(err)
			}
			b := &strings.Builder{}
			if err := Text(b, lives, Style{}); err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%s\nwant %q in:\n%s", tc.reason, want, b)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(b.String(), not) {
					t.Errorf("%s\nwant no %q in:\n%s", tc.reason, not, b)
				}
			}
		})
	}
}

func TestSeveralTenants(t *testing.T) {
	in := read(t)
	if err := in.Read("shop.yaml", []byte(strings.NewReplacer("acme", "shop", "23", "24").Replace(string(example.PLANAClient)))); err != nil {
		t.Fatal(err)
	}
	if err := in.Read("platform.yaml", []byte("apiVersion: planaclient.fn.planapulse.com/v1beta1\nkind: Platform\ndomain: odoo.example\npostgres: {odooRole: other}\ngateway: {controllerName: example.com/controller}\n")); err != nil {
		t.Fatal(err)
	}
	lives, err := Play(in, WhatIf{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lives {
		last := l.Calls[len(l.Calls)-1]
		if len(last.Desired) != 4 {
			t.Errorf("%s: want it at rest with four objects, got %v", l.Tenant, last.Objects())
		}
		if got := text(last.Composite.AsMap(), "status", "url"); got != "https://"+l.Tenant+".odoo.example" {
			t.Errorf("%s: want it in the Platform's domain, got %s", l.Tenant, got)
		}
	}
}

func TestYAML(t *testing.T) {
	lives, err := Play(read(t), WhatIf{})
	if err != nil {
		t.Fatal(err)
	}
	write := func(at string) (string, error) {
		b := &strings.Builder{}
		err := YAML(b, lives, at)
		return b.String(), err
	}

	everything, err := write("")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(everything) {
		if kind, ok := strings.CutPrefix(line, "kind: "); ok {
			kinds = append(kinds, strings.TrimSpace(kind))
		}
	}
	want := []string{"ClusterUsage", "Database", "Job", "Job", "Job", "CronJob", "HTTPRoute", "Job", "Job", "Job"}
	if !slices.Equal(want, kinds) {
		t.Errorf("want each object once, in the order of its coming: %v, got %v", want, kinds)
	}
	if comment := "# filestore-clone of acme comes at call 4, and goes at call "; !strings.Contains(everything, comment) {
		t.Errorf("want %q in:\n%s", comment, everything)
	}

	for at, want := range map[string]int{"rest": 5, "guard": 2, "smoke": 9} {
		got, err := write(at)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(got, "---\n"); n != want || !strings.Contains(got, "kind: PLANAClient") || !strings.Contains(got, "status:") {
			t.Errorf("%s: want %d documents with the PLANAClient's status, got %d:\n%s", at, want, n, got)
		}
	}
	for at, want := range map[string]string{"nonsense": `want rest, or one of account, announce`, "modules": "that step composes nothing"} {
		if _, err := write(at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: want %q, got %v", at, want, err)
		}
	}
}

func TestMermaid(t *testing.T) {
	lives, err := Play(read(t), WhatIf{})
	if err != nil {
		t.Fatal(err)
	}
	b := &strings.Builder{}
	if err := Mermaid(b, lives); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sequenceDiagram\n", "F->>Database: 2: + acme\n", "Note over F: DatabaseReady\n", "F--xJob: "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("want %q in:\n%s", want, b)
		}
	}
}

func TestDiff(t *testing.T) {
	platform := &Input{}
	if err := platform.Read("platform.yaml", []byte("kind: Platform\nbackup: {deadline: 3h}\n")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		to     *Input
		want   []string
		err    string
	}{
		"Same":     {"What changes nothing says so.", read(t), []string{"Nothing changes for a tenant at rest."}, ""},
		"Tier":     {"A reviewer sees for how long backups are kept.", read(t, "tier: pro", "tier: enterprise"), []string{"--- CronJob backup/backup-acme (as it is)", "-              value: \"90\"\n+              value: \"365\""}, ""},
		"Platform": {"An installation that changes, changes its tenants.", platform, []string{"-      activeDeadlineSeconds: 14400\n+      activeDeadlineSeconds: 10800"}, ""},
		"Stranger": {"A tenant that wasn't there has nothing that could change.", read(t, "acme", "shop"), nil, "there are only: acme"},
		"Refused":  {"A change that is refused changes nothing.", read(t, "projectId: 23", "projectId: 24"), nil, "projectId"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := &strings.Builder{}
			err := Diff(b, read(t), tc.to, WhatIf{})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || b.Len() > 0 {
					t.Errorf("%s\nwant %q and nothing else, got %v and %q", tc.reason, tc.err, err, b)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("%s\nwant %q in:\n%s", tc.reason, want, b)
				}
			}
		})
	}
}

func TestInput(t *testing.T) {
	cases := map[string]struct {
		reason, content, want string
	}{
		"Twice":         {"Of two of one name it isn't known which is meant.", string(example.PLANAClient) + "\n---\n" + string(example.PLANAClient), "document 2 of x.yaml: PLANAClient acme is there twice"},
		"NoName":        {"A tenant has a name.", "kind: PLANAClient\n", "metadata.name is empty"},
		"OtherKind":     {"What is given by mistake isn't left out in silence.", "kind: ConfigMap\n", `it is of kind "ConfigMap": want a PLANAClient`},
		"NoYAML":        {"A file that isn't YAML is named.", "{", "cannot read document 1 of x.yaml"},
		"NoPlatform":    {"A Composition without a Platform is another function's.", "kind: Composition\nspec: {pipeline: [{step: other}]}\n", "no step of the Composition's pipeline has a Platform"},
		"TwoPlatforms":  {"A preview is of one installation.", "kind: Platform\n---\nkind: Platform\n", "there is another Platform already"},
		"OnlyAComment":  {"An empty document is none.", "# nothing\n---\n", ""},
		"InComposition": {"The Platform is where an installation has it.", "kind: Composition\nspec: {pipeline: [{step: a, input: {kind: Platform, domain: x.example}}]}\n", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := (&Input{}).Read("x.yaml", []byte(tc.content))
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
	for _, metadata := range []string{`annotations: {crossplane.io/paused: "true"}`, `deletionTimestamp: "2026-01-01T00:00:00Z"`} {
		if _, err := Play(read(t, "metadata:\n", "metadata:\n  "+metadata+"\n"), WhatIf{}); err == nil || !strings.Contains(err.Error(), "cannot preview PLANAClient acme: Crossplane doesn't ask") {
			t.Errorf("%s: want an error, got %v", metadata, err)
		}
	}
	if _, err := Play(read(t), WhatIf{Fail: "nonsense"}); err == nil || !strings.Contains(err.Error(), "none of those that can: account, announce") {
		t.Errorf("want the steps that can fail, got %v", err)
	}
}
