package effect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
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

	if owner, err := c.owner(root); err != nil {
		return err
	} else if owner != "" {
		slog.WarnContext(ctx, "The directory bears another tenant's mark, so it stays", "directory", c.Database, "owner", owner)
		return nil
	}

	w := &wiper{dir: dir, said: time.Now()}
	if err := w.empty(ctx, "."); err != nil {
		return fmt.Errorf("cannot wipe the filestore of %q: %w", c.Database, err)
	}
	if err := root.Remove(c.Database); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the directory of %q, which was empty: does Odoo still write to it? %w", c.Database, err)
	}
	slog.InfoContext(ctx, "The filestore is wiped", "directory", c.Database, "files", w.removed)
	return nil
}

// owner of the directory, if its mark names another tenant than this one.
func (c FilestoreWipeConfig) owner(root *os.Root) (string, error) {
	if c.Adopted {
		return "", nil
	}
	for _, name := range []string{cloneComplete, cloneBegun} {
		m, err := readCloneMark(root, c.Database, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if m.Tenant != c.Name || m.UID != c.UID {
			return m.Tenant + "/" + m.UID, nil
		}
	}
	return "", nil
}

// A wiper empties a directory file by file, where the standard library would do
// it in one call that nothing can interrupt for as long as a large tenant on a
// slow volume takes.
type wiper struct {
	dir     *os.Root
	removed int
	said    time.Time
}

// empty a directory below the tenant's. Somebody else may be doing the same:
// what is gone already is as good as removed.
func (w *wiper) empty(ctx context.Context, name string) error {
	d, err := w.dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err = errors.Join(err, d.Close()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("stopped after %d files; the next run goes on: %w", w.removed, err)
		}
		path := name + "/" + e.Name()
		if e.IsDir() {
			if err := w.empty(ctx, path); err != nil {
				return err
			}
		} else {
			w.removed++
		}
		// Of a symbolic link this removes the link.
		if err := w.dir.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if time.Since(w.said) > progressInterval {
			slog.InfoContext(ctx, "Wiping the filestore", "files", w.removed)
			w.said = time.Now()
		}
	}
	return nil
}
