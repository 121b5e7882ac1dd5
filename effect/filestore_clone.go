package effect

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// FilestoreCloneConfig configures filestore-clone.
type FilestoreCloneConfig struct {
	Tenant
	Filestore

	Template     string `env:"TEMPLATE_DATABASE,required,notEmpty" doc:"The template's database, whose files the tenant starts with."`
	TemplateRoot string `env:"TEMPLATE_ROOT"                       doc:"Directory in which the template's database has a directory of its own name, where that isn't FILESTORE_ROOT. It may be another mount, and is only read."`
}

// Validate returns all that is wrong.
func (c FilestoreCloneConfig) Validate() error {
	errs := []error{c.Tenant.Validate(), c.Filestore.Validate()}
	if err := validDatabaseName(c.Template); err != nil {
		errs = append(errs, fmt.Errorf("TEMPLATE_DATABASE: %w", err))
	}
	if c.Template == c.Database {
		errs = append(errs, fmt.Errorf("TEMPLATE_DATABASE: %q is the tenant's own database", c.Template))
	}
	if c.TemplateRoot != "" && !filepath.IsAbs(c.TemplateRoot) {
		errs = append(errs, fmt.Errorf("TEMPLATE_ROOT: %q must be an absolute path", c.TemplateRoot))
	}
	return errors.Join(errs...)
}

// openTemplate opens the directory in which the template's is.
func (c FilestoreCloneConfig) openTemplate() (*os.Root, error) {
	if c.TemplateRoot == "" {
		return c.open()
	}
	root, err := os.OpenRoot(c.TemplateRoot)
	if err != nil {
		return nil, fmt.Errorf("cannot open TEMPLATE_ROOT: is the volume mounted? %w", err)
	}
	return root, nil
}

// What a clone leaves in the tenant's directory beside the files themselves. It
// is kept there, rather than beside the directory, so that whatever removes the
// directory removes it too. Odoo reads only the files that its database names.
const (
	// cloneBegun says whose the directory is. It is there before any file is.
	cloneBegun = ".filestore-clone.begun"

	// cloneComplete says so too, and that every file is there. There are two marks,
	// since of two runs at the same time the later one begins when the other one
	// may be complete.
	cloneComplete = ".filestore-clone.complete"

	// cloneTemporary begins the name of a file that is being written.
	cloneTemporary = ".filestore-clone.tmp-"

	// cloneMarkSize is far beyond what a mark has.
	cloneMarkSize = 64 << 10
)

// cloneMark is the content of a mark.
type cloneMark struct {
	Tenant   string `json:"tenant"`
	UID      string `json:"uid"`
	Template string `json:"template"`
}

// FilestoreClone gives the tenant copies of its template's files, which share the
// template's blocks where the file system can do that, and so take no space until
// one of them is written to.
//
// They are no hard links. Those are one file with many names: a tenant who writes
// to theirs changes the template's, and that of every other tenant.
//
// The mark that the clone is complete is written when it is. Without it, a run
// goes on where the one before it was killed.
func FilestoreClone(ctx context.Context, c FilestoreCloneConfig) error {
	root, err := c.open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // Each file in it was closed.
	templates, err := c.openTemplate()
	if err != nil {
		return err
	}
	defer templates.Close() //nolint:errcheck // It was only read from.

	if err := c.clone(ctx, root, templates); err != nil {
		// Another run that is complete has taken our temporary files for leftovers.
		if c.isComplete(root) {
			slog.InfoContext(ctx, "Another run has completed the clone", "directory", c.Database)
			return nil
		}
		return fmt.Errorf("cannot clone the filestore of %q into %q: %w", c.Template, c.Database, err)
	}
	return nil
}

// isComplete tells whether the tenant's directory is marked as complete.
func (c FilestoreCloneConfig) isComplete(root *os.Root) bool {
	dir, exists, err := openDirectory(root, c.Database)
	if !exists || err != nil {
		return false
	}
	defer dir.Close() //nolint:errcheck // It was only read from.
	m, err := readCloneMark(dir, cloneComplete)
	return err == nil && c.owns(m)
}

