package effect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A hostileFile is something that a tenant may put into their directory.
type hostileFile struct {
	reason string
	put    func(t testing.TB, dir string)
}

// hostileFiles are what a customer whose code runs as Odoo can leave in the
// directory of their database. The neighbour's is beside it.
func hostileFiles() map[string]hostileFile {
	in := func(dir string, name ...string) string {
		path := filepath.Join(append([]string{dir}, name...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			panic(err)
		}
		return path
	}
	must := func(t testing.TB, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hash := strings.Repeat("ab", 20)
	return map[string]hostileFile{
		"LinkOut": {
			reason: "What a link leads to, outside of the filestore, isn't the tenant's.",
			put: func(t testing.TB, dir string) {
				symlink(t, "/etc", in(dir, "out"))
				symlink(t, "/etc/passwd", in(dir, "ab", hash))
				symlink(t, "/proc/self/environ", in(dir, "environ"))
			},
		},
		"LinkUp": {
			reason: "Nor is another tenant's directory.",
			put: func(t testing.TB, dir string) {
				symlink(t, "..", in(dir, "up"))
				symlink(t, "../"+neighbour, in(dir, "checklist"))
				symlink(t, "../../"+neighbour+"/checklist/ab/abcdef", in(dir, "ac", hash))
				symlink(t, ".", in(dir, "self"))
			},
		},
		"HardLink": {
			reason: "A file with two names is the neighbour's still.",
			put: func(t testing.TB, dir string) {
				must(t, os.Link(filepath.Join(filepath.Dir(dir), neighbour, "checklist", "ab", "abcdef"), in(dir, "ad", hash)))
			},
		},
		"NamedPipe": {
			reason: "Whoever opens one waits for a writer for ever.",
			put: func(t testing.TB, dir string) {
				must(t, syscall.Mkfifo(in(dir, "pipe"), 0o644))
				must(t, syscall.Mkfifo(in(dir, "ae", hash), 0o644))
			},
		},
		"Socket": {
			reason: "A socket can't be read.",
			put: func(t testing.TB, dir string) {
				must(t, syscall.Mknod(in(dir, "af", hash), syscall.S_IFSOCK|0o644, 0))
			},
		},
		"Names": {
			reason: "A name is any bytes but a slash and a zero.",
			put: func(t testing.TB, dir string) {
				for _, name := range []string{
					strings.Repeat("x", 255), "-rf", "--files-from=x", "*", "new\nline", "carriage\r", "\x1b[2J", "invalid \xff\xfe UTF-8", "株", "\u202e", `"quoted"`, `back\slash`, " ", "...",
				} {
					write(t, in(dir, name), name)
					write(t, in(dir, "dir "+name[:min(len(name), 200)], "ab", name), name)
				}
			},
		},
		"Many": {
			reason: "A hundred thousand files take no space, and are in one directory.",
			put: func(t testing.TB, dir string) {
				n := 100_000
				if testing.Short() {
					n = 2_000
				}
				must(t, os.MkdirAll(filepath.Join(dir, "many"), 0o755))
				root, err := os.OpenRoot(filepath.Join(dir, "many"))
				must(t, err)
				defer root.Close()
				for i := range n {
					f, err := root.Create(fmt.Sprintf("%040x", i))
					must(t, err)
					must(t, f.Close())
				}
			},
		},
		"Deep": {
			reason: "Directories in directories have a way that is longer than any path.",
			put: func(t testing.TB, dir string) {
				n := 5_000
				if testing.Short() {
					n = 1_000
				}
				at, err := syscall.Open(dir, syscall.O_DIRECTORY|syscall.O_RDONLY, 0)
				must(t, err)
				for range n {
					must(t, syscall.Mkdirat(at, "deep", 0o755))
					next, err := syscall.Openat(at, "deep", syscall.O_DIRECTORY|syscall.O_RDONLY, 0)
					must(t, err)
					must(t, syscall.Close(at))
					at = next
				}
				must(t, syscall.Close(at))
			},
		},
		"Sparse": {
			reason: "A file of 1 TB takes no space, and hours to read.",
			put: func(t testing.TB, dir string) {
				write(t, in(dir, "ba", "ba"+hash[2:]), "")
				must(t, os.Truncate(filepath.Join(dir, "ba", "ba"+hash[2:]), 1<<40))
			},
		},
	}
}

// hostileMarks are what a tenant may put in place of the mark that says whose
// their directory is.
func hostileMarks() map[string]hostileFile {
	return map[string]hostileFile{
		"NamedPipe": {
			reason: "Reading a named pipe waits for a writer for ever.",
			put: func(t testing.TB, mark string) {
				if err := syscall.Mkfifo(mark, 0o644); err != nil {
					t.Fatal(err)
				}
			},
		},
		"LinkToNeighbour": {
			reason: "Through a link, another tenant's mark would be read as this one's.",
			put: func(t testing.TB, mark string) {
				symlink(t, "../"+neighbour+"/checklist/ab/abcdef", mark)
			},
		},
		"Sparse": {
			reason: "1 TB doesn't fit into memory.",
			put: func(t testing.TB, mark string) {
				write(t, mark, "")
				if err := os.Truncate(mark, 1<<40); err != nil {
					t.Fatal(err)
				}
			},
		},
		"Directory": {
			reason: "A directory can't be read.",
			put: func(t testing.TB, mark string) {
				if err := os.MkdirAll(mark, 0o755); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
}

// within fails the test if something takes longer than a Job may.
func within(t testing.TB, limit time.Duration, reason string, do func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- do() }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		t.Fatalf("%s: not done after %s", reason, limit)
		return nil
	}
}

// hostileTimeout is far beyond what the effects take on a slow machine.
const hostileTimeout = time.Minute

// TestFilestoreWipeHostile has each file in the tenant's directory, and then all
// of them: the directory goes, and nothing else does.
func TestFilestoreWipeHostile(t *testing.T) {
	cases := hostileFiles()
	cases["All"] = hostileFile{
		reason: "All of them at once.",
		put: func(t testing.TB, dir string) {
			for _, f := range hostileFiles() {
				f.put(t, dir)
			}
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			fill(t, root, 5)
			before := tree(t, root)
			dir := filepath.Join(root, acme.Database)
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			tc.put(t, dir)

			err := within(t, hostileTimeout, tc.reason, func() error {
				return FilestoreWipe(t.Context(), FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}})
			})
			if err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("%s: -before, +after:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestFilestoreHostileMarks has both effects that go by the mark read one that
// isn't one. Each ends, says which file is wrong, and changes nothing.
func TestFilestoreHostileMarks(t *testing.T) {
	for name, tc := range hostileMarks() {
		for _, mark := range []string{cloneBegun, cloneComplete} {
			t.Run(name+mark, func(t *testing.T) {
				root := t.TempDir()
				fill(t, root, 5)
				write(t, filepath.Join(root, neighbour, "checklist", "ab", "abcdef"), strings.Replace(acmesMark, "acme", "beta", 1))
				before := tree(t, filepath.Join(root, neighbour))
				write(t, filepath.Join(root, acme.Database, "ab", "abcd"), "a file")
				tc.put(t, filepath.Join(root, acme.Database, mark))

				for effect, do := range map[string]func() error{
					"filestore-clone": func() error { return FilestoreClone(t.Context(), cloneConfig(root)) },
					"filestore-wipe": func() error {
						return FilestoreWipe(t.Context(), FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}})
					},
				} {
					err := within(t, hostileTimeout, tc.reason, do)
					if err == nil || !strings.Contains(err.Error(), mark) || !strings.Contains(err.Error(), acme.Database) {
						t.Errorf("%s: %s: want an error that names the directory and %s, got %v", tc.reason, effect, mark, err)
					}
					if _, err := os.Stat(filepath.Join(root, acme.Database, "ab", "abcd")); err != nil {
						t.Errorf("%s: %s: %v", tc.reason, effect, err)
					}
				}
				if diff := cmp.Diff(before, tree(t, filepath.Join(root, neighbour))); diff != "" {
					t.Errorf("%s: the neighbour's files: -before, +after:\n%s", tc.reason, diff)
				}
			})
		}
	}
}

// TestFilestoreWipeWithoutRights has a tenant take their rights from directories:
// who owns them can give them back. Root has them anyway.
func TestFilestoreWipeWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		testWipeWithoutRights(t, t.TempDir(), func(root string) (int, string) {
			return runChild(t, "filestore-wipe", acme.environ(map[string]string{"FILESTORE_ROOT": root}))
		})
		return
	}
	// Not t.TempDir(), which only root may enter; nor a test binary there.
	root, err := os.MkdirTemp("", "filestore-") //nolint:usetesting // See above.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, root) })
	testWipeWithoutRights(t, filepath.Join(root, "filestore"), func(root string) (int, string) {
		const other = 65534
		cmd, log := child(t, "filestore-wipe", acme.environ(map[string]string{"FILESTORE_ROOT": root}))
		binary, err := os.ReadFile(cmd.Path)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = filepath.Join(filepath.Dir(root), "effect")
		err = errors.Join(os.WriteFile(cmd.Path, binary, 0o755), os.Chmod(filepath.Dir(root), 0o755),
			filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Chown(path, other, other))
			}))
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
		_ = cmd.Run()
		return cmd.ProcessState.ExitCode(), log.String()
	})
}

func testWipeWithoutRights(t *testing.T, root string, wipe func(root string) (int, string)) {
	t.Helper()
	fill(t, root, 5)
	before := tree(t, root)
	dir := filepath.Join(root, acme.Database)
	deep := filepath.Join(dir, strings.Repeat("d/", wipeDepth+2)+"e")
	for _, path := range []string{filepath.Join(dir, "none", "file"), filepath.Join(dir, "read", "file"), filepath.Join(deep, "f", "file")} {
		write(t, path, "")
	}
	for path, mode := range map[string]fs.FileMode{"none": 0, "read": 0o500} {
		if err := os.Chmod(filepath.Join(dir, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	for path := deep; path != dir; path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o500); err != nil {
			t.Fatal(err)
		}
	}
	if code, log := wipe(root); code != ExitDone {
		t.Errorf("want exit code %d, got %d:\n%s", ExitDone, code, log)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("-before, +after:\n%s", diff)
	}
}
