package tenant_test

import (
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/plana-pulse/function-planaclient/effect"
)

// TestContract holds what the function tells its Jobs against what the effects
// in them read. The two packages don't import each other, so nothing else does.
func TestContract(t *testing.T) {
	effects := map[string]effect.Effect{}
	for _, e := range effect.Effects() {
		effects[e.Name] = e
	}
	// A template's files are beside the tenant's, in one volume.
	optional := []string{"TEMPLATE_ROOT"}

	seen := map[string]bool{}
	for _, hasTemplate := range []bool{true, false} {
		w := newTenant(t, "pro", "18", hasTemplate)
		// What a Job is told only where the Platform says it.
		w.platform.in("events")["username"] = "effects"
		w.trustPrivately()
		for key, job := range everyJob(t, w) {
			for _, c := range slices.Concat(job.Spec.Template.Spec.InitContainers, job.Spec.Template.Spec.Containers) {
				if c.Name == "odoo" {
					continue
				}
				if len(c.Args) != 2 || c.Args[0] != "effect" || len(c.Command) > 0 {
					t.Errorf("%s/%s: runs %v %v, not an effect", key, c.Name, c.Command, c.Args)
					continue
				}
				e, ok := effects[c.Args[1]]
				if !ok {
					t.Errorf("%s/%s: there is no effect %q", key, c.Name, c.Args[1])
					continue
				}
				seen[e.Name] = true

				environ := kubelet(c)
				if _, ok := environ["ACCOUNT_WEBHOOK_SECRET"]; ok {
					environ["ACCOUNT_WEBHOOK_SECRET"] = "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
				}
				config := reflect.New(reflect.TypeOf(e.Config))
				if err := env.ParseWithOptions(config.Interface(), env.Options{Environment: environ}); err != nil {
					t.Errorf("%s/%s: the effect can't read its configuration: %v", key, c.Name, err)
					continue
				}
				if v, ok := config.Elem().Interface().(effect.Validator); ok {
					if err := v.Validate(); err != nil {
						t.Errorf("%s/%s: the effect can't use its configuration: %v", key, c.Name, err)
					}
				}

				params, err := env.GetFieldParams(config.Interface())
				if err != nil {
					t.Fatal(err)
				}
				known := map[string]bool{}
				for _, p := range params {
					known[p.Key] = true
					if _, told := environ[p.Key]; !told && !p.HasDefaultValue && !slices.Contains(optional, p.Key) {
						t.Errorf("%s/%s: isn't told %s", key, c.Name, p.Key)
					}
				}
				secrets := secretsOf(reflect.TypeOf(e.Config))
				for _, v := range c.Env {
					if !known[v.Name] {
						t.Errorf("%s/%s: is told %s, which the effect doesn't read", key, c.Name, v.Name)
					}
					if slices.Contains(secrets, v.Name) && v.ValueFrom == nil {
						t.Errorf("%s/%s: %s is a secret, and stands in the Job", key, c.Name, v.Name)
					}
				}

				// What the effect exits with is what ends the Job.
				if diff := cmp.Diff([]int32{effect.ExitTerminal}, job.Spec.PodFailurePolicy.Rules[0].OnExitCodes.Values); diff != "" {
					t.Errorf("%s: exit codes that fail the Job: -want, +got:\n%s", key, diff)
				}
			}
		}
	}

	// These are for people and for the fleet, not for one tenant's life.
	for name := range effects {
		if !seen[name] && !slices.Contains([]string{"restore", "backup-retention"}, name) {
			t.Errorf("no Job runs effect %s", name)
		}
	}
}

// secretsOf a configuration, by their variables.
func secretsOf(config reflect.Type) []string {
	var names []string
	for i := range config.NumField() {
		f := config.Field(i)
		if f.Type.Kind() == reflect.Struct {
			names = append(names, secretsOf(f.Type)...)
		}
		if f.Tag.Get("secret") == "true" {
			name, _, _ := strings.Cut(f.Tag.Get("env"), ",")
			names = append(names, name)
		}
	}
	return names
}

// TestContractOfAdoption: what was in service before must not be taken for a
// fresh clone.
func TestContractOfAdoption(t *testing.T) {
	for _, adopt := range []bool{true, false} {
		w := newTenant(t, "pro", "18", true)
		w.client.in("spec", "database")["adopt"] = adopt
		w.databaseExisted = adopt
		want := map[bool]string{true: "true", false: "false"}[adopt]
		if got := kubelet(jobsOf(t, w)["tenant-prepare"].Spec.Template.Spec.Containers[0])["TENANT_ADOPTED"]; got != want {
			t.Errorf("TENANT_ADOPTED of a tenant with adopt %t: want %s, got %q", adopt, want, got)
		}

		// What was adopted may bear another tenant's mark, and goes all the same.
		w = newTenant(t, "pro", "18", true)
		w.client.in("spec", "database")["adopt"] = adopt
		w.finish()
		w.client.in("metadata", "annotations")[deleted] = "Background"
		if got := kubelet(teardownJob(t, w, "filestore-wipe").Spec.Template.Spec.Containers[0])["TENANT_ADOPTED"]; got != want {
			t.Errorf("TENANT_ADOPTED of filestore-wipe, with adopt %t: want %s, got %q", adopt, want, got)
		}
	}
}

// teardownJob goes on with a teardown until there is a Job.
func teardownJob(t *testing.T, w *world, key string) *batchv1.Job {
	t.Helper()
	for range 40 {
		w.reconcile()
		if o := w.composed[key]; o != nil {
			job := &batchv1.Job{}
			decode(t, &fnv1.Resource{Resource: w.structOf(o)}, job)
			return job
		}
		for key := range w.composed {
			w.settle(key)
		}
		w.clock.SetTime(w.clock.Now().Add(time.Minute))
	}
	t.Fatalf("the teardown never comes to %s", key)
	return nil
}
