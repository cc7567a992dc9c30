package ceremony

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
	"conclave/hsm/secret"
	"conclave/policies"
)

// MaxParams bounds an operation's parameters, in bytes of JSON.
const MaxParams = 32 << 10

// Proposal is what somebody asks for.
type Proposal struct {
	Operation string
	Params    []byte // JSON object
	Reason    string // why, in the requester's words
	Evidence  []byte // the requester's signed request (DSSE), kept with the ceremony
	// Key names this proposal among its requester's: proposing again under it opens no second ceremony but gives
	// the first, also after a crash. "" for a proposal that stands alone.
	Key string
}

// Propose opens a ceremony. What one person may do (classes P and D) is done at once, and the answer is the
// completed ceremony; once is then a secret for the requester alone, if the operation makes one. Errors:
// *custodian.InputError, *key.FieldError, *custodian.Denied (recorded, with reasons and remedies),
// *FailedError, *BudgetError, ErrClockDisagrees, store.ErrIdempotencyConflict for a Key that named something else.
func (e *Engine) Propose(ctx context.Context, p identity.Principal, in Proposal) (*Ceremony, *secret.Bytes, error) {
	op := e.ops[in.Operation]
	if op == nil {
		return nil, nil, &custodian.InputError{Field: "operation", Problem: fmt.Sprintf("%q is unknown", clip(in.Operation)), Allowed: "an operation of GET /v1/policy"}
	}
	if err := key.CheckText("reason", in.Reason, 500, true); err != nil {
		return nil, nil, err
	}
	params, err := canonicalParams(in.Params)
	if err != nil {
		return nil, nil, err
	}
	c := &Ceremony{ID: e.proposalID(p, cmp.Or(in.Key, signedOnce(in.Evidence))), Operation: in.Operation, Params: params, Reason: in.Reason, Proposal: in.Evidence,
		Nonce: statement.NewNonce(), Requester: Requester{Kind: p.Kind, ID: p.ID, Credential: p.Credential}}
	repeated, paid := false, false
	change := e.change
	if policies.Restricts(in.Operation) {
		change = e.changeAtOnce
	}
	_, err = change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		earlier, err := earlierProposal(view, c)
		if repeated = earlier != nil; repeated || err != nil {
			c = cmp.Or(earlier, c)
			return nil, err
		}
		c.Params, c.ApprovedAt = params, nil // as asked, whatever an earlier try under another view made of it
		if err := e.draft(ctx, view, p, op, c); err != nil {
			return nil, err
		}
		if open := e.gatheringFor(view, c); open != nil { // one place to bring shares to, whoever called for it
			c, repeated = open, true
			return nil, nil
		}
		if !paid && p.Kind == identity.Human { // once, however often it is judged
			if err := e.budget.take(p.ID, policies.Class(c.Class), len(c.Params)+len(c.Proposal)); err != nil {
				return nil, err
			}
			paid = true
		}
		return func(tx *store.Tx) error {
			c.FirstSeq = tx.View().Head().Size
			return put(tx, c, e.entry("propose", p, c, map[string]any{"class": c.Class, "title": c.Title, "params_sha256": digest(c.Params)}))
		}, nil
	})
	if err != nil {
		return nil, nil, e.recordRefusal(ctx, "propose", p, c, err)
	}
	if c.State != Approved || c.WaitLeft > 0 || (repeated && c.Class == string(policies.Governed)) {
		return c, nil, nil
	}
	return e.run(ctx, p, c.ID)
}

// proposalID is the id of the ceremony that a proposal opens: drawn, or derived from who asks and the key of
// their choice, so that the ledger itself remembers which keys were used.
func (e *Engine) proposalID(p identity.Principal, key string) string {
	if key == "" {
		return newID("c")
	}
	h := sha256.New()
	for _, part := range []string{"conclave proposal", e.door.Instance().ID, p.String(), key} {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		h.Write([]byte(part))
	}
	return formatID("c", base32.StdEncoding.EncodeToString(h.Sum(nil)))
}

