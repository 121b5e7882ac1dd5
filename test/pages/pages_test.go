package pages_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/test/pages"
)

const page = "# A page\n\n```console\n$ make one \\\n    XR=two\nthree\n...\nfour\n$ make five\n```\n\n" +
	"1. In a list:\n\n   ```shell\n   kubectl get pods -l 'a=b' |\n     sed s/x/\"$Y\"/\n   ```\n"

func TestCommands(t *testing.T) {
	var got []pages.Command
	for _, b := range (pages.Page{Path: "a.md", Text: page}).Blocks() {
		got = append(got, b.Commands()...)
	}
	want := []pages.Command{
		{Page: "a.md", Line: 4, Run: "make one \\\n    XR=two\n", Shows: "three\n...\nfour\n"},
		{Page: "a.md", Line: 9, Run: "make five\n"},
		{Page: "a.md", Line: 15, Run: "kubectl get pods -l 'a=b' |\n  sed s/x/\"$Y\"/\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want, +got:\n%s", diff)
	}

	calls := [][][]string{
		{{"make", "one", "XR=two"}},
		{{"make", "five"}},
		{{"kubectl", "get", "pods", "-l", "a=b"}, {"sed", "s/x/$Y/"}},
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

func TestUnknownProgram(t *testing.T) {
	if _, err := (pages.Command{Run: "frobnicate --all\n"}).Local(); err == nil {
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
