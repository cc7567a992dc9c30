// Package quorum answers what a register of people, its share sets and a policy amount to: whether an operation
// could still find the people that it takes, how many of them it could lose, and which site, team or reporting
// line alone could stop it or bring it about. Values and rules only, no I/O. It decides nothing about a signature
// or a ceremony: those are judged by package ceremony when they are given.
package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/policies"
)

// Policy says what operations take. *policies.Engine is one.
type Policy interface {
	Quorum(ctx context.Context, in policies.QuorumInput) (policies.QuorumDecision, error)
}

// Case is one operation on one kind of target.
type Case struct {
	Operation       string
	TargetType      string
	Classifications []string // of the keys touched
	Set             string   // the share set whose shares are brought; "" where none are
	Threshold       int      // of Set
	Total           int      // of Set
}

// somebody stands for whoever asks where policy compares them with the owner of the target: what only an owner may
// ask for is judged as asked for by its owner.
const somebody = "somebody"

// Table says what operations take under one policy, by who asks: their roles, or the node. Safe for concurrent use. It
// remembers nothing: the policy engine keeps its answers.
type Table struct {
	policy Policy
	mode   policies.Mode
	now    time.Time
}

// NewTable asks a policy as of now.
func NewTable(policy Policy, mode policies.Mode, now time.Time) *Table {
	return &Table{policy: policy, mode: mode, now: now}
}

// Takes says what a case takes when somebody with these roles asks for it, or the node when roles is nil, and
// whether they may ask at all. Where the policy names no usable quorum nobody may. An error is one of asking, not of
// the answer: the context ended, or the evaluation ran out of time.
func (t *Table) Takes(ctx context.Context, c Case, roles []people.Role) (policies.QuorumDecision, bool, error) {
	q := policies.QuorumInput{Now: t.now, Mode: t.mode, Operation: c.Operation,
		Requester: policies.Requester{Kind: string(identity.Node), ID: "node"},
		Target: policies.QuorumTarget{Type: c.TargetType, ID: "target", Owner: somebody, Classifications: c.Classifications,
			Threshold: c.Threshold, Total: c.Total}}
	if roles != nil {
		q.Requester = policies.Requester{Kind: string(identity.Human), ID: somebody}
		for _, r := range roles {
			q.Requester.Roles = append(q.Requester.Roles, string(r))
		}
		slices.Sort(q.Requester.Roles)
	}
	takes, err := t.ask(ctx, q)
	if ended := ctx.Err(); ended != nil {
		return policies.QuorumDecision{}, false, fmt.Errorf("asking policy for %s: %w", c.Operation, ended)
	}
	if errors.Is(err, policies.ErrTimeout) || err != nil && !errors.Is(err, policies.ErrPolicy) {
		return policies.QuorumDecision{}, false, fmt.Errorf("asking policy for %s: %w", c.Operation, err)
	}
	return takes, err == nil && takes.Allow, nil
}

// ask asks first without an earlier decision to rest on: what is left to those who need none. Where that leads
// nowhere, the operation may be one that always rests on a decision.
func (t *Table) ask(ctx context.Context, q policies.QuorumInput) (policies.QuorumDecision, error) {
	takes, err := t.policy.Quorum(ctx, q)
	if !errors.Is(err, policies.ErrPolicy) || errors.Is(err, policies.ErrTimeout) {
		return takes, err
	}
	q.Precedent = "earlier"
	if rests, again := t.policy.Quorum(ctx, q); again == nil && rests.Class == policies.PreAuthorised {
		return rests, nil
	}
	return takes, err
}
