package people

import (
	"encoding/json"
	"time"

	"conclave/custodian/key"
)

// InvitationStatus is how far an invitation has come. One that nobody answered in time stays open in name and is
// refused by its date.
type InvitationStatus string

const (
	InvitationOpen      InvitationStatus = "open"
	InvitationAnswered  InvitationStatus = "answered"  // keys were handed in; a quorum has not decided on them
	InvitationUsed      InvitationStatus = "used"      // a ceremony took the keys up
	InvitationWithdrawn InvitationStatus = "withdrawn" // by somebody who may invite
)

// Bounds of invitations (ours). A quorum takes its time, so what was handed in may be cited for longer than it could
// be answered.
const (
	MaxInvitationHours = 14 * 24
	AnswerLife         = 30 * 24 * time.Hour
)

// Invitation lets one person hand in the public part of keys that they made on their own machine, once and in time.
// It gives no power: a ceremony cites it. Row id: ID.
type Invitation struct {
	ID         string `json:"id"`
	Person     string `json:"person"` // id that the invited has or is to have
	Name       string `json:"name"`
	SecretHash []byte `json:"secret_hash"` // SHA-256 of the secret, which exists with the invited alone
	OpenedBy   string `json:"opened_by"`   // person id
	// OpenedWith is the id of the approval key that OpenedBy asked with; "" in rows of before it was recorded.
	OpenedWith string           `json:"opened_with,omitempty"`
	Ceremony   string           `json:"ceremony"`
	OpenedAt   time.Time        `json:"opened_at"`
	ExpiresAt  time.Time        `json:"expires_at"`
	Status     InvitationStatus `json:"status"`
	// What was handed in: public JWKs, and the envelope that proves possession of the approval key.
	ApprovalKey  json.RawMessage `json:"approval_key,omitempty"`
	ShareKey     json.RawMessage `json:"share_key,omitempty"`
	Envelope     json.RawMessage `json:"envelope,omitempty"`
	AnsweredAt   *time.Time      `json:"answered_at,omitempty"`
	AnsweredFrom string          `json:"answered_from,omitempty"` // network address
	EndedAt      *time.Time      `json:"ended_at,omitempty"`
	EndedBy      string          `json:"ended_by,omitempty"` // ceremony that used or withdrew it
}

// Pending says whether the invitation may still lead to something.
func (i *Invitation) Pending(now time.Time) bool {
	return i.Answerable(now) || i.Citable(now)
}

// Answerable says whether keys can be handed in.
func (i *Invitation) Answerable(now time.Time) bool {
	return i.Status == InvitationOpen && now.Before(i.ExpiresAt)
}

// Citable says whether a ceremony may take up what was handed in.
func (i *Invitation) Citable(now time.Time) bool {
	return i.Status == InvitationAnswered && i.AnsweredAt != nil && now.Before(i.AnsweredAt.Add(AnswerLife))
}

// Validate checks the row and names the first field that is wrong (*key.FieldError).
func (i *Invitation) Validate() error {
	checks := []error{
		key.CheckID("id", i.ID),
		key.CheckID("person", i.Person),
		key.CheckText("name", i.Name, 128, false),
		key.CheckRange("secret_hash", len(i.SecretHash), 32, 32, "bytes"),
		key.CheckOneOf("status", i.Status, InvitationOpen, InvitationAnswered, InvitationUsed, InvitationWithdrawn),
	}
	if !i.ExpiresAt.After(i.OpenedAt) || i.ExpiresAt.Sub(i.OpenedAt) > MaxInvitationHours*time.Hour {
		checks = append(checks, &key.FieldError{Field: "expires_at", Problem: "not within its bounds", Allowed: "after opened_at, by at most 14 days"})
	}
	return key.First(checks)
}

// Joining is what the invited signs with the new approval key: the proof that they hold its private part.
type Joining struct {
	Instance    string          `json:"instance"`
	Invitation  string          `json:"invitation"`
	Person      string          `json:"person"`
	ApprovalKey json.RawMessage `json:"approval_key"` // public JWK
	ShareKey    json.RawMessage `json:"share_key"`    // public JWK
}
