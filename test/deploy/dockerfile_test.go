package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDockerfile: what an image is built on is named by digest, or the build fails.
// The lines that see to that are run as they stand there.
func TestDockerfile(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(projectFolder, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]bool{"scratch": true}
	guards := 0
	lines := strings.Split(string(b), "\n")
	argument := regexp.MustCompile(`^\$\{(\w+)\}$`)
	for i, line := range lines {
		words := strings.Fields(line)
		if len(words) < 4 || words[0] != "FROM" {
			continue
		}
		base := words[len(words)-3]
		m := argument.FindStringSubmatch(base)
		switch {
		case stages[base]:
		case m == nil:
			t.Errorf("line %d: %s is no argument, so nobody has to say which digest", i+1, base)
		default:
			name := m[1]
			if regexp.MustCompile(`(?m)^ARG ` + name + `=`).Match(b) {
				t.Errorf("%s has a default, which is what a build then takes", name)
			}
			if lines[i+1] != "ARG "+name {
				t.Errorf("line %d: the stage doesn't know %s", i+2, name)
			}
			guard, ok := strings.CutPrefix(lines[i+2], "RUN ")
			if !ok {
				t.Errorf("line %d: nothing looks whether %s names a digest", i+3, name)
				continue
			}
			guards++
			digest := "@sha256:" + strings.Repeat("0123456789abcdef", 4)
			for value, want := range map[string]bool{
				"debian:12.12-slim" + digest: true,
				"debian" + digest:            true,
				"debian:12.12-slim":          false,
				"debian@sha256:0123":         false,
				"debian" + digest + "0":      false,
				"":                           false,
			} {
				cmd := exec.CommandContext(t.Context(), "sh", "-c", guard)
				cmd.Env = append(os.Environ(), name+"="+value)
				if out, err := cmd.CombinedOutput(); (err == nil) != want {
					t.Errorf("%s=%q: taken: %t, want %t\n%s", name, value, err == nil, want, out)
				}
			}
		}
		stages[words[len(words)-1]] = true
	}
	if guards != 2 {
		t.Errorf("want guards of 2 base images, got %d", guards)
	}
}
