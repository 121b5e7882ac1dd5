package effect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// Storage is how an effect gets at repositories of backups: restic's and the
// object storage's credentials. The names are restic's own.
type Storage struct {
	Password  string `env:"RESTIC_PASSWORD,required,notEmpty" doc:"Password of the repositories. Without it every backup is lost: keep a copy of it outside the cluster." secret:"true"`
	AccessKey string `env:"AWS_ACCESS_KEY_ID"                 doc:"Access key of the S3-compatible object storage."`
	SecretKey string `env:"AWS_SECRET_ACCESS_KEY"             doc:"Secret key of the S3-compatible object storage." secret:"true"`
	Region    string `env:"AWS_DEFAULT_REGION"                doc:"Region of the object storage; asked for when empty."`
	CAFile    string `env:"RESTIC_CACERT"                     doc:"File with the certificates of the authorities that may vouch for the object storage. Empty means those that the image knows."`
	CacheDir  string `env:"RESTIC_CACHE_DIR"                  doc:"Directory for restic's temporary files, a few hundred MiB at most, and for its cache of the repository's metadata, which saves downloads. When empty, there is no cache, and temporary files go where TMPDIR says."`
}

// storageTimeout is how long object storage may take to answer one small
// question before an effect says that it doesn't answer.
const storageTimeout = 20 * time.Second

// A location is a directory of object storage, or of a file system, that holds a
// repository or a number of them.
type location struct {
	// endpoint is nil for a file system.
	endpoint *url.URL
	bucket   string

	// dir within the bucket, without slashes around it, or of the file system.
	dir string
}

// parseLocation reads a repository's address as restic writes it. Only what
// this package can list is taken, in the one form that says all: with a scheme.
func parseLocation(s string) (location, error) {
	const allowed = "it must be s3:https://HOST/BUCKET/PATH, or the absolute path of a folder"
	if strings.HasPrefix(s, "/") {
		return location{dir: path.Clean(s)}, nil
	}
	rest, found := strings.CutPrefix(s, "s3:")
	if !found {
		return location{}, errors.New(allowed)
	}
	u, err := url.Parse(rest)
	if err != nil {
		// The parser's own error repeats what may be a password.
		return location{}, errors.New(allowed)
	}
	switch {
	case u.User != nil:
		return location{}, errors.New("it must not hold credentials: they are read from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.Scheme != "https" && u.Scheme != "http", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return location{}, errors.New(allowed)
	}
	bucket, dir, _ := strings.Cut(strings.Trim(path.Clean(u.Path), "/"), "/")
	if bucket == "" || bucket == "." {
		return location{}, fmt.Errorf("it names no bucket: %s", allowed)
	}
	return location{endpoint: &url.URL{Scheme: u.Scheme, Host: u.Host}, bucket: bucket, dir: dir}, nil
}

// String is the location as restic writes it.
func (l location) String() string {
	if l.endpoint == nil {
		return l.dir
	}
	return "s3:" + l.endpoint.String() + "/" + path.Join(l.bucket, l.dir)
}

// name is the last part of the location.
func (l location) name() string { return path.Base(path.Join("/", l.bucket, l.dir)) }

// child of a location.
func (l location) child(name string) location {
	l.dir = path.Join(l.dir, name)
	return l
}

// files is what this package needs of a location beyond what restic does for it:
// to look what is there, in seconds and with an answer that tells an outage from
// a refusal, which restic takes a quarter of an hour for.
type files interface {
	// exists tells whether there is a file of this name.
	exists(ctx context.Context, name string) (bool, error)

	// list the names in a directory, "" for the location itself, without those
	// below it. Directories end in a slash.
	list(ctx context.Context, dir string) ([]string, error)

	// write a file, also over one of that name.
	write(ctx context.Context, name string, content []byte) error

	// remove a file. One that isn't there needs no removing.
	remove(ctx context.Context, name string) error
}

// open a location.
func (s Storage) open(l location) (files, error) {
	if l.endpoint == nil {
		return folder(l.dir), nil
	}
	pool, err := s.authority().pool()
	if err != nil {
		return nil, err
	}
	secure := l.endpoint.Scheme == "https"
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, fmt.Errorf("cannot use object storage at %s: %w", l, err)
	}
	if secure && pool != nil {
		transport.TLSClientConfig.RootCAs = pool
	}
	client, err := minio.New(l.endpoint.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure:     secure,
		Region:     s.Region,
		MaxRetries: 3,
		Transport:  transport,
	})
	if err != nil {
		return nil, Terminal(fmt.Errorf("cannot use object storage at %s: %w", l, err))
	}
	return &objects{client: client, at: l, authority: s.authority()}, nil
}

