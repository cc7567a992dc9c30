package api

import (
	"encoding/json"
	"time"
)

// LedgerEntries is one page of the ledger. What one answer looks at is bounded: see [LedgerSearch].
type LedgerEntries struct {
	Items []json.RawMessage `json:"items"` // their exact bytes
	Next  string            `json:"next"`  // cursor; "" where there is no more
	// Deleted are the runs of entries that the page passes, or is in, of which only those of the control plane are left.
	Deleted []DeletedEntries `json:"deleted,omitempty"`
}

// LedgerSearch is one page of a search in the ledger. It may hold fewer entries than asked for, even none, and yet
// have a next one: what one answer looks at is bounded.
type LedgerSearch struct {
	Items      []ProvenEntry `json:"items"`
	Next       string        `json:"next"`       // cursor; "" where there is no more
	Checkpoint string        `json:"checkpoint"` // signed note that the proofs belong to
	Indexed    uint64        `json:"indexed"`    // entries that the index covers
	// Deleted are the runs of entries of the time asked for of which only those of the control plane are left to be found.
	Deleted []DeletedEntries `json:"deleted,omitempty"`
}

// ProvenEntry is a ledger entry with the proof that it is in the log of a checkpoint.
type ProvenEntry struct {
	Seq       uint64          `json:"seq"`
	Entry     json.RawMessage `json:"entry"`     // its exact bytes
	Inclusion []string        `json:"inclusion"` // base64 hashes, RFC 6962 section 2.1.1
}

// Segment is a run of entries, from ≤ seq < to, that was moved out of the database into a file.
type Segment struct {
	ID         string     `json:"id"`
	From       uint64     `json:"from"`
	To         uint64     `json:"to"`
	FirstAt    time.Time  `json:"first_at"`
	LastAt     time.Time  `json:"last_at"`
	Control    uint64     `json:"control_entries"` // of the control plane, which stay in the database
	Directory  string     `json:"directory"`
	File       string     `json:"file"`
	Bytes      int64      `json:"bytes"`
	SHA256     string     `json:"sha256"`
	Node       string     `json:"node"` // that wrote it
	ArchivedAt time.Time  `json:"archived_at"`
	ArchivedBy string     `json:"archived_by"` // ceremony id
	Status     string     `json:"status"`      // kept or deleted
	DeletedAt  *time.Time `json:"deleted_at,omitempty"`
	DeletedBy  string     `json:"deleted_by,omitempty"`
}
