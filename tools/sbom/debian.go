package main

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/package-url/packageurl-go"
)

// addDebian makes the bill of a binary that of the image that holds it beside the
// packages that the lock names.
func addDebian(bom *cdx.BOM, lock, arch, version string) error {
	f, err := os.Open(lock)
	if err != nil {
		return err
	}
	defer f.Close()

	binary := *bom.Metadata.Component
	refs := []string{binary.BOMRef}
	components := append([]cdx.Component{binary}, *bom.Components...)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if strings.HasPrefix(lines.Text(), "#") || len(fields) == 3 && fields[0] != arch {
			continue
		}
		c, err := debianPackage(fields)
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", lock, n, err)
		}
		components = append(components, c)
		refs = append(refs, c.BOMRef)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(refs) == 1 {
		return fmt.Errorf("%s names no package of %s", lock, arch)
	}

	name := "function-planaclient-effects"
	purl := packageurl.NewPackageURL(packageurl.TypeOCI, "", name, version, packageurl.QualifiersFromMap(map[string]string{"arch": arch}), "").ToString()
	bom.Metadata.Component = &cdx.Component{BOMRef: purl, Type: cdx.ComponentTypeContainer, Name: name, Version: version}
	bom.Components = &components
	*bom.Dependencies = append([]cdx.Dependency{{Ref: purl, Dependencies: &refs}}, *bom.Dependencies...)
	return nil
}

// debianPackage of a line of the lock: the name of its file has name, version and architecture.
func debianPackage(fields []string) (cdx.Component, error) {
	if len(fields) != 3 {
		return cdx.Component{}, fmt.Errorf("want architecture, SHA-256 and path, got %q", fields)
	}
	file, err := url.PathUnescape(strings.TrimSuffix(path.Base(fields[2]), ".deb"))
	if err != nil {
		return cdx.Component{}, err
	}
	parts := strings.Split(file, "_")
	if len(parts) != 3 {
		return cdx.Component{}, fmt.Errorf("want a file NAME_VERSION_ARCHITECTURE.deb, got %s", fields[2])
	}
	name, version, arch := parts[0], parts[1], parts[2]
	purl := packageurl.NewPackageURL(packageurl.TypeDebian, "debian", name, version,
		packageurl.QualifiersFromMap(map[string]string{"arch": arch, "distro": "debian-12"}), "").ToString()
	return cdx.Component{
		BOMRef: purl, PackageURL: purl,
		Type: cdx.ComponentTypeLibrary, Name: name, Version: version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: fields[1]}},
	}, nil
}
