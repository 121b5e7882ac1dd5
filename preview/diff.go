package preview

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// Diff writes what changes of tenants at rest, once their manifests or their installation
// are changed from an old form to a new one. What neither changes isn't written.
func Diff(w io.Writer, from, to *Input, what WhatIf) error {
	s, err := newStage(from, what)
	if err != nil {
		return fmt.Errorf("as it was: %w", err)
	}
	if err := s.settle(); err != nil {
		return fmt.Errorf("as it was: %w", err)
	}
	before := s.rest()

	if to.Platform != nil {
		if _, err := v1beta1.Parse(to.Platform); err != nil {
			return fmt.Errorf("as it will be: %w", err)
		}
		s.cluster.SetInput(to.Platform)
	}
	for _, xr := range to.Tenants {
		if name := text(xr, "metadata", "name"); !slices.Contains(s.names, name) {
			return fmt.Errorf("cannot tell what changes of PLANAClient %s: as it was, there are only: %s", name, strings.Join(s.names, ", "))
		}
		s.cluster.Edit(text(xr, "metadata", "name"), func(body map[string]any) { body["spec"] = merged(body["spec"], xr["spec"]) })
	}
	if err := s.settle(); err != nil {
		return fmt.Errorf("as it will be: %w", err)
	}
	after := s.rest()
	lives, err := s.lives()
	if err != nil {
		return fmt.Errorf("as it will be: %w", err)
	}
	for _, l := range lives {
		if l.Refused != "" {
			return fmt.Errorf("the function refuses PLANAClient %s: %s", l.Tenant, l.Refused)
		}
	}

	same := true
	for _, name := range slices.Sorted(maps.Keys(union(before, after))) {
		if before[name] == after[name] {
			continue
		}
		same = false
		d, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{
			A: difflib.SplitLines(before[name]), B: difflib.SplitLines(after[name]),
			FromFile: name + " (as it is)", ToFile: name + " (as it will be)", Context: 3,
		})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, d); err != nil {
			return err
		}
	}
	if same {
		_, err = io.WriteString(w, "Nothing changes for a tenant at rest.\n")
	}
	return err
}

// rest is what is desired of all tenants in the end, as YAML by what it is.
func (s *stage) rest() map[string]string {
	out := map[string]string{}
	for _, name := range s.names {
		c := s.recorder.last[name]
		if c == nil {
			continue
		}
		for key, o := range c.Desired {
			out[objectOf(key, o).String()] = plain(o)
		}
		status := &structpb.Struct{Fields: map[string]*structpb.Value{"status": c.Composite.GetFields()["status"]}}
		out["PLANAClient "+name] = plain(status)
	}
	return out
}

func plain(s *structpb.Struct) string {
	y, err := yaml.Marshal(s.AsMap())
	if err != nil {
		return err.Error()
	}
	return string(y)
}

// merged is a new spec, with what Crossplane has put into the old one.
func merged(old, spec any) any {
	out, _ := spec.(map[string]any)
	out = maps.Clone(out)
	if crossplane := dig(old, "crossplane"); crossplane != nil {
		out["crossplane"] = crossplane
	}
	return out
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
