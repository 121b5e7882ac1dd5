package effect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const template = "pro-template-18.planapulse.app"

// neighbour is another tenant, of whose files nothing may ever change.
const neighbour = "beta.planapulse.app"

func cloneConfig(root string) FilestoreCloneConfig {
	return FilestoreCloneConfig{Tenant: acme, Filestore: Filestore{Root: root}, Template: template}
}

// fill a filestore with a template and a neighbour of n files each, named and
// nested as Odoo does.
func fill(t testing.TB, root string, n int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	for _, database := range []string{template, neighbour} {
		for i := range n {
			name := fmt.Sprintf("%040x", random.Uint64())
			write(t, filepath.Join(root, database, name[24:26], name[24:]), fmt.Sprintf("%s %d %s", database, i, strings.Repeat("x", i%1000)))
		}
		write(t, filepath.Join(root, database, "checklist", "ab", "abcdef"), "")
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tree is what a directory holds, by path: the content of files, and the kind of
// everything else. It leaves out the clone's marks, but no half written file.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == cloneBegun || name == cloneComplete {
			return err
		}
		if !e.Type().IsRegular() {
			got[name] = kind(e.Type())
			return nil
		}
		content, err := os.ReadFile(path)
		got[name] = "file: " + string(content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return got
}

// same fails the test unless two directories hold the same.
func same(t testing.TB, reason, want, got string) {
	t.Helper()
	if diff := cmp.Diff(tree(t, want), tree(t, got)); diff != "" {
		t.Errorf("%s: -%s, +%s:\n%s", reason, filepath.Base(want), filepath.Base(got), diff)
	}
}

// markOf is the content of a mark in acme's directory, and nothing without one.
func markOf(t testing.TB, root, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, acme.Database, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(content))
}

const acmesMark = `{"tenant":"acme","uid":"6f1e7d52-3c7e-4a30-9b0c-0a4b1f5f4c11","template":"pro-template-18.planapulse.app"}`

