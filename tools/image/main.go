// Package main makes a container image of one static binary, without Docker:
// nothing but the binary, run by a user without rights. The same binary always
// gives the same image.
package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"flag"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("image: ")

	binary := flag.String("binary", "", "Static Linux binary to put into the image, as /function.")
	arch := flag.String("arch", "amd64", "Architecture of the binary.")
	out := flag.String("out", "", "Tarball to write the image to.")
	created := flag.String("created", "1970-01-01T00:00:00Z", "When the image was created, as RFC 3339 has it.")
	labels := map[string]string{}
	flag.Func("label", "Label of the image, as KEY=VALUE. May be given more than once.", func(s string) error {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("want KEY=VALUE")
		}
		labels[key] = value
		return nil
	})
	flag.Parse()

	if err := build(*binary, *arch, *out, *created, labels); err != nil {
		log.Fatalf("cannot make an image of %s: %v", *binary, err)
	}
}

func build(binary, arch, out, created string, labels map[string]string) error {
	at, err := time.Parse(time.RFC3339, created)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	// No modification time: it would make every build another image.
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "function", Mode: 0o755, Size: int64(len(content))}); err != nil {
		return err
	}
	if _, err := tw.Write(content); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}

	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Created = v1.Time{Time: at}
	config.Config = v1.Config{
		Entrypoint:   []string{"/function"},
		User:         "65532:65532",
		WorkingDir:   "/",
		Labels:       labels,
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	return tarball.WriteToFile(out, name.MustParseReference("function:runtime"), img)
}
