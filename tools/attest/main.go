// Package main signs what a release consists of, and says how it was built, in
// cosign's formats; and verifies both. It takes a folder with a SHA256SUMS:
//
//	attest sign -key KEY -dir DIR -version V -revision R   writes SHA256SUMS.sig and provenance.intoto.jsonl
//	attest verify -key PUBLIC -dir DIR                     fails unless all is as it was signed
//
// The same key, files and flags always give the same bytes.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Files beside those that are signed.
const (
	sumsFile       = "SHA256SUMS"
	signatureFile  = "SHA256SUMS.sig"
	provenanceFile = "provenance.intoto.jsonl"
)

// Types of what the provenance consists of.
const (
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
	source        = "https://github.com/plana-pulse/function-planaclient"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("attest: ")
	if err := run(os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) == 0 || args[0] != "sign" && args[0] != "verify" {
		return errors.New("want sign or verify, and flags")
	}
	var b build
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	key := flags.String("key", "", "File with the key as PEM: ECDSA on P-256, the private one to sign, the public one to verify.")
	dir := flags.String("dir", "", "Folder of the release.")
	flags.StringVar(&b.version, "version", "", "Version of the release.")
	flags.StringVar(&b.revision, "revision", "", "Commit that was built.")
	flags.StringVar(&b.goVersion, "go", "", "Version of the compiler.")
	flags.StringVar(&b.registry, "registry", "", "REGISTRY that the release was built for.")
	flags.StringVar(&b.builder, "builder", source+"/blob/main/hack/release", "Who built it, as a URI.")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if args[0] == "verify" {
		return verify(*key, *dir)
	}
	return sign(*key, *dir, b)
}

// A build is how a release came about, as far as the files don't say.
type build struct {
	version, revision, goVersion, registry, builder string
}

// A digest by its algorithm.
type digest map[string]string

// A descriptor of a file, or of a source.
type descriptor struct {
	Name   string `json:"name,omitempty"`
	URI    string `json:"uri,omitempty"`
	Digest digest `json:"digest"`
}

// A statement of in-toto's, with a predicate of SLSA's.
type statement struct {
	Type          string       `json:"_type"`
	Subject       []descriptor `json:"subject"`
	PredicateType string       `json:"predicateType"`
	Predicate     predicate    `json:"predicate"`
}

