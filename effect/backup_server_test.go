//go:build servers

package effect

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/big"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// A vault is all that a tenant's backup meets: a PostgreSQL with the tenant's
// database, a filestore, and object storage.
type vault struct {
	pg   *servers.PostgresServer
	s3   *servers.S3Server
	root string
}

func newVault(t *testing.T) *vault {
	t.Helper()
	v := &vault{pg: servers.Postgres(t), s3: servers.S3(t), root: t.TempDir()}
	v.addDatabase(t, acme.Database)
	v.addFiles(t, acme.Database, 40)
	return v
}

// environ of an effect that works for a tenant of this vault.
func (v *vault) environ(tenant Tenant, more ...map[string]string) map[string]string {
	return tenant.environ(append([]map[string]string{v.pg.Environ(servers.PostgresBackup), v.s3.Environ(), {
		"FILESTORE_ROOT":        v.root,
		"RESTIC_REPOSITORY":     v.s3.Repository("acme-023"),
		"RESTIC_PASSWORD":       repositoryPassword,
		"BACKUP_RETENTION_DAYS": "30",
		"BACKUP_OCCASION":       firstTeardown,
	}}, more...)...)
}

// restores is the environ of restore, which knows three roles of PostgreSQL.
func (v *vault) restores(as string, more map[string]string) map[string]string {
	return v.environ(acme, v.pg.Environ(servers.PostgresAdmin), map[string]string{
		"ODOO_ROLE": servers.PostgresOdoo, "ODOO_PASSWORD": v.pg.Password,
		"RESTORE_ROLE": servers.PostgresRestore,
		"RESTORE_AS":   as,
	}, more)
}

// Teardowns of a tenant, as the function names them.
const (
	firstTeardown  = "2026-11-21T02:00:00Z"
	secondTeardown = "2026-11-28T09:30:00Z"
)

