package effect

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// BackupConfig configures backup.
type BackupConfig struct {
	Tenant
	Postgres
	Filestore
	TenantRepository

	ReadBackNights int `env:"BACKUP_READ_BACK_NIGHTS" envDefault:"14" doc:"Over how many nights everything in the repository is read back, a part each night: 1 to 256, where 1 is all of it each time."`
}

// FinalBackupConfig configures final-backup.
type FinalBackupConfig struct {
	Tenant
	Postgres
	Filestore
	TenantRepository

	Occasion string `env:"BACKUP_OCCASION,required,notEmpty" doc:"The teardown that the backup is for: when its delete was asked for. A final backup of another teardown doesn't count for this one."`
}

// TenantRepository is the repository that a tenant's backups are in.
type TenantRepository struct {
	Storage

	Repository    string `env:"RESTIC_REPOSITORY,required,notEmpty" doc:"The tenant's repository: s3:https://HOST/BUCKET/NAME-PROJECT or a folder. It is created by the first backup."`
	RetentionDays int    `env:"BACKUP_RETENTION_DAYS,required"      doc:"For how many days this backup is kept, and those before it that were promised less. The newest of a living tenant is kept for longer if need be."`
}

// Tags of a snapshot are separated by commas.
var (
	plainWord     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	plainOccasion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:._-]*$`)
)

// Validate returns all that is wrong.
func (c BackupConfig) Validate() error {
	errs := []error{c.Tenant.Validate(), c.Postgres.Validate(), c.of(c.Tenant)}
	if c.ReadBackNights < 1 || c.ReadBackNights > mostNights {
		errs = append(errs, fmt.Errorf("BACKUP_READ_BACK_NIGHTS: %d must be 1 to %d", c.ReadBackNights, mostNights))
	}
	return errors.Join(errs...)
}

// Validate returns all that is wrong.
func (c FinalBackupConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.Postgres.Validate(), c.of(c.Tenant), validOccasion(c.Occasion))
}

func validOccasion(occasion string) error {
	if !plainOccasion.MatchString(occasion) {
		return fmt.Errorf("BACKUP_OCCASION: %q must be letters, digits, dots, dashes and colons, such as 2026-11-21T02:00:00Z", occasion)
	}
	return nil
}

// of returns all that is wrong with a repository as that of a tenant.
func (c TenantRepository) of(tenant Tenant) error {
	var errs []error
	for name, value := range map[string]string{"TENANT_UID": tenant.UID, "TENANT_ODOO_VERSION": tenant.Version} {
		if !plainWord.MatchString(value) {
			errs = append(errs, fmt.Errorf("%s: %q must be letters, digits, dots and dashes", name, value))
		}
	}
	at, err := parseLocation(c.Repository)
	if err != nil {
		errs = append(errs, fmt.Errorf("RESTIC_REPOSITORY: %w", err))
	} else {
		errs = append(errs, c.validate(at))
		// The one thing that keeps a tenant out of another's repository.
		name, project := tenant.Name, strings.TrimLeft(strings.TrimPrefix(at.name(), tenant.Name+"-"), "0")
		if !strings.HasPrefix(at.name(), name+"-") || project != strconv.Itoa(tenant.ProjectID) {
			errs = append(errs, fmt.Errorf("RESTIC_REPOSITORY: %q must end in the tenant's name and project, %s-%d: each tenant has a repository of its own", at, name, tenant.ProjectID))
		}
	}
	if c.RetentionDays < 1 {
		errs = append(errs, fmt.Errorf("BACKUP_RETENTION_DAYS: %d must be 1 or more", c.RetentionDays))
	}
	return errors.Join(errs...)
}

// Backup puts the tenant's database and filestore into its repository, reads
// the database and a sample of the files back, and says so in a receipt. It removes
// nothing, and needs no right to: backup-retention removes what has expired.
func Backup(ctx context.Context, c BackupConfig) error {
	return c.backUp(ctx, kindBackup, "")
}

// FinalBackup is the last backup before the tenant goes. Everything in the
// repository is read back rather than the dump and a sample.
//
// It doesn't say that the tenant is gone, since the teardown can be cancelled
// until the database is dropped: backup-tombstone does.
//
// Running it twice makes a second one. Once the database is closed to
// connections, it succeeds only if the same teardown has a complete one already.
func FinalBackup(ctx context.Context, c FinalBackupConfig) error {
	b := BackupConfig{c.Tenant, c.Postgres, c.Filestore, c.TenantRepository, 1}
	return b.backUp(ctx, kindFinal, c.Occasion)
}

// newRun names a run.
func newRun() string {
	return time.Now().UTC().Format("20060102T150405Z-") + strings.ToLower(rand.Text()[:6])
}

func (c BackupConfig) backUp(ctx context.Context, kind, occasion string) error {
	// Object storage is asked first, so that an outage of it costs nobody a
	// session of the database.
	repo, initialised, err := c.lookFor(ctx, c.Repository)
	if err != nil {
		return err
	}
	b := backup{BackupConfig: c, kind: kind, occasion: occasion, repo: repo, run: newRun()}

	// The tenant's own database only pg_dump works in: it is the one program that
	// reads all of it and runs none of the code that a tenant may have put there.
	conn, err := c.connect(ctx, maintenanceDatabase)
	if err != nil {
		return err
	}
	defer disconnect(ctx, conn)
	// Whoever reads every database must not be able to change one.
	if err := limited(ctx, conn, c.User, "pg_read_all_data"); err != nil {
		return fmt.Errorf("PGUSER must be a role that may read and nothing else: %w", err)
	}

	// The session holds it for as long as the backup takes. It keeps two first backups
	// from creating the repository at the same time.
	err = turn{c.Postgres, conn, lockOf("backup " + c.Database)}.take(ctx, "Another backup of this tenant is under way: waiting for it to end")
	switch {
	case errors.Is(err, errStrangers) && initialised:
		slog.WarnContext(ctx, "This backup doesn't wait for its turn, since nobody but a backup should hold it", "error", err.Error())
	case err != nil:
		return fmt.Errorf("cannot wait for another backup to end: %w", err)
	}

	err = b.look(ctx, conn)
	if errors.Is(err, errClosed) && kind == kindFinal {
		return b.alreadyFinal(ctx, err)
	}
	if err != nil {
		return fmt.Errorf("cannot back up database %q: %w", c.Database, err)
	}
	if err := repo.initialise(ctx); err != nil {
		return err
	}
	return b.make(ctx)
}

// errClosed is why a database can't be backed up that has been closed to
// connections, or dropped.
var errClosed = errors.New("nobody can connect to it")

// A backup is one run.
type backup struct {
	BackupConfig

	kind     string
	occasion string
	run      string
	repo     *repository

	// attachments is how many files the dump refers to.
	attachments int64

	encoding, collate, ctype string
}

// look at the database, from outside, for what the dump doesn't say.
func (b *backup) look(ctx context.Context, conn *pgx.Conn) error {
	var open bool
	err := conn.QueryRow(ctx, `
		SELECT pg_encoding_to_char(encoding), datcollate, datctype, datallowconn
		FROM pg_database WHERE datname = $1`, b.Database).Scan(&b.encoding, &b.collate, &b.ctype, &open)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: it does not exist", errClosed)
	case err != nil:
		return fmt.Errorf("cannot look at it: %w", err)
	case !open:
		return fmt.Errorf("%w: it has been closed, ALTER DATABASE … ALLOW_CONNECTIONS false", errClosed)
	}
	return nil
}

func (b *backup) make(ctx context.Context) error {
	began := time.Now()
	r := receipt{
		Run: b.run, Kind: b.kind,
		Tenant: b.Name, UID: b.UID, ProjectID: b.ProjectID, Database: b.Database, Tier: b.Tier, Version: b.Version,
		RetentionDays: b.RetentionDays, Occasion: b.occasion,
	}

	// The dump comes first: what it refers to is then found in the filestore,
	// where files are only added, but for a daily collection of garbage.
	var err error
	if r.Dump, err = b.dump(ctx); err != nil {
		return fmt.Errorf("cannot back up database %q: %w", b.Database, err)
	}
	if r.Dump.Entries, b.attachments, err = b.readBack(ctx, r.Dump); err != nil {
		return fmt.Errorf("the dump of database %q can't be read back: %w", b.Database, err)
	}
	if r.Filestore, err = b.filestore(ctx); err != nil {
		return fmt.Errorf("cannot back up the filestore %s: %w", filepath.Join(b.Root, b.Database), err)
	}
	if err := b.check(ctx); err != nil {
		return fmt.Errorf("repository %s isn't sound: %w", b.repo.at, err)
	}
	if err := b.sign(ctx, r); err != nil {
		return fmt.Errorf("cannot write the receipt: %w", err)
	}

	files := int64(0)
	if r.Filestore != nil {
		files = r.Filestore.Files
	}
	slog.InfoContext(ctx, "Backed up and read back", "run", b.run, "kind", b.kind, "repository", b.repo.at.String(),
		"dumpBytes", r.Dump.Bytes, "dumpEntries", r.Dump.Entries, "files", files, "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// tags of a snapshot of this run.
func (b *backup) tags(part string, more ...string) string {
	return b.Tenant.tags(b.run, b.kind, b.occasion, part, more...)
}

// tags of a snapshot of one of the tenant's runs.
func (t Tenant) tags(run, kind, occasion, part string, more ...string) string {
	tags := []string{
		tagTenant + "=" + t.Name,
		tagUID + "=" + t.UID,
		tagProject + "=" + strconv.Itoa(t.ProjectID),
		tagVersion + "=" + t.Version,
		tagRun + "=" + run,
		tagKind + "=" + kind,
		tagPart + "=" + part,
	}
	if occasion != "" {
		tags = append(tags, tagOccasion+"="+occasion)
	}
	return strings.Join(append(tags, more...), ",")
}

// save a snapshot.
func (b *backup) save(tags string, args ...string) program {
	return b.repo.save(b.Name, tags, args...)
}

// dump the database. It isn't compressed, because restic then finds in it what
// has not changed since the last time, and compresses what has.
func (b *backup) dump(ctx context.Context) (dumpPart, error) {
	dump := b.pgProgram("pg_dump", b.Database, "--encoding="+b.encoding, "--format=custom", "--compress=0", "--no-password", "--lock-wait-timeout=10min")
	var part dumpPart
	err := b.repo.whenUnlocked(ctx, untilLocksAreStale, func() error {
		var s summary
		save := b.save(b.tags(partDatabase), "--stdin", "--stdin-filename", dumpFile)
		save.stdout = summaryOf(&s)
		sum := sha256.New()
		size := &byteCounter{}
		if err := pipe(ctx, dump, io.MultiWriter(sum, size), save); err != nil {
			return b.repo.explain(err)
		}
		part = dumpPart{
			Snapshot: s.Snapshot, Bytes: size.n, SHA256: hex.EncodeToString(sum.Sum(nil)),
			Encoding: b.encoding, Collate: b.collate, CType: b.ctype,
		}
		return nil
	})
	return part, err
}

// systemRoots are Debian's certificate authorities. libpq of PostgreSQL 15 has
// none unless it is told; pgx has these.
const systemRoots = "/etc/ssl/certs/ca-certificates.crt"

// pgProgram runs one of PostgreSQL's programs on a database.
func (p Postgres) pgProgram(name, database string, args ...string) program {
	env := []string{
		"PGHOST=" + p.Host, "PGPORT=" + strconv.Itoa(int(p.Port)), "PGUSER=" + p.User, "PGPASSWORD=" + p.Password,
		"PGSSLMODE=" + p.SSLMode, "PGDATABASE=" + database, "PGAPPNAME=planaclient", "PGOPTIONS=" + pgOptions(),
		fmt.Sprintf("PGCONNECT_TIMEOUT=%d", int(connectTimeout.Seconds())),
	}
	// Only then: with roots at hand, libpq verifies where it wasn't asked to.
	if strings.HasPrefix(p.SSLMode, "verify-") {
		env = append(env, "PGSSLROOTCERT="+cmp.Or(p.RootCert, systemRoots))
	}
	return program{name: name, args: args, env: env}
}

// readBack the dump from the repository: byte for byte what pg_dump wrote, and a
// list of contents that an Odoo database has. It returns how long that list is, and
// how many files the dump refers to.
func (b *backup) readBack(ctx context.Context, d dumpPart) (entries int, attachments int64, err error) {
	users := false
	list := program{name: "pg_restore", args: []string{"--list"}, readsOnlyTheStart: true}
	list.stdout = &lineWriter{each: func(line []byte) error {
		if bytes.HasPrefix(line, []byte(";")) {
			return nil
		}
		entries++
		users = users || bytes.Contains(line, []byte(" TABLE DATA public res_users "))
		return nil
	}}
	// Not asked of the database: where a view has the table's name, the question
	// would run the view's code.
	files := &copyCounter{table: "public.ir_attachment", column: "store_fname"}
	count := program{
		name: "pg_restore", args: []string{"--data-only", "--schema=public", "--table=ir_attachment", "--file=-"},
		stdout: files, readsOnlyTheStart: true,
	}
	sum, size := sha256.New(), &byteCounter{}
	if err := pipe(ctx, b.repo.restic("dump", "--no-lock", d.Snapshot, "/"+dumpFile), io.MultiWriter(sum, size), list, count); err != nil {
		return 0, 0, b.repo.explain(err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.SHA256 {
		return 0, 0, fmt.Errorf("%d bytes with SHA-256 %s were written, but %d with %s come back", d.Bytes, d.SHA256, size.n, got)
	}
	if !users {
		return 0, 0, fmt.Errorf("it has %d entries and none of them is the data of table res_users: database %q isn't Odoo's, or not yet", entries, b.Database)
	}
	return entries, files.n, nil
}

// filestore backs up the tenant's files, and counts them in the repository.
func (b *backup) filestore(ctx context.Context) (*filePart, error) {
	found, err := b.hasFilestore(ctx)
	if !found || err != nil {
		return nil, err
	}
	root, err := b.Filestore.open()
	if err != nil {
		return nil, err
	}
	defer root.Close() //nolint:errcheck // It was only read.
	dir, found, err := openDirectory(root, b.Database)
	if !found || err != nil {
		return nil, errors.Join(errors.New("the tenant's directory has just gone"), err)
	}
	defer dir.Close() //nolint:errcheck // It was only read.

	var s summary
	for attempt := 1; ; attempt++ {
		// What is in the directory is the tenant's to choose.
		tenants, err := takeSurvey(ctx, dir)
		if err != nil {
			return nil, err
		}
		err = b.repo.whenUnlocked(ctx, untilLocksAreStale, func() error {
			// A file's name is the hash of its content, so neither its inode nor its
			// ctime are a reason to read it again.
			save := b.save(b.tags(partFilestore), "--ignore-inode", "--ignore-ctime", b.Database)
			save.dir = b.Root
			save.stdout = summaryOf(&s)
			return save.run(ctx)
		})
		if err == nil {
			err = tenants.verify(ctx, b.repo, s.Snapshot, b.Database)
		}
		if err == nil {
			break
		}
		err = tenants.explain(ctx, err)
		// Odoo's daily collection of garbage removed a file between its being
		// listed and its being read.
		const someFilesCouldNotBeRead = 3
		if (exitCode(err) != someFilesCouldNotBeRead && !errors.Is(err, errOther)) || attempt == 3 || ctx.Err() != nil {
			return nil, b.repo.explain(err)
		}
		slog.InfoContext(ctx, "Some files could not be read, or were replaced: trying again", "attempt", attempt, "error", err.Error())
	}

	files, size, err := b.repo.count(ctx, s.Snapshot)
	if err != nil {
		return nil, err
	}
	if files != s.Files || size != s.Bytes {
		return nil, fmt.Errorf("%d files of %d bytes were written, but snapshot %s has %d of %d bytes", s.Files, s.Bytes, s.Snapshot, files, size)
	}
	return &filePart{Snapshot: s.Snapshot, Files: files, Bytes: size}, nil
}

// hasFilestore tells whether the tenant has a directory of files. One without
// attachments may have none; but one whose database refers to files must not go
// with a last backup that has none of them.
func (b *backup) hasFilestore(ctx context.Context) (bool, error) {
	root, err := os.OpenRoot(b.Root)
	if err != nil {
		return false, fmt.Errorf("cannot open FILESTORE_ROOT; is the volume mounted? %w", err)
	}
	defer root.Close() //nolint:errcheck // It was only read.
	info, err := root.Lstat(b.Database)
	switch {
	case err == nil && !info.IsDir():
		return false, Terminal(errors.New("it must be a directory, and not a link or a file"))
	case err == nil:
		return true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	case b.attachments == 0:
		slog.InfoContext(ctx, "The tenant has no filestore and refers to no files: backed up without", "directory", filepath.Join(b.Root, b.Database))
		return false, nil
	case b.kind == kindFinal:
		return false, fmt.Errorf("there is no such directory, but the database refers to %d files: mount the right volume; if the files are lost for good, make the directory, empty", b.attachments)
	default:
		slog.WarnContext(ctx, "The tenant has no filestore, but its database refers to files: backed up without them",
			"directory", filepath.Join(b.Root, b.Database), "files", b.attachments)
		return false, nil
	}
}

// sign the run: from here on it counts.
func (b *backup) sign(ctx context.Context, r receipt) error {
	more := []string{tagRetention + "=" + strconv.Itoa(b.RetentionDays)}
	if r.Filestore == nil {
		more = append(more, tagFilestore+"="+filestoreAbsent)
	}
	return b.repo.write(ctx, b.Name, b.tags(partReceipt, more...), receiptFile, r)
}

// alreadyFinal succeeds if the tenant has the final backup of this teardown. That of
// one that was cancelled is none: the tenant has been in service since.
func (b *backup) alreadyFinal(ctx context.Context, closed error) error {
	found, err := b.repo.initialised(ctx)
	if err != nil {
		return err
	}
	if found {
		all, err := b.repo.snapshots(ctx)
		if err != nil {
			return err
		}
		last := newest(runs(all), func(r *run) bool { return r.uid == b.UID })
		if last != nil && last.kind == kindFinal && last.occasion == b.occasion {
			slog.InfoContext(ctx, "The database is closed, and the tenant has its final backup already", "run", last.id)
			return nil
		}
	}
	return fmt.Errorf("database %q is closed before tenant %s (%s) had its final backup of this teardown: open it, ALTER DATABASE %q ALLOW_CONNECTIONS true, and let this run again: %w", b.Database, b.Name, b.UID, b.Database, closed)
}

// byteCounter counts what is written to it.
type byteCounter struct{ n int64 }

func (c *byteCounter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}
