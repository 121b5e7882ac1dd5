package servers

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"text/template"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"
	"maunium.net/go/mautrix/synapseadmin"
)

// A MatrixServer is a Matrix homeserver of one test's own, on loopback, without
// limits to the rate of requests.
type MatrixServer struct {
	*process

	URL  string
	Name string

	secret    string
	passwords map[string]string
}

// dendriteConfig keeps Dendrite's databases in its working directory, and its
// message queue in memory.
var dendriteConfig = template.Must(template.New("").Parse(`
version: 2
global:
  server_name: {{.Name}}
  private_key: key.pem
  disable_federation: true
  jetstream: {storage_path: ., in_memory: true}
  cache: {max_size_estimated: 32mb}
client_api:
  registration_disabled: true
  registration_shared_secret: {{.Secret}}
  rate_limiting: {enabled: false}
federation_api: {database: {connection_string: "file:federation.db"}}
key_server: {database: {connection_string: "file:keys.db"}}
media_api: {base_path: media, database: {connection_string: "file:media.db"}}
mscs: {database: {connection_string: "file:mscs.db"}}
relay_api: {database: {connection_string: "file:relay.db"}}
room_server: {database: {connection_string: "file:rooms.db"}}
sync_api: {database: {connection_string: "file:sync.db"}}
user_api:
  bcrypt_cost: 4
  account_database: {connection_string: "file:accounts.db"}
logging: [{type: std, level: warn}]
`))

// Matrix starts a homeserver. It is stopped at the end of the test.
func Matrix(t testing.TB) *MatrixServer {
	t.Helper()
	dendrite := tool(t, "dendrite")
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(freePort(t))))
	s := &MatrixServer{URL: "http://" + address, Name: "matrix.test", secret: rand.Text(), passwords: map[string]string{}}

	dir := t.TempDir()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatalf("cannot make the homeserver's key: %v", err)
	}
	block := pem.EncodeToMemory(&pem.Block{
		Type:    "MATRIX PRIVATE KEY",
		Headers: map[string]string{"Key-ID": "ed25519:test"},
		Bytes:   key.Seed(),
	})
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), block, 0o600); err != nil {
		t.Fatalf("cannot write the homeserver's key: %v", err)
	}
	var config strings.Builder
	if err := dendriteConfig.Execute(&config, map[string]string{"Name": s.Name, "Secret": s.secret}); err != nil {
		t.Fatalf("cannot write the homeserver's configuration: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dendrite.yaml"), []byte(config.String()), 0o600); err != nil {
		t.Fatalf("cannot write the homeserver's configuration: %v", err)
	}

	server := exec.Command(dendrite, "-config", "dendrite.yaml", "-http-bind-address", address, "-https-bind-address", "")
	server.Dir = dir
	// The database driver takes its temporary files from here too.
	server.Env = append(os.Environ(), "TMPDIR="+dir)
	client, err := mautrix.NewClient(s.URL, "", "")
	if err != nil {
		t.Fatalf("cannot make a client for the homeserver: %v", err)
	}
	s.process = start(t, "Dendrite", server, func() error {
		_, err := client.Versions(t.Context())
		return err
	})
	return s
}

// Register a user, and return a client that is logged in as them.
func (s *MatrixServer) Register(t testing.TB, localpart string) *mautrix.Client {
	t.Helper()
	client, err := mautrix.NewClient(s.URL, id.NewUserID(localpart, s.Name), "")
	if err != nil {
		t.Fatalf("cannot make a client for the homeserver: %v", err)
	}
	admin := &synapseadmin.Client{Client: client}
	password := rand.Text()
	user, err := admin.SharedSecretRegister(t.Context(), s.secret, synapseadmin.ReqSharedSecretRegister{Username: localpart, Password: password})
	if err != nil {
		t.Fatalf("cannot register %s: %v\n%s", localpart, err, s.Log())
	}
	client.AccessToken = user.AccessToken
	s.passwords[localpart] = password
	return client
}

// LogIn a user who is registered already for another session, and return a client
// of that.
func (s *MatrixServer) LogIn(t testing.TB, localpart string) *mautrix.Client {
	t.Helper()
	client, err := mautrix.NewClient(s.URL, "", "")
	if err != nil {
		t.Fatalf("cannot make a client for the homeserver: %v", err)
	}
	_, err = client.Login(t.Context(), &mautrix.ReqLogin{
		Type:             mautrix.AuthTypePassword,
		Identifier:       mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: localpart},
		Password:         s.passwords[localpart],
		StoreCredentials: true,
	})
	if err != nil {
		t.Fatalf("cannot log %s in: %v\n%s", localpart, err, s.Log())
	}
	return client
}

// Environ is what an effect is told about this server, acting as one user.
func (s *MatrixServer) Environ(as *mautrix.Client) map[string]string {
	return map[string]string{
		"MATRIX_HOMESERVER":   s.URL,
		"MATRIX_SERVER_NAME":  s.Name,
		"MATRIX_ACCESS_TOKEN": as.AccessToken,
	}
}
