package fn

import (
	"errors"
	"slices"

	"github.com/crossplane/function-sdk-go/logging"
	"github.com/prometheus/client_golang/prometheus"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/plana-pulse/function-planaclient/fn/plan"
)

// This file is what people see of the function's work who don't look at a composite:
// what it counts, and what it logs. What is counted names no composite. What is logged
// doesn't repeat what an owner or a controller has written, unless it is of a wrong type
// and so can't be read.

// stateNames are how states are counted and logged.
var stateNames = map[plan.State]string{
	plan.StatePending:     "waiting",
	plan.StateProgressing: "working",
	plan.StateFailed:      "failed",
	plan.StateDegraded:    "ailing",
	plan.StateComplete:    "done",
}

// metrics of the function.
type metrics struct {
	responses *prometheus.CounterVec
	changes   *prometheus.CounterVec
}

func newMetrics(kinds []plan.Kind) *metrics {
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
	for _, o := range plan.CallOutcomes() {
		m.responses.WithLabelValues(string(o))
	}
	for _, k := range kinds {
		for _, condition := range k.Conditions() {
			for _, s := range plan.States() {
				m.changes.WithLabelValues(condition, stateNames[s])
			}
		}
	}
	return m
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

// note counts and logs how a composite stands, and what is new of it.
func (f *Function) note(log logging.Logger, r plan.Report) {
	f.metrics.responses.WithLabelValues(string(r.Outcome)).Inc()
	if r.Refused != nil {
		logRefusal(log, r.Refused)
		return
	}

	said := make([]string, 0, len(r.Changes))
	for _, c := range r.Changes {
		f.metrics.changes.WithLabelValues(c.Type, stateNames[c.Outcome.State]).Inc()
		from := c.From
		if from == "" {
			from = "nothing"
		}
		said = append(said, c.Type+": "+from+" to "+c.Outcome.Reason)
	}

	values := []any{"outcome", r.Outcome}
	if r.Step != "" {
		values = append(values, "teardownStep", r.Step)
	}
	log.Debug("Answered", append(slices.Clone(values), "composed", r.Composed)...)
	if len(said) > 0 || r.NewStep {
		log.Info("Changed", append(values, "changes", said)...)
	}
}

// logRefusal logs that nothing was done. What has been said before is worth a look only
// to those who debug.
func logRefusal(log logging.Logger, r *plan.Refusal) {
	values := []any{"reason", r.Reason}
	if fields := refusedFields(r.Err); len(fields) > 0 {
		// The error quotes what was written there: names and addresses of people.
		values = append(values, "fields", fields)
	} else {
		values = append(values, "error", r.Err)
	}
	if r.News {
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
	f.metrics.responses.WithLabelValues(string(plan.CallBroken)).Inc()
	log.Info("Cannot express the desired state", "error", err)
}
