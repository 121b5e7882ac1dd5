package simulation

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// This file explores instead of guessing. From where a history has led, every
// action is taken, then every action after each of those, and so on, breadth
// first. A state that was seen before is not gone on from. Each new one is left to
// settle, and has to end as every history has to.

// A Walk is what exploring came to.
type Walk struct {
	// States by their distance from the root: those that were new there.
	States []int

	// Transitions are actions that were taken, and Steps calls of the function.
	Transitions, Steps int

	// Deepest distance that was walked to its end, within the time that there was.
	Deepest int

	// Failures, one of each kind, and how often each was met.
	Failures []*Failure
}

// A Failure that a walk has met.
type Failure struct {
	Actions   []Action
	Violation *Violation
	Times     int
}

// A place is where a walk has come to: from where, and by which action.
type place struct {
	from   *place
	action Action
}

// path to a place from the root.
func (p *place) path() []Action {
	var path []Action
	for ; p.from != nil; p = p.from {
		path = append(path, p.action)
	}
	slices.Reverse(path)
	return path
}

// walking is a walk under way.
type walking struct {
	sync.Mutex
	Walk

	deadline time.Time
	seen     map[state]bool
	next     []*place
	failures map[string]*Failure
}

// Explore all that can happen within a number of actions after a history. It ends
// early at the deadline, if there is one.
func Explore(f New, root []Action, depth int, deadline time.Time) *Walk {
	w := newWorld(f)
	for _, a := range root {
		w.act(a)
	}
	k := &walking{deadline: deadline, seen: map[state]bool{w.state(): true}, failures: map[string]*Failure{}}
	level := []*place{{}}
	k.States = append(k.States, 1)
	for distance := 1; distance <= depth && len(level) > 0; distance++ {
		k.next = nil
		places := make(chan *place)
		var done sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			done.Go(func() {
				own := newWorld(f)
				for p := range places {
					k.expand(own, w, root, p)
				}
			})
		}
		for _, p := range level {
			places <- p
		}
		close(places)
		done.Wait()
		k.States = append(k.States, len(k.next))
		if k.late() {
			break
		}
		k.Deepest, level = distance, k.next
	}
	for _, kind := range sorted(k.failures) {
		k.Failures = append(k.Failures, k.failures[kind])
	}
	return &k.Walk
}

// late tells whether the time is over.
func (k *walking) late() bool { return !k.deadline.IsZero() && time.Now().After(k.deadline) }

// expand a place: take every action from there.
func (k *walking) expand(own, root *World, before []Action, p *place) {
	if k.late() {
		return
	}
	w := root.clone().adopt(own)
	for _, a := range p.path() {
		w.act(a)
	}
	taken, steps := 0, 0
	for _, a := range w.alphabet() {
		if k.late() {
			break
		}
		next := w.clone().adopt(own)
		taken++
		next.act(a)
		if next.violation == nil && k.arrive(next, p, a) {
			next.finish()
		}
		steps += next.steps - w.steps
		if next.violation != nil {
			k.fail(next.violation, slices.Concat(before, p.path(), []Action{a}))
		}
	}
	k.Lock()
	defer k.Unlock()
	k.Transitions += taken
	k.Steps += steps
}

// arrive at a place, and tell whether nobody has been there.
func (k *walking) arrive(w *World, from *place, by Action) bool {
	s := w.state()
	k.Lock()
	defer k.Unlock()
	if k.seen[s] {
		return false
	}
	k.seen[s] = true
	k.next = append(k.next, &place{from, by})
	return true
}

// fail remembers a failure, if there is none of its kind that is as short.
func (k *walking) fail(v *Violation, actions []Action) {
	k.Lock()
	defer k.Unlock()
	kind := v.kind()
	switch f := k.failures[kind]; {
	case f == nil:
		k.failures[kind] = &Failure{actions, v, 1}
	default:
		f.Times++
		if len(actions) < len(f.Actions) {
			f.Actions, f.Violation = actions, v
		}
	}
}

// kind of a violation: what it says, but for what is one history's.
func (v *Violation) kind() string {
	first, _, _ := strings.Cut(v.Message, "\n")
	first, _, _ = strings.Cut(first, "(owns")
	return string(v.Invariant) + ": " + times.ReplaceAllString(uids.ReplaceAllString(first, "UID"), "TIME")
}

