//go:build servers

package effect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// hostileRole is the role that each effect logs in as, "" where it reaches no
// database. HOSTILE_AS=plana has all of them log in as one role, as the version
// before did: then this suite fails, and says by what.
var hostileRole = map[string]string{
	"filestore-clone":      "",
	"module-grant":         servers.PostgresOdoo,
	"module-verify":        servers.PostgresOdoo,
	"tenant-prepare":       servers.PostgresOdoo,
	"smoke-test":           "",
	"matrix-room-create":   "",
	"account-webhook":      "",
	"client-provisioned":   "",
	"backup":               servers.PostgresBackup,
	"final-backup":         servers.PostgresBackup,
	"fence":                servers.PostgresAdmin,
	"unfence":              servers.PostgresAdmin,
	"connections-drain":    servers.PostgresAdmin,
	"filestore-wipe":       "",
	"backup-tombstone":     "",
	"matrix-room-retire":   "",
	"client-deprovisioned": "",
	"restore":              servers.PostgresAdmin,
	"backup-retention":     "",
}

// mayRunTenantsCode are the roles in whose sessions a tenant's code may run: its
// own, and the one that loads a dump.
var mayRunTenantsCode = []string{servers.PostgresOdoo, servers.PostgresRestore}

// An arming is what a hostile tenant has made of its database.
type arming struct {
	reason string

	// sql files in testdata/hostile, run as Odoo's role. What alters the database as
	// a whole is run for each database anew.
	sql []string

	// bare is a database without any code in it.
	bare bool

	// hold is what sessions of the tenant's do in its database while an effect runs,
	// and elsewhere what they do in the database that all share.
	hold, elsewhere []string

	// effects that are run on it, and no others; nil for all of them.
	effects []string

	// limit is after how long an effect is told to stop, as a Job's deadline does.
	limit time.Duration
}

// intoDatabase are the effects that work in a tenant's database, or on it.
var intoDatabase = []string{"module-grant", "module-verify", "tenant-prepare", "backup", "fence", "unfence", "connections-drain"}

// shutsOut are the effects that nothing a tenant does keeps from being done.
var shutsOut = []string{"fence", "unfence", "connections-drain", "filestore-wipe", "backup-tombstone"}

func armings() map[string]arming {
	var locks []string
	for _, number := range []int64{preparationLock, loadingLock, lockOf("restore " + hostileCopy), lockOf("backup " + acme.Database)} {
		locks = append(locks, fmt.Sprintf("SELECT pg_advisory_lock(%d)", number))
	}
	return map[string]arming{
		"Code": {
			reason: "Triggers, rules, constraints, defaults, generated columns, indexes, policies, views, operators, casts, aggregates and functions of a known name all run code.",
			sql:    []string{"code.sql"},
			limit:  time.Minute,
		},
		"ForcedPolicy": {
			reason:  "A policy that holds for the owner too must not keep rows from a backup, nor run for whoever makes it.",
			sql:     []string{"policy.sql"},
			effects: intoDatabase,
			limit:   time.Minute,
		},
		"Views": {
			reason:  "What has the name of one of Odoo's tables may be a view.",
			sql:     []string{"view.sql"},
			effects: intoDatabase,
			limit:   time.Minute,
		},
		"Names": {
			reason:  "What has the name of one of PostgreSQL's own may be the tenant's.",
			sql:     []string{"names.sql"},
			effects: intoDatabase,
			limit:   time.Minute,
		},
		"Settings": {
			reason:  "The owner of a database decides how its sessions begin.",
			sql:     []string{"settings.sql"},
			effects: intoDatabase,
			limit:   time.Minute,
		},
		"Shut": {
			reason:  "The owner of a database may keep others out of it.",
			sql:     []string{"shut.sql"},
			effects: intoDatabase,
			limit:   time.Minute,
		},
		"Slow": {
			reason:  "Code may sleep, go round in circles, and not listen to being cancelled.",
			sql:     []string{"slow.sql"},
			effects: intoDatabase,
			limit:   8 * time.Second,
		},
		"Locks": {
			reason: "A session may hold any lock for as long as it likes.",
			hold: append([]string{
				"BEGIN", "LOCK TABLE ir_attachment, ir_config_parameter, ir_model_data, ir_module_module, res_company, res_partner, res_users IN ACCESS EXCLUSIVE MODE",
			}, locks...),
			elsewhere: locks,
			effects:   intoDatabase,
			limit:     8 * time.Second,
		},
	}
}

