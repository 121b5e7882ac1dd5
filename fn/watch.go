package fn

import (
	"errors"
	"slices"

	"github.com/crossplane/function-sdk-go/logging"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// This file is what people see of the function's work who don't look at a tenant:
// what it counts, and what it logs. What is counted names no tenant. What is logged
// doesn't repeat what a tenant's owner or a controller has written, unless it is of
// a wrong type and so can't be read.

// Outcomes of a call.
const (
	outcomeRefused   = "refused"
	outcomeBroken    = "broken"
	outcomeStuck     = "stuck"
	outcomeGone      = "gone"
	outcomeLeaving   = "leaving"
	outcomeSuspended = "suspended"
	outcomeReady     = "ready"
	outcomeWorking   = "working"
)

var outcomes = []string{
	outcomeRefused, outcomeBroken, outcomeStuck, outcomeGone,
	outcomeLeaving, outcomeSuspended, outcomeReady, outcomeWorking,
}

// stateNames are how states are counted and logged.
var stateNames = map[state]string{
	waiting: "waiting",
	working: "working",
	failed:  "failed",
	ailing:  "ailing",
	done:    "done",
}

// metrics of the function.
type metrics struct {
	responses *prometheus.CounterVec
	changes   *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "planaclient", Subsystem: "function", Name: "responses_total",
			Help: "Responses by how the tenant stands: refused, broken (a fault of the function's), stuck (it is somebody's turn), gone, leaving, suspended, ready or working.",
		}, []string{"outcome"}),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "planaclient", Subsystem: "function", Name: "step_changes_total",
			Help: "Responses that say something new of a step, by the step's condition and its state: waiting, working, failed, ailing or done.",
		}, []string{"condition", "state"}),
	}
	// What has never happened is 0, so that its first time is an increase.
	for _, o := range outcomes {
		m.responses.WithLabelValues(o)
	}
	for i := range plan {
		m.initialize(plan[i].condition)
	}
	m.initialize(conditionSuspended)
	m.initialize(conditionDeprovisioned)
	return m
}

func (m *metrics) initialize(condition string) {
	for _, s := range stateNames {
		m.changes.WithLabelValues(condition, s)
	}
}

// Describe the function's metrics, as a prometheus.Collector does.
func (f *Function) Describe(into chan<- *prometheus.Desc) {
	f.metrics.responses.Describe(into)
	f.metrics.changes.Describe(into)
}

// Collect the function's metrics, as a prometheus.Collector does.
func (f *Function) Collect(into chan<- prometheus.Metric) {
	f.metrics.responses.Collect(into)
	f.metrics.changes.Collect(into)
}

// noteRefusal counts and logs that nothing was done. What has been said before is
// worth a look only to those who debug.
func (f *Function) noteRefusal(log logging.Logger, r *refusal, news bool) {
	f.metrics.responses.WithLabelValues(outcomeRefused).Inc()
	values := []any{"reason", r.reason}
	if fields := refusedFields(r.err); len(fields) > 0 {
		// The error quotes what was written there: names and addresses of people.
		values = append(values, "fields", fields)
	} else {
		values = append(values, "error", r.err)
	}
	if news {
		log.Info("Refused", values...)
		return
	}
	log.Debug("Refused, as before", values...)
}

// refusedFields returns the paths of the fields that an error is about.
func refusedFields(err error) []string {
	var all utilerrors.Aggregate
	if !errors.As(err, &all) {
		return nil
	}
	var paths []string
	for _, e := range all.Errors() {
		if invalid := (*field.Error)(nil); errors.As(e, &invalid) {
			paths = append(paths, invalid.Field)
		}
	}
	return paths
}

// noteBroken counts and logs a fault of the function's own.
func (f *Function) noteBroken(log logging.Logger, err error) {
	f.metrics.responses.WithLabelValues(outcomeBroken).Inc()
	log.Info("Cannot express the desired state", "error", err)
}

// noteProgress counts and logs how a tenant stands, and what is new of it.
func (f *Function) noteProgress(log logging.Logger, t *tenancy, p *progress) {
	sum := p.sum()
	f.metrics.responses.WithLabelValues(sum).Inc()

	changes := t.changes(p)
	said := make([]string, 0, len(changes))
	for _, c := range changes {
		f.metrics.changes.WithLabelValues(c.typ, stateNames[c.outcome.state]).Inc()
		said = append(said, c.typ+": "+t.formerReason(c.typ)+" to "+c.outcome.reason)
	}

	values := []any{"outcome", sum}
	if p.deletion != nil {
		values = append(values, "teardownStep", p.deletion.Step)
	}
	log.Debug("Answered", append(slices.Clone(values), "composed", len(p.composed))...)
	if last := t.client.Status.Deletion; len(said) > 0 || p.deletion != nil && (last == nil || last.Step != p.deletion.Step) {
		log.Info("Changed", append(values, "changes", said)...)
	}
}

// sum of how the steps stand, in one word.
func (p *progress) sum() string {
	switch {
	case slices.ContainsFunc(p.conditions, func(c condition) bool { return c.outcome.state == failed }):
		return outcomeStuck
	case p.deletion != nil && p.deletion.Step == stepGone:
		return outcomeGone
	case p.deletion != nil:
		return outcomeLeaving
	case p.suspension != nil:
		return outcomeSuspended
	case p.finished:
		return outcomeReady
	default:
		return outcomeWorking
	}
}

// noNews are the reasons of steps that aren't taken, or not yet.
var noNews = []string{reasonWaiting, reasonNotNeeded, reasonDeprovisioning}

// changes are the conditions that differ from what the PLANAClient has.
func (t *tenancy) changes(p *progress) []condition {
	return slices.DeleteFunc(slices.Clone(p.conditions), func(c condition) bool {
		before := t.condition(c.typ)
		return slices.Contains(noNews, c.outcome.reason) ||
			string(before.Reason) == c.outcome.reason && (before.Status == corev1.ConditionTrue) == c.outcome.ok()
	})
}

// formerReason is the reason of a condition that the PLANAClient has.
func (t *tenancy) formerReason(typ string) string {
	if !t.knows(typ) {
		return "nothing"
	}
	return string(t.condition(typ).Reason)
}
