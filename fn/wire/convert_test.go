package wire

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	sqlv1alpha1 "github.com/crossplane-contrib/provider-sql/apis/namespaced/postgresql/v1alpha1"
	protectionv1beta1 "github.com/crossplane/crossplane/apis/v2/protection/v1beta1"

	"github.com/plana-pulse/function-planaclient/apis/v1alpha1"
)

// TestConvertAsApimachinery compares the one-pass conversions with apimachinery's
// on random values of every type that a request or a response can hold.
func TestConvertAsApimachinery(t *testing.T) {
	types := []func() any{
		func() any { return &v1alpha1.PLANAClient{} },
		func() any { return &protectionv1beta1.ClusterUsage{} },
		func() any { return &sqlv1alpha1.Database{} },
		func() any { return &gwv1.HTTPRoute{} },
		func() any { return &batchv1.CronJob{} },
		func() any { return &batchv1.Job{} },
		func() any { return &corev1.ResourceQuota{} },
	}
	for seed := range int64(30) {
		fill := randfill.NewWithSeed(seed).NilChance(0.4).NumElements(0, 3).MaxDepth(12).Funcs(
			func(v *resource.Quantity, c randfill.Continue) {
				*v = *resource.NewMilliQuantity(c.Int63n(1e9), resource.DecimalSI)
			},
			func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31()) },
			func(v *metav1.Time, c randfill.Continue) { *v = metav1.Unix(c.Int63n(1e9), 0) },
			func(v *metav1.MicroTime, c randfill.Continue) { *v = metav1.NewMicroTime(time.Unix(c.Int63n(1e9), 0)) },
			func(v *metav1.ObjectMeta, c randfill.Continue) { c.FillNoCustom(v); v.ManagedFields = nil },
			// A number on the wire has the bits of a float64.
			func(v *int64, c randfill.Continue) { *v = c.Int63n(1 << 53) },
			func(v *int, c randfill.Continue) { *v = int(c.Int31()) },
		)
		for _, zero := range types {
			in := zero()
			fill.Fill(in)

			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(in)
			if err != nil {
				t.Fatal(err)
			}
			want, err := structpb.NewStruct(content)
			if err != nil {
				t.Fatal(err)
			}
			got, err := EncodeValue(in)
			if err != nil {
				t.Fatalf("seed %d: structOf(%T): %v", seed, in, err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Fatalf("seed %d: structOf(%T): -apimachinery, +got:\n%s", seed, in, diff)
			}

			out, back := zero(), zero()
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(want.AsMap(), out); err != nil {
				t.Fatal(err)
			}
			if err := Decode(want, back, Spec, Status); err != nil {
				t.Fatalf("seed %d: decode(..., %T): %v", seed, in, err)
			}
			if !equality.Semantic.DeepEqual(out, back) {
				t.Fatalf("seed %d: decode(..., %T): -apimachinery, +got:\n%s", seed, in, cmp.Diff(out, back))
			}
		}
	}
}

// TestDecodeParts checks that what isn't asked for isn't decoded.
func TestDecodeParts(t *testing.T) {
	s, err := structpb.NewStruct(map[string]any{
		"metadata": map[string]any{"name": "acme", "managedFields": []any{"anything"}},
		"spec":     "anything",
		"status":   map[string]any{"active": 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decoded[batchv1.Job](s, Status)
	if err != nil {
		t.Fatal(err)
	}
	want := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "acme"}, Status: batchv1.JobStatus{Active: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded(...): -want, +got:\n%s", diff)
	}
}

func TestDecodeErrors(t *testing.T) {
	cases := map[string]struct {
		reason string
		wire   map[string]any
		want   string
	}{
		"Number": {
			reason: "A number isn't a string.",
			wire:   map[string]any{"spec": map[string]any{"schedule": 5}},
			want:   ".spec.schedule: must be a string, not 5",
		},
		"Fraction": {
			reason: "A fraction isn't rounded.",
			wire:   map[string]any{"spec": map[string]any{"failedJobsHistoryLimit": 1.5}},
			want:   ".spec.failedJobsHistoryLimit: must be a whole number of 32 bits, not 1.5",
		},
		"TooLarge": {
			reason: "A number that doesn't fit isn't cut off.",
			wire:   map[string]any{"spec": map[string]any{"failedJobsHistoryLimit": 1 << 40}},
			want:   ".spec.failedJobsHistoryLimit: must be a whole number of 32 bits, not 1.099511627776e+12",
		},
		"Bool": {
			reason: "A string isn't a truth.",
			wire:   map[string]any{"spec": map[string]any{"suspend": "true"}},
			want:   `.spec.suspend: must be true or false, not the string "true"`,
		},
		"Object": {
			reason: "A list isn't an object.",
			wire:   map[string]any{"spec": []any{}},
			want:   ".spec: must be an object, not a list",
		},
		"Item": {
			reason: "An item of a list is named by its place.",
			wire:   map[string]any{"status": map[string]any{"active": []any{map[string]any{}, map[string]any{"name": true}}}},
			want:   ".status.active[1].name: must be a string, not true",
		},
		"Label": {
			reason: "The first of several, by name, is named.",
			wire:   map[string]any{"metadata": map[string]any{"labels": map[string]any{"b": 2, "a": 1}}},
			want:   ".metadata.labels.a: must be a string, not 1",
		},
		"Time": {
			reason: "What isn't a time is said to be none.",
			wire:   map[string]any{"status": map[string]any{"lastScheduleTime": "yesterday"}},
			want:   `.status.lastScheduleTime: must be a time such as 2026-11-02T08:00:00Z, not the string "yesterday"`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := structpb.NewStruct(tc.wire)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Decoded[batchv1.CronJob](s, Spec, Status)
			if err == nil || !strings.HasSuffix(err.Error(), tc.want) {
				t.Errorf("%s\ndecoded(...): want error %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	cases := map[string]struct {
		reason string
		typed  any
		want   string
	}{
		"NotUTF8": {
			reason: "A string that gRPC would choke on is named.",
			typed:  &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "a\xff"}},
			want:   "metadata: name: is not valid UTF-8",
		},
		"LabelNotUTF8": {
			reason: "So is a label.",
			typed:  &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "\xff"}}},
			want:   "metadata: labels: a: is not valid UTF-8",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := EncodeValue(tc.typed)
			if err == nil || !strings.HasSuffix(err.Error(), tc.want) {
				t.Errorf("%s\nstructOf(...): want error %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// TestNumbers checks the edges of what fits into a number.
func TestNumbers(t *testing.T) {
	var i64 int64
	var i8 int8
	for n, fits := range map[float64]bool{0: true, -1: true, 1 << 62: true, 1 << 63: false, math.Inf(1): false, math.NaN(): false} {
		if got := numberFromWire(n, reflect.ValueOf(&i64).Elem()); got != fits {
			t.Errorf("%v fits into 64 bits: want %t, got %t", n, fits, got)
		}
	}
	for n, fits := range map[float64]bool{127: true, 128: false, -128: true, -129: false} {
		if got := numberFromWire(n, reflect.ValueOf(&i8).Elem()); got != fits {
			t.Errorf("%v fits into 8 bits: want %t, got %t", n, fits, got)
		}
	}
}
