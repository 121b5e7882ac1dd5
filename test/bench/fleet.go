package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"

	"github.com/plana-pulse/function-planaclient/test/fleet"
)

func sortFleets(all []fleet.Fleet) {
	slices.SortFunc(all, func(a, b fleet.Fleet) int {
		return cmp.Or(cmp.Compare(a.Tenants, b.Tenants), cmp.Compare(label(a), label(b)))
	})
}

// label of a fleet in tables and plots.
func label(f fleet.Fleet) string {
	label := strconv.Itoa(f.Tenants)
	if f.Restored {
		label += ", restored"
	}
	if f.Cached {
		label += ", response cache on"
	}
	return label
}

// atRest are the fleets that were measured at rest, with Crossplane calling the
// function whenever it looked.
func atRest(all []fleet.Fleet) []fleet.Fleet {
	return slices.DeleteFunc(slices.Clone(all), func(f fleet.Fleet) bool { return f.Cached || f.Rest.Lasted == 0 })
}

// largest fleet at rest. Nil: none was measured.
func largest(all []fleet.Fleet) *fleet.Fleet {
	rested := atRest(all)
	if len(rested) == 0 {
		return nil
	}
	f := slices.MaxFunc(rested, func(a, b fleet.Fleet) int { return cmp.Compare(a.Tenants, b.Tenants) })
	return &f
}

// busiest programs, with their parts of the processor time, the function among
// them in any case.
func busiest(all map[string]fleet.Program) string {
	names := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[b].Processor, all[a].Processor), cmp.Compare(a, b))
	})
	var said []string
	for _, name := range names {
		part := float64(all[name].Processor) / float64(fleet.Processor(all))
		if part < 0.02 && name != "function" {
			continue
		}
		said = append(said, fmt.Sprintf("%s %.0f %%", name, 100*part))
	}
	return strings.Join(said, ", ")
}

// requestsPerLook that are made for a tenant, by verb, those that aren't about
// tenants included.
func requestsPerLook(f fleet.Fleet) string {
	var said []string
	for _, verb := range slices.Sorted(maps.Keys(f.Rest.Requests)) {
		if each := float64(f.Rest.Requests[verb]) / float64(f.Tenants); each >= 0.1 && verb != "WATCH" {
			said = append(said, fmt.Sprintf("%s %.1f", verb, each))
		}
	}
	return strings.Join(said, ", ")
}

// cores that a program takes of so many tenants at rest that Crossplane looks at every
// so often, if each costs what those of a fleet did.
func cores(f fleet.Fleet, program string, interval time.Duration, tenants int) float64 {
	return f.PerLook(program).Seconds() * float64(tenants) / interval.Seconds()
}

// gibibytes that a program took with so many tenants at rest, or would take, by a line
// through the smallest and the largest fleet that was measured.
func gibibytes(all []fleet.Fleet, program string, tenants int) string {
	rested := atRest(all)
	if len(rested) < 2 {
		return "not measured"
	}
	memory := func(f fleet.Fleet) float64 { return float64(f.Rest.Programs[program].Memory) }
	bySize := func(a, b fleet.Fleet) int { return cmp.Compare(a.Tenants, b.Tenants) }
	small, large := slices.MinFunc(rested, bySize), slices.MaxFunc(rested, bySize)
	each := (memory(large) - memory(small)) / float64(large.Tenants-small.Tenants)
	took := memory(small) + each*float64(tenants-small.Tenants)
	if i := slices.IndexFunc(rested, func(f fleet.Fleet) bool { return f.Tenants == tenants }); i >= 0 {
		took = memory(rested[i])
	}
	return fmt.Sprintf("%.1f GiB", took/(1<<30))
}

// programsAtRest are those whose use of a fleet at rest is drawn.
var programsAtRest = []string{"function", "crossplane", "kube-apiserver"}

// plotRest draws what fleets at rest take of processors and of memory, by how many
// tenants they are of.
func plotRest(dir string, fleets []fleet.Fleet, interval time.Duration) error {
	rested := atRest(fleets)
	if len(rested) < 2 {
		return nil // That makes no line.
	}
	for _, drawn := range []struct {
		file, title, label string
		value              func(fleet.Fleet, string) float64
	}{
		{"rest-processors.svg", "Tenants at rest, looked at every " + every(interval), "cores", func(f fleet.Fleet, program string) float64 {
			return cores(f, program, interval, f.Tenants)
		}},
		{"rest-memory.svg", "Most memory of each program, tenants at rest", "MiB", func(f fleet.Fleet, program string) float64 {
			return float64(f.Rest.Programs[program].Memory) / (1 << 20)
		}},
	} {
		var lines []any
		for _, program := range programsAtRest {
			var xy plotter.XYs
			for _, f := range rested {
				xy = append(xy, plotter.XY{X: float64(f.Tenants), Y: drawn.value(f, program)})
			}
			lines = append(lines, program, xy)
		}
		p := plot.New()
		p.Title.Text = drawn.title
		p.X.Label.Text = "tenants"
		p.Y.Label.Text = drawn.label
		p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
		p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
		p.Legend.Top, p.Legend.Left = true, true
		if err := plotutil.AddLinePoints(p, lines...); err != nil {
			return err
		}
		p.X.Max *= 1.3 // Room for the last number below it.
		if err := p.Save(14*vg.Centimeter, 8*vg.Centimeter, filepath.Join(dir, drawn.file)); err != nil {
			return err
		}
	}
	return nil
}

// plotBurst draws how many tenants were Ready by when.
func plotBurst(dir string, fleets []fleet.Fleet) error {
	if len(fleets) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text = "Tenants applied at once"
	p.X.Label.Text = "seconds"
	p.Y.Label.Text = "part of them Ready"
	var lines []any
	for _, f := range fleets {
		if f.Restored {
			continue
		}
		xy := make(plotter.XYs, len(f.Curve))
		for i, at := range f.Curve {
			xy[i].X, xy[i].Y = at.At.Seconds(), float64(at.Ready)/float64(f.Tenants)
		}
		lines = append(lines, label(f), xy)
	}
	if err := plotutil.AddLines(p, lines...); err != nil {
		return err
	}
	return p.Save(14*vg.Centimeter, 8*vg.Centimeter, filepath.Join(dir, "burst.svg"))
}
