package servers

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Roles of a PostgresServer, which are those of a real installation: who may do
// everything, who creates databases, who Odoo logs in as, who dumps databases, and
// who loads dumps.
const (
	PostgresSuperuser = "postgres"
	PostgresAdmin     = "plana"
	PostgresOdoo      = "odoo"
	PostgresBackup    = "plana_backup"
	PostgresRestore   = "plana_restore"
)

// A PostgresServer is a PostgreSQL of one test's own, on loopback. Every role logs
// in with Password, but for PostgresRestore: that one each restore gives another.
type PostgresServer struct {
	Host     string
	Port     uint16
	Password string

	// Authority is the file with the certificate of the authority that vouches for
	// this server, or "" if it speaks no TLS.
	Authority string

	// Process is the server, to be stopped and continued by tests of slowness.
	Process *os.Process
}

// Postgres starts a PostgreSQL server with the roles of a real installation, none of
// them a superuser but for its own. It is stopped at the end of the test.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	return startPostgres(t, "")
}

// PostgresWith starts such a server with settings, each as name=value.
func PostgresWith(t testing.TB, settings ...string) *PostgresServer {
	t.Helper()
	return startPostgres(t, "", settings...)
}

// PostgresTLS starts a PostgreSQL server that lets nobody in without TLS, with a
// certificate for its address and no name. It is stopped at the end of the test.
func PostgresTLS(t testing.TB) *PostgresServer {
	t.Helper()
	return startPostgres(t, certify(t, net.IPv4(127, 0, 0, 1)))
}

// startPostgres with TLS if there is a directory with a certificate.
func startPostgres(t testing.TB, certificate string, settings ...string) *PostgresServer {
	t.Helper()
	began := time.Now()
	bin := postgresPrograms(t)

	// Not t.TempDir(), whose parent only its creator may enter: PostgreSQL
	// refuses to run as root, so it may have to run as somebody else.
	dir, err := os.MkdirTemp("", "postgres-") //nolint:usetesting // See above.
	if err != nil {
		t.Fatalf("cannot make a directory for PostgreSQL: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := unprivileged(t, dir)

	s := &PostgresServer{Host: "127.0.0.1", Port: freePort(t), Password: rand.Text()}
	passwords := filepath.Join(dir, "password")
	if err := os.WriteFile(passwords, []byte(s.Password), 0o644); err != nil {
		t.Fatalf("cannot write the superuser's password: %v", err)
	}

	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(t.Context(), filepath.Join(bin, "initdb"), "--pgdata", data, "--username", PostgresSuperuser,
		"--pwfile", passwords, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("cannot initialise PostgreSQL: %v\n%s", err, out)
	}

	var encrypted []string
	if certificate != "" {
		s.Authority = filepath.Join(certificate, authorityFile)
		encrypted = encrypt(t, data, certificate, attr)
	}

	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatalf("cannot create PostgreSQL's log: %v", err)
	}
	defer log.Close() //nolint:errcheck // The server has its own handle.

	// Its end is the cleanup below, which is gentler than a context's.
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(int(s.Port)),
		"-c", "listen_addresses="+s.Host, "-c", "unix_socket_directories=",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=50")
	server.Args = append(server.Args, encrypted...)
	for _, s := range settings {
		server.Args = append(server.Args, "-c", s)
	}
	server.Dir, server.SysProcAttr = dir, attr
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatalf("cannot start PostgreSQL: %v", err)
	}
	s.Process = server.Process
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.Wait()
	}()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGCONT)
		_ = server.Process.Signal(syscall.SIGINT)
		select {
		case <-stopped:
		case <-time.After(20 * time.Second):
			// SIGKILL would leave the server's children running; this doesn't.
			_ = server.Process.Signal(syscall.SIGQUIT)
			<-stopped
		}
	})

	admin := s.waitUntilReady(t, stopped, log.Name())
	defer admin.Close(t.Context()) //nolint:errcheck // Nothing is left to be said.
	for _, sql := range []string{
		"CREATE ROLE " + PostgresRestore + " LOGIN",
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", PostgresOdoo, s.Password),
		fmt.Sprintf("CREATE ROLE %s LOGIN CREATEDB PASSWORD '%s' IN ROLE %s, pg_signal_backend", PostgresAdmin, s.Password, PostgresRestore),
		fmt.Sprintf("GRANT %s TO %s WITH ADMIN OPTION", PostgresOdoo, PostgresAdmin),
		fmt.Sprintf("CREATE ROLE %s LOGIN BYPASSRLS PASSWORD '%s' IN ROLE pg_read_all_data", PostgresBackup, s.Password),
		fmt.Sprintf("ALTER ROLE %s SET lo_compat_privileges = on", PostgresBackup),
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("cannot create PostgreSQL's roles: %v", err)
		}
	}
	// What an empty database is a copy of.
	s.Exec(t, PostgresSuperuser, "template1", "GRANT USAGE, CREATE ON SCHEMA public TO "+PostgresOdoo, "CREATE EXTENSION pg_trgm", "CREATE EXTENSION unaccent")
	t.Logf("PostgreSQL (%s) listens on port %d after %s", bin, s.Port, time.Since(began).Round(time.Millisecond))
	return s
}

