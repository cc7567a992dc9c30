package ceremony

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/identity"
	"conclave/custodian/people"
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
	if problem := e.heldByClock(c); problem != "" {
		return nil, nil, fmt.Errorf("%w: %s", ErrClockDisagrees, problem)
	}
	if e.waits(c) {
		c, err := e.begin(ctx, p, id)
		return c, nil, err
	}
	switch op := e.ops[c.Operation].(type) {
	case operation.Compound:
		return e.runBatch(ctx, p, id, op)
	case operation.Effectful: // first: an operation that acts outside must never run as if it did not
		return e.runEffect(ctx, p, id, op)
	case operation.Pure:
		return e.runPure(ctx, p, id, op)
	}
	return nil, nil, fmt.Errorf("operation %s can not be executed by this program", c.Operation)
}

// ready judges a ceremony right before it runs, against the then current people, roles, policy and target.
func (e *Engine) ready(ctx context.Context, view *store.View, c *Ceremony, now time.Time) (approvers []string, err error) {
	if !now.Before(c.deadline()) {
		return nil, fmt.Errorf("%s expired: %w", c.ID, ErrEnded)
	}
	if c.PolicyDigest != e.door.PoliciesOf(view).Digest() {
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
	if c.ShareSet != "" && plan.ShareSet != c.ShareSet {
		return nil, fmt.Errorf("it now takes shares of set %q, brought were those of %q: %w", plan.ShareSet, c.ShareSet, ErrVoid)
	}
	if c.ShareEpoch != 0 {
		if _, err := gatheredSet(view, c.ShareSet, c.ShareEpoch); err != nil {
			return nil, err
		}
	}
	if string(takes.Class) != c.Class {
		return nil, fmt.Errorf("policy now asks for class %s, approved was class %s: %w", takes.Class, c.Class, ErrVoid)
	}
	if err := stillAsks(view, c, takes, now); err != nil {
		return nil, err
	}
	if err := e.byThisClock(c, now); err != nil {
		return nil, err
	}
	if err := held(view, c, takes); err != nil {
		return nil, err
	}
	standing := e.tally(view, c, takes, now)
	if !standing.Met {
		return nil, fmt.Errorf("missing: %v: %w", standing.Missing, ErrQuorum)
	}
	if takes.Class == policies.Attended && c.State == Gathering {
		if lack := c.Threshold - e.brought(view, c, standing.Approved); lack > 0 {
			return nil, fmt.Errorf("missing: %s of people who count: %w", amount.Of(lack, "more share"), ErrQuorum)
		}
	}
	return standing.Approved, nil
}

// stillAsks says whether whoever asked still counts: what a person asked for who is suspended or has left is
// not done. An acknowledgement that has run out can be signed again, so that it only holds things up.
func stillAsks(view *store.View, c *Ceremony, takes policies.QuorumDecision, now time.Time) error {
	if c.Requester.Kind != identity.Human {
		return nil
	}
	who := person(view)(c.Requester.ID)
	if err := people.Present(who); err != nil {
		return fmt.Errorf("whoever asked no longer counts: %w", ineligible(err))
	}
	if k := who.Credential(c.Requester.Credential); k != nil && k.Revoked && takes.Class != policies.Protective {
		return fmt.Errorf("whoever asked did so with a key that is revoked since: %w", &IneligibleError{who.ID, people.CodeCredentialRevoked, "ask anew with another key"})
	}
	if takes.Class == policies.Protective || takes.OwnerOnly {
		return nil
	}
	counts := people.Eligible(who, "", now)
	if takes.Class == policies.Direct {
		counts = eligibleAlone(who, takes, now)
	}
	if counts != nil {
		return fmt.Errorf("whoever asked does not count now: %v: %w", counts, ErrQuorum)
	}
	return nil
}

// brought is how many of these people brought a share to this process that is still theirs and usable.
func (e *Engine) brought(view *store.View, c *Ceremony, counted []string) int {
	who := map[string]bool{}
	for _, s := range c.Shares {
		if s.Boot == e.boot && slices.Contains(counted, s.Person) && stillGood(view, c, s) {
			who[s.Person] = true
		}
	}
	return len(who)
}

// stillGood: what was brought is, by the register of this moment, a usable share of who brought it. It may have been
// reported lost, retired or given to somebody else since.
func stillGood(view *store.View, c *Ceremony, s Contribution) bool {
	set, err := gatheredSet(view, c.ShareSet, c.ShareEpoch)
	if err != nil {
		return false
	}
	line, err := store.Peek[people.Share](view, custodian.KindShare, people.ShareID(set.ID, set.Epoch, s.Index))
	return err == nil && line.Custodian == s.Person && line.Usable(set)
}

// dropSpoilt wipes what was brought and is good no more, so that nothing is opened with it.
func (e *Engine) dropSpoilt(view *store.View, c *Ceremony) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if collector := e.gathering[c.ID]; collector != nil {
		collector.Keep(func(index int) bool {
			return slices.ContainsFunc(c.Shares, func(s Contribution) bool { return s.Index == index && s.Boot == e.boot && stillGood(view, c, s) })
		})
	}
}

