package ceremony

import (
	"context"
	"errors"
	"fmt"

	"conclave/ceremony/operation"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// begun records that a ceremony begins and has do bring it to an end, in one process and one call of it; whoever comes second
// is given the ceremony as it stands.
func (e *Engine) begun(ctx context.Context, p identity.Principal, id string, do func(*Ceremony, *operation.Input) (*Ceremony, *secret.Bytes, error)) (*Ceremony, *secret.Bytes, error) {
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
	return do(c, in)
}

// runEffect records the intent, acts outside the database, and records the outcome.
func (e *Engine) runEffect(ctx context.Context, p identity.Principal, id string, op operation.Effectful) (*Ceremony, *secret.Bytes, error) {
	return e.begun(ctx, p, id, func(c *Ceremony, in *operation.Input) (*Ceremony, *secret.Bytes, error) {
		shares, err := e.combine(c)
		if err != nil {
			e.endEffect(ctx, p, id, Failed, "fail", err)
			return nil, nil, &FailedError{Ceremony: id, Err: err}
		}
		defer wipe(shares)
		in.Components = e.takeComponents(c)
		defer func() {
			for _, value := range in.Components {
				value.Wipe()
			}
		}()
		e.dropShares(id)
		// From here on the caller's patience no longer counts: what was begun is brought to an end.
		return e.effectuate(context.WithoutCancel(ctx), p, c, op, *in, shares, false)
	})
}

// maxEffects bounds how often an effect is done again because others committed over what it rested on.
const maxEffects = 16

// effectuate acts and records the outcome, again where it was overtaken. patient: a keystore that its custodians have
// not opened yet is waited for, and the ceremony left as it is. So it is where a keystore did not answer.
func (e *Engine) effectuate(ctx context.Context, p identity.Principal, c *Ceremony, op operation.Effectful, in operation.Input, shares *secret.Bytes, patient bool) (*Ceremony, *secret.Bytes, error) {
	var overtaken error
	for range maxEffects {
		effect, err := op.Effect(ctx, e.environment(e.store.View()), in, c.EffectID, shares)
		e.stall(c.ID, err)
		if patient && errors.Is(err, hsm.ErrInactive) {
			return nil, nil, err
		}
		if shares == nil && errors.Is(err, hsm.ErrUnavailable) {
			return nil, nil, err // it may have happened: Recover looks for it by its id once the keystore answers
		}
		if err != nil {
			e.endEffect(ctx, p, c.ID, Failed, "fail", err)
			return nil, nil, &FailedError{Ceremony: c.ID, Err: err}
		}
		done, once, err := e.adopt(ctx, p, c.ID, op, in, effect)
		if !errors.Is(err, operation.ErrOvertaken) || ctx.Err() != nil {
			return done, once, err
		}
		overtaken = err
	}
	e.endEffect(ctx, p, c.ID, Failed, "fail", overtaken)
	return nil, nil, overtaken
}

// intend records that a ceremony's effect begins. in is nil when it was not due.
func (e *Engine) intend(ctx context.Context, p identity.Principal, id string) (c *Ceremony, in *operation.Input, err error) {
	_, err = e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		in = nil
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		e.dropSpoilt(view, c)
		if !e.due(c) {
			return nil, nil
		}
		now := e.clock.Now()
		approvers, err := e.ready(ctx, view, c, now)
		if err != nil {
			return nil, err
		}
		c.State, c.EffectID, c.Executor, c.ExecutingAt, c.Approvers = Executing, newID("e"), e.executor(), &now, approvers
		input := e.input(c, c.requester(), now, approvers)
		in = &input
		return func(tx *store.Tx) error {
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, e.entry("execute", p, c, map[string]any{"effect": c.EffectID, "approvers": approvers}))
		}, nil
	})
	if err != nil {
		return c, nil, err
	}
	return c, in, nil
}

// combine puts the activation secret together; nil for ceremonies without shares.
func (e *Engine) combine(c *Ceremony) (*secret.Bytes, error) {
	if c.ShareSet == "" || e.deferred(c) {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	collector := e.gathering[c.ID]
	if collector == nil {
		return nil, errors.New("the shares were brought to a process that has ended; bring them again")
	}
	return collector.Combine()
}

// adopt records an effect that happened. If that can not be recorded the ceremony stays executing, and
// Recover finds the effect by its id.
func (e *Engine) adopt(ctx context.Context, p identity.Principal, id string, op operation.Effectful, in operation.Input, effect operation.Effect) (*Ceremony, *secret.Bytes, error) {
	var c *Ceremony
	var once *secret.Bytes
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		if c.State != Executing && c.State != Indeterminate {
			return nil, fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrEnded)
		}
		now := e.clock.Now()
		return func(tx *store.Tx) error {
			result, err := op.Complete(ctx, e.environment(view), tx, in, effect)
			if err != nil {
				return &FailedError{Ceremony: c.ID, Err: err}
			}
			once = result.Once
			return e.complete(tx, c, p, result, now)
		}, nil
	})
	var failed *FailedError
	if errors.As(err, &failed) { // the record is refused: take the effect back
		if undo := op.Undo(ctx, e.environment(e.store.View()), in, effect); undo != nil {
			e.endEffect(ctx, p, id, Indeterminate, "indeterminate", errors.Join(err, undo))
			return nil, nil, fmt.Errorf("%s: %w: %w", id, ErrIndeterminate, err)
		}
		if !errors.Is(err, operation.ErrOvertaken) {
			e.endEffect(ctx, p, id, Failed, "fail", err)
		}
	}
	if errors.Is(err, ErrEnded) {
		err = errors.Join(err, e.takeBack(ctx, id, op, in, effect))
	}
	if err != nil {
		wipe(once)
		return nil, nil, err
	}
	if s, ok := op.(operation.Settling); ok {
		if err := s.Settle(ctx, e.environment(e.store.View()), in, effect); err != nil {
			e.log.Error("what follows a ceremony's outcome could not be done at once", "ceremony", id, "error", err)
		}
	}
	return c, once, nil
}

// takeBack looks after an effect whose ceremony somebody else ended meanwhile. Where it ended without an effect this one
// is undone. Where it was completed what stands under the effect's id may be the very thing on record: only an operation
// that can tell what of it is not takes that away.
func (e *Engine) takeBack(ctx context.Context, id string, op operation.Effectful, in operation.Input, effect operation.Effect) error {
	c, err := e.Get(id)
	if err != nil {
		return err
	}
	env := e.environment(e.store.View())
	switch stray, tells := op.(operation.Straying); {
	case c.State != Completed:
		err = op.Undo(ctx, env, in, effect)
	case tells:
		err = stray.Stray(ctx, env, in, effect)
	}
	if err != nil {
		e.log.Error("an effect whose ceremony had ended could not be taken back", "ceremony", id, "effect", effect.ID, "error", err)
	}
	return err
}