// authority that vouches for the object storage.
func (s Storage) authority() authority {
	return authority{variable: "RESTIC_CACERT", field: "backup.caSecret", file: s.CAFile}
}

// validate what a location needs.
func (s Storage) validate(l location) error {
	var errs []error
	if l.endpoint != nil && s.AccessKey == "" {
		errs = append(errs, errors.New("AWS_ACCESS_KEY_ID: object storage needs it"))
	}
	if l.endpoint != nil && s.SecretKey == "" {
		errs = append(errs, errors.New("AWS_SECRET_ACCESS_KEY: object storage needs it"))
	}
	return errors.Join(errs...)
}

// folder is a location in a file system.
type folder string

func (f folder) exists(_ context.Context, name string) (bool, error) {
	_, err := os.Stat(filepath.Join(string(f), name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (f folder) list(_ context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(string(f), dir))
	if errors.Is(err, fs.ErrNotExist) && dir != "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	return names, nil
}

func (f folder) write(_ context.Context, name string, content []byte) error {
	file := filepath.Join(string(f), name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	// Nobody sees half of it.
	unfinished := file + ".unfinished"
	if err := os.WriteFile(unfinished, content, 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, file)
}

func (f folder) remove(_ context.Context, name string) error {
	err := os.Remove(filepath.Join(string(f), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// objects is a location in S3-compatible object storage.
type objects struct {
	client    *minio.Client
	at        location
	authority authority
}

func (o *objects) exists(ctx context.Context, name string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	_, err := o.client.StatObject(ctx, o.at.bucket, path.Join(o.at.dir, name), minio.StatObjectOptions{})
	if err == nil {
		return true, nil
	}
	if code := minio.ToErrorResponse(err).Code; code != minio.NoSuchKey && code != minio.NoSuchBucket {
		return false, o.explain(ctx, err)
	}
	// The answer has no body that could tell a missing object from a missing
	// bucket, and restic would create a bucket whose name was mistyped.
	found, err := o.client.BucketExists(ctx, o.at.bucket)
	if err != nil {
		return false, o.explain(ctx, err)
	}
	if !found {
		return false, fmt.Errorf("object storage at %s has no bucket %s: create it, or correct the repository's address", o.at.endpoint, o.at.bucket)
	}
	return false, nil
}

func (o *objects) list(ctx context.Context, dir string) ([]string, error) {
	prefix := path.Join(o.at.dir, dir)
	if prefix != "" {
		prefix += "/"
	}
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	var names []string
	for object := range o.client.ListObjects(ctx, o.at.bucket, minio.ListObjectsOptions{Prefix: prefix}) {
		if object.Err != nil {
			return nil, o.explain(ctx, object.Err)
		}
		if name := strings.TrimPrefix(object.Key, prefix); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (o *objects) write(ctx context.Context, name string, content []byte) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	// A bucket with a lock asks for the checksum.
	options := minio.PutObjectOptions{SendContentMd5: true}
	if _, err := o.client.PutObject(ctx, o.at.bucket, path.Join(o.at.dir, name), bytes.NewReader(content), int64(len(content)), options); err != nil {
		return o.explain(ctx, err)
	}
	return nil
}

func (o *objects) remove(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, storageTimeout)
	defer cancel()
	if err := o.client.RemoveObject(ctx, o.at.bucket, path.Join(o.at.dir, name), minio.RemoveObjectOptions{}); err != nil {
		return o.explain(ctx, err)
	}
	return nil
}

// explain an error of the object storage. A refusal isn't terminal: keys are
// rotated, and the next attempt is given the new ones.
func (o *objects) explain(ctx context.Context, err error) error {
	switch code := minio.ToErrorResponse(err).Code; {
	case code == minio.AccessDenied, code == "SignatureDoesNotMatch", code == "InvalidAccessKeyId":
		return fmt.Errorf("object storage at %s refuses the credentials (%s): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do in bucket %s", o.at.endpoint, code, o.at.bucket)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("object storage at %s gave no answer within %s: %w", o.at.endpoint, storageTimeout, err)
	}
	return fmt.Errorf("object storage at %s: %w", o.at.endpoint, o.authority.explain(err))
}