func TestFilestoreClone(t *testing.T) {
	root := t.TempDir()
	fill(t, root, 500)
	if err := os.Chmod(filepath.Join(root, template), 0o770|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)

	for _, run := range []string{"first run", "second run"} {
		if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
			t.Fatalf("%s: %v", run, err)
		}
		same(t, run, filepath.Join(root, template), filepath.Join(root, acme.Database))
		if diff := cmp.Diff(acmesMark, markOf(t, root, cloneComplete)); diff != "" {
			t.Errorf("%s: mark: -want, +got:\n%s", run, diff)
		}
	}

	for name := range tree(t, filepath.Join(root, template)) {
		want, err := os.Lstat(filepath.Join(root, template, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.Lstat(filepath.Join(root, acme.Database, name))
		if err != nil {
			t.Fatal(err)
		}
		if !want.IsDir() && os.SameFile(want, got) {
			t.Errorf("%s is the template's own file: a tenant who writes to it changes everybody's", name)
		}
		if want.Mode() != got.Mode() {
			t.Errorf("%s: mode: want %s, got %s", name, want.Mode(), got.Mode())
		}
	}

	// A tenant loses and gains files of its own from then on.
	after := tree(t, root)
	for name := range after {
		if strings.HasPrefix(name, acme.Database) {
			delete(after, name)
		}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something else than the tenant's directory has changed: -before, +after:\n%s", diff)
	}
}

func TestFilestoreCloneRefuses(t *testing.T) {
	directory := func(root, name string) string { return filepath.Join(root, acme.Database, name) }
	cases := map[string]struct {
		reason   string
		prepare  func(t *testing.T, root string)
		want     string
		terminal bool
	}{
		"NoTemplate": {
			reason:  "A template without files is a wrong name or a wrong volume, until somebody says that it isn't.",
			prepare: func(t *testing.T, root string) { removeAll(t, filepath.Join(root, template)) },
			want:    `the template has no directory "pro-template-18.planapulse.app"`,
		},
		"NoVolume": {
			reason:  "Without its volume there is no filestore.",
			prepare: func(t *testing.T, root string) { removeAll(t, root) },
			want:    "is the volume mounted?",
		},
		"TemplateIsLink": {
			reason: "A template that is a link could lead to a tenant's files.",
			prepare: func(t *testing.T, root string) {
				removeAll(t, filepath.Join(root, template))
				symlink(t, neighbour, filepath.Join(root, template))
			},
			want:     "must be a directory, but is a symbolic link",
			terminal: true,
		},
		"TenantIsLink": {
			reason:   "A tenant's directory that is a link could lead to another tenant's files.",
			prepare:  func(t *testing.T, root string) { symlink(t, neighbour, directory(root, "")) },
			want:     "must be a directory, but is a symbolic link",
			terminal: true,
		},
		"LinkInTemplate": {
			reason:   "Odoo creates no links, and following one leads anywhere.",
			prepare:  func(t *testing.T, root string) { symlink(t, "/etc/passwd", filepath.Join(root, template, "zz")) },
			want:     `"zz" in the template is a symbolic link`,
			terminal: true,
		},
		"SpecialInTemplate": {
			reason: "Reading a named pipe would wait forever.",
			prepare: func(t *testing.T, root string) {
				if err := syscall.Mkfifo(filepath.Join(root, template, "zz"), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			want:     `"zz" in the template is a named pipe`,
			terminal: true,
		},
		"LinkInTenant": {
			reason: "A directory of the tenant's that is a link would let the clone write to another tenant.",
			prepare: func(t *testing.T, root string) {
				write(t, directory(root, cloneBegun), acmesMark)
				symlink(t, "../"+neighbour, directory(root, "checklist"))
			},
			want:     "must be a directory, but is a symbolic link",
			terminal: true,
		},
		"Unmarked": {
			reason:   "Files that nobody has marked may be the last copy of somebody's.",
			prepare:  func(t *testing.T, root string) { write(t, directory(root, "ab/abcd"), "precious") },
			want:     `has files already, "ab" for one`,
			terminal: true,
		},
		"EarlierTenant": {
			reason: "A tenant of that name that was there before has another UID.",
			prepare: func(t *testing.T, root string) {
				write(t, directory(root, cloneComplete), strings.Replace(acmesMark, acme.UID, "1234", 1))
			},
			want:     `the directory belongs to tenant "acme/1234"`,
			terminal: true,
		},
		"GarbledMark": {
			reason:   "A mark that can't be read is nobody's.",
			prepare:  func(t *testing.T, root string) { write(t, directory(root, cloneBegun), "\x00") },
			want:     "which says whose that is",
			terminal: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "filestore")
			fill(t, root, 5)
			before := tree(t, filepath.Join(root, neighbour))
			tc.prepare(t, root)

			err := FilestoreClone(t.Context(), cloneConfig(root))
			if err == nil || !strings.Contains(err.Error(), tc.want) || IsTerminal(err) != tc.terminal {
				t.Errorf("%s\nwant terminal %t: %s\ngot  terminal %t: %v", tc.reason, tc.terminal, tc.want, IsTerminal(err), err)
			}
			if name == "NoVolume" {
				return
			}
			if diff := cmp.Diff(before, tree(t, filepath.Join(root, neighbour))); diff != "" {
				t.Errorf("%s: the neighbour's files have changed:\n%s", tc.reason, diff)
			}
			if markOf(t, root, cloneComplete) == acmesMark {
				t.Errorf("%s: the clone is marked complete", tc.reason)
			}
		})
	}
}

func TestFilestoreCloneResumes(t *testing.T) {
	root := t.TempDir()
	fill(t, root, 50)
	from, to := filepath.Join(root, template), filepath.Join(root, acme.Database)
	write(t, filepath.Join(to, cloneBegun), acmesMark)
	write(t, filepath.Join(to, cloneTemporary+"LEFTOVER"), "half of a file")
	var torn string
	for name, content := range tree(t, from) {
		if strings.HasPrefix(content, "file: ") && len(content) > len("file: ") {
			torn = name
		}
	}
	write(t, filepath.Join(to, torn), "torn")
	linked := filepath.Join("checklist", "ab", "abcdef")
	if err := errors.Join(os.MkdirAll(filepath.Join(to, filepath.Dir(linked)), 0o755), os.Link(filepath.Join(from, linked), filepath.Join(to, linked))); err != nil {
		t.Fatal(err)
	}

	if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
		t.Fatal(err)
	}
	same(t, "A half clone is completed, a torn file replaced, and what was half written removed", from, to)
	sharesNothing(t, "A hard link that a version before has made is replaced", from, to)
}

