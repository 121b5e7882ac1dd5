package servers

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// An S3Server is an S3-compatible object store of one test's own, on loopback.
// It knows three pairs of keys, checks every request's signature, and keeps its
// objects as files under Dir/BUCKET.
type S3Server struct {
	Endpoint  string
	AccessKey string
	SecretKey string
	Bucket    string
	Dir       string

	// Others are pairs of keys that may do the same, unless a gate says otherwise.
	Others [2]struct{ AccessKey, SecretKey string }

	// Authority is the file with the certificate of the authority that vouches for
	// this server, or "" if it speaks no TLS.
	Authority string

	certificate string
	port        uint16
	process     *os.Process
	stopped     chan struct{}
}

// S3 starts an object store with one empty bucket. It is stopped at the end of
// the test.
func S3(t testing.TB) *S3Server {
	t.Helper()
	return startS3(t, "")
}

// S3TLS starts an object store that speaks nothing but TLS, with a certificate for
// its address and no name. It is stopped at the end of the test.
func S3TLS(t testing.TB) *S3Server {
	t.Helper()
	return startS3(t, certify(t, net.IPv4(127, 0, 0, 1)))
}

// startS3 with TLS if there is a directory with a certificate.
func startS3(t testing.TB, certificate string) *S3Server {
	t.Helper()
	s := &S3Server{
		AccessKey: "access-" + rand.Text(),
		SecretKey: rand.Text(),
		Bucket:    "plana-backup",
		Dir:       t.TempDir(),
		port:      freePort(t),
	}
	for i := range s.Others {
		s.Others[i].AccessKey, s.Others[i].SecretKey = "other-"+rand.Text(), rand.Text()
	}
	scheme := "http://"
	if certificate != "" {
		scheme = "https://"
		s.certificate, s.Authority = certificate, filepath.Join(certificate, authorityFile)
	}
	s.Endpoint = scheme + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.port)))
	if err := os.Mkdir(filepath.Join(s.Dir, s.Bucket), 0o755); err != nil {
		t.Fatalf("cannot make the bucket: %v", err)
	}
	s.Start(t)
	return s
}

// Start the server again after a Stop, with what it held.
func (s *S3Server) Start(t testing.TB) {
	t.Helper()
	began := time.Now()
	rclone := tool(t, "rclone")
	var log bytes.Buffer
	// The empty configuration keeps the user's own out.
	server := exec.Command(rclone, "serve", "s3", s.Dir, "--addr", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.port))),
		"--auth-key", s.AccessKey+","+s.SecretKey, "--config", "")
	for _, other := range s.Others {
		server.Args = append(server.Args, "--auth-key", other.AccessKey+","+other.SecretKey)
	}
	if s.certificate != "" {
		server.Args = append(server.Args, "--cert", filepath.Join(s.certificate, certificateFile), "--key", filepath.Join(s.certificate, keyFile))
	}
	server.Stdout, server.Stderr = &log, &log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		t.Fatalf("cannot start the S3 server: %v", err)
	}
	s.process = server.Process
	s.stopped = make(chan struct{})
	stopped := s.stopped
	go func() {
		defer close(stopped)
		_ = server.Wait()
	}()
	t.Cleanup(func() { s.Stop(t) })

	client, err := minio.New(net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.port))), &minio.Options{
		Creds:      credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		MaxRetries: 1,
		Secure:     s.Authority != "",
		Transport:  s.transport(t),
	})
	if err != nil {
		t.Fatalf("cannot make a client for the S3 server: %v", err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var found bool
		if found, err = client.BucketExists(t.Context(), s.Bucket); found {
			t.Logf("S3 server (%s) listens at %s after %s", filepath.Base(rclone), s.Endpoint, time.Since(began).Round(time.Millisecond))
			return
		}
		select {
		case <-stopped:
			t.Fatalf("the S3 server stopped:\n%s", log.String())
		default:
		}
	}
	t.Fatalf("the S3 server isn't ready after 20 s: %v\n%s", err, log.String())
}

// Stop the server, as an outage does. Its objects stay. Stopping it twice is
// harmless.
func (s *S3Server) Stop(t testing.TB) {
	t.Helper()
	_ = s.process.Signal(syscall.SIGCONT)
	_ = s.process.Kill()
	select {
	case <-s.stopped:
	case <-time.After(10 * time.Second):
		t.Errorf("the S3 server with pid %d doesn't stop", s.process.Pid)
	}
}

// Freeze the server: it accepts connections and never answers, until it is
// stopped or thawed.
func (s *S3Server) Freeze(t testing.TB) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("cannot freeze the S3 server: %v", err)
	}
}

// Thaw a frozen server.
func (s *S3Server) Thaw(t testing.TB) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatalf("cannot thaw the S3 server: %v", err)
	}
}

// Repository is a path in the bucket as restic writes it.
func (s *S3Server) Repository(path string) string {
	return fmt.Sprintf("s3:%s/%s/%s", s.Endpoint, s.Bucket, path)
}

// Environ is what an effect is told about this server, but for the repository.
func (s *S3Server) Environ() map[string]string {
	environ := map[string]string{
		"AWS_ACCESS_KEY_ID":     s.AccessKey,
		"AWS_SECRET_ACCESS_KEY": s.SecretKey,
	}
	if s.Authority != "" {
		environ["RESTIC_CACERT"] = s.Authority
	}
	return environ
}

// Client of this server.
func (s *S3Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	client, err := minio.New(net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.port))), &minio.Options{
		Creds:     credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""),
		Secure:    s.Authority != "",
		Transport: s.transport(t),
	})
	if err != nil {
		t.Fatalf("cannot make a client for the S3 server: %v", err)
	}
	return client
}

// transport on which this server is trusted.
func (s *S3Server) transport(t testing.TB) http.RoundTripper {
	t.Helper()
	transport, err := minio.DefaultTransport(s.Authority != "")
	if err != nil {
		t.Fatalf("cannot make a client for the S3 server: %v", err)
	}
	if s.Authority != "" {
		transport.TLSClientConfig = trusting(t, s.Authority)
	}
	return transport
}

// Size of all objects under a path of the bucket, in bytes.
func (s *S3Server) Size(t testing.TB, path string) int64 {
	t.Helper()
	var size int64
	for o := range s.Client(t).ListObjects(context.Background(), s.Bucket, minio.ListObjectsOptions{Prefix: path + "/", Recursive: true}) {
		if o.Err != nil {
			t.Fatalf("cannot list the bucket: %v", o.Err)
		}
		size += o.Size
	}
	return size
}
