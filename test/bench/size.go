package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A sizeResult is what the function weighs.
type sizeResult struct {
	// Binary, and Package: what a node has to fetch, compressed. Zero if make
	// package hasn't been run.
	Binary  int64
	Package int64

	// Modules by what they add to the code and data of the binary, largest first.
	Modules []moduleSize
}

// A moduleSize is what one module, or the standard library, adds to a binary.
type moduleSize struct {
	Name  string
	Bytes uint64
}

// measureSize of the binary as released, and of what it is made of.
func measureSize(ctx context.Context, root, function string) (sizeResult, error) {
	info, err := os.Stat(function)
	if err != nil {
		return sizeResult{}, err
	}
	s := sizeResult{Binary: info.Size()}
	if info, err := os.Stat(filepath.Join(root, "_output", "function-planaclient.xpkg")); err == nil {
		s.Package = info.Size()
	}

	// The same once more, with the table of symbols.
	symbols := function + ".symbols"
	defer os.Remove(symbols) //nolint:errcheck // Nobody needs it any more.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", symbols, ".")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return sizeResult{}, fmt.Errorf("cannot build with symbols: %w: %s", err, b)
	}
	s.Modules, err = modulesOf(symbols)
	return s, err
}

// modulesOf a binary, by the sizes of their symbols.
func modulesOf(path string) ([]moduleSize, error) {
	build, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	names := []string{build.Main.Path}
	for _, m := range build.Deps {
		names = append(names, m.Path)
	}

	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // It was only read.
	symbols, err := file.Symbols()
	if err != nil {
		return nil, err
	}
	sizes := map[string]uint64{}
	for _, symbol := range symbols {
		// Memory that is zero at the start takes no room in the file.
		if i := int(symbol.Section); i < len(file.Sections) && file.Sections[i].Type != elf.SHT_NOBITS {
			sizes[moduleOf(symbol.Name, names)] += symbol.Size
		}
	}
	if tables := file.Section(".gopclntab"); tables != nil {
		sizes["tables of functions and lines"] += tables.Size
	}

	all := make([]moduleSize, 0, len(sizes))
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		all = append(all, moduleSize{Name: name, Bytes: sizes[name]})
	}
	slices.SortStableFunc(all, func(a, b moduleSize) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return all, nil
}

// moduleOf a symbol, which begins with its package's path.
func moduleOf(symbol string, modules []string) string {
	symbol = strings.TrimPrefix(symbol, "type:.eq.")
	longest := ""
	for _, m := range modules {
		// A dot in the last element of a path is escaped in symbols.
		dir, last := filepath.Split(m)
		for _, prefix := range []string{m, dir + strings.ReplaceAll(last, ".", "%2e")} {
			if strings.HasPrefix(symbol, prefix) && len(m) > len(longest) {
				longest = m
			}
		}
	}
	switch first, _, _ := strings.Cut(symbol, "/"); {
	case longest != "":
		return longest
	case strings.HasPrefix(symbol, "main."):
		return modules[0]
	case !strings.Contains(first, ":") && !strings.Contains(first, "%"):
		return "standard library"
	default:
		return "types, strings and other data"
	}
}
