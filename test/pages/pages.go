// Package pages reads what pages for people show in code blocks, so that tests can
// hold it against what is there, and run it.
package pages

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
	"sigs.k8s.io/yaml"
)

// Languages of commands.
const (
	shell = "shell"
	sql   = "sql"
)

// folders that have pages, beside the project's own.
var folders = []string{"docs", "example", "deploy", "test"}

// A Page is one Markdown file.
type Page struct {
	// Path from the project's folder.
	Path string

	// Text of it.
	Text string
}

// A Block of code on a page.
type Block struct {
	// Page that it is on, as a path from the project's folder, and the line of
	// its first line there.
	Page string
	Line int

	// Language that its fence names, such as shell.
	Language string

	Text string
}

// A Command that a reader is to type, in the project's folder.
type Command struct {
	Page string
	Line int

	// Language of it: shell, or sql for what a database server is told.
	Language string

	// Run is what is typed: lines of that language.
	Run string

	// Shows is what the page says that comes of it. Three dots in a line of their
	// own stand for any lines. Empty: it says nothing of it.
	Shows string
}

// Read the pages of the project in the supplied folder, by their paths.
func Read(root string) ([]Page, error) {
	paths, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		return nil, fmt.Errorf("cannot list pages: %w", err)
	}
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".md") {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("cannot list pages: %w", err)
		}
	}
	slices.Sort(paths)

	pages := make([]Page, 0, len(paths))
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read a page: %w", err)
		}
		from, err := filepath.Rel(root, path)
		if err != nil {
			return nil, fmt.Errorf("cannot name a page: %w", err)
		}
		pages = append(pages, Page{Path: from, Text: string(b)})
	}
	return pages, nil
}

