package effect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// RestoreConfig configures restore.
//
// PGUSER is the role that creates databases, and connects to none of them. The dump
// is loaded by a role of its own, as it runs what a tenant has put there; and Odoo's
// role takes over what came of it. The role that loads has no password but while it
// loads: PGUSER gives it one that nobody else knows, and takes it away again.
type RestoreConfig struct {
	Postgres
	Release
	Filestore
	Storage

	OdooPassword string `env:"ODOO_PASSWORD,required,notEmpty" doc:"The password of Odoo's role." secret:"true"`
	RestoreRole  string `env:"RESTORE_ROLE"                    envDefault:"plana_restore" doc:"The role that loads the dump. It owns nothing else, only PGUSER is a member of it, and each restore gives it a password of its own, which it takes away in the end."`

	Repository string `env:"RESTIC_REPOSITORY,required,notEmpty" doc:"The repository to restore from: s3:https://HOST/BUCKET/NAME-PROJECT or a folder."`
	Run        string `env:"RESTORE_RUN"                         envDefault:"latest" doc:"Which backup: the run that its log names, or the latest."`
	UID        string `env:"RESTORE_UID"                         doc:"Whose backup: the UID of the PLANAClient that it was made of. A repository is named after a tenant's subdomain and project, and may hold an earlier tenant's backups as well. The latest of two tenants is nobody's: then this, or a run, has to say which."`
	As         string `env:"RESTORE_AS,required,notEmpty"        doc:"Name of the database and of the filestore directory to restore into, neither of which may exist. Another name than the tenant's makes a copy, with secrets of its own, if RESTORE_COPY says so."`
	Copy       bool   `env:"RESTORE_COPY"                        envDefault:"false" doc:"Whether RESTORE_AS is meant to be another name than that of the database that was backed up."`
}

// Validate returns all that is wrong.
func (c RestoreConfig) Validate() error {
	errs := []error{c.Postgres.Validate(), c.Release.Validate()}
	if c.User == c.OdooRole || c.User == c.RestoreRole || c.OdooRole == c.RestoreRole {
		errs = append(errs, fmt.Errorf("PGUSER, ODOO_ROLE and RESTORE_ROLE: must be three roles, and are %q, %q and %q", c.User, c.OdooRole, c.RestoreRole))
	}
	at, err := parseLocation(c.Repository)
	if err != nil {
		errs = append(errs, fmt.Errorf("RESTIC_REPOSITORY: %w", err))
	} else {
		errs = append(errs, c.validate(at))
	}
	if !plainWord.MatchString(c.Run) {
		errs = append(errs, fmt.Errorf("RESTORE_RUN: %q must be latest, or a run as a backup's log names it, such as 20261121T020000Z-abcdef", c.Run))
	}
	if c.UID != "" && !plainWord.MatchString(c.UID) {
		errs = append(errs, fmt.Errorf("RESTORE_UID: %q must be a UID as metadata.uid of a PLANAClient has it", c.UID))
	}
	if err := validDatabaseName(c.As); err != nil {
		errs = append(errs, fmt.Errorf("RESTORE_AS: %w", err))
	}
	return errors.Join(errs...)
}

// latestRun is the value of RESTORE_RUN that names none.
const latestRun = "latest"

// What a database that restore makes is called, in its comment, until it is
// whole, and then.
const (
	unfinishedRestore = "unfinished restore of "
	restoredFrom      = "restored from "
)

// Restore a backup into a database and a filestore that do not exist yet.
//
// The database is restored under a name that nothing else has, belongs to PGUSER
// once it is loaded, so that Odoo doesn't see it, and gets its own name when it is
// whole; the files likewise. Its comment says what is unfinished, by which a run that follows a
// killed one knows what it may go on with.
//
// Under the tenant's own name, the database is what it was when it was backed up,
// and Odoo's. Under another it is a copy, which must neither share a key with the
// original nor send mail in its name. It stays out of Odoo's sight until somebody
// makes Odoo's role its owner, because its scheduled actions would run there and
// then.
func Restore(ctx context.Context, c RestoreConfig) error {
	repo, found, err := c.lookFor(ctx, c.Repository)
	if err != nil {
		return err
	}
	if !found {
		return Terminal(fmt.Errorf("there is no repository at %s", repo.at))
	}

	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return fmt.Errorf("cannot open FILESTORE_ROOT; is the volume mounted? %w", err)
	}
	defer root.Close() //nolint:errcheck // Everything in it was closed with its error looked at.

	conn, err := c.connect(ctx, maintenanceDatabase)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	// Held until the end, so that a second restore to this name finds the first
	// one's work and not half of it.
	if err := (turn{c.Postgres, conn, lockOf("restore " + c.As)}).take(ctx, "Another restore to this name is under way: waiting for it to end"); err != nil {
		return fmt.Errorf("cannot wait for another restore to end: %w", err)
	}

	r := restore{RestoreConfig: c, repo: repo, conn: conn, root: root}
	if err := r.restore(ctx); err != nil {
		return fmt.Errorf("cannot restore %s from %s: %w", c.As, repo.at, err)
	}
	return nil
}

