package servers

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// RedisStream is the stream that a RedisServer's user may add to.
const RedisStream = "PLANA:events"

// A RedisServer is a Redis of one test's own, on loopback.
type RedisServer struct {
	*process

	Address string

	// Username and Password of a user who may do what the effects'
	// documentation asks for, and nothing else.
	Username string
	Password string

	// Authority is the file with the certificate of the authority that vouches for
	// this server, or "" if it speaks no TLS.
	Authority string

	admin string
	tls   *tls.Config
}

// Redis starts a Redis server. It is stopped at the end of the test.
func Redis(t testing.TB) *RedisServer {
	t.Helper()
	return startRedis(t, "")
}

// RedisTLS starts a Redis server that speaks nothing but TLS, with a certificate
// for its address and no name. It is stopped at the end of the test.
func RedisTLS(t testing.TB) *RedisServer {
	t.Helper()
	return startRedis(t, certify(t, net.IPv4(127, 0, 0, 1)))
}

// startRedis with TLS if there is a directory with a certificate.
func startRedis(t testing.TB, certificate string) *RedisServer {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("redis-server isn't installed: `make test-effects` installs it")
	}
	port := strconv.Itoa(int(freePort(t)))
	s := &RedisServer{
		Address:  net.JoinHostPort("127.0.0.1", port),
		Username: "effects",
		Password: rand.Text(),
		admin:    rand.Text(),
	}
	listen := []string{"port " + port}
	if certificate != "" {
		s.Authority = filepath.Join(certificate, authorityFile)
		s.tls = trusting(t, s.Authority)
		listen = []string{
			"port 0", "tls-port " + port, "tls-auth-clients no",
			"tls-cert-file " + filepath.Join(certificate, certificateFile), "tls-key-file " + filepath.Join(certificate, keyFile),
			"tls-ca-cert-file " + s.Authority,
		}
	}
	server := exec.Command(program, "-")
	server.Stdin = strings.NewReader(strings.Join(append(listen,
		"bind 127.0.0.1",
		`save ""`,
		"dir "+t.TempDir(),
		"requirepass "+s.admin,
		fmt.Sprintf("user %s on >%s ~%s ~{%s}:* +eval +evalsha +get +set +del +xadd", s.Username, s.Password, RedisStream, RedisStream),
	), "\n") + "\n")
	s.process = start(t, "Redis", server, func() error {
		return s.Client(t).Ping(t.Context()).Err()
	})
	return s
}

// Client of this server, as its administrator, until the test ends.
func (s *RedisServer) Client(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr:                     s.Address,
		Password:                 s.admin,
		TLSConfig:                s.tls,
		MaxRetries:               -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// AdminPassword is the password of Redis' default user, who may do everything.
func (s *RedisServer) AdminPassword() string { return s.admin }

// UseAdminPassword has those who are its clients from now on log in with another
// password, which the default user has been given.
func (s *RedisServer) UseAdminPassword(password string) { s.admin = password }

// Environ is what an effect is told about this server.
func (s *RedisServer) Environ() map[string]string {
	environ := map[string]string{
		"REDIS_ADDRESS":  s.Address,
		"REDIS_USERNAME": s.Username,
		"REDIS_PASSWORD": s.Password,
		"EVENT_STREAM":   RedisStream,
	}
	if s.Authority != "" {
		environ["REDIS_TLS"], environ["REDIS_CA_FILE"] = "true", s.Authority
	}
	return environ
}
