package clock

import (
	"sync"
	"time"
)

// Manual is a clock that moves only when it is told to: for tests, and for rehearsals in development mode that
// let years pass in seconds. Safe for concurrent use.
type Manual struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

// NewManual returns a clock that stands at a time.
func NewManual(at time.Time) *Manual { return &Manual{wall: at.UTC().Round(0)} }

// Now implements Clock.
func (c *Manual) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall
}

// Elapsed implements Clock.
func (c *Manual) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.elapsed
}

// Advance lets time pass.
func (c *Manual) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.elapsed = c.wall.Add(d), c.elapsed+d
}

// MoveWall sets the wall clock aside without time passing, as a hand on the system clock does.
func (c *Manual) MoveWall(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}
