//go:build servers

package effect

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// What the backup of a large tenant may cost.
const (
	mostMemory = 64 << 20
	mostGrowth = 0.01
)

// BenchmarkBackup backs up and restores a tenant with a database of 1 GB and a
// filestore of 1 GB in 10,000 files, with the effects' own binary, which
// EFFECT_BINARY names. It fails if that takes more memory, or the second backup
// more storage, than it may; and writes what it measured to the page that
// BENCH_EFFECTS_PAGE names.
func BenchmarkBackup(b *testing.B) {
	binary := os.Getenv("EFFECT_BINARY")
	if binary == "" {
		b.Skip("`make bench-effects` runs this")
	}
	v := &vault{pg: servers.Postgres(b), s3: servers.S3(b), root: b.TempDir()}
	v.addLargeDatabase(b)
	files := v.addManyFiles(b, 10_000, 100_000)
	size := one[int64](b, v.pg, acme.Database, "SELECT pg_database_size(current_database())")
	rows, sums := content(b, v.pg, acme.Database), fileSums(b, filepath.Join(v.root, acme.Database))

	for b.Loop() {
		page := &bytes.Buffer{}
		fmt.Fprintf(page, benchmarkPage, machine(b), mebibytes(size), len(sums)-256, mebibytes(files))

		var stored int64
		for _, phase := range []struct {
			title, effect string
		}{
			{"first `backup`", "backup"},
			{"second `backup`, of an unchanged tenant", "backup"},
			{"`final-backup`, which reads everything back", "final-backup"},
			{"`restore`", "restore"},
		} {
			if phase.effect == "restore" {
				v.lose(b, acme.Database)
			}
			environ := v.environ(acme)
			if phase.effect == "restore" {
				environ = v.restores(acme.Database, nil)
			}
			m := measure(b, binary, phase.effect, environ)
			now := v.s3.Size(b, "acme-023")
			growth := float64(now-stored) / float64(max(stored, 1))
			added := fmt.Sprintf("%s (%.2f %%)", mebibytes(now-stored), 100*growth)
			if stored == 0 {
				added = mebibytes(now)
			}
			fmt.Fprintf(page, "| %s | %s | %s | %s | %s | %s | %s |\n", phase.title, m.took.Round(100*time.Millisecond), mebibytes(m.memory["function"]),
				mebibytes(m.memory["restic"]), mebibytes(max(m.memory["pg_dump"], m.memory["pg_restore"])), mebibytes(m.temporary), added)
			b.ReportMetric(float64(m.memory["function"])/(1<<20), strings.ReplaceAll(phase.effect, "-", "_")+"-MiB")
			if m.memory["function"] >= mostMemory {
				b.Errorf("%s: our process took %s, which is more than %s", phase.title, mebibytes(m.memory["function"]), mebibytes(mostMemory))
			}
			if stored > 0 && growth >= mostGrowth {
				b.Errorf("%s: the repository grew by %.2f %%, which is more than %.2f %%", phase.title, 100*growth, 100*mostGrowth)
			}
			stored = now
		}

		if diff := cmp.Diff(rows, content(b, v.pg, acme.Database)); diff != "" {
			b.Errorf("the restored database: -want, +got:\n%s", diff)
		}
		if diff := cmp.Diff(sums, fileSums(b, filepath.Join(v.root, acme.Database))); diff != "" {
			b.Errorf("the restored filestore: -want, +got:\n%s", diff)
		}
		if path := os.Getenv("BENCH_EFFECTS_PAGE"); path != "" && !b.Failed() {
			if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
				b.Fatal(err)
			}
		}
		b.Log("\n" + page.String())
	}
}

const benchmarkPage = `# What a backup costs

Written by ` + "`make bench-effects`" + `, which fails if our own process takes 64 MiB or
more, if a backup of an unchanged tenant adds 1 %% or more to the repository, or if
what is restored differs by one byte from what was backed up. Object storage is an
S3 server on the same machine, so the times say little of a network's.

%s
The tenant: a database of %s, and %d files of together %s.

| what | took | our memory | restic's | pg_dump's or pg_restore's | temporary files | added to the repository |
|---|---|---|---|---|---|---|
`

