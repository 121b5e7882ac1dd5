package tenant_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// preparing is acme while tenant-prepare runs.
func preparing(tb testing.TB) *world {
	tb.Helper()
	w := newWorld(tb, acme())
	w.others = []object{template("pro-template-18")}
	for _, key := range []string{"", "guard", "database", "database", "filestore-clone", "matrix-room-create"} {
		if key != "" {
			w.settle(key)
		}
		w.reconcile()
	}
	return w
}

// finished is acme, provisioned to its end.
func finished(tb testing.TB) *world {
	tb.Helper()
	w := newWorld(tb, acme())
	w.others = []object{template("pro-template-18")}
	return w.finish()
}

// TestPrepareJob shows one Job in full.
func TestPrepareJob(t *testing.T) {
	w := withDatabase(t)
	w.settle("filestore-clone")

	want := &fnv1.Resource{Ready: fnv1.Ready_READY_FALSE, Resource: document(t, `
apiVersion: batch/v1
kind: Job
metadata:
  name: tenant-prepare-acme-23
  namespace: plana-odoo-18
  labels: &labels
    app.kubernetes.io/name: planaclient
    app.kubernetes.io/instance: acme
    app.kubernetes.io/component: tenant-prepare
    app.kubernetes.io/part-of: plana-pulse
    app.kubernetes.io/managed-by: function-planaclient
    planapulse.com/tenant: acme
    planapulse.com/tier: pro
    planapulse.com/odoo-version: "18"
spec:
  activeDeadlineSeconds: 600
  backoffLimit: 4
  podFailurePolicy:
    rules:
    - action: FailJob
      onExitCodes: {operator: In, values: [2]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
  template:
    metadata:
      labels: *labels
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 10
      securityContext:
        runAsNonRoot: true
        runAsUser: 101
        runAsGroup: 101
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: tenant-prepare
        image: plana-pulse/function-planaclient-effects:v0.1.0
        args: [effect, tenant-prepare]
        env:
        - {name: TENANT_NAME, value: acme}
        - {name: TENANT_UID, value: 5d1f6c1e-0000-4000-8000-000000000001}
        - {name: TENANT_PROJECT_ID, value: "23"}
        - {name: TENANT_DATABASE, value: acme.planapulse.app}
        - {name: TENANT_TIER, value: pro}
        - {name: TENANT_ODOO_VERSION, value: "18"}
        - {name: TENANT_OWNER_EMAIL, value: ceo@acme.bg}
        - {name: TENANT_OWNER_NAME, value: Acme Corp}
        - {name: PGHOST, value: pg01.planapulse.com}
        - {name: PGPORT, value: "5432"}
        - {name: PGSSLMODE, value: require}
        - {name: PGUSER, valueFrom: {secretKeyRef: {name: odoo-postgres-creds, key: username}}}
        - {name: PGPASSWORD, valueFrom: {secretKeyRef: {name: odoo-postgres-creds, key: password}}}
        - {name: ODOO_ROLE, value: odoo}
        - {name: TENANT_ADOPTED, value: "false"}
        resources:
          requests: {cpu: 50m, memory: 64Mi}
          limits: {cpu: 500m, memory: 256Mi}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
`)}
	if diff := diff(want, w.run().GetDesired().GetResources()["tenant-prepare"]); diff != "" {
		t.Errorf("RunFunction(...): -want, +got:\n%s", diff)
	}
}

