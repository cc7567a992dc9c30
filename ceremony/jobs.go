package ceremony

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian/store"
)

// runJobs does what dates bring to keys (class A): scheduled rotations first, since nothing rotates from a
// version whose usage period is over, then activations and expiries; and tells once of what a person should
// look at.
func (e *Engine) runJobs(ctx context.Context) error {
	err := errors.Join(e.rotateDue(ctx), e.applyDue(ctx))
	e.alert()
	return err
}

// rotateAgain is how long a scheduled rotation that was refused or failed, which is recorded, is left alone.
const rotateAgain = 10 * time.Minute

func (e *Engine) rotateDue(ctx context.Context) error {
	view := e.store.View()
	due, err := operation.Jobs{Env: e.environment(view)}.DueRotations(ctx, view, e.clock.Now())
	errs := []error{err}
	for _, s := range due {
		if e.clock.Elapsed() < e.notBefore[string(s.Params)] {
			continue
		}
		_, once, err := e.Propose(ctx, e.self(), Proposal{Operation: s.Operation, Params: s.Params, Reason: s.Reason})
		wipe(once)
		if err != nil {
			e.notBefore[string(s.Params)] = e.clock.Elapsed() + rotateAgain
			errs = append(errs, fmt.Errorf("scheduled %s: %w", s.Operation, err))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) applyDue(ctx context.Context) error {
	var judged error
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		jobs := operation.Jobs{Env: e.environment(view)}
		due, err := jobs.DueTransitions(ctx, view, e.clock.Now())
		judged = err // one key that cannot be judged does not hold up the others
		if len(due) == 0 {
			return nil, nil
		}
		return func(tx *store.Tx) error { return jobs.ApplyDue(tx, due) }, nil
	})
	if errors.Is(err, store.ErrNoEntry) {
		err = nil
	}
	return errors.Join(judged, err)
}

// alert writes each alert to the service's log once a process.
func (e *Engine) alert() {
	for _, a := range operation.Alerts(e.store.View(), e.clock.Now()) {
		e.mu.Lock()
		told := e.told[a]
		e.told[a] = true
		e.mu.Unlock()
		if !told {
			e.log.Warn(a.Message, "kind", a.Kind, "key", a.Key, "version", a.Version)
		}
	}
}
