package effect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// surveyDepth is how deep directories may be nested. Odoo's are two deep, and
	// three where it keeps what is to be collected; those of its community's modules
	// are a few more. A tenant can nest them until no path leads to the last of them.
	surveyDepth = 32

	// surveySparse is from which size on a file has to be on disk. Odoo keeps a file's
	// size in 32 bits.
	surveySparse = 1<<31 - 1

	// surveyOnDisk is which part of such a file has to be. File systems that compress
	// don't get as far.
	surveyOnDisk = 64

	// statBlock is what a file's blocks are counted in, whatever its file system has.
	statBlock = 512
)

// A survey is what a tenant's directory holds before it is backed up. The program
// that does so opens files by their paths, and a tenant can put a link to
// something else in the place of any directory while it does. So what has come
// into the backup is compared with what was there, which was looked at through
// os.Root.
type survey struct {
	dir *os.Root

	files, bytes int64

	// largest of the files, which is what takes long.
	largest     string
	largestSize int64

	// special are links, named pipes and the like: they are never opened.
	special     int64
	someSpecial string

	seed  maphash.Seed
	there map[uint64]struct{}
}

// takeSurvey of a tenant's directory. It is an error if there is something in it
// that can't be backed up in the time that there is.
func takeSurvey(ctx context.Context, dir *os.Root) (*survey, error) {
	s := &survey{dir: dir, seed: maphash.MakeSeed(), there: map[uint64]struct{}{}}
	if err := s.look(ctx, ".", 0); err != nil {
		return nil, err
	}
	if s.special > 0 {
		slog.WarnContext(ctx, "What Odoo never creates is in the tenant's directory, and isn't read: links, named pipes, sockets or devices", "count", s.special, "one", s.someSpecial)
	}
	return s, nil
}

func (s *survey) look(ctx context.Context, name string, depth int) error {
	if depth > surveyDepth {
		return Terminal(fmt.Errorf("directory %q is nested deeper than %d, which Odoo never does: move it away", excerptOf(name), surveyDepth))
	}
	d, err := openList(s.dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot list directory %q: %w", name, err)
	}
	defer d.Close() //nolint:errcheck // It was only read from.
	for {
		entries, err := d.ReadDir(wipeBatch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err := errors.Join(err, context.Cause(ctx)); err != nil {
			return fmt.Errorf("cannot list directory %q: %w", name, err)
		}
		for _, e := range entries {
			if err := s.add(ctx, path.Join(name, e.Name()), e, depth); err != nil {
				return err
			}
		}
	}
}

func (s *survey) add(ctx context.Context, name string, e fs.DirEntry, depth int) error {
	if e.IsDir() {
		return s.look(ctx, name, depth+1)
	}
	info, err := s.dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		s.special++
		s.someSpecial = fmt.Sprintf("%q, a %s", name, kind(info.Mode()))
		return nil
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if onDisk := stat.Blocks * statBlock; ok && info.Size() > surveySparse && onDisk < info.Size()/surveyOnDisk {
		return Terminal(fmt.Errorf("file %q is %d bytes long, of which %d are on disk: Odoo writes no such file, and to read it would take hours. Move it away", name, info.Size(), onDisk))
	}
	s.files++
	s.bytes += info.Size()
	if info.Size() > s.largestSize {
		s.largest, s.largestSize = name, info.Size()
	}
	s.there[s.key(name, info.Size(), info.ModTime(), changed(info))] = struct{}{}
	return nil
}

// changed is when a file's inode was changed last, which nobody can set.
func changed(info fs.FileInfo) time.Time {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(stat.Ctim.Unix())
	}
	return time.Time{}
}

// key of a file as it was at one time. A tenant doesn't know the seed.
func (s *survey) key(name string, size int64, modified, changed time.Time) uint64 {
	// As JSON has it: a replacement character for each byte that is no UTF-8.
	name = string([]rune(name))
	return maphash.String(s.seed, strings.Join([]string{
		strconv.FormatInt(size, 10), strconv.FormatInt(modified.UnixNano(), 10), strconv.FormatInt(changed.UnixNano(), 10), name,
	}, "/"))
}

// explain an error of what was done with these files, where it was told to stop.
func (s *survey) explain(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return fmt.Errorf("stopped while reading %d files of %d bytes, the largest of which is %q with %d: %w", s.files, s.bytes, s.largest, s.largestSize, err)
}

// errOther is that a backup has something else than the tenant's files.
var errOther = errors.New("is not the tenant's file of that name")

// verify that a snapshot of the directory of a database has the files that there
// are, or were, and nothing else.
func (s *survey) verify(ctx context.Context, repo *repository, snapshot, database string) error {
	// Remembered, since restic wouldn't say why nobody reads on.
	var other error
	nodes := &lineWriter{each: func(line []byte) error {
		var node struct {
			Type  string    `json:"type"`
			Path  string    `json:"path"`
			Size  int64     `json:"size"`
			MTime time.Time `json:"mtime"`
			CTime time.Time `json:"ctime"`
		}
		if err := json.Unmarshal(line, &node); err != nil {
			return fmt.Errorf("cannot read restic's list of files: %w", err)
		}
		if node.Type != "file" {
			return nil
		}
		name, inside := strings.CutPrefix(node.Path, "/"+database+"/")
		if _, known := s.there[s.key(name, node.Size, node.MTime, node.CTime)]; inside && known {
			return nil
		}
		// It may have come after the survey.
		info, err := s.dir.Lstat(name)
		if other == nil && (!inside || err != nil || !info.Mode().IsRegular() || info.Size() != node.Size || !info.ModTime().Equal(node.MTime) || !changed(info).Equal(node.CTime)) {
			other = fmt.Errorf("what was backed up as %q %w: somebody changes the directory meanwhile", node.Path, errOther)
		}
		return nil
	}}
	list := repo.restic("ls", "--json", "--no-lock", snapshot)
	list.stdout = nodes
	if err := list.run(ctx); err != nil {
		return fmt.Errorf("cannot compare the files of snapshot %s with the tenant's: %w", snapshot, repo.explain(err))
	}
	return other
}

// removeSpecial removes from a directory that was restored what Odoo never
// creates: a link would be followed.
func removeSpecial(ctx context.Context, root *os.Root, dir string) error {
	removed := 0
	err := fs.WalkDir(root.FS(), dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Type().IsRegular() {
			return err
		}
		removed++
		return root.Remove(name)
	})
	if err != nil {
		return fmt.Errorf("cannot remove what Odoo never creates: %w", err)
	}
	if removed > 0 {
		slog.WarnContext(ctx, "The backup had what Odoo never creates: links, named pipes or devices. They are left out", "count", removed)
	}
	return nil
}

// excerptOf the beginning of a path that may be longer than anybody reads.
func excerptOf(name string) string {
	const long = 100
	if len(name) <= long {
		return name
	}
	return name[:long] + "…"
}
