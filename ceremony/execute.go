package ceremony

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

// run executes a ceremony whose quorum is reached: at most once, whoever else tries at the same time. The
// caller who loses the race gets the ceremony as the winner left it.
func (e *Engine) run(ctx context.Context, p identity.Principal, id string) (*Ceremony, *secret.Bytes, error) {
	c, err := e.Get(id)
	if err != nil {
		return nil, nil, err
	}
	// Restricting is never held up: a wrong clock is no reason to leave a suspected key in use.
	if problem := e.guard.problem(); problem != "" && c.Class != string(policies.Protective) {
		return nil, nil, fmt.Errorf("%w: %s", ErrClockDisagrees, problem)
	}
	switch op := e.ops[c.Operation].(type) {
	case operation.Effectful: // first: an operation that acts outside must never run as if it did not
		return e.runEffect(ctx, p, id, op)
	case operation.Pure:
		return e.runPure(ctx, p, id, op)
	}
	return nil, nil, fmt.Errorf("operation %s can not be executed by this program", c.Operation)
}

// ready judges a ceremony right before it runs, against the then current people, roles, policy and target.
func (e *Engine) ready(ctx context.Context, view *store.View, c *Ceremony, now time.Time) (approvers []string, err error) {
	if !now.Before(c.ExpiresAt.Add(waitOf(c.Takes).Duration())) {
		return nil, fmt.Errorf("%s expired: %w", c.ID, ErrEnded)
	}
	if c.PolicyDigest != e.policies.Digest() {
		return nil, fmt.Errorf("policy has changed: %w", ErrVoid)
	}
	op := e.ops[c.Operation]
	requester := c.requester()
	plan, takes, err := e.judge(ctx, view, op, c, requester, now)
	if err != nil {
		return nil, err
	}
	if !takes.Allow {
		return nil, &custodian.Denied{Code: firstCode(takes.Denials), Reasons: takes.Denials}
	}
	if plan.Target != c.Target {
		return nil, fmt.Errorf("%s %q is at governance revision %d, approved was %d: %w", c.Target.Type, c.Target.ID,
			plan.Target.GovRevision, c.Target.GovRevision, ErrVoid)
	}
	if string(takes.Class) != c.Class {
		return nil, fmt.Errorf("policy now asks for class %s, approved was class %s: %w", takes.Class, c.Class, ErrVoid)
	}
	standing := e.tally(view, c, takes, now)
	if !standing.Met {
		return nil, fmt.Errorf("missing: %v: %w", standing.Missing, ErrQuorum)
	}
	return standing.Approved, nil
}

// due says whether a stored ceremony may be taken up now: approved and waited for, or with its shares here.
func (e *Engine) due(c *Ceremony) bool {
	switch c.State {
	case Approved:
		return c.WaitLeft <= 0
	case Gathering:
		e.mu.Lock()
		defer e.mu.Unlock()
		collector := e.gathering[c.ID]
		return collector != nil && collector.Missing() == 0
	}
	return false
}

// runPure executes and completes in one commit.
func (e *Engine) runPure(ctx context.Context, p identity.Principal, id string, op operation.Pure) (*Ceremony, *secret.Bytes, error) {
	var c *Ceremony
	var once *secret.Bytes
	took := false
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		if took = e.due(c); !took {
			return nil, nil
		}
		now := e.clock.Now()
		approvers, err := e.ready(ctx, view, c, now)
		if err != nil {
			return nil, err
		}
		return func(tx *store.Tx) error {
			result, err := op.Execute(ctx, e.env, tx, e.input(c, c.requester(), now, approvers))
			if err != nil {
				return &FailedError{Ceremony: c.ID, Err: err}
			}
			once = result.Once
			return e.complete(tx, c, p, result, now)
		}, nil
	})
	if err != nil {
		if once != nil {
			once.Wipe()
		}
		return nil, nil, e.runFailed(ctx, p, c, err)
	}
	if !took {
		once = nil
	}
	return c, once, nil
}

// complete stores the end of a ceremony.
func (e *Engine) complete(tx *store.Tx, c *Ceremony, p identity.Principal, result operation.Result, now time.Time) error {
	c.State, c.EndedAt, c.Outcome, c.Result = Completed, &now, "completed", result.Data
	c.LastSeq = tx.View().Head().Size
	return put(tx, c, e.entry("complete", p, c, map[string]any{"approvals": len(c.Votes), "shares": len(c.Shares)}))
}

// runFailed decides what an execution that could not happen means for the ceremony. Where nothing about the
// ceremony itself is wrong (storage, a cancelled call, somebody's missing vote) it stays as it is.
func (e *Engine) runFailed(ctx context.Context, p identity.Principal, c *Ceremony, err error) error {
	if c == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrQuorum) {
		return err
	}
	e.end(ctx, p, c.ID, Failed, "fail", err)
	var failed *FailedError
	if errors.As(err, &failed) {
		return err
	}
	return &FailedError{Ceremony: c.ID, Err: err}
}

// end moves a ceremony that has not ended into a final state, recording why. It reports a failure to do so
// in the log: the next Tick tries again.
func (e *Engine) end(ctx context.Context, p identity.Principal, id string, state State, step string, why error) {
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		c, err := load(view, id)
		if err != nil || c.State.Ended() {
			return nil, err
		}
		now := e.clock.Now()
		c.State, c.EndedAt, c.Outcome = state, &now, why.Error()
		if state == Indeterminate {
			c.EndedAt = nil
		}
		return func(tx *store.Tx) error {
			c.LastSeq = tx.View().Head().Size
			entry := e.entry(step, p, c, map[string]any{"why": c.Outcome})
			return put(tx, c, entry)
		}, nil
	})
	if err != nil {
		e.log.Error("a ceremony's end could not be recorded; it is tried again", "ceremony", id, "error", err)
		return
	}
	e.dropShares(id)
}