// TestEffect follows one effect's Job, tenant-prepare, through its life.
func TestEffect(t *testing.T) {
	// failed says what Kubernetes says of the Job, and how to run it again.
	failed := func(condition, reason, namespace, job string) said {
		return isFalse(condition, reason, "Job has reached the specified backoff limit (BackoffLimitExceeded)",
			"kubectl -n "+namespace+" logs job/"+job, "kubectl -n "+namespace+" delete job "+job)
	}

	// inTheWay is acme, that comes upon the Job of an earlier tenant of its name.
	inTheWay := func(t *testing.T, meta object) *world {
		t.Helper()
		w := preparing(t)
		left := w.composed["tenant-prepare"]
		delete(left.in("metadata"), "ownerReferences")
		maps.Copy(left.in("metadata"), meta)
		w.others = append(w.others, left)
		delete(w.composed, "tenant-prepare")
		return w
	}
	// ownedBy is who controls a Job.
	ownedBy := func(uid string) object {
		return object{"ownerReferences": []any{map[string]any{
			"apiVersion": "planapulse.com/v1alpha1", "kind": "PLANAClient", "name": "acme", "uid": uid, "controller": true,
		}}}
	}

	// withoutRoom is a tenant that has everything but its support room.
	withoutRoom := func(t *testing.T) *world {
		t.Helper()
		w := newWorld(t, acme())
		w.others = []object{template("pro-template-18")}
		for range 20 {
			w.reconcile()
			for key := range w.composed {
				if key != "matrix-room-create" {
					w.settle(key)
				}
			}
		}
		if !w.ready() {
			t.Fatalf("the tenant isn't ready: %v", w.conditions())
		}
		return w
	}

	type want struct {
		composed bool
		ready    fnv1.Ready
		warnings int
		xr       fnv1.Ready
	}
	cases := map[string]struct {
		reason string
		key    string
		world  func(t *testing.T) *world
		want   want
		says   said
	}{
		"Running": {
			reason: "A Job that is neither complete nor failed is running.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				return preparing(t)
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE,
			},
			says: isFalse("Prepared", "Running", "Job plana-odoo-18/tenant-prepare-acme-23 is running"),
		},
		"Retrying": {
			reason: "Failed attempts are told of while there are more to come.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.composed["tenant-prepare"]["status"] = map[string]any{"failed": int64(2)}
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE,
			},
			says: isFalse("Prepared", "Retrying", "2 of 5 attempts", "kubectl -n plana-odoo-18 logs job/tenant-prepare-acme-23"),
		},
		"Failed": {
			reason: "A failed Job stays, says why in its own words, and says how to run it again.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.fail("tenant-prepare")
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE,
				warnings: 1,
			},
			says: failed("Prepared", "JobFailed", "plana-odoo-18", "tenant-prepare-acme-23"),
		},
		"FailedStill": {
			reason: "The warning comes once; the condition stays.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.fail("tenant-prepare")
				w.reconcile()
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE,
			},
			says: failed("Prepared", "JobFailed", "plana-odoo-18", "tenant-prepare-acme-23"),
		},
		"FailedAndDeleted": {
			reason: "Deleting a failed Job runs it again.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.fail("tenant-prepare")
				w.reconcile()
				delete(w.composed, "tenant-prepare")
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE,
			},
			says: isFalse("Prepared", "Creating", "Job plana-odoo-18/tenant-prepare-acme-23 is being created"),
		},
		"LeftBehind": {
			reason: "A Job that an earlier tenant has left behind is a person's to delete, who is told.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				return inTheWay(t, nil)
			},
			want: want{
				xr:       fnv1.Ready_READY_FALSE,
				warnings: 1,
			},
			says: isFalse("Prepared", "NameCollision", "Job plana-odoo-18/tenant-prepare-acme-23 is there and isn't this tenant's",
				"kubectl delete -n plana-odoo-18 job tenant-prepare-acme-23"),
		},
		"LeftBehindStill": {
			reason: "Who owns it makes no difference, if it isn't this very tenant. The warning comes once.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := inTheWay(t, ownedBy("5d1f6c1e-0000-4000-8000-000000000000"))
				w.reconcile()
				return w
			},
			want: want{xr: fnv1.Ready_READY_FALSE},
			says: isFalse("Prepared", "NameCollision", "it is controlled by PLANAClient acme"),
		},
		"LeftBehindAndDeleted": {
			reason: "What is being deleted goes by itself.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				return inTheWay(t, object{"deletionTimestamp": "2026-11-02T08:01:00Z"})
			},
			want: want{xr: fnv1.Ready_READY_FALSE},
			says: isFalse("Prepared", "Creating", "an earlier Job plana-odoo-18/tenant-prepare-acme-23 is being taken away"),
		},
		"OnceItsOwn": {
			reason: "The tenant's own Job, which Crossplane has lost sight of, is kept as it is and looked at.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				return inTheWay(t, ownedBy("5d1f6c1e-0000-4000-8000-000000000001"))
			},
			want: want{composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE},
			says: isFalse("Prepared", "Updating", "Job plana-odoo-18/tenant-prepare-acme-23 is there already"),
		},
		"Complete": {
			reason: "A complete Job stays until the ledger is known to be written.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.settle("tenant-prepare")
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_TRUE, xr: fnv1.Ready_READY_FALSE,
			},
			says: isTrue("Prepared", "Completed", "completed at 2026-11-02T08:01:00Z"),
		},
		"CompleteWithoutTime": {
			reason: "The condition's time stands in for a completion time.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.settle("tenant-prepare")
				delete(w.composed["tenant-prepare"].in("status"), "completionTime")
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_TRUE, xr: fnv1.Ready_READY_FALSE,
			},
			says: isTrue("Prepared", "Completed", "completed at 2026-11-02T08:00:30Z"),
		},
		"NotComplete": {
			reason: "A condition that is False says that a Job is not complete.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.composed["tenant-prepare"]["status"] = map[string]any{"conditions": conditions("Complete", "False", "Failed", "False")}
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_FALSE, xr: fnv1.Ready_READY_FALSE,
			},
			says: isFalse("Prepared", "Running", "Job plana-odoo-18/tenant-prepare-acme-23 is running"),
		},
		"RememberedBeforeReady": {
			reason: "Once in the ledger, an effect isn't run again, though its Job was deleted before the tenant was ready.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				w := preparing(t)
				w.settle("tenant-prepare")
				w.reconcile()
				delete(w.composed, "tenant-prepare")
				return w
			},
			want: want{
				xr: fnv1.Ready_READY_FALSE,
			},
			says: isTrue("Prepared", "Completed", "completed at 2026-11-02T08:01:00Z"),
		},
		"RememberedForever": {
			reason: "A steady tenant has no Jobs, and none is run again.",
			key:    "tenant-prepare",
			world: func(t *testing.T) *world {
				t.Helper()
				return finished(t)
			},
			says: isTrue("Prepared", "Completed", "completed at 2026-11-02T08:01:00Z"),
		},
		"MatrixFailed": {
			reason: "A support room that can't be made keeps no tenant from being Ready.",
			key:    "matrix-room-create",
			world: func(t *testing.T) *world {
				t.Helper()
				w := withoutRoom(t)
				w.fail("matrix-room-create")
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_TRUE,
				warnings: 1,
			},
			says: failed("MatrixRoomReady", "MatrixFailed", "crossplane-system", "matrix-room-create-acme-23"),
		},
		"MatrixAtLast": {
			reason: "A room that is made after the tenant was ready is written down like any other.",
			key:    "matrix-room-create",
			world: func(t *testing.T) *world {
				t.Helper()
				w := withoutRoom(t)
				w.fail("matrix-room-create")
				w.reconcile()
				delete(w.composed, "matrix-room-create")
				w.reconcile()
				w.settle("matrix-room-create")
				return w
			},
			want: want{composed: true, ready: fnv1.Ready_READY_TRUE},
			says: isTrue("MatrixRoomReady", "Completed"),
		},
		"MatrixFailedStill": {
			reason: "The warning comes once, and the failed Job stays to be read.",
			key:    "matrix-room-create",
			world: func(t *testing.T) *world {
				t.Helper()
				w := withoutRoom(t)
				w.fail("matrix-room-create")
				w.reconcile()
				w.reconcile()
				return w
			},
			want: want{
				composed: true, ready: fnv1.Ready_READY_TRUE,
			},
			says: failed("MatrixRoomReady", "MatrixFailed", "crossplane-system", "matrix-room-create-acme-23"),
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := tc.world(t)
			rsp := w.run()
			r, composed := rsp.GetDesired().GetResources()[tc.key]
			got := want{
				composed: composed,
				ready:    r.GetReady(),
				warnings: len(resultsOf(rsp, fnv1.Severity_SEVERITY_WARNING)),
				xr:       rsp.GetDesired().GetComposite().GetReady(),
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})) + tc.says.diff(rsp); diff != "" {
				t.Errorf("%s\nRunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// jobsOf a tenant: every Job that it ever has, as it is first composed, and the
// Job of its CronJob, by key.
func jobsOf(tb testing.TB, w *world) map[string]*batchv1.Job {
	tb.Helper()
	jobs, steady := map[string]*batchv1.Job{}, 0
	// A tenant that has just been changed is steady for one more response.
	for range 30 {
		if steady > 2 {
			break
		}
		rsp := w.reconcile()
		for key, r := range rsp.GetDesired().GetResources() {
			if _, seen := jobs[key]; seen {
				continue
			}
			job := &batchv1.Job{}
			switch r.GetResource().GetFields()["kind"].GetStringValue() {
			case "Job":
				decode(tb, r, job)
			case "CronJob":
				c := &batchv1.CronJob{}
				decode(tb, r, c)
				job.ObjectMeta, job.Spec = c.ObjectMeta, c.Spec.JobTemplate.Spec
			default:
				continue
			}
			jobs[key] = job
		}
		if steady++; !w.ready() || len(w.composed) != 4 {
			steady = 0
		}
		for key := range w.composed {
			w.settle(key)
		}
	}
	if !w.ready() {
		tb.Fatalf("the tenant isn't ready: %v", w.conditions())
	}
	return jobs
}

func decode(tb testing.TB, r *fnv1.Resource, into any) {
	tb.Helper()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(r.GetResource().AsMap(), into); err != nil {
		tb.Fatal(err)
	}
}

// TestJobs compares what is particular to each Job.
func TestJobs(t *testing.T) {
	type volume struct {
		claim, path string
		subPath     string
		readOnly    bool
	}
	type want struct {
		namespace, name, image string
		args                   []string
		deadline               int64
		env                    map[string]string // Beside the tenant's. A Secret's as secret:name/key.
		volumes                []volume
	}

	const effects = "plana-pulse/function-planaclient-effects:v0.1.0"
	postgres := func(secret string, more map[string]string) map[string]string {
		env := map[string]string{
			"PGHOST": "pg01.planapulse.com", "PGPORT": "5432", "PGSSLMODE": "require",
			"PGUSER": "secret:" + secret + "/username", "PGPASSWORD": "secret:" + secret + "/password",
		}
		maps.Copy(env, more)
		return env
	}
	events := map[string]string{
		"REDIS_ADDRESS": "redis.planapulse.com:6379", "REDIS_PASSWORD": "secret:redis-credentials/password", "REDIS_TLS": "false",
		"EVENT_STREAM": "PLANA:events", "EVENT_SOURCE": "/planapulse.com/planaclients",
	}
	filestore := volume{claim: "odoo-filestore", path: "/var/lib/odoo/filestore"}

	cases := map[string]struct {
		reason   string
		template bool
		want     want
	}{
		"filestore-clone": {
			reason:   "The files come from the template's directory of the same filestore.",
			template: true,
			want: want{
				namespace: "plana-odoo-18", name: "filestore-clone-acme-23", image: effects, deadline: 600,
				args:    []string{"effect", "filestore-clone"},
				env:     map[string]string{"FILESTORE_ROOT": "/var/lib/odoo/filestore", "TEMPLATE_DATABASE": "pro-template-18.planapulse.app"},
				volumes: []volume{filestore},
			},
		},
		"module-install": {
			reason: "Odoo has installed the modules only if the verifying effect finds them installed.",
			want: want{
				namespace: "plana-odoo-18", name: "module-install-acme-23", image: effects, deadline: 3600,
				args:    []string{"effect", "module-verify"},
				env:     postgres("odoo-postgres-creds", map[string]string{"ODOO_ROLE": "odoo", "ODOO_MODULES": "account,calendar,contacts,crm,mail,project,sale_management,web,hr,purchase,stock,subscription_oca"}),
				volumes: []volume{{path: "/var/lib/odoo"}, {path: "/tmp"}, filestore},
			},
		},
		"tenant-prepare": {
			reason:   "One transaction in the tenant's own database.",
			template: true,
			want: want{
				namespace: "plana-odoo-18", name: "tenant-prepare-acme-23", image: effects, deadline: 600,
				args: []string{"effect", "tenant-prepare"}, env: postgres("odoo-postgres-creds", map[string]string{"ODOO_ROLE": "odoo"}),
			},
		},
		"smoke-test": {
			reason:   "The workers are asked through their Service: the load balancer can't be reached from inside.",
			template: true,
			want: want{
				namespace: "crossplane-system", name: "smoke-test-acme-23", image: effects, deadline: 600,
				args: []string{"effect", "smoke-test"},
				env:  map[string]string{"SMOKE_URL": "http://worker-odoo.plana-odoo-18.svc:8069"},
			},
		},
		"matrix-room-create": {
			reason:   "The room's name has the project in three digits.",
			template: true,
			want: want{
				namespace: "crossplane-system", name: "matrix-room-create-acme-23", image: effects, deadline: 600,
				args: []string{"effect", "matrix-room-create"},
				env: map[string]string{
					"MATRIX_HOMESERVER": "http://synapse.matrix.svc:8008", "MATRIX_SERVER_NAME": "planapulse.com",
					"MATRIX_ACCESS_TOKEN": "secret:matrix-support-bot/access-token", "MATRIX_ROOM": "support-acme-023", "MATRIX_INVITE": "",
				},
			},
		},
		"account-webhook": {
			reason:   "The portal is told that the tenant is there.",
			template: true,
			want: want{
				namespace: "crossplane-system", name: "account-webhook-acme-23", image: effects, deadline: 600,
				args: []string{"effect", "account-webhook"},
				env: map[string]string{
					"ACCOUNT_WEBHOOK_URL":    "http://pulse-account-api.pulse-account.svc:8080/v1/webhooks/tenants",
					"ACCOUNT_WEBHOOK_SECRET": "secret:account-webhook/secret", "ACCOUNT_EVENT": "tenant.provisioned",
				},
			},
		},
		"client-provisioned": {
			reason:   "The event goes into the stream of the Platform.",
			template: true,
			want: want{
				namespace: "crossplane-system", name: "client-provisioned-acme-23", image: effects, deadline: 600,
				args: []string{"effect", "client-provisioned"}, env: events,
			},
		},
		"backup": {
			reason:   "A backup reads the filestore, writes to the tenant's own repository, and keeps what the tier says.",
			template: true,
			want: want{
				namespace: "backup", name: "backup-acme", image: effects, deadline: 4 * 3600,
				args: []string{"effect", "backup"},
				env: postgres("postgres-backup-creds", map[string]string{
					"FILESTORE_ROOT": "/var/lib/odoo/filestore", "RESTIC_REPOSITORY": "s3:https://sos-bg-sof-1.exo.io/plana-backup/acme-23",
					"RESTIC_PASSWORD": "secret:backup-restic/password", "AWS_ACCESS_KEY_ID": "secret:backup-s3/access-key",
					"AWS_SECRET_ACCESS_KEY": "secret:backup-s3/secret-key", "AWS_DEFAULT_REGION": "bg-sof-1",
					"RESTIC_CACHE_DIR": "/scratch", "BACKUP_RETENTION_DAYS": "90", "BACKUP_READ_BACK_NIGHTS": "14",
				}),
				volumes: []volume{{claim: "odoo-filestore-18", path: "/var/lib/odoo/filestore/acme.planapulse.app", subPath: "acme.planapulse.app", readOnly: true}, {path: "/scratch"}},
			},
		},
	}

	with, without := newWorld(t, acme()), newWorld(t, acme())
	with.others = []object{template("pro-template-18")}
	jobs := map[bool]map[string]*batchv1.Job{true: jobsOf(t, with), false: jobsOf(t, without)}
	for _, all := range jobs {
		for key := range all {
			if _, ok := cases[key]; !ok {
				t.Errorf("there is no case for Job %s", key)
			}
		}
	}

	for key, tc := range cases {
		t.Run(key, func(t *testing.T) {
			job, ok := jobs[tc.template][key]
			if !ok {
				t.Fatalf("%s\nthere is no Job %s", tc.reason, key)
			}
			c := job.Spec.Template.Spec.Containers[0]
			got := want{
				namespace: job.Namespace, name: job.Name, image: c.Image, args: c.Args,
				deadline: ptr.Deref(job.Spec.ActiveDeadlineSeconds, 0), env: map[string]string{},
			}
			for _, e := range c.Env {
				switch {
				case strings.HasPrefix(e.Name, "TENANT_"):
				case e.ValueFrom != nil:
					got.env[e.Name] = "secret:" + e.ValueFrom.SecretKeyRef.Name + "/" + e.ValueFrom.SecretKeyRef.Key
				default:
					got.env[e.Name] = e.Value
				}
			}
			for i, m := range c.VolumeMounts {
				v := job.Spec.Template.Spec.Volumes[i]
				if v.Name != m.Name {
					t.Errorf("%s\nvolume %s isn't mounted in the order of volumes", tc.reason, v.Name)
				}
				mounted := volume{path: m.MountPath, subPath: m.SubPath, readOnly: m.ReadOnly}
				if v.PersistentVolumeClaim != nil {
					mounted.claim = v.PersistentVolumeClaim.ClaimName
					mounted.readOnly = mounted.readOnly && v.PersistentVolumeClaim.ReadOnly
				} else if v.EmptyDir == nil {
					t.Errorf("%s\nvolume %s is neither a claim nor an empty directory", tc.reason, v.Name)
				}
				got.volumes = append(got.volumes, mounted)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{}, volume{})); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestModuleInstall looks at the containers in which Odoo is prepared for, and
// installs, modules.
func TestModuleInstall(t *testing.T) {
	cases := map[string]struct {
		reason  string
		version string
		args    []string
	}{
		"17": {
			reason: "Before 19, Odoo installs demonstration data unless it is told not to.", version: "17",
			args: []string{"--without-demo=all"},
		},
		"18": {
			reason: "Before 19, Odoo installs demonstration data unless it is told not to.", version: "18",
			args: []string{"--without-demo=all"},
		},
		"19": {
			reason: "From 19 on the option takes no such value, and isn't needed.", version: "19",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, client("acme", 23, "starter", tc.version))
			w.platform.in("tiers", "starter")["modules"] = []any{"web", "crm"}
			pod := jobsOf(t, w)["module-install"].Spec.Template.Spec

			var names []string
			for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
				names = append(names, c.Name)
			}
			if diff := cmp.Diff([]string{"module-grant", "odoo", "module-verify"}, names); diff != "" {
				t.Fatalf("%s\ncontainers: -want, +got:\n%s", tc.reason, diff)
			}

			odoo := pod.InitContainers[1]
			wantArgs := append([]string{
				"--database=acme.planapulse.app", "--init=web,crm", "--data-dir=/var/lib/odoo", "--stop-after-init", "--no-http", "--db_sslmode=require",
			}, tc.args...)
			if diff := cmp.Diff(wantArgs, odoo.Args); diff != "" {
				t.Errorf("%s\narguments: -want, +got:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff("plana-pulse/odoo:"+tc.version+".0", odoo.Image); diff != "" {
				t.Errorf("%s\nimage: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// reference to a variable, or an escaped dollar sign, as Kubernetes documents
// them for env.value and args: "$(NAME)" is replaced if NAME is a variable
// defined before, and stays as it is otherwise; "$$" is one dollar sign, so that
// "$$(NAME)" is never a reference; any other dollar sign stands for itself.
var reference = regexp.MustCompile(`\$\$|\$\([^)]*\)`)

// kubelet returns the environment that a container's program sees.
func kubelet(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		if s := e.ValueFrom; s != nil {
			env[e.Name] = "dummy-" + s.SecretKeyRef.Key
			continue
		}
		env[e.Name] = reference.ReplaceAllStringFunc(e.Value, func(found string) string {
			if found == "$$" {
				return "$"
			}
			if value, ok := env[strings.TrimSuffix(strings.TrimPrefix(found, "$("), ")")]; ok {
				return value
			}
			return found
		})
	}
	return env
}

func TestTenantDataArrivesUnharmed(t *testing.T) {
	cases := map[string]struct {
		reason string
		name   string
	}{
		"Plain":            {reason: "The usual case.", name: "Acme Corp"},
		"Shell":            {reason: "No shell ever sees a value.", name: `"; $(reboot) '--`},
		"Unicode":          {reason: "Any script is fine.", name: `Ёжик "Ltd" \ 株式会社`},
		"Variable":         {reason: "The kubelet would replace a reference to a variable that is defined before.", name: "$(TENANT_UID) $(TENANT_NAME)"},
		"Secret":           {reason: "Nor may a name fish for a Secret.", name: "$(PGPASSWORD)"},
		"EscapedReference": {reason: "What looks escaped already is a name too.", name: "$$(TENANT_NAME)"},
		"Dollars":          {reason: "Dollars are kept, one by one.", name: "$ $$ $$$ $$$$ a$"},
		"Open":             {reason: "A reference that isn't closed is none.", name: "$(TENANT_NAME"},
		"Backslashes":      {reason: "Backslashes escape nothing.", name: `\$(TENANT_NAME) \\ \n %s {{ . }}`},
		"Quotes":           {reason: "SQL is no concern either.", name: `Robert'); DROP TABLE res_users;-- "`},
		"Spaces":           {reason: "Spaces are kept, leading and trailing ones too.", name: "  a  b  "},
		"Emoji":            {reason: "128 characters are not 128 bytes.", name: strings.Repeat("🦔", 128)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, template := range []bool{true, false} {
				w := newTenant(t, "pro", "18", template)
				w.client.in("spec")["ownerName"] = tc.name
				// An address may have a dollar sign too.
				w.client.in("spec")["ownerEmail"] = "a$b$$c@acme.bg"
				for key, job := range jobsOf(t, w) {
					for _, c := range slices.Concat(job.Spec.Template.Spec.InitContainers, job.Spec.Template.Spec.Containers) {
						if len(c.Args) == 0 || c.Args[0] != "effect" {
							continue
						}
						env := kubelet(c)
						if diff := cmp.Diff(tc.name, env["TENANT_OWNER_NAME"]); diff != "" {
							t.Errorf("%s\n%s/%s: TENANT_OWNER_NAME: -want, +got:\n%s", tc.reason, key, c.Name, diff)
						}
						if diff := cmp.Diff("a$b$$c@acme.bg", env["TENANT_OWNER_EMAIL"]); diff != "" {
							t.Errorf("%s\n%s/%s: TENANT_OWNER_EMAIL: -want, +got:\n%s", tc.reason, key, c.Name, diff)
						}
					}
					// And nowhere else.
					for _, c := range slices.Concat(job.Spec.Template.Spec.InitContainers, job.Spec.Template.Spec.Containers) {
						for _, word := range slices.Concat(c.Command, c.Args) {
							if strings.Contains(word, tc.name) {
								t.Errorf("%s\n%s/%s: the owner's name is in an argument: %s", tc.reason, key, c.Name, word)
							}
						}
					}
				}
			}
		})
	}
}

// TestJobEditedByHand leaves to others what this function never sets of a Job: to
// apply what was observed a moment ago would undo what they do next.
func TestJobEditedByHand(t *testing.T) {
	w := withDatabase(t)
	spec := w.composed["matrix-room-create"].in("spec")
	spec["suspend"], spec["parallelism"], spec["ttlSecondsAfterFinished"] = true, int64(0), int64(60)
	spec["activeDeadlineSeconds"] = int64(7200)

	got := w.reconcile().GetDesired().GetResources()["matrix-room-create"].GetResource().GetFields()["spec"].GetStructValue().GetFields()
	for _, name := range []string{"suspend", "parallelism", "ttlSecondsAfterFinished"} {
		if v, asked := got[name]; asked {
			t.Errorf("%s of a Job is somebody else's, but asked for: %v", name, v)
		}
	}
	// What it does set stays as somebody has left it: the Job is under way.
	if got := got["activeDeadlineSeconds"].GetNumberValue(); got != 7200 {
		t.Errorf("want a deadline that was extended to stay so, got %v", got)
	}
}

// TestRerun has a finished effect run again.
func TestRerun(t *testing.T) {
	w := finished(t)
	w.client.in("metadata", "annotations")["planapulse.com/rerun"] = "smoke-test/monday"
	w.reconcile()
	job := w.composed["smoke-test"]
	if job == nil || job.at("metadata", "annotations", "planapulse.com/run") != "smoke-test/monday" {
		t.Fatalf("no Job runs the effect again: %v", job)
	}
	if !w.ready() {
		t.Errorf("a tenant whose effect is run again isn't ready: %v", w.conditions())
	}
	w.fail("smoke-test")
	rsp := w.reconcile()
	if diff := isTrue("SmokeTestPassed", "JobFailed", "completed before").diff(rsp); diff != "" || !w.ready() {
		t.Errorf("an effect that fails when it is run again: ready %t: -want, +got:\n%s", w.ready(), diff)
	}

	// Another value, another run. The first one's Job goes first.
	w.client.in("metadata", "annotations")["planapulse.com/rerun"] = "smoke-test/tuesday"
	want := [][]string{
		{"backup", "database", "guard", "route"},
		{"backup", "database", "guard", "route", "smoke-test"},
		{"backup", "database", "guard", "route"},
	}
	if diff := cmp.Diff(want, w.life()); diff != "" {
		t.Errorf("composed, one after the other: -want, +got:\n%s", diff)
	}
	if got := w.client.at("status", "effects", "smoke-test", "run"); got != "smoke-test/tuesday" {
		t.Errorf("the ledger has run %v, want smoke-test/tuesday", got)
	}
}
