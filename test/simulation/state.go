package simulation

import (
	"crypto/sha256"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A state is what two worlds have in common that go on in the same way. It has all
// that the function, the API server, Crossplane and provider-sql know, and all that
// is outside. It hasn't what only ever tells one moment or one object from another:
//
//   - a UID, and an ownership tag, which is made of one, is the place of its first
//     appearance;
//   - a time is that too, together with its age in steps that somebody waits for;
//   - a generation is whether it was seen; what customers have written, of several
//     things the older and the newer;
//   - when a condition changed last is nothing: nobody goes by that.
//
// What is left out wrongly makes the walk miss histories, and what is left in
// needlessly makes it repeat some. Neither makes it fail.
type state [sha256.Size]byte

// state of the world.
func (w *World) state() state {
	s := &stating{w: w, places: map[string]int{}}
	s.ranks()
	for _, r := range w.refs() {
		s.object(w.objects[r])
	}

	s.say("platform", w.platform.variant, "down", w.providerDown, "refuses", w.gatewayRefuses, "ahead", int(w.ahead))
	if w.etcd != nil {
		s.say("etcd", w.etcd.state)
	}
	for _, name := range sorted(w.tenants) {
		t := w.tenants[name]
		s.say("tenant", name, t.dirty, t.due > 0, len(t.composed), len(t.required))
		for _, r := range w.refs() {
			s.say(t.composed[r])
		}
		// What a cache may show is told by how far behind it may be.
		xr := w.client(name)
		s.say(xr != nil && same(t.read["spec"], xr.body["spec"]) && same(t.read["status"], xr.body["status"]))
		for _, required := range sorted(t.required) {
			s.say(required, t.required[required].ref, t.required[required].labels)
		}
	}
	for _, uid := range sorted(w.lives) {
		l := *w.lives[uid]
		done, excused := l.done, l.excused
		asked := l.askedAt >= 0
		s.say("life", s.text(uid), asked, asked && w.elapsed+l.shortened-l.askedAt >= defaultGrace, sortedTexts(s, done), sortedTexts(s, excused))
		l.uid, l.askedAt, l.shortened, l.done, l.excused = "", 0, 0, nil, nil
		s.say(l)
	}
	for _, r := range w.replays {
		s.say("replay", r.at <= w.elapsed, r.name, r.policy)
	}

	s.databases("database", w.outside.databases)
	s.databases("coming", w.coming)
	for _, path := range sorted(w.files) {
		d := *w.files[path]
		d.uid, d.content = s.text(d.uid), s.rank(d.content)
		s.say("files", path, d)
	}
	for _, alias := range sorted(w.rooms) {
		s.say("room", alias, s.text(w.rooms[alias].uid))
	}
	for _, notices := range [][]notice{w.portal, w.stream} {
		for _, n := range notices {
			s.say("notice", s.text(n.uid), n.event)
		}
	}
	for _, repository := range sorted(w.snapshots) {
		// Of many alike, the last one says all.
		var last snapshot
		for _, shot := range w.snapshots[repository] {
			shot.uid, shot.content, shot.files = s.text(shot.uid), s.rank(shot.content), s.rank(shot.files)
			shot.occasion = s.text(shot.occasion)
			if shot != last {
				s.say("snapshot", repository, shot)
			}
			last = shot
		}
	}
	for _, repository := range sorted(w.tombs) {
		for _, t := range w.tombs[repository] {
			s.say("tomb", repository, s.text(t.uid), s.text(t.occasion))
		}
	}
	s.say("superuser", w.superuser, "written", w.written > 0)
	return sha256.Sum256([]byte(s.b.String()))
}

// sortedTexts of a set.
func sortedTexts(s *stating, set map[string]bool) []string {
	var out []string
	for name, in := range set {
		if in {
			out = append(out, s.text(name))
		}
	}
	slices.Sort(out)
	return out
}

// stating is a state in the making.
type stating struct {
	w      *World
	b      strings.Builder
	places map[string]int
	rankOf map[int]int
}

func (s *stating) say(what ...any) {
	for _, v := range what {
		switch v := v.(type) {
		case string:
			s.b.WriteString(v)
		case int:
			s.b.WriteString(strconv.Itoa(v))
		case bool:
			s.b.WriteString(strconv.FormatBool(v))
		default:
			fmt.Fprintf(&s.b, "%+v", v)
		}
		s.b.WriteByte(0)
	}
}

// sum says something of a set, whose members come in any order.
func (s *stating) sum(members ...string) {
	var sum uint64
	for _, m := range members {
		h := fnv.New64a()
		_, _ = h.Write([]byte(m))
		sum += h.Sum64()
	}
	s.say(strconv.FormatUint(sum, 36))
}

// ranks of all that was written.
func (s *stating) ranks() {
	var all []int
	for _, db := range s.w.outside.databases {
		all = append(all, db.content)
	}
	for _, d := range s.w.files {
		all = append(all, d.content)
	}
	for _, shots := range s.w.snapshots {
		for _, shot := range shots {
			all = append(all, shot.content, shot.files)
		}
	}
	for _, o := range s.w.objects {
		all = append(all, o.dumps, o.dumpsFiles)
	}
	slices.Sort(all)
	s.rankOf = map[int]int{0: 0}
	for _, content := range slices.Compact(all) {
		if content != 0 {
			s.rankOf[content] = len(s.rankOf)
		}
	}
}

func (s *stating) rank(content int) int { return s.rankOf[content] }

func (s *stating) databases(kind string, all map[string]*database) {
	for _, name := range sorted(all) {
		db := *all[name]
		db.madeFor, db.preparedFor, db.content = s.text(db.madeFor), s.text(db.preparedFor), s.rank(db.content)
		if db.limit >= leastLimit {
			db.limit = -2 - s.place(strconv.Itoa(db.limit))
		}
		s.say(kind, db)
	}
}

// object says all of an object.
func (s *stating) object(o *object) {
	s.say(o.ref, o.pod, o.creates, o.missed, o.unreferenced, o.theirs != nil, o.deleting())
	if o.dumps != 0 || o.dumpsFiles != 0 {
		s.say("dumps", s.rank(o.dumps), s.rank(o.dumpsFiles))
	}
	s.sum(sorted(o.applied)...)
	s.sum(sorted(o.others)...)
	if o.kind == kindDatabase {
		// What is compared of times.
		pending, succeeded, failed := o.annotation(annotationPending), o.annotation(annotationSucceeded), o.annotation(annotationFailed)
		s.say(pending > succeeded, pending > failed)
		if xr := s.w.client(o.name); xr != nil {
			s.say(text(o.body, "metadata", "creationTimestamp") < text(xr.body, "metadata", "creationTimestamp"))
		}
	}
	s.value("", o.body, dig(o.body, "metadata", "generation"))
}

// value says a part of an object's body.
func (s *stating) value(name string, v any, generation any) {
	switch v := v.(type) {
	case map[string]any:
		s.b.WriteByte('{')
		for _, k := range sorted(v) {
			switch k {
			case "generation", "lastTransitionTime":
			case "observedGeneration":
				s.say(k, v[k] == generation)
			default:
				s.b.WriteString(k)
				s.b.WriteByte(':')
				s.value(k, v[k], generation)
			}
		}
		s.b.WriteByte('}')
	case []any:
		s.b.WriteByte('[')
		for _, e := range v {
			s.value(name, e, generation)
		}
		s.b.WriteByte(']')
	case string:
		s.b.WriteString(s.text(v))
		s.b.WriteByte(0)
	case float64:
		if name == "connectionLimit" && v >= leastLimit {
			s.say("ownership tag", s.place(strconv.Itoa(int(v))))
			return
		}
		s.b.WriteString(strconv.FormatFloat(v, 'g', -1, 64))
		s.b.WriteByte(0)
	default:
		s.say(v)
	}
}

var (
	uids  = regexp.MustCompile(`00000000-0000-4000-8000-\d{12}`)
	times = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
)

// text without what is one moment's or one object's.
func (s *stating) text(t string) string {
	if len(t) >= 36 && strings.Contains(t, "-4000-8000-") {
		t = uids.ReplaceAllStringFunc(t, func(uid string) string { return fmt.Sprintf("<uid %d>", s.place(uid)) })
	}
	if len(t) >= 20 && strings.Contains(t, "T") && strings.Contains(t, "Z") {
		t = times.ReplaceAllStringFunc(t, func(at string) string { return fmt.Sprintf("<time %d %d>", s.place(at), s.age(at)) })
	}
	return t
}

// place of the first appearance of something that only has to be told from others.
func (s *stating) place(of string) int {
	if p, there := s.places[of]; there {
		return p
	}
	s.places[of] = len(s.places)
	return s.places[of]
}

// ages that somebody waits for: provider-sql until it believes that there is no
// database, the function until it calls a provider or a pod slow, and people in the
// grace period of a delete.
var ages = []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, defaultGrace * time.Second, time.Hour}

// age of a moment, in steps that somebody waits for.
func (s *stating) age(at string) int {
	then, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return -1
	}
	past := s.w.now().Sub(then)
	for i, a := range ages {
		if past < a {
			return i
		}
	}
	return len(ages)
}
