package effect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"
)

// BackupTombstoneConfig configures backup-tombstone.
type BackupTombstoneConfig struct {
	Tenant
	TenantRepository

	Occasion string `env:"BACKUP_OCCASION,required,notEmpty" doc:"The teardown that has taken the tenant away: when its delete was asked for."`
}

// Validate returns all that is wrong.
func (c BackupTombstoneConfig) Validate() error {
	return errors.Join(c.Tenant.Validate(), c.of(c.Tenant), validOccasion(c.Occasion))
}

// BackupTombstone says in the tenant's repository that the tenant is gone, from
// where backup-retention knows that none of its backups is to be kept for ever. It
// is run once there is no way back, with or without a last backup.
//
// A tenant that was never backed up has no repository, and gets none.
func BackupTombstone(ctx context.Context, c BackupTombstoneConfig) error {
	repo, found, err := c.lookFor(ctx, c.Repository)
	if err != nil {
		return err
	}
	var ofTenant []*run
	if found {
		snapshots, err := repo.snapshots(ctx)
		if err != nil {
			return err
		}
		ofTenant = slices.DeleteFunc(runs(snapshots), func(r *run) bool { return r.uid != c.UID })
	}
	if len(ofTenant) == 0 {
		slog.InfoContext(ctx, "The tenant has no backups: nothing to mark", "repository", repo.at.String())
		return nil
	}
	if mark := tombstone(ofTenant); mark != nil && mark.occasion == c.Occasion {
		slog.InfoContext(ctx, "The tenant has its tombstone already", "run", mark.id)
		return nil
	}

	tags := c.tags(newRun(), kindTombstone, c.Occasion, partTombstone, tagRetention+"="+strconv.Itoa(c.RetentionDays))
	if err := repo.write(ctx, c.Name, tags, tombstoneFile, epitaph{
		Tenant: c.Name, UID: c.UID, ProjectID: c.ProjectID, Database: c.Database,
		Occasion: c.Occasion, GoneSince: time.Now().UTC().Truncate(time.Second), RetentionDays: c.RetentionDays,
	}); err != nil {
		return fmt.Errorf("cannot write the tombstone into repository %s: %w", repo.at, err)
	}
	slog.InfoContext(ctx, "Marked the tenant's backups: they expire from now on", "repository", repo.at.String(), "runs", len(ofTenant), "retentionDays", c.RetentionDays)
	return nil
}
