//go:build servers

package effect

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSurvey has a backup made of a directory in which the tenant puts something
// else in the place of a file, while the backup is made: between what was looked at
// and what the program opens by its path.
func TestSurvey(t *testing.T) {
	hash := strings.Repeat("ab", 20)
	cases := map[string]struct {
		reason string
		swap   func(t *testing.T, root, dir string)
		other  bool
	}{
		"Nothing": {
			reason: "What nobody touches is what was there.",
			swap:   func(*testing.T, string, string) {},
		},
		"NewFile": {
			reason: "Odoo goes on writing.",
			swap:   func(t *testing.T, _, dir string) { write(t, filepath.Join(dir, "ff", strings.Repeat("ff", 20)), "new") },
		},
		"Removed": {
			reason: "Odoo collects what nothing refers to.",
			swap:   func(t *testing.T, _, dir string) { removeAll(t, filepath.Join(dir, "ac")) },
		},
		"LinkToNeighbour": {
			reason: "A directory that becomes a link to the neighbour's has their files backed up as this tenant's.",
			swap: func(t *testing.T, root, dir string) {
				removeAll(t, filepath.Join(dir, "ab"))
				if err := os.Rename(filepath.Join(root, neighbour, "ab"), filepath.Join(dir, "ab")); err != nil {
					t.Fatal(err)
				}
			},
			other: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, acme.Database)
			write(t, filepath.Join(dir, "ab", hash), "the tenant's")
			write(t, filepath.Join(dir, "ac", "ac"+hash[2:]), "the tenant's too")
			write(t, filepath.Join(dir, "invalid \xff\xfe UTF-8", "new\nline"), "")
			write(t, filepath.Join(root, neighbour, "ab", hash), "neighbour's!")
			opened, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer opened.Close()
			s, err := takeSurvey(t.Context(), opened)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)

			// What restic reads is what is there now. Then all is as it was.
			tc.swap(t, root, dir)
			repo, err := Storage{Password: "hush"}.repository(location{dir: filepath.Join(t.TempDir(), "repository")})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := repo.output(t.Context(), "init"); err != nil {
				t.Fatal(err)
			}
			var sum summary
			save := repo.restic("backup", "--quiet", "--json", acme.Database)
			save.dir, save.stdout = root, summaryOf(&sum)
			if err := save.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if tc.other {
				if err := os.Rename(filepath.Join(dir, "ab"), filepath.Join(root, neighbour, "ab")); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, "ab", hash), "the tenant's")
			}
			if err := s.verify(t.Context(), repo, sum.Snapshot, acme.Database); errors.Is(err, errOther) != tc.other || (err != nil) != tc.other {
				t.Errorf("%s\nwant it noticed %t, got %v", tc.reason, tc.other, err)
			}
		})
	}
}
