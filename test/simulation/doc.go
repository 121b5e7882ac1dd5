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
// Seeds come from the clock unless they are given, so that every run plays what
// nobody has played before. A seed means another history as soon as there is
// another action to choose, so what failed isn't kept as a seed. A history is a list
// of actions, and nothing else is random: one that fails is shrunk to the actions that
// matter and printed as a Go test case. All of those are in regressions_test.go and are
// played for ever.
//
// What chance doesn't come to is walked: see walk.go. Every action is taken, and then
// every action after each of those, from a tenant that was just created and from one
// in service. Worlds that go on in the same way, by state.go, are gone on from once.
//
// The rules that the cluster plays by are those of the real programs. Each is
// stated where it is implemented. Beside programs that fail and die at any place,
// and people with kubectl and psql, there are: a composite resource read from a cache
// that is one reconcile behind (reconcile-behind) or hasn't seen its delete
// (reconcile-stale), a status that can't be written (reconcile-conflict), paused
// resources, annotations by which provider-sql goes, references taken out by hand, a
// function's clock that jumps, and a cluster that is restored from etcd while the
// world outside has gone on.
//
// What it doesn't have, so that nothing here says how it comes out:
//
//   - composed and required resources that are read from a cache which is behind;
//   - anything that happens in the middle of a reconcile, but that it dies or is refused
//     there: it sees one moment, and what it does is done before anybody else acts;
//   - the annotation that begins a teardown written by a hand, or restored with a
//     manifest, which an admission policy refuses;
//   - superusers, whom no fence keeps out, and who connects as the backup role but a
//     backup;
//   - other functions in the pipeline, and two instances of Crossplane or provider-sql
//     at once;
//   - an API server that mutates or refuses single fields, an admission policy that
//     is changed, a CRD or a Composition of another version, an upgrade of the
//     function itself half-way;
//   - a server that fails over to a replica which is behind, a filestore or a bucket
//     that is restored from its own backup;
//   - a tenant that was leaving when etcd was backed up or restored, or came or went
//     between the two: no invariant is held to it, since people have to look;
//   - a Job taken out of the references just before the tenant goes: it is waited for
//     as long as it works, and goes with the tenant;
//   - anything of a tenant's contents but how new they are.
package simulation