type predicate struct {
	BuildDefinition struct {
		BuildType            string            `json:"buildType"`
		ExternalParameters   map[string]string `json:"externalParameters"`
		InternalParameters   map[string]string `json:"internalParameters"`
		ResolvedDependencies []descriptor      `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
	} `json:"runDetails"`
}

// An envelope of DSSE's.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// preAuthentication is what is signed of an envelope: the payload and its type,
// neither of which can then be taken for part of the other.
func preAuthentication(payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

func sign(keyFile, dir string, b build) error {
	key, err := privateKey(keyFile)
	if err != nil {
		return err
	}
	if b.version == "" || b.revision == "" {
		return errors.New("-version and -revision must say what was built")
	}
	subjects, sums, err := subjectsOf(dir)
	if err != nil {
		return err
	}
	s := statement{Type: statementType, Subject: subjects, PredicateType: predicateType}
	s.Predicate.BuildDefinition.BuildType = source + "/blob/main/hack/release"
	s.Predicate.BuildDefinition.ExternalParameters = map[string]string{"version": b.version, "registry": b.registry}
	s.Predicate.BuildDefinition.InternalParameters = map[string]string{"go": b.goVersion}
	s.Predicate.BuildDefinition.ResolvedDependencies = []descriptor{{URI: "git+" + source + "@" + b.version, Digest: digest{"gitCommit": b.revision}}}
	s.Predicate.RunDetails.Builder.ID = b.builder
	payload, err := json.Marshal(s)
	if err != nil {
		return err
	}
	attested, err := signed(key, preAuthentication(payload))
	if err != nil {
		return err
	}
	line, err := json.Marshal(envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []signature{{Sig: attested}},
	})
	if err != nil {
		return err
	}
	sig, err := signed(key, sums)
	if err != nil {
		return err
	}
	for name, content := range map[string]string{signatureFile: sig, provenanceFile: string(line) + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// verify that every file of a release is what the owner of the key has signed.
func verify(keyFile, dir string) error {
	key, err := publicKey(keyFile)
	if err != nil {
		return err
	}
	subjects, sums, err := subjectsOf(dir)
	if err != nil {
		return err
	}
	sig, err := os.ReadFile(filepath.Join(dir, signatureFile))
	if err != nil {
		return err
	}
	if err := authentic(key, sums, string(sig)); err != nil {
		return fmt.Errorf("%s: %w", signatureFile, err)
	}

	line, err := os.ReadFile(filepath.Join(dir, provenanceFile))
	if err != nil {
		return err
	}
	var e envelope
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%s is no envelope: %w", provenanceFile, err)
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil || e.PayloadType != payloadType || len(e.Signatures) != 1 {
		return fmt.Errorf("%s isn't an in-toto statement with one signature", provenanceFile)
	}
	if err := authentic(key, preAuthentication(payload), e.Signatures[0].Sig); err != nil {
		return fmt.Errorf("%s: %w", provenanceFile, err)
	}
	var s statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return fmt.Errorf("%s holds no statement: %w", provenanceFile, err)
	}
	same := func(a, b descriptor) bool { return a.Name == b.Name && a.Digest["sha256"] == b.Digest["sha256"] }
	if s.Type != statementType || s.PredicateType != predicateType || !slices.EqualFunc(s.Subject, subjects, same) {
		return fmt.Errorf("%s is of other files than %s", provenanceFile, sumsFile)
	}
	return nil
}

// subjectsOf a release: the files in its SHA256SUMS, each of which must be as that
// says, and SHA256SUMS itself as it is. A file that isn't listed is nothing that
// anybody has vouched for.
func subjectsOf(dir string) ([]descriptor, []byte, error) {
	sums, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		return nil, nil, err
	}
	var subjects []descriptor
	listed := []string{sumsFile, signatureFile, provenanceFile}
	for line := range strings.Lines(string(sums)) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok || name != filepath.Base(name) || slices.Contains(listed, name) {
			return nil, nil, fmt.Errorf("%s: %q isn't a checksum and the name of a file in this folder", sumsFile, line)
		}
		got, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			return nil, nil, err
		}
		if got != sum {
			return nil, nil, fmt.Errorf("%s is not the file that %s lists: it has SHA-256 %s", name, sumsFile, got)
		}
		listed = append(listed, name)
		subjects = append(subjects, descriptor{Name: name, Digest: digest{"sha256": sum}})
	}
	if len(subjects) == 0 {
		return nil, nil, fmt.Errorf("%s lists nothing", sumsFile)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !slices.Contains(listed, e.Name()) {
			return nil, nil, fmt.Errorf("%s isn't in %s", e.Name(), sumsFile)
		}
	}
	return subjects, sums, nil
}

func sumOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// signed is a signature as cosign writes it.
func signed(key *ecdsa.PrivateKey, message []byte) (string, error) {
	sum := sha256.Sum256(message)
	// Without a source of chance the signature is RFC 6979's: the same each time.
	sig, err := key.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("cannot sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sig), nil
}

// authentic unless a signature is of something else, or by somebody else.
func authentic(key *ecdsa.PublicKey, message []byte, sig string) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(sig))
	if err != nil {
		return fmt.Errorf("no signature: %w", err)
	}
	if sum := sha256.Sum256(message); !ecdsa.VerifyASN1(key, sum[:], raw) {
		return errors.New("the signature isn't this key's, or isn't of this")
	}
	return nil
}

const wantKey = "an ECDSA key on P-256, as `openssl ecparam -name prime256v1 -genkey -noout` makes one"

// privateKey out of a file. Errors say nothing of what is in it.
func privateKey(file string) (*ecdsa.PrivateKey, error) {
	block, err := decode(file)
	if err != nil {
		return nil, err
	}
	var parsed any
	switch block.Type {
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%s holds a %s: want %s", file, block.Type, wantKey)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s isn't %s", file, wantKey)
	}
	return key, nil
}

func publicKey(file string) (*ecdsa.PublicKey, error) {
	block, err := decode(file)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PublicKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("%s isn't the public half of %s", file, wantKey)
	}
	return key, nil
}

func decode(file string) (*pem.Block, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key: %w", err)
	}
	// openssl puts the curve's parameters before a key.
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "EC PARAMETERS" {
			return block, nil
		}
	}
	return nil, fmt.Errorf("%s holds no PEM: want %s", file, wantKey)
}
