package custodiantest

import (
	"time"

	"conclave/custodian/clock"
)

// Start is the time at which every test clock begins.
func Start() time.Time { return time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC) }

// Clock is a clock that moves only when told to. Wall and monotonic time can be moved apart.
type Clock = clock.Manual

// NewClock returns a clock at Start.
func NewClock() *Clock { return clock.NewManual(Start()) }
