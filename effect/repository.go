package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Tags of the snapshots in a tenant's repository. A run of a backup leaves up to
// three of them: the database's dump, the filestore, and last a receipt, which
// says that the other two were read back. Only a run with a receipt counts.
// Nothing is ever changed once written, so a run that was killed leaves no more
// than snapshots without a receipt.
const (
	tagTenant    = "tenant"
	tagUID       = "uid"
	tagProject   = "project"
	tagVersion   = "odoo"
	tagRun       = "run"
	tagKind      = "kind"
	tagPart      = "part"
	tagFilestore = "filestore"
	tagRetention = "retention"

	// tagOccasion of a final run or a tombstone is the teardown that it belongs to.
	tagOccasion = "occasion"
)

// Kinds of a run. A final backup is the last one before a tenant goes, and a
// tombstone says that it is gone.
const (
	kindBackup    = "backup"
	kindFinal     = "final-backup"
	kindTombstone = "tombstone"
)

// Parts of a run.
const (
	partDatabase  = "database"
	partFilestore = "filestore"
	partReceipt   = "receipt"
	partTombstone = "tombstone"
)

// filestoreAbsent is the value of tagFilestore where the tenant had none.
const filestoreAbsent = "absent"

// Names of files in snapshots.
const (
	dumpFile      = "database.dump"
	receiptFile   = "receipt.json"
	tombstoneFile = "tombstone.json"
)

// Patience with a repository that somebody else has locked. A run that was
// killed leaves a lock that its repository's other users must take for a live
// one for half an hour; a pod's name is its host name, so restic can't look
// whether the locking process still lives.
const (
	untilLocksAreStale = 35 * time.Minute
	forRetention       = time.Minute
)

// A receipt is what a run says of itself once it has been read back. It is the
// one file of the run's last snapshot.
type receipt struct {
	Run       string    `json:"run"`
	Kind      string    `json:"kind"`
	Tenant    string    `json:"tenant"`
	UID       string    `json:"uid"`
	ProjectID int       `json:"projectId"`
	Database  string    `json:"database"`
	Tier      string    `json:"tier"`
	Version   string    `json:"odooVersion"`
	Dump      dumpPart  `json:"dump"`
	Filestore *filePart `json:"filestore,omitempty"`

	// RetentionDays that the tenant's tier asked for at that time.
	RetentionDays int `json:"retentionDays"`

	// Occasion is the teardown that a final backup was made for. Another teardown
	// needs another one.
	Occasion string `json:"occasion,omitempty"`
}

// An epitaph is what a tombstone says: nothing of the tenant is left but its
// backups. From then on all of them expire.
type epitaph struct {
	Tenant        string    `json:"tenant"`
	UID           string    `json:"uid"`
	ProjectID     int       `json:"projectId"`
	Database      string    `json:"database"`
	Occasion      string    `json:"occasion"`
	GoneSince     time.Time `json:"goneSince"`
	RetentionDays int       `json:"retentionDays"`
}

type dumpPart struct {
	Snapshot string `json:"snapshot"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"`
	Entries  int    `json:"entries"`

	// What CREATE DATABASE is told: a dump doesn't say.
	Encoding string `json:"encoding"`
	Collate  string `json:"collate"`
	CType    string `json:"ctype"`
}

type filePart struct {
	Snapshot string `json:"snapshot"`
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
}

// A snapshot as restic lists it.
type snapshot struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	Tags []string  `json:"tags"`
}

// tag of a snapshot by its key, or "".
func (s snapshot) tag(key string) string {
	for _, t := range s.Tags {
		if v, found := strings.CutPrefix(t, key+"="); found {
			return v
		}
	}
	return ""
}

// A repository of one tenant's backups.
type repository struct {
	at    location
	files files
	env   []string
	flags []string

	// scratch is where there is room for temporary files, or "" for where TMPDIR says.
	scratch string
}

