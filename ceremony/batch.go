package ceremony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// ItemState is how far one item of a batch is.
type ItemState string

const (
	ItemOpen          ItemState = ""              // not begun
	ItemBegun         ItemState = "begun"         // its intent is recorded, its effect may be under way
	ItemDone          ItemState = "done"          // outcome recorded
	ItemRefused       ItemState = "refused"       // could not be done any more; nothing was changed
	ItemIndeterminate ItemState = "indeterminate" // an effect outside may or may not have happened
)

// Item is one item of a ceremony that covers a listed batch. Each is done in transactions of its own, with its
// own effect id, so that none is ever half done and a crash loses and repeats none.
type Item struct {
	Target operation.Target `json:"target"`
	State  ItemState        `json:"state,omitempty"`
	Why    string           `json:"why,omitempty"` // refused, indeterminate: the reason
	Result json.RawMessage  `json:"result,omitempty"`
}

// pin has an operation write into the ceremony's parameters what is to be signed besides what was asked for.
func (e *Engine) pin(ctx context.Context, view *store.View, op operation.Operation, c *Ceremony, p identity.Principal, now time.Time) error {
	pinning, ok := op.(operation.Pinning)
	if !ok {
		return nil
	}
	pinned, err := pinning.Pin(ctx, e.environment(view), view, e.input(c, p, now, nil))
	if err != nil {
		return err
	}
	if len(pinned) > MaxParams {
		return &custodian.InputError{Field: "params", Problem: fmt.Sprintf("%d bytes with the target of every item", len(pinned)), Allowed: fmt.Sprintf("at most %d bytes; split the batch", MaxParams)}
	}
	c.Asked, c.Params, c.Items = digest(c.Params), pinned, nil
	compound, ok := op.(operation.Compound)
	if !ok {
		return nil
	}
	items, err := compound.Items(e.input(c, p, now, nil))
	for _, item := range items {
		c.Items = append(c.Items, Item{Target: item.Target})
	}
	return err
}

// batchRun is one process's work on one batch.
type batchRun struct {
	*Engine
	op operation.Compound
	p  identity.Principal
	id string
}

// errTaken: another process has taken the batch over.
var errTaken = errors.New("another process goes on with it")

// runBatch records the intent, does item after item, and records what became of the whole.
func (e *Engine) runBatch(ctx context.Context, p identity.Principal, id string, op operation.Compound) (*Ceremony, *secret.Bytes, error) {
	if !e.claim(id) {
		c, err := e.Get(id)
		return c, nil, err
	}
	defer e.release(id)
	c, in, err := e.intend(ctx, p, id)
	if err != nil {
		return nil, nil, e.runFailed(ctx, p, c, err)
	}
	if in == nil { // somebody else was faster
		return c, nil, nil
	}
	// From here on the caller's patience no longer counts: what was begun is brought to an end.
	run := &batchRun{e, op, p, id}
	c, err = run.finish(context.WithoutCancel(ctx))
	return c, nil, err
}

// recoverBatch goes on with a batch that a process which has ended left open. Items whose effect had begun are
// looked up by its id; for those still to begin, people and policy are judged anew as at the first.
func (e *Engine) recoverBatch(ctx context.Context, c *Ceremony, op operation.Compound) error {
	run := &batchRun{e, op, e.self(), c.ID}
	if c.Executor != e.executor() || c.State == Indeterminate {
		if err := e.takeOver(ctx, e.self(), c.ID, c.Executor); err != nil {
			return err
		}
	}
	for i := range c.Items {
		if s := c.Items[i].State; s == ItemBegun || s == ItemIndeterminate {
			if err := run.lookUp(ctx, i); err != nil {
				return err
			}
		}
	}
	c, err := e.Get(c.ID)
	if err != nil {
		return err
	}
	open := slices.ContainsFunc(c.Items, func(i Item) bool { return i.State == ItemOpen })
	if problem := e.ClockProblem(); open && problem != "" && c.Class != string(policies.Protective) {
		return fmt.Errorf("%w: %s", ErrClockDisagrees, problem)
	}
	if open {
		switch _, err := e.ready(ctx, e.store.View(), c, e.clock.Now()); {
		case passes(err):
			return err
		case err != nil: // the rest is not to happen now
			if err := run.giveUp(ctx, err); err != nil {
				return err
			}
		}
	}
	_, err = run.finish(ctx)
	return err
}

