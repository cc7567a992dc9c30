package api

import (
	"encoding/json"
	"time"
)

// The wire form of a ceremony, with the members of package ceremony's own JSON. It stands here again so
// that a client need not link the engine, the store and the policy language; a test in app/cli holds
// the two together.
type (
	Ceremony struct {
		ID           string          `json:"id"`
		Operation    string          `json:"operation"`
		Class        string          `json:"class"` // G, S, P, A, D: how many people the operation takes
		State        string          `json:"state"`
		Title        string          `json:"title"`
		Lines        []Line          `json:"lines,omitempty"`
		Params       json.RawMessage `json:"params"` // canonical JSON
		Reason       string          `json:"reason"`
		Target       Target          `json:"target"`
		Subjects     []string        `json:"subjects,omitempty"`
		Requester    Requester       `json:"requester"`
		PolicyDigest string          `json:"policy_digest"`
		Checkpoint   string          `json:"checkpoint"` // "size root" of the ledger when proposed, root in base64; part of every statement
		Nonce        string          `json:"nonce"`
		Takes        Takes           `json:"takes"`
		ShareSet     string          `json:"share_set,omitempty"`
		ShareEpoch   uint32          `json:"share_epoch,omitempty"` // epoch of it whose shares are brought
		Threshold    int             `json:"threshold,omitempty"`
		Votes        []Vote          `json:"votes,omitempty"`
		Shares       []Contribution  `json:"shares,omitempty"`
		Components   []Component     `json:"components,omitempty"` // of a key, each brought by its custodian
		ProposedAt   time.Time       `json:"proposed_at"`
		ExpiresAt    time.Time       `json:"expires_at"`
		ApprovedAt   *time.Time      `json:"approved_at,omitempty"`
		WaitLeft     int64           `json:"wait_left_ns,omitempty"` // nanoseconds
		ReviewBy     *time.Time      `json:"review_by,omitempty"`    // class P
		EndedAt      *time.Time      `json:"ended_at,omitempty"`
		Outcome      string          `json:"outcome,omitempty"`
		Result       json.RawMessage `json:"result,omitempty"`
		Deviations   []string        `json:"deviations,omitempty"`
		// Administrator leads the ceremony by its script, and decides nothing in it.
		Administrator string   `json:"administrator,omitempty"`
		Items         []Item   `json:"items,omitempty"` // of a batch, in the order of its parameters
		Call          *Call    `json:"call,omitempty"`
		FirstSeq      uint64   `json:"first_seq"`
		LastSeq       uint64   `json:"last_seq"`
		Cites         string   `json:"cites,omitempty"`
		Approvers     []string `json:"approvers,omitempty"` // whose approvals counted when it ran
		// Standing is how the votes count now; of ceremonies not yet executed, and not in lists.
		Standing *Standing `json:"standing,omitempty"`
		// Review of what one person did alone, or of emergency access; not in lists.
		Review *Review `json:"review,omitempty"`
		// WaitsFor says why one that executes is not over, where this node knows: its keystore does not serve. Not in lists.
		WaitsFor string `json:"waits_for,omitempty"`
	}
	// Standing is how a ceremony's votes count at this moment, by the people, roles and acknowledgements in force.
	Standing struct {
		Approved  []string `json:"approved"`            // people whose approval counts
		Refused   []string `json:"refused,omitempty"`   // votes that do not count, and why
		Missing   []string `json:"missing,omitempty"`   // what is still needed, in words
		Met       bool     `json:"met"`                 // nothing is missing
		Reachable bool     `json:"reachable"`           // enough people are left who could approve
		Eligible  []string `json:"eligible,omitempty"`  // people who could still approve
		Witnesses []string `json:"witnesses,omitempty"` // people who attended
	}
	// Line is one fact, before and after.
	Line struct {
		Label  string `json:"label"`
		Before string `json:"before,omitempty"`
		After  string `json:"after,omitempty"`
	}
	// Item is one item of a batch and how far it is: "" (not begun), begun, done, refused or indeterminate.
	Item struct {
		Target Target          `json:"target"`
		State  string          `json:"state,omitempty"`
		Why    string          `json:"why,omitempty"` // refused, indeterminate: the reason
		Result json.RawMessage `json:"result,omitempty"`
	}
	// Component is one component of a key that a custodian is to bring; At is when they did.
	Component struct {
		Index      int        `json:"index"`
		Custodian  string     `json:"custodian"`
		CheckValue string     `json:"check_value"`
		At         *time.Time `json:"at,omitempty"`
		Boot       string     `json:"boot,omitempty"`
	}
	Target struct {
		Type        string `json:"type"`
		ID          string `json:"id"`
		GovRevision uint64 `json:"gov_revision"`
	}
	// Requester is who proposed: an authenticated person, or a node.
	Requester struct {
		Kind     string `json:"kind"`
		ID       string `json:"id"`
		CalledBy string `json:"called_by,omitempty"` // person who called for a node's ceremony
	}
	// Takes is what policy demanded when the ceremony was proposed.
	Takes struct {
		Approvals         int         `json:"approvals"`
		RequesterCounts   bool        `json:"requester_counts,omitempty"`
		ApproverRoles     []string    `json:"approver_roles,omitempty"`
		Roles             []RoleCount `json:"roles,omitempty"`
		Shares            bool        `json:"shares,omitempty"`
		Witness           bool        `json:"witness,omitempty"`
		CoolingOffSeconds int64       `json:"cooling_off_seconds"`
		WaitSeconds       int64       `json:"wait_seconds"`
		Reasons           []Reason    `json:"reasons,omitempty"`
	}
	RoleCount struct {
		Role  string `json:"role"`
		Count int    `json:"count"`
	}
	// Vote is one person's signed decision: approve, reject or attend.
	Vote struct {
		Person     string          `json:"person"`
		Credential string          `json:"credential"`
		Decision   string          `json:"decision"`
		At         time.Time       `json:"at"`
		Envelope   json.RawMessage `json:"envelope"`
	}
	// Contribution says that a share was brought, never the share.
	Contribution struct {
		Person string    `json:"person"`
		Index  int       `json:"index"`
		At     time.Time `json:"at"`
		Boot   string    `json:"boot"`
	}
)

