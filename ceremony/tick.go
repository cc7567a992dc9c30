package ceremony

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// Time. Waiting periods are counted by ledger heartbeats, each worth the smaller of what the wall clock and
// the monotonic clock say has passed, and never more than LongestBeat: moving the clock shortens no wait.
const (
	beatEvery = time.Minute
	// LongestBeat is the most that one heartbeat is worth, however much time passed since the one before.
	LongestBeat = 2 * time.Minute
	// clockSlack is how far wall and monotonic time may part between two looks before the clock is distrusted.
	clockSlack = 5 * time.Second
	// startSlack is how far before the last ledger entry the wall clock may be at start.
	startSlack = 2 * time.Second
	// confirmLag is how much later than a confirmation another replica may look at it (ours).
	confirmLag = 30 * time.Second
)

// heartbeat measures how much waiting time has passed.
type heartbeat struct {
	clock   clock.Clock
	wall    time.Time
	elapsed time.Duration
}

func newHeartbeat(c clock.Clock) *heartbeat {
	return &heartbeat{clock: c, wall: c.Now(), elapsed: c.Elapsed()}
}

// passed is what a beat now is worth, zero before beatEvery is over.
func (h *heartbeat) passed() time.Duration {
	worth := min(h.clock.Now().Sub(h.wall), h.clock.Elapsed()-h.elapsed, LongestBeat)
	if h.clock.Elapsed()-h.elapsed < beatEvery {
		return 0
	}
	return max(worth, 0)
}

func (h *heartbeat) reset() { h.wall, h.elapsed = h.clock.Now(), h.clock.Elapsed() }

// Tick does what time brings: expires what nobody finished, counts waiting periods down, runs what has
// become due, changes key states by date, and looks after effects left behind. One replica at a time calls
// it, every few seconds; in one process one call waits for the other. Errors of one ceremony do not stop the others.
// While the clock is distrusted no date has come: one that jumped ahead would end for good all that people are at.
func (e *Engine) Tick(ctx context.Context) error {
	e.ticks.Lock()
	defer e.ticks.Unlock()
	e.Sweep()
	errs := []error{e.noteClock(ctx), e.endStranded(ctx)}
	trusted := e.ClockProblem() == ""
	if trusted {
		errs = append(errs, e.expire(ctx))
	}
	errs = append(errs, e.countDown(ctx), e.runDue(ctx), e.writeRuns(ctx))
	if trusted {
		errs = append(errs, e.lapse(ctx), e.Recover(ctx), e.runJobs(ctx))
	}
	return errors.Join(errs...)
}

// noteClock records when the clock becomes distrusted and trusted again.
func (e *Engine) noteClock(ctx context.Context) error {
	problem := e.ClockProblem()
	e.mu.Lock()
	before := e.clockNoted
	e.clockNoted = problem
	e.mu.Unlock()
	if (problem == "") == (before == "") {
		return nil
	}
	entry := ledger.Entry{Type: "clock.disagrees", Actor: e.self(), Target: ledger.Target{Type: "node", ID: e.door.Node()},
		Outcome: ledger.Failed, Detail: custodian.Detail(map[string]any{"problem": problem})}
	if problem == "" {
		entry.Type, entry.Outcome, entry.Detail = "clock.agrees", ledger.Done, nil
	}
	_, err := e.store.Control(ctx, func(tx *store.Tx) error { return tx.Append(entry) })
	return err
}

// expire ends what was not finished in time.
func (e *Engine) expire(ctx context.Context) error {
	now := e.clock.Now()
	for _, c := range store.Active[Ceremony](e.store.View(), Kind) {
		waiting := c.State == Approved && c.WaitLeft > 0
		open := c.State == Proposed || c.State == Gathering || c.State == Approved
		if open && !waiting && !now.Before(c.deadline()) {
			e.end(ctx, e.self(), c.ID, Expired, "expire", errors.New("nobody finished it in time"))
		}
	}
	return ctx.Err()
}

