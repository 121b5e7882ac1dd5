package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link     = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	argument = regexp.MustCompile(`\b(?:XR|OBSERVED|REQUIRED|COMPOSITION)=(example/\S+)|kubectl apply -[fk] ((?:deploy|example)\S*)`)
)

// What pages refer to is there: the targets of their links, and the files that
// their commands name.
func TestPages(t *testing.T) {
	root := filepath.Join("..", "..")
	var pages []string
	for _, dir := range []string{"docs", "example", "deploy"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".md") {
				pages = append(pages, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	top, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}

	exists := func(page, path string) {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", page, err)
		}
	}
	for _, page := range slices.Concat(pages, top) {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			exists(page, filepath.Join(filepath.Dir(page), m[1]))
		}
		for _, m := range argument.FindAllStringSubmatch(string(b), -1) {
			exists(page, filepath.Join(root, m[1]+m[2]))
		}
	}
}