// sharesNothing fails the test if a file of one directory is also one of another.
func sharesNothing(t testing.TB, reason, a, b string) {
	t.Helper()
	for name := range tree(t, a) {
		in, err := os.Lstat(filepath.Join(a, name))
		if err != nil {
			t.Fatal(err)
		}
		if other, err := os.Lstat(filepath.Join(b, name)); err == nil && !in.IsDir() && os.SameFile(in, other) {
			t.Errorf("%s: %s is one file with two names", reason, name)
		}
	}
}

// TestFilestoreCloneAcrossMounts has the template and the tenant in two file
// systems, as far as the machine lets a test make one.
func TestFilestoreCloneAcrossMounts(t *testing.T) {
	cases := map[string]struct {
		reason string
		mount  func(t *testing.T, root string) FilestoreCloneConfig
	}{
		"TemplateRoot": {
			reason: "The template may be in a directory of its own.",
			mount: func(t *testing.T, root string) FilestoreCloneConfig {
				c := cloneConfig(root)
				c.TemplateRoot = filepath.Join(t.TempDir(), "templates")
				if err := errors.Join(os.Mkdir(c.TemplateRoot, 0o755), os.Rename(filepath.Join(root, template), filepath.Join(c.TemplateRoot, template))); err != nil {
					t.Fatal(err)
				}
				return c
			},
		},
		"OwnFileSystem": {
			reason: "Nothing is shared between two file systems, and a mount is not to be removed.",
			mount: func(t *testing.T, root string) FilestoreCloneConfig {
				to := filepath.Join(root, acme.Database)
				if err := os.Mkdir(to, 0o755); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Mount("tmpfs", to, "tmpfs", 0, ""); err != nil {
					t.Skipf("only root can mount another file system: %v", err)
				}
				t.Cleanup(func() { _ = syscall.Unmount(to, 0) })
				return cloneConfig(root)
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			fill(t, root, 20)
			write(t, filepath.Join(root, template, "zz", "large"), strings.Repeat("0123456789abcdef", 3<<20))
			c := tc.mount(t, root)
			from, to := filepath.Join(root, template), filepath.Join(root, acme.Database)
			if c.TemplateRoot != "" {
				from = filepath.Join(c.TemplateRoot, template)
			}
			for range 2 {
				if err := FilestoreClone(t.Context(), c); err != nil {
					t.Fatalf("%s: %v", tc.reason, err)
				}
				same(t, tc.reason, from, to)
				sharesNothing(t, tc.reason, from, to)
			}
			if err := FilestoreWipe(t.Context(), FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}}); err != nil {
				t.Errorf("%s: %v", tc.reason, err)
			}
			if entries, err := os.ReadDir(to); len(entries) > 0 {
				t.Errorf("%s: %d entries are left, %v", tc.reason, len(entries), err)
			}
		})
	}
}

// TestFilestoreCloneAsSomebodyElse runs the effect as a user to whom the
// template doesn't belong.
func TestFilestoreCloneAsSomebodyElse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run an effect as somebody else")
	}
	const other = 65534
	cases := map[string]struct {
		reason string
		mode   fs.FileMode
		want   int
		log    string
	}{
		"CannotBeOdoos": {
			reason: "Directories that Odoo can't write to are found now, not at the first upload.",
			mode:   0o755,
			want:   ExitTerminal,
			log:    "run this Job as user 0",
		},
		"EverybodyWrites": {
			reason: "What can't be given to the template's owner is no obstacle where all may write.",
			mode:   0o777,
			want:   ExitDone,
			log:    `"msg":"The filestore is cloned"`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			// Not t.TempDir(), which only root may enter; nor a test binary there.
			root, err := os.MkdirTemp("", "filestore-") //nolint:usetesting // See above.
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { removeAll(t, root) })
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			binary, err := os.ReadFile(self)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, root, 10)
			for dir, content := range tree(t, filepath.Join(root, template)) {
				if content == kind(fs.ModeDir) {
					if err := os.Chmod(filepath.Join(root, template, dir), tc.mode); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := os.Chmod(root, 0o777); err != nil {
				t.Fatal(err)
			}
			cmd, log := child(t, "filestore-clone", acme.environ(map[string]string{"FILESTORE_ROOT": root, "TEMPLATE_DATABASE": template}))
			cmd.Path = filepath.Join(root, "effect")
			if err := os.WriteFile(cmd.Path, binary, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: other, Gid: other}}
			_ = cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != tc.want || !strings.Contains(log.String(), tc.log) {
				t.Fatalf("%s\nwant exit code %d and %q, got %d:\n%s", tc.reason, tc.want, tc.log, got, log)
			}
			if tc.want == ExitDone {
				same(t, tc.reason, filepath.Join(root, template), filepath.Join(root, acme.Database))
			}
		})
	}
}

