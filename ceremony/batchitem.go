package ceremony

import (
	"context"
	"errors"
	"fmt"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
)

// step changes the batch and item i of it, under one view. judge returns why the item cannot be done, or what
// does it. Whoever has lost the batch to another process changes nothing.
func (r *batchRun) step(ctx context.Context, i int, judge func(view *store.View, c *Ceremony, item operation.Item) (func(*store.Tx) error, error)) error {
	_, err := r.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		c, err := load(view, r.id)
		if err != nil {
			return nil, err
		}
		if (c.State != Executing && c.State != Indeterminate) || c.Executor != r.executor() {
			return nil, fmt.Errorf("%s: %w", r.id, errTaken)
		}
		items, err := r.op.Items(r.input(c, c.requester(), r.clock.Now(), c.Approvers))
		if err != nil {
			return nil, err
		}
		apply, err := judge(view, c, items[i])
		if err != nil || apply == nil {
			return nil, err
		}
		now := r.clock.Now()
		return func(tx *store.Tx) error {
			if err := apply(tx); err != nil {
				return err
			}
			c.ExecutingAt, c.LastSeq = &now, tx.View().Head().Size
			it := c.Items[i]
			entry := r.entry("item", r.p, c, map[string]any{"item": i + 1, "state": string(it.State), "why": it.Why})
			entry.Target = ledger.Target{Type: it.Target.Type, ID: it.Target.ID}
			return put(tx, c, entry)
		}, nil
	})
	return err
}

// against says why an item cannot be done under this view: nothing when it can. Policy and its target's revision
// must be those that were approved.
func (r *batchRun) against(ctx context.Context, view *store.View, c *Ceremony, item operation.Item) error {
	env := r.environment(view)
	if c.PolicyDigest != env.Policies.Digest() {
		return fmt.Errorf("policy has changed: %w", ErrVoid)
	}
	plan, err := item.Operation.Prepare(ctx, env, view, item.Input)
	switch {
	case err != nil:
		return err
	case plan.Target != item.Target:
		return fmt.Errorf("%s %q is at governance revision %d, approved was %d: %w", item.Target.Type, item.Target.ID,
			plan.Target.GovRevision, item.Target.GovRevision, ErrVoid)
	case len(plan.Deny) > 0:
		return &custodian.Denied{Code: firstCode(plan.Deny), Reasons: plan.Deny}
	}
	return nil
}

// nothing is the change of an item that is left out: only the ceremony says so.
func nothing(*store.Tx) error { return nil }

// settle sets the state of an item for good, or until it can be told.
func (r *batchRun) settle(ctx context.Context, i int, state ItemState, why error) error {
	return r.step(ctx, i, func(_ *store.View, c *Ceremony, _ operation.Item) (func(*store.Tx) error, error) {
		if c.Items[i].State == state {
			return nil, nil
		}
		c.Items[i].State, c.Items[i].Why = state, clipWhy(why)
		return nothing, nil
	})
}

// clipWhy bounds a reason, which goes into a row of a hundred of them.
func clipWhy(err error) string {
	text := ledger.CleanText(err.Error())
	return text[:min(len(text), 500)]
}

// doPure does an item that changes the database only, in the transaction that records it.
func (r *batchRun) doPure(ctx context.Context, i int, op operation.Pure) error {
	err := r.step(ctx, i, func(view *store.View, c *Ceremony, item operation.Item) (func(*store.Tx) error, error) {
		if err := r.against(ctx, view, c, item); err != nil {
			return nil, &itemError{err}
		}
		return func(tx *store.Tx) error {
			result, err := op.Execute(ctx, r.environment(view), tx, item.Input)
			if err != nil {
				return &itemError{err}
			}
			c.Items[i].State, c.Items[i].Result = ItemDone, result.Data
			return nil
		}, nil
	})
	return r.leftOut(ctx, i, err)
}

// itemError is what stands against one item, not against the batch.
type itemError struct{ err error }

func (e *itemError) Error() string { return e.err.Error() }

func (e *itemError) Unwrap() error { return e.err }

// leftOut records why an item could not be done; other errors pass.
func (r *batchRun) leftOut(ctx context.Context, i int, err error) error {
	var against *itemError
	if err == nil || passes(err) || !errors.As(err, &against) {
		return err
	}
	return r.settle(ctx, i, ItemRefused, against.err)
}

