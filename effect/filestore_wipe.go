package effect

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"syscall"
	"time"
)

// FilestoreWipeConfig configures filestore-wipe.
type FilestoreWipeConfig struct {
	Tenant
	Filestore

	Adopted bool `env:"TENANT_ADOPTED" envDefault:"false" doc:"The tenant was told to adopt what was there: its files may bear another tenant's mark."`
}

// Validate returns all that is wrong.
func (c FilestoreWipeConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Filestore.Validate())
}

// progressInterval is how often an effect that takes long says how far it is.
const progressInterval = 5 * time.Second

// FilestoreWipe removes the tenant's directory from the filestore, and nothing
// else. That there is none is success, and so is that it bears the mark of
// another tenant, who may have been let go with all that it had: then it stays.
func FilestoreWipe(ctx context.Context, c FilestoreWipeConfig) error {
	root, err := c.open()
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // It was only read from.

	dir, exists, err := openDirectory(root, c.Database)
	if err != nil {
		return fmt.Errorf("cannot wipe the filestore of %q: %w", c.Database, err)
	}
	if !exists {
		slog.InfoContext(ctx, "There is no such directory, so nothing to wipe", "directory", c.Database)
		return nil
	}
	defer dir.Close() //nolint:errcheck // What it held is gone.

	if owner, err := c.owner(dir); err != nil {
		return err
	} else if owner != "" {
		slog.WarnContext(ctx, "The directory bears another tenant's mark, so it stays", "directory", c.Database, "owner", owner)
		return nil
	}

	w := &wiper{dir: dir, said: time.Now()}
	for attempt := 1; ; attempt++ {
		if err := w.empty(ctx, ".", 0); err != nil {
			return fmt.Errorf("cannot wipe the filestore of %q: %w", c.Database, err)
		}
		err := root.Remove(c.Database)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			break
		}
		if errors.Is(err, syscall.EBUSY) {
			slog.InfoContext(ctx, "The directory is a mount of its own, so it stays, empty", "directory", c.Database)
			break
		}
		// Another run may have put a deep directory there, to be emptied.
		if attempt == wipeAttempts || !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("cannot remove the directory of %q, which was empty: does Odoo still write to it? %w", c.Database, err)
		}
	}
	slog.InfoContext(ctx, "The filestore is wiped", "directory", c.Database, "files", w.removed)
	return nil
}

// owner of the directory, if its mark names another tenant than this one.
func (c FilestoreWipeConfig) owner(dir *os.Root) (string, error) {
	if c.Adopted {
		return "", nil
	}
	for _, name := range []string{cloneComplete, cloneBegun} {
		m, err := readCloneMark(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("cannot wipe the filestore of %q: %w", c.Database, err)
		}
		if m.Tenant != c.Name || m.UID != c.UID {
			return m.Tenant + "/" + m.UID, nil
		}
	}
	return "", nil
}

const (
	// wipeBatch is how many entries of a directory are looked at at once: a tenant
	// can put millions into one.
	wipeBatch = 1000

	// wipeDepth is how deep directories are walked into. What is deeper is moved to
	// the top first: a tenant can nest directories without end, and the way to the
	// last of them is longer each time.
	wipeDepth = 32

	// wipeMoved begins the name of what was moved.
	wipeMoved = ".filestore-wipe.tmp-"

	// wipeAttempts to remove a directory that is filled again.
	wipeAttempts = 3
)

// A wiper empties a directory file by file, where the standard library would do
// it in one call that nothing can interrupt for as long as a large tenant on a
// slow volume takes. It opens nothing but directories.
type wiper struct {
	dir     *os.Root
	removed int
	said    time.Time
}

// empty a directory below the tenant's.
func (w *wiper) empty(ctx context.Context, name string, depth int) error {
	for {
		gone, err := w.pass(ctx, name, depth)
		if err != nil || gone == 0 {
			return err
		}
	}
}

// pass through a directory once, and count what has gone from it. What goes while
// a directory is listed may have the list leave out something else.
//
// Somebody else may be doing the same: what is gone already is as good as removed.
func (w *wiper) pass(ctx context.Context, name string, depth int) (gone int, err error) {
	var d *os.File
	err = w.permitted(name, func() (err error) {
		d, err = openList(w.dir, name)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer d.Close() //nolint:errcheck // It was only read from.

	for {
		entries, err := d.ReadDir(wipeBatch)
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return gone, nil
		}
		if err != nil {
			return gone, err
		}
		for _, e := range entries {
			if err := context.Cause(ctx); err != nil {
				return gone, fmt.Errorf("stopped after %d files; the next run goes on: %w", w.removed, err)
			}
			err := w.remove(ctx, name, e, depth)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return gone, err
			}
			if err == nil {
				gone++
			}
			if time.Since(w.said) > progressInterval {
				slog.InfoContext(ctx, "Wiping the filestore", "files", w.removed)
				w.said = time.Now()
			}
		}
	}
}

// remove an entry of a directory, with what is in it. Of a symbolic link this
// removes the link.
func (w *wiper) remove(ctx context.Context, parent string, e fs.DirEntry, depth int) error {
	name := parent + "/" + e.Name()
	if e.IsDir() && depth == wipeDepth {
		moved := wipeMoved + rand.Text()
		return w.permitted(parent, func() error {
			return w.permitted(name, func() error { return w.dir.Rename(name, moved) })
		})
	}
	if e.IsDir() {
		if err := w.empty(ctx, name, depth+1); err != nil {
			return err
		}
	}
	err := w.permitted(parent, func() error { return w.dir.Remove(name) })
	if err == nil && !e.IsDir() {
		w.removed++
	}
	return err
}

// permitted does something in a directory, of which a tenant may have taken the
// rights from everybody.
func (w *wiper) permitted(dir string, do func() error) error {
	err := do()
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if chmodErr := w.dir.Chmod(dir, 0o700); chmodErr != nil {
		return err
	}
	return do()
}
