package auth

import (
	"container/list"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"conclave/custodian"
	"conclave/custodian/clock"
)

// Bounds of what failed callers can cause (ours; DESIGN section 9: aggregates by source, so that a flood
// neither fills the ledger nor slows the data plane).
const (
	maxSources       = 4096            // sources remembered; the one quiet for longest makes way
	entryInterval    = time.Second     // between two entries about one source
	entriesPerSecond = 8               // about all sources together
	failureRate      = rate.Limit(5)   // failures a second and source answered as such; beyond: rate_limited
	failureBurst     = 20              //
	recordTimeout    = 5 * time.Second // of writing one entry
	otherSources     = "other sources" // origin of an entry about sources that made way
)

// failures counts callers that proved nobody. The first failure of a quiet source is recorded before it is
// answered; what follows within a second is counted and recorded as one.
type failures struct {
	door   *custodian.Service
	clock  clock.Clock
	log    *slog.Logger
	budget *rate.Limiter // entries about all sources

	mu      sync.Mutex
	sources map[string]*list.Element
	order   *list.List // of *source, latest failure first
	other   source     // sources that made way before they were recorded

	stop chan struct{}
	done chan struct{}
}

type source struct {
	name     string
	limiter  *rate.Limiter
	pending  int
	reason   string        // of the latest failure
	recorded time.Duration // monotonic time of the latest entry
	everDone bool
}

func newFailures(door *custodian.Service, c clock.Clock, log *slog.Logger) *failures {
	f := &failures{
		door: door, clock: c, log: log, budget: rate.NewLimiter(entriesPerSecond, entriesPerSecond),
		sources: make(map[string]*list.Element), order: list.New(), other: source{name: otherSources},
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go f.run()
	return f
}

// instant places monotonic time on the calendar that rate.Limiter reckons with.
func instant(elapsed time.Duration) time.Time { return time.Unix(0, 0).Add(elapsed) }

// count notes one failure and says how long the source should wait, 0 while it is within bounds.
func (f *failures) count(ctx context.Context, origin, reason string) time.Duration {
	now := f.clock.Elapsed()
	f.mu.Lock()
	s := f.source(network(origin))
	s.pending, s.reason = s.pending+1, reason
	n := f.due(s, now)
	within := s.limiter.AllowN(instant(now), 1)
	f.mu.Unlock()
	if n > 0 {
		f.record(ctx, s.name, reason, n)
	}
	if within {
		return 0
	}
	return entryInterval
}

// due takes the count of a source if it may be recorded now.
func (f *failures) due(s *source, now time.Duration) int {
	if s.pending == 0 || (s.everDone && now-s.recorded < entryInterval) || !f.budget.AllowN(instant(now), 1) {
		return 0
	}
	n := s.pending
	s.pending, s.recorded, s.everDone = 0, now, true
	return n
}

// source finds or makes a source and puts it in front.
func (f *failures) source(name string) *source {
	if e := f.sources[name]; e != nil {
		f.order.MoveToFront(e)
		return e.Value.(*source)
	}
	if f.order.Len() >= maxSources {
		last := f.order.Back()
		gone := f.order.Remove(last).(*source)
		delete(f.sources, gone.name)
		if gone.pending > 0 {
			f.other.pending, f.other.reason = f.other.pending+gone.pending, gone.reason
		}
	}
	s := &source{name: name, limiter: rate.NewLimiter(failureRate, failureBurst)}
	f.sources[name] = f.order.PushFront(s)
	return s
}

// network is what is counted as one source: an IPv4 address, or the /64 that one IPv6 subscriber has.
func network(origin string) string {
	addr, err := netip.ParseAddr(origin)
	if err != nil {
		return origin
	}
	addr = addr.Unmap()
	if addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return origin
	}
	return prefix.String()
}

func (f *failures) record(ctx context.Context, origin, reason string, n int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := f.door.RecordUnauthenticated(ctx, origin, reason, n); err != nil {
		f.log.Error("unauthenticated calls could not be recorded", "origin", origin, "reason", reason, "attempts", n, "error", err)
	}
}

// run records what was counted and not recorded at once.
func (f *failures) run() {
	defer close(f.done)
	tick := time.NewTicker(entryInterval)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			f.flush(true)
			return
		case <-tick.C:
			f.flush(false)
		}
	}
}

type countedFailures struct {
	origin, reason string
	attempts       int
}

// flush records due sources, the longest waiting first. last: this is the end; what the budget does not
// cover is recorded as one entry.
func (f *failures) flush(last bool) {
	now := f.clock.Elapsed()
	var due []countedFailures
	f.mu.Lock()
	for e := f.order.Back(); e != nil; e = e.Prev() {
		s := e.Value.(*source)
		if n := f.due(s, now); n > 0 {
			due = append(due, countedFailures{s.name, s.reason, n})
		} else if last && s.pending > 0 {
			f.other.pending, f.other.reason = f.other.pending+s.pending, s.reason
			s.pending = 0
		}
	}
	if n := f.due(&f.other, now); n > 0 || (last && f.other.pending > 0) {
		due = append(due, countedFailures{otherSources, f.other.reason, max(n, f.other.pending)})
		f.other.pending = 0
	}
	f.mu.Unlock()
	for _, d := range due {
		f.record(context.Background(), d.origin, d.reason, d.attempts)
	}
}

func (f *failures) close() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	<-f.done
}
