package effect

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
)

// An authority vouches for a server that an effect talks to.
type authority struct {
	// variable that names the file with the certificates, and the field of the
	// Platform that says where they come from.
	variable, field string

	// file with the certificates, as PEM. Empty: the image's own.
	file string
}

// pool of the certificates, or nil for the image's own. That it can't be read is
// never terminal: the Secret can be put right while the Job goes on.
func (a authority) pool() (*x509.CertPool, error) {
	if a.file == "" {
		return nil, nil //nolint:nilnil // What a tls.Config takes for the system's own.
	}
	pem, err := os.ReadFile(a.file)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read the certificates of authorities: does the object that the Platform's %s names have that key? %w", a.variable, a.field, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: there is no certificate in %s: put the authority's, as PEM, into what the Platform's %s names", a.variable, a.file, a.field)
	}
	return pool, nil
}

// transport of HTTP that trusts these authorities.
func (a authority) transport() (http.RoundTripper, error) {
	pool, err := a.pool()
	if err != nil || pool == nil {
		return http.DefaultTransport, err
	}
	transport, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		transport = &http.Transport{}
	}
	transport = transport.Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return transport, nil
}

// untrusted tells whether an error is that a server's certificate isn't trusted,
// which no patience mends.
func untrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid)
}

// explain what to do about a server whose certificate isn't trusted. Other errors
// stay as they are.
func (a authority) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("the server's certificate is for another name: reach the server by a name in it, or have it certified for %s: %w", host.Host, err)
	case errors.As(err, &unknown) && a.file == "":
		return fmt.Errorf("the server's certificate is from an authority that this image doesn't know: name its certificate in the Platform's %s: %w", a.field, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("the server's certificate isn't from an authority in %s (%s): put the certificate of the authority that signed it into what the Platform's %s names: %w", a.variable, a.file, a.field, err)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the server's certificate has expired, or isn't valid yet: renew it, or set the clock: %w", err)
	}
	return err
}
