package auth

import (
	"container/list"
	"sync"

	"golang.org/x/time/rate"

	"conclave/custodian/clock"
)

// Bounds of what callers without credentials are served (ours): a witness that follows the ledger needs a few
// requests a minute, an export without credentials some thousand in all.
const (
	sourceRate    = rate.Limit(50) // requests a second and source
	sourceBurst   = 300
	everybodyRate = rate.Limit(1000) // of all sources together
	everybodyMost = 4000
)

// Sources bounds requests by where they come from, for routes that ask for no credentials. It is safe for
// concurrent use and remembers a bounded number of sources.
type Sources struct {
	clock clock.Clock

	mu      sync.Mutex
	all     *rate.Limiter
	sources map[string]*list.Element
	order   *list.List // of *visitor, latest first
}

type visitor struct {
	name    string
	limiter *rate.Limiter
}

// NewSources returns a bound that nobody has used yet.
func NewSources(c clock.Clock) *Sources {
	return &Sources{clock: c, all: rate.NewLimiter(everybodyRate, everybodyMost), sources: make(map[string]*list.Element), order: list.New()}
}

// Allow says whether one more request from an origin may be served now.
func (s *Sources) Allow(origin string) bool {
	now, name := instant(s.clock.Elapsed()), network(origin)
	s.mu.Lock()
	defer s.mu.Unlock()
	// The source's own bound comes first: what it refuses takes nothing from the others.
	return s.visitor(name).limiter.AllowN(now, 1) && s.all.AllowN(now, 1)
}

// visitor finds or makes a source and puts it in front; the one quiet for longest makes way.
func (s *Sources) visitor(name string) *visitor {
	if e := s.sources[name]; e != nil {
		s.order.MoveToFront(e)
		return e.Value.(*visitor)
	}
	if s.order.Len() >= maxSources {
		gone := s.order.Remove(s.order.Back()).(*visitor)
		delete(s.sources, gone.name)
	}
	v := &visitor{name: name, limiter: rate.NewLimiter(sourceRate, sourceBurst)}
	s.sources[name] = s.order.PushFront(v)
	return v
}
