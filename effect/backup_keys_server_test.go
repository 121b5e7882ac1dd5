//go:build servers

package effect

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/plana-pulse/function-planaclient/test/servers"
)

// A strongroom is a vault with a key that can't delete, and one that can, by the
// policies that the page has.
type strongroom struct {
	*vault

	gate             *servers.S3Gate
	nightly, expires struct{ AccessKey, SecretKey string }
}

func newStrongroom(t *testing.T) *strongroom {
	t.Helper()
	policies := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(read(t, "docs", "how-to", "two-backup-keys.md"), -1)
	if len(policies) != 2 {
		t.Fatalf("the page has %d policies, and this test knows two", len(policies))
	}
	s := &strongroom{vault: newVault(t)}
	s.nightly, s.expires = s.s3.Others[0], s.s3.Others[1]
	s.gate = s.s3.Gate(t, map[string][]byte{s.nightly.AccessKey: policies[0][1], s.expires.AccessKey: policies[1][1]})
	return s
}

// nights is the environ of effects with the key that can't delete.
func (s *strongroom) nights(more ...map[string]string) map[string]string {
	return s.environ(acme, append([]map[string]string{{
		"RESTIC_REPOSITORY": s.gate.Repository("acme-023"),
		"AWS_ACCESS_KEY_ID": s.nightly.AccessKey, "AWS_SECRET_ACCESS_KEY": s.nightly.SecretKey,
	}}, more...)...)
}

// retention is the environ of backup-retention, with both keys.
func (s *strongroom) retention() map[string]string {
	return map[string]string{
		"BACKUP_REPOSITORY_BASE": s.gate.Repository("")[:len(s.gate.Repository(""))-1], "RESTIC_PASSWORD": repositoryPassword,
		"AWS_ACCESS_KEY_ID": s.nightly.AccessKey, "AWS_SECRET_ACCESS_KEY": s.nightly.SecretKey,
		"BACKUP_RETENTION_ACCESS_KEY_ID": s.expires.AccessKey, "BACKUP_RETENTION_SECRET_ACCESS_KEY": s.expires.SecretKey,
	}
}

