package preview

import (
	"fmt"
	"io"
	"strings"
)

// works names who works on objects of a kind, in the order of the diagram.
var works = []struct{ kind, name string }{
	{"ClusterUsage", "Crossplane"}, {"Database", "provider-sql"}, {"Job", "Jobs"}, {"HTTPRoute", "Gateway"}, {"CronJob", "CronJobs"},
}

// Mermaid writes lives as sequence diagrams.
func Mermaid(w io.Writer, lives []*Life) error {
	b := &strings.Builder{}
	for _, l := range lives {
		b.WriteString("sequenceDiagram\n  participant F as function\n")
		for _, p := range works {
			fmt.Fprintf(b, "  participant %s as %s\n", p.kind, p.name)
		}
		fmt.Fprintf(b, "  Note over F: PLANAClient %s\n", l.Tenant)
		for _, c := range l.Calls {
			for _, o := range c.New {
				fmt.Fprintf(b, "  F->>%s: %d: + %s\n", o.Kind, c.Number, o.Name)
			}
			for _, o := range c.Gone {
				fmt.Fprintf(b, "  F--x%s: %d: - %s\n", o.Kind, c.Number, o.Name)
			}
			var now []string
			for _, d := range c.Changed {
				if d.Status == "True" && !d.idle() {
					now = append(now, d.Type)
				}
			}
			if len(now) > 0 {
				fmt.Fprintf(b, "  Note over F: %s\n", strings.Join(now, ", "))
			}
		}
		if l.Refused != "" {
			fmt.Fprintf(b, "  Note over F: refused\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
