package tenant_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"github.com/plana-pulse/function-planaclient/fn"
)

// A recorder is a logger that keeps what it is told.
type recorder struct {
	values string
	lines  *[]string
}

func (r recorder) Info(msg string, values ...any)  { r.add("info", msg, values) }
func (r recorder) Debug(msg string, values ...any) { r.add("debug", msg, values) }

func (r recorder) add(level, msg string, values []any) {
	*r.lines = append(*r.lines, level+" "+msg+r.values+joined(values))
}

func (r recorder) WithValues(values ...any) logging.Logger {
	return recorder{values: r.values + joined(values), lines: r.lines}
}

func joined(values []any) string {
	var b strings.Builder
	for pair := range slices.Chunk(values, 2) {
		fmt.Fprintf(&b, " %v=%v", pair[0], pair[1])
	}
	return b.String()
}

// recorded has the world's function log to where the test can read it. What it
// has counted is forgotten.
func (w *world) recorded() *[]string {
	lines := &[]string{}
	w.function = fn.New(recorder{lines: lines}, w.clock)
	return lines
}

// unique lines, each where it stands first.
func unique(lines []string) []string {
	var all []string
	for _, line := range lines {
		if !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return all
}

// TestLog reads what the function says of some calls.
func TestLog(t *testing.T) {
	cases := map[string]struct {
		reason string
		do     func(w *world)
		world  func(tb testing.TB) *world
		want   []string
	}{
		"First": {
			reason: "That a step waits for its turn isn't worth a line.",
			do:     func(w *world) { w.run() },
			want: []string{
				"debug Answered tag=tag tenant=acme outcome=working composed=0",
				"debug Answered tag=tag tenant=acme outcome=working composed=1",
				"info Changed tag=tag tenant=acme outcome=working changes=[GuardReady: nothing to Creating]",
			},
		},
		"NothingNew": {
			reason: "A call that finds everything as it was is for those who debug.",
			world:  finished,
			do:     func(w *world) { w.reconcile() },
			want:   []string{"debug Answered tag=tag tenant=acme outcome=ready composed=4"},
		},
		"Failed": {
			reason: "A step that fails is named with what it was before.",
			world: func(tb testing.TB) *world {
				tb.Helper()
				w := newWorld(tb, acme())
				w.reconcile()
				for _, key := range []string{"guard", "database", "database", "module-install"} {
					w.settle(key)
					w.reconcile()
				}
				return w
			},
			do: func(w *world) {
				w.fail("tenant-prepare")
				w.reconcile()
			},
			want: []string{
				"debug Answered tag=tag tenant=acme outcome=stuck composed=5",
				"info Changed tag=tag tenant=acme outcome=stuck changes=[Prepared: Creating to JobFailed]",
			},
		},
		"Deleted": {
			reason: "A teardown is followed step by step.",
			world:  finished,
			do: func(w *world) {
				w.client.in("metadata", "annotations")[deleted] = "Background"
				w.reconcile()
			},
			want: []string{
				"debug Answered tag=tag tenant=acme outcome=leaving teardownStep=grace composed=4",
				"info Changed tag=tag tenant=acme outcome=leaving teardownStep=grace changes=[Deprovisioned: nothing to GracePeriod]",
			},
		},
		"Refused": {
			reason: "A refusal is told once, by the fields and not by what people wrote in them.",
			world:  finished,
			do: func(w *world) {
				w.client.in("spec")["ownerEmail"] = "ceo at acme"
				w.client.in("spec")["tier"] = "gold"
				w.reconcile()
				w.reconcile()
			},
			want: []string{
				"info Refused tag=tag tenant=acme reason=InvalidSpec fields=[spec.tier spec.ownerEmail]",
				"debug Refused, as before tag=tag tenant=acme reason=InvalidSpec fields=[spec.tier spec.ownerEmail]",
			},
		},
		"RefusedFromTheFirst": {
			reason: "Nor is the refusal of a tenant that has nothing told each time that Crossplane tries again.",
			do: func(w *world) {
				w.client.in("spec")["ownerEmail"] = "ceo at acme"
				w.reconcile()
				w.reconcile()
			},
			want: []string{
				"info Refused tag=tag tenant=acme reason=InvalidSpec fields=[spec.ownerEmail]",
				"debug Refused, as before tag=tag tenant=acme reason=InvalidSpec fields=[spec.ownerEmail]",
			},
		},
		"RefusedPlatform": {
			reason: "A Platform is the installation's own, and holds nothing but names.",
			do: func(w *world) {
				w.platform["domian"] = "planapulse.app"
				w.run()
			},
			want: []string{`info Refused tag=tag tenant=acme reason=InvalidPlatform error=cannot use the Platform: unknown field "domian"`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			if tc.world != nil {
				w = tc.world(t)
			}
			lines := w.recorded()
			tc.do(w)
			// Crossplane calls again with what it was asked for, and gets to hear the
			// same once more.
			if diff := cmp.Diff(tc.want, unique(*lines)); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestLogKeepsQuiet has tenants come, fail, be refused and go, and looks for what
// is none of the log's business.
func TestLogKeepsQuiet(t *testing.T) {
	w := newWorld(t, acme())
	w.client.in("spec")["ownerName"] = "Owner's-Name"
	w.client.in("spec")["ownerEmail"] = "owners-address@acme.bg"
	lines := w.recorded()
	w.life()
	for key := range maps.Clone(w.composed) {
		if w.composed[key]["kind"] == "Job" {
			w.fail(key)
		}
	}
	w.reconcile()
	w.client.in("metadata", "annotations")[deleted] = "Background"
	w.life()

	for _, r := range refusals(t) {
		w := newWorld(t, acme())
		overlay(w.client, r.Client)
		more := w.recorded()
		w.run()
		*lines = append(*lines, *more...)
		for _, name := range []string{"ownerName", "ownerEmail"} {
			value, _ := w.client.in("spec")[name].(string)
			if _, changed := r.Client.in("spec")[name]; changed && strings.TrimSpace(value) != "" && strings.Contains(strings.Join(*more, "\n"), value) {
				t.Errorf("%s: the log quotes spec.%s: %q", r.Name, name, *more)
			}
		}
	}
	if len(*lines) < 100 {
		t.Fatalf("only %d lines were logged: this test tests nothing", len(*lines))
	}
	for _, line := range *lines {
		if strings.Contains(line, "wner's-Name") || strings.Contains(line, "owners-address") {
			t.Errorf("the log tells of a person: %s", line)
		}
	}
}

// counted are the function's metrics that aren't 0, by name and labels.
func counted(t *testing.T, f *fn.Function) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(f)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			if v := m.GetCounter().GetValue(); v > 0 {
				got[name] = v
			}
		}
	}
	return got
}

func TestCount(t *testing.T) {
	const (
		responses = "planaclient_function_responses_total outcome="
		changes   = "planaclient_function_step_changes_total "
	)
	w := finished(t)
	w.recorded()

	w.reconcile()
	if diff := cmp.Diff(map[string]float64{responses + "ready": 1}, counted(t, w.function)); diff != "" {
		t.Errorf("a tenant in service: -want, +got:\n%s", diff)
	}

	w.client.in("metadata", "annotations")[deleted] = "Background"
	w.life()
	got := counted(t, w.function)
	for _, want := range []string{
		responses + "leaving", responses + "gone",
		changes + "condition=Deprovisioned state=working", changes + "condition=Deprovisioned state=done",
	} {
		if got[want] == 0 {
			t.Errorf("a teardown doesn't count %s: %v", want, got)
		}
	}

	w = newWorld(t, acme())
	w.client.in("spec")["tier"] = "gold"
	w.run()
	if got := counted(t, w.function)[responses+"refused"]; got != 1 {
		t.Errorf("a tenant that is refused: want 1 refusal, got %v", got)
	}
}
