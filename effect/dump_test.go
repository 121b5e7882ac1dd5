package effect

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// TestCopyCounter counts in what pg_restore writes, however it comes in, what no
// tenant can count differently.
func TestCopyCounter(t *testing.T) {
	const head = "--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\n"
	cases := map[string]struct {
		reason string
		text   string
		want   int64
	}{
		"NoTable": {reason: "A database that isn't Odoo's refers to no files.", text: head},
		"Rows": {
			reason: "A row counts if it has a name of a file.",
			text:   head + "COPY public.ir_attachment (id, store_fname, db_datas) FROM stdin;\n1\tab/abcd\t\\N\n2\t\\N\t\\\\x00\n3\t\t\\N\n4\tcd/cdef\t\\N\n\\.\n\n\n",
			want:   2,
		},
		"FirstColumn": {
			reason: "The columns may come in any order.",
			text:   "COPY public.ir_attachment (store_fname, id) FROM stdin;\nab/abcd\t1\n\\N\t2\n\\.\n",
			want:   1,
		},
		"LastColumn": {
			reason: "The columns may come in any order.",
			text:   "COPY public.ir_attachment (id, store_fname) FROM stdin;\n1\t\\N\n2\tx\n\\.\n",
			want:   1,
		},
		"NoColumn": {
			reason: "A table of that name may be anything.",
			text:   "COPY public.ir_attachment (id, name) FROM stdin;\n1\tx\n2\tx\n\\.\n",
		},
		"OddColumns": {
			reason: "A quoted name may hold whatever a list is made of.",
			text:   "COPY public.ir_attachment (\"a, store_fname\", \"b\"\"\n) FROM stdin;\n\", \"store_fname \", store_fname) FROM stdin;\nx\tx\tx\t\\N\nx\tx\tx\tab\n\\.\n",
			want:   1,
		},
		"LikeAnEnd": {
			reason: "Only a line of its own ends the rows.",
			text:   "COPY public.ir_attachment (store_fname) FROM stdin;\n\\\\.\n\\\\N\n\\.x\n\\.\nab\n",
			want:   3,
		},
		"LikeABeginning": {
			reason: "What stands in a row begins nothing.",
			text:   "COPY public.ir_attachment (store_fname) FROM stdin;\nCOPY public.ir_attachment (store_fname) FROM stdin;\n\\.\n",
			want:   1,
		},
		"Twice": {
			reason: "Partitions are loaded one after the other.",
			text:   strings.Repeat("COPY public.ir_attachment (id, store_fname) FROM stdin;\n1\tx\n\\.\n", 2),
			want:   2,
		},
		"Empty": {reason: "A table without rows.", text: "COPY public.ir_attachment (id, store_fname) FROM stdin;\n\\.\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"at once": strings.NewReader(tc.text), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.text))} {
				c := &copyCounter{table: "public.ir_attachment", column: "store_fname"}
				if _, err := io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{r}); err != nil {
					t.Fatalf("%s\n%s: %v", tc.reason, how, err)
				}
				if diff := cmp.Diff(tc.want, c.n); diff != "" {
					t.Errorf("%s\n%s: -want, +got:\n%s", tc.reason, how, diff)
				}
			}
		})
	}
}

// TestCopyCounterIsBounded holds no row, and no list of columns without an end.
func TestCopyCounterIsBounded(t *testing.T) {
	c := &copyCounter{table: "public.ir_attachment", column: "store_fname"}
	chunk := []byte(strings.Repeat("x", 1<<16))
	if _, err := c.Write([]byte("COPY public.ir_attachment (id, store_fname) FROM stdin;\n1\t")); err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if _, err := c.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if held := cap(c.line) + cap(c.value) + cap(c.start); held > 1<<10 {
		t.Errorf("it holds %d bytes of a row", held)
	}

	c = &copyCounter{table: "public.ir_attachment", column: "store_fname"}
	_, err := fmt.Fprint(c, "COPY public.ir_attachment (\"")
	for range 64 {
		if err == nil {
			_, err = c.Write(chunk)
		}
	}
	if err == nil {
		t.Error("a list of columns without an end is read for ever")
	}
}
