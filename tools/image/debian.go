package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pault.ag/go/debian/deb"
)

// debianPackage is a line of the lock.
type debianPackage struct {
	sum, path string
}

// locked packages of an architecture. A line of the lock has architecture, SHA-256 and
// the path on a mirror; one that begins with # is a comment.
func locked(lock []byte, arch string) ([]debianPackage, error) {
	var packages []debianPackage
	lines := bufio.NewScanner(bytes.NewReader(lock))
	for n := 1; lines.Scan(); n++ {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || len(fields[1]) != 2*sha256.Size {
			return nil, fmt.Errorf("line %d: want architecture, SHA-256 and path, got %q", n, lines.Text())
		}
		if fields[0] == arch {
			packages = append(packages, debianPackage{sum: fields[1], path: fields[2]})
		}
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("it names no package of %s", arch)
	}
	return packages, lines.Err()
}

// fetch a package, out of the cache if it is there. What comes is the locked bytes or an error.
func (o *options) fetch(p debianPackage) (string, error) {
	kept := filepath.Join(o.cache, p.sum+".deb")
	if b, err := os.ReadFile(kept); err == nil && sum(b) == p.sum {
		return kept, nil
	}
	url := strings.TrimSuffix(o.mirror, "/") + "/" + p.path
	if strings.Contains(o.mirror, "ARCHIVE") {
		archive, rest, _ := strings.Cut(p.path, "/")
		url = strings.ReplaceAll(o.mirror, "ARCHIVE", archive) + "/" + rest
	}
	resp, err := http.Get(url) //nolint:noctx // Whoever runs it names the mirror, and ends it.
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s. A mirror keeps the newest only: run hack/debian-lock, or name one that has it with DEBIAN_MIRROR, such as https://snapshot.debian.org/archive/ARCHIVE/20261128T000000Z", url, resp.Status)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("%s: %w", url, err)
	}
	if got := sum(b); got != p.sum {
		return "", fmt.Errorf("%s has SHA-256 %s, and the lock wants %s", url, got, p.sum)
	}
	if err := os.MkdirAll(o.cache, 0o755); err != nil {
		return "", err
	}
	// Renamed when it is whole, so that two at once don't read half of one.
	partial, err := os.CreateTemp(o.cache, "partial-")
	if err != nil {
		return "", err
	}
	defer os.Remove(partial.Name())
	if _, err := partial.Write(b); err != nil {
		return "", err
	}
	if err := partial.Close(); err != nil {
		return "", err
	}
	return kept, os.Rename(partial.Name(), kept)
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// debian is the layer of the packages that the lock names.
func (o *options) debian() (tree, error) {
	lock, err := os.ReadFile(o.lock)
	if err != nil {
		return nil, err
	}
	packages, err := locked(lock, o.arch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.lock, err)
	}
	t := tree{}
	for _, p := range packages {
		if err := o.unpack(p, t); err != nil {
			return nil, fmt.Errorf("%s: %w", p.path, err)
		}
	}

	// Where programs look for authorities. On Debian, installing the package writes it.
	var authorities []byte
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if strings.HasPrefix(name, "usr/share/ca-certificates/") && strings.HasSuffix(name, ".crt") {
			authorities = append(authorities, t[name].content...)
		}
	}
	t.folder("etc/ssl", 0o755)
	t.folder("etc/ssl/certs", 0o755)
	t.file("etc/ssl/certs/ca-certificates.crt", 0o644, authorities)
	t.folder("tmp", 0o1777)
	return t, nil
}

// unpack a package into a tree, and leave its control file where scanners look for one.
func (o *options) unpack(p debianPackage, t tree) error {
	file, err := o.fetch(p)
	if err != nil {
		return err
	}
	d, done, err := deb.LoadFile(file)
	if err != nil {
		return err
	}
	defer done()
	if err := t.add(d.Data, keeps); err != nil {
		return err
	}
	control := &strings.Builder{}
	fmt.Fprintf(control, "Package: %s\nStatus: install ok installed\n", d.Control.Package)
	for _, field := range []string{"Source", "Version", "Architecture", "Maintainer"} {
		if v := d.Control.Values[field]; v != "" {
			fmt.Fprintf(control, "%s: %s\n", field, v)
		}
	}
	t.file("var/lib/dpkg/status.d/"+d.Control.Package, 0o644, []byte(control.String()))
	return nil
}

// keeps what a program needs, and the licences. No person reads manuals in a pod.
func keeps(name string) bool {
	if strings.HasPrefix(name, "usr/share/doc/") {
		return strings.HasSuffix(name, "/copyright")
	}
	for _, folder := range []string{"usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info", "usr/share/bash-completion", "usr/share/zsh", "usr/share/postgresql/15/man", "usr/share/gcc"} {
		if name == folder || strings.HasPrefix(name, folder+"/") {
			return false
		}
	}
	return true
}