func (c FilestoreCloneConfig) clone(ctx context.Context, root, templates *os.Root) error {
	template, exists, err := openDirectory(templates, c.Template)
	if err != nil {
		return err
	}
	if !exists {
		// Odoo keeps even its own icons as files, so that a template without any
		// is far more likely a wrong name or a wrong volume. A tenant whose
		// database names files that don't exist is noticed by its customer.
		return fmt.Errorf("the template has no directory %q: is this the filestore of Odoo %s? If that database really has no attachments, create the directory, empty", c.Template, c.Version)
	}
	defer template.Close() //nolint:errcheck // It was only read from.

	if err := root.Mkdir(c.Database, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot create the tenant's directory: %w", err)
	}
	dir, exists, err := openDirectory(root, c.Database)
	if err != nil {
		return err
	}
	if !exists {
		return errors.New("the tenant's directory was removed while it was being filled")
	}
	defer dir.Close() //nolint:errcheck // Each file in it was closed.

	complete, err := c.claim(dir, template)
	if err != nil {
		return err
	}
	if complete {
		slog.InfoContext(ctx, "The filestore was cloned already: nothing to do", "directory", c.Database)
		return removeTemporary(dir)
	}

	cl := &cloner{from: template, to: dir, reflinks: true, said: time.Now()}
	if err := fs.WalkDir(template.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return fmt.Errorf("stopped after %d files; the next run goes on: %w", cl.reflinked+cl.copied+cl.there, err)
		}
		return cl.add(ctx, name, entry)
	}); err != nil {
		return err
	}
	// Once for all of them: for each file by itself it takes longer than the copy.
	if err := syncFileSystem(dir); err != nil {
		return fmt.Errorf("cannot have the files written to disk: %w", err)
	}
	if err := c.writeMark(dir, cloneComplete); err != nil {
		return err
	}
	if err := removeTemporary(dir); err != nil {
		return err
	}
	slog.InfoContext(ctx, "The filestore is cloned", "directory", c.Database, "template", c.Template,
		"reflinked", cl.reflinked, "copied", cl.copied, "bytesCopied", cl.bytes, "alreadyThere", cl.there)
	return nil
}

// claim the tenant's directory before anything is put into it, and report
// whether the clone is complete. A directory with files that no run of ours for
// this tenant has put there isn't touched.
func (c FilestoreCloneConfig) claim(dir, template *os.Root) (complete bool, err error) {
	like, err := template.Stat(".")
	if err != nil {
		return false, fmt.Errorf("cannot look at the template's directory: %w", err)
	}

	// In this order: another run writes its mark first and files then, so that
	// files without a mark are nobody's of ours.
	foreign, err := anyFile(dir)
	if err != nil {
		return false, err
	}
	m, err := readCloneMark(dir, cloneComplete)
	complete = err == nil
	if errors.Is(err, fs.ErrNotExist) {
		m, err = readCloneMark(dir, cloneBegun)
	}
	unmarked := errors.Is(err, fs.ErrNotExist)
	switch {
	case unmarked && foreign != "":
		return false, Terminal(fmt.Errorf("the tenant's directory has files already, %q for one, and no mark that says whose they are: if nobody needs them, remove the directory", foreign))
	case err != nil && !unmarked:
		return false, err
	case !unmarked && !c.owns(m):
		return false, Terminal(fmt.Errorf("the directory belongs to tenant %q, and this one is %s: if that tenant is gone, remove the directory", m.Tenant+"/"+m.UID, c.mark()))
	case complete:
		return true, nil
	}

	if err := resemble(dir, ".", like); err != nil {
		return false, err
	}
	if unmarked {
		return false, c.writeMark(dir, cloneBegun)
	}
	return false, nil
}

// owns tells whether a mark is this tenant's.
func (c FilestoreCloneConfig) owns(m cloneMark) bool {
	return m.Tenant == c.Name && m.UID == c.UID
}

