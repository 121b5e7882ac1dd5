package effect

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func clientEventConfig(address string) ClientEventConfig {
	return ClientEventConfig{Tenant: acme, Address: address, Password: "hunter2", Stream: "PLANA:events", Source: "https://planapulse.com/crossplane"}
}

func TestClientEventEntry(t *testing.T) {
	e, err := newClientEvent(clientEventConfig("redis:6379"), eventClientProvisioned, time.Date(2026, 11, 3, 4, 5, 6, 7000000, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	got := entry(e)
	data := got[len(got)-1]
	want := []any{
		"specversion", "1.0",
		"id", "6f1e7d52-3c7e-4a30-9b0c-0a4b1f5f4c11:client.provisioned",
		"source", "https://planapulse.com/crossplane",
		"type", "client.provisioned",
		"subject", "acme",
		"time", "2026-11-03T04:05:06.007Z",
		"datacontenttype", "application/json",
		"data", data,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	var decoded tenantData
	if err := json.Unmarshal([]byte(data.(string)), &decoded); err != nil {
		t.Fatalf("data is not JSON: %v", err)
	}
	if diff := cmp.Diff(newTenantData(acme), decoded); diff != "" {
		t.Errorf("data: -want, +got:\n%s", diff)
	}
}

func TestClientEventGarbage(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer string
	}{
		"Closed":  {reason: "A server that hangs up is not believed."},
		"HTTP":    {reason: "A web server is not Redis.", answer: "HTTP/1.1 400 Bad Request\r\n\r\n"},
		"Strings": {reason: "A server that says OK to everything has added nothing.", answer: strings.Repeat("+OK\r\n", 20)},
		"Empty":   {reason: "An empty list says nothing.", answer: strings.Repeat("*0\r\n", 20)},
		"Nulls":   {reason: "Nor do nulls.", answer: strings.Repeat("*2\r\n$-1\r\n$-1\r\n", 20)},
		"Binary":  {reason: "Nor do random bytes.", answer: "\x00\xff\xfe*9999999999\r\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						_, _ = conn.Read(make([]byte, 4096))
						_, _ = conn.Write([]byte(tc.answer))
						time.Sleep(100 * time.Millisecond)
						_ = conn.Close()
					}()
				}
			}()
			err = ClientProvisioned(t.Context(), clientEventConfig(l.Addr().String()))
			if err == nil || IsTerminal(err) {
				t.Errorf("\n%s\nwant an error that is worth a retry, got %v", tc.reason, err)
			}
		})
	}
}

func TestClientEventConfig(t *testing.T) {
	cases := map[string]struct {
		reason string
		change map[string]string
		want   string
	}{
		"Good":      {reason: "A good configuration is taken."},
		"NoPort":    {reason: "Redis' port is not guessed.", change: map[string]string{"REDIS_ADDRESS": "redis"}, want: "REDIS_ADDRESS"},
		"NoHost":    {reason: "Nor is its host.", change: map[string]string{"REDIS_ADDRESS": ":6379"}, want: "REDIS_ADDRESS"},
		"BadSource": {reason: "CloudEvents wants a URI.", change: map[string]string{"EVENT_SOURCE": "%zz"}, want: "EVENT_SOURCE"},
		"NoStream":  {reason: "No stream name means the default.", change: map[string]string{"EVENT_STREAM": ""}},
		"NoSecret":  {reason: "A missing password is named.", change: map[string]string{"REDIS_PASSWORD": ""}, want: "REDIS_PASSWORD"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := Parse[ClientEventConfig](acme.environ(map[string]string{
				"REDIS_ADDRESS":  "redis:6379",
				"REDIS_PASSWORD": "hunter2",
				"EVENT_SOURCE":   "https://planapulse.com/crossplane",
			}, tc.change))
			if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("\n%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
			if diff := cmp.Diff(clientEventConfig("redis:6379"), c); tc.want == "" && diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