const repositoryPassword = `pa"ss' $(word) \`

// repository of the tenant, as the tests look into it.
func (v *vault) repository(t *testing.T, path string) *repository {
	t.Helper()
	at, err := parseLocation(v.s3.Repository(path))
	if err != nil {
		t.Fatal(err)
	}
	repo, err := Storage{Password: repositoryPassword, AccessKey: v.s3.AccessKey, SecretKey: v.s3.SecretKey}.repository(at)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// runs in the tenant's repository.
func (v *vault) runs(t *testing.T) []*run {
	t.Helper()
	all, err := v.repository(t, "acme-023").snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return runs(all)
}

// addDatabase makes a database with Odoo's tables, and with what is difficult to
// carry over.
func (v *vault) addDatabase(t testing.TB, name string) {
	t.Helper()
	v.pg.Exec(t, servers.PostgresAdmin, maintenanceDatabase, fmt.Sprintf("CREATE DATABASE %s OWNER %s", quote(name), servers.PostgresOdoo))
	for _, file := range []string{"odoo.sql", "odoo-18.sql"} {
		sql, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		v.pg.Exec(t, servers.PostgresOdoo, name, string(sql))
	}
	v.pg.Exec(t, servers.PostgresOdoo, name, difficultTables)
	conn := v.pg.Connect(t, servers.PostgresOdoo, name)
	if _, err := conn.Exec(t.Context(), "INSERT INTO sale_order (name) VALUES ($1)", acme.OwnerName); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(t.Context())
}

const difficultTables = `
	INSERT INTO ir_config_parameter (key, value) VALUES ('planaclient.tenant', 'acme/1');
	COMMENT ON SCHEMA public IS 'a comment that only the schema''s owner may restore';
	CREATE TABLE ir_attachment (id serial PRIMARY KEY, store_fname varchar, db_datas bytea);
	INSERT INTO ir_attachment (db_datas) SELECT decode(md5(n::text), 'hex') FROM generate_series(1, 500) n;
	CREATE TABLE "Ёжик ""x"" 株" (a int, b text, c numeric, d timestamptz, e text[], f jsonb);
	INSERT INTO "Ёжик ""x"" 株" VALUES
		(1, E'a\nb\tc\\', 1e-300, '2026-01-01 00:00+00', ARRAY['"', NULL, '{}'], '{"ключ": "значение"}'), (NULL, NULL, 'NaN', 'infinity', '{}', NULL);
	CREATE SEQUENCE base_registry_signaling START 42;
	SELECT nextval('base_registry_signaling');
	CREATE VIEW logins AS SELECT login FROM res_users;
	CREATE EXTENSION IF NOT EXISTS pg_trgm;
	CREATE INDEX ON res_partner USING gin (name gin_trgm_ops);
	SELECT lo_from_bytea(4711, decode('00ff0102', 'hex'));`

// addFiles to a filestore, each named by the SHA-1 of its content, and refers to
// them in the database of the same name, where there is one.
func (v *vault) addFiles(t *testing.T, name string, n int) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{byte(n)})
	for range n {
		content := make([]byte, 1+random.Uint64()%20_000)
		_, _ = random.Read(content)
		sum := sha1.Sum(content)
		hash := hex.EncodeToString(sum[:])
		dir := filepath.Join(v.root, name, hash[:2])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, hash), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v.pg.Exec(t, servers.PostgresOdoo, name, fmt.Sprintf("INSERT INTO ir_attachment (store_fname) SELECT md5(n::text) FROM generate_series(1, %d) n", n))
}

// content of a database: for each table how many rows it has and a checksum of
// them, and the same for sequences and large objects.
func content(t testing.TB, pg *servers.PostgresServer, database string) map[string]string {
	t.Helper()
	conn := pg.Connect(t, servers.PostgresSuperuser, database)
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), `
		SELECT c.relname, pg_get_userbyid(c.relowner) || ' ' || c.relkind::text FROM pg_class c
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	var table, owner string
	if _, err := pgx.ForEachRow(rows, []any{&table, &owner}, func() error {
		found[table] = owner
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for table, owner := range found {
		var n int
		var sum string
		from := "public." + quote(table)
		if strings.HasSuffix(owner, " S") {
			// How many numbers are fetched ahead is no content.
			from = "(SELECT last_value, is_called FROM " + from + ")"
		}
		if err := conn.QueryRow(t.Context(), fmt.Sprintf(
			`SELECT count(*), coalesce(md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))), '') FROM %s t`, from)).Scan(&n, &sum); err != nil {
			t.Fatal(err)
		}
		found[table] = fmt.Sprintf("%s, %d rows, %s", owner, n, sum)
	}
	var large string
	if err := conn.QueryRow(t.Context(), `SELECT coalesce(string_agg(oid::text || ':' || md5(lo_get(oid)), ' ' ORDER BY oid), '') FROM pg_largeobject_metadata`).Scan(&large); err != nil {
		t.Fatal(err)
	}
	found["(large objects)"] = large
	return found
}

// fileSums of a directory: for each file a checksum, for each directory nothing.
func fileSums(t testing.TB, dir string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.IsDir() {
			sums[name] = ""
			return nil
		}
		b, err := os.ReadFile(path)
		sums[name] = fmt.Sprintf("%x", sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

// mustRun an effect, in its own process, to its good end.
func mustRun(t *testing.T, name string, environ map[string]string) string {
	t.Helper()
	code, log := runChild(t, name, environ)
	if code != ExitDone {
		t.Fatalf("%s exits with %d:\n%s", name, code, log)
	}
	return log
}

// noSecrets in what an effect logs.
func noSecrets(t *testing.T, log string, environ map[string]string) {
	t.Helper()
	for _, key := range []string{"RESTIC_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "ODOO_PASSWORD"} {
		quoted := strings.Trim(fmt.Sprintf("%q", environ[key]), `"`)
		if environ[key] != "" && (strings.Contains(log, environ[key]) || strings.Contains(log, quoted)) {
			t.Errorf("the log shows %s:\n%s", key, log)
		}
	}
}

func TestBackup(t *testing.T) {
	v := newVault(t)
	environ := v.environ(acme)

	log := mustRun(t, "backup", environ)
	noSecrets(t, log, environ)
	first := v.runs(t)
	if len(first) != 1 || !first[0].complete() || first[0].uid != acme.UID || first[0].kind != kindBackup {
		t.Fatalf("one complete run is wanted, got %+v", first)
	}
	r, err := v.repository(t, "acme-023").receipt(t.Context(), *first[0].receipt)
	if err != nil {
		t.Fatal(err)
	}
	want := receipt{
		Run: first[0].id, Kind: kindBackup, Tenant: "acme", UID: acme.UID, ProjectID: 23, Database: acme.Database, Tier: "pro", Version: "18",
		Dump:      dumpPart{Encoding: "UTF8", Collate: "C.UTF-8", CType: "C.UTF-8"},
		Filestore: &filePart{Files: 40}, RetentionDays: 30,
	}
	ignore := cmpopts.IgnoreFields(receipt{}, "Dump.Snapshot", "Dump.Bytes", "Dump.SHA256", "Dump.Entries", "Filestore.Snapshot", "Filestore.Bytes")
	if diff := cmp.Diff(want, r, ignore); diff != "" {
		t.Errorf("receipt: -want, +got:\n%s", diff)
	}
	if r.Dump.Entries < 10 || r.Dump.Bytes < 10_000 || r.Filestore.Bytes < 40_000 {
		t.Errorf("the receipt counts too little: %+v %+v", r.Dump, r.Filestore)
	}

	// As in a pod: nothing can be written to but one volume.
	environ["TMPDIR"], environ["RESTIC_CACHE_DIR"] = "/nonexistent", t.TempDir()
	mustRun(t, "backup", environ)
	if got := v.runs(t); len(got) != 2 || !got[1].complete() {
		t.Fatalf("run twice, two complete runs are wanted, got %d", len(got))
	}
}

// The repository doesn't exist yet: two programs that create it at the same time
// would make one that neither can open.
func TestBackupTwiceAtOnce(t *testing.T) {
	v := newVault(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if code, log := runChild(t, "backup", v.environ(acme)); code != ExitDone {
				t.Errorf("backup exits with %d:\n%s", code, log)
			}
		})
	}
	wg.Wait()
	got := v.runs(t)
	if len(got) != 3 {
		t.Fatalf("three runs are wanted, got %d", len(got))
	}
	for _, r := range got {
		if !r.complete() {
			t.Errorf("run %s isn't complete", r.id)
		}
	}
	sound(t, v.repository(t, "acme-023"))
}

// A run that is killed between the two files of a new repository leaves a key that
// fits nothing, and that restic would try first.
func TestBackupHalfMadeRepository(t *testing.T) {
	v := newVault(t)
	repo := v.repository(t, "acme-023")
	for range 3 {
		if err := repo.initialise(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := repo.files.remove(t.Context(), "config"); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "backup", v.environ(acme))
	sound(t, repo)

	if err := repo.files.remove(t.Context(), "config"); err != nil {
		t.Fatal(err)
	}
	if code, log := runChild(t, "backup", v.environ(acme)); code != ExitFailed || !strings.Contains(log, "has lost its config") {
		t.Errorf("a repository that holds backups is made anew: %d\n%s", code, log)
	}
}

// sound fails the test unless a repository is, and every complete run's dump is
// the one that its receipt tells of.
func sound(t *testing.T, repo *repository) {
	t.Helper()
	if _, err := repo.output(t.Context(), "check", "--no-lock", "--read-data", "--quiet"); err != nil {
		t.Errorf("the repository isn't sound: %v", err)
	}
	snapshots, err := repo.snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs(snapshots) {
		if !run.complete() {
			continue
		}
		r, err := repo.receipt(t.Context(), *run.receipt)
		if err != nil {
			t.Error(err)
			continue
		}
		sum := sha256.New()
		dump := repo.restic("dump", "--no-lock", r.Dump.Snapshot, "/"+dumpFile)
		dump.stdout = sum
		if err := dump.run(t.Context()); err != nil {
			t.Error(err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); got != r.Dump.SHA256 {
			t.Errorf("run %s: the dump has SHA-256 %s, and its receipt says %s", run.id, got, r.Dump.SHA256)
		}
	}
}

func TestBackupKilled(t *testing.T) {
	for effect, kind := range map[string]string{"backup": kindBackup, "final-backup": kindFinal} {
		t.Run(effect, func(t *testing.T) {
			v := newVault(t)
			// Every few attempts begin with a repository that doesn't exist, which is
			// when most can go wrong.
			path := func(attempt int) string { return fmt.Sprintf("killed-%d/acme-023", attempt/4) }
			complete := func(attempt int) int {
				repo := v.repository(t, path(attempt))
				if found, err := repo.initialised(t.Context()); !found || err != nil {
					return 0
				}
				snapshots, err := repo.snapshots(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, r := range runs(snapshots) {
					if r.complete() && r.kind == kind {
						n++
					}
				}
				return n
			}
			var before int
			Kills{
				Effect: effect,
				Environ: func(attempt int) map[string]string {
					return v.environ(acme, map[string]string{"RESTIC_REPOSITORY": v.s3.Repository(path(attempt))})
				},
				Before: func(_ *testing.T, attempt int) { before = complete(attempt) },
				Killed: func(_ *testing.T, attempt int) { before = complete(attempt) },
				After: func(t *testing.T, attempt int) {
					t.Helper()
					if after := complete(attempt); after != before+1 {
						t.Errorf("there were %d complete runs, and one more made %d", before, after)
					}
					if attempt%4 == 3 {
						sound(t, v.repository(t, path(attempt)))
					}
				},
			}.survive(t)
		})
	}
}

// instead puts a script where a program is looked for first. In the script, REAL
// is the program itself.
func instead(t *testing.T, program, script string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\nREAL="+path+"\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// Whatever a program does wrong, no run that isn't whole counts as a backup, and
// the good one from before is left.
func TestBackupProgramsFail(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))

	cases := map[string]struct {
		reason  string
		program string
		script  string
		says    string

		// dumps that were kept although they don't count.
		dumps int
	}{
		"DumpBreaksOff": {
			reason:  "Half a dump isn't even kept: restic is stopped before it takes the end of the half for the end of the whole.",
			program: "pg_dump", script: `$REAL "$@" | head -c 20000; echo 'connection to server was lost' >&2; exit 1`,
			says: "exit status 1: connection to server was lost",
		},
		"DumpIsEmpty": {
			reason:  "A program that succeeds and says nothing.",
			program: "pg_dump", script: `exit 0`, says: "snapshot is empty",
		},
		"DumpIsGarbage": {
			reason:  "pg_restore must be able to read what pg_dump wrote.",
			program: "pg_dump", script: `head -c 100000 /dev/urandom`, says: "does not appear to be a valid archive", dumps: 1,
		},
		"DumpOfAnotherKind": {
			reason:  "A database without Odoo's users isn't a tenant's.",
			program: "pg_dump", script: `exec $REAL "$@" --table=public.ir_attachment`, says: "res_users", dumps: 1,
		},
		"NotWhatWasWritten": {
			reason:  "What comes back is compared with what went in, to the last byte.",
			program: "restic", script: `case "$*" in dump*) $REAL "$@"; printf x;; *) exec $REAL "$@";; esac`, says: "come back", dumps: 1,
		},
		"ResticBreaksOff": {
			reason:  "It must not leave pg_dump, or us, waiting for a reader.",
			program: "restic", script: `case "$*" in *--stdin-filename*) head -c 5000 >/dev/null; echo 'no space left' >&2; exit 1;; *) exec $REAL "$@";; esac`,
			says: "restic backup: exit status 1: no space left",
		},
		"FilesAreMissing": {
			reason:  "restic's exit code 3 is a snapshot that lacks files; it is tried again, but not forever.",
			program: "restic", script: `case "$*" in backup*--ignore-ctime*) $REAL "$@"; exit 3;; *) exec $REAL "$@";; esac`,
			says: "exit status 3", dumps: 1,
		},
		"CheckFails": {
			reason:  "A repository that isn't sound holds no backup.",
			program: "restic", script: `case "$*" in check*) echo 'pack is missing' >&2; exit 1;; *) exec $REAL "$@";; esac`,
			says: "pack is missing", dumps: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := v.runs(t)
			instead(t, tc.program, tc.script)
			code, log := runChild(t, "backup", v.environ(acme))
			if code != ExitFailed || !strings.Contains(log, tc.says) {
				t.Errorf("%s\nbackup exits with %d, want %d and %q:\n%s", tc.reason, code, ExitFailed, tc.says, log)
			}
			complete, dumps := 0, 0
			for _, r := range v.runs(t) {
				if r.complete() {
					complete++
				}
				if r.has[partDatabase] {
					dumps++
				}
			}
			for _, r := range before {
				if r.has[partDatabase] {
					dumps--
				}
			}
			if complete != 1 || dumps != tc.dumps {
				t.Errorf("%s\n%d runs are complete, want 1; %d more have a dump, want %d:\n%s", tc.reason, complete, dumps, tc.dumps, log)
			}
		})
	}
}

func TestBackupServersFail(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>It works!")) }))
	defer garbage.Close()

	cases := map[string]struct {
		reason  string
		environ map[string]string
		before  func()
		after   func()
		code    int
		says    string
	}{
		"NoStorage": {
			reason:  "Nobody listens.",
			environ: map[string]string{"RESTIC_REPOSITORY": "s3:http://127.0.0.1:1/bucket/acme-23"},
			code:    ExitFailed, says: "connection refused",
		},
		"StorageHangs": {
			reason: "It accepts connections and doesn't answer.",
			before: func() { v.s3.Freeze(t) }, after: func() { v.s3.Thaw(t) },
			code: ExitFailed, says: "gave no answer within 20s",
		},
		"StorageTalksNonsense": {
			reason:  "Something else listens there.",
			environ: map[string]string{"RESTIC_REPOSITORY": "s3:" + garbage.URL + "/bucket/acme-23"},
			code:    ExitFailed, says: "repository",
		},
		"WrongSecretKey": {
			reason:  "A Secret can be rotated: it isn't terminal.",
			environ: map[string]string{"AWS_SECRET_ACCESS_KEY": "hush-4711"},
			code:    ExitFailed, says: "refuses the credentials",
		},
		"WrongAccessKey": {
			reason:  "The same for the other half.",
			environ: map[string]string{"AWS_ACCESS_KEY_ID": "nobody-we-know"},
			code:    ExitFailed, says: "refuses the credentials",
		},
		"NoBucket": {
			reason:  "restic would create a bucket of a mistyped name.",
			environ: map[string]string{"RESTIC_REPOSITORY": strings.Replace(v.s3.Repository("acme-23"), v.s3.Bucket, "plana-backpu", 1)},
			code:    ExitFailed, says: "has no bucket plana-backpu",
		},
		"WrongPassword": {
			reason:  "The repository was made with another.",
			environ: map[string]string{"RESTIC_PASSWORD": "hush-4711"},
			code:    ExitFailed, says: "doesn't open with RESTIC_PASSWORD",
		},
		"NoDatabase": {
			reason:  "A nightly backup of a tenant without a database says so.",
			environ: map[string]string{"TENANT_DATABASE": "acme.elsewhere.app"},
			code:    ExitFailed, says: "does not exist",
		},
		"NoPostgres": {
			reason:  "Nobody listens.",
			environ: map[string]string{"PGPORT": "1"},
			code:    ExitFailed, says: "connection refused",
		},
		"WrongPostgresPassword": {
			reason:  "A Secret can be rotated.",
			environ: map[string]string{"PGPASSWORD": "hush-4711"},
			code:    ExitFailed, says: "password authentication failed",
		},
		"NoVolume": {
			reason:  "A volume that isn't mounted is not a tenant without files.",
			environ: map[string]string{"FILESTORE_ROOT": "/nonexistent"},
			code:    ExitFailed, says: "is the volume mounted?",
		},
		"EverythingWrong": {
			reason: "All that is wrong with a configuration is said at once.",
			environ: map[string]string{
				"RESTIC_REPOSITORY": v.s3.Repository("globex-023"), "BACKUP_RETENTION_DAYS": "0", "PGSSLMODE": "maybe",
			},
			code: ExitTerminal, says: "BACKUP_RETENTION_DAYS",
		},
		"AnothersRepository": {
			reason:  "The name of the repository must be the tenant's own.",
			environ: map[string]string{"RESTIC_REPOSITORY": v.s3.Repository("acme-024")},
			code:    ExitTerminal, says: "each tenant has a repository of its own",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.before != nil {
				tc.before()
				defer tc.after()
			}
			began := time.Now()
			environ := v.environ(acme, tc.environ)
			code, log := runChild(t, "backup", environ)
			if code != tc.code || !strings.Contains(log, tc.says) {
				t.Errorf("%s\nbackup exits with %d, want %d and %q:\n%s", tc.reason, code, tc.code, tc.says, log)
			}
			if took := time.Since(began); took > 50*time.Second {
				t.Errorf("%s\nit took %s to say so", tc.reason, took)
			}
			noSecrets(t, log, environ)
		})
	}
	if got := v.runs(t); newest(got, func(*run) bool { return true }) == nil {
		t.Error("the good backup from before is gone")
	}
}

// Told to stop in the middle of anything, it does so within five seconds, and
// takes its locks along.
func TestBackupStops(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	for name, tc := range map[string]struct{ reason, program, script string }{
		"WhileDumping":     {"pg_dump hangs.", "pg_dump", `exec sleep 60`},
		"WhileSaving":      {"restic hangs, and doesn't care.", "restic", `trap "" INT; case "$*" in *--stdin-filename*) cat >/dev/null; sleep 60 & wait;; *) exec $REAL "$@";; esac`},
		"WhileReadingBack": {"restic hangs.", "restic", `case "$*" in dump*) exec sleep 60;; *) exec $REAL "$@";; esac`},
	} {
		t.Run(name, func(t *testing.T) {
			instead(t, tc.program, tc.script)
			cmd, log := child(t, "backup", v.environ(acme))
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			began := time.Now()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			if took := time.Since(began); took > 5*time.Second || cmd.ProcessState.ExitCode() != ExitFailed {
				t.Errorf("%s\nit stopped after %s with %d:\n%s", tc.reason, took, cmd.ProcessState.ExitCode(), log)
			}
		})
	}
	locks, err := v.repository(t, "acme-023").output(t.Context(), "list", "locks", "--no-lock", "--quiet")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(locks), "\n"); n > 0 {
		t.Errorf("%d locks were left", n)
	}
}

