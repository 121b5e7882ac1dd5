package tenant

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/plana-pulse/function-planaclient/fn/plan"
	"github.com/plana-pulse/function-planaclient/input/v1beta1"
)

// startingDeadline is how late a backup may start, after an outage of the control
// plane. Without one it would start however late, among people at work.
const startingDeadline = 2 * time.Hour

// twoNights without a backup, with room for one that began late.
const twoNights = 36 * time.Hour

// scratchPath is where restic keeps its cache.
const scratchPath = "/scratch"

// backup composes the CronJob that backs the tenant up every night.
func backup(t *tenant) plan.Result {
	b := t.platform.Backup
	job := t.jobTemplate("backup", b.Deadline.Duration, t.backupPod("backup", readBackOver(b.ReadBackNights)))
	c := &batchv1.CronJob{
		TypeMeta:   metav1.TypeMeta{APIVersion: batchv1.SchemeGroupVersion.String(), Kind: "CronJob"},
		ObjectMeta: t.objectMeta(b.Namespace, t.backupName(), "backup"),
		Spec: batchv1.CronJobSpec{
			Schedule: t.backupSchedule(),
			TimeZone: ptr.To(b.Window.TimeZone),
			// Two backups of one tenant would wait for the same repository.
			ConcurrencyPolicy:          batchv1.ForbidConcurrent,
			StartingDeadlineSeconds:    ptr.To(int64(startingDeadline.Seconds())),
			SuccessfulJobsHistoryLimit: ptr.To[int32](1),
			FailedJobsHistoryLimit:     ptr.To[int32](1),
			Suspend:                    ptr.To(t.backupsPaused()),
			JobTemplate: batchv1.JobTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: t.labels("backup")},
				Spec:       job,
			},
		},
	}

	what := plan.Composed{Object: c}
	observed := t.observed.backup
	if observed == nil {
		return plan.Desire(what, plan.Progressing(reasonCreating, "CronJob %s/%s is being created", c.GetNamespace(), c.GetName()))
	}

	if gap := unbacked(observed); gap > 0 {
		x := troubleLastBackupFailed
		if gap > twoNights {
			x = troubleBackupsFail
		}
		o := x.Outcome(map[string]string{"namespace": c.GetNamespace(), "name": t.xr.GetName()},
			"the backup of %s failed", observed.Status.LastScheduleTime.UTC().Format(time.RFC3339))
		// The tenant works, and yesterday's backup is there.
		o.State = plan.StateDegraded
		return plan.Desire(what, o)
	}
	if t.backupsPaused() {
		return plan.Desire(what, plan.Complete(reasonSuspended, "nothing changes while the tenant is suspended, so the nightly backups are paused"))
	}
	return plan.Desire(what, plan.Complete(reasonAvailable, "backed up every night by CronJob %s/%s", c.GetNamespace(), c.GetName()))
}

// backupName is the name of the CronJob.
func (t *tenant) backupName() string {
	return "backup-" + t.xr.GetName()
}

// backupPod returns a pod that backs the tenant up.
func (t *tenant) backupPod(effect string, more ...corev1.EnvVar) corev1.PodSpec {
	c := t.container(effect, t.postgresEnv(t.platform.Postgres.BackupSecret), filestoreEnv(), t.repositoryEnv(), more)
	c.Resources = requirements(t.platform.Backup.Resources)
	return t.pod(c,
		t.withOwnFiles(t.version.BackupFilestoreClaim, true),
		withScratch("scratch", scratchPath, *t.platform.Backup.ScratchLimit),
	)
}

// readBackOver so many nights, a nightly backup reads everything in the repository.
func readBackOver(nights int32) corev1.EnvVar {
	return plainEnv("BACKUP_READ_BACK_NIGHTS", fmt.Sprint(nights))
}

// repositoryEnv tells an effect where the tenant's backups are.
func (t *tenant) repositoryEnv() []corev1.EnvVar {
	b := t.platform.Backup
	return append([]corev1.EnvVar{
		plainEnv("RESTIC_REPOSITORY", t.backupRepository()),
		secretEnv("RESTIC_PASSWORD", b.RepositorySecret),
		secretEnv("AWS_ACCESS_KEY_ID", v1beta1.SecretKey{Name: b.StorageSecret, Key: "access-key"}),
		secretEnv("AWS_SECRET_ACCESS_KEY", v1beta1.SecretKey{Name: b.StorageSecret, Key: "secret-key"}),
		plainEnv("AWS_DEFAULT_REGION", b.Region),
		plainEnv("RESTIC_CACHE_DIR", scratchPath),
		plainEnv("BACKUP_RETENTION_DAYS", fmt.Sprint(t.tier.RetentionDays)),
	}, t.storageAuthority().env()...)
}

// backupRepository is the tenant's own: one that is locked, damaged or leaked is
// then one tenant's.
func (t *tenant) backupRepository() string {
	return fmt.Sprintf("%s/%s-%d", t.platform.Backup.Repository, t.xr.Spec.Subdomain, t.xr.Spec.ProjectID)
}

// backupSchedule spreads tenants evenly over the nightly window, each at a time
// of its own that never changes by itself.
func (t *tenant) backupSchedule() string {
	w := t.platform.Backup.Window
	start, err := time.Parse("15:04", w.Start)
	if err != nil {
		// A validated Platform has none but good ones.
		start = time.Time{}
	}

	h := fnv.New64a()
	_, _ = h.Write([]byte(t.xr.Spec.Subdomain))                                 // A hash never fails.
	offset := time.Duration(h.Sum64()%uint64(w.Length.Minutes())) * time.Minute //nolint:gosec // It is less than a day.

	at := start.Add(offset)
	return fmt.Sprintf("%d %d * * *", at.Minute(), at.Hour())
}

