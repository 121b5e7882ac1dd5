package main

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

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

// largest fleet at rest for which Crossplane called the function whenever it looked.
// Nil: none was measured.
func largest(all []fleet.Fleet) *fleet.Fleet {
	var found *fleet.Fleet
	for i, f := range all {
		if !f.Cached && f.Rest.Lasted > 0 && (found == nil || f.Tenants > found.Tenants) {
			found = &all[i]
		}
	}
	return found
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
		if each := float64(f.Rest.Requests[verb]) / float64(f.Tenants) / f.Rest.Looks; each >= 0.1 && verb != "WATCH" {
			said = append(said, fmt.Sprintf("%s %.1f", verb, each))
		}
	}
	return strings.Join(said, ", ")
}

// plotFleets draws how many tenants were Ready by when.
func plotFleets(dir string, fleets []fleet.Fleet) error {
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
