package ceremony

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/ceremony/statement"
	"conclave/custodian/amount"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
)

// signingSkew is how far a signer's clock may be ahead of this node's.
const signingSkew = 30 * time.Second

// Statement returns the exact bytes that a person would sign for a decision on a ceremony. Whoever may not
// decide is told so now.
func (e *Engine) Statement(ctx context.Context, p identity.Principal, id string, decision string) ([]byte, error) {
	view := e.store.View()
	c, err := load(view, id)
	if err != nil {
		return nil, err
	}
	d, err := decisionOf(decision)
	if err != nil {
		return nil, err
	}
	now := e.clock.Now()
	err = e.mayVote(view, c, p, d, now)
	if errors.Is(err, ErrAlreadyVoted) && d == statement.Approve && e.shareLost(c, p.ID) {
		err = nil
	}
	if err != nil {
		return nil, e.recordRefusal(ctx, string(d), p, c, err)
	}
	s, err := e.statement(c, p.ID, d, now.UTC().Truncate(time.Millisecond))
	if err != nil {
		return nil, err
	}
	return s.Marshal()
}

// mayVote says whether this person can decide on this ceremony now.
func (e *Engine) mayVote(view *store.View, c *Ceremony, p identity.Principal, d statement.Decision, now time.Time) error {
	open := c.State == Proposed || c.State == Gathering
	if c.State == Approved { // who approved may no longer count: somebody else takes their place before it runs
		open = d == statement.Attend || (d == statement.Approve && (c.brings(p.ID) || !e.tally(view, c, c.Takes, now).Met))
	}
	switch {
	case p.Kind != identity.Human:
		return &IneligibleError{p.ID, "not-a-person", "only people decide"}
	case c.State.Ended():
		return fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrEnded)
	case !open:
		return fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrNotNow)
	case !now.Before(c.deadline()):
		return fmt.Errorf("%s expired at %s: %w", c.ID, c.deadline().Format(time.RFC3339), ErrEnded)
	}
	if code := exclusions(c)[p.ID]; code != "" {
		return &IneligibleError{p.ID, code, map[string]string{
			people.CodeExcludedRequester: "whoever asks does not approve",
			codeAdministrator:            "whoever leads a ceremony decides nothing in it",
			people.CodeExcludedSubject:   "whom a change is about takes no part in deciding it"}[code]}
	}
	if slices.ContainsFunc(c.Votes, func(v Vote) bool { return v.Person == p.ID && e.stands(view, c, v) }) {
		return ErrAlreadyVoted
	}
	role := people.Role("")
	if d == statement.Attend {
		role = people.RoleWitness
	}
	find := person(view)
	if err := people.Eligible(find(p.ID), role, now); err != nil {
		return ineligible(err)
	}
	if d == statement.Approve {
		if why := unfit(view, find(p.ID), c.Takes, requesterPerson(c, find), now); why != "" {
			return &IneligibleError{p.ID, people.CodeWrongRole, why}
		}
	}
	return nil
}

// stands says whether a vote given before is still its person's: one signed with a key revoked since is not.
func (e *Engine) stands(view *store.View, c *Ceremony, v Vote) bool {
	_, err := e.verifyVote(view, c, v)
	return err == nil
}

func decisionOf(s string) (statement.Decision, error) {
	d := statement.Decision(s)
	if d != statement.Approve && d != statement.Reject && d != statement.Attend {
		return "", fmt.Errorf("%w: decision %q, allowed are approve, reject, attend", ErrStatement, clip(s))
	}
	return d, nil
}

// Vote takes a person's signed decision. When it completes the quorum of a ceremony without a waiting
// period, the ceremony runs before Vote returns. Errors: ErrStatement, ErrAlreadyVoted, ErrEnded,
// *custodian.Denied for somebody whose voice does not count (recorded), *FailedError.
func (e *Engine) Vote(ctx context.Context, p identity.Principal, id string, envelope []byte) (*Ceremony, error) {
	var c *Ceremony
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		vote, err := e.readVote(view, c, p, envelope)
		if err != nil {
			return nil, err
		}
		if c.State == Gathering && vote.Decision == string(statement.Approve) {
			return nil, fmt.Errorf("%s takes an approval together with its share: %w", c.ID, ErrNotNow)
		}
		c.Votes = append(c.Votes, vote)
		return e.voted(view, c, p, vote), nil
	})
	if err != nil {
		return nil, e.recordRefusal(ctx, "vote", p, nonNil(c, id), err)
	}
	if c.State.Ended() {
		e.dropShares(c.ID)
	}
	return e.proceed(ctx, p, c)
}

