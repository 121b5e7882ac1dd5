package preview

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/plana-pulse/function-planaclient/fn/tenant"
)

// A Style draws for a terminal, or plainly.
type Style struct{ Colour bool }

func (s Style) paint(code, text string) string {
	if !s.Colour || text == "" || code == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	green, red, yellow, dim, bold = "32", "31", "33", "2", "1"
)

// Text writes lives for a person to read.
func Text(w io.Writer, lives []*Life, style Style) error {
	b := &strings.Builder{}
	for i, l := range lives {
		if i > 0 {
			b.WriteString("\n\n")
		}
		l.text(b, style)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Life) text(b *strings.Builder, s Style) {
	fmt.Fprintf(b, "%s\n", s.paint(bold, "PLANAClient "+l.Tenant))
	if slices.ContainsFunc(l.Calls, func(c *Call) bool { return c.Refused == "" }) {
		l.table(b, s)
	}
	if l.Refused != "" {
		fmt.Fprintf(b, "\n%s %s\n", s.paint(red, "Refused:"), l.Refused)
		return
	}
	l.jobs(b, s)
	l.end(b, s)
	l.totals(b)
}

// A cell is what a call has in one column, a line each.
type cell []line

type line struct{ colour, text string }

// heads of the table's columns.
var heads = []string{"call", "new (+) and gone (-)", "condition", "says"}

// row of the table: what is new and gone since a call, and how conditions stand. Nil, if
// nothing of that has changed.
func (c *Call) row() []cell {
	if c.Refused != "" {
		return nil
	}
	var objects, conditions, says cell
	for _, o := range c.New {
		objects = append(objects, line{green, "+ " + o.String()})
	}
	for _, o := range c.Gone {
		objects = append(objects, line{dim, "- " + o.String()})
	}
	for _, d := range c.Changed {
		if !d.idle() {
			conditions = append(conditions, line{d.colour(), d.Type + " " + d.Status})
			says = append(says, line{dim, d.says()})
		}
	}
	if len(objects)+len(conditions) == 0 {
		return nil
	}
	return []cell{{{"", fmt.Sprint(c.Number)}}, objects, conditions, says}
}

// table of the calls.
func (l *Life) table(b *strings.Builder, s Style) {
	head := make([]cell, len(heads))
	for i, h := range heads {
		head[i] = cell{{dim, h}}
	}
	rows := [][]cell{head}
	for _, c := range l.Calls {
		if r := c.row(); r != nil {
			rows = append(rows, r)
		}
	}
	widths := make([]int, len(heads))
	for _, r := range rows {
		for i, c := range r {
			for _, l := range c {
				widths[i] = max(widths[i], utf8.RuneCountInString(l.text))
			}
		}
	}
	b.WriteString("\n")
	for _, r := range rows {
		height := 0
		for _, c := range r {
			height = max(height, len(c))
		}
		for n := range height {
			b.WriteString(s.line(r, n, widths) + "\n")
		}
	}
}

// line is the n-th of a row's lines, padded but for its end.
func (s Style) line(row []cell, n int, widths []int) string {
	out, padding := "", 0
	for i, c := range row {
		var l line
		if n < len(c) {
			l = c[n]
		}
		if l.text != "" {
			out += strings.Repeat(" ", padding) + s.paint(l.colour, l.text)
			padding = 0
		}
		padding += widths[i] - utf8.RuneCountInString(l.text) + 2
	}
	return out
}

// jobs that were run, and what each is for.
func (l *Life) jobs(b *strings.Builder, s Style) {
	does := map[string]string{}
	for _, d := range slices.Concat(tenant.Plan(), tenant.Suspension(), tenant.Teardown()) {
		does[d.Key] = d.Does
	}
	var jobs []Object
	width := 0
	for _, c := range l.Calls {
		for _, o := range c.New {
			if o.Kind == "Job" {
				jobs = append(jobs, o)
				width = max(width, len(o.Key))
			}
		}
	}
	if len(jobs) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.paint(bold, "Jobs, each run once"))
	for _, o := range jobs {
		fmt.Fprintf(b, "  %-*s  %s\n", width, o.Key, s.paint(dim, does[o.Key]))
	}
}

// end is what stays.
func (l *Life) end(b *strings.Builder, s Style) {
	if l.Gone {
		fmt.Fprintf(b, "\n%s\n", s.paint(bold, "In the end the PLANAClient is gone, and nothing stays but its backups."))
		return
	}
	last := l.last()
	fmt.Fprintf(b, "\n%s\n", s.paint(bold, "In the end there are"))
	for _, o := range last.Objects() {
		fmt.Fprintf(b, "  %s\n", o)
	}
	var wrong []Condition
	for _, c := range last.Conditions {
		if c.Status != "True" && !c.idle() {
			wrong = append(wrong, c)
		}
	}
	if len(wrong) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", s.paint(bold, "and these say what isn't so, and what to do"))
	for _, c := range wrong {
		fmt.Fprintf(b, "  %s: %s\n", s.paint(c.colour(), c.Type+" "+c.Status+" "+c.Reason), c.Message)
	}
}

func (l *Life) totals(b *strings.Builder) {
	jobs, objects := 0, 0
	for _, c := range l.Calls {
		for _, o := range c.New {
			objects++
			if o.Kind == "Job" {
				jobs++
			}
		}
	}
	fmt.Fprintf(b, "\n%d calls, %d objects, %d of them Jobs.\n", len(l.Calls), objects, jobs)
}

func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Objects that are desired at a call, by their key.
func (c *Call) Objects() []Object {
	out := make([]Object, 0, len(c.Desired))
	for key, s := range c.Desired {
		out = append(out, objectOf(key, s))
	}
	slices.SortFunc(out, func(a, b Object) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// idle conditions say that nothing has begun, or that nothing is to be done.
func (c Condition) idle() bool {
	return strings.HasPrefix(c.Message, "waits for: ") || c.Reason == "NotNeeded" || c.Reason == "UpToDate" ||
		c.Reason == "Deprovisioning" && c.Type != "Deprovisioned"
}

func (c Condition) colour() string {
	switch {
	case c.Status == "True":
		return green
	case strings.HasSuffix(c.Reason, "Failed"):
		return red
	}
	return yellow
}

// says is the condition's message, or its reason where it has none.
func (c Condition) says() string {
	if c.Message == "" {
		return c.Reason
	}
	return c.Message
}
