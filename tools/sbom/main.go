// Package main writes a CycloneDX bill of materials of a Go binary: the modules
// that it was built from, as the linker has recorded them in it. The same binary
// always gives the same bill. With a lock of Debian's packages, it is the bill of the
// image that holds both.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("sbom: ")

	binary := flag.String("binary", "", "Go binary to write the bill of.")
	version := flag.String("version", "", "Version of the binary.")
	created := flag.String("created", "", "When the source was committed, as RFC 3339 has it.")
	lock := flag.String("debian", "", "Lock of the Debian packages in the image. Empty: the bill is of the binary alone.")
	arch := flag.String("arch", "amd64", "Architecture of the packages.")
	flag.Parse()

	bom, err := bill(*binary, *version, *created)
	if err == nil && *lock != "" {
		err = addDebian(bom, *lock, *arch, *version)
	}
	if err == nil {
		err = cdx.NewBOMEncoder(os.Stdout, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	}
	if err != nil {
		log.Fatalf("cannot write the bill of %s: %v", *binary, err)
	}
}

// bill of a binary.
func bill(binary, version, created string) (*cdx.BOM, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}

	sum := sha256.Sum256(content)
	main := component(&debug.Module{Path: info.Main.Path, Version: version})
	main.Type = cdx.ComponentTypeApplication
	main.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	main.Properties = &[]cdx.Property{
		{Name: "goos", Value: setting(info, "GOOS")},
		{Name: "goarch", Value: setting(info, "GOARCH")},
	}

	// The standard library is as much a part of it as any module.
	modules := []*debug.Module{{Path: "std", Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b *debug.Module) int { return strings.Compare(a.Path, b.Path) })

	components := make([]cdx.Component, 0, len(modules))
	refs := make([]string, 0, len(modules))
	for _, m := range modules {
		c := component(m)
		if m.Sum != "" {
			hash, err := moduleHash(m.Sum)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.Path, err)
			}
			c.Hashes = &[]cdx.Hash{hash}
		}
		components = append(components, c)
		refs = append(refs, c.BOMRef)
	}

	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Timestamp: created, Component: &main}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: main.BOMRef, Dependencies: &refs}}
	return bom, nil
}

func component(m *debug.Module) cdx.Component {
	purl := "pkg:golang/" + m.Path + "@" + m.Version
	return cdx.Component{
		BOMRef: purl, PackageURL: purl,
		Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version,
	}
}

// moduleHash of a module is that of the list of its files' hashes, as go.sum has it.
func moduleHash(sum string) (cdx.Hash, error) {
	encoded, ok := strings.CutPrefix(sum, "h1:")
	if !ok {
		return cdx.Hash{}, errors.New("its hash isn't of the form h1: " + sum)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	return cdx.Hash{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(b)}, err
}

func setting(info *debug.BuildInfo, key string) string {
	i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
	if i < 0 {
		return ""
	}
	return info.Settings[i].Value
}
