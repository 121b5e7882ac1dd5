package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/plana-pulse/function-planaclient/test/fleet"
	"github.com/plana-pulse/function-planaclient/test/pages"
)

// writeReport turns the results in a folder into performance.md and its plots in
// another.
func writeReport(root, results, docs string) error {
	var r struct {
		result
		Fleets []fleet.Fleet

		// Advised is how often Crossplane looks at everything where it is told what the
		// installation guide says, and Usual how often it does otherwise.
		Advised, Usual time.Duration
	}
	if err := readJSON(filepath.Join(results, "calls.json"), &r.result); err != nil {
		return fmt.Errorf("run make bench first: %w", err)
	}
	fleets, err := filepath.Glob(filepath.Join(results, "fleet-*.json"))
	if err != nil {
		return err
	}
	for _, file := range fleets {
		var f fleet.Fleet
		if err := readJSON(file, &f); err != nil {
			return err
		}
		r.Fleets = append(r.Fleets, f)
	}
	sortFleets(r.Fleets)
	r.Usual = time.Hour
	if r.Advised, err = advisedInterval(root); err != nil {
		return err
	}

	plots := filepath.Join(docs, "performance")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	if err := plotLatencies(plots, r.Calls); err != nil {
		return err
	}
	if err := plotBurst(plots, r.Fleets); err != nil {
		return err
	}
	if err := plotRest(plots, r.Fleets, r.Advised); err != nil {
		return err
	}

	page, err := template.New("performance").Funcs(template.FuncMap{
		"label":    label,
		"us":       func(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d)/float64(time.Microsecond)) },
		"ms":       func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) },
		"s":        func(d time.Duration) string { return fmt.Sprintf("%.0f s", d.Seconds()) },
		"kib":      func(n int) string { return fmt.Sprintf("%.1f KiB", float64(n)/1024) },
		"kib64":    func(n int64) string { return fmt.Sprintf("%.0f KiB", float64(n)/1024) },
		"mib":      func(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) },
		"umib":     func(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) },
		"n":        func(x float64) string { return fmt.Sprintf("%.0f", x) },
		"x":        func(x float64) string { return fmt.Sprintf("%.2f", x) },
		"pct":      func(x float64) string { return fmt.Sprintf("%.0f %%", 100*x) },
		"top":      func(m []moduleSize) []moduleSize { return m[:min(len(m), 12)] },
		"memory":   func(programs map[string]fleet.Program, program string) int64 { return programs[program].Memory },
		"busiest":  busiest,
		"requests": requestsPerLook,
		"largest":  largest,
		"atRest":   atRest,
		"gib":      gibibytes,
		"sizes":    func() []int { return []int{100, 1_000, 10_000, 100_000} },
		"every":    every,
		"calls": func(all []fleet.Fleet, interval time.Duration, tenants int) string {
			return fmt.Sprintf("%.1f", largest(all).CallsPerHour(interval)*float64(tenants)/time.Hour.Seconds())
		},
		"cores": func(all []fleet.Fleet, interval time.Duration, program string, tenants int) string {
			return fmt.Sprintf("%.2f", cores(*largest(all), program, interval, tenants))
		},
	}).Parse(pageTemplate)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := page.Execute(&b, r); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance.md"), []byte(b.String()), 0o644)
}

// advisedInterval is what the installation guide has Crossplane told of how often to
// look at everything.
func advisedInterval(root string) (time.Duration, error) {
	values, err := pages.CrossplaneValues(root)
	if err != nil {
		return 0, err
	}
	for _, arg := range pages.CrossplaneArgs(values) {
		if interval, ok := strings.CutPrefix(arg, "--sync-interval="); ok {
			return time.ParseDuration(interval)
		}
	}
	return 0, errors.New("the installation guide doesn't say how often Crossplane is to look")
}

// every so often, in words.
func every(d time.Duration) string {
	if d == time.Hour {
		return "hour"
	}
	return fmt.Sprintf("%g hours", d.Hours())
}

func readJSON(file string, into any) error {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s isn't there", file)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("cannot read %s: %w", file, err)
	}
	return nil
}

