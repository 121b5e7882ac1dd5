package effect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Validate where the filestore is.
func (f Filestore) Validate() error {
	if !filepath.IsAbs(f.Root) {
		return fmt.Errorf("FILESTORE_ROOT: %q must be an absolute path", f.Root)
	}
	return nil
}

// open the filestore. Whatever is then done through it stays inside of it.
func (f Filestore) open() (*os.Root, error) {
	root, err := os.OpenRoot(f.Root)
	if err != nil {
		return nil, fmt.Errorf("cannot open the filestore: is the volume mounted? %w", err)
	}
	return root, nil
}

// openDirectory opens the directory of one database, and reports whether there
// is one. A root resolves symbolic links that stay inside of it, so that one
// database's name could lead to another's files: only a real directory will do.
func openDirectory(root *os.Root, database string) (dir *os.Root, exists bool, err error) {
	want, err := root.Lstat(database)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("cannot look at directory %q of the filestore: %w", database, err)
	}
	if !want.IsDir() {
		return nil, true, Terminal(fmt.Errorf("%q in the filestore must be a directory, but is a %s", database, kind(want.Mode())))
	}
	dir, err = root.OpenRoot(database)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, true, fmt.Errorf("cannot open directory %q of the filestore: %w", database, err)
	}
	if got, err := dir.Stat("."); err != nil || !os.SameFile(want, got) {
		return nil, true, errors.Join(fmt.Errorf("directory %q of the filestore was replaced while it was being opened", database), err, dir.Close())
	}
	return dir, true, nil
}

// openFile opens a regular file to read, and nothing else: a link is read as what
// it leads to, a named pipe waits for a writer for ever, and a device does what a
// device does. The directory may be a hostile tenant's, who swaps one for the other
// in between.
func openFile(dir *os.Root, name string) (*os.File, fs.FileInfo, error) {
	want, err := dir.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !want.Mode().IsRegular() {
		return nil, nil, Terminal(fmt.Errorf("%q must be a file, but is a %s", name, kind(want.Mode())))
	}
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	got, err := f.Stat()
	if err != nil || !os.SameFile(want, got) {
		return nil, nil, errors.Join(fmt.Errorf("%q was replaced while it was being opened", name), err, f.Close())
	}
	return f, got, nil
}

// openList opens a directory to list it. A tenant can put anything else in its
// place at any time.
func openList(dir *os.Root, name string) (*os.File, error) {
	return dir.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// kind of a file that isn't what was hoped for, in words.
func kind(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "named pipe"
	case mode&fs.ModeSocket != 0:
		return "socket"
	case mode&fs.ModeDevice != 0:
		return "device"
	default:
		return "special file"
	}
}
