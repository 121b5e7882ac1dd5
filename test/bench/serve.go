package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/crossplane/function-sdk-go"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
)

// echoes answers each request with a response that was prepared for its tag.
type echoes struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	responses map[string]*fnv1.RunFunctionResponse
}

// RunFunction returns what it was given beforehand.
func (e *echoes) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp, ok := e.responses[req.GetMeta().GetTag()]
	if !ok {
		return nil, fmt.Errorf("no response was prepared for %q", req.GetMeta().GetTag())
	}
	return rsp, nil
}

// serveEcho serves the responses in a folder, with the same library and the same
// credentials as the function.
func serveEcho(ctx context.Context, dir, certs string) error {
	e := &echoes{responses: map[string]*fnv1.RunFunctionResponse{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return err
		}
		rsp := &fnv1.RunFunctionResponse{}
		if err := proto.Unmarshal(b, rsp); err != nil {
			return fmt.Errorf("cannot read response %s: %w", entry.Name(), err)
		}
		e.responses[entry.Name()] = rsp
	}

	o := &function.ServeOptions{}
	if err := function.MTLSCertificates(certs)(o); err != nil {
		return err
	}
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.Creds(o.Credentials))
	fnv1.RegisterFunctionRunnerServiceServer(srv, e)
	// As the function's log does.
	if err := json.NewEncoder(os.Stderr).Encode(map[string]string{"msg": "Serving", "address": lis.Addr().String()}); err != nil {
		return err
	}
	return srv.Serve(lis)
}

// startServer runs a command that says in its log where it serves, on one core.
func startServer(ctx context.Context, certs *certificates, cmd *exec.Cmd) (*server, error) {
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	logs, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address, err := servesAt(logs)
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, errors.Join(err, cmd.Wait())
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(certs.client))
	if err != nil {
		_ = cmd.Process.Kill()
		return nil, err
	}
	s := &server{cmd: cmd, conn: conn, client: fnv1.NewFunctionRunnerServiceClient(conn)}
	_ = ctx
	return s, nil
}

// servesAt reads a log until it names an address, and drops what follows.
func servesAt(logs io.Reader) (string, error) {
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		line := struct {
			Msg     string `json:"msg"`
			Address string `json:"address"`
		}{}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "Serving" {
			go io.Copy(io.Discard, logs) //nolint:errcheck // Nobody reads it.
			return line.Address, nil
		}
	}
	return "", fmt.Errorf("the server ended before it served: %w", errors.Join(lines.Err(), io.ErrUnexpectedEOF))
}

// certificates for both sides, as Crossplane makes them for itself and its
// functions.
type certificates struct {
	server string
	client credentials.TransportCredentials
}

func newCertificates(dir string) (*certificates, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return nil, err
	}

	c := &certificates{server: filepath.Join(dir, "server")}
	client := filepath.Join(dir, "client")
	for i, where := range []string{c.server, client} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: filepath.Base(where)},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		if err != nil {
			return nil, err
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		if err := os.Mkdir(where, 0o700); err != nil {
			return nil, err
		}
		for name, block := range map[string]*pem.Block{
			"ca.crt":  {Type: "CERTIFICATE", Bytes: caDER},
			"tls.crt": {Type: "CERTIFICATE", Bytes: der},
			"tls.key": {Type: "PRIVATE KEY", Bytes: keyDER},
		} {
			if err := os.WriteFile(filepath.Join(where, name), pem.EncodeToMemory(block), 0o600); err != nil {
				return nil, err
			}
		}
	}

	pair, err := tls.LoadX509KeyPair(filepath.Join(client, "tls.crt"), filepath.Join(client, "tls.key"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}))
	c.client = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, RootCAs: pool})
	return c, nil
}