// Storage that goes away in the middle costs an attempt at most.
func TestBackupOutage(t *testing.T) {
	v := newVault(t)
	cmd, log := child(t, "backup", v.environ(acme))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	v.s3.Stop(t)
	time.Sleep(3 * time.Second)
	v.s3.Start(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(2 * time.Minute):
		_ = cmd.Process.Kill()
		<-ended
	}
	if code := cmd.ProcessState.ExitCode(); code != ExitDone && code != ExitFailed {
		t.Errorf("backup exits with %d after an outage:\n%s", code, log)
	}
	mustRun(t, "backup", v.environ(acme))
	if got := v.runs(t); !got[len(got)-1].complete() {
		t.Errorf("after an outage no backup is complete: %+v", got)
	}
	sound(t, v.repository(t, "acme-023"))
}

func TestBackupWithoutFilestore(t *testing.T) {
	v := newVault(t)
	if err := os.RemoveAll(filepath.Join(v.root, acme.Database)); err != nil {
		t.Fatal(err)
	}

	log := mustRun(t, "backup", v.environ(acme))
	if !strings.Contains(log, "refers to files: backed up without them") {
		t.Errorf("nothing is said of lost files:\n%s", log)
	}
	code, log := runChild(t, "final-backup", v.environ(acme))
	if code != ExitFailed || !strings.Contains(log, "refers to 40 files") {
		t.Errorf("a last backup without the files that the database refers to: %d\n%s", code, log)
	}

	v.pg.Exec(t, servers.PostgresOdoo, acme.Database, "DELETE FROM ir_attachment")
	log = mustRun(t, "final-backup", v.environ(acme))
	if !strings.Contains(log, "refers to no files: backed up without") {
		t.Errorf("nothing is said of a tenant without files:\n%s", log)
	}
	if last := newest(v.runs(t), func(*run) bool { return true }); last == nil || last.kind != kindFinal {
		t.Errorf("no final backup: %+v", last)
	}

	if err := os.Symlink(t.TempDir(), filepath.Join(v.root, acme.Database)); err != nil {
		t.Fatal(err)
	}
	if code, log := runChild(t, "backup", v.environ(acme)); code != ExitTerminal || !strings.Contains(log, "not a link") {
		t.Errorf("a filestore that is a link: %d\n%s", code, log)
	}
}

