package ceremony

import (
	"context"
	"errors"
	"fmt"
)

// Sweep wipes shares that were brought to this process for a ceremony that has ended: it may have ended on
// another replica, or while a share was on its way; and it looks at the clock. Every replica calls it every few seconds.
func (e *Engine) Sweep() {
	e.ClockProblem()
	view := e.store.View()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, collector := range e.gathering {
		c, err := load(view, id)
		if err == nil && !c.State.Ended() {
			continue
		}
		collector.Wipe()
		delete(e.gathering, id)
	}
}

// Gathered is how many shares this process holds in memory, over all ceremonies.
func (e *Engine) Gathered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, collector := range e.gathering {
		n += collector.Count()
	}
	return n
}

// RunGathered runs ceremonies whose shares are here and that lack nothing any more: the last vote may have been given on
// another replica, which has no shares. Every replica calls it every few seconds.
func (e *Engine) RunGathered(ctx context.Context) error {
	view := e.store.View()
	e.mu.Lock()
	var here []string
	for id := range e.gathering {
		here = append(here, id)
	}
	e.mu.Unlock()
	var errs []error
	for _, id := range here {
		c, err := load(view, id)
		if err != nil || c.State != Gathering || !e.due(c) || e.heldByClock(c) != "" {
			continue
		}
		_, once, err := e.run(ctx, e.self(), id)
		wipe(once)
		if err != nil && !errors.Is(err, ErrQuorum) && !waitsForKeystore(err) {
			errs = append(errs, fmt.Errorf("running %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}
