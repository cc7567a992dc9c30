// Package ceremony runs governed operations from proposal to signed transcript. The engine is generic;
// what is governed lives in package operation, one file each.
package ceremony

import (
	"encoding/json"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian/identity"
	"conclave/custodian/store"
	"conclave/policies"
)

// Kind of the authority rows that hold ceremonies; row id is the ceremony's id.
const Kind store.Kind = "ceremony"

// State of a ceremony (DESIGN: draft → proposed → approved → gathering → executing → completed).
type State string

const (
	Proposed      State = "proposed"      // waits for signatures
	Approved      State = "approved"      // quorum reached; waits (cooling-off, waiting period) or is about to run
	Gathering     State = "gathering"     // class S: waits for shares
	Executing     State = "executing"     // intent recorded; effect under way
	Completed     State = "completed"     // outcome recorded
	Rejected      State = "rejected"      // the quorum can no longer be reached
	Expired       State = "expired"       // nobody finished it in time
	Cancelled     State = "cancelled"     // by its requester, or by one person during a waiting period
	Failed        State = "failed"        // could not be done; nothing was changed
	Indeterminate State = "indeterminate" // an effect outside may or may not have happened; shown until resolved
)

// Ended says that nothing more happens to a ceremony in this state by itself.
func (s State) Ended() bool {
	switch s {
	case Completed, Rejected, Expired, Cancelled, Failed:
		return true
	}
	return false
}

// Vote is one person's signed decision.
type Vote struct {
	Person     string          `json:"person"`
	Credential string          `json:"credential"`
	Decision   string          `json:"decision"` // "approve", "reject", "attend"
	At         time.Time       `json:"at"`
	Envelope   json.RawMessage `json:"envelope"` // DSSE, the exact bytes signed
}

// Contribution records that a share was brought; the share itself is never stored.
type Contribution struct {
	Person string    `json:"person"`
	Index  int       `json:"index"`
	At     time.Time `json:"at"`
	Boot   string    `json:"boot"` // collector it was sealed to; void when that process ends
}

// Nanoseconds is a span of time as JSON carries it: a whole number.
type Nanoseconds int64

// Duration is the span as package time has it.
func (n Nanoseconds) Duration() time.Duration { return time.Duration(n) }

// Requester is who asked. For class S it is the node: the people who come are all approvers.
type Requester struct {
	Kind       identity.Kind `json:"kind"`
	ID         string        `json:"id"`
	Credential string        `json:"credential,omitempty"`
	CalledBy   string        `json:"called_by,omitempty"` // person who called for a node's ceremony
}

// Name is how statements name the requester: a person's id, or "node:id".
func (r Requester) Name() string {
	if r.Kind == identity.Human {
		return r.ID
	}
	return string(r.Kind) + ":" + r.ID
}

// Ceremony is one governed operation. Row kind Kind.
type Ceremony struct {
	ID        string           `json:"id"`
	Operation string           `json:"operation"`
	Class     string           `json:"class"` // G, S, P, A, D of operations.md
	State     State            `json:"state"`
	Title     string           `json:"title"`
	Lines     []operation.Line `json:"lines,omitempty"`
	Params    json.RawMessage  `json:"params"` // canonical
	// Asked is the digest of the parameters as they were asked for, where the service added what they act on.
	Asked        string                  `json:"asked,omitempty"`
	Reason       string                  `json:"reason"`
	Target       operation.Target        `json:"target"`
	Subjects     []string                `json:"subjects,omitempty"`
	Requester    Requester               `json:"requester"`
	Proposal     json.RawMessage         `json:"proposal,omitempty"` // the requester's signed request (DSSE)
	PolicyDigest string                  `json:"policy_digest"`
	Checkpoint   string                  `json:"checkpoint"` // "size root" when proposed, root in base64; part of every statement
	Nonce        string                  `json:"nonce"`
	Takes        policies.QuorumDecision `json:"takes"` // what policy demanded when proposed
	ShareSet     string                  `json:"share_set,omitempty"`
	ShareEpoch   uint32                  `json:"share_epoch,omitempty"` // whose shares are brought; 0: the one in force
	Threshold    int                     `json:"threshold,omitempty"`
	Votes        []Vote                  `json:"votes,omitempty"`
	Shares       []Contribution          `json:"shares,omitempty"`
	Components   []Component             `json:"components,omitempty"` // of a key, one a custodian
	EffectID     string                  `json:"effect_id,omitempty"`
	Approvers    []string                `json:"approvers,omitempty"` // whose approvals counted when it ran
	Executor     string                  `json:"executor,omitempty"`  // "node/boot" that runs or ran the effect
	ProposedAt   time.Time               `json:"proposed_at"`
	ExpiresAt    time.Time               `json:"expires_at"`
	ApprovedAt   *time.Time              `json:"approved_at,omitempty"`
	// WaitLeft is what is left of a waiting period, counted down by ledger heartbeats only.
	WaitLeft Nanoseconds `json:"wait_left_ns,omitempty"`
	// CountedAt is when a heartbeat was last taken off WaitLeft, whichever replica did it.
	CountedAt *time.Time `json:"counted_at,omitempty"`
	DueAt     *time.Time `json:"due_at,omitempty"` // when the waiting period was over
	// ExecutingAt is when the effect began: what other replicas judge by whether it was left behind.
	ExecutingAt *time.Time `json:"executing_at,omitempty"`
	// Administrator leads it by its script (KindRun), and decides nothing in it; "" for a ceremony without.
	Administrator string `json:"administrator,omitempty"`
	// ReviewBy is when what one person did alone (class P), or emergency access, must have been reviewed.
	ReviewBy   *time.Time      `json:"review_by,omitempty"`
	EndedAt    *time.Time      `json:"ended_at,omitempty"`
	Outcome    string          `json:"outcome,omitempty"` // reason code or plain words
	Result     json.RawMessage `json:"result,omitempty"`
	Deviations []string        `json:"deviations,omitempty"`
	Items      []Item          `json:"items,omitempty"` // of a batch, in the order of its parameters
	Call       *Call           `json:"call,omitempty"`  // who was called to attend, when and where
	FirstSeq   uint64          `json:"first_seq"`
	LastSeq    uint64          `json:"last_seq"`
	Cites      string          `json:"cites,omitempty"` // class A: the governed decision it rests on
}

// deadline is when a ceremony expires: what is left of its time when it is approved goes on counting once the
// waiting period is over, however much longer than planned that took.
func (c *Ceremony) deadline() time.Time {
	switch {
	case c.ApprovedAt == nil:
		return c.ExpiresAt
	case c.DueAt != nil:
		return c.DueAt.Add(c.ExpiresAt.Sub(*c.ApprovedAt))
	}
	return c.ExpiresAt.Add(waitOf(c.Takes).Duration())
}