// unbacked returns for how long a tenant had gone without a successful backup
// when the latest one began: zero if that one succeeded, or still runs.
func unbacked(c *batchv1.CronJob) time.Duration {
	began, succeeded := c.Status.LastScheduleTime, c.Status.LastSuccessfulTime
	if began == nil || len(c.Status.Active) > 0 {
		return 0
	}
	if succeeded == nil {
		succeeded = &c.CreationTimestamp
	}
	return max(0, began.Sub(succeeded.Time))
}

// backupsPaused tells whether there is nothing new to back up every night.
func (t *tenant) backupsPaused() bool {
	return t.suspending()
}

// suspendBackup backs the tenant up as it was left.
func suspendBackup(t *tenant) jobSpec {
	return jobSpec{
		key:       effectSuspendBackup,
		namespace: t.platform.Backup.Namespace,
		deadline:  t.platform.Backup.Deadline.Duration,
		// The nightly ones pause, and don't come round to the rest.
		pod: func() corev1.PodSpec { return t.backupPod("backup", readBackOver(1)) },
	}
}

// finalBackup makes the last backup, and reads it back.
func finalBackup(t *tenant) jobSpec {
	return jobSpec{
		key:       effectFinalBackup,
		namespace: t.platform.Backup.Namespace,
		deadline:  t.platform.Backup.Deadline.Duration,
		pod:       func() corev1.PodSpec { return t.backupPod(effectFinalBackup, t.occasionEnv()) },
	}
}

// backupTombstone says in the tenant's repository that the tenant is gone.
func backupTombstone(t *tenant) jobSpec {
	return jobSpec{
		key:       effectBackupTombstone,
		namespace: t.platform.Backup.Namespace,
		// It is done within seconds, but for a lock that was left in the repository.
		deadline: t.platform.Backup.Deadline.Duration,
		pod: func() corev1.PodSpec {
			c := t.container(effectBackupTombstone, t.repositoryEnv(), []corev1.EnvVar{t.occasionEnv()})
			c.Resources = requirements(t.platform.Backup.Resources)
			return t.pod(c, withScratch("scratch", scratchPath, *t.platform.Backup.ScratchLimit))
		},
	}
}

// occasionEnv tells an effect which teardown it is run for: the last backup of one
// that was cancelled isn't the next one's.
func (t *tenant) occasionEnv() corev1.EnvVar {
	return plainEnv("BACKUP_OCCASION", t.teardownRun())
}

// annotationSkipFinalBackup lets one tenant's data go without a last backup. Its
// value must be the tenant's name, so that nobody sets it on a fleet, or the name and
// anything behind a slash, for another time: a value counts for one delete.
const annotationSkipFinalBackup = ownPrefix + "skip-final-backup"

// annotationPublished on a Database object says that the database has been prepared
// for its tenant. The status says so too; but a status can be lost, or come out of an
// old backup.
const annotationPublished = ownPrefix + "published"

// needsFinalBackup tells whether there is a customer's data to back up.
func needsFinalBackup(t *tenant) bool {
	return holdsData(t) && hadDatabase(t) && t.backupWaivedBy() == "" && !t.dropping()
}

// holdsData tells whether the tenant's database may hold somebody's data. It doesn't
// if it is a mere clone or empty: created for this tenant, and never prepared. All else
// may: what was taken over holds another's data from the beginning.
func holdsData(t *tenant) bool {
	db := t.observed.database
	switch {
	case t.Done(effectTenantPrepare), t.xr.Spec.Database.Adopt, t.fenced():
		return true
	case !t.ownsDatabase():
		return false
	case !t.createdDatabase() && !t.hasOwnershipTag(db):
		return true
	}
	// Whatever a status remembers that came out of an older backup.
	return db.GetAnnotations()[annotationPublished] != "" || t.isReleaseRole(ownerOf(db))
}

// backupWaivedBy says who let the tenant's data go without a last backup.
func (t *tenant) backupWaivedBy() string {
	switch v := t.waiver(); {
	case v != "" && v != t.spentWaiver():
		return "annotation " + annotationSkipFinalBackup
	case t.platform.Deletion.FinalBackup == v1beta1.FinalBackupSkip:
		return "Platform, deletion.finalBackup"
	default:
		return ""
	}
}

// waiver is what the annotation says, if it is this tenant's.
func (t *tenant) waiver() string {
	v := t.xr.GetAnnotations()[annotationSkipFinalBackup]
	if v == t.xr.GetName() || strings.HasPrefix(v, t.xr.GetName()+"/") {
		return v
	}
	return ""
}

// spentWaiver is the value of the annotation that has counted for a delete that was
// cancelled. To waive the next one's backup takes another value, or the annotation
// taken off and put on again.
func (t *tenant) spentWaiver() string {
	switch v := t.waiver(); {
	case v == "":
		return ""
	case !t.leaving() && t.xr.Status.Deletion != nil:
		return v
	default:
		return t.xr.Status.SpentWaiver
	}
}

// nextWaiver is a value of the annotation that counts.
func (t *tenant) nextWaiver() string {
	if t.xr.GetName() != t.spentWaiver() {
		return t.xr.GetName()
	}
	return t.xr.GetName() + "/again"
}
