package api

import "encoding/json"

// LedgerSearch is one page of a search in the ledger. It may hold fewer entries than asked for, even none, and yet
// have a next one: what one answer looks at is bounded.
type LedgerSearch struct {
	Items      []ProvenEntry `json:"items"`
	Next       string        `json:"next"`       // cursor; "" where there is no more
	Checkpoint string        `json:"checkpoint"` // signed note that the proofs belong to
	Indexed    uint64        `json:"indexed"`    // entries that the index covers
}

// ProvenEntry is a ledger entry with the proof that it is in the log of a checkpoint.
type ProvenEntry struct {
	Seq       uint64          `json:"seq"`
	Entry     json.RawMessage `json:"entry"`     // its exact bytes
	Inclusion []string        `json:"inclusion"` // base64 hashes, RFC 6962 section 2.1.1
}
