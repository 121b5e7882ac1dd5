package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// retryable marks an error that the same process should try to get past,
// rather than leave to the Job: what failed is expected to be over in seconds.
// A server that says how long to wait is obeyed; zero means it did not say.
func retryable(err error, after time.Duration) error {
	return &retryableError{error: err, after: after}
}

type retryableError struct {
	error
	after time.Duration
}

func (e *retryableError) Unwrap() error { return e.error }

// retryFor calls try until it succeeds, fails with an error that isn't
// retryable, or the next attempt would begin after patience has run out.
func retryFor(ctx context.Context, patience time.Duration, try func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	// Jittered, because many tenants are provisioned by one `kubectl apply`.
	backoff := wait.Backoff{Duration: time.Second, Factor: 1.5, Jitter: 0.2, Steps: 10, Cap: 10 * time.Second}
	began := time.Now()
	var last error
	for attempt := 1; ; attempt++ {
		err := try(limited)
		var again *retryableError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("told to stop in attempt %d: %w", attempt, err)
		case !errors.As(err, &again):
			return err
		case limited.Err() != nil && last != nil:
			// The attempt was cut off, which says less than what the one
			// before it met.
			err = last
		case last == nil || err.Error() != last.Error():
			slog.InfoContext(ctx, "Not yet", "attempt", attempt, "reason", err.Error())
		}
		last = err

		pause := backoff.Step()
		if again.after > 0 {
			pause = again.after
		}
		if deadline, _ := limited.Deadline(); time.Until(deadline) < pause {
			if again.after > 0 {
				return fmt.Errorf("asked to wait %s, which is longer than the %s left of %s: %w",
					again.after, max(0, time.Until(deadline)).Round(time.Millisecond), patience, err)
			}
			return fmt.Errorf("gave up after %d attempts in %s: %w", attempt, time.Since(began).Round(time.Millisecond), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("told to stop after attempt %d: %w", attempt, err)
		case <-time.After(pause):
		}
	}
}

// excerpt of what a server answered, fit for a log line.
func excerpt(body []byte) string {
	const most = 300
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "�")), " ")
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", text)
}
