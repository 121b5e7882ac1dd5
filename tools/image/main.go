// Package main makes a container image of one static binary, without Docker:
// nothing but the binary, run by a user without rights. The same binary always
// gives the same image.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"io"
	"log"
	"os"

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
	flag.Parse()

	if err := build(*binary, *arch, *out); err != nil {
		log.Fatalf("cannot make an image of %s: %v", *binary, err)
	}
}

func build(binary, arch, out string) error {
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
	config.Config = v1.Config{
		Entrypoint:   []string{"/function"},
		User:         "65532:65532",
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return err
	}
	return tarball.WriteToFile(out, name.MustParseReference("function:runtime"), img)
}
