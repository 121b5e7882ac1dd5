package e2e

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// What the usage of processes that aren't programs of their own goes by.
const (
	// theTest is the node, the registry and all else that is not a process.
	theTest = "the test itself"

	// theJobs are all processes that have come and gone.
	theJobs = "the Jobs' programs"
)

// A usage is what the processes of one program have taken.
type usage struct {
	processor time.Duration
	memory    int64 // The most that one of them ever had, in bytes.
}

// usages of all processes that this one has started, and of those that they have,
// by program.
func usages(t testing.TB) map[string]usage {
	t.Helper()
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		t.Fatalf("cannot read /proc: %v", err)
	}
	all, err := fs.AllProcs()
	if err != nil {
		t.Fatalf("cannot list processes: %v", err)
	}
	stats := map[int]procfs.ProcStat{}
	for _, p := range all {
		// One that can't be read has just ended.
		if stat, err := p.Stat(); err == nil {
			stats[p.PID] = stat
		}
	}

	const ticks = 100 // a second; Linux has told programs so on every machine for decades.
	byProgram := map[string]usage{}
	add := func(program string, ticked uint, memory int64) {
		u := byProgram[program]
		u.processor += time.Duration(ticked) * time.Second / ticks
		u.memory = max(u.memory, memory)
		byProgram[program] = u
	}
	for _, p := range all {
		stat, ok := stats[p.PID]
		if !ok || !descends(stats, p.PID) {
			continue
		}
		status, err := p.NewStatus()
		if err != nil {
			continue
		}
		if p.PID == os.Getpid() {
			add(theTest, stat.UTime+stat.STime, int64(status.VmHWM))
			add(theJobs, uint(stat.CUTime+stat.CSTime), 0)
			continue
		}
		line, err := p.CmdLine()
		if err != nil || len(line) == 0 {
			continue
		}
		add(program(line), stat.UTime+stat.STime+uint(stat.CUTime+stat.CSTime), int64(status.VmHWM))
	}
	return byProgram
}

// descends tells whether this process has started a process, or one has that it
// has started.
func descends(stats map[int]procfs.ProcStat, pid int) bool {
	for pid > 1 {
		if pid == os.Getpid() {
			return true
		}
		pid = stats[pid].PPID
	}
	return false
}

// program that a command line runs: several are one file, and tell by their first
// argument which to be.
func program(line []string) string {
	// PostgreSQL's processes say more about themselves after a colon.
	name, _, _ := strings.Cut(path.Base(line[0]), ":")
	// A tool's file ends with what it was built of.
	if built := strings.LastIndex(name, "-"); built > 0 && len(name)-built == len("-0123456789abcdef") {
		name = name[:built]
	}
	if name == "kubernetes" && len(line) > 1 {
		return line[1]
	}
	if name == "crossplane" && slices.Contains(line, "rbac") {
		return "crossplane rbac"
	}
	return name
}