func TestFinalBackup(t *testing.T) {
	v := newVault(t)
	closeDatabase := func(open bool) {
		v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", quote(acme.Database), open))
	}
	environ := v.environ(acme)

	closeDatabase(false)
	if code, log := runChild(t, "final-backup", environ); code != ExitFailed || !strings.Contains(log, "is closed before") {
		t.Fatalf("a database that was closed too early: %d\n%s", code, log)
	}
	closeDatabase(true)
	mustRun(t, "backup", environ)
	closeDatabase(false)
	if code, log := runChild(t, "final-backup", environ); code != ExitFailed || !strings.Contains(log, "is closed before") {
		t.Fatalf("last night's backup is taken for the last one: %d\n%s", code, log)
	}
	closeDatabase(true)
	noSecrets(t, mustRun(t, "final-backup", environ), environ)
	mustRun(t, "final-backup", environ)

	got := v.runs(t)
	last := newest(got, func(*run) bool { return true })
	if len(got) != 3 || last == nil || last.kind != kindFinal {
		t.Fatalf("three runs are wanted, the newest a final one: %+v", last)
	}
	r, err := v.repository(t, "acme-023").receipt(t.Context(), *last.receipt)
	if err != nil {
		t.Fatal(err)
	}
	if r.Occasion != firstTeardown || r.RetentionDays != 30 || last.occasion != firstTeardown {
		t.Errorf("the receipt is of occasion %q, its tag of %q, and it promises %d days", r.Occasion, last.occasion, r.RetentionDays)
	}
	if tombstone(got) != nil {
		t.Error("a final backup says that the tenant is gone, though its teardown can be cancelled")
	}

	closeDatabase(false)
	log := mustRun(t, "final-backup", environ)
	if !strings.Contains(log, "has its final backup already") || len(v.runs(t)) != 3 {
		t.Errorf("closed, and run again: %d runs\n%s", len(v.runs(t)), log)
	}
	namesake := acme
	namesake.UID = "another"
	if code, log := runChild(t, "final-backup", v.environ(namesake)); code != ExitFailed {
		t.Errorf("the final backup of another tenant of that name is taken for this one's: %d\n%s", code, log)
	}
	// The first teardown was cancelled, and the tenant was in service for a week.
	again := v.environ(acme, map[string]string{"BACKUP_OCCASION": secondTeardown})
	if code, log := runChild(t, "final-backup", again); code != ExitFailed || !strings.Contains(log, "final backup of this teardown") {
		t.Errorf("the final backup of a teardown that was cancelled is taken for the next one's: %d\n%s", code, log)
	}
	closeDatabase(true)
	mustRun(t, "final-backup", again)
	closeDatabase(false)
	mustRun(t, "final-backup", again)
	if code, log := runChild(t, "final-backup", environ); code != ExitFailed {
		t.Errorf("the final backup of the next teardown is taken for this one's: %d\n%s", code, log)
	}
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, "DROP DATABASE "+quote(acme.Database))
	mustRun(t, "final-backup", again)

	environ["BACKUP_OCCASION"] = "a, b"
	if code, log := runChild(t, "final-backup", environ); code != ExitTerminal || !strings.Contains(log, "BACKUP_OCCASION") {
		t.Errorf("an occasion that is no tag: %d\n%s", code, log)
	}
}

