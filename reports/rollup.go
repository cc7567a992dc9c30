package reports

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/reports/control"
)

// DefaultReadAtMost is how many entries are read one by one (ours): some ten seconds of work. A year of a busy service
// has a thousand times as many, and its daily counts are a few thousand lines a key.
const DefaultReadAtMost = 2_000_000

// Rollups are what is counted of the data plane, by day, key version, caller, operation, outcome and origin. They are
// derived from the ledger, and made anew from it at any time. A Source may have them.
type Rollups interface {
	// UsageTo is up to which entry usage is counted.
	UsageTo(ctx context.Context) (uint64, error)
	// UsageBetween walks the counts of the days from ≤ day < to, since 1970-01-01 UTC, ordered by day, key and version.
	UsageBetween(ctx context.Context, from, to int64, fn func(store.UsageRow) error) error
}

// ErrNotCounted: the daily counts are behind the ledger. They catch up by themselves.
var ErrNotCounted = errors.New("the daily counts are behind the ledger; ask again in a minute")

// reading is how the ledger is read.
type reading struct {
	progress Progress
	atMost   uint64
}

func (r reading) most() uint64 {
	if r.atMost == 0 {
		return DefaultReadAtMost
	}
	return r.atMost
}

const secondsADay = 24 * 60 * 60

// midnight is the beginning of a day.
func midnight(day int64) time.Time { return time.Unix(day*secondsADay, 0).UTC() }

// stretch is entries to be read for one key version, because a limit of it lies among them.
type stretch struct {
	version     string
	first, last uint64
}

// observeCounts reads the whole control plane, the data plane of the period's broken days, and the daily counts of whole
// ones. Where an end or a suspension of a version falls into its uses of a day, those entries are read too: what was
// protected after its end is known as exactly as if all had been read.
func observeCounts(ctx context.Context, src Source, counts Rollups, ev *control.Evidence, first, end uint64) error {
	from := (ev.From.Unix() + secondsADay - 1) / secondsADay
	to := min(ev.To.Unix(), src.Checkpoint().At.Unix()) / secondsADay
	if to <= from {
		from, to = 0, 0
	}
	left, right, err := edges(ctx, src, first, end, from, to)
	if err != nil {
		return err
	}
	if counted, err := counts.UsageTo(ctx); err != nil || counted < right {
		return errors.Join(err, ErrNotCounted)
	}
	within, err := observeControl(ctx, src, ev, first, end, left, right)
	if err != nil {
		return err
	}
	ev.Events.CountUnread(int(right-left) - within)
	for _, part := range [][2]uint64{{first, left}, {right, end}} {
		err := src.Entries(ctx, part[0], part[1], func(e *ledger.Entry, _ []byte) error {
			if e.Link == nil {
				ev.Events.Observe(e)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading the entries of broken days: %w", err)
		}
	}
	again, err := rollDays(ctx, counts, ev, from, to)
	if err != nil {
		return err
	}
	for _, s := range again {
		err := src.Entries(ctx, s.first, s.last+1, func(e *ledger.Entry, _ []byte) error {
			ev.Events.ObserveUses(e, s.version)
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading the uses of %s: %w", s.version, err)
		}
	}
	return nil
}

// edges finds where the whole days begin and end in the ledger.
func edges(ctx context.Context, src Source, first, end uint64, from, to int64) (left, right uint64, err error) {
	if to <= from {
		return end, end, nil
	}
	if left, right, err = Range(ctx, src, midnight(from), midnight(to)); err != nil {
		return 0, 0, err
	}
	return max(left, first), min(right, end), nil
}

// observeControl reads the control plane, and counts the entries of it that lie within the whole days.
func observeControl(ctx context.Context, src Source, ev *control.Evidence, first, end, left, right uint64) (within int, err error) {
	err = src.ControlEntries(ctx, end, func(e *ledger.Entry, _ []byte) error {
		if e.Seq < first {
			ev.Events.Before(e)
		} else {
			ev.Events.Observe(e)
		}
		if e.Seq >= left && e.Seq < right {
			within++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading control entries: %w", err)
	}
	return within, nil
}

// rollDays takes in the counts of whole days, and returns what must be read all the same.
func rollDays(ctx context.Context, counts Rollups, ev *control.Evidence, from, to int64) ([]stretch, error) {
	var again []stretch
	var group []store.UsageRow
	flush := func() {
		if len(group) == 0 || ev.Events.RollDay(group) {
			group = group[:0]
			return
		}
		s := stretch{version: key.VersionID(group[0].Key, group[0].Version), first: group[0].FirstSeq}
		for _, r := range group {
			s.first, s.last = min(s.first, r.FirstSeq), max(s.last, r.LastSeq)
		}
		again, group = append(again, s), group[:0]
	}
	err := counts.UsageBetween(ctx, from, to, func(r store.UsageRow) error {
		if len(group) > 0 && (group[0].Day != r.Day || group[0].Key != r.Key || group[0].Version != r.Version) {
			flush()
		}
		group = append(group, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the daily counts: %w", err)
	}
	flush()
	return again, nil
}