// anyFile returns the name of something in a directory, and nothing if it has
// nothing but what a run that was killed while it claimed it may have left.
func anyFile(dir *os.Root) (string, error) {
	d, err := openList(dir, ".")
	if err != nil {
		return "", fmt.Errorf("cannot list the tenant's directory: %w", err)
	}
	defer d.Close() //nolint:errcheck // It was only read from.
	for {
		names, err := d.Readdirnames(1000)
		for _, name := range names {
			if !isClones(name) {
				return name, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("cannot list the tenant's directory: %w", err)
		}
	}
}

// isClones tells whether a file in a database's directory is a clone's own,
// rather than one of Odoo's.
func isClones(name string) bool {
	return name == cloneBegun || name == cloneComplete || strings.HasPrefix(name, cloneTemporary)
}

// readCloneMark reads one of the marks of a database's directory.
func readCloneMark(dir *os.Root, name string) (cloneMark, error) {
	var m cloneMark
	f, _, err := openFile(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	var data []byte
	if err == nil {
		// A tenant can make it as large as it likes.
		data, err = io.ReadAll(io.LimitReader(f, cloneMarkSize))
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		if jsonErr := json.Unmarshal(data, &m); jsonErr != nil {
			err = Terminal(jsonErr)
		}
	}
	if err != nil {
		err = fmt.Errorf("cannot read %s in the tenant's directory, which says whose that is: %w. If nobody else needs the directory, remove %s", name, err, name)
	}
	return m, err
}

// writeMark writes one of the marks of the tenant's directory.
func (c FilestoreCloneConfig) writeMark(dir *os.Root, name string) error {
	data, err := json.Marshal(cloneMark{Tenant: c.Name, UID: c.UID, Template: c.Template})
	if err == nil {
		err = replaceFile(dir, name, 0o644, func(f *os.File) error {
			_, err := f.Write(append(data, '\n'))
			return errors.Join(err, f.Sync())
		})
	}
	if err != nil {
		return fmt.Errorf("cannot write the directory's mark %s: %w", name, err)
	}
	return nil
}

// removeTemporary removes what runs that were killed have left half written.
func removeTemporary(dir *os.Root) error {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return fmt.Errorf("cannot list the tenant's directory: %w", err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), cloneTemporary) {
			continue
		}
		if err := dir.Remove(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove what an earlier run left half written: %w", err)
		}
	}
	return nil
}

// replaceFile writes a file of a database's directory under a name of its own,
// and when all of it is written gives it its right one.
func replaceFile(dir *os.Root, name string, mode fs.FileMode, write func(*os.File) error) error {
	temporary := cloneTemporary + rand.Text()
	f, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode.Perm())
	if err != nil {
		return err
	}
	// What open makes of the mode depends on the umask.
	if err = f.Chmod(mode); err == nil {
		err = write(f)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	return dir.Rename(temporary, name)
}