// signedOnce names a signed request that came without a key: each opens one ceremony, so that the same request
// sent again, to another replica or after a restart, gives the first. The signature itself can be respelled, so
// what was signed counts.
func signedOnce(evidence []byte) string {
	if len(evidence) == 0 {
		return ""
	}
	if envelope, err := dsse.Parse(evidence); err == nil {
		evidence = envelope.UnverifiedPayload()
	}
	return "signed request " + digest(evidence)
}

// earlierProposal is the ceremony that was opened under the same id before, nil when there is none.
func earlierProposal(view *store.View, c *Ceremony) (*Ceremony, error) {
	earlier, err := load(view, c.ID)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	same := bytes.Equal(earlier.Params, c.Params) || (earlier.Asked != "" && earlier.Asked == digest(c.Params))
	if earlier.Operation != c.Operation || earlier.Reason != c.Reason || !same {
		return nil, fmt.Errorf("%s is another proposal: %w", c.ID, store.ErrIdempotencyConflict)
	}
	return earlier, nil
}

// recordRefusal records a refusal that came from judging; other errors pass.
func (e *Engine) recordRefusal(ctx context.Context, step string, p identity.Principal, c *Ceremony, err error) error {
	var denied *custodian.Denied
	var ineligible *IneligibleError
	var spent *BudgetError
	switch {
	case errors.As(err, &spent) && spent.note:
		e.log.Warn("somebody asks for more ceremonies than one person may", "person", p.ID, "operation", c.Operation)
		rec := e.refuse(ctx, step, p, c, []policies.Reason{{Rule: "ceremony", Code: "rate_limited", Message: spent.Error(), Remedy: "wait"}})
		if !errors.As(rec, &denied) {
			return rec
		}
	case errors.As(err, &denied) && denied.Decision == "":
		return e.refuse(ctx, step, p, c, denied.Reasons)
	case errors.As(err, &ineligible):
		if rec := e.refuse(ctx, step, p, c, []policies.Reason{{Rule: "ceremony", Code: ineligible.Code, Message: ineligible.Error(),
			Remedy: "somebody else who is eligible must act"}}); rec != nil {
			return rec
		}
	}
	return err
}

func canonicalParams(params []byte) ([]byte, error) {
	if len(params) == 0 {
		params = []byte("{}")
	}
	if err := strictjson.Check(params, MaxParams); err != nil {
		return nil, &custodian.InputError{Field: "params", Problem: err.Error(), Allowed: "a JSON object without repeated names, fractions or control characters"}
	}
	canonical, err := strictjson.Canonical(params)
	if err != nil || len(canonical) == 0 || canonical[0] != '{' {
		return nil, &custodian.InputError{Field: "params", Problem: "not an object", Allowed: "a JSON object"}
	}
	return bytes.Clone(canonical), nil
}

