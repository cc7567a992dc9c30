// Package clock is the time the service reasons with, passed in explicitly.
package clock

import "time"

// Clock gives wall time and a monotonic reading. The two are apart so that a moved wall clock is seen.
type Clock interface {
	// Now is wall-clock time in UTC.
	Now() time.Time
	// Elapsed is monotonic time since an arbitrary fixed start of this process.
	Elapsed() time.Duration
}

// System is the operating system's clock. The zero value is not usable; see NewSystem.
type System struct{ start time.Time }

// NewSystem returns the operating system's clock.
func NewSystem() *System { return &System{start: time.Now()} }

// Now implements Clock. The monotonic part is stripped, so that differences of two Nows show wall time.
func (*System) Now() time.Time { return time.Now().UTC().Round(0) }

// Elapsed implements Clock.
func (s *System) Elapsed() time.Duration { return time.Since(s.start) }
