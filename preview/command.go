package preview

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mattn/go-isatty"

	"github.com/plana-pulse/function-planaclient/example"
)

// Command shows a tenant's whole life: function preview, and make preview.
type Command struct {
	Files []string `arg:"" optional:"" help:"PLANAClients, and a Platform or a Composition that has one. - is standard input. None: the tenant of the documentation." name:"file" predictor:"file"`

	Output string `short:"o" enum:"text,yaml,mermaid" default:"text" help:"text for a person, yaml for all that is ever composed, mermaid for a diagram."`
	At     string `help:"With -o yaml: what is desired at rest, or once the named step has begun." placeholder:"rest|STEP" predictor:"step"`

	Color string `help:"Colours of text: auto has them on a terminal, unless NO_COLOR is set." enum:"auto,always,never" default:"auto"`

	WithoutTemplate bool     `help:"There is no template: Odoo installs the modules."`
	Fail            string   `help:"This step fails for good: its Job does, the server refuses the database, or the Gateway the route." placeholder:"STEP" predictor:"step"`
	Tier            string   `help:"Move the tenants to this tier, once they are at rest." enum:",starter,pro,enterprise" default:"" placeholder:"TIER"`
	Suspend         bool     `help:"Suspend the tenants, once they are at rest."`
	Delete          bool     `help:"Delete the tenants, once they are at rest."`
	From            []string `help:"Begin with what a cluster has of the tenant: files or folders, as make render's OBSERVED and REQUIRED." placeholder:"PATH" predictor:"file"`
	Diff            string   `help:"Tenants or an installation as they are: show what the files given change of a tenant at rest." placeholder:"OLD.yaml" predictor:"file"`
}

// Help of the command.
func (c *Command) Help() string {
	return `It plays a healthy cluster against the function, in memory: every database is there when it is
asked for, every Job succeeds. For example:

  function preview                                  the tenant of the documentation
  function preview acme.yaml platform.yaml          yours, on your installation
  function preview --delete                         how a tenant goes
  function preview --fail smoke                     what a step that fails says, and stops
  function preview -o yaml --at rest                what there is in the end
  function preview --diff old.yaml new.yaml         what a change means for a tenant at rest
  function preview --from observed/ acme.yaml       from what a cluster has

It exits with 1 if the function refuses a tenant.`
}

// Run the preview. A tenant that is refused makes it an error.
func (c *Command) Run() error {
	in, err := c.read(c.Files)
	if err != nil {
		return err
	}
	what := WhatIf{WithoutTemplate: c.WithoutTemplate, Fail: c.Fail, Suspend: c.Suspend, Tier: c.Tier, Delete: c.Delete}
	if c.Diff != "" {
		old, err := c.read([]string{c.Diff})
		if err != nil {
			return err
		}
		return Diff(os.Stdout, old, in, what)
	}
	lives, err := Play(in, what)
	if err != nil {
		return err
	}
	switch c.Output {
	case "yaml":
		err = YAML(os.Stdout, lives, c.At)
	case "mermaid":
		err = Mermaid(os.Stdout, lives)
	default:
		err = Text(os.Stdout, lives, Style{Colour: c.coloured()})
	}
	if err != nil {
		return err
	}
	for _, l := range lives {
		if l.Refused != "" {
			return fmt.Errorf("the function refuses PLANAClient %s: %s", l.Tenant, l.Refused)
		}
	}
	return nil
}

// coloured tells whether the text has colours.
func (c *Command) coloured() bool {
	if c.Color == "auto" {
		return os.Getenv("NO_COLOR") == "" && isatty.IsTerminal(os.Stdout.Fd())
	}
	return c.Color == "always"
}

// read files, or the documentation's tenant if they have none.
func (c *Command) read(files []string) (*Input, error) {
	in := &Input{}
	for _, name := range files {
		content, err := os.ReadFile(name) //nolint:gosec // Whoever runs it names the file.
		if name == "-" {
			content, err = io.ReadAll(os.Stdin)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read tenants: %w", err)
		}
		if err := in.Read(name, content); err != nil {
			return nil, err
		}
	}
	for _, path := range c.From {
		if err := in.ReadFrom(path); err != nil {
			return nil, err
		}
	}
	if len(in.Tenants) == 0 {
		if err := in.Read("example/planaclient.yaml", example.PLANAClient); err != nil {
			return nil, err
		}
	}
	if c.At != "" && c.Output != "yaml" {
		return nil, errors.New("--at shows objects: give -o yaml with it")
	}
	return in, nil
}
