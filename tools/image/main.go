// Package main makes a container image of one static binary, without Docker: the
// binary, run by a user without rights, and Debian's packages beside it where a lock
// names some. The same binary and lock always give the same image.
package main

import (
	"flag"
	"log"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// options of an image.
type options struct {
	binary, arch, out string
	created           string
	labels            map[string]string

	// lock names Debian's packages, mirror has them, cache keeps them.
	lock, mirror, cache string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("image: ")

	var o options
	flag.StringVar(&o.binary, "binary", "", "Static Linux binary to put into the image, as /function.")
	flag.StringVar(&o.arch, "arch", "amd64", "Architecture of the binary.")
	flag.StringVar(&o.out, "out", "", "Tarball to write the image to.")
	flag.StringVar(&o.created, "created", "1970-01-01T00:00:00Z", "When the image was created, as RFC 3339 has it.")
	flag.StringVar(&o.lock, "debian", "", "Lock that names the Debian packages to put into the image. Empty: none.")
	flag.StringVar(&o.mirror, "mirror", "http://deb.debian.org", "Mirror of Debian that has the packages. ARCHIVE in it is debian or debian-security; where it has none, that follows.")
	flag.StringVar(&o.cache, "cache", "", "Folder that keeps downloaded packages. Required with -debian.")
	title := flag.String("title", "function-planaclient", "What the image is called.")
	description := flag.String("description", "", "What the image is.")
	version := flag.String("version", "dev", "Version of the source.")
	revision := flag.String("revision", "unknown", "Commit of the source.")
	flag.Parse()

	const label = "org.opencontainers.image."
	o.labels = map[string]string{
		label + "title":       *title,
		label + "description": *description,
		label + "licenses":    "Apache-2.0",
		label + "source":      "https://github.com/plana-pulse/function-planaclient",
		label + "version":     *version,
		label + "revision":    *revision,
		label + "created":     o.created,
	}

	if err := o.build(); err != nil {
		log.Fatalf("cannot make an image of %s: %v", o.binary, err)
	}
}

func (o *options) build() error {
	at, err := time.Parse(time.RFC3339, o.created)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(o.binary)
	if err != nil {
		return err
	}

	img := empty.Image
	config := v1.Config{
		Entrypoint: []string{"/function"},
		User:       "65532:65532",
		WorkingDir: "/",
		Labels:     o.labels,
	}
	if o.lock == "" {
		config.ExposedPorts = map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}}
	} else {
		debian, err := o.debian()
		if err != nil {
			return err
		}
		if img, err = debian.appendTo(img); err != nil {
			return err
		}
		// Not Debian's wrappers around PostgreSQL's programs, which are in Perl.
		config.Env = []string{"PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin"}
	}

	function := tree{}
	function.file("function", 0o755, content)
	if img, err = function.appendTo(img); err != nil {
		return err
	}

	file, err := img.ConfigFile()
	if err != nil {
		return err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", o.arch
	file.Created = v1.Time{Time: at}
	file.Config = config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		return err
	}
	return tarball.WriteToFile(o.out, name.MustParseReference("function:runtime"), img)
}
