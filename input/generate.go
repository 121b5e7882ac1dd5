//go:build generate

// Package input holds the function's input.
package input

//go:generate ../hack/generate