// Blocks of code on the page.
func (p Page) Blocks() []Block {
	var blocks []Block
	var open *Block
	indent := ""
	for i, line := range strings.Split(p.Text, "\n") {
		fence := strings.HasPrefix(strings.TrimLeft(line, " "), "```")
		switch {
		case fence && open == nil:
			// In a list, all of a block is indented.
			indent, _, _ = strings.Cut(line, "`")
			open = &Block{Page: p.Path, Line: i + 2, Language: strings.Trim(line, " `")}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	return blocks
}

// Commands that the block shows: all of a shell or SQL block is one, and each
// prompt of a console block begins one.
func (b Block) Commands() []Command {
	switch b.Language {
	case shell, sql:
		return []Command{{Page: b.Page, Line: b.Line, Language: b.Language, Run: b.Text}}
	case "console":
	default:
		return nil
	}

	var commands []Command
	continued := false
	for i, line := range strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n") {
		typed, prompt := strings.CutPrefix(line, "$ ")
		if prompt {
			commands = append(commands, Command{Page: b.Page, Line: b.Line + i, Language: shell})
		}
		if len(commands) == 0 {
			continue
		}
		last := &commands[len(commands)-1]
		if prompt || continued {
			last.Run += typed + "\n"
			continued = strings.HasSuffix(typed, `\`)
			continue
		}
		last.Shows += line + "\n"
	}
	return commands
}

// inline is a command in the middle of a sentence, or in a table.
var inline = regexp.MustCompile("`((?:kubectl|make|crossplane) [^`\\n]+)`")

// placeholder is what a reader is to replace.
var placeholder = regexp.MustCompile(`<(\w+)>`)

// Inline returns the commands that the page has in its text. They may be parts of
// one, and have words in angle brackets for a reader's own.
func (p Page) Inline() []Command {
	var commands []Command
	for i, line := range strings.Split(p.Text, "\n") {
		for _, m := range inline.FindAllStringSubmatch(line, -1) {
			run := placeholder.ReplaceAllString(strings.ReplaceAll(m[1], `\|`, "|"), "$1")
			commands = append(commands, Command{Page: p.Path, Line: i + 1, Language: shell, Run: run + "\n"})
		}
	}
	return commands
}

// Calls that the command makes of programs: each is a name and its arguments,
// without their quotes. Variables are left as they are written.
func (c Command) Calls() ([][]string, error) {
	if c.Language == sql {
		return nil, nil
	}
	file, err := c.parse()
	if err != nil {
		return nil, err
	}
	var calls [][]string
	syntax.Walk(file, func(n syntax.Node) bool {
		if call, ok := n.(*syntax.CallExpr); ok && len(call.Args) > 0 {
			words := make([]string, 0, len(call.Args))
			for _, w := range call.Args {
				words = append(words, text(w.Parts))
			}
			calls = append(calls, words)
		}
		return true
	})
	return calls, nil
}

// Statements of the command, each a command of its own: what a reader types before
// they look what came of it. A command whose output is shown is all one.
func (c Command) Statements() ([]Command, error) {
	if c.Language == sql || c.Shows != "" {
		return []Command{c}, nil
	}
	file, err := c.parse()
	if err != nil {
		return nil, err
	}
	statements := make([]Command, 0, len(file.Stmts))
	for _, s := range file.Stmts {
		one := c
		one.Line = c.Line + int(s.Pos().Line()) - 1
		one.Run = c.Run[s.Pos().Offset():s.End().Offset()] + "\n"
		statements = append(statements, one)
	}
	return statements, nil
}

// parse what is typed into a shell.
func (c Command) parse() (*syntax.File, error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(c.Run), "")
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", c.Page, c.Line, err)
	}
	return file, nil
}

// text of a word, as the program gets it.
func text(parts []syntax.WordPart) string {
	var b strings.Builder
	for _, part := range parts {
		switch p := part.(type) {
		case *syntax.Lit:
			b.WriteString(strings.ReplaceAll(p.Value, "\\\n", ""))
		case *syntax.SglQuoted:
			b.WriteString(p.Value)
		case *syntax.DblQuoted:
			b.WriteString(text(p.Parts))
		case *syntax.ParamExp:
			b.WriteString("$" + p.Param.Value)
		default:
			b.WriteString("$()")
		}
	}
	return b.String()
}

// CrossplaneValues are what the installation guide has Crossplane's chart told, args
// among them.
func CrossplaneValues(root string) (map[string]any, error) {
	const guide = "docs/how-to/install.md"
	text, err := os.ReadFile(filepath.Join(root, guide))
	if err != nil {
		return nil, fmt.Errorf("cannot read a page: %w", err)
	}
	for _, b := range (Page{Path: guide, Text: string(text)}).Blocks() {
		if b.Language != "yaml" || !strings.HasPrefix(b.Text, "args:") {
			continue
		}
		values := map[string]any{}
		if err := yaml.UnmarshalStrict([]byte(b.Text), &values); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", b.Page, b.Line, err)
		}
		return values, nil
	}
	return nil, fmt.Errorf("%s shows no args", guide)
}

// CrossplaneArgs are those of the values.
func CrossplaneArgs(values map[string]any) []string {
	var args []string
	all, _ := values["args"].([]any)
	for _, arg := range all {
		args = append(args, fmt.Sprint(arg))
	}
	return args
}

// runs are the programs that need nothing but a clone of this project, Go, make
// and git.
var runs = []string{"make", "sed", "cat", "diff", "mkdir", "git", "grep", "cp", "tr", "printf", "sleep", "_output/function"}

// needs are the programs that need more: a cluster, its servers or a desktop.
var needs = []string{
	"kubectl", "crossplane", "flux", "curl", "psql", "pg_restore", "restic", "odoo", "helm", "yq", "openssl",
	"promtool", "sha256sum", "docker", "pre-commit", "read", "export", "rm", "cd", "go",
}

// ofCluster are those of needs that ask the cluster for something, or a server
// that it has to do with.
var ofCluster = []string{"kubectl", "crossplane", "flux", "curl", "psql", "pg_restore", "restic", "odoo", "openssl"}

// quick are the targets of make that are done within seconds. Among the others
// are those that run the pages.
var quick = []string{"render", "build"}

// Local tells whether the command can be run without a cluster and within
// seconds. An error is of a program that isn't known.
func (c Command) Local() (bool, error) {
	if c.Language == sql {
		return false, nil
	}
	calls, err := c.Calls()
	if err != nil {
		return false, err
	}
	local := true
	for _, call := range calls {
		switch {
		case slices.Contains(needs, call[0]):
			local = false
		case !slices.Contains(runs, call[0]):
			return false, fmt.Errorf("%s:%d: test/pages doesn't know whether %s needs a cluster: add it to the one list or to the other", c.Page, c.Line, call[0])
		case call[0] == "make" && slices.ContainsFunc(call[1:], slow):
			local = false
		}
	}
	return local, nil
}

// slow tells whether an argument of make is a target that takes its time.
func slow(word string) bool {
	return !strings.Contains(word, "=") && !slices.Contains(quick, word)
}

// ForCluster returns the statements that need a cluster, or one of the servers that
// it has to do with, in the order of the pages.
func ForCluster(root string) ([]Command, error) {
	all, err := Read(root)
	if err != nil {
		return nil, err
	}
	var found []Command
	for _, p := range all {
		for _, b := range p.Blocks() {
			for _, c := range b.Commands() {
				needed, err := c.needsCluster()
				if err != nil {
					return nil, err
				}
				if !needed {
					continue
				}
				statements, err := c.Statements()
				if err != nil {
					return nil, err
				}
				found = append(found, statements...)
			}
		}
	}
	return found, nil
}

// needsCluster tells whether any part of the command does.
func (c Command) needsCluster() (bool, error) {
	local, err := c.Local()
	if err != nil || local {
		return false, err
	}
	calls, err := c.Calls()
	if err != nil {
		return false, err
	}
	return c.Language == sql || slices.ContainsFunc(calls, func(call []string) bool { return slices.Contains(ofCluster, call[0]) }), nil
}

// Matches tells whether the output of a command is what the page shows of it.
func (c Command) Matches(output string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.Lines(c.Shows) {
		if strings.TrimSpace(line) == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(regexp.QuoteMeta(strings.TrimRight(line, " \n")) + ` *\n`)
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(output)
}
