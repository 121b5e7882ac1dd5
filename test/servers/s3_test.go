//go:build servers

package servers

import (
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func TestS3(t *testing.T) {
	s := S3(t)
	client := s.Client(t)
	put := func() error {
		_, err := client.PutObject(t.Context(), s.Bucket, "acme-23/config", strings.NewReader("hello"), 5, minio.PutObjectOptions{})
		return err
	}
	if err := put(); err != nil {
		t.Fatalf("put: %v", err)
	}
	if got := s.Size(t, "acme-23"); got != 5 {
		t.Errorf("the bucket holds %d bytes, want 5", got)
	}

	wrong, err := minio.New(strings.TrimPrefix(s.Endpoint, "http://"), &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, "wrong", "")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.StatObject(t.Context(), s.Bucket, "acme-23/config", minio.StatObjectOptions{}); err == nil {
		t.Error("a wrong secret key is accepted")
	}

	s.Stop(t)
	s.Start(t)
	if got := s.Size(t, "acme-23"); got != 5 {
		t.Errorf("after an outage the bucket holds %d bytes, want 5", got)
	}
}
