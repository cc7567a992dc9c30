package ceremony

import (
	"context"
	"fmt"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian/store"
)

// How often it is looked where keys live (ours): soon after authority changed, and without that now and then, since
// dates and drivers change by themselves. Both are well within the minute in which drift is to be found.
const (
	placementSoon  = 5 * time.Second
	placementEvery = 30 * time.Second
)

// placementWatch is when it was looked last, and at what.
type placementWatch struct {
	looked     bool
	at         time.Duration // monotonic
	epoch      uint64
	generation uint64
	unfinished bool // more was found than one commit took
}

func (w *placementWatch) due(view *store.View, now time.Duration) bool {
	since := now - w.at
	moved := w.epoch != view.Epoch() || w.generation != view.Generation()
	return !w.looked || w.unfinished || since >= placementEvery || moved && since >= placementSoon
}

// watchPlacement records which keys live where they would not be placed today, which keystores are less than their
// records say, and what has settled.
func (e *Engine) watchPlacement(ctx context.Context) error {
	view, now := e.store.View(), e.clock.Elapsed()
	if !e.placement.due(view, now) {
		return nil
	}
	more := false
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		jobs := operation.Jobs{Env: e.environment(view)}
		found, err := jobs.Drift(ctx, view, e.clock.Now())
		if err != nil || found.Nothing() {
			return nil, err
		}
		more = found.More
		return func(tx *store.Tx) error { return jobs.RecordDrift(tx, found) }, nil
	})
	if err != nil {
		return fmt.Errorf("watching placement: %w", err)
	}
	view = e.store.View()
	e.placement = placementWatch{looked: true, at: now, epoch: view.Epoch(), generation: view.Generation(), unfinished: more}
	return nil
}