// runEffect records the intent, acts outside the database, and records the outcome.
func (e *Engine) runEffect(ctx context.Context, p identity.Principal, id string, op operation.Effectful) (*Ceremony, *secret.Bytes, error) {
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
	shares, err := e.combine(c)
	if err != nil {
		e.end(ctx, p, id, Failed, "fail", err)
		return nil, nil, &FailedError{Ceremony: id, Err: err}
	}
	// From here on the caller's patience no longer counts: what was begun is brought to an end.
	ctx = context.WithoutCancel(ctx)
	effect, err := op.Effect(ctx, e.env, *in, c.EffectID, shares)
	if shares != nil {
		shares.Wipe()
	}
	e.dropShares(id)
	if err != nil {
		e.end(ctx, p, id, Failed, "fail", err)
		return nil, nil, &FailedError{Ceremony: id, Err: err}
	}
	return e.adopt(ctx, p, id, op, *in, effect)
}

// intend records that a ceremony's effect begins. in is nil when it was not due.
func (e *Engine) intend(ctx context.Context, p identity.Principal, id string) (c *Ceremony, in *operation.Input, err error) {
	_, err = e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		in = nil
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		if !e.due(c) {
			return nil, nil
		}
		now := e.clock.Now()
		approvers, err := e.ready(ctx, view, c, now)
		if err != nil {
			return nil, err
		}
		c.State, c.EffectID, c.Executor = Executing, newID("e"), e.executor()
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
	if c.ShareSet == "" {
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
			result, err := op.Complete(ctx, e.env, tx, in, effect)
			if err != nil {
				return &FailedError{Ceremony: c.ID, Err: err}
			}
			once = result.Once
			return e.complete(tx, c, p, result, now)
		}, nil
	})
	var failed *FailedError
	if errors.As(err, &failed) { // the record is refused for good: take the effect back
		if undo := op.Undo(ctx, e.env, in, effect); undo != nil {
			e.end(ctx, p, id, Indeterminate, "indeterminate", errors.Join(err, undo))
			return nil, nil, fmt.Errorf("%s: %w: %w", id, ErrIndeterminate, err)
		}
		e.end(ctx, p, id, Failed, "fail", err)
	}
	if err != nil {
		return nil, nil, err
	}
	return c, once, nil
}

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

func (e *Engine) executor() string { return e.door.Node() + "/" + e.boot }

// Recover looks after ceremonies whose effect a process that has ended left open: it adopts the effect,
// begins it again under the same id where it did not happen, or shows the ceremony as indeterminate.
func (e *Engine) Recover(ctx context.Context) error {
	var errs []error
	for _, c := range store.All[Ceremony](e.store.View(), Kind) {
		if (c.State != Executing && c.State != Indeterminate) || !e.orphaned(c) {
			continue
		}
		if err := e.recoverOne(ctx, c); err != nil {
			errs = append(errs, fmt.Errorf("recovering %s: %w", c.ID, err))
		}
	}
	return errors.Join(errs...)
}

// orphanAfter is when another node's effect counts as left behind.
const orphanAfter = 10 * time.Minute

// orphaned: no living process is at it. A process knows its own; of others it knows only the time.
func (e *Engine) orphaned(c *Ceremony) bool {
	node := e.door.Node() + "/"
	if len(c.Executor) > len(node) && c.Executor[:len(node)] == node {
		return true // this node, this or an earlier process: claim keeps the present one's apart
	}
	return c.ApprovedAt == nil || e.clock.Now().Sub(*c.ApprovedAt) > orphanAfter
}

func (e *Engine) recoverOne(ctx context.Context, c *Ceremony) error {
	op, ok := e.ops[c.Operation].(operation.Effectful)
	if !ok {
		return fmt.Errorf("operation %s is unknown to this program", c.Operation)
	}
	if !e.claim(c.ID) {
		return nil
	}
	defer e.release(c.ID)
	p := e.self()
	in := e.input(c, c.requester(), e.clock.Now(), e.approversOf(c))
	effect, found, err := op.Recover(ctx, e.env, in, c.EffectID)
	switch {
	case err != nil:
		if c.State != Indeterminate {
			e.end(ctx, p, c.ID, Indeterminate, "indeterminate", err)
		}
		return fmt.Errorf("%w: %w", ErrIndeterminate, err)
	case found:
		_, once, err := e.adopt(ctx, p, c.ID, op, in, effect)
		wipe(once)
		return err
	case c.ShareSet != "":
		e.end(ctx, p, c.ID, Failed, "fail", errors.New("the process ended before it was done; nothing was changed, the shares must be brought again"))
		return nil
	}
	if effect, err = op.Effect(ctx, e.env, in, c.EffectID, nil); err != nil {
		e.end(ctx, p, c.ID, Failed, "fail", err)
		return err
	}
	_, once, err := e.adopt(ctx, p, c.ID, op, in, effect)
	wipe(once)
	return err
}

func wipe(s *secret.Bytes) {
	if s != nil {
		s.Wipe()
	}
}

func (e *Engine) approversOf(c *Ceremony) []string {
	return e.tally(e.store.View(), c, c.Takes, e.clock.Now()).Approved
}