// syncFileSystem has all of a directory's file system written to disk.
func syncFileSystem(dir *os.Root) error {
	d, err := openList(dir, ".")
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// A cloner adds one entry of the template after the other to the tenant's
// directory.
type cloner struct {
	from, to *os.Root

	// reflinks is whether the file system has shown no sign of not having them.
	reflinks bool

	reflinked, copied, there int
	bytes                    int64
	said                     time.Time
}

func (cl *cloner) add(ctx context.Context, name string, entry fs.DirEntry) error {
	switch {
	case name == ".":
		return nil
	// A template that was itself cloned from another has marks of its own.
	case isClones(name):
		return nil
	case entry.IsDir():
		return cl.addDirectory(name, entry)
	case entry.Type().IsRegular():
		if err := cl.addFile(ctx, name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	default:
		return Terminal(fmt.Errorf("%q in the template is a %s, which Odoo never creates: remove it", name, kind(entry.Type())))
	}

	if time.Since(cl.said) > progressInterval {
		slog.InfoContext(ctx, "Cloning the filestore", "reflinked", cl.reflinked, "copied", cl.copied, "bytesCopied", cl.bytes, "alreadyThere", cl.there)
		cl.said = time.Now()
	}
	return nil
}

func (cl *cloner) addDirectory(name string, entry fs.DirEntry) error {
	like, err := entry.Info()
	if err != nil {
		return err
	}
	if err := cl.to.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return resemble(cl.to, name, like)
}

func (cl *cloner) addFile(ctx context.Context, name string) error {
	source, want, err := openFile(cl.from, name)
	if err != nil {
		return err
	}
	defer source.Close() //nolint:errcheck // It was only read from.

	// Each file gets its name when all of it is there, so size tells apart only
	// what a power failure has left. A version before this one made hard links.
	got, err := cl.to.Lstat(name)
	switch {
	case err == nil && got.Mode().IsRegular() && got.Size() == want.Size() && !os.SameFile(got, want):
		cl.there++
		return nil
	case err == nil && !got.Mode().IsRegular():
		return Terminal(fmt.Errorf("the tenant's directory has a %s of that name", kind(got.Mode())))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}

	return replaceFile(cl.to, name, want.Mode().Perm(), func(f *os.File) error {
		if err := giveAway(f, want); err != nil {
			return err
		}
		if cl.reflink(f, source) {
			cl.reflinked++
			return nil
		}
		// In pieces, so that a stop doesn't wait for the largest of files; each
		// piece is the kernel's to copy. One byte more than the file has finds its
		// end at once.
		piece := min(16<<20, want.Size()+1)
		for {
			n, err := io.CopyN(f, source, piece)
			cl.bytes += n
			if errors.Is(err, io.EOF) {
				cl.copied++
				return nil
			}
			if err := errors.Join(err, context.Cause(ctx)); err != nil {
				return err
			}
		}
	})
}

// reflink makes a file share the blocks of another one, until either is written
// to, and tells whether it could.
func (cl *cloner) reflink(to, from *os.File) bool {
	if !cl.reflinks {
		return false
	}
	// Most file systems don't have it, and none has it across two; each says so in
	// a way of its own. The copy then says what else may be wrong.
	err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd()))
	cl.reflinks = err == nil
	return err == nil
}

// resemble gives a directory of the tenant's the owner and mode that the
// template's has, so that Odoo, who may be somebody else than we are, can write
// to it.
func resemble(root *os.Root, name string, like fs.FileInfo) error {
	got, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if !got.IsDir() {
		return Terminal(fmt.Errorf("%q in the tenant's directory must be a directory, but is a %s", name, kind(got.Mode())))
	}
	dir, err := openList(root, name)
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // It was only read from.

	const kept = fs.ModePerm | fs.ModeSetgid | fs.ModeSticky
	if got.Mode()&kept != like.Mode()&kept {
		if err := dir.Chmod(like.Mode() & kept); err != nil {
			return fmt.Errorf("cannot give %q the mode of the template's directory: %w", name, err)
		}
	}
	return giveAway(dir, like)
}

// giveAway gives a file or directory the owner and group of another one. Where
// that isn't permitted, it is an error unless Odoo gets what it needs by its
// group or from everybody's rights: it writes to directories, and reads files.
func giveAway(f *os.File, like fs.FileInfo) error {
	got, err := f.Stat()
	if err != nil {
		return err
	}
	was, wasOK := got.Sys().(*syscall.Stat_t)
	want, wantOK := like.Sys().(*syscall.Stat_t)
	if !wasOK || !wantOK || (was.Uid == want.Uid && was.Gid == want.Gid) {
		return nil
	}
	err = f.Chown(int(want.Uid), int(want.Gid))
	if err == nil || was.Uid == want.Uid {
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	group, others := fs.FileMode(0o040), fs.FileMode(0o004)
	if like.IsDir() {
		group, others = 0o020, 0o002
	}
	if mode := like.Mode(); mode&others != 0 || (was.Gid == want.Gid && mode&group != 0) {
		return nil
	}
	return Terminal(fmt.Errorf("what is created here belongs to user %d and group %d, but the template's files to %d and %d, so that Odoo could not use it: run this Job as user %d", was.Uid, was.Gid, want.Uid, want.Gid, want.Uid))
}
