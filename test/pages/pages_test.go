package pages_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/test/pages"
)

const page = "# A page\n\n```console\n$ make render \\\n    XR=two\nthree\n...\nfour\n$ make build\n```\n\n" +
	"1. In a list:\n\n   ```shell\n   kubectl get pods -l 'a=b' |\n     sed s/x/\"$Y\"/\n   ```\n" +
	"```sql\nSELECT 1;\nSELECT 2;\n```\n"

func TestCommands(t *testing.T) {
	var got []pages.Command
	for _, b := range (pages.Page{Path: "a.md", Text: page}).Blocks() {
		got = append(got, b.Commands()...)
	}
	want := []pages.Command{
		{Page: "a.md", Line: 4, Language: "shell", Run: "make render \\\n    XR=two\n", Shows: "three\n...\nfour\n"},
		{Page: "a.md", Line: 9, Language: "shell", Run: "make build\n"},
		{Page: "a.md", Line: 15, Language: "shell", Run: "kubectl get pods -l 'a=b' |\n  sed s/x/\"$Y\"/\n"},
		{Page: "a.md", Line: 19, Language: "sql", Run: "SELECT 1;\nSELECT 2;\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want, +got:\n%s", diff)
	}

	calls := [][][]string{
		{{"make", "render", "XR=two"}},
		{{"make", "build"}},
		{{"kubectl", "get", "pods", "-l", "a=b"}, {"sed", "s/x/$Y/"}},
		nil,
	}
	for i, c := range got {
		words, err := c.Calls()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(calls[i], words); diff != "" {
			t.Errorf("%q: -want, +got:\n%s", c.Run, diff)
		}
		local, err := c.Local()
		if err != nil || local != (i < 2) {
			t.Errorf("%q: local %t, %v", c.Run, local, err)
		}
	}
}

func TestInline(t *testing.T) {
	got := (pages.Page{Path: "a.md", Text: "Say\n`kubectl delete job <job>`, or `x`, | `kubectl get a \\| sort` |\n"}).Inline()
	want := []pages.Command{
		{Page: "a.md", Line: 2, Language: "shell", Run: "kubectl delete job job\n"},
		{Page: "a.md", Line: 2, Language: "shell", Run: "kubectl get a | sort\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// A reader looks what came of each statement before they type the next.
func TestStatements(t *testing.T) {
	command := func(line int, run string) pages.Command {
		return pages.Command{Page: "a.md", Line: line, Language: "shell", Run: run}
	}
	shown := pages.Command{Page: "a.md", Line: 5, Language: "shell", Run: "kubectl get a\nkubectl get b\n", Shows: "c\n"}
	sql := pages.Command{Page: "a.md", Line: 5, Language: "sql", Run: "SELECT 1;\nSELECT 2;\n"}
	cases := map[string]struct {
		reason string
		of     pages.Command
		want   []pages.Command
	}{
		"Lines": {
			"Each line that is whole is one.",
			command(5, "kubectl get a |\n  sed s/a/b/\nkubectl get b\n"),
			[]pages.Command{command(5, "kubectl get a |\n  sed s/a/b/\n"), command(7, "kubectl get b\n")},
		},
		"Chain": {"What depends on what came before is one with it.", command(5, "a && b\n"), []pages.Command{command(5, "a && b\n")}},
		"Loop":  {"A loop is one.", command(5, "for x in 1 2; do\n  a\ndone\n"), []pages.Command{command(5, "for x in 1 2; do\n  a\ndone\n")}},
		"Shown": {"The output is that of all of it.", shown, []pages.Command{shown}},
		"SQL":   {"A server is told all of it at once.", sql, []pages.Command{sql}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := tc.of.Statements()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// The commands for a cluster are those that install this project, for a start.
func TestForCluster(t *testing.T) {
	commands, err := pages.ForCluster("../..")
	if err != nil {
		t.Fatal(err)
	}
	installs := 0
	for _, c := range commands {
		if strings.Contains(c.Run, "kubectl apply -k deploy") {
			installs++
		}
	}
	if installs == 0 {
		t.Errorf("want the commands of the install pages among %d", len(commands))
	}
}

func TestUnknownProgram(t *testing.T) {
	if _, err := (pages.Command{Language: "shell", Run: "frobnicate --all\n"}).Local(); err == nil {
		t.Error("want an error for a program that nobody has said anything of")
	}
}

func TestMatches(t *testing.T) {
	cases := map[string]struct {
		reason string
		shows  string
		output string
		want   bool
	}{
		"Same":       {"All of it is shown.", "a\nb\n", "a\nb\n", true},
		"More":       {"There is more than is shown.", "a\n", "a\nb\n", false},
		"Less":       {"A line that is shown isn't there.", "a\nb\n", "a\n", false},
		"ElidedIn":   {"Dots stand for lines.", "a\n...\nd\n", "a\nb\nc\nd\n", true},
		"ElidedEnd":  {"Dots stand for the rest.", "a\n...\n", "a\nb\n", true},
		"ElidedNone": {"Dots may stand for nothing.", "a\n...\nb\n", "a\nb\n", true},
		"Order":      {"The order counts.", "...\nb\n...\na\n...\n", "a\nb\n", false},
		"Changed":    {"A word has changed.", "a\n...\nc d\n", "a\nb\nc e\n", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := (pages.Command{Shows: tc.shows}).Matches(tc.output); got != tc.want {
				t.Errorf("\n%s\nwant %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}