// endStranded ends what waits for shares that nobody can bring any more.
func (e *Engine) endStranded(ctx context.Context) error {
	for _, c := range store.Active[Ceremony](e.store.View(), Kind) {
		if c.State != Gathering {
			continue
		}
		_, err := gatheredSet(e.store.View(), c.ShareSet, c.ShareEpoch)
		if err == nil && c.Requester.Kind == identity.Node { // shares are taken by that node alone
			err = custodian.NodeStanding(e.store.View(), c.Requester.ID)
		}
		if errors.Is(err, ErrVoid) || errors.Is(err, custodian.ErrNodeRevoked) {
			e.end(ctx, e.self(), c.ID, Failed, "fail", err)
		}
	}
	return ctx.Err()
}

// Waiting reports whether a ceremony is in its waiting period.
func (e *Engine) Waiting() bool {
	for _, c := range store.Active[Ceremony](e.store.View(), Kind) {
		if c.State == Approved && c.WaitLeft > 0 {
			return true
		}
	}
	return false
}

// countDown takes a heartbeat off every waiting period. Without anything waiting no heartbeat is recorded, and
// while the clock is distrusted no time counts. Replicas that take turns count the same time once: CountedAt.
func (e *Engine) countDown(ctx context.Context) error {
	e.mu.Lock()
	passed := e.beat.passed()
	if passed > 0 || e.beat.clock.Elapsed()-e.beat.elapsed >= beatEvery {
		e.beat.reset()
	}
	e.mu.Unlock()
	if passed == 0 || e.ClockProblem() != "" {
		return nil
	}
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var waiting []*Ceremony
		for _, c := range store.Active[Ceremony](view, Kind) {
			if c.State == Approved && c.WaitLeft > 0 {
				now, since := e.clock.Now(), c.ApprovedAt // what passed before the approval does not count
				if c.CountedAt != nil {
					since = c.CountedAt
				}
				c.WaitLeft = max(0, c.WaitLeft-Nanoseconds(max(min(passed, now.Sub(*since)), 0)))
				if c.CountedAt = &now; c.WaitLeft == 0 {
					c.DueAt = &now
				}
				waiting = append(waiting, c)
			}
		}
		if len(waiting) == 0 {
			return nil, nil
		}
		return func(tx *store.Tx) error {
			for start := 0; start < len(waiting); start += ledger.MaxRows {
				part := waiting[start:min(len(waiting), start+ledger.MaxRows)]
				for _, c := range part {
					if err := tx.Put(Kind, c.ID, c); err != nil {
						return err
					}
				}
				if err := tx.Append(ledger.Entry{Type: "ledger.heartbeat", Actor: e.self(), Outcome: ledger.Done,
					Target: ledger.Target{Type: "node", ID: e.door.Node()},
					Detail: custodian.Detail(map[string]any{"elapsed_ms": passed.Milliseconds(), "waiting": len(part)})}); err != nil {
					return err
				}
			}
			return nil
		}, nil
	})
	return err
}

// runGrace is how long what one person asked for is left to the call that asked for it (ours): a call lasts no longer.
const runGrace = time.Minute

// beingRun: one person asked for it just now, and the very call runs it, here or on another node. Whoever else took it up
// meanwhile would be given what is delivered once, a token, in their place.
func (e *Engine) beingRun(c *Ceremony) bool {
	alone := c.Class == string(policies.Direct) || c.Class == string(policies.Protective)
	return alone && c.ApprovedAt != nil && c.DueAt == nil && e.clock.Now().Sub(*c.ApprovedAt) < runGrace
}

// runDue runs approved ceremonies whose waiting period is over. With a clock that is distrusted only what
// restricts is run.
func (e *Engine) runDue(ctx context.Context) error {
	var errs []error
	for _, c := range store.Active[Ceremony](e.store.View(), Kind) {
		if c.State != Approved || c.WaitLeft > 0 || e.heldByClock(c) != "" || e.beingRun(c) {
			continue
		}
		if _, once, err := e.run(ctx, e.self(), c.ID); err != nil {
			errs = append(errs, fmt.Errorf("running %s: %w", c.ID, err))
		} else {
			wipe(once)
		}
	}
	return errors.Join(errs...)
}