func TestFilestoreCloneTwiceAtOnce(t *testing.T) {
	for round := range 20 {
		root := t.TempDir()
		fill(t, root, 100)
		atOnce(t, 3, func() error { return FilestoreClone(t.Context(), cloneConfig(root)) })
		same(t, fmt.Sprintf("round %d", round), filepath.Join(root, template), filepath.Join(root, acme.Database))
		if diff := cmp.Diff(acmesMark, markOf(t, root, cloneComplete)); diff != "" {
			t.Errorf("round %d: mark: -want, +got:\n%s", round, diff)
		}
	}
}

// atOnce does the same several times at the same time, and all must succeed.
func atOnce(t testing.TB, times int, do func() error) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, times)
	for i := range errs {
		wg.Go(func() { errs[i] = do() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%d runs at the same time: %v", times, err)
	}
}

func TestFilestoreCloneKilled(t *testing.T) {
	var root string
	Kills{
		Effect: "filestore-clone",
		Environ: func(int) map[string]string {
			return acme.environ(map[string]string{"FILESTORE_ROOT": root, "TEMPLATE_DATABASE": template})
		},
		Before: func(t *testing.T, attempt int) {
			if attempt == 0 {
				root = t.TempDir()
				fill(t, root, 1000)
			}
			removeAll(t, filepath.Join(root, acme.Database))
		},
		Killed: func(t *testing.T, attempt int) {
			if markOf(t, root, cloneComplete) != "" {
				same(t, fmt.Sprintf("attempt %d: marked complete, but isn't", attempt), filepath.Join(root, template), filepath.Join(root, acme.Database))
			}
		},
		After: func(t *testing.T, attempt int) {
			same(t, fmt.Sprintf("attempt %d", attempt), filepath.Join(root, template), filepath.Join(root, acme.Database))
			if diff := cmp.Diff(acmesMark, markOf(t, root, cloneComplete)); diff != "" {
				t.Errorf("attempt %d: mark: -want, +got:\n%s", attempt, diff)
			}
		},
	}.survive(t)
}

func TestFilestoreCloneStopped(t *testing.T) {
	root := t.TempDir()
	fill(t, root, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := FilestoreClone(ctx, cloneConfig(root)); !errors.Is(err, context.Canceled) || IsTerminal(err) {
		t.Errorf("a stopped run must fail, with hope: %v", err)
	}
	if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
		t.Fatal(err)
	}
	same(t, "after a stop", filepath.Join(root, template), filepath.Join(root, acme.Database))
}

func TestFilestoreNames(t *testing.T) {
	for _, name := range []string{
		"", ".", "..", "../" + neighbour, neighbour + "/..", "/", "/etc", "acme", "acme.", ".acme.app", "-rf.app",
		"acme.planapulse.app/", "acme.planapulse.app/..", "acme..app", "ACME.app", "acme.app\n", "acme.app\x00", "acmé.app", strings.Repeat("a", 60) + ".app",
	} {
		tenant := acme
		tenant.Name, _, _ = strings.Cut(name, ".")
		tenant.Database = name
		if err := (FilestoreWipeConfig{Tenant: tenant, Filestore: Filestore{Root: "/f"}}).Validate(); err == nil {
			t.Errorf("filestore-wipe accepts TENANT_DATABASE %q", name)
		}
		if err := (FilestoreCloneConfig{Tenant: acme, Filestore: Filestore{Root: "/f"}, Template: name}).Validate(); err == nil {
			t.Errorf("filestore-clone accepts TEMPLATE_DATABASE %q", name)
		}
	}
	wrong := FilestoreCloneConfig{Tenant: Tenant{Name: "acme", Database: neighbour}, Filestore: Filestore{Root: "f"}, Template: neighbour}
	err := wrong.Validate()
	for _, want := range []string{
		`TENANT_DATABASE: "beta.planapulse.app" must start with the tenant's name`, "TENANT_PROJECT_ID: 0",
		`FILESTORE_ROOT: "f" must be an absolute path`, `TEMPLATE_DATABASE: "beta.planapulse.app" is the tenant's own`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want all that is wrong, such as %q; got %v", want, err)
		}
	}
}