func nonNil(c *Ceremony, id string) *Ceremony {
	if c != nil {
		return c
	}
	return &Ceremony{ID: clip(id)}
}

// readVote verifies a signed decision when it is given.
func (e *Engine) readVote(view *store.View, c *Ceremony, p identity.Principal, envelope []byte) (Vote, error) {
	parsed, err := dsse.Parse(envelope)
	if err != nil {
		return Vote{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	claimed, err := statement.Parse(parsed.UnverifiedPayload())
	if err != nil {
		return Vote{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	d, err := decisionOf(string(claimed.Decision))
	if err != nil {
		return Vote{}, err
	}
	now := e.clock.Now()
	if err := e.mayVote(view, c, p, d, now); err != nil {
		return Vote{}, err
	}
	if err := claimed.ValidAt(now, signingSkew); err != nil {
		return Vote{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	vote := Vote{Person: p.ID, Credential: parsed.KeyID(), Decision: string(d), At: now, Envelope: envelope}
	if _, err := e.verifyVote(view, c, vote); err != nil {
		return Vote{}, fmt.Errorf("%w: %w", ErrStatement, err)
	}
	return vote, nil
}

// voted returns the step that stores a vote and what follows from it.
func (e *Engine) voted(view *store.View, c *Ceremony, p identity.Principal, vote Vote) func(*store.Tx) error {
	now := e.clock.Now()
	c.attended(vote.Person, now)
	standing := e.tally(view, c, c.Takes, now)
	step := map[statement.Decision]string{statement.Approve: "approve", statement.Reject: "reject", statement.Attend: "attend"}[statement.Decision(vote.Decision)]
	entries := []func(tx *store.Tx) error{func(tx *store.Tx) error {
		return put(tx, c, e.entry(step, p, c, map[string]any{"credential": vote.Credential, "envelope_sha256": digest(vote.Envelope)}))
	}}
	switch {
	case c.State == Proposed && standing.Met:
		c.State, c.ApprovedAt, c.WaitLeft = Approved, &now, waitOf(c.Takes)
	case vote.Decision == string(statement.Reject) && (!standing.Reachable || c.brings(vote.Person)) && (c.State == Proposed || c.State == Gathering):
		c.State, c.EndedAt, c.Outcome = Rejected, &now, "the quorum can no longer be reached"
		entries = append(entries, func(tx *store.Tx) error {
			return put(tx, c, e.entry("rejected", e.self(), c, nil))
		})
	}
	return func(tx *store.Tx) error {
		for _, step := range entries {
			if err := step(tx); err != nil {
				return err
			}
		}
		c.LastSeq = tx.View().Head().Size
		return nil
	}
}

// proceed runs a ceremony that has become due; otherwise it returns it as it stands.
func (e *Engine) proceed(ctx context.Context, p identity.Principal, c *Ceremony) (*Ceremony, error) {
	if !e.due(c) {
		return c, nil
	}
	done, once, err := e.run(ctx, p, c.ID)
	wipe(once)                                                                // whoever completes the quorum is not who asked: nothing secret goes to them
	if waitsForKeystore(err) || hsm.Waits(err) || errors.Is(err, ErrQuorum) { // the vote counts all the same
		return e.Get(c.ID)
	}
	return done, err
}

// Execute runs an approved ceremony whose waiting period is over: for those that could not run when they
// became due. Who asked, who approved, and people of the roles that may cancel can call for it.
func (e *Engine) Execute(ctx context.Context, p identity.Principal, id string) (*Ceremony, *secret.Bytes, error) {
	c, err := e.Get(id)
	switch {
	case err != nil:
		return nil, nil, err
	}
	if err := e.mayExecute(e.store.View(), c, p); err != nil {
		return nil, nil, e.recordRefusal(ctx, "execute", p, c, err)
	}
	switch {
	case c.State.Ended():
		return nil, nil, fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrEnded)
	case c.State == Indeterminate:
		return nil, nil, fmt.Errorf("%s: %w", c.ID, ErrIndeterminate)
	case c.State == Executing:
		return nil, nil, fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrNotNow)
	case c.State != Approved && !e.due(c):
		return nil, nil, fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrQuorum)
	case c.State == Approved && len(e.lacking(c)) > 0:
		return nil, nil, fmt.Errorf("%s: missing: %s: %w", c.ID, strings.Join(e.lacking(c), ", "), ErrQuorum)
	case c.WaitLeft > 0:
		return nil, nil, fmt.Errorf("%s: %s left: %w", c.ID, c.WaitLeft.Duration().Round(time.Second), ErrWaiting)
	}
	return e.run(ctx, p, id)
}

// mayExecute: a person who is there, and had a part in it or may stop it.
func (e *Engine) mayExecute(view *store.View, c *Ceremony, p identity.Principal) error {
	if p.Kind != identity.Human {
		return &IneligibleError{p.ID, "not-a-person", "only people call for an execution"}
	}
	who := person(view)(p.ID)
	if err := people.Present(who); err != nil {
		return ineligible(err)
	}
	if c.asked(p) || slices.ContainsFunc(c.Votes, func(v Vote) bool { return v.Person == p.ID && v.Decision == string(statement.Approve) }) ||
		slices.ContainsFunc(c.Takes.CancelRoles, func(r string) bool { return who.Has(people.Role(r)) }) {
		return nil
	}
	return &IneligibleError{p.ID, people.CodeWrongRole, "only who asked, who approved, or one of the roles that policy names, may call for it"}
}

// asked says whether this person asked for the ceremony, or called for a node's.
func (c *Ceremony) asked(p identity.Principal) bool {
	return p.Kind == identity.Human && ((c.Requester.Kind == identity.Human && p.ID == c.Requester.ID) || p.ID == c.Requester.CalledBy)
}

// Cancel ends a ceremony: its requester may at any time, and during a waiting period any one person in a
// role that policy names. Before the quorum is reached one person's no is a vote, not an end.
func (e *Engine) Cancel(ctx context.Context, p identity.Principal, id, reason string) (*Ceremony, error) {
	var c *Ceremony
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		if err := e.mayCancel(view, c, p); err != nil {
			return nil, err
		}
		now := e.clock.Now()
		c.State, c.EndedAt, c.Outcome = Cancelled, &now, "cancelled by "+p.ID
		if reason != "" {
			c.Outcome += ": " + clip(reason)
		}
		return func(tx *store.Tx) error {
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, e.entry("cancel", p, c, map[string]any{"reason": clip(reason)}))
		}, nil
	})
	if err != nil {
		return nil, e.recordRefusal(ctx, "cancel", p, nonNil(c, id), err)
	}
	e.dropShares(c.ID)
	return c, nil
}

