package effect

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRetryFor(t *testing.T) {
	boom := errors.New("boom")
	cases := map[string]struct {
		reason   string
		answers  []error
		attempts int
		least    time.Duration
		most     time.Duration
		want     string
		terminal bool
	}{
		"AtOnce": {
			reason:   "What succeeds is not tried again, nor waited for.",
			answers:  []error{nil},
			attempts: 1,
		},
		"ThirdTime": {
			reason:   "What fails for a while is tried again, after a pause each time.",
			answers:  []error{retryable(boom, 0), retryable(boom, 0), nil},
			attempts: 3,
			least:    2500 * time.Millisecond,
			most:     3100 * time.Millisecond,
		},
		"ForGood": {
			reason:   "An error that isn't retryable is returned at once.",
			answers:  []error{boom},
			attempts: 1,
			want:     "boom",
		},
		"Terminal": {
			reason:   "A terminal error stays terminal.",
			answers:  []error{retryable(boom, 0), Terminal(boom)},
			attempts: 2,
			least:    time.Second,
			most:     1300 * time.Millisecond,
			want:     "boom",
			terminal: true,
		},
		"Asked": {
			reason:   "A server that asks for 30 s gets 30 s.",
			answers:  []error{retryable(boom, 30*time.Second), nil},
			attempts: 2,
			least:    30 * time.Second,
			most:     30 * time.Second,
		},
		"AskedTooMuch": {
			reason:   "A server that asks for more than there is, is not asked again.",
			answers:  []error{retryable(boom, time.Hour)},
			attempts: 1,
			want:     "asked to wait 1h0m0s, which is longer than the 1m0s left of 1m0s: boom",
		},
		"RunsOut": {
			reason:   "It ends, with what the last attempt met.",
			answers:  []error{retryable(errors.New("first"), 0), retryable(boom, 0)},
			attempts: 10,
			least:    45 * time.Second,
			most:     time.Minute,
			want:     "gave up after 10 attempts in",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, attempts := time.Now(), 0
				err := retryFor(t.Context(), time.Minute, func(context.Context) error {
					answer := tc.answers[min(attempts, len(tc.answers)-1)]
					attempts++
					return answer
				})
				took := time.Since(began)
				if (err == nil) != (tc.want == "") || (err != nil && !strings.Contains(err.Error(), tc.want)) {
					t.Errorf("\n%s\nerror: want %q, got %v", tc.reason, tc.want, err)
				}
				if IsTerminal(err) != tc.terminal {
					t.Errorf("\n%s\nhopeless: want %t", tc.reason, tc.terminal)
				}
				// The pauses are jittered, and with them how many fit in.
				if diff := attempts - tc.attempts; diff < -1 || diff > 1 || (tc.attempts < 5 && diff != 0) {
					t.Errorf("\n%s\nattempts: want %d, got %d", tc.reason, tc.attempts, attempts)
				}
				if took < tc.least || took > tc.most {
					t.Errorf("\n%s\ntook %s, want %s to %s", tc.reason, took, tc.least, tc.most)
				}
			})
		})
	}
}

func TestRetryForStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		began := time.Now()
		err := retryFor(ctx, time.Hour, func(context.Context) error { return retryable(errors.New("closed"), time.Minute) })
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("stopped after %s, want 10 s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "told to stop after attempt 1: closed") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRetryForCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		err := retryFor(t.Context(), 10*time.Second, func(ctx context.Context) error {
			if attempts++; attempts == 1 {
				return retryable(errors.New("refused"), 0)
			}
			<-ctx.Done()
			return retryable(ctx.Err(), 0)
		})
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("an attempt that was cut off hides what the one before it met: %v", err)
		}
	})
}

func TestExcerpt(t *testing.T) {
	cases := map[string]struct{ reason, body, want string }{
		"Lines":   {"A log line is one line.", "a\n\tb\x00", `"a b\x00"`},
		"Garbage": {"What isn't text is marked.", "a\xff\xfeb", `"a�b"`},
		"Long":    {"A long answer is cut, and between characters.", strings.Repeat("株", 400), `"` + strings.Repeat("株", 300) + `…"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := excerpt([]byte(tc.body)); got != tc.want {
				t.Errorf("\n%s\nwant %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}