// encrypt has a server that isn't running yet take connections with TLS only, and
// returns the flags that it is to be started with.
func encrypt(t testing.TB, data, certificate string, attr *syscall.SysProcAttr) []string {
	t.Helper()
	for _, name := range []string{certificateFile, keyFile} {
		// PostgreSQL takes a key only if it is the server's own.
		b, err := os.ReadFile(filepath.Join(certificate, name))
		if err != nil {
			t.Fatalf("cannot read %s: %v", name, err)
		}
		to := filepath.Join(data, name)
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatalf("cannot write PostgreSQL's %s: %v", name, err)
		}
		if c := attr.Credential; c != nil {
			if err := os.Chown(to, int(c.Uid), int(c.Gid)); err != nil {
				t.Fatalf("cannot give %s to PostgreSQL: %v", name, err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("hostssl all all 127.0.0.1/32 scram-sha-256\n"), 0o600); err != nil {
		t.Fatalf("cannot write who may connect: %v", err)
	}
	return []string{"-c", "ssl=on", "-c", "ssl_cert_file=" + certificateFile, "-c", "ssl_key_file=" + keyFile}
}

// Environ is what an effect that logs in as a role is told about this server.
func (s *PostgresServer) Environ(role string) map[string]string {
	environ := map[string]string{
		"PGHOST":     s.Host,
		"PGPORT":     strconv.Itoa(int(s.Port)),
		"PGUSER":     role,
		"PGPASSWORD": s.Password,
		"PGSSLMODE":  "disable",
	}
	if s.Authority != "" {
		environ["PGSSLMODE"], environ["PGSSLROOTCERT"] = "verify-full", s.Authority
	}
	return environ
}

// URL of a database on this server, for one role.
func (s *PostgresServer) URL(role, database string) string {
	query := url.Values{"sslmode": {"disable"}}
	if s.Authority != "" {
		query = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {s.Authority}}
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(role, s.Password),
		Host:     net.JoinHostPort(s.Host, strconv.Itoa(int(s.Port))),
		Path:     "/" + database,
		RawQuery: query.Encode(),
	}
	return u.String()
}

// Connect a role to a database until the test ends.
func (s *PostgresServer) Connect(t testing.TB, role, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL(role, database))
	if err != nil {
		t.Fatalf("cannot connect %s to database %s: %v", role, database, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// Exec statements one after the other, each in its own transaction, as a role in
// a database.
func (s *PostgresServer) Exec(t testing.TB, role, database string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL(role, database))
	if err != nil {
		t.Fatalf("cannot connect %s to database %s: %v", role, database, err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // Each statement was answered.
	for _, sql := range statements {
		// The simple protocol takes a whole script.
		if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Fatalf("%s in database %s: %v\n%s", role, database, err, sql)
		}
	}
}

// Program is the path of one of PostgreSQL's programs, such as pg_restore, of
// the version that Postgres starts.
func (s *PostgresServer) Program(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(postgresPrograms(t), name)
}

func (s *PostgresServer) waitUntilReady(t testing.TB, stopped <-chan struct{}, log string) *pgx.Conn {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		var conn *pgx.Conn
		if conn, err = pgx.Connect(t.Context(), s.URL(PostgresSuperuser, "postgres")); err == nil {
			return conn
		}
		select {
		case <-stopped:
			out, _ := os.ReadFile(log)
			t.Fatalf("PostgreSQL stopped:\n%s", out)
		case <-time.After(20 * time.Millisecond):
		}
	}
	out, _ := os.ReadFile(log)
	t.Fatalf("PostgreSQL isn't ready after 30 s: %v\n%s", err, out)
	return nil
}

// postgresPrograms is the directory of PostgreSQL's programs. Debian keeps the
// server's ones out of PATH, in a directory for each version.
func postgresPrograms(t testing.TB) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		t.Fatalf("cannot look for PostgreSQL: %v", err)
	}
	if len(found) > 0 {
		version := func(path string) int {
			n, _ := strconv.Atoi(strings.Split(path, "/")[4])
			return n
		}
		newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(newest)
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		t.Fatalf("PostgreSQL's server isn't installed: there is no /usr/lib/postgresql/*/bin/initdb, and no initdb in PATH; `make test-effects` installs it")
	}
	return filepath.Dir(path)
}

// unprivileged makes a process that root starts run as nobody, to whom dir is
// given. Either way the process ends with the test's, however that ends.
func unprivileged(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatalf("cannot run a server as somebody else than root: %v", err)
	}
	uid, uidErr := strconv.ParseUint(nobody.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(nobody.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		t.Fatalf("user nobody has no numeric ids: %v %v", uidErr, gidErr)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatalf("cannot give %s to nobody: %v", dir, err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr
}