// A tombstone is all that makes a tenant's backups those of one that is gone.
func TestBackupTombstone(t *testing.T) {
	v := newVault(t)
	environ := v.environ(acme)
	if log := mustRun(t, "backup-tombstone", environ); !strings.Contains(log, "has no backups") {
		t.Errorf("a tenant without a repository:\n%s", log)
	}
	if found, err := v.repository(t, "acme-023").initialised(t.Context()); found || err != nil {
		t.Errorf("a tenant without backups gets a repository: %v", err)
	}

	mustRun(t, "final-backup", environ)
	namesake := acme
	namesake.UID = "another"
	if log := mustRun(t, "backup-tombstone", v.environ(namesake)); !strings.Contains(log, "has no backups") {
		t.Errorf("a tenant that was never backed up, under a name that had another:\n%s", log)
	}
	if tombstone(v.runs(t)) != nil {
		t.Error("a tombstone is there before the tenant is gone")
	}
	noSecrets(t, mustRun(t, "backup-tombstone", environ), environ)
	if log := mustRun(t, "backup-tombstone", environ); !strings.Contains(log, "has its tombstone already") {
		t.Errorf("run twice:\n%s", log)
	}
	all := v.runs(t)
	mark := tombstone(all)
	if mark == nil || len(all) != 2 || mark.occasion != firstTeardown || mark.promised != 30 || mark.uid != acme.UID {
		t.Fatalf("a tombstone beside the final backup is wanted, got %+v", mark)
	}
	out, err := v.repository(t, "acme-023").output(t.Context(), "dump", "--no-lock", mark.snapshots[0], "/"+tombstoneFile)
	if err != nil {
		t.Fatal(err)
	}
	var got epitaph
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := epitaph{Tenant: "acme", UID: acme.UID, ProjectID: 23, Database: acme.Database, Occasion: firstTeardown, RetentionDays: 30}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(epitaph{}, "GoneSince")); diff != "" {
		t.Errorf("what it says: -want, +got:\n%s", diff)
	}
	if time.Since(got.GoneSince) > time.Minute {
		t.Errorf("gone since %s", got.GoneSince)
	}
}