// pageTemplate holds the words. Every figure comes out of a run.
const pageTemplate = `<!-- Written by make bench-report from what make bench and make bench-fleet have measured, which is in test/bench/results. Don't edit. -->

# What it costs

Measured on {{.Machine.Date}} at commit {{.Machine.Commit}}, with {{.Machine.Go}} on {{.Machine.Cores}} cores of
{{.Machine.CPU}}, whose load average was {{.Machine.Load}} when it began. Other work on the machine makes
times longer, so each figure of the function stands beside that of an *echo*, taken in turns
with it in the same run: a server that reads the same request, writes the same response, and
does nothing else. No composition function in Go can cost less. The number to look at is the
ratio of the two.

## A call

Over gRPC with mTLS on loopback, with requests as Crossplane sent them, managed fields
included ([fn/tenant/testdata/requests](../fn/tenant/testdata/requests)). Both servers have one core.

| call | request | response | processor time: echo | function | ratio | function: p50 | p99 | calls/s per core |
|---|---|---|---|---|---|---|---|---|
{{- range .Calls}}
| {{.Name}} | {{kib .RequestBytes}} | {{kib .ResponseBytes}} | {{us .Echo.CPU}} | {{us .Function.CPU}} | **{{x .Ratio}}** | {{ms .Function.P50}} | {{ms .Function.P99}} | {{n .Function.PerCore}} |
{{- end}}

What decoding, answering and encoding allocate:

| call | echo | function |
|---|---|---|
{{- range .Calls}}
| {{.Name}} | {{.Echo.Allocations}} allocations, {{kib64 .Echo.Bytes}} | {{.Function.Allocations}} allocations, {{kib64 .Function.Bytes}} |
{{- end}}

{{range .Calls}}![Latency of {{.Name}} calls](performance/latency-{{.Name}}.svg)
{{end}}
## Two replicas

Crossplane keeps one connection to each replica and calls them in turns. One replica on one
core answered {{n .Scale.One}} steady calls a second; two answered {{n .Scale.Two}}, of which they did {{pct (index .Scale.Shares 0)}}
and {{pct (index .Scale.Shares 1)}}. (The callers share the machine's cores with them.) A replica that
is added later is found within five minutes, when the function ends its connections so that
Crossplane connects anew.
{{if .Scale.Memory}}
Called by 100 at once, which is the most that Crossplane does by default, with the largest of the
requests above, a replica had {{mib .Scale.Memory}} at its most.
{{end}}
## Start and size

From exec to the first answer: {{ms .Start.Median}} (median of {{len .Start.All}} starts). The binary has {{mib .Size.Binary}}
{{- if .Size.Package}}, the package {{mib .Size.Package}}{{end}}. What it is made of:

| module | code and data |
|---|---|
{{- range top .Size.Modules}}
| {{.Name}} | {{umib .Bytes}} |
{{- end}}
{{if .Fleets}}
## Many tenants

On a real control plane (API server, etcd, Crossplane, provider-sql, PostgreSQL, Traefik, all on one
machine; see [test/e2e](../test/e2e)), in which the Jobs' programs end at once: what is measured is
what it costs to say what should exist, and to have it so.

### All at once

| tenants | measured | all Ready after | tenants/s | function calls, each | API requests, each | function: most memory | Crossplane | API server | all gone after their delete |
|---|---|---|---|---|---|---|---|---|---|
{{- range .Fleets}}{{if not .Restored}}
| {{label .}} | {{.Date}}, {{.Commit}} | {{s .Ready}} | {{x .Rate}} | {{n .CallsEach}} | {{n .RequestsEach}} | {{mib (memory .Programs "function")}} | {{mib (memory .Programs "crossplane")}} | {{mib (memory .Programs "kube-apiserver")}} | {{if .Gone}}{{s .Gone}}{{else}}not measured{{end}} |
{{- end}}{{end}}

What took the processors until then:

| tenants | of their time, taken | by |
|---|---|---|
{{- range .Fleets}}{{if not .Restored}}
| {{label .}} | {{pct .Busy}} | {{busiest .Programs}} |
{{- end}}{{end}}

![Tenants Ready over time](performance/burst.svg)

Most of it is what Crossplane asks of the API server: each time that it looks at a tenant it applies
all that the tenant consists of, whatever has changed. Tenants that come together share each
namespace's ResourceQuota, which changes with every pod, and who is about to start a Job there
depends on it. With hundreds of them at once Crossplane's circuit breaker opens for most, even with
--circuit-breaker-burst=500; those then go on because they have themselves asked every second.
Rows of 2026-11-22 are of a Crossplane under its chart's own limits, which slow it down; later ones
of one that has what the [installation guide](how-to/install.md) gives it.

### At rest

Left alone, with Crossplane looking at everything every --sync-interval, and at each guard every
--poll-interval, as it does (started again with both so short that it does once in the time that was
measured). Those called *restored* were put there as out of a backup,
which shows also that no effect runs again for a tenant that is restored.

| tenants | measured | watched for | function calls, for a tenant and a look | API requests, for a tenant and a look | writes | objects, each | in etcd, each | function: most memory | Crossplane | API server | all looked at after a start of Crossplane |
|---|---|---|---|---|---|---|---|---|---|---|---|
{{- range .Fleets}}{{if .Rest.Lasted}}
| {{label .}} | {{.Date}}, {{.Commit}} | {{s .Rest.Lasted}} | {{x .CallsPerLook}} | {{requests .}} | {{.Rest.Writes}} | {{x .ObjectsEach}} | {{kib .EtcdEach}} | {{mib (memory .Rest.Programs "function")}} | {{mib (memory .Rest.Programs "crossplane")}} | {{mib (memory .Rest.Programs "kube-apiserver")}} | {{if .FirstLook}}{{s .FirstLook}}{{else}}not measured{{end}} |
{{- end}}{{end}}
{{if gt (len (atRest .Fleets)) 1}}
![What a fleet at rest takes of processors](performance/rest-processors.svg)
![What a fleet at rest takes of memory](performance/rest-memory.svg)
{{end}}{{end}}
## What it means

A tenant at rest asks for no call of its own{{if not .Fleets}} (what it is to Crossplane and the API server hasn't been
measured here: make bench-fleet does){{end}}. But Crossplane looks at every tenant every so often: once for
each kind that it consists of or that it depends on, its Composition and its Platform included, and
each time it applies all that the function says, which changes nothing. How often is its --sync-interval: an
{{every .Usual}}, unless it is told otherwise, and {{every .Advised}} where it is told what the [installation
guide](how-to/install.md) says. What changes is seen without it. Each tenant's guard it looks at every
--poll-interval, with a read and a write that changes nothing: every minute, unless it is told otherwise,
which is then most of what a fleet at rest costs.
{{with largest .Fleets}}
By what the {{label .}} above took at rest, the function is called for each tenant

| Crossplane looks | calls an hour |
|---|---|
| every {{every $.Usual}} | {{x (.CallsPerHour $.Usual)}} |
| every {{every $.Advised}} | {{x (.CallsPerHour $.Advised)}} |

and a fleet that is looked at every {{every $.Advised}} costs all replicas together

| tenants | function calls/s | cores: function | Crossplane | API server | memory: Crossplane | API server |
|---|---|---|---|---|---|---|
{{- range sizes}}
| {{.}} | {{calls $.Fleets $.Advised .}} | {{cores $.Fleets $.Advised "function" .}} | {{cores $.Fleets $.Advised "crossplane" .}} | {{cores $.Fleets $.Advised "kube-apiserver" .}} | {{gib $.Fleets "crossplane" .}} | {{gib $.Fleets "kube-apiserver" .}} |
{{- end}}

if each tenant costs what those did. Memory is what was measured, or else grows as it did from the smallest
to the largest fleet. A look at a large fleet takes fewer calls: a tenant that still waits to be looked at
for one kind isn't looked at again for the next.

So the function isn't what limits a fleet. Two replicas with a limit of one core and 128 MiB each
do for any of these; they are two for the sake of rollouts. What limits it is the memory of Crossplane, which
the installation guide limits, and of the API server: a hundred thousand tenants want several control planes.
What a large fleet at rest costs of processors is Crossplane's looks, and
above all what they ask of the API server. With --enable-function-response-cache (alpha in Crossplane 2.4) the
function isn't called at all by them: an answer to a tenant at rest holds for a day.
{{end}}
A tenant that comes to be changes some 150 times within seconds. Crossplane's circuit breaker, of
whose hundred tokens a change takes two, takes that for a loop after fifty and stops listening
for five minutes; the function then has itself asked every second. With
--circuit-breaker-burst=500, as here, it goes on listening to a tenant that comes by itself.
`