// hostileCopy is what a backup is restored as.
const hostileCopy = "acme-copy.planapulse.app"

// A siege is a server with the roles of an installation, a hostile tenant's
// database and directory, and what it must not get at.
type siege struct {
	tenant  Tenant
	pg      *servers.PostgresServer
	redis   *servers.RedisServer
	web     *httptest.Server
	root    string
	repos   string
	canary  string
	logFile string
	secrets map[string]string

	// as is the role that all effects log in as, or "".
	as string
}

// dumpOf is the dump of a real Odoo database of a version, or "". PLANA_SHARED names
// the folder that has odoo/basic-template-NN.dump, by default the one that is
// called shared beside this project.
func dumpOf(version string) string {
	for _, dir := range []string{os.Getenv("PLANA_SHARED"), filepath.Join("..", "..", "shared")} {
		path := filepath.Join(dir, "odoo", "basic-template-"+version+".dump")
		if _, err := os.Stat(path); dir != "" && err == nil {
			return path
		}
	}
	return ""
}

func newSiege(t *testing.T, version string) *siege {
	t.Helper()
	tenant := acme
	tenant.Version = version
	s := &siege{tenant: tenant, pg: servers.Postgres(t), redis: servers.Redis(t), root: t.TempDir(), repos: t.TempDir(), as: os.Getenv("HOSTILE_AS")}
	s.secrets = map[string]string{"RESTIC_PASSWORD": "restic-hush-4711", "MATRIX_ACCESS_TOKEN": "matrix-hush-4711", "ACCOUNT_WEBHOOK_SECRET": "whsec_d2ViaG9vay1odXNoLTQ3MTEtNDcxMS00NzEx", "PGPASSWORD": s.pg.Password}

	// A page of the tenant's own, which never ends.
	s.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/web/") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errcode":"M_FORBIDDEN","error":"no"}`))
			return
		}
		for r.Context().Err() == nil {
			_, _ = w.Write(bytes.Repeat([]byte("<p>"), 1<<10))
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
		}
	}))
	t.Cleanup(s.web.Close)

	// PostgreSQL's own user may write here, and nobody else is to.
	canary, err := os.MkdirTemp("", "canary-") //nolint:usetesting // A directory that only this test's user may enter would prove nothing.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, canary) })
	if err := os.Chmod(canary, 0o777); err != nil {
		t.Fatal(err)
	}
	s.canary = canary
	s.logFile = filepath.Join(filepath.Dir(one[string](t, s.pg, "postgres", "SHOW data_directory")), "log")

	s.pg.Exec(t, servers.PostgresSuperuser, "postgres", "CREATE DATABASE hostile OWNER odoo", fmt.Sprintf("CREATE DATABASE %s OWNER odoo", quote(neighbour)))
	if dump := dumpOf(version); dump != "" {
		restore := exec.CommandContext(t.Context(), s.pg.Program(t, "pg_restore"), "--no-owner", "--role", servers.PostgresOdoo,
			"--dbname", s.pg.URL(servers.PostgresSuperuser, "hostile"), dump)
		if out, err := restore.CombinedOutput(); err != nil {
			t.Fatalf("cannot restore %s: %v\n%s", dump, err, out)
		}
		s.pg.Exec(t, servers.PostgresOdoo, "hostile", "DELETE FROM ir_config_parameter WHERE key = 'planaclient.tenant'")
	} else {
		t.Logf("there is no dump of a real Odoo %s database (PLANA_SHARED): this project's own tables are used", version)
		for _, file := range []string{"odoo.sql", "odoo-" + version + ".sql"} {
			sql, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			s.pg.Exec(t, servers.PostgresOdoo, "hostile", string(sql))
		}
	}
	s.pg.Exec(t, servers.PostgresOdoo, neighbour, "CREATE TABLE res_users (login varchar)", "INSERT INTO res_users VALUES ('the neighbour')",
		"CREATE SEQUENCE base_registry_signaling", "SELECT lo_from_bytea(4711, 'the neighbour''s')")
	fill(t, s.root, 5)
	return s
}

// script of the tenant's: what is done in its database, and what to the database.
func (s *siege) script(t *testing.T, names ...string) (inside string, database []string) {
	t.Helper()
	fill := strings.NewReplacer("@ODOO@", servers.PostgresOdoo, "@NEIGHBOUR@", neighbour, "@TEMPLATE@", "hostile", "@DATABASE@", acme.Database, "@CANARY@", s.canary)
	for _, name := range names {
		sql, err := os.ReadFile(filepath.Join("testdata", "hostile", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.SplitAfter(fill.Replace(string(sql)), "\n") {
			if regexp.MustCompile(`^(ALTER|COMMENT ON|REVOKE ALL ON) DATABASE `).MatchString(line) {
				database = append(database, line)
			} else {
				inside += line
			}
		}
	}
	return inside, database
}

// arm the tenant's database with what it can do in it.
func (s *siege) arm(t *testing.T, a arming) (database []string) {
	t.Helper()
	scripts := append([]string{"payload.sql"}, a.sql...)
	if a.bare {
		scripts = nil
	}
	inside, database := s.script(t, scripts...)
	s.pg.Exec(t, servers.PostgresSuperuser, "postgres", "DROP DATABASE IF EXISTS armed WITH (FORCE)", "CREATE DATABASE armed TEMPLATE hostile OWNER odoo")
	s.pg.Exec(t, servers.PostgresOdoo, "armed", inside)
	return database
}

// besiege makes the tenant's database anew, and returns what ends its sessions.
func (s *siege) besiege(t *testing.T, a arming, database []string) (lift func()) {
	t.Helper()
	for _, name := range []string{acme.Database, hostileCopy} {
		s.pg.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(name)))
	}
	s.pg.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("CREATE DATABASE %s TEMPLATE armed OWNER odoo", quote(acme.Database)))
	s.pg.Exec(t, servers.PostgresOdoo, "postgres", database...)
	var sessions []*pgx.Conn
	hold := func(where string, statements []string) {
		if len(statements) == 0 {
			return
		}
		conn, err := pgx.Connect(t.Context(), s.pg.URL(servers.PostgresOdoo, where))
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, conn)
		for _, sql := range statements {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
	}
	hold(acme.Database, a.hold)
	hold("postgres", a.elsewhere)
	return func() {
		for _, conn := range sessions {
			_ = conn.Close(context.Background())
		}
	}
}

// environ of an effect, as its Job has it.
func (s *siege) environ(t *testing.T, name string) map[string]string {
	t.Helper()
	role, known := hostileRole[name]
	if !known {
		t.Fatalf("effect %s has no case in hostileRole: say which role it logs in as, and what it is told", name)
	}
	if role != "" && s.as != "" {
		role = s.as
	}
	environ := s.tenant.environ(s.pg.Environ(servers.PostgresOdoo), s.redis.Environ(), map[string]string{
		"PGUSER": role, "PGPASSWORD": s.pg.Password, "ODOO_ROLE": servers.PostgresOdoo, "ODOO_PASSWORD": s.pg.Password,
		"RESTORE_ROLE":   servers.PostgresRestore,
		"FILESTORE_ROOT": s.root, "TEMPLATE_DATABASE": template,
		"RESTIC_REPOSITORY": filepath.Join(s.repos, "acme-23"), "RESTIC_PASSWORD": s.secrets["RESTIC_PASSWORD"], "BACKUP_RETENTION_DAYS": "30", "BACKUP_OCCASION": firstTeardown,
		"BACKUP_REPOSITORY_BASE": s.repos, "RESTORE_AS": hostileCopy, "RESTORE_COPY": "true",
		"ODOO_MODULES": "base",
		"SMOKE_URL":    s.web.URL, "SMOKE_PATIENCE": "3s",
		"ACCOUNT_WEBHOOK_URL": s.web.URL, "ACCOUNT_WEBHOOK_SECRET": s.secrets["ACCOUNT_WEBHOOK_SECRET"], "ACCOUNT_EVENT": "tenant.provisioned", "ACCOUNT_PATIENCE": "3s",
		"EVENT_SOURCE":      "/planapulse.com/planaclients",
		"MATRIX_HOMESERVER": s.web.URL, "MATRIX_SERVER_NAME": "matrix.example", "MATRIX_ACCESS_TOKEN": s.secrets["MATRIX_ACCESS_TOKEN"], "MATRIX_ROOM": "support-acme-023", "MATRIX_PATIENCE": "3s",
	})
	return environ
}

// A world is all that isn't the tenant's, by name.
type world map[string]string

// look at all that isn't the tenant's.
func (s *siege) look(t *testing.T) world {
	t.Helper()
	w := world{}
	conn, err := pgx.Connect(t.Context(), s.pg.URL(servers.PostgresSuperuser, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for kind, sql := range map[string]string{
		"role":       "SELECT rolname::text, to_jsonb(a)::text FROM pg_authid a",
		"membership": "SELECT m.member::regrole || ' of ' || m.roleid::regrole, m.admin_option::text FROM pg_auth_members m",
		"setting": `SELECT coalesce(d.datname, 'every database') || ' of ' || setrole::regrole, setconfig::text FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase
			WHERE d.datname IS NULL OR d.datname NOT LIKE 'acme%'`,
		// Whoever may connect can have the rights of nobody's granting written out, which
		// changes none of them.
		"database": `SELECT datname::text, (to_jsonb(d) - ARRAY['datfrozenxid', 'datminmxid', 'datacl'])::text || coalesce(datacl, acldefault('d', datdba))::text || coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database d
			WHERE datname NOT LIKE 'acme%' AND datname NOT LIKE 'unfinished-restore-%'`,
		"tablespace": "SELECT spcname::text, to_jsonb(t)::text FROM pg_tablespace t",
		"parameter":  "SELECT parname, paracl::text FROM pg_parameter_acl",
	} {
		rows, err := conn.Query(t.Context(), sql)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		var name, value string
		if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
			w[kind+" "+name] = value
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	for _, database := range []string{neighbour, "postgres", "template1"} {
		for table, what := range content(t, s.pg, database) {
			w["table "+table+" in "+database] = what
		}
		w["catalogue of "+database] = one[string](t, s.pg, database, `SELECT
			(SELECT string_agg(nspname || coalesce(nspacl::text, ''), ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp') ||
			(SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension) || (SELECT count(*) FROM pg_proc) || (SELECT count(*) FROM pg_class WHERE relpersistence <> 't')`)
	}
	// Not those of the tenant: reading them takes for ever.
	entries, err := os.ReadDir(s.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "acme") {
			continue
		}
		for name, what := range tree(t, filepath.Join(s.root, e.Name())) {
			w["file "+filepath.Join(e.Name(), name)] = what
		}
	}
	for name := range tree(t, s.canary) {
		w["file of PostgreSQL's user "+name] = ""
	}
	return w
}

// heal gives roles back what an attack has taken from them, so that the next one
// finds the world as it was.
func (s *siege) heal(t *testing.T, before world) {
	t.Helper()
	for _, sql := range []string{
		"REVOKE plana, pg_read_all_data, pg_write_all_data, pg_execute_server_program, pg_read_server_files FROM odoo",
		fmt.Sprintf("ALTER DATABASE %s OWNER TO odoo", quote(neighbour)), fmt.Sprintf("ALTER DATABASE %s RESET ALL", quote(neighbour)),
		fmt.Sprintf("ALTER DATABASE %s CONNECTION LIMIT -1", quote(neighbour)), fmt.Sprintf("REVOKE ALL ON DATABASE %s FROM PUBLIC", quote(neighbour)),
		"ALTER DATABASE hostile RESET ALL",
	} {
		s.pg.Exec(t, servers.PostgresSuperuser, "postgres", sql)
	}
	for name, value := range before {
		if role, found := strings.CutPrefix(name, "role "); found && !strings.HasPrefix(role, "pg_") {
			var was struct {
				Password   *string `json:"rolpassword"`
				CreateDB   bool    `json:"rolcreatedb"`
				CreateRole bool    `json:"rolcreaterole"`
			}
			if err := json.Unmarshal([]byte(value), &was); err != nil {
				t.Fatal(err)
			}
			s.pg.Exec(t, servers.PostgresSuperuser, "postgres", "ALTER ROLE "+quote(role)+" RESET ALL")
			password := "NULL"
			if was.Password != nil {
				password = literal(*was.Password)
			}
			s.pg.Exec(t, servers.PostgresSuperuser, "postgres", "ALTER ROLE "+quote(role)+" PASSWORD "+password)
		}
	}
}

// said is what PostgreSQL's log says of the tenant's code, since an offset.
var said = regexp.MustCompile(`HOSTILE (.*)`)

// attacked tells by what, and as whom, the tenant's code has run where it mustn't,
// and what it did, from what the server's log has had since an offset.
func (s *siege) attacked(t *testing.T, since int64) (attacks []string, log string) {
	t.Helper()
	all, err := os.ReadFile(s.logFile)
	if err != nil {
		t.Fatal(err)
	}
	log = string(all[since:])
	seen, outside := map[string]bool{}, map[string]bool{}
	for _, m := range said.FindAllStringSubmatch(log, -1) {
		what := m[1]
		if by, session, ran := strings.Cut(what, " SESSION "); ran {
			way, by, _ := strings.Cut(by, " RAN AS ")
			outside[way] = !slices.Contains(mayRunTenantsCode, session) || !slices.Contains(mayRunTenantsCode, by)
		}
		// What the others do is seen by what has changed.
		way, _, _ := strings.Cut(what, " RAN AS ")
		way, _, _ = strings.Cut(way, " DID ")
		if outside[way] && !seen[what] {
			seen[what] = true
			attacks = append(attacks, what)
		}
	}
	return attacks, log
}

func (s *siege) logged(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(s.logFile)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// run an effect as a Job does: as a process that is told to stop at its deadline,
// and killed ten seconds later.
func (s *siege) run(t *testing.T, name string, environ map[string]string, limit time.Duration) (code int, took time.Duration, log string) {
	t.Helper()
	cmd, out := child(t, name, environ)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
		return cmd.ProcessState.ExitCode(), time.Since(began), out.String()
	case <-time.After(limit):
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-done
		t.Errorf("%s: told to stop after %s, it is still there 10 s later", name, limit)
	}
	return cmd.ProcessState.ExitCode(), time.Since(began), out.String()
}

// says is the error that an effect's log ends with, or "".
func lastError(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	var last struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal([]byte(lines[len(lines)-1]), &last)
	return last.Error
}

// endsWell fails the test unless an effect is done, or says to a person what is
// wrong with which tenant.
func endsWell(t *testing.T, name string, code int, log string) {
	t.Helper()
	message := lastError(log)
	switch {
	case code == ExitDone:
	case code != ExitFailed && code != ExitTerminal:
		t.Errorf("%s exits with %d:\n%s", name, code, log)
	case len(message) < 40:
		t.Errorf("%s exits with %d, and doesn't say why: %q", name, code, message)
	}
}

// keepsSecrets fails the test if a secret is in what somebody else can read.
func (s *siege) keepsSecrets(t *testing.T, where, text string) {
	t.Helper()
	for name, secret := range s.secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s shows %s", where, name)
		}
	}
}

// TestHostileTenant runs every effect on a tenant that has armed its database in
// every way there is. Nothing outside of that database and its directory changes,
// none of its code runs as anybody who may do more than its own role, no secret is
// shown, and each effect ends in time and says why.
//
// The database is a real one of Odoo 18, where there is a dump of one: see dumpOf.
func TestHostileTenant(t *testing.T) {
	s := newSiege(t, "18")
	s.besiegeAll(t, armings())
}

// TestHostileTenantVersions does the same with what has code in it, for the other
// versions of Odoo.
func TestHostileTenantVersions(t *testing.T) {
	for _, version := range []string{"17", "19"} {
		t.Run(version, func(t *testing.T) {
			if dumpOf(version) == "" {
				t.Skipf("there is no dump of a real Odoo %s database; PLANA_SHARED names the folder of odoo/basic-template-%s.dump", version, version)
			}
			code := armings()["Code"]
			code.effects = []string{"module-verify", "tenant-prepare", "backup"}
			newSiege(t, version).besiegeAll(t, map[string]arming{"Code": code})
		})
	}
}

func (s *siege) besiegeAll(t *testing.T, all map[string]arming) {
	t.Helper()
	quick := testing.Short()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a := all[name]
		if quick && a.limit < time.Minute {
			continue
		}
		t.Run(name, func(t *testing.T) {
			database := s.arm(t, a)
			for _, e := range Effects() {
				if a.effects != nil && !slices.Contains(a.effects, e.Name) {
					continue
				}
				t.Run(e.Name, func(t *testing.T) { s.try(t, a, e.Name, database) })
			}
		})
	}
}

// try one effect on one arming.
func (s *siege) try(t *testing.T, a arming, name string, database []string) {
	environ := s.environ(t, name)
	removeAll(t, filepath.Join(s.root, acme.Database))
	removeAll(t, filepath.Join(s.root, hostileCopy))
	if name == "filestore-wipe" || name == "backup" || name == "final-backup" {
		write(t, filepath.Join(s.root, acme.Database, "ab", "abcdef"), "a file")
	}
	lift := s.besiege(t, a, database)
	defer lift()
	switch name {
	case "fence", "unfence":
		handOver(t, s.pg, servers.PostgresAdmin)
	case "connections-drain":
		s.pg.Exec(t, servers.PostgresSuperuser, "postgres", fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS false", quote(acme.Database)))
	}

	before := s.look(t)
	neighbours, err := pgx.Connect(t.Context(), s.pg.URL(servers.PostgresOdoo, neighbour))
	if err != nil {
		t.Fatal(err)
	}
	defer neighbours.Close(context.Background())
	since := s.logged(t)

	code, took, log := s.run(t, name, environ, a.limit)
	t.Logf("exit code %d after %s: %s", code, took.Round(time.Millisecond), lastError(log))

	endsWell(t, name, code, log)
	if slices.Contains(shutsOut, name) && code != ExitDone {
		t.Errorf("%s\nit keeps the tenant from being shut out:\n%s", a.reason, log)
	}
	s.keepsSecrets(t, "the effect's log", log)
	attacks, serverLog := s.attacked(t, since)
	s.keepsSecrets(t, "PostgreSQL's log", serverLog)
	for _, attack := range attacks {
		t.Errorf("%s\nthe tenant's code: %s", a.reason, attack)
	}
	if err := neighbours.Ping(t.Context()); err != nil {
		t.Errorf("%s\nthe neighbour's session has ended: %v", a.reason, err)
	}
	if diff := cmp.Diff(before, s.look(t)); diff != "" {
		t.Errorf("%s\nwhat isn't the tenant's has changed: -before, +after:\n%s", a.reason, diff)
	}
	if t.Failed() {
		s.heal(t, before)
	}
}

// TestHostileRestore restores the backup of an armed database. What is in it runs
// as who loads it, who owns nothing else.
func TestHostileRestore(t *testing.T) {
	s := newSiege(t, "18")
	a := armings()["Code"]
	database := s.arm(t, a)
	lift := s.besiege(t, a, database)
	defer lift()
	removeAll(t, filepath.Join(s.root, acme.Database))
	code, _, log := s.run(t, "backup", s.environ(t, "backup"), a.limit)
	if code != ExitDone {
		t.Fatalf("backup exits with %d:\n%s", code, log)
	}
	before, since := s.look(t), s.logged(t)
	code, took, log := s.run(t, "restore", s.environ(t, "restore"), a.limit)
	t.Logf("exit code %d after %s: %s", code, took.Round(time.Millisecond), lastError(log))
	endsWell(t, "restore", code, log)
	s.keepsSecrets(t, "the effect's log", log)
	attacks, _ := s.attacked(t, since)
	for _, attack := range attacks {
		t.Errorf("the tenant's code: %s", attack)
	}
	if diff := cmp.Diff(before, s.look(t)); diff != "" {
		t.Errorf("what isn't the tenant's has changed: -before, +after:\n%s", diff)
	}
}

// TestHostileFiles has every effect that is given files meet each hostile one.
// Those that don't keep a backup from being made are passed over in it; for the
// others it says which file is in the way.
func TestHostileFiles(t *testing.T) {
	s := newSiege(t, "18")
	lift := s.besiege(t, arming{}, s.arm(t, arming{bare: true}))
	defer lift()
	s.pg.Exec(t, servers.PostgresOdoo, acme.Database, "CREATE TABLE IF NOT EXISTS ir_attachment (id serial, store_fname varchar)")

	const limit = 2 * time.Minute
	inTheWay := map[string]string{
		"Deep":   `directory "deep/deep/`,
		"Sparse": `file "ba/ba` + strings.Repeat("ab", 19) + `" is 1099511627776 bytes long`,
	}
	for _, name := range slices.Sorted(maps.Keys(hostileFiles())) {
		file := hostileFiles()[name]
		t.Run(name, func(t *testing.T) {
			for _, e := range []string{"filestore-clone", "backup", "filestore-wipe"} {
				t.Run(e, func(t *testing.T) {
					dir := filepath.Join(s.root, acme.Database)
					removeAll(t, dir)
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					write(t, filepath.Join(dir, "ab", strings.Repeat("cd", 20)), "one of Odoo's")
					if e == "filestore-clone" {
						write(t, filepath.Join(dir, cloneBegun), acmesMark)
					}
					file.put(t, dir)
					before := s.look(t)
					code, took, log := s.run(t, e, s.environ(t, e), limit)
					t.Logf("exit code %d after %s: %s", code, took.Round(time.Millisecond), lastError(log))
					endsWell(t, e, code, log)
					if took > limit {
						t.Errorf("%s: it was told to stop", file.reason)
					}
					says := inTheWay[name]
					if e == "backup" && ((code == ExitDone) != (says == "") || !strings.Contains(lastError(log), says)) {
						t.Errorf("%s: want an error that has %q:\n%s", file.reason, says, log)
					}
					if e == "filestore-wipe" && code != ExitDone {
						t.Errorf("%s: it isn't wiped", file.reason)
					}
					s.keepsSecrets(t, "the effect's log", log)
					if diff := cmp.Diff(before, s.look(t)); diff != "" {
						t.Errorf("%s\nwhat isn't the tenant's has changed: -before, +after:\n%s", file.reason, diff)
					}
				})
			}
		})
	}
}
