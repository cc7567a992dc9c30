// Package oversight is what is answered for where a rule restricts, is bent, or was hurt: legal holds, retention
// periods, reviews of what one person did alone, findings, accepted risks, emergency access, and confirmations of
// the clock. Values and rules only, no I/O.
package oversight

import (
	"time"

	"conclave/custodian/key"
)

// Bounds on texts, in characters.
const (
	maxTitle = 200
	maxText  = 500
)

// Ref names something on record.
type Ref struct {
	Type string `json:"type"` // key, key_version, application, person, keystore, share, ceremony, asset, …
	ID   string `json:"id"`
}

func (r Ref) String() string { return r.Type + " " + r.ID }

// Validate checks the name of something. Ids of shares and key versions have more forms than ids of rows.
func (r Ref) validate(field string) error {
	return key.First([]error{key.CheckID(field+".type", r.Type), key.CheckText(field+".id", r.ID, 128, false)})
}

// Review is the signed judgement of what one person did alone, or of emergency access, by somebody who took no part
// in it. Row id: the ceremony that was reviewed. The signature is that of the signed request in the ceremony that
// recorded the review.
type Review struct {
	Ceremony  string    `json:"ceremony"`
	Operation string    `json:"operation"`
	Outcome   Outcome   `json:"outcome"`
	Note      string    `json:"note"`
	Reviewer  string    `json:"reviewer"`
	SignedAt  time.Time `json:"signed_at"`
	DueAt     time.Time `json:"due_at"`
	Recorded  string    `json:"recorded"`          // ceremony that recorded the review
	Finding   string    `json:"finding,omitempty"` // opened by the review, "" where it confirmed
}

// Outcome of a review.
type Outcome string

const (
	Confirmed Outcome = "confirmed" // it was right
	Undo      Outcome = "undo"      // it is to be undone: a finding with owner and date
	Found     Outcome = "finding"   // something about it must be followed up: a finding with owner and date
)

// Late reports whether the review came after its date.
func (r *Review) Late() bool { return r.SignedAt.After(r.DueAt) }

// ClockConfirmation is what a quorum said about the clock. Row id: ClockRow.
type ClockConfirmation struct {
	Wall     time.Time `json:"wall"`   // what the clock showed, and is right
	Ledger   time.Time `json:"ledger"` // time of the last entry before: no reason to doubt the clock any more
	Node     string    `json:"node"`   // whose clock it was
	Source   string    `json:"source"` // what people compared it with
	Ceremony string    `json:"ceremony"`
}

// ClockRow is the id of the one row that holds the last confirmation.
const ClockRow = "clock"

// NotBefore is the earliest that a clock may show beside a ledger whose last entry is of that time: the entry's
// time, or what a quorum confirmed when it found that very time to be wrong.
func (c *ClockConfirmation) NotBefore(lastEntry time.Time) time.Time {
	if c == nil || lastEntry.After(c.Ledger) || c.Wall.After(lastEntry) {
		return lastEntry
	}
	return c.Wall
}