func TestFilestoreWipe(t *testing.T) {
	cases := map[string]struct {
		reason  string
		prepare func(t *testing.T, root string)
		want    string
	}{
		"Clone": {
			reason: "A clone goes, and the template keeps its files.",
			prepare: func(t *testing.T, root string) {
				if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(root, acme.Database, "ab", "own"), "the tenant's own")
			},
		},
		"Absent": {
			reason:  "What isn't there is wiped already.",
			prepare: func(*testing.T, string) {},
		},
		"LinksInside": {
			reason: "Of a link, the link is removed, and not what it leads to.",
			prepare: func(t *testing.T, root string) {
				write(t, filepath.Join(root, acme.Database, "ab", "own"), "the tenant's own")
				symlink(t, "../"+neighbour, filepath.Join(root, acme.Database, "inside"))
				symlink(t, filepath.Join(root, neighbour), filepath.Join(root, acme.Database, "absolute"))
				symlink(t, "..", filepath.Join(root, acme.Database, "ab", "up"))
			},
		},
		"IsLink": {
			reason:  "A tenant's directory that is a link leads to somebody else's files.",
			prepare: func(t *testing.T, root string) { symlink(t, neighbour, filepath.Join(root, acme.Database)) },
			want:    "must be a directory, but is a symbolic link",
		},
		"IsFile": {
			reason:  "A tenant's directory that is a file is none of ours.",
			prepare: func(t *testing.T, root string) { write(t, filepath.Join(root, acme.Database), "what?") },
			want:    "must be a directory, but is a file",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			fill(t, root, 50)
			before := tree(t, root)
			tc.prepare(t, root)

			for _, run := range []string{"first run", "second run"} {
				err := FilestoreWipe(t.Context(), FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}})
				if tc.want != "" {
					if err == nil || !IsTerminal(err) || !strings.Contains(err.Error(), tc.want) {
						t.Errorf("%s: %s: want terminal %q, got %v", tc.reason, run, tc.want, err)
					}
					removeAll(t, filepath.Join(root, acme.Database))
					break
				}
				if err != nil {
					t.Fatalf("%s: %s: %v", tc.reason, run, err)
				}
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("%s: -before, +after:\n%s", tc.reason, diff)
			}
		})
	}

	err := FilestoreWipe(t.Context(), FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: filepath.Join(t.TempDir(), "absent")}})
	if err == nil || !strings.Contains(err.Error(), "is the volume mounted?") {
		t.Errorf("a volume that isn't mounted is no success: %v", err)
	}
}

// TestFilestoreWipeOfAnother has a tenant of the same name leave its files behind.
func TestFilestoreWipeOfAnother(t *testing.T) {
	root := t.TempDir()
	fill(t, root, 10)
	empty := tree(t, root)
	another := cloneConfig(root)
	another.UID = "99999999-9999-4999-8999-999999999999"
	if err := FilestoreClone(t.Context(), another); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)

	wipe := FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}}
	if err := FilestoreWipe(t.Context(), wipe); err != nil {
		t.Errorf("another tenant's files are no reason to stop a teardown: %v", err)
	}
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Errorf("another tenant's files: -before, +after:\n%s", diff)
	}

	wipe.Adopted = true
	if err := FilestoreWipe(t.Context(), wipe); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(empty, tree(t, root)); diff != "" {
		t.Errorf("files that were adopted: -before, +after:\n%s", diff)
	}
}