// draft judges a proposal under one view and fills in the ceremony.
func (e *Engine) draft(ctx context.Context, view *store.View, p identity.Principal, op operation.Operation, c *Ceremony) error {
	now := e.clock.Now()
	if err := e.pin(ctx, view, op, c, p, now); err != nil {
		return err
	}
	if err := e.examine(ctx, view, op, c, p, now); err != nil {
		return err
	}
	plan, takes, err := e.judge(ctx, view, op, c, p, now)
	if err != nil {
		return err
	}
	if !takes.Allow {
		return &custodian.Denied{Code: firstCode(takes.Denials), Reasons: takes.Denials}
	}
	if err := e.admit(view, p, takes, plan.Quorum.Precedent); err != nil {
		return err
	}
	if e.waitsInMemory(c, takes) {
		return fmt.Errorf("operation %s asks that shares wait, which they never do in memory: %w", c.Operation, policies.ErrPolicy)
	}
	if takes.Shares && plan.ShareSet == "" {
		return fmt.Errorf("operation %s takes shares and names no share set: %w", c.Operation, policies.ErrPolicy)
	}
	head := view.Head()
	c.Class, c.Title, c.Lines, c.Target, c.Subjects = string(takes.Class), plan.Title, plan.Lines, plan.Target, plan.Subjects
	c.Components = nil
	for _, slot := range plan.Components {
		c.Components = append(c.Components, Component{ComponentSlot: slot})
	}
	c.PolicyDigest, c.Takes = e.door.PoliciesOf(view).Digest(), takes
	c.Checkpoint = strconv.FormatUint(head.Size, 10) + " " + base64.StdEncoding.EncodeToString(head.Root[:])
	c.ProposedAt = now.UTC().Truncate(time.Millisecond)
	c.ExpiresAt = c.ProposedAt.Add(time.Duration(takes.ExpirySeconds) * time.Second)
	c.State = Proposed
	switch takes.Class {
	case policies.Attended:
		return e.draftAttended(view, p, plan, c)
	case policies.Protective, policies.Direct:
		return e.draftAlone(view, p, takes, c, now)
	case policies.PreAuthorised:
		c.Cites = plan.Quorum.Precedent
		c.State, c.ApprovedAt = Approved, &now
	}
	if p.Kind == identity.Human {
		return eligibleRequester(view, p.ID, now)
	}
	return nil
}

// draftAttended prepares a ceremony that shares open. The node asks, so that everybody who comes can
// approve; shares must have been confirmed by enough holders first.
func (e *Engine) draftAttended(view *store.View, p identity.Principal, plan operation.Plan, c *Ceremony) error {
	set, err := gatheredSet(view, plan.ShareSet, plan.ShareEpoch)
	if err != nil {
		return err
	}
	pending := set.Pending != nil && set.Pending.Epoch == set.Epoch
	if confirmed, released := set.Released(shares(view), pending); !released {
		return fmt.Errorf("share set %s: %d of %d shares of epoch %d confirmed, %d are needed: %w", set.ID, confirmed, set.Total, set.Epoch, set.Quorate(), ErrUnconfirmed)
	}
	c.ShareSet, c.ShareEpoch, c.Threshold, c.State = set.ID, set.Epoch, set.Threshold, Gathering
	c.Requester = Requester{Kind: identity.Node, ID: e.door.Node()}
	if p.Kind == identity.Human {
		c.Requester.CalledBy = p.ID
	}
	return nil
}

// draftAlone prepares what one authorised person does at once. Restricting is never held up by paperwork:
// for class P, and for one's own duties, an acknowledgement is not asked for.
func (e *Engine) draftAlone(view *store.View, p identity.Principal, takes policies.QuorumDecision, c *Ceremony, now time.Time) error {
	if p.Kind == identity.Human {
		who := person(view)(p.ID)
		if err := people.Present(who); err != nil {
			return ineligible(err)
		}
		if takes.Class == policies.Direct && !takes.OwnerOnly {
			if err := eligibleAlone(who, takes, now); err != nil {
				return ineligible(err)
			}
		}
	}
	c.State, c.ApprovedAt = Approved, &now
	if takes.ReviewSeconds > 0 {
		by := now.Add(time.Duration(takes.ReviewSeconds) * time.Second)
		c.ReviewBy = &by
	}
	c.WaitLeft = waitOf(takes)
	return nil
}

// eligibleAlone: what one person may do directly they do in one of the roles that may: an auditor who reviews takes
// on no duty of a custodian.
func eligibleAlone(who *people.Person, takes policies.QuorumDecision, now time.Time) error {
	for _, r := range takes.ProposerRoles {
		if people.Eligible(who, people.Role(r), now) == nil {
			return nil
		}
	}
	return people.Eligible(who, "", now)
}

func waitOf(takes policies.QuorumDecision) Nanoseconds {
	return Nanoseconds(time.Duration(takes.CoolingOffSeconds+takes.WaitSeconds) * time.Second)
}

func eligibleRequester(view *store.View, id string, now time.Time) error {
	if err := people.Eligible(person(view)(id), "", now); err != nil {
		return ineligible(err)
	}
	return nil
}

