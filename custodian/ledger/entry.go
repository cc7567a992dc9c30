// Package ledger is the tamper-evident record: canonical entries in an RFC 6962 Merkle log, C2SP
// checkpoints and tiles, proofs, and verification that trusts nobody. No database here; see store.
package ledger

import (
	"time"

	"conclave/custodian/identity"
)

// Outcome of what an entry records.
type Outcome string

const (
	Allow  Outcome = "allow"  // a decision that let a data-plane call through, and its success
	Deny   Outcome = "deny"   // a decision that refused
	Done   Outcome = "done"   // a change of state that happened
	Failed Outcome = "failed" // allowed, attempted, did not happen
)

// Target is what was acted on.
type Target struct {
	Type    string // "key", "keystore", "person", "ceremony", …
	ID      string
	Version uint32 // key version, 0 where none
}

// RowChange binds an authority row's content to the entry that changed it.
type RowChange struct {
	Kind     string
	ID       string
	Revision uint64
	Hash     [32]byte // SHA-256 of the row's canonical body; zero for a deletion
}

// Entry is one record. Fields up to Salt are set by whoever acts; Seq, At, Epoch and Link by the committer.
// It carries the fields of PCI DSS 10.2.2 and NIST SP 800-53 AU-3, and never a secret.
type Entry struct {
	Type     string // event type, e.g. "key.use.datakey", "ceremony.approve"
	Actor    identity.Principal
	Node     string // node that served it
	Target   Target
	Outcome  Outcome
	Reason   string // stable code; "" where there is nothing to say
	Policy   string // policy bundle digest, first 32 hex digits
	Ceremony string // ceremony id, "" for none
	Context  string // base64url HMAC of the encryption context under the month's key, "" for none
	Rows     []RowChange
	Detail   []byte   // canonical JSON object (RFC 8785), nil for none
	Salt     [16]byte // from crypto/rand, so that a hash in a public tile reveals nothing

	Seq   uint64    // position in the log, from 0
	At    time.Time // UTC, microseconds, never before the entry before it
	Epoch uint64    // authority epoch in force
	Link  *Link     // control-plane entries only
}

// Link chains control-plane entries, so that none can be left out unseen without reading the data plane.
type Link struct {
	Number uint64 // count of control entries before this one
	Prev   uint64 // Seq of the control entry before this one; 0 for the first
}