// effectID of an item: the batch's and its number, so that it is the same after a crash.
func effectID(c *Ceremony, i int) string { return fmt.Sprintf("%s-%d", c.EffectID, i+1) }

// doEffect records an item's intent, acts, and records the outcome.
func (r *batchRun) doEffect(ctx context.Context, i int, op operation.Effectful) error {
	var in operation.Input
	var effect string
	err := r.step(ctx, i, func(view *store.View, c *Ceremony, item operation.Item) (func(*store.Tx) error, error) {
		if err := r.against(ctx, view, c, item); err != nil {
			return nil, &itemError{err}
		}
		in, effect = item.Input, effectID(c, i)
		c.Items[i].State = ItemBegun
		return nothing, nil
	})
	if err != nil {
		return r.leftOut(ctx, i, err)
	}
	return r.act(ctx, i, op, in, effect)
}

// act makes an effect whose intent is recorded, again where it was overtaken.
func (r *batchRun) act(ctx context.Context, i int, op operation.Effectful, in operation.Input, id string) error {
	var overtaken error
	for range maxEffects {
		effect, err := op.Effect(ctx, r.environment(r.store.View()), in, id, nil)
		switch {
		case hsm.Waits(err):
			return err // closed or gone meanwhile: it goes on, under the same id, when the keystore serves again
		case err != nil:
			return r.settle(ctx, i, ItemRefused, err)
		}
		if overtaken = r.adopt(ctx, i, op, in, effect); !errors.Is(overtaken, operation.ErrOvertaken) {
			return overtaken
		}
	}
	return r.settle(ctx, i, ItemRefused, overtaken)
}

// adopt records an item's effect. One whose record is refused for good is taken back.
func (r *batchRun) adopt(ctx context.Context, i int, op operation.Effectful, in operation.Input, effect operation.Effect) error {
	err := r.step(ctx, i, func(view *store.View, c *Ceremony, _ operation.Item) (func(*store.Tx) error, error) {
		return func(tx *store.Tx) error {
			result, err := op.Complete(ctx, r.environment(view), tx, in, effect)
			if err != nil {
				return &itemError{err}
			}
			c.Items[i].State, c.Items[i].Why, c.Items[i].Result = ItemDone, "", result.Data
			return nil
		}, nil
	})
	var refused *itemError
	if err == nil || passes(err) || !errors.As(err, &refused) {
		return err
	}
	if undo := op.Undo(ctx, r.environment(r.store.View()), in, effect); undo != nil {
		return r.settle(ctx, i, ItemIndeterminate, errors.Join(refused.err, undo))
	}
	if errors.Is(refused.err, operation.ErrOvertaken) {
		return refused.err // taken back: it is done again
	}
	return r.settle(ctx, i, ItemRefused, refused.err)
}

// lookUp finds what became of an item whose effect had begun.
func (r *batchRun) lookUp(ctx context.Context, i int) error {
	c, err := r.Get(r.id)
	if err != nil {
		return err
	}
	items, err := r.op.Items(r.input(c, c.requester(), r.clock.Now(), c.Approvers))
	if err != nil {
		return err
	}
	op, ok := items[i].Operation.(operation.Effectful)
	if !ok {
		return fmt.Errorf("item %d of %s has an effect and its operation has none", i+1, r.id)
	}
	effect, found, err := op.Recover(ctx, r.environment(r.store.View()), items[i].Input, effectID(c, i))
	switch {
	case hsm.Waits(err) || ctx.Err() != nil:
		return err // its custodians have not opened it yet: nothing can be said before
	case err != nil:
		return r.settle(ctx, i, ItemIndeterminate, err)
	case found:
		return r.adopt(ctx, i, op, items[i].Input, effect)
	}
	return r.reopen(ctx, i) // it did not happen: it is one of those still to begin, under the same id
}

// reopen puts an item back among those still to begin.
func (r *batchRun) reopen(ctx context.Context, i int) error {
	return r.step(ctx, i, func(_ *store.View, c *Ceremony, _ operation.Item) (func(*store.Tx) error, error) {
		c.Items[i].State, c.Items[i].Why = ItemOpen, ""
		return nothing, nil
	})
}