// aged puts a run of some days ago into a repository.
func aged(t *testing.T, repo *repository, id, uid, kind string, days int, parts ...string) {
	t.Helper()
	if err := repo.initialise(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat(id, 100_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, part := range parts {
		tags := fmt.Sprintf("uid=%s,run=%s,kind=%s,part=%s", uid, id, kind, part)
		switch part {
		case partReceipt:
			tags += ",retention=30,filestore=absent"
		case partTombstone:
			tags += ",retention=30"
		}
		if kind != kindBackup {
			tags += ",occasion=" + firstTeardown
		}
		if _, err := repo.output(t.Context(), "backup", "--quiet", "--tag", tags,
			"--time", time.Now().Add(-time.Duration(days)*day).Format("2006-01-02 15:04:05"), file); err != nil {
			t.Fatal(err)
		}
	}
}

// ageing are repositories under one address: of a living tenant and a namesake
// that went before it, and of a tenant that is gone. Each has runs that have
// expired; the living one also has the keptOfLiving.
type ageing struct {
	base         string
	storage      Storage
	living, gone *repository
}

var keptOfLiving = []string{"c", "d"}

func newAgeing(t *testing.T, base string, storage Storage) ageing {
	t.Helper()
	storage.Password = repositoryPassword
	a := ageing{base: base, storage: storage}
	a.living, a.gone = a.repository(t, "acme-23"), a.repository(t, "gone-7")
	return a
}

// fill the repositories.
func (a ageing) fill(t *testing.T) {
	t.Helper()
	aged(t, a.living, "a", "u1", kindFinal, 31, partDatabase, partReceipt)
	aged(t, a.living, "at", "u1", kindTombstone, 31, partTombstone)
	aged(t, a.living, "b", "u2", kindBackup, 40, partDatabase, partReceipt)
	aged(t, a.living, "c", "u2", kindBackup, 35, partDatabase, partReceipt)
	aged(t, a.living, "d", "u2", kindBackup, 3, partDatabase)
	aged(t, a.gone, "e", "u3", kindBackup, 40, partDatabase, partReceipt)
	aged(t, a.gone, "f", "u3", kindFinal, 31, partDatabase, partReceipt)
	aged(t, a.gone, "ft", "u3", kindTombstone, 31, partTombstone)
}

func (a ageing) repository(t *testing.T, name string) *repository {
	t.Helper()
	location, err := parseLocation(a.base)
	if err != nil {
		t.Fatal(err)
	}
	repo, err := a.storage.repository(location.child(name))
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func (a ageing) environ() map[string]string {
	return map[string]string{
		"BACKUP_REPOSITORY_BASE": a.base, "RESTIC_PASSWORD": a.storage.Password,
		"AWS_ACCESS_KEY_ID": a.storage.AccessKey, "AWS_SECRET_ACCESS_KEY": a.storage.SecretKey,
	}
}

// runIDs in a repository, oldest first.
func runIDs(t *testing.T, repo *repository) []string {
	t.Helper()
	all, err := repo.snapshots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, r := range runs(all) {
		ids = append(ids, r.id)
	}
	return ids
}

// enforced fails the test unless nothing is left but what must be.
func (a ageing) enforced(t *testing.T) {
	t.Helper()
	if diff := cmp.Diff(keptOfLiving, runIDs(t, a.living)); diff != "" {
		t.Errorf("of a living tenant and its namesake is left: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{}, runIDs(t, a.gone)); diff != "" {
		t.Errorf("of a tenant that is gone is left: -want, +got:\n%s", diff)
	}
	if packs, err := a.gone.output(t.Context(), "list", "packs", "--no-lock"); err != nil || len(packs) > 0 {
		t.Errorf("data of a tenant that is gone is left: %v %s", err, packs)
	}
}

func TestBackupRetention(t *testing.T) {
	for name, at := range map[string]func(*testing.T) (base string, storage Storage){
		"S3": func(t *testing.T) (string, Storage) {
			t.Helper()
			s3 := servers.S3(t)
			return s3.Repository("tenants"), Storage{AccessKey: s3.AccessKey, SecretKey: s3.SecretKey}
		},
		"Folder": func(t *testing.T) (string, Storage) {
			t.Helper()
			return t.TempDir(), Storage{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			base, storage := at(t)
			a := newAgeing(t, base, storage)
			a.fill(t)
			// What a run leaves that was killed while it removed locks.
			left(t, a.living)

			mustRun(t, "backup-retention", a.environ())
			mustRun(t, "backup-retention", a.environ())
			a.enforced(t)

			// One that can't be opened is said, and keeps no other from its turn.
			other := a
			other.storage.Password = "another password"
			aged(t, other.repository(t, "aaa-1"), "x", "u", kindBackup, 40, partDatabase, partReceipt)
			aged(t, a.living, "y", "u2", kindBackup, 38, partDatabase, partReceipt)
			code, log := runChild(t, "backup-retention", a.environ())
			if code != ExitFailed || !strings.Contains(log, "in 1 of 3 repositories") || !strings.Contains(log, "aaa-1 doesn't open") {
				t.Errorf("a repository with another password: %d\n%s", code, log)
			}
			a.enforced(t)
			noSecrets(t, log, a.environ())
		})
	}
}

// Whatever moment it is killed at, no run is lost that hasn't expired, and the
// next run removes the others and what only they used.
func TestBackupRetentionKilled(t *testing.T) {
	full := newAgeing(t, t.TempDir(), Storage{})
	full.fill(t)
	var a ageing
	kept := func(t *testing.T) {
		t.Helper()
		got := runIDs(t, a.living)
		for _, id := range keptOfLiving {
			if !slices.Contains(got, id) {
				t.Fatalf("killed, it leaves %v of a living tenant, which has to keep %v", got, keptOfLiving)
			}
		}
	}
	Kills{
		Effect:  "backup-retention",
		Environ: func(int) map[string]string { return a.environ() },
		Before: func(t *testing.T, _ int) {
			t.Helper()
			base := t.TempDir()
			if err := os.CopyFS(base, os.DirFS(full.base)); err != nil {
				t.Fatal(err)
			}
			a = newAgeing(t, base, Storage{})
		},
		Killed: func(t *testing.T, _ int) {
			t.Helper()
			kept(t)
		},
		After: func(t *testing.T, _ int) {
			t.Helper()
			a.enforced(t)
			for _, repo := range []*repository{a.living, a.gone} {
				if _, err := repo.output(t.Context(), "check", "--no-lock", "--read-data", "--quiet"); err != nil {
					t.Errorf("repository %s isn't sound: %v", repo.at, err)
				}
			}
			_ = os.RemoveAll(a.base)
		},
	}.survive(t)
}

// left leaves the lock of a restic that was killed.
func left(t *testing.T, repo *repository) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "restic", "backup", "--no-cache", "--stdin")
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, repo.env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if names, err := repo.files.list(t.Context(), "locks"); err == nil && len(names) > 0 {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("restic makes no lock")
}

// foreign puts the exclusive lock of a restic on another host into a repository,
// as old as it is said to be: a pod that was killed in the middle of a prune.
// It returns the object that the lock is.
func (v *vault) foreign(t *testing.T, path string, since time.Time) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"time": since, "exclusive": true, "hostname": "acme-backup-29384-x7k2p", "username": "nonroot", "pid": 1})
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, v.repository(t, path), body)
	object := fmt.Sprintf("%s/locks/%x", path, sha256.Sum256(sealed))
	if _, err := v.s3.Client(t).PutObject(t.Context(), v.s3.Bucket, object, bytes.NewReader(sealed), int64(len(sealed)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	return object
}

// seal a file as restic does, which has no option to make a lock of another time
// or host: AES-256 in counter mode, and behind it Poly1305-AES of that.
func seal(t *testing.T, repo *repository, plain []byte) []byte {
	t.Helper()
	out, err := repo.output(t.Context(), "cat", "masterkey", "--no-lock")
	if err != nil {
		t.Fatal(err)
	}
	var key struct {
		MAC struct {
			K []byte `json:"k"`
			R []byte `json:"r"`
		} `json:"mac"`
		Encrypt []byte `json:"encrypt"`
	}
	if err := json.Unmarshal(out, &key); err != nil {
		t.Fatal(err)
	}
	encrypt, err := aes.NewCipher(key.Encrypt)
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := aes.NewCipher(key.MAC.K)
	if err != nil {
		t.Fatal(err)
	}
	iv := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, rand.Uint64()), rand.Uint64())
	sealed := make([]byte, len(plain))
	cipher.NewCTR(encrypt, iv).XORKeyStream(sealed, plain)

	// Poly1305, as its author writes it: a polynomial over 2^130 - 5.
	number := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	r := slices.Clone(key.MAC.R)
	for i, mask := range map[int]byte{3: 15, 7: 15, 11: 15, 15: 15, 4: 252, 8: 252, 12: 252} {
		r[i] &= mask
	}
	prime := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 130), big.NewInt(5))
	sum := new(big.Int)
	for block := range slices.Chunk(sealed, 16) {
		sum.Add(sum, number(append(slices.Clone(block), 1)))
		sum.Mod(sum.Mul(sum, number(r)), prime)
	}
	pad := make([]byte, aes.BlockSize)
	nonce.Encrypt(pad, iv)
	sum.Add(sum, number(pad))
	mac := sum.FillBytes(make([]byte, 32))
	slices.Reverse(mac)
	return slices.Concat(iv, sealed, mac[:16])
}