// TestBackupKeys does with the key that can't delete all that is done about a tenant, and
// with the other what is about retention.
func TestBackupKeys(t *testing.T) {
	s := newStrongroom(t)
	allowed := func(what string) {
		t.Helper()
		if denied := s.gate.Denied(); len(denied) > 0 {
			t.Errorf("%s asks for what its key may not: %s", what, strings.Join(denied, ", "))
		}
	}

	// The first one creates the repository.
	for _, effect := range []string{"backup", "backup", "final-backup", "backup-tombstone"} {
		noSecrets(t, mustRun(t, effect, s.nights()), s.nights())
		allowed(effect)
	}
	// A run that was killed an hour ago has left its lock.
	stale := s.foreign(t, "acme-023", time.Now().Add(-time.Hour))
	mustRun(t, "backup", s.nights())
	allowed("backup")
	t.Logf("stale lock %s", stale)
	s.lose(t, acme.Database)
	restores := s.restores(acme.Database, s.nights())
	restores["PGUSER"], restores["PGPASSWORD"] = servers.PostgresAdmin, s.pg.Password
	mustRun(t, "restore", restores)
	allowed("restore")

	// The key can't delete anything of it.
	host := strings.TrimPrefix(s.gate.Endpoint, "http://")
	client, err := minio.New(host, &minio.Options{Creds: credentials.NewStaticV4(s.nightly.AccessKey, s.nightly.SecretKey, ""), MaxRetries: 1})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for o := range client.ListObjects(t.Context(), s.s3.Bucket, minio.ListObjectsOptions{Prefix: "acme-023/", Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		kind := strings.Split(o.Key, "/")[1]
		kinds[kind] = true
		if err := client.RemoveObject(t.Context(), s.s3.Bucket, o.Key, minio.RemoveObjectOptions{}); minio.ToErrorResponse(err).Code != minio.AccessDenied {
			t.Errorf("the nightly key deletes %s: %v", o.Key, err)
		}
	}
	for _, kind := range []string{"config", "data", "index", "keys", "snapshots"} {
		if !kinds[kind] {
			t.Errorf("nothing of kind %s is in the repository: %v", kind, kinds)
		}
	}
	s.gate.Denied()

	// Retention by that key says so at once, rather than after a quarter of an hour for
	// each file.
	old := s.vault.repository(t, "gone-7")
	aged(t, old, "a", "u", kindBackup, 40, partDatabase, partReceipt)
	aged(t, old, "b", "u", kindBackup, 3, partDatabase, partReceipt)
	one := s.retention()
	delete(one, "BACKUP_RETENTION_ACCESS_KEY_ID")
	delete(one, "BACKUP_RETENTION_SECRET_ACCESS_KEY")
	began := time.Now()
	code, log := runChild(t, "backup-retention", one)
	if code != ExitFailed || !strings.Contains(log, "backup-s3-retention") || time.Since(began) > time.Minute {
		t.Errorf("retention by a key that can't delete: %d after %s\n%s", code, time.Since(began), log)
	}
	if diff := cmp.Diff([]string{"a", "b"}, runIDs(t, old)); diff != "" {
		t.Errorf("retention by a key that can't delete: -want, +got:\n%s", diff)
	}
	s.gate.Denied()

	mustRun(t, "backup-retention", s.retention())
	allowed("backup-retention")
	if diff := cmp.Diff([]string{"b"}, runIDs(t, old)); diff != "" {
		t.Errorf("retention by its own key: -want, +got:\n%s", diff)
	}
	half := s.retention()
	delete(half, "BACKUP_RETENTION_SECRET_ACCESS_KEY")
	if code, log := runChild(t, "backup-retention", half); code != ExitTerminal || !strings.Contains(log, "only one of them") {
		t.Errorf("half a pair of keys: %d\n%s", code, log)
	}
}

// TestBackupKeysKilled: no key that can't be deleted is left by a run that is killed while
// it creates the repository.
func TestBackupKeysKilled(t *testing.T) {
	s := newStrongroom(t)
	repo := s.vault.repository(t, "acme-023")
	mustRun(t, "backup", s.nights())
	// It was killed before it wrote the key.
	for _, dir := range []string{"keys", "data", "index", "snapshots"} {
		for o := range s.s3.Client(t).ListObjects(t.Context(), s.s3.Bucket, minio.ListObjectsOptions{Prefix: "acme-023/" + dir + "/", Recursive: true}) {
			if err := s.s3.Client(t).RemoveObject(t.Context(), s.s3.Bucket, o.Key, minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found, err := repo.initialised(t.Context()); found || err != nil {
		t.Errorf("half a repository: %t, %v", found, err)
	}
	mustRun(t, "backup", s.nights())
	sound(t, repo)

	// One that has lost its key is no new one.
	keys, err := repo.files.list(t.Context(), "keys")
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v %v", keys, err)
	}
	if err := repo.files.remove(t.Context(), "keys/"+keys[0]); err != nil {
		t.Fatal(err)
	}
	if code, log := runChild(t, "backup", s.nights()); code != ExitFailed || !strings.Contains(log, "has lost its keys") {
		t.Errorf("a repository without its key: %d\n%s", code, log)
	}

	// A version before this one left a key without a config.
	if err := repo.files.write(t.Context(), "../other/acme-023/keys/"+keys[0], []byte("{}")); err != nil {
		t.Fatal(err)
	}
	other := s.nights(map[string]string{"RESTIC_REPOSITORY": s.gate.Repository("other/acme-023")})
	if code, log := runChild(t, "backup", other); code != ExitFailed || !strings.Contains(log, "with a key that may delete") {
		t.Errorf("a key that was left behind: %d\n%s", code, log)
	}
	if denied := s.gate.Denied(); !slices.ContainsFunc(denied, func(d string) bool { return strings.Contains(d, "s3:DeleteObject") }) {
		t.Errorf("nothing was denied: %v", denied)
	}
	other["AWS_ACCESS_KEY_ID"], other["AWS_SECRET_ACCESS_KEY"] = s.expires.AccessKey, s.expires.SecretKey
	mustRun(t, "backup", other)
}
