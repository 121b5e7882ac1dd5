package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, file, content string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pair of keys, as files.
func pair(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return write(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))),
		write(t, filepath.Join(dir, "key.pub"), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})))
}

// release of two files.
func release(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sums := ""
	for name, content := range map[string]string{"function": "a program", "function.cdx.json": "{}"} {
		write(t, filepath.Join(dir, name), content)
	}
	for _, name := range []string{"function", "function.cdx.json"} {
		sum, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		sums += sum + "  " + name + "\n"
	}
	write(t, filepath.Join(dir, sumsFile), sums)
	return dir
}

func signIt(t *testing.T, key, dir string) {
	t.Helper()
	if err := run([]string{"sign", "-key", key, "-dir", dir, "-version", "v0.2.0", "-revision", strings.Repeat("a", 40), "-go", "go1.26.8"}); err != nil {
		t.Fatal(err)
	}
}

func TestVerify(t *testing.T) {
	key, public := pair(t)
	otherKey, otherPublic := pair(t)
	// reseal writes another statement into the envelope, and leaves its signature.
	reseal := func(t *testing.T, dir, from, to string) {
		file := filepath.Join(dir, provenanceFile)
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var e envelope
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		payload, err := base64.StdEncoding.DecodeString(e.Payload)
		if err != nil || !strings.Contains(string(payload), from) {
			t.Fatalf("the statement holds no %q: %s", from, payload)
		}
		e.Payload = base64.StdEncoding.EncodeToString([]byte(strings.Replace(string(payload), from, to, 1)))
		if b, err = json.Marshal(e); err != nil {
			t.Fatal(err)
		}
		write(t, file, string(b))
	}
	cases := map[string]struct {
		reason string
		key    string
		tamper func(t *testing.T, dir string)
		says   string
	}{
		"AsSigned":   {reason: "What was signed is what is there.", key: public},
		"WrongKey":   {reason: "Somebody else has signed it.", key: otherPublic, says: "SHA256SUMS.sig: the signature isn't this key's"},
		"PrivateKey": {reason: "The private half is none of a verifier's business.", key: key, says: "isn't the public half"},
		"OtherFile": {
			reason: "A program that was exchanged.", key: public, says: "function is not the file that SHA256SUMS lists",
			tamper: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "function"), "another program") },
		},
		"OtherSums": {
			reason: "A program that was exchanged together with its checksum.", key: public, says: "SHA256SUMS.sig",
			tamper: func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "function"), "another program")
				sum := sha256.Sum256([]byte("another program"))
				write(t, filepath.Join(dir, sumsFile), hex.EncodeToString(sum[:])+"  function\n")
				if err := os.Remove(filepath.Join(dir, "function.cdx.json")); err != nil {
					t.Fatal(err)
				}
			},
		},
		"MoreFiles": {
			reason: "A file that nobody has vouched for.", key: public, says: "install.sh isn't in SHA256SUMS",
			tamper: func(t *testing.T, dir string) { write(t, filepath.Join(dir, "install.sh"), "") },
		},
		"OtherCommit": {
			reason: "A provenance that tells of another commit.", key: public, says: "provenance.intoto.jsonl: the signature",
			tamper: func(t *testing.T, dir string) { reseal(t, dir, strings.Repeat("a", 40), strings.Repeat("b", 40)) },
		},
		"OthersProvenance": {
			reason: "A provenance that somebody else has signed.", key: public, says: "provenance.intoto.jsonl: the signature",
			tamper: func(t *testing.T, dir string) {
				sig, err := os.ReadFile(filepath.Join(dir, signatureFile))
				if err != nil {
					t.Fatal(err)
				}
				signIt(t, otherKey, dir)
				write(t, filepath.Join(dir, signatureFile), string(sig))
			},
		},
		"OtherRelease": {
			reason: "The right key's provenance of another release.", key: public, says: "is of other files",
			tamper: func(t *testing.T, dir string) {
				other := release(t)
				write(t, filepath.Join(other, "function"), "an older program")
				sum := sha256.Sum256([]byte("an older program"))
				write(t, filepath.Join(other, sumsFile), hex.EncodeToString(sum[:])+"  function\n")
				if err := os.Remove(filepath.Join(other, "function.cdx.json")); err != nil {
					t.Fatal(err)
				}
				signIt(t, key, other)
				b, err := os.ReadFile(filepath.Join(other, provenanceFile))
				if err != nil {
					t.Fatal(err)
				}
				write(t, filepath.Join(dir, provenanceFile), string(b))
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := release(t)
			signIt(t, key, dir)
			if tc.tamper != nil {
				tc.tamper(t, dir)
			}
			err := run([]string{"verify", "-key", tc.key, "-dir", dir})
			if tc.says == "" && err != nil || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Errorf("%s\nwant %q, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestSame: a release is the same bytes each time, its signatures included.
func TestSame(t *testing.T) {
	key, _ := pair(t)
	var was map[string]string
	for range 2 {
		dir := release(t)
		signIt(t, key, dir)
		is := map[string]string{}
		for _, name := range []string{signatureFile, provenanceFile} {
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			is[name] = string(b)
		}
		for name := range was {
			if was[name] != is[name] {
				t.Errorf("%s is another one the second time", name)
			}
		}
		was = is
	}
}

// TestKeys: what can't be used is refused, and not repeated.
func TestKeys(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, file := range map[string]string{
		"RSA":       write(t, filepath.Join(dir, "rsa"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))),
		"Encrypted": write(t, filepath.Join(dir, "cosign"), string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte("hunter2")}))),
		"Text":      write(t, filepath.Join(dir, "text"), "hunter2"),
		"Missing":   filepath.Join(dir, "missing"),
	} {
		err := run([]string{"sign", "-key", file, "-dir", release(t), "-version", "v0.2.0", "-revision", "a"})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: want an error that keeps the key to itself, got %v", name, err)
		}
	}
}

// TestOpenSSL verifies with a program that isn't ours what cosign would verify.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl isn't installed")
	}
	key, public := pair(t)
	dir := release(t)
	signIt(t, key, dir)
	b, err := os.ReadFile(filepath.Join(dir, signatureFile))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(b))
	if err != nil {
		t.Fatal(err)
	}
	sig := write(t, filepath.Join(t.TempDir(), "sig"), string(raw))
	if out, err := exec.CommandContext(t.Context(), openssl, "dgst", "-sha256", "-verify", public, "-signature", sig, filepath.Join(dir, sumsFile)).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), openssl, "dgst", "-sha256", "-verify", public, "-signature", sig, filepath.Join(dir, "function")).CombinedOutput(); err == nil {
		t.Errorf("openssl takes it for another file's, too:\n%s", out)
	}
}
