package preview

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"github.com/plana-pulse/function-planaclient/fn/tenant"
)

// YAML writes everything that is ever composed, each object once and in the order of its
// coming, as it is when it comes. With a step, or "rest", it writes what is desired once
// that step has begun, or in the end, and the PLANAClient with its status.
func YAML(w io.Writer, lives []*Life, at string) error {
	b := &strings.Builder{}
	for _, l := range lives {
		var err error
		if at == "" {
			err = l.everything(b)
		} else {
			err = l.at(b, at)
		}
		if err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (l *Life) everything(b *strings.Builder) error {
	goes := map[string]int{}
	for _, c := range l.Calls {
		for _, o := range c.Gone {
			goes[o.String()] = c.Number
		}
	}
	seen := map[string]bool{}
	for _, c := range l.Calls {
		for _, o := range c.New {
			if seen[o.String()] {
				continue
			}
			seen[o.String()] = true
			until := ""
			if n := goes[o.String()]; n > 0 {
				until = fmt.Sprintf(", and goes at call %d", n)
			}
			if err := document(b, fmt.Sprintf("%s of %s comes at call %d%s.", o.Key, l.Tenant, c.Number, until), c.Desired[o.Key]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Life) at(b *strings.Builder, at string) error {
	c := l.last()
	if at != "rest" {
		i, err := l.begins(at)
		if err != nil {
			return err
		}
		c = l.Calls[i]
	}
	if err := document(b, fmt.Sprintf("%s at call %d.", l.Tenant, c.Number), c.Composite); err != nil {
		return err
	}
	for _, o := range c.Objects() {
		if err := document(b, o.Key+" of "+l.Tenant+".", c.Desired[o.Key]); err != nil {
			return err
		}
	}
	return nil
}

// Steps that compose something, by which a moment or a failure is named.
func Steps() []string {
	var names []string
	for _, d := range slices.Concat(tenant.Plan(), tenant.Suspension(), tenant.Teardown()) {
		if d.Key != "" {
			names = append(names, d.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// begins tells at which of the calls a step begins.
func (l *Life) begins(step string) (int, error) {
	for _, d := range slices.Concat(tenant.Plan(), tenant.Suspension(), tenant.Teardown()) {
		if d.Name != step || d.Key == "" {
			continue
		}
		i := slices.IndexFunc(l.Calls, func(c *Call) bool { return slices.ContainsFunc(c.New, func(o Object) bool { return o.Key == d.Key }) })
		if i >= 0 {
			return i, nil
		}
	}
	if names := Steps(); !slices.Contains(names, step) {
		return 0, fmt.Errorf("cannot show %s at %q: want rest, or one of %s", l.Tenant, step, strings.Join(names, ", "))
	}
	return 0, fmt.Errorf("cannot show %s at %q: in this life, that step composes nothing", l.Tenant, step)
}

// document writes an object behind a comment.
func document(b *strings.Builder, comment string, s *structpb.Struct) error {
	y, err := yaml.Marshal(s.AsMap())
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "---\n# %s\n%s", comment, y)
	return nil
}
