package custodian

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/store"
)

// LogKeyRow is the id of the one row of KindLogKey.
const LogKeyRow = "log_key"

// LogKeyPeriod is how long a log key should be in force at most: NIST SP 800-57 part 1, revision 5, table 1, gives a private
// signature key one to three years; ours is the shorter.
const LogKeyPeriod = 365 * 24 * time.Hour

// Why a log key is replaced.
const (
	LogKeyScheduled   = "scheduled"
	LogKeyCompromise  = "suspected-compromise"
	LogKeyNodeRevoked = "node-revoked"
)

// LogKey is the key that signs the ledger's heads, since it was replaced for the first time. Row kind KindLogKey. Before
// that there is no row: the first key was made at genesis.
type LogKey struct {
	Key      string    `json:"key"` // note verifier key
	Previous string    `json:"previous"`
	Since    time.Time `json:"since"`
	Cause    string    `json:"cause"`
	Reason   string    `json:"reason"`
	Ceremony string    `json:"ceremony"`
	Node     string    `json:"node"` // that made it
	// Given are the nodes that were sealed it before it came into force; others ask for it.
	Given []string `json:"given,omitempty"`
}

// LogKeyDue lists why the log key should be replaced; began is when the instance did. Empty: nothing asks for it.
func LogKeyDue(view *store.View, began, now time.Time) (since time.Time, due []string, err error) {
	since = began
	k, err := store.Peek[LogKey](view, KindLogKey, LogKeyRow)
	switch {
	case err == nil:
		since = k.Since
	case !errors.Is(err, store.ErrNotFound):
		return since, nil, fmt.Errorf("reading the log key's row: %w", err)
	}
	if bad := view.Tampered(KindNode); len(bad) > 0 {
		return since, nil, &store.TamperedError{Kind: KindNode, ID: bad[0].ID}
	}
	if now.Sub(since) > LogKeyPeriod {
		due = append(due, fmt.Sprintf("it is in force since %s, longer than %d days", since.UTC().Format(time.DateOnly), int(LogKeyPeriod.Hours()/24)))
	}
	for _, n := range store.All[Node](view, KindNode) {
		if n.Revoked() && n.RevokedAt.After(since) {
			due = append(due, fmt.Sprintf("node %s had it and was revoked on %s (%s)", n.ID, n.RevokedAt.UTC().Format(time.DateOnly), n.RevokedReason))
		}
	}
	return since, due, nil
}
