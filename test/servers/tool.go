package servers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool is the path of one of the tools in tools/, which is built the first time.
func tool(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatalf("cannot find this module: %v", err)
	}
	// Tests of a module within this one use this package too.
	root := filepath.Dir(strings.TrimSpace(string(out)))
	for {
		if _, err := os.Stat(filepath.Join(root, "hack", "tool")); err == nil {
			break
		}
		if filepath.Dir(root) == root {
			t.Fatalf("cannot find hack/tool above %s", strings.TrimSpace(string(out)))
		}
		root = filepath.Dir(root)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(root, "hack", "tool"), name)
	cmd.Stderr = &stderr
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot build %s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(path))
}
