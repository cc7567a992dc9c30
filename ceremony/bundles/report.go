package bundles

import (
	"time"

	"conclave/custodian"
)

// Report is what a proposed bundle would change.
type Report struct {
	Bundle   string    `json:"bundle"`
	Against  string    `json:"against"` // the bundle in force
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
	FromSeq  uint64    `json:"from_seq"` // entries of the ledger that were read
	ToSeq    uint64    `json:"to_seq"`

	Decisions    int `json:"decisions"`
	Groups       int `json:"groups"` // distinct decisions: each was judged once by both bundles
	NewlyDenied  int `json:"newly_denied"`
	NewlyAllowed int `json:"newly_allowed"`
	Unanswered   int `json:"unanswered"`
	// FactsChanged are decisions that the bundle in force would take otherwise today: people, keys or grants are not
	// what they were. They are compared as things stand now.
	FactsChanged int `json:"facts_changed"`
	// NotReplayed are decisions beyond the bound of distinct ones.
	NotReplayed int `json:"not_replayed"`

	Differences     []Difference `json:"differences"`
	MoreDifferences int          `json:"more_differences"` // further ones that are counted above and not listed
	Placements      []KeyChange  `json:"placements"`
	PlacementsCount int          `json:"placements_count"`
	Lifecycles      []KeyChange  `json:"lifecycles"`
	LifecyclesCount int          `json:"lifecycles_count"`
	Quorums         []Quorum     `json:"quorums"`
	// Assumed says which facts were not on record, and what was taken in their place.
	Assumed []string `json:"assumed"`
}

// Difference is one group of recorded decisions that the proposal takes otherwise.
type Difference struct {
	Operation string    `json:"operation"`
	Principal string    `json:"principal"`
	Target    string    `json:"target"`
	Recorded  string    `json:"recorded"` // outcome on record
	Count     int       `json:"count"`
	LastAt    time.Time `json:"last_at"`
	Before    string    `json:"before"` // "allow", or the code of the refusal
	After     string    `json:"after"`
	Message   string    `json:"message,omitempty"` // why, by the proposal
	Examples  []string  `json:"examples"`          // decision ids
}

// KeyChange is what changes for keys of the same facts.
type KeyChange struct {
	Facts  string   `json:"facts"`
	Count  int      `json:"count"`
	Keys   []string `json:"keys"` // some of them
	Before string   `json:"before"`
	After  string   `json:"after"`
}

// Quorum is an operation that would take something else.
type Quorum struct {
	Operation string   `json:"operation"`
	Classes   []string `json:"classes"` // of keys; all that differ alike
	Before    string   `json:"before"`
	After     string   `json:"after"`
}

// Bounds of a report: the rest is counted.
const (
	maxDifferences = 200
	maxExamples    = 3
	maxKeysNamed   = 5
)

func (r *Report) summary() custodian.BacktestSummary {
	operations := map[string]bool{}
	for _, q := range r.Quorums {
		operations[q.Operation] = true
	}
	return custodian.BacktestSummary{Decisions: r.Decisions, NewlyDenied: r.NewlyDenied, NewlyAllowed: r.NewlyAllowed, Unanswered: r.Unanswered,
		Placements: r.PlacementsCount, Lifecycles: r.LifecyclesCount, Quorums: len(operations)}
}

func assumed() []string {
	return []string{
		"people, applications, keys and grants are taken as they stand now, versions, grants and tokens in the state they had at the recorded time; callers are taken as active",
		"encryption contexts are on record only as HMACs: taken is what the grant asks for",
		"the size of payloads is not on record: taken is the smallest",
		"the date of a ciphertext is not on record: taken is the recorded time of the call, or just before a suspension",
		"keystores are taken as active",
		"reads that the program allows custodians and security officers whatever the bundle says (ceremonies, policies, status, own shares) are counted by what the bundle says",
		"each distinct decision (operation, caller, key, version, outcome, reason) is judged once, at the latest time it was recorded, and counts as often as it was recorded",
	}
}
