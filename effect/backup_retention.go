package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// BackupRetentionConfig configures backup-retention.
type BackupRetentionConfig struct {
	Storage

	DeletingKey    string `env:"BACKUP_RETENTION_ACCESS_KEY_ID"     doc:"Access key of the object storage that may delete. Empty where AWS_ACCESS_KEY_ID may."`
	DeletingSecret string `env:"BACKUP_RETENTION_SECRET_ACCESS_KEY" doc:"That key's secret key." secret:"true"`

	Base string `env:"BACKUP_REPOSITORY_BASE,required,notEmpty" doc:"Where all tenants' repositories are: s3:https://HOST/BUCKET, s3:https://HOST/BUCKET/PATH or a folder."`
}

// Validate returns all that is wrong.
func (c BackupRetentionConfig) Validate() error {
	base, err := parseLocation(c.Base)
	if err != nil {
		return fmt.Errorf("BACKUP_REPOSITORY_BASE: %w", err)
	}
	var errs []error
	if (c.DeletingKey == "") != (c.DeletingSecret == "") {
		errs = append(errs, errors.New("BACKUP_RETENTION_ACCESS_KEY_ID and BACKUP_RETENTION_SECRET_ACCESS_KEY: only one of them is given; Secret backup-s3-retention has both, access-key and secret-key, or isn't there"))
	}
	return errors.Join(append(errs, c.storage().validate(base))...)
}

// storage by the key that may delete.
func (c BackupRetentionConfig) storage() Storage {
	s := c.Storage
	if c.DeletingKey != "" {
		s.AccessKey, s.SecretKey = c.DeletingKey, c.DeletingSecret
	}
	return s
}

// BackupRetention removes expired backups from all repositories under one
// address, also those of tenants that are gone and so have nobody else to do it:
// the object storage has no rule that could. A repository that can't be worked
// on doesn't keep the others from being.
func BackupRetention(ctx context.Context, c BackupRetentionConfig) error {
	base, err := parseLocation(c.Base)
	if err != nil {
		return Terminal(err)
	}
	storage := c.storage()
	dir, err := storage.open(base)
	if err != nil {
		return err
	}
	// There is no such file. restic would try for a quarter of an hour, once for each
	// file, to remove what it may not.
	if err := dir.remove(ctx, "backup-retention-may-delete"); err != nil {
		return fmt.Errorf("cannot delete in %s, which takes a key that may: put one into Secret backup-s3-retention, see docs/how-to/two-backup-keys.md: %w", base, err)
	}
	names, err := dir.list(ctx, "")
	if err != nil {
		return fmt.Errorf("cannot list the repositories in %s: %w", base, err)
	}

	var errs []error
	repositories, removed := 0, 0
	for _, name := range names {
		name, isDir := strings.CutSuffix(name, "/")
		if !isDir {
			continue
		}
		repo, err := storage.repository(base.child(name))
		if err != nil {
			return err
		}
		found, err := repo.initialised(ctx)
		if err == nil && !found {
			slog.InfoContext(ctx, "Not a repository: left alone", "at", repo.at.String())
			continue
		}
		repositories++
		n := 0
		if err == nil {
			n, err = repo.clean(ctx, time.Now())
		}
		if ctx.Err() != nil {
			return fmt.Errorf("told to stop at repository %s, after %d of %d: %w", repo.at, repositories, len(names), errors.Join(append(errs, ctx.Err())...))
		}
		if err != nil {
			slog.ErrorContext(ctx, "A repository's retention could not be enforced", "repository", repo.at.String(), "error", err.Error())
			errs = append(errs, fmt.Errorf("%s: %w", repo.at, err))
			continue
		}
		removed += n
	}
	slog.InfoContext(ctx, "Enforced retention", "base", base.String(), "repositories", repositories, "removedRuns", removed, "failed", len(errs))
	if len(errs) > 0 {
		return fmt.Errorf("cannot enforce retention in %d of %d repositories: %w", len(errs), repositories, errors.Join(errs...))
	}
	return nil
}

// clean a repository of what has expired, and of what killed runs left. It
// returns how many runs it removed.
func (r *repository) clean(ctx context.Context, now time.Time) (int, error) {
	removed := 0
	for {
		snapshots, err := r.snapshots(ctx)
		if err != nil {
			return removed, err
		}
		all := runs(snapshots)
		old := expired(all, now)
		if len(old) > 0 {
			if err := r.forget(ctx, snapshotsOf(old)); err != nil {
				return removed, fmt.Errorf("cannot remove expired backups: %w", err)
			}
			removed += len(old)
			// A tombstone goes once it is all that is left of its tenant.
			continue
		}
		if removed == 0 {
			if err := r.prune(ctx); err != nil {
				return 0, fmt.Errorf("cannot free what no backup uses: %w", err)
			}
		}

		about := []any{"repository", r.at.String(), "runs", len(all), "removed", removed}
		if last := newest(all, func(*run) bool { return true }); last != nil {
			ofTenant := slices.DeleteFunc(all, func(r *run) bool { return r.uid != last.uid })
			about = append(about, "newest", last.at.UTC().Format(time.RFC3339), "gone", tombstone(ofTenant) != nil)
		}
		slog.InfoContext(ctx, "Looked after a repository", about...)
		return removed, nil
	}
}
