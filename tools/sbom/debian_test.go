package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func TestAddDebian(t *testing.T) {
	sum := strings.Repeat("a", 64)
	cases := map[string]struct {
		reason, lock string
		want, err    string
	}{
		"Version":     {"A mirror escapes what a version may have, and scanners want it as Debian writes it.", "# a comment\namd64 " + sum + " debian/pool/z/zlib1g_1%3a1.2.13.dfsg-1%2bb1_amd64.deb", "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1%2Bb1?arch=amd64&distro=debian-12", ""},
		"OtherArch":   {"A bill without packages would say that there are none.", "arm64 " + sum + " debian/pool/z/zlib1g_1_arm64.deb", "", "names no package of amd64"},
		"NoHash":      {"A line that isn't one is no package.", "amd64 debian/pool/z/zlib1g_1_amd64.deb", "", "line 1: want architecture, SHA-256 and path"},
		"StrangeFile": {"A version is never guessed.", "amd64 " + sum + " debian/pool/z/zlib1g.deb", "", "want a file NAME_VERSION_ARCHITECTURE.deb"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lock := filepath.Join(t.TempDir(), "lock")
			if err := os.WriteFile(lock, []byte(tc.lock), 0o600); err != nil {
				t.Fatal(err)
			}
			bom := cdx.NewBOM()
			bom.Metadata = &cdx.Metadata{Component: &cdx.Component{BOMRef: "binary", Name: "function"}}
			bom.Components, bom.Dependencies = &[]cdx.Component{}, &[]cdx.Dependency{}
			err := addDebian(bom, lock, "amd64", "v1.0.0")
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s\nwant %q, got %v", tc.reason, tc.err, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := (*bom.Components)[1]
			if got.PackageURL != tc.want || (*got.Hashes)[0].Value != sum {
				t.Errorf("%s\nwant %s, got %+v", tc.reason, tc.want, got)
			}
			if (*bom.Components)[0].Name != "function" || bom.Metadata.Component.Type != cdx.ComponentTypeContainer {
				t.Errorf("want a container that holds the function, got %+v", bom.Metadata.Component)
			}
		})
	}
}
