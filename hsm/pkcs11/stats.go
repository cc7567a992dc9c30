package pkcs11

import (
	"errors"
	"sync/atomic"
	"time"

	"conclave/hsm"
)

// Stats are counts since the start, and how things stand, for metrics.
type Stats struct {
	Calls       uint64        // calls that came back right, or refused what was asked
	Unavailable uint64        // calls that found the token unavailable
	Refused     uint64        // calls that the circuit breaker refused at once
	Abandoned   uint64        // calls given up at the deadline
	Logins      uint64        // logins, the first included
	Restarts    uint64        // initialisations of the module because the token was missing
	Busy        time.Duration // time spent in calls, waiting for a session included
	Stuck       int           // calls that hang in the module now
	Sessions    int           // calls that the token is given at once
	Open        bool          // the circuit breaker lets no call through
}

type counters struct {
	calls, unavailable, refused, abandoned, logins, restarts atomic.Uint64
	busy                                                     atomic.Int64
}

// note counts one call that was made.
func (c *counters) note(took time.Duration, err error) {
	c.busy.Add(int64(took))
	if errors.Is(err, hsm.ErrUnavailable) {
		c.unavailable.Add(1)
		return
	}
	c.calls.Add(1)
}

// read is the counts as they stand.
func (c *counters) read() Stats {
	return Stats{Calls: c.calls.Load(), Unavailable: c.unavailable.Load(), Refused: c.refused.Load(), Abandoned: c.abandoned.Load(),
		Logins: c.logins.Load(), Restarts: c.restarts.Load(), Busy: time.Duration(c.busy.Load())}
}
