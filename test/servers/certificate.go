package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Files in the directory that certify makes.
const (
	authorityFile   = "ca.crt"
	certificateFile = "tls.crt"
	keyFile         = "tls.key"
)

// Authority makes an authority that vouches for no server here, and returns the
// file with its certificate.
func Authority(t testing.TB) string {
	t.Helper()
	return filepath.Join(certify(t, net.IPv4(127, 0, 0, 1)), authorityFile)
}

// certify makes an authority, and a key and a certificate of that authority's for
// one address and no name. It returns the directory they are in.
func certify(t testing.TB, ip net.IP) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatalf("cannot write %s: %v", name, err)
		}
	}
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatalf("cannot make a key: %v", err)
		}
		return k
	}
	serial := func() *big.Int {
		n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		if err != nil {
			t.Fatalf("cannot make a serial number: %v", err)
		}
		return n
	}
	authorityKey, serverKey := key(), key()
	authority := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "a test's authority " + rand.Text()},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	server := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "a test's server"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses:  []net.IP{ip},
	}
	for name, about := range map[string]*x509.Certificate{authorityFile: authority, certificateFile: server} {
		public := serverKey.Public()
		if about == authority {
			public = authorityKey.Public()
		}
		certificate, err := x509.CreateCertificate(rand.Reader, about, authority, public, authorityKey)
		if err != nil {
			t.Fatalf("cannot make a certificate: %v", err)
		}
		write(name, "CERTIFICATE", certificate)
	}
	private, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatalf("cannot encode a key: %v", err)
	}
	write(keyFile, "PRIVATE KEY", private)
	return dir
}

// trusting is how a client trusts what the certificate in a file vouches for,
// and nothing else.
func trusting(t testing.TB, file string) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("cannot read a certificate: %v", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		t.Fatalf("there is no certificate in %s", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