// Name is how statements name the requester: a person's id, or "node:id".
func (r Requester) Name() string {
	if r.Kind == "human" {
		return r.ID
	}
	return r.Kind + ":" + r.ID
}

// Ended says that nothing more happens to the ceremony by itself.
func (c *Ceremony) Ended() bool {
	switch c.State {
	case "completed", "rejected", "expired", "cancelled", "failed":
		return true
	}
	return false
}

// Lists: a page and the cursor of the next one, "" at the end.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// Registers, as people and auditors read them. Secrets and their hashes are not part of them.
type (
	Application struct {
		ID          string     `json:"id"`
		Name        string     `json:"name"`
		Owner       string     `json:"owner"`
		Environment string     `json:"environment"`
		Status      string     `json:"status"`
		EnrolledAt  time.Time  `json:"enrolled_at"`
		EnrolledBy  string     `json:"enrolled_by"`
		SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	}
	Grant struct {
		ID          string            `json:"id"`
		Application string            `json:"application"`
		Key         string            `json:"key"`
		Operations  []string          `json:"operations"`
		Context     map[string]string `json:"context,omitempty"`
		CreatedAt   time.Time         `json:"created_at"`
		ExpiresAt   time.Time         `json:"expires_at"`
		CreatedBy   string            `json:"created_by"`
		RevokedAt   *time.Time        `json:"revoked_at,omitempty"`
	}
	Token struct {
		ID        string     `json:"id"`
		Kind      string     `json:"kind"`
		Subject   string     `json:"subject"`
		CreatedAt time.Time  `json:"created_at"`
		ExpiresAt time.Time  `json:"expires_at"`
		CreatedBy string     `json:"created_by"`
		RevokedAt *time.Time `json:"revoked_at,omitempty"`
	}
	// Policy is the bundle in force.
	Policy struct {
		Digest string          `json:"digest"`
		Rules  json.RawMessage `json:"rules"`
	}
	// Proof is an RFC 6962 proof, hashes in base64.
	Proof struct {
		Hashes [][]byte `json:"hashes"`
	}
	// Progress is the newest checkpoint, a signed note over Size entries, with the proofs that it continues what the caller
	// has seen: one for every size asked for that is smaller.
	Progress struct {
		Checkpoint string          `json:"checkpoint"`
		Size       uint64          `json:"size"`
		Proofs     []ProgressProof `json:"proofs"`
	}
	// ProgressProof is an RFC 6962 consistency proof from the log of From entries, hashes in base64.
	ProgressProof struct {
		From   uint64   `json:"from"`
		Hashes [][]byte `json:"hashes"`
	}
)

// BeginScriptRequest begins to hold a ceremony by its script, with the caller as its administrator. What follows are
// acts (package script of ceremony): its record is the answer.
type BeginScriptRequest struct {
	Place string `json:"place"` // where it is held
	Site  string `json:"site"`  // where the administrator is
}
