package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// hello is a package with a program, its manual and licence, and an authority.
func hello(t *testing.T) []byte {
	t.Helper()
	archive := func(files ...*tar.Header) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		for _, h := range files {
			content := h.Linkname
			if h.Typeflag != tar.TypeReg {
				content = ""
			} else {
				h.Linkname = ""
			}
			h.Size = int64(len(content))
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	file := func(name, content string, mode int64) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Linkname: content, Uid: 1000}
	}
	control := archive(file("./control", "Package: hello\nVersion: 1:2.10-3\nArchitecture: amd64\nMaintainer: Debian\nDescription: hello\n", 0o644))
	data := archive(
		&tar.Header{Name: "./usr/", Typeflag: tar.TypeDir, Mode: 0o755},
		&tar.Header{Name: "./usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		file("./usr/bin/hello", "a program", 0o4755),
		&tar.Header{Name: "./usr/bin/hi", Typeflag: tar.TypeSymlink, Linkname: "hello", Mode: 0o777},
		file("./usr/share/man/man1/hello.1", "a manual", 0o644),
		file("./usr/share/doc/hello/README", "a text", 0o644),
		file("./usr/share/doc/hello/copyright", "a licence", 0o644),
		file("./usr/share/ca-certificates/b.crt", "B\n", 0o644),
		file("./usr/share/ca-certificates/a.crt", "A\n", 0o644),
	)
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range []struct {
		name    string
		content []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar.gz", control}, {"data.tar.gz", data}} {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.content))
		b.Write(m.content)
		if len(m.content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func TestDebian(t *testing.T) {
	served := hello(t)
	requests := 0
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path != "/debian/pool/hello_2.10-3_amd64.deb" {
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write(served); err != nil {
			t.Error(err)
		}
	}))
	defer mirror.Close()

	folder := t.TempDir()
	good := "amd64 " + sum(served) + " debian/pool/hello_2.10-3_amd64.deb"
	options := func(lock string) *options {
		file := filepath.Join(folder, "lock")
		binary := filepath.Join(folder, "function")
		for name, content := range map[string]string{file: lock, binary: "the function"} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return &options{
			binary: binary, arch: "amd64", out: filepath.Join(folder, "out.tar"), created: "2026-01-01T00:00:00Z",
			lock: file, mirror: mirror.URL, cache: filepath.Join(folder, "cache"),
		}
	}

	cases := map[string]struct {
		reason, lock, want string
	}{
		"OtherBytes":   {"What a mirror serves isn't trusted: only the hash is.", "amd64 " + strings.Repeat("0", 64) + " debian/pool/hello_2.10-3_amd64.deb", "and the lock wants 000"},
		"Gone":         {"Mirrors forget old versions, and the message says what to do.", "amd64 " + strings.Repeat("0", 64) + " debian/pool/gone.deb", "run hack/debian-lock"},
		"OtherMachine": {"A lock without the architecture would make an image without packages.", "arm64 " + sum(served) + " x.deb", "it names no package of amd64"},
		"NoHash":       {"A line without a hash pins nothing.", "amd64 debian/pool/hello_2.10-3_amd64.deb", "line 1: want architecture, SHA-256 and path"},
		"Twice":        {"Of two packages with the same file it is chance whose is seen.", good + "\n" + good, "usr/bin/hello is in another package too"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := options(tc.lock).build(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
		})
	}

	build := func() []byte {
		t.Helper()
		o := options("# a comment\n" + good + "\n")
		if err := o.build(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(o.out)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := build()
	// A mirror of snapshots has the day behind the archive's name.
	snapshot := options(good)
	snapshot.mirror, snapshot.cache = mirror.URL+"/ARCHIVE", filepath.Join(folder, "empty")
	if err := snapshot.build(); err != nil {
		t.Fatal(err)
	}
	before := requests
	if second := build(); !bytes.Equal(first, second) {
		t.Error("two builds of the same lock differ")
	}
	if requests != before {
		t.Error("a package that is in the cache was fetched again")
	}

	img, err := tarball.ImageFromPath(filepath.Join(folder, "out.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range layers {
		content, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(content); ; {
			h, err := r.Next()
			if err == io.EOF { //nolint:errorlint // The reader's own.
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if h.Uid != 0 || h.Mode&0o6000 != 0 || h.ModTime.Unix() > 0 {
				t.Errorf("%s: want root's, without a right of its own and a time, got %+v", h.Name, h)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			got[h.Name] = string(b) + h.Linkname
		}
	}
	for name, want := range map[string]string{
		"function": "the function", "usr/bin/hello": "a program", "usr/bin/hi": "hello",
		"usr/share/doc/hello/copyright":     "a licence",
		"etc/ssl/certs/ca-certificates.crt": "A\nB\n",
		"var/lib/dpkg/status.d/hello":       "Package: hello\nStatus: install ok installed\nVersion: 1:2.10-3\nArchitecture: amd64\nMaintainer: Debian\n",
		"tmp/":                              "",
	} {
		if content, ok := got[name]; !ok || content != want {
			t.Errorf("%s: want %q, got %q", name, want, content)
		}
	}
	for _, name := range []string{"usr/share/man/man1/hello.1", "usr/share/doc/hello/README"} {
		if _, ok := got[name]; ok {
			t.Errorf("%s is for people, and in the image", name)
		}
	}
}
