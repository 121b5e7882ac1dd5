// Package main is function preview alone, for make preview: without the effects, whose
// clients of PostgreSQL, Redis, object storage and Matrix are a quarter of a cold build.
package main

import (
	"github.com/alecthomas/kong"

	"github.com/plana-pulse/function-planaclient/preview"
)

func main() {
	command := kong.Parse(&preview.Command{}, kong.Name("function preview"),
		kong.Description("Show a tenant's whole life, without a cluster: what is composed and when, and what stays."))
	command.FatalIfErrorf(command.Run())
}