// alphabet of a world: all that can happen in it. What has no effect comes to a
// state that was seen.
func (w *World) alphabet() []Action {
	var out []Action
	add := func(a Action, ns ...int) {
		if len(ns) == 0 {
			ns = []int{0}
		}
		for _, n := range ns {
			a.N = n
			out = append(out, a)
		}
	}
	for _, name := range sorted(w.tenants) {
		w.happens(name, add)
	}
	w.wants("acme", add)

	add(Action{Do: "settle"})
	add(Action{Do: "pass"}, 31, 400, 4000)
	add(Action{Do: "restart-core"})
	add(Action{Do: "clock"}, 0, 2, 4)
	add(Action{Do: "etcd-backup"})
	add(Action{Do: "etcd-restore"})
	if w.hasGarbage() {
		add(Action{Do: "collect-garbage"})
	}
	if len(w.replays) > 0 {
		add(Action{Do: "replay"})
	}
	for n := range variants {
		if n != w.platform.variant {
			add(Action{Do: "platform"}, n)
		}
	}
	// The template of a tenant that asks for nothing in particular: its declaration
	// is late, it goes, and it comes back.
	add(Action{Do: "template-vanishes"}, 2, 8, 20)
	add(Action{Do: "template-returns"}, 2)
	add(Action{Do: "quota"}, 2, 3)
	add(Action{Do: "provider"}, 0, 1)
	add(Action{Do: "gateway"}, 0, 1)
	return out
}

// happens to what a tenant consists of, by programs and by hands.
func (w *World) happens(name string, add func(Action, ...int)) {
	add(Action{Do: "reconcile", Tenant: name})
	// Numbers with which Crossplane dies in different places.
	add(Action{Do: "reconcile-lost", Tenant: name}, 0, 1, 2, 3, 4)
	add(Action{Do: "reconcile-refused", Tenant: name}, 0, 1)
	add(Action{Do: "reconcile-conflict", Tenant: name})
	add(Action{Do: "reconcile-behind", Tenant: name})
	xr := w.client(name)
	if xr != nil && xr.deleting() {
		add(Action{Do: "reconcile-stale", Tenant: name})
	}
	for _, r := range w.refs() {
		o := w.objects[r]
		if o.kind == kindClient || text(o.body, "metadata", "labels", labelComposite) != name || w.find(name, o.key()) != o {
			continue
		}
		a := Action{Tenant: name, Key: o.key()}
		does := func(what string, ns ...int) { a.Do = what; add(a, ns...) }
		does("hand-delete")
		does("hand-edit", 0, 2, 3)
		does("hand-unref")
		switch o.kind {
		case kindDatabase:
			a.Key = ""
			for _, how := range []string{"provide", "provide-in-use", "provide-dies", "provide-is-lost", "provide-is-late"} {
				does(how)
			}
			a.Key = o.key()
			does("hand-annotate", 0, 1, 2, 3)
			does("pause", 0, 1)
			does("flicker")
		case kindUsage:
			does("guard")
			does("flicker")
		case kindRoute:
			does("accept")
			does("flicker")
		case kindCronJob:
			does("nightly")
			does("flicker")
		case kindJob:
			switch {
			case o.deleting():
				does("pod-gone")
				does("last-gasp")
			case o.pod:
				for _, how := range []string{"finish", "fail", "break", "terminal"} {
					does(how)
				}
			default:
				does("start")
			}
		}
	}
}

// wants are what people want of a tenant, or do around it.
func (w *World) wants(name string, add func(Action, ...int)) {
	for _, do := range []string{"cancel", "waive", "version", "suspend", "resume", "adopt", "unadopt", "mend", "dry-run", "write", "hand-drop", "foreign-goes"} {
		add(Action{Do: do, Tenant: name})
	}
	add(Action{Do: "pause", Tenant: name}, 0, 1)
	for _, policy := range []string{policyBackground, policyForeground, policyOrphan} {
		add(Action{Do: "delete", Tenant: name, Key: policy})
	}
	add(Action{Do: "create", Tenant: name}, 0, 9)
	add(Action{Do: "tier", Tenant: name}, 0, 1, 2)
	add(Action{Do: "protect", Tenant: name}, 0, 1)
	add(Action{Do: "bad-spec", Tenant: name}, 0, 2, 3)
	add(Action{Do: "foreign-database", Tenant: name}, 0, 3, 7, 29)
	for _, key := range []string{"guard", "database", "route", "backup", "tenant-prepare", "final-backup"} {
		add(Action{Do: "foreign-object", Tenant: name, Key: key}, 0, 3)
	}
	add(Action{Do: "object-goes"})
	add(Action{Do: "misrefer", Tenant: name})
	for _, effect := range []string{"smoke-test", "tenant-prepare", "filestore-clone", "client-provisioned"} {
		add(Action{Do: "rerun", Tenant: name, Key: effect})
	}
}

// String says what a walk came to.
func (k *Walk) String() string {
	all := 0
	for _, n := range k.States {
		all += n
	}
	return fmt.Sprintf("%d states (%v by their distance from the root), %d actions taken, %d calls of the function, all that is within %d actions",
		all, k.States, k.Transitions, k.Steps, k.Deepest)
}
