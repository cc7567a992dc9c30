package ceremony

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"conclave/custodian/store"
)

// errMoved: the control plane moved between judging and committing.
var errMoved = errors.New("control plane moved")

const (
	// maxTries bounds how often one step is judged anew because others committed first. Whoever has the turn loses to
	// other replicas, to what is not judged here, and to what restricts.
	maxTries = 256
	// turnHeld is how long one step keeps the turn (ours): one that takes longer to judge goes on without, so that it
	// holds up nobody.
	turnHeld = time.Second
)

// judging judges a step under a view and returns what applies it. nil: nothing to do.
type judging func(view *store.View) (func(tx *store.Tx) error, error)

// change judges a step outside the ledger's lock and applies it under it, if nothing else on the control
// plane was committed in between; otherwise it judges again. So signatures and policy are evaluated on the
// very state that the step is applied to, and the lock is held for microseconds. judge may return a nil step:
// nothing to do.
//
// Steps of this process that would outdate each other take turns, first come, first served: while nobody waits a step is
// tried at once, and whoever loses that race, or comes while others wait, stands in line. So each of many who vote at once
// is judged about twice, and none is overtaken without end.
func (e *Engine) change(ctx context.Context, judge judging) (store.Receipt, error) {
	if e.turns.TryAcquire(1) {
		e.turns.Release(1)
		receipt, err := e.attempt(ctx, judge)
		if !errors.Is(err, errMoved) {
			return receipt, err
		}
	}
	if err := e.turns.Acquire(ctx, 1); err != nil {
		return store.Receipt{}, fmt.Errorf("waiting for a turn: %w", err)
	}
	var once sync.Once
	release := func() { once.Do(func() { e.turns.Release(1) }) }
	timer := time.AfterFunc(turnHeld, release)
	defer timer.Stop()
	defer release()
	return e.changeAtOnce(ctx, judge)
}

// changeAtOnce is change for what restricts: it stands in no line.
func (e *Engine) changeAtOnce(ctx context.Context, judge judging) (store.Receipt, error) {
	for range maxTries {
		receipt, err := e.attempt(ctx, judge)
		if !errors.Is(err, errMoved) {
			return receipt, err
		}
		if err := ctx.Err(); err != nil {
			return store.Receipt{}, err
		}
	}
	return store.Receipt{}, fmt.Errorf("others committed first %d times: %w", maxTries, store.ErrUnavailable)
}

// attempt judges and applies a step once; errMoved when others committed in between.
func (e *Engine) attempt(ctx context.Context, judge judging) (store.Receipt, error) {
	view := e.store.View()
	apply, err := judge(view)
	if err != nil || apply == nil {
		return store.Receipt{}, err
	}
	return e.store.Control(ctx, func(tx *store.Tx) error {
		now := tx.View()
		if now.Head().ControlCount != view.Head().ControlCount || now.Generation() != view.Generation() {
			return errMoved
		}
		return apply(tx)
	})
}
