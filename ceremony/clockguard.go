package ceremony

import (
	"fmt"
	"sync"
	"time"

	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/dsse"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

// clockGuard compares the wall clock with monotonic time and with the ledger. A clock that disagrees is distrusted
// until it agrees again, or until a quorum confirms what it shows (clock.confirm).
type clockGuard struct {
	clock clock.Clock

	mu       sync.Mutex
	wall     time.Time // where the wall clock was when last trusted
	elapsed  time.Duration
	behind   bool   // it was before the ledger at start: any later time is as good as at another start
	distrust string // what is wrong, "" for nothing
	// The last look, trusted or not, and when the clock was last seen to jump.
	lookWall    time.Time
	lookElapsed time.Duration
	steadySince time.Duration
	seen        uint64 // revision of the last confirmation looked at
}

func newClockGuard(c clock.Clock, notBefore time.Time, confirmation uint64) *clockGuard {
	g := &clockGuard{clock: c, wall: c.Now(), elapsed: c.Elapsed(), seen: confirmation}
	g.lookWall, g.lookElapsed, g.steadySince = g.wall, g.elapsed, g.elapsed
	if g.wall.Before(notBefore.Add(-startSlack)) {
		g.distrust = fmt.Sprintf("it shows %s, before the last ledger entry of %s", g.wall.Format(time.RFC3339), notBefore.Format(time.RFC3339))
		g.wall, g.behind = notBefore, true
	}
	return g
}

// problem says what is wrong with the clock, "" for nothing. A distrusted clock is trusted again when it agrees
// again with the time that has passed since it was last trusted, or when it shows what a quorum confirmed since.
func (g *clockGuard) problem(confirmed *oversight.ClockConfirmation, revision uint64) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, elapsed := g.clock.Now(), g.clock.Elapsed()
	if apart(wall, g.lookWall.Add(elapsed-g.lookElapsed)) {
		g.steadySince = elapsed
	}
	g.lookWall, g.lookElapsed = wall, elapsed
	fresh := revision > g.seen
	g.seen = max(g.seen, revision)
	expected := g.wall.Add(elapsed - g.elapsed)
	agrees := !apart(wall, expected) || g.behind && !wall.Before(g.wall.Add(-startSlack))
	said := fresh && confirmed != nil && !wall.Before(confirmed.Wall.Add(-clockSlack)) && wall.Before(confirmed.Wall.Add(confirmLag))
	if agrees || said {
		g.wall, g.elapsed, g.distrust, g.behind = wall, elapsed, "", false
		return ""
	}
	if g.distrust == "" {
		g.distrust = fmt.Sprintf("it shows %s where %s was expected by elapsed time", wall.Format(time.RFC3339), expected.Format(time.RFC3339))
	}
	return g.distrust
}

func apart(a, b time.Time) bool {
	off := a.Sub(b)
	return off > clockSlack || off < -clockSlack
}

// steady is for how long the clock has gone on without a jump, as far as this process has seen.
func (g *clockGuard) steady() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clock.Elapsed() - g.steadySince
}

// confirmedClock is the last confirmation on record and its revision. One that contradicts the ledger confirms nothing.
func confirmedClock(view *store.View) (*oversight.ClockConfirmation, uint64) {
	c, row, err := store.Get[oversight.ClockConfirmation](view, custodian.KindClock, oversight.ClockRow)
	if err != nil {
		return nil, 0
	}
	return c, row.Revision
}

// ClockProblem says why executions are stopped by the clock; "" when they are not.
func (e *Engine) ClockProblem() string {
	return e.guard.problem(confirmedClock(e.store.View()))
}

// heldByClock says why a ceremony does not run now; "" when the clock is no reason. Restricting is never held up: a
// wrong clock is no reason to leave a suspected key in use. Nor is what ends the disagreement.
func (e *Engine) heldByClock(c *Ceremony) string {
	problem := e.ClockProblem()
	if _, timeless := e.ops[c.Operation].(operation.Timeless); timeless || c.Class == string(policies.Protective) {
		return ""
	}
	return problem
}

// byThisClock: people confirm the clock as it stood when they signed. Approvals from before a jump that this process
// saw, or from before its start, confirm nothing.
func (e *Engine) byThisClock(c *Ceremony, now time.Time) error {
	if _, timeless := e.ops[c.Operation].(operation.Timeless); !timeless {
		return nil
	}
	steady := e.guard.steady()
	for _, v := range c.Votes {
		if v.Decision != string(statement.Approve) {
			continue
		}
		at, err := signedAt(v)
		if err != nil {
			return err
		}
		if age := now.Sub(at); age < -clockSlack || age > steady+clockSlack {
			return fmt.Errorf("%s signed at %s by a clock that has moved since, or before this node started: %w", v.Person, at.Format(time.RFC3339), ErrVoid)
		}
	}
	return nil
}

// signedAt is when a statement says that it was issued; the signature is verified elsewhere.
func signedAt(v Vote) (time.Time, error) {
	envelope, err := dsse.Parse(v.Envelope)
	if err != nil {
		return time.Time{}, err
	}
	s, err := statement.Parse(envelope.UnverifiedPayload())
	return s.IssuedAt, err
}