// lockOf is the number of an advisory lock.
func lockOf(name string) int64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, name) // It never fails.
	return int64(h.Sum64())        //nolint:gosec // Any number will do, as long as it is the same one.
}

type restore struct {
	RestoreConfig

	repo *repository
	conn *pgx.Conn
	root *os.Root
}

func (r *restore) restore(ctx context.Context) error {
	began := time.Now()
	comment, exists, err := r.comment(ctx)
	if err != nil {
		return err
	}
	unfinished, isUnfinished := strings.CutPrefix(comment, unfinishedRestore)
	restored, isRestored := strings.CutPrefix(comment, restoredFrom)
	wants := func(run string) bool { return r.Run == latestRun || r.Run == run }
	if exists && (isRestored || isUnfinished) && r.UID != "" {
		// The comment names a run, and not whose it is.
		run := restored
		if isUnfinished {
			run = unfinished
		}
		switch whose, err := r.whose(ctx, run); {
		case err != nil:
			return err
		case whose != r.UID:
			return Terminal(fmt.Errorf("database %q exists, and comes from run %s of tenant %q, not of RESTORE_UID %s: rename it, ALTER DATABASE %q RENAME TO …, or choose another RESTORE_AS", r.As, run, whose, r.UID, r.As))
		}
	}
	switch {
	case exists && isRestored && wants(restored):
		slog.InfoContext(ctx, "It is restored already: nothing to do", "run", restored, "database", r.As)
		return nil
	case exists && isUnfinished && wants(unfinished):
		// Its files must be of the same run as its rows.
		r.Run = unfinished
	case exists && isUnfinished:
		return Terminal(fmt.Errorf("database %q is an unfinished restore of run %s, and not of %s: drop it to start again: DROP DATABASE %q", r.As, unfinished, r.Run, r.As))
	case exists:
		return Terminal(fmt.Errorf("database %q exists, and nothing is ever restored over an existing one: rename it, ALTER DATABASE %q RENAME TO …, or choose another RESTORE_AS", r.As, r.As))
	default:
		if _, err := r.root.Lstat(r.As); !errors.Is(err, fs.ErrNotExist) {
			return Terminal(fmt.Errorf("filestore directory %s exists, and nothing is ever restored over an existing one: rename it, or choose another RESTORE_AS", filepath.Join(r.Root, r.As)))
		}
	}

	source, err := r.receipt(ctx)
	if err != nil {
		return err
	}
	slog.InfoContext(ctx, "Restoring", "run", source.Run, "of", source.Database, "as", r.As, "dumpBytes", source.Dump.Bytes)
	if !exists {
		if err := r.database(ctx, source); err != nil {
			return fmt.Errorf("the database: %w", err)
		}
	}
	if err := r.files(ctx, source); err != nil {
		return fmt.Errorf("the filestore: %w", err)
	}
	if err := r.finish(ctx, source); err != nil {
		return fmt.Errorf("cannot hand over database %q: %w", r.As, err)
	}
	slog.InfoContext(ctx, "Restored", "run", source.Run, "of", source.Database, "as", r.As,
		"isCopy", r.isCopy(source), "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// whose a run is: the UID of its tenant, or "" if the repository doesn't know it.
func (r *restore) whose(ctx context.Context, run string) (string, error) {
	snapshots, err := r.repo.snapshots(ctx)
	if err != nil {
		return "", err
	}
	for _, candidate := range runs(snapshots) {
		if candidate.id == run {
			return candidate.uid, nil
		}
	}
	return "", nil
}

// isCopy tells whether what is restored gets another name than it had.
func (r *restore) isCopy(source receipt) bool { return source.Database != r.As }

// workName is what the database and the directory are called until they are
// whole. It is no name that a tenant could have.
func (r *restore) workName() string {
	sum := sha256.Sum256([]byte(r.As))
	return "unfinished-restore-" + hex.EncodeToString(sum[:8])
}

// comment of the database to restore into, and whether there is one.
func (r *restore) comment(ctx context.Context) (comment string, exists bool, err error) {
	err = r.conn.QueryRow(ctx, "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1", r.As).Scan(&comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("cannot look whether database %q exists: %w", r.As, err)
	}
	return comment, true, nil
}

// receipt of the run to restore.
func (r *restore) receipt(ctx context.Context) (receipt, error) {
	snapshots, err := r.repo.snapshots(ctx)
	if err != nil {
		return receipt{}, err
	}
	all := runs(snapshots)
	chosen, err := choose(all, r.Run, r.UID)
	var ambiguous *ambiguousError
	if errors.As(err, &ambiguous) {
		return receipt{}, Terminal(fmt.Errorf("%w: %s", err, strings.Join(r.describe(ctx, ambiguous.candidates), "; ")))
	}
	if err != nil {
		return receipt{}, Terminal(err)
	}
	got, err := r.repo.receipt(ctx, *chosen.receipt)
	if err != nil {
		return receipt{}, err
	}
	// A name out of a repository becomes part of a path.
	if err := validDatabaseName(got.Database); err != nil || got.Run != chosen.id || got.UID != chosen.uid {
		return receipt{}, Terminal(fmt.Errorf("the receipt of run %s isn't its own: it is of run %q, tenant %q, database %q", chosen.id, got.Run, got.UID, got.Database))
	}
	switch {
	case r.isCopy(got) && !r.Copy:
		return receipt{}, Terminal(fmt.Errorf("run %s is a backup of database %q, and RESTORE_AS is %q: if that is to be a copy, with secrets of its own, set RESTORE_COPY to true; if not, correct RESTORE_AS or RESTIC_REPOSITORY", got.Run, got.Database, r.As))
	case !r.isCopy(got) && r.Copy:
		return receipt{}, Terminal(fmt.Errorf("RESTORE_COPY is true, and RESTORE_AS is the name of the database that was backed up, %q: a copy needs another name", got.Database))
	}
	return got, nil
}

// choose a complete run: the one that is named, or the latest, of the tenant that
// is named, or of the only one that there is. Two tenants that had the same
// subdomain and project share a repository, and the later one's customer must never
// be given the earlier one's data because it happens to be the latest.
func choose(all []*run, id, uid string) (*run, error) {
	latestOf := map[string]*run{}
	var known []string
	for _, r := range all {
		if !r.complete() {
			continue
		}
		known = append(known, r.id)
		if (id == latestRun || id == r.id) && (uid == "" || uid == r.uid) {
			latestOf[r.uid] = r
		}
	}
	candidates := slices.SortedFunc(maps.Values(latestOf), func(a, b *run) int { return b.at.Compare(a.at) })
	switch {
	case len(candidates) == 1:
		return candidates[0], nil
	case len(candidates) > 1:
		return nil, &ambiguousError{id, candidates}
	}
	of, has := "", "none"
	if uid != "" {
		of = " of tenant " + uid
	}
	if len(known) > 0 {
		has = strings.Join(known, ", ")
	}
	return nil, fmt.Errorf("the repository has no complete backup of run %s%s; it has %s", id, of, has)
}

// An ambiguousError is that a run was asked for which more than one tenant has.
type ambiguousError struct {
	id         string
	candidates []*run
}

func (e *ambiguousError) Error() string {
	return fmt.Sprintf("run %s could be that of %d tenants: choose one by RESTORE_UID, or by RESTORE_RUN", e.id, len(e.candidates))
}

// describe runs to a person who has to choose between them.
func (r *restore) describe(ctx context.Context, candidates []*run) []string {
	// There are as many as there were tenants of one name and project. What is said
	// of them stays readable.
	const most = 10
	var all []string
	for i, c := range candidates {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(candidates)-most))
			break
		}
		database := "unknown: its receipt can't be read"
		if got, err := r.repo.receipt(ctx, *c.receipt); err == nil {
			database = fmt.Sprintf("%q", got.Database)
		}
		all = append(all, fmt.Sprintf("run %s of %s, %s, RESTORE_UID %s, database %s", c.id, c.at.UTC().Format(time.RFC3339), c.kind, c.uid, database))
	}
	return all
}

