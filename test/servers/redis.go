package servers

import (
	"crypto/rand"
	"fmt"
	"net"
	"os/exec"
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

	admin string
}

// Redis starts a Redis server. It is stopped at the end of the test.
func Redis(t testing.TB) *RedisServer {
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
	server := exec.Command(program, "-")
	server.Stdin = strings.NewReader(strings.Join([]string{
		"bind 127.0.0.1",
		"port " + port,
		`save ""`,
		"dir " + t.TempDir(),
		"requirepass " + s.admin,
		fmt.Sprintf("user %s on >%s ~%s ~{%s}:* +eval +evalsha +get +set +del +xadd", s.Username, s.Password, RedisStream, RedisStream),
	}, "\n") + "\n")
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
		MaxRetries:               -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// AdminPassword is the password of Redis' default user, who may do everything.
func (s *RedisServer) AdminPassword() string { return s.admin }

// Environ is what an effect is told about this server.
func (s *RedisServer) Environ() map[string]string {
	return map[string]string{
		"REDIS_ADDRESS":  s.Address,
		"REDIS_USERNAME": s.Username,
		"REDIS_PASSWORD": s.Password,
		"EVENT_STREAM":   RedisStream,
	}
}