// due says whether a stored ceremony may be taken up now: approved and waited for, or with its shares here.
func (e *Engine) due(c *Ceremony) bool {
	switch c.State {
	case Approved:
		return c.WaitLeft <= 0 && len(e.lacking(c)) == 0
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
	change := e.change
	if policies.Restricts(op.Name()) {
		change = e.changeAtOnce
	}
	_, err := change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		e.dropSpoilt(view, c)
		if took = e.due(c); !took {
			return nil, nil
		}
		now := e.clock.Now()
		approvers, err := e.ready(ctx, view, c, now)
		if err != nil {
			return nil, err
		}
		return func(tx *store.Tx) error {
			result, err := op.Execute(ctx, e.environment(view), tx, e.input(c, c.requester(), now, approvers))
			if err != nil {
				return &FailedError{Ceremony: c.ID, Err: err}
			}
			once, c.Approvers = result.Once, approvers
			return e.complete(tx, c, p, result, now)
		}, nil
	})
	if err != nil {
		wipe(once)
		return nil, nil, e.runFailed(ctx, p, c, err)
	}
	if !took {
		return c, nil, nil
	}
	e.dropShares(c.ID)
	return c, once, nil
}

// complete stores the end of a ceremony.
func (e *Engine) complete(tx *store.Tx, c *Ceremony, p identity.Principal, result operation.Result, now time.Time) error {
	c.State, c.EndedAt, c.Outcome, c.Result = Completed, &now, "completed", result.Data
	if c.ReviewBy == nil && c.Takes.ReviewSeconds > 0 { // what several opened together is reviewed too: emergency access
		by := now.Add(time.Duration(c.Takes.ReviewSeconds) * time.Second)
		c.ReviewBy = &by
	}
	c.LastSeq = tx.View().Head().Size
	return put(tx, c, e.entry("complete", p, c, map[string]any{"approvals": len(c.Votes), "shares": len(c.Shares)}))
}

// waitsForKeystore: all that stands against the execution is a keystore whose custodians have not opened it, as
// after every start. What people approved waits for them, until it expires.
func waitsForKeystore(err error) bool {
	var denied *custodian.Denied
	if !errors.As(err, &denied) || len(denied.Reasons) == 0 {
		return false
	}
	return !slices.ContainsFunc(denied.Reasons, func(r policies.Reason) bool { return r.Code != custodian.CodeKeystoreInactive })
}

// runFailed decides what an execution that could not happen means for the ceremony. Where nothing about the
// ceremony itself is wrong (storage, a cancelled call, somebody's missing vote, a closed keystore) it stays as it is.
func (e *Engine) runFailed(ctx context.Context, p identity.Principal, c *Ceremony, err error) error {
	if c == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrQuorum) || waitsForKeystore(err) {
		return err
	}
	e.end(ctx, p, c.ID, Failed, "fail", err)
	var failed *FailedError
	if errors.As(err, &failed) {
		return err
	}
	return &FailedError{Ceremony: c.ID, Err: err}
}

// end moves a ceremony whose effect has not begun into a final state, recording why. One that somebody else
// began to execute meanwhile is left alone. It reports a failure to do so in the log: the next Tick tries again.
func (e *Engine) end(ctx context.Context, p identity.Principal, id string, state State, step string, why error) {
	e.conclude(ctx, p, id, state, step, why, Proposed, Approved, Gathering)
}

// endEffect is end for whoever has claimed the effect.
func (e *Engine) endEffect(ctx context.Context, p identity.Principal, id string, state State, step string, why error) {
	e.conclude(ctx, p, id, state, step, why, Executing, Indeterminate)
}

func (e *Engine) conclude(ctx context.Context, p identity.Principal, id string, state State, step string, why error, from ...State) {
	ended := true
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		c, err := load(view, id)
		if err != nil || !slices.Contains(from, c.State) {
			ended = err == nil && c.State.Ended()
			return nil, err
		}
		ended = true
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
	if ended {
		e.dropShares(id)
	}
}