// loadingLock has one dump loaded at a time, since the role that loads it owns the
// database meanwhile, and what runs as that role could reach another such one.
var loadingLock = lockOf("restore")

// database restores the database under its working name, and renames it once it
// is whole.
func (r *restore) database(ctx context.Context, source receipt) error {
	if err := (turn{r.Postgres, r.conn, loadingLock}).take(ctx, "Another dump is being loaded: waiting for that to end"); err != nil {
		return fmt.Errorf("cannot wait for another restore to end: %w", err)
	}
	// Left to the end of the session if this can't be said any more.
	defer r.conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", loadingLock) //nolint:errcheck // See above.

	loader := &loader{Postgres: r.Postgres, admin: r.conn, role: r.RestoreRole}
	if err := loader.begin(ctx); err != nil {
		return err
	}
	// Said once more as the session ends, since the load may have been told to stop.
	defer loader.end(context.WithoutCancel(ctx))

	if err := r.takeBack(ctx); err != nil {
		return err
	}
	work, odoo := quoted(r.workName()), quoted(r.OdooRole)
	if err := r.dropWork(ctx); err != nil {
		return err
	}
	if err := r.exec(ctx,
		fmt.Sprintf("CREATE DATABASE %s OWNER %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s",
			work, quoted(r.RestoreRole), literal(source.Dump.Encoding), literal(source.Dump.Collate), literal(source.Dump.CType)),
		"REVOKE ALL ON DATABASE "+work+" FROM PUBLIC",
	); err != nil {
		return err
	}
	if err := r.load(ctx, source, loader); err != nil {
		return err
	}
	if r.isCopy(source) {
		if err := r.odoo(ctx, r.as(r.OdooRole, r.OdooPassword), r.workName(), func(tx pgx.Tx) error { return r.makeCopy(ctx, tx) }); err != nil {
			return err
		}
	}
	return r.exec(ctx,
		"REVOKE ALL ON DATABASE "+work+" FROM "+odoo,
		"GRANT CONNECT, TEMPORARY ON DATABASE "+work+" TO PUBLIC",
		"COMMENT ON DATABASE "+work+" IS "+literal(unfinishedRestore+source.Run),
		"ALTER DATABASE "+work+" RENAME TO "+quoted(r.As),
	)
}