func (e *Engine) mayCancel(view *store.View, c *Ceremony, p identity.Principal) error {
	who := person(view)(p.ID)
	switch {
	case c.State.Ended():
		return fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrEnded)
	case c.State == Executing || c.State == Indeterminate:
		return fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrNotNow)
	case p.Kind != identity.Human:
		return &IneligibleError{p.ID, "not-a-person", "only people cancel"}
	}
	if err := people.Present(who); err != nil {
		return ineligible(err)
	}
	if c.asked(p) {
		return nil
	}
	if slices.Contains(c.Subjects, p.ID) {
		return &IneligibleError{p.ID, people.CodeExcludedSubject, "whom a change is about takes no part in deciding it"}
	}
	if slices.ContainsFunc(c.Takes.CancelRoles, func(r string) bool { return who.Has(people.Role(r)) }) {
		if c.State == Approved && c.WaitLeft > 0 {
			return nil
		}
		return &IneligibleError{p.ID, "not-waiting", "only the requester cancels what is not in its waiting period; others reject it"}
	}
	return &IneligibleError{p.ID, people.CodeWrongRole, "only the requester, or during a waiting period one of the roles that policy names, may cancel"}
}

// Standing says how a ceremony that people still decide on stands now, by the policy it was proposed under; nil
// for one that is being executed or has ended: who counted then is among its Approvers.
func (e *Engine) Standing(c *Ceremony) *Standing {
	if c.State != Proposed && c.State != Approved && c.State != Gathering {
		return nil
	}
	view := e.store.View()
	s := e.tally(view, c, c.Takes, e.clock.Now())
	if lack := c.Threshold - e.brought(view, c, s.Approved); c.State == Gathering && lack > 0 {
		s.Missing, s.Met = append(s.Missing, fmt.Sprintf("%s of set %s, brought to this node", amount.Of(lack, "more share"), c.ShareSet)), false
	}
	if missing := e.lacking(c); len(missing) > 0 {
		s.Missing, s.Met = append(s.Missing, missing...), false
	}
	return &s
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
