package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"conclave/app/config"
	"conclave/ceremony"
	"conclave/ceremony/recovery"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/follow"
)

// ErrRehearsal: an instance that is not for rehearsing.
var ErrRehearsal = errors.New("time is moved by hand in development mode only")

// longestStep is the most time that passes at once in a rehearsal: what is due daily happens in its week. Each step
// looks after everything that time brings, quorums included.
const longestStep = 7 * 24 * time.Hour

// Rehearsal is a service whose time passes only when it is told to, so that a year of custody can be gone through
// in a minute: the same program over the same API, with jobs that run when time passes instead of in the background.
type Rehearsal struct {
	*Running
	clock *clock.Manual
}

// Rehearse is Start for a rehearsal. An instance in production mode is ErrRehearsal.
func Rehearse(ctx context.Context, cfg *config.Config, clk *clock.Manual, logger *slog.Logger) (*Rehearsal, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	s, err := openService(ctx, cfg, clk, logger, "(rehearsal)")
	if err != nil {
		return nil, err
	}
	if mode := s.door.Instance().Mode; mode != custodian.Development {
		return nil, errors.Join(fmt.Errorf("instance %s is in %s mode: %w", s.door.Instance().Name, mode, ErrRehearsal), s.close(ctx))
	}
	s.paced = true
	s.pass = follow.New(s.store, s.cfg.Node.ID, nil) // nothing watches a time that is made up
	r, err := serve(ctx, s)
	if err != nil {
		return nil, err
	}
	return &Rehearsal{Running: r, clock: clk}, nil
}

// RehearseRestore is Restore at the time of a rehearsal. A backup of an instance in production mode is ErrRehearsal.
func RehearseRestore(ctx context.Context, clk *clock.Manual, in recovery.Input) (recovery.Done, error) {
	if in.Trust.Mode != string(custodian.Development) {
		return recovery.Done{}, fmt.Errorf("backup of an instance in %s mode: %w", in.Trust.Mode, ErrRehearsal)
	}
	return restore(ctx, clk, in)
}

// Pass lets time pass and does what it brings. While a ceremony waits, time passes in heartbeats, because nothing
// else counts for it. An error of a job ends it; the time until then has passed.
func (r *Rehearsal) Pass(ctx context.Context, d time.Duration) error {
	for d > 0 {
		step := min(d, longestStep)
		if r.service.engine.Waiting() {
			step = min(step, ceremony.LongestBeat)
		}
		r.clock.Advance(step)
		d -= step
		if err := errors.Join(r.service.tick(ctx), r.service.backUp(ctx), r.service.engine.Journal(ctx), r.service.dropArchived(ctx)); err != nil {
			return fmt.Errorf("at %s: %w", r.clock.Now().Format(time.RFC3339), err)
		}
	}
	return nil
}