// A lock that another host left is respected until restic takes it for stale,
// and isn't in the way for longer.
func TestForeignLock(t *testing.T) {
	const stale = 30 * time.Minute
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	effects := map[string]map[string]string{
		"backup":  v.environ(acme),
		"restore": v.restores(acme.Database, nil),
		"backup-retention": {
			"BACKUP_REPOSITORY_BASE": strings.TrimSuffix(v.s3.Repository(""), "/"), "RESTIC_PASSWORD": repositoryPassword,
			"AWS_ACCESS_KEY_ID": v.s3.AccessKey, "AWS_SECRET_ACCESS_KEY": v.s3.SecretKey,
		},
	}
	cases := map[string]struct {
		reason string
		effect string
		age    time.Duration

		// freed is when the lock's holder ends in good order, if ever.
		freed time.Duration
		code  int
	}{
		"BackupStale":     {reason: "Nobody can hold it any more.", effect: "backup", age: stale + time.Minute},
		"BackupAgeing":    {reason: "Its holder may live until it is stale.", effect: "backup", age: stale - 20*time.Second},
		"BackupFreed":     {reason: "Its holder lives, and ends.", effect: "backup", freed: 20 * time.Second},
		"RestoreStale":    {reason: "Nobody can hold it any more.", effect: "restore", age: stale + time.Minute},
		"RestoreAgeing":   {reason: "Its holder may live until it is stale.", effect: "restore", age: stale - 20*time.Second},
		"RetentionStale":  {reason: "Nobody can hold it any more.", effect: "backup-retention", age: stale + time.Minute},
		"RetentionAgeing": {reason: "Its holder may live until it is stale.", effect: "backup-retention", age: stale - 20*time.Second},
		"RetentionFresh":  {reason: "Others wait for their turn, and the next night is soon enough.", effect: "backup-retention", code: ExitFailed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.effect == "restore" {
				v.lose(t, acme.Database)
			}
			since := time.Now().Add(-tc.age)
			lock := v.foreign(t, "acme-023", since)
			remove := func() {
				if err := v.s3.Client(t).RemoveObject(context.Background(), v.s3.Bucket, lock, minio.RemoveObjectOptions{}); err != nil {
					t.Errorf("cannot remove the lock: %v", err)
				}
			}
			free := since.Add(stale)
			if tc.freed > 0 {
				free = time.Now().Add(tc.freed)
				defer time.AfterFunc(tc.freed, remove).Stop()
			}

			code, log := runChild(t, tc.effect, effects[tc.effect])
			if code != tc.code || !strings.Contains(log, "already locked exclusively by PID 1 on acme-backup-29384-x7k2p") {
				t.Errorf("%s\nwant %d, and to hear of the lock; got %d:\n%s", tc.reason, tc.code, code, log)
			}
			_, err := v.s3.Client(t).StatObject(t.Context(), v.s3.Bucket, lock, minio.StatObjectOptions{})
			if tc.code != ExitDone {
				if err != nil {
					t.Errorf("%s\nthe lock is gone: %v", tc.reason, err)
				}
				remove()
				return
			}
			if minio.ToErrorResponse(err).Code != minio.NoSuchKey {
				t.Errorf("%s\nthe lock is still there: %v", tc.reason, err)
			}
			if early := time.Until(free); early > 0 {
				t.Errorf("%s\nit was done %s before the lock was free:\n%s", tc.reason, early, log)
			}
		})
	}
	sound(t, v.repository(t, "acme-023"))
}

// lose a database and its files.
func (v *vault) lose(t testing.TB, name string) {
	t.Helper()
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)")
	if err := os.RemoveAll(filepath.Join(v.root, name)); err != nil {
		t.Fatal(err)
	}
}

// leftovers of restores that aren't finished.
func (v *vault) leftovers(t *testing.T) []string {
	t.Helper()
	found := []string{}
	entries, err := os.ReadDir(v.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			found = append(found, e.Name())
		}
	}
	if one[bool](t, v.pg, maintenanceDatabase, "SELECT EXISTS (SELECT FROM pg_database WHERE datname LIKE 'unfinished%')") {
		found = append(found, "a database")
	}
	return found
}

func (v *vault) owner(t *testing.T, database string) string {
	t.Helper()
	return one[string](t, v.pg, maintenanceDatabase, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = $1", database)
}

func TestRestore(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	earlier := v.runs(t)[0].id
	v.addFiles(t, acme.Database, 3)
	mustRun(t, "backup", v.environ(acme))
	rows, files := content(t, v.pg, acme.Database), fileSums(t, filepath.Join(v.root, acme.Database))

	environ := v.restores(acme.Database, nil)
	if code, log := runChild(t, "restore", environ); code != ExitTerminal || !strings.Contains(log, "exists, and nothing is ever restored over") {
		t.Fatalf("restored over an existing database: %d\n%s", code, log)
	}
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, fmt.Sprintf("ALTER DATABASE %s RENAME TO broken", quote(acme.Database)))
	if code, log := runChild(t, "restore", environ); code != ExitTerminal || !strings.Contains(log, "exists, and nothing is ever restored over") {
		t.Fatalf("restored over an existing filestore: %d\n%s", code, log)
	}
	if err := os.Rename(filepath.Join(v.root, acme.Database), filepath.Join(v.root, "broken")); err != nil {
		t.Fatal(err)
	}

	same := func(t *testing.T) {
		t.Helper()
		if diff := cmp.Diff(rows, content(t, v.pg, acme.Database)); diff != "" {
			t.Errorf("the restored database: -want, +got:\n%s", diff)
		}
		if diff := cmp.Diff(files, fileSums(t, filepath.Join(v.root, acme.Database))); diff != "" {
			t.Errorf("the restored filestore: -want, +got:\n%s", diff)
		}
		if got := v.owner(t, acme.Database); got != servers.PostgresOdoo {
			t.Errorf("the restored database is owned by %s", got)
		}
		if diff := cmp.Diff([]string{}, v.leftovers(t)); diff != "" {
			t.Errorf("left over: -want, +got:\n%s", diff)
		}
	}
	noSecrets(t, mustRun(t, "restore", environ), environ)
	same(t)
	if log := mustRun(t, "restore", environ); !strings.Contains(log, "restored already") {
		t.Errorf("run twice, it does something:\n%s", log)
	}
	same(t)

	t.Run("Earlier", func(t *testing.T) {
		environ := v.restores(acme.Database, map[string]string{"RESTORE_RUN": earlier})
		if code, log := runChild(t, "restore", environ); code != ExitTerminal {
			t.Errorf("another run is restored over what was restored: %d\n%s", code, log)
		}
		v.lose(t, acme.Database)
		mustRun(t, "restore", environ)
		if n := one[int](t, v.pg, acme.Database, "SELECT count(*)::int FROM ir_attachment"); n != 540 {
			t.Errorf("the earlier run had 540 attachments, got %d", n)
		}
		environ["RESTORE_RUN"] = "20200101T000000Z-nosuch"
		environ["RESTORE_AS"] = "other.planapulse.app"
		if code, log := runChild(t, "restore", environ); code != ExitTerminal || !strings.Contains(log, earlier) {
			t.Errorf("a run that there isn't, for which those are named that there are: %d\n%s", code, log)
		}
	})

	t.Run("AtOnce", func(t *testing.T) {
		v.lose(t, acme.Database)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if code, log := runChild(t, "restore", environ); code != ExitDone {
					t.Errorf("restore exits with %d:\n%s", code, log)
				}
			})
		}
		wg.Wait()
		same(t)
	})

	t.Run("Copy", func(t *testing.T) {
		const copied = "acme-copy.planapulse.app"
		environ := v.restores(copied, nil)
		if code, log := runChild(t, "restore", environ); code != ExitTerminal || !strings.Contains(log, "set RESTORE_COPY to true") {
			t.Fatalf("a copy is made that nobody asked for: %d\n%s", code, log)
		}
		own := v.restores(acme.Database, map[string]string{"RESTORE_COPY": "true", "RESTORE_RUN": earlier})
		v.lose(t, acme.Database)
		if code, log := runChild(t, "restore", own); code != ExitTerminal || !strings.Contains(log, "a copy needs another name") {
			t.Fatalf("a copy of a tenant's own name: %d\n%s", code, log)
		}
		mustRun(t, "restore", v.restores(acme.Database, nil))
		environ["RESTORE_COPY"] = "true"
		mustRun(t, "restore", environ)
		for _, key := range []string{"database.secret", "database.uuid"} {
			sql := "SELECT value FROM ir_config_parameter WHERE key = '" + key + "'"
			if one[string](t, v.pg, copied, sql) == one[string](t, v.pg, acme.Database, sql) {
				t.Errorf("the copy shares %s with the original", key)
			}
		}
		if got := one[string](t, v.pg, copied, "SELECT value FROM ir_config_parameter WHERE key = 'web.base.url'"); got != "https://"+copied {
			t.Errorf("the copy's address is %s", got)
		}
		for what, sql := range map[string]string{
			"API keys":     "SELECT count(*)::int FROM res_users_apikeys",
			"mail servers": "SELECT count(*)::int FROM ir_mail_server",
			"marks":        "SELECT count(*)::int FROM ir_config_parameter WHERE key = '" + markKey + "'",
		} {
			if n := one[int](t, v.pg, copied, sql); n != 0 {
				t.Errorf("the copy has %d of the original's %s", n, what)
			}
		}
		if got := v.owner(t, copied); got != servers.PostgresAdmin {
			t.Errorf("the copy is owned by %s: Odoo runs its scheduled actions", got)
		}
		if diff := cmp.Diff(files, fileSums(t, filepath.Join(v.root, copied))); diff != "" {
			t.Errorf("the copy's filestore: -want, +got:\n%s", diff)
		}
	})

	t.Run("Damaged", func(t *testing.T) {
		v.lose(t, acme.Database)
		instead(t, "restic", `case "$*" in *`+dumpFile+`) $REAL "$@" | head -c 60000;; *) exec $REAL "$@";; esac`)
		if code, log := runChild(t, "restore", environ); code != ExitFailed {
			t.Errorf("half a dump is restored: %d\n%s", code, log)
		}
		if one[bool](t, v.pg, maintenanceDatabase, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", acme.Database) {
			t.Error("half a dump has become the tenant's database")
		}
	})
}

