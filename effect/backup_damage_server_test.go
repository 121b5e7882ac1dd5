//go:build servers

package effect

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// packs in the tenant's repository: each one's file, by its name.
func (v *vault) packs(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(v.s3.Dir, v.s3.Bucket, "acme-023", "data", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	packs := map[string]string{}
	for _, file := range files {
		packs[filepath.Base(file)] = file
	}
	return packs
}

// addPack to the repository: the content of a file of the tenant's. It returns the pack,
// in how many nights it has its turn tonight, and in how many it hasn't.
func (v *vault) addPack(t *testing.T) (pack string, tonight, another int) {
	t.Helper()
	for attempt := range 10 {
		content := make([]byte, 2<<20)
		_, _ = rand.NewChaCha8([32]byte{byte(attempt), 1}).Read(content)
		if err := os.WriteFile(filepath.Join(v.root, acme.Database, "file-"+strconv.Itoa(attempt)), content, 0o600); err != nil {
			t.Fatal(err)
		}
		before := v.packs(t)
		mustRun(t, "backup", v.environ(acme))
		for name, file := range v.packs(t) {
			if info, err := os.Stat(file); err != nil || before[name] != "" || info.Size() < int64(len(content)) {
				continue
			}
			first, err := hex.DecodeString(name[:2])
			if err != nil {
				t.Fatal(err)
			}
			// restic divides packs by the first byte of their names.
			tonight, another = 0, 0
			for nights := 2; nights <= mostNights; nights++ {
				if int64(first[0])%int64(nights) == nightOf(time.Now())%int64(nights) {
					tonight = nights
				} else {
					another = nights
				}
			}
			if tonight > 0 && another > 0 {
				return name, tonight, another
			}
		}
	}
	t.Fatal("no pack has its turn tonight")
	return "", 0, 0
}

// TestBackupDamaged damages what earlier backups have written, and the next ones build
// upon: the sample finds it when it is its turn, and a last backup always.
func TestBackupDamaged(t *testing.T) {
	v := newVault(t)
	pack, tonight, another := v.addPack(t)
	object := "acme-023/data/" + pack[:2] + "/" + pack
	whole, err := os.ReadFile(v.packs(t)[pack])
	if err != nil {
		t.Fatal(err)
	}
	over := func(nights int) map[string]string {
		return v.environ(acme, map[string]string{"BACKUP_READ_BACK_NIGHTS": strconv.Itoa(nights)})
	}

	put := func(content []byte) {
		t.Helper()
		if _, err := v.s3.Client(t).PutObject(t.Context(), v.s3.Bucket, object, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1

	for name, tc := range map[string]struct {
		// content of the file instead, if there is to be one.
		content []byte
		says    string

		// seen without being read.
		seen bool
	}{
		"Flipped":   {content: flipped, says: "its content isn't what was written"},
		"Truncated": {content: whole[:len(whole)/2], says: "unexpected file size", seen: true},
		"Missing":   {says: "missing", seen: true},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.content != nil {
				put(tc.content)
			} else if err := v.s3.Client(t).RemoveObject(t.Context(), v.s3.Bucket, object, minio.RemoveObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			defer put(whole)
			complete := func() int {
				return len(slices.DeleteFunc(v.runs(t), func(r *run) bool { return !r.complete() }))
			}
			fails := func(effect string, environ map[string]string) {
				t.Helper()
				before, began := complete(), time.Now()
				code, log := runChild(t, effect, environ)
				if code != ExitFailed || complete() != before {
					t.Errorf("%s of a damaged repository: %d, %d complete runs more", effect, code, complete()-before)
				}
				for _, want := range []string{"data/" + pack[:2] + "/" + pack + " (" + tc.says, v.s3.Repository("acme-023"), "docs/how-to/repair-a-repository.md"} {
					if !strings.Contains(log, want) {
						t.Errorf("%s doesn't say %q:\n%s", effect, want, log)
					}
				}
				t.Logf("%s fails after %s", effect, time.Since(began).Round(100*time.Millisecond))
			}

			if tc.seen {
				fails("backup", over(another))
			} else {
				mustRun(t, "backup", over(another))
				fails("backup", over(tonight))
				fails("backup", over(1))
			}
			fails("final-backup", over(another))
		})
	}
	log := mustRun(t, "backup", over(tonight))
	if !strings.Contains(log, "Read a sample of the repository back") {
		t.Errorf("no sample is read:\n%s", log)
	}
	mustRun(t, "final-backup", over(tonight))
}

// TestRepairPage types what the page says, to a repository that has lost a file of which
// the tenant still has one half, and earlier backups the other.
func TestRepairPage(t *testing.T) {
	v := newVault(t)
	mustRun(t, "backup", v.environ(acme))
	before := v.packs(t)
	inDatabase := filepath.Join(v.root, acme.Database)
	for _, name := range []string{"stays", "goes"} {
		content := make([]byte, 1<<20)
		_, _ = rand.NewChaCha8([32]byte{name[0]}).Read(content)
		if err := os.WriteFile(filepath.Join(inDatabase, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "backup", v.environ(acme))
	if err := os.Remove(filepath.Join(inDatabase, "goes")); err != nil {
		t.Fatal(err)
	}
	damaged := ""
	for name, file := range v.packs(t) {
		if info, err := os.Stat(file); err != nil {
			t.Fatal(err)
		} else if before[name] == "" && info.Size() > 1<<20 {
			damaged = name
		}
	}
	object := "acme-023/data/" + damaged[:2] + "/" + damaged
	if _, err := v.s3.Client(t).PutObject(t.Context(), v.s3.Bucket, object, strings.NewReader("damaged"), 7, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, log := runChild(t, "backup", v.environ(acme)); code != ExitFailed || !strings.Contains(log, damaged) {
		t.Fatalf("nobody sees it: %d\n%s", code, log)
	}

	page := string(read(t, "docs", "how-to", "repair-a-repository.md"))
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(page, -1)
	if len(blocks) != 6 {
		t.Fatalf("the page has %d blocks, and this test knows 6", len(blocks))
	}
	types := func(block int, replace ...string) string {
		t.Helper()
		sh := exec.CommandContext(t.Context(), "sh", "-c", strings.NewReplacer(replace...).Replace(blocks[block][1]))
		sh.Env = append(os.Environ(), "RESTIC_REPOSITORY="+v.s3.Repository("acme-023"), "RESTIC_PASSWORD="+repositoryPassword,
			"AWS_ACCESS_KEY_ID="+v.s3.AccessKey, "AWS_SECRET_ACCESS_KEY="+v.s3.SecretKey, "RESTIC_CACHE_DIR="+t.TempDir())
		out, err := sh.CombinedOutput()
		t.Logf("%s\n%s%v", blocks[block][1], out, err)
		return string(out)
	}
	if out := types(1, "--read-data", ""); !strings.Contains(out, damaged) {
		t.Errorf("what is damaged isn't seen:\n%s", out)
	}
	if err := v.s3.Client(t).RemoveObject(t.Context(), v.s3.Bucket, object, minio.RemoveObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	types(2)
	if code, log := runChild(t, "backup", v.environ(acme)); code != ExitFailed || !strings.Contains(log, "refer to 1 blobs") {
		t.Fatalf("an older backup lacks a file: %d\n%s", code, log)
	}
	found := regexp.MustCompile(`in snapshot ([0-9a-f]{8})`).FindStringSubmatch(types(4))
	if found == nil {
		t.Fatal("no snapshot is found that has lost something")
	}
	types(5, "SNAPSHOT", found[1])
	mustRun(t, "final-backup", v.environ(acme))
	sound(t, v.repository(t, "acme-023"))
}
