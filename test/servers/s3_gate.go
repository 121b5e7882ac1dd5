package servers

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// An S3Gate stands in front of an S3Server and lets each key do what its policy allows.
type S3Gate struct {
	Endpoint string

	bucket   string
	policies map[string]policy
	mu       sync.Mutex
	denied   []string
}

// policy of one access key, in the form that S3's own has.
type policy struct {
	Statement []struct {
		Effect   string   `json:"Effect"`
		Action   []string `json:"Action"`
		Resource []string `json:"Resource"`
	} `json:"Statement"`
}

// Gate in front of this server. A key of which no policy is given may do nothing.
func (s *S3Server) Gate(t testing.TB, policies map[string][]byte) *S3Gate {
	t.Helper()
	g := &S3Gate{bucket: s.Bucket, policies: map[string]policy{}}
	for key, text := range policies {
		var p policy
		decoder := json.NewDecoder(bytes.NewReader(text))
		if err := decoder.Decode(&p); err != nil || len(p.Statement) == 0 {
			t.Fatalf("that isn't a policy: %v\n%s", err, text)
		}
		g.policies[key] = p
	}
	to, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The Host header is part of what a client signs.
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if denied := g.denies(t, r); denied != "" {
			g.mu.Lock()
			g.denied = append(g.denied, denied)
			g.mu.Unlock()
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>`)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.Endpoint = server.URL
	return g
}

// Repository is a path in the bucket as restic writes it.
func (g *S3Gate) Repository(path string) string {
	return "s3:" + g.Endpoint + "/" + g.bucket + "/" + path
}

// Denied requests since the last time that somebody asked.
func (g *S3Gate) Denied() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	denied := g.denied
	g.denied = nil
	return denied
}

var credential = regexp.MustCompile(`Credential=([^/]+)/`)

// denies a request: what is asked for that isn't allowed, or "".
func (g *S3Gate) denies(t testing.TB, r *http.Request) string {
	t.Helper()
	var p policy
	if m := credential.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		p = g.policies[m[1]]
	}
	bucket, key, _ := strings.Cut(strings.Trim(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	object := bucket + "/" + key
	switch {
	case key != "" && r.Method == http.MethodDelete && query.Has("uploadId"):
		return p.denies("s3:AbortMultipartUpload", object)
	case key != "" && r.Method == http.MethodDelete:
		return p.denies("s3:DeleteObject", object)
	case key != "" && (r.Method == http.MethodPut || r.Method == http.MethodPost):
		return p.denies("s3:PutObject", object)
	case key != "":
		return p.denies("s3:GetObject", object)
	case query.Has("location"):
		return p.denies("s3:GetBucketLocation", bucket)
	case query.Has("delete"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("cannot read a request: %v", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var names struct {
			Object []struct {
				Key string `xml:"Key"`
			} `xml:"Object"`
		}
		if err := xml.Unmarshal(body, &names); err != nil {
			t.Errorf("cannot read a request: %v", err)
		}
		for _, o := range names.Object {
			if denied := p.denies("s3:DeleteObject", bucket+"/"+o.Key); denied != "" {
				return denied
			}
		}
		return ""
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return p.denies("s3:ListBucket", bucket)
	default:
		return r.Method + " " + r.URL.Path
	}
}

// denies an action.
func (p policy) denies(action, resource string) string {
	matches := func(patterns []string, value string) bool {
		for _, pattern := range patterns {
			if regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(value) {
				return true
			}
		}
		return false
	}
	for _, s := range p.Statement {
		if s.Effect == "Allow" && matches(s.Action, action) && matches(s.Resource, "arn:aws:s3:::"+resource) {
			return ""
		}
	}
	return action + " " + resource
}
