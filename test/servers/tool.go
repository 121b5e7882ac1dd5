package servers

import (
	"bytes"
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
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "hack", "tool"), name)
	cmd.Stderr = &stderr
	path, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot build %s: %v\n%s", name, err, stderr.String())
	}
	return strings.TrimSpace(string(path))
}
