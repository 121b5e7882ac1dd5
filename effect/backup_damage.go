package effect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mostNights is how many parts restic can divide a repository into: it goes by the
// first byte of a file's name.
const mostNights = 256

// nightOf a time. A night is from noon to noon, UTC, so that none ends while backups
// are made.
func nightOf(t time.Time) int64 {
	return t.Add(-day/2).Unix() / int64(day/time.Second)
}

// samples are the parts of a repository, 1 to nights, that tonight's backup reads. Each
// night has one, so every part has its turn within as many nights, and nobody has to
// remember whose turn it is.
//
// The part of the first night after the tenant's last complete run is read as well.
// A backup that found its part damaged isn't complete, so the next ones go on failing
// until the part is whole, rather than pass with another part.
func samples(now time.Time, nights int, ofTenant []*run) []int {
	part := func(night int64) int { return int(night%int64(nights)) + 1 }
	tonight := nightOf(now)
	parts := []int{part(tonight)}

	since := tonight
	if last := newest(ofTenant, func(*run) bool { return true }); last != nil {
		since = nightOf(last.at) + 1
	} else if len(ofTenant) > 0 {
		since = nightOf(ofTenant[0].at)
	}
	if since < tonight && part(since) != part(tonight) {
		parts = append(parts, part(since))
	}
	return parts
}

// check that the repository is sound: everything is there that the snapshots need, and
// what was written comes back. Before the tenant goes that is every byte, and in a
// nightly backup a sample.
//
// Content that was in the repository before isn't written again, so tonight's backup
// consists of what earlier ones wrote: that is why the sample is one of all of it.
func (b *backup) check(ctx context.Context) error {
	if b.kind == kindFinal || b.ReadBackNights == 1 {
		return b.repo.check(ctx, "--read-data")
	}
	snapshots, err := b.repo.snapshots(ctx)
	if err != nil {
		return err
	}
	ofTenant := slices.DeleteFunc(runs(snapshots), func(r *run) bool { return r.uid != b.UID })
	for _, part := range samples(time.Now(), b.ReadBackNights, ofTenant) {
		if err := b.repo.check(ctx, fmt.Sprintf("--read-data-subset=%d/%d", part, b.ReadBackNights)); err != nil {
			return err
		}
		slog.InfoContext(ctx, "Read a sample of the repository back", "part", part, "of", b.ReadBackNights)
	}
	return nil
}

// check the repository, and read what the flag says of it.
func (r *repository) check(ctx context.Context, read string) error {
	var found damage
	// Its lock would be an exclusive one, for which the lock of a killed run is
	// in the way for half an hour. It only reads.
	p := r.restic("check", "--quiet", "--no-lock", read)
	checking, stop := context.WithCancel(ctx)
	defer stop()
	p.says = func(line string) {
		found.note(line)
		// It says first what is missing or has another size, and then tries each for a
		// minute. Nothing better comes of that.
		if len(found.packs) > 0 && strings.HasPrefix(line, "Load(<data/") {
			stop()
		}
	}
	if err := p.run(checking); err != nil {
		return found.explain(r.explain(err))
	}
	return nil
}

// damage to the files of a repository, in restic's words.
type damage struct {
	packs map[string]string

	// lost are what snapshots refer to and no file holds any more.
	lost map[string]bool
}

// What restic says of a file that holds data.
var (
	packMissing   = regexp.MustCompile(`(?i)^pack ([0-9a-f]{64}):? does not exist`)
	packSize      = regexp.MustCompile(`(?i)^pack ([0-9a-f]{64}):? (unexpected file size: .*)`)
	packContent   = regexp.MustCompile(`(?i)^pack ID does not match, want ([0-9a-f]{64})`)
	packElse      = regexp.MustCompile(`(?i)^pack ([0-9a-f]{64}):? (.*)`)
	packIsNoMatch = regexp.MustCompile(`(?i)not referenced in any index`)
	blobNotFound  = regexp.MustCompile(`(?i)(?:blob|id) ([0-9a-f]{64}) not found`)
)

// note what restic says, if it is about a file.
func (d *damage) note(line string) {
	// What it says first of a file says most: that it can't be read follows.
	add := func(pack, what string) {
		if d.packs == nil {
			d.packs = map[string]string{}
		}
		d.packs[pack] = cmp.Or(d.packs[pack], what)
	}
	if packIsNoMatch.MatchString(line) {
		return
	}
	for _, m := range blobNotFound.FindAllStringSubmatch(line, -1) {
		if d.lost == nil {
			d.lost = map[string]bool{}
		}
		d.lost[m[1]] = true
	}
	if m := packMissing.FindStringSubmatch(line); m != nil {
		add(m[1], "missing")
	} else if m := packSize.FindStringSubmatch(line); m != nil {
		add(m[1], m[2])
	} else if m := packContent.FindStringSubmatch(line); m != nil {
		add(m[1], "its content isn't what was written")
	} else if m := packElse.FindStringSubmatch(line); m != nil {
		add(m[1], m[2])
	}
}

// explain an error with the files that are damaged, and what to do.
func (d *damage) explain(err error) error {
	const see = "No backup counts until it is repaired, see docs/how-to/repair-a-repository.md"
	switch {
	case len(d.packs) == 0 && len(d.lost) == 0:
		return err
	case len(d.packs) == 0:
		return fmt.Errorf("%w: backups in it refer to %d blobs that no file holds any more. %s: %w", errDamaged, len(d.lost), see, err)
	}
	const listed = 5
	var names []string
	for pack := range d.packs {
		names = append(names, pack)
	}
	slices.Sort(names)
	var all []string
	for _, pack := range names[:min(listed, len(names))] {
		all = append(all, fmt.Sprintf("data/%s/%s (%s)", pack[:2], pack, d.packs[pack]))
	}
	if more := len(names) - listed; more > 0 {
		all = append(all, "and "+strconv.Itoa(more)+" more")
	}
	return fmt.Errorf("%w: %d of its files can't be read back: %s. %s: %w",
		errDamaged, len(names), strings.Join(all, ", "), see, err)
}

// errDamaged is a repository that has lost something.
var errDamaged = errors.New("it is damaged")
