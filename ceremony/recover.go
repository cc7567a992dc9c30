package ceremony

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// claim makes sure that one process runs an effect once at a time.
func (e *Engine) claim(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.running[id] {
		return false
	}
	e.running[id] = true
	return true
}

func (e *Engine) release(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, id)
}

// stall keeps why an effect waits for its keystore; with any other outcome of the try there is nothing to wait for.
func (e *Engine) stall(id string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !hsm.Waits(err) {
		delete(e.stalled, id)
		return
	}
	if e.stalled[id] == "" {
		e.log.Warn("a ceremony waits for its keystore and is tried again", "ceremony", id, "error", err)
	}
	e.stalled[id] = clipWhy(err)
}

// Stalled says why an executing ceremony is not over, as far as this process knows: its keystore does not serve. ""
// where nothing is known to be in the way.
func (e *Engine) Stalled(id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stalled[id]
}

// Executing says whether a ceremony of an operation may have an effect that is not recorded yet, on any replica. A row that
// is not to be believed may be one.
func (e *Engine) Executing(operation string) bool {
	view := e.store.View()
	for _, c := range store.Active[Ceremony](view, Kind) {
		if c.Operation == operation && (c.State == Executing || c.State == Indeterminate) {
			return true
		}
	}
	return len(view.Tampered(Kind)) > 0
}

func (e *Engine) executor() string { return e.door.Node() + "/" + e.boot }

// Recover looks after ceremonies whose effect a process that has ended left open: it adopts the effect,
// begins it again under the same id where it did not happen, or shows the ceremony as indeterminate.
func (e *Engine) Recover(ctx context.Context) error {
	var errs []error
	for _, c := range store.Active[Ceremony](e.store.View(), Kind) {
		if (c.State != Executing && c.State != Indeterminate) || !e.orphaned(c) {
			continue
		}
		if err := e.recoverOne(ctx, c.ID); err != nil {
			errs = append(errs, fmt.Errorf("recovering %s: %w", c.ID, err))
		}
	}
	return errors.Join(errs...)
}

// orphanAfter is when another node's effect counts as left behind.
const orphanAfter = 10 * time.Minute

// renewWithin is how old the sign of life of an effect under way may become: so often within orphanAfter that a process
// which lives is not taken for one that ended.
const renewWithin = orphanAfter / 4

// Renew gives a sign of life of the effects that this process is at, however long they take. Every replica calls it,
// every few seconds and apart from all that may take long.
func (e *Engine) Renew(ctx context.Context) error {
	var errs []error
	for _, id := range e.runningNow() {
		_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
			c, err := load(view, id)
			now := e.clock.Now()
			if err != nil || (c.State != Executing && c.State != Indeterminate) || c.Executor != e.executor() || c.ExecutingAt == nil || now.Sub(*c.ExecutingAt) < renewWithin {
				return nil, err
			}
			c.ExecutingAt = &now
			return func(tx *store.Tx) error {
				c.LastSeq = tx.View().Head().Size
				return put(tx, c, e.entry("executing", e.self(), c, map[string]any{"effect": c.EffectID}))
			}, nil
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("renewing %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) runningNow() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.running))
}

// orphaned: no living process is at it. A process knows its own; of others it knows only the time.
func (e *Engine) orphaned(c *Ceremony) bool {
	if strings.HasPrefix(c.Executor, e.door.Node()+"/") {
		return true // this node, this or an earlier process: claim keeps the present one's apart
	}
	return c.ExecutingAt == nil || e.clock.Now().Sub(*c.ExecutingAt) > orphanAfter
}

func (e *Engine) recoverOne(ctx context.Context, id string) error {
	if !e.claim(id) {
		return nil
	}
	defer e.release(id)
	c, err := e.Get(id) // anew: whoever had claimed it may have brought it to an end
	if err != nil || (c.State != Executing && c.State != Indeterminate) {
		return err
	}
	if op, ok := e.ops[c.Operation].(operation.Compound); ok {
		return e.recoverBatch(ctx, c, op)
	}
	op, ok := e.ops[c.Operation].(operation.Effectful)
	if !ok {
		return fmt.Errorf("operation %s is unknown to this program", c.Operation)
	}
	p := e.self()
	in := e.input(c, c.requester(), e.clock.Now(), c.Approvers)
	effect, found, err := op.Recover(ctx, e.environment(e.store.View()), in, c.EffectID)
	e.stall(id, err)
	switch {
	case hsm.Waits(err):
		return err // its custodians have not opened it yet, or it does not answer: nothing can be said before
	case err != nil:
		if c.State != Indeterminate {
			e.endEffect(ctx, p, id, Indeterminate, "indeterminate", err)
		}
		return fmt.Errorf("%w: %w", ErrIndeterminate, err)
	case found:
		return e.adoptLate(ctx, p, id, op, in, effect)
	case len(c.Components) > 0:
		return e.reopen(ctx, p, id)
	case c.ShareSet != "" && !e.deferred(c):
		e.endEffect(ctx, p, id, Failed, "fail", errors.New("the process ended before it was done; nothing was changed, the shares must be brought again"))
		return nil
	}
	return e.beginAgain(ctx, p, c, op, in)
}

// beginAgain runs an effect that did not happen, under the id of its intent. It is an execution like the first:
// people, policy and target are judged anew, and nothing begins while the clock is distrusted.
func (e *Engine) beginAgain(ctx context.Context, p identity.Principal, c *Ceremony, op operation.Effectful, in operation.Input) error {
	if problem := e.heldByClock(c); problem != "" {
		return fmt.Errorf("%w: %s", ErrClockDisagrees, problem)
	}
	_, err := e.ready(ctx, e.store.View(), c, e.clock.Now())
	if waitsForKeystore(err) || errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
		return err
	}
	if err != nil { // it did not happen, and is not to happen now
		e.endEffect(ctx, p, c.ID, Failed, "fail", err)
		return err
	}
	if err := e.takeOver(ctx, p, c.ID, c.Executor); err != nil {
		return err
	}
	_, once, err := e.effectuate(ctx, p, c, op, in, nil, true)
	wipe(once)
	return err
}

// takeOver makes this process the one that goes on, and that others leave it to, unless another has been faster.
func (e *Engine) takeOver(ctx context.Context, p identity.Principal, id, from string) error {
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		c, err := load(view, id)
		if err != nil {
			return nil, err
		}
		if (c.State != Executing && c.State != Indeterminate) || c.Executor != from {
			return nil, fmt.Errorf("%s: %w", id, errTaken)
		}
		if c.Executor == e.executor() {
			return nil, nil
		}
		now := e.clock.Now()
		c.Executor, c.ExecutingAt = e.executor(), &now
		return func(tx *store.Tx) error {
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, e.entry("resume", p, c, map[string]any{"from": from}))
		}, nil
	})
	return err
}

// adoptLate records an effect when nobody waits for its answer any more.
func (e *Engine) adoptLate(ctx context.Context, p identity.Principal, id string, op operation.Effectful, in operation.Input, effect operation.Effect) error {
	_, once, err := e.adopt(ctx, p, id, op, in, effect)
	wipe(once)
	return err
}

func wipe(s *secret.Bytes) {
	if s != nil {
		s.Wipe()
	}
}