// passes: an error that says nothing about what was asked, and is gone when tried again.
func passes(err error) bool {
	return err != nil && (waitsForKeystore(err) || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || hsm.Waits(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTaken))
}

// finish does what is open, in order, and closes the ceremony.
func (r *batchRun) finish(ctx context.Context) (*Ceremony, error) {
	c, err := r.Get(r.id)
	if err != nil {
		return nil, err
	}
	items, err := r.op.Items(r.input(c, c.requester(), r.clock.Now(), c.Approvers))
	if err != nil {
		return nil, err
	}
	for i := range items {
		if c.Items[i].State != ItemOpen {
			continue
		}
		switch op := items[i].Operation.(type) {
		case operation.Effectful:
			err = r.doEffect(ctx, i, op)
		case operation.Pure:
			err = r.doPure(ctx, i, op)
		default:
			err = fmt.Errorf("operation %s can not be executed by this program", op.Name())
		}
		if err != nil {
			return nil, err
		}
	}
	return r.close(ctx)
}

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

// giveUp leaves out every item that has not begun.
func (r *batchRun) giveUp(ctx context.Context, why error) error {
	c, err := r.Get(r.id)
	if err != nil {
		return err
	}
	for i, item := range c.Items {
		if item.State == ItemOpen {
			if err := r.settle(ctx, i, ItemRefused, fmt.Errorf("the process that did the batch ended before it began: %w", why)); err != nil {
				return err
			}
		}
	}
	return nil
}

// close records what became of the whole: completed, with the items that were left out as deviations; failed
// where none could be done; indeterminate as long as one of them is.
func (r *batchRun) close(ctx context.Context) (*Ceremony, error) {
	var c *Ceremony
	var outcome error
	_, err := r.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, r.id); err != nil {
			return nil, err
		}
		if (c.State != Executing && c.State != Indeterminate) || c.Executor != r.executor() {
			return nil, nil
		}
		done, deviations, unclear := c.tallyItems()
		now := r.clock.Now()
		detail := map[string]any{"items": len(c.Items), "done": done}
		c.Deviations, outcome = deviations, nil
		switch {
		case unclear != "":
			outcome = fmt.Errorf("%s: %w: %s", c.ID, ErrIndeterminate, unclear)
			if c.State == Indeterminate {
				return nil, nil
			}
			c.State, c.Outcome = Indeterminate, unclear
			return r.stored(c, "indeterminate", detail), nil
		case done == 0:
			c.State, c.EndedAt, c.Outcome = Failed, &now, "none of the items could be done: "+deviations[0]
			outcome = &FailedError{Ceremony: c.ID, Err: errors.New(c.Outcome)}
			return r.stored(c, "fail", detail), nil
		}
		c.State, c.EndedAt, c.Outcome = Completed, &now, "completed"
		if len(deviations) > 0 {
			c.Outcome = fmt.Sprintf("completed but for %d of %d items", len(deviations), len(c.Items))
			detail["left_out"] = len(deviations)
		}
		c.Result = custodian.Detail(detail)
		return r.stored(c, "complete", detail), nil
	})
	if err != nil {
		return nil, err
	}
	if outcome != nil {
		return nil, outcome
	}
	return c, nil
}

func (r *batchRun) stored(c *Ceremony, step string, detail map[string]any) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		c.LastSeq = tx.View().Head().Size
		return put(tx, c, r.entry(step, r.p, c, detail))
	}
}

// tallyItems counts the items that were done and says of the others why they were not; unclear is the first that
// cannot be told yet.
func (c *Ceremony) tallyItems() (done int, deviations []string, unclear string) {
	for i, item := range c.Items {
		line := fmt.Sprintf("item %d (%s %s): %s", i+1, item.Target.Type, item.Target.ID, item.Why)
		switch {
		case item.State == ItemDone:
			done++
		case item.State == ItemRefused:
			deviations = append(deviations, line)
		case unclear == "":
			unclear = line
		}
	}
	return done, deviations, unclear
}
