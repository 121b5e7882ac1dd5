// Package simulation tries to break the function. It is a small cluster in one
// process: an API server, Crossplane's composite reconciler, provider-sql with a
// database server, the Job and CronJob controllers, a Gateway, Crossplane's
// usages, and people who make mistakes. Chosen by a seed, things happen in any
// order: Jobs fail, objects are deleted by hand, responses are lost, settings
// turn bad, tenants are deleted and come back. After every step the invariants
// are checked, and at the end, once everybody has had time to settle, a tenant
// left in peace has to be Ready and a deleted one to have left nothing but its
// backup.
//
// A history is a list of actions, and nothing else is random, so every failure
// can be replayed. It is shrunk to the actions that matter and printed as a
// Go test case; those worth keeping are in regressions_test.go.
//
// The rules that the cluster plays by are those of the real programs. Each is
// stated where it is implemented.
package simulation