// repository at a location.
func (s Storage) repository(at location) (*repository, error) {
	f, err := s.open(at)
	if err != nil {
		return nil, err
	}
	r := &repository{at: at, files: f, scratch: s.CacheDir, env: []string{"RESTIC_REPOSITORY=" + at.String(), "RESTIC_PASSWORD=" + s.Password}}
	if at.endpoint != nil {
		r.env = append(r.env, "AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey)
	}
	if s.Region != "" {
		r.env = append(r.env, "AWS_DEFAULT_REGION="+s.Region)
	}
	if s.CacheDir != "" {
		r.flags = []string{"--cleanup-cache", "--cache-dir", s.CacheDir}
		// In a pod whose root can't be written to, this is where there is room.
		r.env = append(r.env, "TMPDIR="+s.CacheDir)
	} else {
		r.flags = []string{"--no-cache"}
	}
	if s.CAFile != "" {
		r.flags = append(r.flags, "--cacert", s.CAFile)
	}
	return r, nil
}

// lookFor the repository at a location, and tell whether there is one yet.
func (s Storage) lookFor(ctx context.Context, at string) (repo *repository, found bool, err error) {
	l, err := parseLocation(at)
	if err != nil {
		return nil, false, Terminal(err)
	}
	if repo, err = s.repository(l); err != nil {
		return nil, false, err
	}
	found, err = repo.initialised(ctx)
	return repo, found, err
}

// restic command on this repository.
func (r *repository) restic(command string, args ...string) program {
	all := append([]string{command}, r.flags...)
	return program{name: "restic", args: append(all, args...), env: r.env}
}

// output of a restic command.
func (r *repository) output(ctx context.Context, command string, args ...string) ([]byte, error) {
	var out bytes.Buffer
	p := r.restic(command, args...)
	p.stdout = &out
	if err := p.run(ctx); err != nil {
		return nil, r.explain(err)
	}
	return out.Bytes(), nil
}

// explain an error of restic's.
func (r *repository) explain(err error) error {
	if says(err, "wrong password or no key found") {
		return fmt.Errorf("repository %s doesn't open with RESTIC_PASSWORD: it was made with another password: %w", r.at, err)
	}
	return err
}

// initialised tells whether there is a repository: a config, and a key. Without both, and
// with nothing else, it is one that somebody began to create.
func (r *repository) initialised(ctx context.Context) (bool, error) {
	found, err := r.files.exists(ctx, "config")
	if !found || err != nil {
		return false, r.unseen(err)
	}
	keys, err := r.files.list(ctx, "keys")
	if err != nil || len(keys) > 0 {
		return err == nil, r.unseen(err)
	}
	return false, r.holdsNothing(ctx, "keys")
}

// unseen is an error of looking for the repository.
func (r *repository) unseen(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot look for repository %s: %w", r.at, err)
}

// holdsNothing is an error if the repository holds data, though a part of it is gone
// without which nobody can read any.
func (r *repository) holdsNothing(ctx context.Context, gone string) error {
	for _, dir := range []string{"snapshots", "index"} {
		names, err := r.files.list(ctx, dir)
		if err != nil {
			return fmt.Errorf("cannot look into repository %s: %w", r.at, err)
		}
		if len(names) > 0 {
			return fmt.Errorf("repository %s is damaged: it holds data in %s/ and has lost its %s; restore that, or move the repository away", r.at, dir, gone)
		}
	}
	return nil
}

// initialise the repository unless it is. Nobody else may do so at the same
// time: of two keys, only one would fit what the repository is encrypted with,
// and restic would take either.
//
// restic writes the key first and then the config. A run that is killed in between
// leaves a key that fits nothing, and the key of the object storage that nightly backups
// have may not delete it. So the repository is made elsewhere, and its two files are
// written here the other way round: a config without a key can be written over.
func (r *repository) initialise(ctx context.Context) error {
	found, err := r.initialised(ctx)
	if found || err != nil {
		return err
	}
	if err := r.holdsNothing(ctx, "config"); err != nil {
		return err
	}
	// What a version that had restic do it has left.
	keys, err := r.files.list(ctx, "keys")
	if err != nil {
		return fmt.Errorf("cannot look into repository %s: %w", r.at, err)
	}
	for _, key := range keys {
		slog.InfoContext(ctx, "Removing the key of a repository that was never finished", "repository", r.at.String(), "key", key)
		if err := r.files.remove(ctx, "keys/"+key); err != nil {
			return fmt.Errorf("cannot remove keys/%s of repository %s, which was never finished and holds nothing: remove it with a key that may delete: %w", key, r.at, err)
		}
	}

	if err := r.create(ctx); err != nil {
		return fmt.Errorf("cannot create repository %s: %w", r.at, err)
	}
	slog.InfoContext(ctx, "Created the tenant's repository", "repository", r.at.String())
	return nil
}

// create the repository.
func (r *repository) create(ctx context.Context) error {
	dir, err := os.MkdirTemp(r.scratch, "repository-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // The pod's volume goes with it.
	initialise := r.restic("init")
	initialise.env = append(slices.Clone(r.env), "RESTIC_REPOSITORY="+dir)
	initialise.stdout = io.Discard
	if err := initialise.run(ctx); err != nil {
		return err
	}
	keys, err := os.ReadDir(filepath.Join(dir, "keys"))
	if err != nil {
		return err
	}
	if len(keys) != 1 {
		return fmt.Errorf("restic has made %d keys, and one is wanted", len(keys))
	}
	for _, name := range []string{"config", "keys/" + keys[0].Name()} {
		content, err := os.ReadFile(filepath.Join(dir, name)) //nolint:gosec // restic has made it, in a folder of its own.
		if err != nil {
			return err
		}
		if err := r.files.write(ctx, name, content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// whenUnlocked runs what locks the repository, and again for as long as somebody
// else's lock is in the way. Locks that nobody can hold any more are removed.
func (r *repository) whenUnlocked(ctx context.Context, patience time.Duration, do func() error) error {
	return retryFor(ctx, patience, func(context.Context) error {
		// What is patient here is the waiting: a long backup isn't cut short.
		err := do()
		if !says(err, "already locked") {
			return err
		}
		if _, err := r.output(ctx, "unlock", "--quiet"); err != nil {
			return fmt.Errorf("cannot remove stale locks of repository %s: %w", r.at, err)
		}
		return retryable(err, 0)
	})
}

// snapshots in the repository.
func (r *repository) snapshots(ctx context.Context) ([]snapshot, error) {
	// Reading without a lock: the worst that a prune at the same time can do is
	// to make this attempt fail.
	out, err := r.output(ctx, "snapshots", "--json", "--no-lock")
	if err != nil {
		return nil, fmt.Errorf("cannot list the snapshots of repository %s: %w", r.at, err)
	}
	var all []snapshot
	if err := json.Unmarshal(out, &all); err != nil {
		return nil, fmt.Errorf("cannot read restic's list of snapshots of repository %s: %w", r.at, err)
	}
	return all, nil
}

// receipt that a snapshot holds.
func (r *repository) receipt(ctx context.Context, s snapshot) (receipt, error) {
	var got receipt
	out, err := r.output(ctx, "dump", "--no-lock", s.ID, "/"+receiptFile)
	if err != nil {
		return got, fmt.Errorf("cannot read the receipt of run %s: %w", s.tag(tagRun), err)
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return got, fmt.Errorf("the receipt of run %s in repository %s isn't what it should be: %w", s.tag(tagRun), r.at, err)
	}
	return got, nil
}

// count the files and bytes of a snapshot.
func (r *repository) count(ctx context.Context, snapshot string) (files, bytes int64, err error) {
	counter := &lineWriter{each: func(line []byte) error {
		var node struct {
			Type string `json:"type"`
			Size int64  `json:"size"`
		}
		if err := json.Unmarshal(line, &node); err != nil {
			return fmt.Errorf("cannot read restic's list of files: %w", err)
		}
		if node.Type == "file" {
			files++
			bytes += node.Size
		}
		return nil
	}}
	p := r.restic("ls", "--json", "--no-lock", snapshot)
	p.stdout = counter
	if err := p.run(ctx); err != nil {
		return 0, 0, fmt.Errorf("cannot list the files of snapshot %s: %w", snapshot, r.explain(err))
	}
	return files, bytes, nil
}

// summary is restic's last word on a backup.
type summary struct {
	Type     string `json:"message_type"`
	Snapshot string `json:"snapshot_id"`
	Files    int64  `json:"total_files_processed"`
	Bytes    int64  `json:"total_bytes_processed"`
	Added    int64  `json:"data_added"`
}

// summaryOf picks restic's summary out of what a `backup --json` writes.
func summaryOf(s *summary) io.Writer {
	return &lineWriter{each: func(line []byte) error {
		var got summary
		if err := json.Unmarshal(line, &got); err != nil {
			return fmt.Errorf("cannot read restic's answer: %w", err)
		}
		if got.Type == "summary" {
			*s = got
		}
		return nil
	}}
}

// save a snapshot. The host is the tenant and not the pod's name, which changes
// every night: it is how restic finds the snapshot before.
func (r *repository) save(tenant, tags string, args ...string) program {
	return r.restic("backup", append([]string{"--quiet", "--json", "--host", tenant, "--tag", tags}, args...)...)
}

// write a snapshot of one file, which holds a value in JSON.
func (r *repository) write(ctx context.Context, tenant, tags, file string, value any) error {
	body, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return r.whenUnlocked(ctx, untilLocksAreStale, func() error {
		in, out, err := os.Pipe()
		if err != nil {
			return err
		}
		defer in.Close() //nolint:errcheck // The program has its own handle.
		// What is written here is smaller than what a pipe holds.
		_, err = out.Write(body)
		if err := errors.Join(err, out.Close()); err != nil {
			return err
		}
		var s summary
		save := r.save(tenant, tags, "--stdin", "--stdin-filename", file)
		save.stdin, save.stdout = in, summaryOf(&s)
		return r.explain(save.run(ctx))
	})
}

// forget snapshots, and free what only they used.
func (r *repository) forget(ctx context.Context, ids []string) error {
	return r.whenUnlocked(ctx, forRetention, func() error {
		_, err := r.output(ctx, "forget", append([]string{"--quiet", "--prune"}, ids...)...)
		return err
	})
}

// prune frees what no snapshot uses, such as what killed runs left.
func (r *repository) prune(ctx context.Context) error {
	return r.whenUnlocked(ctx, forRetention, func() error {
		_, err := r.output(ctx, "prune", "--quiet")
		return err
	})
}

// lineWriter hands over what is written to it line by line.
type lineWriter struct {
	each func(line []byte) error
	rest []byte
}

// longestLine is far beyond any line of restic's.
const longestLine = 1 << 20

func (l *lineWriter) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			break
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := l.each(line); err != nil {
				return 0, err
			}
		}
		l.rest = rest
	}
	if len(l.rest) > longestLine {
		return 0, errors.New("a line of more than 1 MiB")
	}
	return len(b), nil
}