// takeBack what the role that loads dumps owns: the database that it has loaded, or
// what a run left that was killed. REASSIGN OWNED would hand those over as well.
func (r *restore) takeBack(ctx context.Context) error {
	rows, err := r.conn.Query(ctx, "SELECT datname FROM pg_database WHERE datdba = (SELECT oid FROM pg_roles WHERE rolname = $1)", r.RestoreRole)
	if err != nil {
		return fmt.Errorf("cannot look for databases of %q: %w", r.RestoreRole, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("cannot look for databases of %q: %w", r.RestoreRole, err)
	}
	for _, name := range names {
		if err := r.exec(ctx, "ALTER DATABASE "+quoted(name)+" OWNER TO "+quoted(r.User)); err != nil {
			return err
		}
	}
	return nil
}

// dropWork drops what an unfinished run left.
func (r *restore) dropWork(ctx context.Context) error {
	var there bool
	if err := r.conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", r.workName()).Scan(&there); err != nil || !there {
		return err
	}
	work := quoted(r.workName())
	return r.exec(ctx,
		// Which its owner, while it was loaded, could have made it.
		"ALTER DATABASE "+work+" IS_TEMPLATE false",
		"DROP DATABASE "+work+" WITH (FORCE)",
	)
}

// load the dump, as the role that owns nothing else, and have Odoo's role take over
// what came of it.
func (r *restore) load(ctx context.Context, source receipt, loader *loader) error {
	// Nothing of the dump ever runs in this session, which outlives the loading one.
	conn, err := loader.connect(ctx, r.workName())
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	if err := r.repo.whenUnlocked(ctx, untilLocksAreStale, func() error {
		sum := sha256.New()
		dump := r.repo.restic("dump", source.Dump.Snapshot, "/"+dumpFile)
		// Grants are left out: their roles may not exist here.
		load := loader.pgProgram("pg_restore", r.workName(), "--dbname", r.workName(), "--no-password", "--exit-on-error", "--no-owner", "--no-privileges")
		if err := pipe(ctx, dump, sum, load); err != nil {
			return r.repo.explain(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != source.Dump.SHA256 {
			return fmt.Errorf("the dump has SHA-256 %s, but was backed up with %s", got, source.Dump.SHA256)
		}
		return nil
	}); err != nil {
		return err
	}
	// Who takes over a function must be able to create one where it is.
	if _, err := conn.Exec(ctx, "GRANT USAGE, CREATE ON SCHEMA public TO "+quoted(r.OdooRole)); err != nil {
		return fmt.Errorf("cannot let %q have schema public: %w", r.OdooRole, err)
	}
	// From here on the database belongs to no role that meets what is in it: neither
	// to the one that loaded it, nor yet to Odoo's, which would serve it.
	if err := r.takeBack(ctx); err != nil {
		return err
	}
	// Who gives a schema away must be able to create one.
	if err := r.exec(ctx, "GRANT ALL ON DATABASE "+quoted(r.workName())+" TO "+quoted(r.OdooRole)); err != nil {
		return err
	}
	return loader.handOver(ctx, conn, r.OdooRole)
}

// makeCopy takes from a database what only the original may have.
func (r *restore) makeCopy(ctx context.Context, tx pgx.Tx) error {
	has, err := readSchema(ctx, tx)
	if err != nil {
		return err
	}
	if err := forget(ctx, tx, has); err != nil {
		return fmt.Errorf("cannot take the original's secrets from the copy: %w", err)
	}
	if err := identify(ctx, tx, "https://"+r.As, ""); err != nil {
		return fmt.Errorf("cannot give the copy keys of its own: %w", err)
	}
	return nil
}

// files restores the filestore under a working name, and renames it once it is
// whole.
func (r *restore) files(ctx context.Context, source receipt) error {
	if source.Filestore == nil {
		slog.InfoContext(ctx, "The backup has no filestore, as the tenant had none")
		return nil
	}
	work := "." + r.workName()
	restored := path.Join(work, source.Database)
	_, targetErr := r.root.Lstat(r.As)
	_, restoredErr := r.root.Lstat(restored)
	if targetErr == nil && restoredErr == nil {
		return Terminal(fmt.Errorf("directory %s appeared while the database was being restored: move it away", filepath.Join(r.Root, r.As)))
	}
	if targetErr == nil {
		// An earlier run renamed it: it wasn't there before there was a database.
		return r.root.RemoveAll(work)
	}
	if !errors.Is(targetErr, fs.ErrNotExist) {
		return targetErr
	}

	if err := r.root.RemoveAll(work); err != nil {
		return fmt.Errorf("cannot remove what an unfinished restore left: %w", err)
	}
	if err := r.root.Mkdir(work, 0o700); err != nil {
		return err
	}
	if err := r.repo.whenUnlocked(ctx, untilLocksAreStale, func() error {
		unpack := r.repo.restic("restore", source.Filestore.Snapshot, "--quiet", "--verify", "--target", filepath.Join(r.Root, work))
		unpack.stdout = io.Discard
		return r.repo.explain(unpack.run(ctx))
	}); err != nil {
		return err
	}
	if err := removeSpecial(ctx, r.root, restored); err != nil {
		return err
	}
	files, size, err := countFiles(r.root, restored)
	if err != nil {
		return err
	}
	if files != source.Filestore.Files || size != source.Filestore.Bytes {
		return fmt.Errorf("%d files of %d bytes were restored, but %d of %d bytes backed up", files, size, source.Filestore.Files, source.Filestore.Bytes)
	}
	if err := r.root.Rename(restored, r.As); err != nil {
		return fmt.Errorf("cannot give the directory its name: %w", err)
	}
	return r.root.RemoveAll(work)
}

// countFiles below a directory, and their bytes.
func countFiles(root *os.Root, dir string) (files, bytes int64, err error) {
	err = fs.WalkDir(root.FS(), dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		bytes += info.Size()
		return nil
	})
	return files, bytes, err
}

// finish the restore: from here on the database is like any other. A tenant's
// own becomes Odoo's.
func (r *restore) finish(ctx context.Context, source receipt) error {
	name := quoted(r.As)
	return pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "COMMENT ON DATABASE "+name+" IS "+literal(restoredFrom+source.Run)); err != nil {
			return err
		}
		if r.isCopy(source) {
			slog.InfoContext(ctx, "This is a copy: Odoo doesn't see it until its role owns it", "sql", fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", name, quoted(r.OdooRole)))
			return nil
		}
		_, err := tx.Exec(ctx, "ALTER DATABASE "+name+" OWNER TO "+quoted(r.OdooRole))
		return err
	})
}

// exec statements outside of a transaction, where databases are created.
func (r *restore) exec(ctx context.Context, statements ...string) error {
	for _, sql := range statements {
		if _, err := r.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// quoted name in SQL.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal is a string in SQL.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
