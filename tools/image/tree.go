package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tree is what a layer holds, by path. Nothing in it has an owner but root, or a time:
// either would make every build another image.
type tree map[string]entry

type entry struct {
	tar.Header

	content []byte
}

func (t tree) file(name string, mode int64, content []byte) {
	t[name] = entry{tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}, content}
}

func (t tree) folder(name string, mode int64) {
	t[name] = entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
}

// add what a package has. Only folders may be there already.
func (t tree) add(r *tar.Reader, keep func(name string) bool) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)[1:]
		if name == "" || !keep(name) {
			continue
		}
		e := entry{Header: tar.Header{Typeflag: h.Typeflag, Mode: h.Mode & 0o1777, Size: h.Size, Linkname: h.Linkname}}
		switch h.Typeflag {
		case tar.TypeReg:
			if e.content, err = io.ReadAll(r); err != nil {
				return err
			}
		case tar.TypeDir, tar.TypeSymlink:
		default:
			return fmt.Errorf("%s is of type %c, and only files, folders and symbolic links are expected", name, h.Typeflag)
		}
		if before, ok := t[name]; ok && (before.Typeflag != tar.TypeDir || h.Typeflag != tar.TypeDir) {
			return fmt.Errorf("%s is in another package too", name)
		}
		t[name] = e
	}
}

// appendTo an image a layer of this.
func (t tree) appendTo(img v1.Image) (v1.Image, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(t)) {
		e := t[name]
		e.Name = name
		if e.Typeflag == tar.TypeDir {
			e.Name += "/"
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
	})
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(img, l)
}