func ineligible(err error) error {
	var in *people.IneligibleError
	if errors.As(err, &in) {
		return &IneligibleError{Person: in.Person, Code: in.Code, Detail: in.Detail}
	}
	return err
}

// judge prepares the operation and asks policy what it takes, under one view. Placement and lifecycle
// refusals and an unusable policy are *custodian.Denied.
func (e *Engine) judge(ctx context.Context, view *store.View, op operation.Operation, c *Ceremony, p identity.Principal, now time.Time) (operation.Plan, policies.QuorumDecision, error) {
	var none policies.QuorumDecision
	env := e.environment(view)
	plan, err := op.Prepare(ctx, env, view, e.input(c, p, now, nil))
	if err != nil {
		return plan, none, err
	}
	if len(plan.Deny) > 0 {
		return plan, none, &custodian.Denied{Code: firstCode(plan.Deny), Reasons: plan.Deny}
	}
	takes, err := e.quorum(ctx, env, view, &plan, c, p, now)
	if errors.Is(err, policies.ErrPolicy) {
		e.log.Error("policy reached no decision", "operation", c.Operation, "error", err)
		return plan, none, &custodian.Denied{Code: "policy_error", Reasons: []policies.Reason{{Rule: "ceremony", Code: "policy_error",
			Message: "policy names no usable quorum for this operation, which is a refusal", Remedy: "the operator finds the cause in the service's log"}}}
	}
	return plan, takes, err
}

// quorum asks policy what a plan takes: for several items the strictest of what each of them takes.
func (e *Engine) quorum(ctx context.Context, env operation.Env, view *store.View, plan *operation.Plan, c *Ceremony, p identity.Principal, now time.Time) (policies.QuorumDecision, error) {
	requester := policies.Requester{Kind: string(p.Kind), ID: p.ID}
	if who := person(view)(p.ID); p.Kind == identity.Human && who != nil {
		for _, r := range who.Roles {
			requester.Roles = append(requester.Roles, string(r))
		}
	}
	ask := func(q policies.QuorumInput, name string) (policies.QuorumDecision, error) {
		q.Now, q.Mode, q.Operation, q.Requester = now, policies.Mode(e.door.Instance().Mode), name, requester
		return env.Policies.Quorum(ctx, q)
	}
	if len(plan.Quorums) == 0 {
		return ask(plan.Quorum, c.Operation)
	}
	var all []policies.QuorumDecision
	for i, q := range plan.Quorums {
		takes, err := ask(q, q.Operation)
		if err != nil {
			return policies.QuorumDecision{}, err
		}
		if all = append(all, takes); i == 0 {
			plan.Quorum.Precedent = q.Precedent
		} else if plan.Quorum.Precedent != q.Precedent {
			plan.Quorum.Precedent = "" // what rests on several decisions rests on none that could be cited
		}
	}
	if c.ApprovedAt != nil { // items that are left out lower nothing
		all = append(all, c.Takes)
	}
	return policies.Strictest(all)
}

func firstCode(reasons []policies.Reason) string {
	if len(reasons) == 0 {
		return "denied"
	}
	return reasons[0].Code
}

func (e *Engine) input(c *Ceremony, p identity.Principal, now time.Time, approvers []string) operation.Input {
	in := operation.Input{Ceremony: c.ID, Params: c.Params, Requester: p, Approvers: approvers, Now: now,
		Instance: e.door.Instance(), Reason: c.Reason}
	if c.ApprovedAt != nil {
		in.ApprovedAt = *c.ApprovedAt
	}
	return in
}

// requester is the principal that a stored ceremony was asked for by.
func (c *Ceremony) requester() identity.Principal {
	p := identity.Principal{Kind: c.Requester.Kind, ID: c.Requester.ID, Credential: c.Requester.Credential}
	if c.Requester.CalledBy != "" {
		p = identity.Principal{Kind: identity.Human, ID: c.Requester.CalledBy}
	}
	return p
}