func TestFilestoreWipeTwiceAtOnce(t *testing.T) {
	for range 20 {
		root := t.TempDir()
		fill(t, root, 100)
		before := tree(t, root)
		if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
			t.Fatal(err)
		}
		atOnce(t, 3, func() error {
			return FilestoreWipe(t.Context(), FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}})
		})
		if diff := cmp.Diff(before, tree(t, root)); diff != "" {
			t.Errorf("-before, +after:\n%s", diff)
		}
	}
}

func TestFilestoreWipeKilled(t *testing.T) {
	var root string
	var before map[string]string
	Kills{
		Effect:  "filestore-wipe",
		Environ: func(int) map[string]string { return acme.environ(map[string]string{"FILESTORE_ROOT": root}) },
		Before: func(t *testing.T, attempt int) {
			if attempt == 0 {
				root = t.TempDir()
				fill(t, root, 1000)
				before = tree(t, root)
			}
			if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
				t.Fatal(err)
			}
		},
		After: func(t *testing.T, attempt int) {
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("attempt %d: -before, +after:\n%s", attempt, diff)
			}
		},
	}.survive(t)
}

func TestFilestoreWipeStopped(t *testing.T) {
	root := t.TempDir()
	fill(t, root, 10)
	if err := FilestoreClone(t.Context(), cloneConfig(root)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wipe := FilestoreWipeConfig{Tenant: acme, Filestore: Filestore{Root: root}}
	if err := FilestoreWipe(ctx, wipe); !errors.Is(err, context.Canceled) || IsTerminal(err) {
		t.Errorf("a stopped run must fail, with hope: %v", err)
	}
	if err := FilestoreWipe(t.Context(), wipe); err != nil {
		t.Error(err)
	}
}

// TestFilestoreUpgradePage types what the upgrade page has for hard links that a
// version before has made.
func TestFilestoreUpgradePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "how-to", "upgrade.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, script, found := strings.Cut(string(page), "   ```sh\n")
	script, _, ended := strings.Cut(script, "   ```\n")
	if !found || !ended || !strings.Contains(script, "-links +1") {
		t.Fatalf("the page has no such block: %s", script)
	}

	root := t.TempDir()
	fill(t, root, 10)
	from, to := filepath.Join(root, template), filepath.Join(root, acme.Database)
	for name, content := range tree(t, from) {
		if strings.HasPrefix(content, "file: ") {
			err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755), os.Link(filepath.Join(from, name), filepath.Join(to, name)))
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(to, "with space", "new\nline"), "content")
	if err := os.Link(filepath.Join(to, "with space", "new\nline"), filepath.Join(to, "with space", "-other")); err != nil {
		t.Fatal(err)
	}
	symlink(t, "../"+neighbour, filepath.Join(to, "link"))
	before := tree(t, root)
	for range 2 {
		if out, err := exec.CommandContext(t.Context(), "sh", "-e", "-c", strings.ReplaceAll(script, "/var/lib/odoo/filestore", root)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(before, tree(t, root)); diff != "" {
			t.Errorf("-before, +after:\n%s", diff)
		}
		sharesNothing(t, "A file of one's own", from, to)
	}
}

// BenchmarkFilestoreClone clones as many files as a template of a hundred modules
// has ten times over. FILESTORE names a directory of the file system to measure.
func BenchmarkFilestoreClone(b *testing.B) {
	const files = 10_000
	root, err := os.MkdirTemp(os.Getenv("FILESTORE"), "filestore-") //nolint:usetesting // Where the test is told to.
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { removeAll(b, root) })
	fill(b, root, files)
	for b.Loop() {
		b.StopTimer()
		removeAll(b, filepath.Join(root, acme.Database))
		b.StartTimer()
		if err := FilestoreClone(b.Context(), cloneConfig(root)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}

func removeAll(t testing.TB, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func symlink(t testing.TB, to, path string) {
	t.Helper()
	if err := os.Symlink(to, strings.TrimSuffix(path, "/")); err != nil {
		t.Fatal(err)
	}
}