// addLargeDatabase makes a database of about 1 GB: half of it text, and half
// what doesn't compress.
func (v *vault) addLargeDatabase(b *testing.B) {
	b.Helper()
	v.addDatabase(b, acme.Database)
	v.pg.Exec(b, servers.PostgresOdoo, acme.Database,
		"CREATE TABLE mail_message (id serial PRIMARY KEY, date timestamp, body text)",
		`INSERT INTO mail_message (date, body)
			SELECT '2026-01-01'::timestamp + n * interval '1 minute', 'Dear customer, ' || repeat('your order ' || n || ' has shipped. ', 14) FROM generate_series(1, 1000000) n`,
		"CREATE TABLE account_document (id serial PRIMARY KEY, content bytea)",
		"ALTER TABLE account_document ALTER content SET STORAGE EXTERNAL",
		`INSERT INTO account_document (content) SELECT decode((SELECT string_agg(md5(n || '-' || k), '') FROM generate_series(1, 120) k), 'hex') FROM generate_series(1, 230000) n`)
}

// addManyFiles to the tenant's filestore, and returns their bytes.
func (v *vault) addManyFiles(b *testing.B, n, size int) int64 {
	b.Helper()
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, size)
	for range n {
		_, _ = random.Read(content)
		sum := sha1.Sum(content)
		name := hex.EncodeToString(sum[:])
		dir := filepath.Join(v.root, acme.Database, name[:2])
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return int64(n) * int64(size)
}

// A measurement of one effect's run.
type measurement struct {
	took time.Duration

	// memory is the most that a process of each program had resident.
	memory map[string]int64

	// temporary is the most that was in temporary files at one time.
	temporary int64
}

// measure one run of an effect, by what the kernel says of it and of the
// programs that it starts.
func measure(b *testing.B, binary, name string, environ map[string]string) measurement {
	b.Helper()
	temporary := b.TempDir()
	var log bytes.Buffer
	cmd := exec.CommandContext(b.Context(), binary, "effect", name)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temporary}
	for key, value := range environ {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	cmd.Stdout, cmd.Stderr = &log, &log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	m := measurement{memory: map[string]int64{}}
	for {
		var files int64
		for _, pid := range append(children(cmd.Process.Pid), cmd.Process.Pid) {
			program, memory := resident(pid)
			m.memory[program] = max(m.memory[program], memory)
			files += openBelow(pid, temporary)
		}
		m.temporary = max(m.temporary, files)
		select {
		case err := <-ended:
			m.took = time.Since(began)
			if err != nil {
				b.Fatalf("%s: %v\n%s", name, err, log.String())
			}
			return m
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// children of a process.
func children(pid int) []int {
	var pids []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

var (
	programName = regexp.MustCompile(`(?m)^Name:\s*(\S+)`)
	mostEver    = regexp.MustCompile(`(?m)^VmHWM:\s*(\d+) kB`)
)

// resident is the most memory that a process ever had, and its program.
func resident(pid int) (string, int64) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	name, most := programName.FindSubmatch(text), mostEver.FindSubmatch(text)
	if name == nil || most == nil {
		return "", 0
	}
	kilobytes, _ := strconv.ParseInt(string(most[1]), 10, 64)
	return string(name[1]), kilobytes << 10
}

// openBelow is how large the files are that a process has open below a
// directory. restic removes its temporary files as soon as it has opened them,
// so that they can be seen in no other way.
func openBelow(pid int, dir string) int64 {
	var size int64
	handles, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, handle := range handles {
		if target, err := os.Readlink(handle); err != nil || !strings.HasPrefix(target, dir) {
			continue
		}
		if info, err := os.Stat(handle); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
	}
	return size
}

// machine says what the benchmark runs on.
func machine(b *testing.B) string {
	b.Helper()
	first := func(file, pattern string) string {
		text, _ := os.ReadFile(file)
		if found := regexp.MustCompile(pattern).FindSubmatch(text); found != nil {
			return string(found[1])
		}
		return "unknown"
	}
	version := func(program string, args ...string) string {
		out, err := exec.CommandContext(b.Context(), program, args...).Output()
		if err != nil {
			b.Fatalf("%s: %v", program, err)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return line
	}
	memory, _ := strconv.ParseInt(first("/proc/meminfo", `MemTotal:\s*(\d+)`), 10, 64)
	lines := []string{
		time.Now().UTC().Format("2006-01-02"),
		fmt.Sprintf("%d cores of %s, %s of memory", runtime.NumCPU(), first("/proc/cpuinfo", `model name\s*: (.*)`), mebibytes(memory<<10)),
		first("/etc/os-release", `PRETTY_NAME="(.*)"`) + ", " + runtime.Version(),
		"load average when it began: " + first("/proc/loadavg", `(\S+)`),
		version("pg_dump", "--version"),
		version("restic", "version"),
	}
	for i, line := range lines {
		lines[i] = "* " + line + "\n"
	}
	return "It ran on:\n\n" + strings.Join(lines, "")
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