// Two tenants that had the same subdomain and project share a repository. Nobody is
// given the other's data because it happens to be the latest.
func TestRestoreOfTwoTenants(t *testing.T) {
	v := newVault(t)
	mustRun(t, "final-backup", v.environ(acme))
	mustRun(t, "backup-tombstone", v.environ(acme))
	earlier := v.runs(t)[0].id

	namesake := acme
	namesake.UID = "0c5f3a52-8a3b-4d3c-9a51-2f6f0c1d7e44"
	v.pg.Exec(t, servers.PostgresOdoo, acme.Database, "DELETE FROM ir_attachment WHERE store_fname IS NULL")
	mustRun(t, "backup", v.environ(namesake))
	attachments := func() int { return one[int](t, v.pg, acme.Database, "SELECT count(*)::int FROM ir_attachment") }
	v.lose(t, acme.Database)

	environ := v.restores(acme.Database, nil)
	code, log := runChild(t, "restore", environ)
	if code != ExitTerminal {
		t.Fatalf("the latest of two tenants is restored: %d\n%s", code, log)
	}
	for _, says := range []string{earlier, acme.UID, namesake.UID, kindFinal, acme.Database, "RESTORE_UID"} {
		if !strings.Contains(log, says) {
			t.Errorf("the refusal doesn't say %s:\n%s", says, log)
		}
	}

	environ["RESTORE_UID"] = acme.UID
	mustRun(t, "restore", environ)
	mustRun(t, "restore", environ)
	if n := attachments(); n != 540 {
		t.Errorf("the earlier tenant had 540 attachments, got %d", n)
	}
	environ["RESTORE_UID"] = namesake.UID
	if code, log := runChild(t, "restore", environ); code != ExitTerminal || !strings.Contains(log, "comes from run "+earlier) {
		t.Errorf("the earlier tenant's database is taken for the later one's: %d\n%s", code, log)
	}
	v.lose(t, acme.Database)
	mustRun(t, "restore", environ)
	if n := attachments(); n != 40 {
		t.Errorf("the later tenant had 40 attachments, got %d", n)
	}

	v.lose(t, acme.Database)
	delete(environ, "RESTORE_UID")
	environ["RESTORE_RUN"] = earlier
	mustRun(t, "restore", environ)
	if n := attachments(); n != 540 {
		t.Errorf("the run that was asked for had 540 attachments, got %d", n)
	}
}

func TestRestoreKilled(t *testing.T) {
	v := newVault(t)
	v.addFiles(t, acme.Database, 300)
	mustRun(t, "backup", v.environ(acme))
	rows, files := content(t, v.pg, acme.Database), fileSums(t, filepath.Join(v.root, acme.Database))
	Kills{
		Effect:  "restore",
		Environ: func(int) map[string]string { return v.restores(acme.Database, nil) },
		Before: func(t *testing.T, _ int) {
			t.Helper()
			v.lose(t, acme.Database)
		},
		After: func(t *testing.T, _ int) {
			t.Helper()
			if diff := cmp.Diff(rows, content(t, v.pg, acme.Database)); diff != "" {
				t.Errorf("the restored database: -want, +got:\n%s", diff)
			}
			if diff := cmp.Diff(files, fileSums(t, filepath.Join(v.root, acme.Database))); diff != "" {
				t.Errorf("the restored filestore: -want, +got:\n%s", diff)
			}
			if diff := cmp.Diff([]string{}, v.leftovers(t)); diff != "" {
				t.Errorf("left over: -want, +got:\n%s", diff)
			}
		},
	}.survive(t)
}

// A real Odoo's database goes through backup and restore unchanged.
func TestBackupRealDatabase(t *testing.T) {
	v := &vault{pg: servers.Postgres(t), s3: servers.S3(t), root: t.TempDir()}
	restoreDump(t, v.pg)
	v.pg.Exec(t, servers.PostgresSuperuser, maintenanceDatabase, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", quote(template), quote(acme.Database)))
	rows := content(t, v.pg, acme.Database)

	mustRun(t, "backup", v.environ(acme))
	before := v.s3.Size(t, "acme-023")
	mustRun(t, "backup", v.environ(acme))
	t.Logf("the first backup takes %d bytes, the second, unchanged, %d", before, v.s3.Size(t, "acme-023")-before)
	v.lose(t, acme.Database)
	mustRun(t, "restore", v.restores(acme.Database, nil))
	if diff := cmp.Diff(rows, content(t, v.pg, acme.Database)); diff != "" {
		t.Errorf("the restored database: -want, +got:\n%s", diff)
	}
}
