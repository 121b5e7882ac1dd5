package effect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLocation(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     string
		want   string
		name   string
		bad    bool
	}{
		"S3":          {reason: "The usual one.", in: "s3:https://sos.example/bucket/acme-023", want: "s3:https://sos.example/bucket/acme-023", name: "acme-023"},
		"Bucket":      {reason: "A whole bucket can be a base.", in: "s3:http://127.0.0.1:9000/bucket/", want: "s3:http://127.0.0.1:9000/bucket", name: "bucket"},
		"Deep":        {reason: "A base may be in a folder of the bucket.", in: "s3:https://sos.example/bucket/a//b/", want: "s3:https://sos.example/bucket/a/b", name: "b"},
		"Folder":      {reason: "A mounted volume.", in: "/backups/acme-23", want: "/backups/acme-23", name: "acme-23"},
		"Relative":    {reason: "What is meant depends on where we are.", in: "backups", bad: true},
		"NoScheme":    {reason: "restic takes this one, in a way of its own.", in: "s3:sos.example/bucket/x", bad: true},
		"NoBucket":    {reason: "There is nothing to write to.", in: "s3:https://sos.example/", bad: true},
		"Dots":        {reason: "A path can't lead out of its bucket.", in: "s3:https://sos.example/../..", bad: true},
		"Credentials": {reason: "An address is logged.", in: "s3:https://key:hush@sos.example/bucket", bad: true},
		"Garbage":     {reason: "Not an address.", in: "s3:https://key:hush@[::/", bad: true},
		"Another":     {reason: "We can't list it.", in: "rest:https://example/", bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseLocation(tc.in)
			if tc.bad {
				if err == nil {
					t.Fatalf("%s\nparseLocation(%q): no error, but %s", tc.reason, tc.in, got)
				}
				if strings.Contains(err.Error(), "hush") {
					t.Errorf("%s\nthe error repeats a password: %v", tc.reason, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\nparseLocation(%q): %v", tc.reason, tc.in, err)
			}
			if diff := cmp.Diff(fmt.Sprint(tc.want, " ", tc.name), fmt.Sprint(got.String(), " ", got.name())); diff != "" {
				t.Errorf("%s\nparseLocation(%q): -want, +got:\n%s", tc.reason, tc.in, diff)
			}
		})
	}
}
