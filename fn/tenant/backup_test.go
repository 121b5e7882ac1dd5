package tenant_test

import (
	"fmt"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"
)

func TestBackup(t *testing.T) {
	cases := map[string]struct {
		reason   string
		status   map[string]any
		says     said
		warnings int
	}{
		"New": {
			reason: "A CronJob that is there will run.",
			says:   isTrue("BackupReady", "Available", "backup/backup-acme"),
		},
		"Succeeded": {
			reason: "The last backup began before it succeeded.",
			status: map[string]any{"lastScheduleTime": "2026-11-03T01:47:00Z", "lastSuccessfulTime": "2026-11-03T01:52:00Z"},
			says:   isTrue("BackupReady", "Available"),
		},
		"Running": {
			reason: "A backup that is running hasn't failed.",
			status: map[string]any{
				"lastScheduleTime": "2026-11-04T01:47:00Z", "lastSuccessfulTime": "2026-11-03T01:52:00Z",
				"active": []any{map[string]any{"name": "backup-acme-1"}},
			},
			says: isTrue("BackupReady", "Available"),
		},
		"Failed": {
			reason: "A failed backup is a warning with a way to run it again. The tenant stays Ready: it works.",
			status: map[string]any{"lastScheduleTime": "2026-11-04T01:47:00Z", "lastSuccessfulTime": "2026-11-03T01:52:00Z"},
			says: isTrue("BackupReady", "LastBackupFailed", "2026-11-04T01:47:00Z",
				"kubectl -n backup create job --from=cronjob/backup-acme"),
			warnings: 1,
		},
		"FailedTwice": {
			reason:   "Two nights without a backup are another matter.",
			status:   map[string]any{"lastScheduleTime": "2026-11-05T01:47:00Z", "lastSuccessfulTime": "2026-11-03T01:52:00Z"},
			says:     isTrue("BackupReady", "BackupsFail"),
			warnings: 1,
		},
		"NeverSucceeded": {
			reason:   "The first backup of all may fail too.",
			status:   map[string]any{"lastScheduleTime": "2026-11-03T01:47:00Z"},
			says:     isTrue("BackupReady", "LastBackupFailed"),
			warnings: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := finished(t)
			if tc.status != nil {
				w.composed["backup"]["status"] = tc.status
			}
			rsp := w.reconcile()
			if diff := tc.says.diff(rsp); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
			if !w.ready() {
				t.Errorf("%s\nRunFunction(...): the tenant isn't ready", tc.reason)
			}
			if got := resultsOf(rsp, fnv1.Severity_SEVERITY_WARNING); len(got) != tc.warnings {
				t.Errorf("%s\nRunFunction(...): want %d warnings, got %v", tc.reason, tc.warnings, got)
			}
			if got := resultsOf(w.reconcile(), fnv1.Severity_SEVERITY_WARNING); len(got) > 0 {
				t.Errorf("%s\nRunFunction(...): warned again of what hasn't changed: %v", tc.reason, got)
			}

			// The time of the last success is remembered without the CronJob.
			want, _ := tc.status["lastSuccessfulTime"].(string)
			delete(w.composed, "backup")
			w.reconcile()
			if got, _ := w.client.at("status", "backup", "lastSuccessfulTime").(string); got != want {
				t.Errorf("%s\nstatus.backup.lastSuccessfulTime: want %q, got %q", tc.reason, want, got)
			}
		})
	}
}

// cronJobOf a tenant that has one.
func cronJobOf(tb testing.TB, w *world) *batchv1.CronJob {
	tb.Helper()
	c := &batchv1.CronJob{}
	decode(tb, w.run().GetDesired().GetResources()["backup"], c)
	return c
}

func TestCronJob(t *testing.T) {
	for tier, days := range map[string]string{"starter": "30", "pro": "90", "enterprise": "365"} {
		t.Run(tier, func(t *testing.T) {
			// The longest name that there is.
			name := strings.Repeat("x", 30)
			w := newWorld(t, client(name, 999999999, tier, "19"))
			w.finish()
			c := cronJobOf(t, w)

			if got := len(c.GetName()); got > 52 {
				t.Errorf("a CronJob's name may have 52 characters: %s has %d", c.GetName(), got)
			}
			if got := kubelet(c.Spec.JobTemplate.Spec.Template.Spec.Containers[0])["BACKUP_RETENTION_DAYS"]; got != days {
				t.Errorf("tier %s keeps backups for %s days, want %s", tier, got, days)
			}
			want := batchv1.CronJobSpec{
				Schedule:                   c.Spec.Schedule,
				TimeZone:                   new("Europe/Sofia"),
				ConcurrencyPolicy:          batchv1.ForbidConcurrent,
				StartingDeadlineSeconds:    ptr.To[int64](7200),
				SuccessfulJobsHistoryLimit: ptr.To[int32](1),
				FailedJobsHistoryLimit:     ptr.To[int32](1),
				Suspend:                    new(false),
				JobTemplate:                c.Spec.JobTemplate,
			}
			if diff := cmp.Diff(want, c.Spec); diff != "" {
				t.Errorf("tier %s: CronJob: -want, +got:\n%s", tier, diff)
			}
		})
	}
}

// TestBackupSchedule spreads 2,000 tenants over windows.
func TestBackupSchedule(t *testing.T) {
	cases := map[string]struct {
		reason        string
		start, length string
		from, minutes int // In minutes since midnight.
	}{
		"Default":      {reason: "From one to five.", start: "01:00", length: "4h", from: 60, minutes: 240},
		"PastMidnight": {reason: "A window may begin before midnight.", start: "23:30", length: "90m", from: 23*60 + 30, minutes: 90},
		"OneMinute":    {reason: "The shortest window has one minute.", start: "02:15", length: "1m", from: 135, minutes: 1},
		"AllDay":       {reason: "The longest window is a whole day.", start: "00:00", length: "24h", from: 0, minutes: 1440},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, acme())
			w.platform.in("backup")["window"] = map[string]any{"start": tc.start, "length": tc.length, "timeZone": "UTC"}

			perHalf := [2]int{}
			const tenants = 400
			for i := range tenants {
				w.client = client(fmt.Sprintf("tenant-%d", i), i+1, "pro", "18")
				schedule, _ := structAt(w.run(), "status", "backup", "schedule").(string)
				var minute, hour int
				if _, err := fmt.Sscanf(schedule, "%d %d * * * UTC", &minute, &hour); err != nil {
					t.Fatalf("%s\nschedule %q: %v", tc.reason, schedule, err)
				}
				offset := (hour*60 + minute - tc.from + 1440) % 1440
				if offset >= tc.minutes {
					t.Fatalf("%s\nschedule %q is outside of the window", tc.reason, schedule)
				}
				perHalf[offset*2/tc.minutes]++
			}
			if tc.minutes > 1 && (perHalf[0] < tenants/3 || perHalf[1] < tenants/3) {
				t.Errorf("%s\ntenants crowd in one half of the window: %v", tc.reason, perHalf)
			}
		})
	}
}

// structAt returns a value of the desired composite resource.
func structAt(rsp *fnv1.RunFunctionResponse, path ...string) any {
	return object(rsp.GetDesired().GetComposite().GetResource().AsMap()).at(path...)
}
