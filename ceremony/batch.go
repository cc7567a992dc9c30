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
	return e.begun(ctx, p, id, func(*Ceremony, *operation.Input) (*Ceremony, *secret.Bytes, error) {
		// From here on the caller's patience no longer counts: what was begun is brought to an end.
		c, err := (&batchRun{e, op, p, id}).finish(context.WithoutCancel(ctx))
		return c, nil, err
	})
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
