package custodian

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/store"
)

// LogKeyRow is the id of the one row of KindLogKey.
const LogKeyRow = "log_key"

// How long a log key is in force, in days. NIST SP 800-57 part 1, revision 5, table 1, gives a private signature key one to
// three years.
const (
	// LogKeyDays is the cryptoperiod of the key that genesis made, and of one for which no other was decided (ours): the
	// shorter of the two.
	LogKeyDays = 365
	// MostLogKeyDays is the longest that a quorum can decide on.
	MostLogKeyDays = 1095
)

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
	// Days is its cryptoperiod, as those who put it in force decided; 0 for LogKeyDays.
	Days     int    `json:"days,omitzero"`
	Cause    string `json:"cause"`
	Reason   string `json:"reason"`
	Ceremony string `json:"ceremony"`
	Node     string `json:"node"` // that made it
	// Given are the nodes that were sealed it before it came into force; others ask for it.
	Given []string `json:"given,omitempty"`
}

// LogKeyTerm is how long the log key is in force.
type LogKeyTerm struct {
	Since time.Time
	Until time.Time // the end of its cryptoperiod
	Due   []string  // why it should be replaced now; empty: nothing asks for it
}

// LogKeyTermOf says how long the log key is in force and why it should be replaced; began is when the instance did.
func LogKeyTermOf(view *store.View, began, now time.Time) (LogKeyTerm, error) {
	t, days := LogKeyTerm{Since: began}, 0
	k, err := store.Peek[LogKey](view, KindLogKey, LogKeyRow)
	switch {
	case err == nil:
		t.Since, days = k.Since, k.Days
	case !errors.Is(err, store.ErrNotFound):
		return t, fmt.Errorf("reading the log key's row: %w", err)
	}
	days = cmp.Or(days, LogKeyDays)
	t.Until = t.Since.Add(time.Duration(days) * key.Day)
	if bad := view.Tampered(KindNode); len(bad) > 0 {
		return t, &store.TamperedError{Kind: KindNode, ID: bad[0].ID}
	}
	if now.After(t.Until) {
		t.Due = append(t.Due, fmt.Sprintf("it is in force since %s, longer than %d days", t.Since.UTC().Format(time.DateOnly), days))
	}
	for _, n := range store.All[Node](view, KindNode) {
		if n.Revoked() && n.RevokedAt.After(t.Since) {
			t.Due = append(t.Due, fmt.Sprintf("node %s had it and was revoked on %s (%s)", n.ID, n.RevokedAt.UTC().Format(time.DateOnly), n.RevokedReason))
		}
	}
	return t, nil
}
