package api

import (
	"encoding/json"
	"time"
)

// People: what the register shows beyond a line, how people come into it, and what follows when they leave.
type (
	// Credential is one approval key of a person.
	Credential struct {
		ID            string     `json:"id"`
		Alg           string     `json:"alg"`
		Fingerprint   string     `json:"fingerprint"`
		AddedAt       time.Time  `json:"added_at"`
		AddedBy       string     `json:"added_by,omitempty"` // ceremony
		Compared      string     `json:"compared,omitempty"` // how its fingerprint was compared, and by whom
		ComparedBy    string     `json:"compared_by,omitempty"`
		RevokedAt     *time.Time `json:"revoked_at,omitempty"`
		RevokedBy     string     `json:"revoked_by,omitempty"`
		RevokedReason string     `json:"revoked_reason,omitempty"`
	}
	// KeyInvitation lets a person hand in public keys. Its secret is not part of it.
	KeyInvitation struct {
		ID                  string          `json:"id"`
		Instance            string          `json:"instance,omitempty"` // to the invited alone
		Person              string          `json:"person"`
		Name                string          `json:"name"`
		Status              string          `json:"status"`
		OpenedBy            string          `json:"opened_by"`
		OpenedAt            time.Time       `json:"opened_at"`
		ExpiresAt           time.Time       `json:"expires_at"`
		ApprovalKey         json.RawMessage `json:"approval_key,omitempty"`
		ShareKey            json.RawMessage `json:"share_key,omitempty"`
		ApprovalFingerprint string          `json:"approval_fingerprint,omitempty"`
		ShareFingerprint    string          `json:"share_fingerprint,omitempty"`
		AnsweredAt          *time.Time      `json:"answered_at,omitempty"`
		AnsweredFrom        string          `json:"answered_from,omitempty"`
		EndedAt             *time.Time      `json:"ended_at,omitempty"`
		EndedBy             string          `json:"ended_by,omitempty"`
	}
	// InvitationAnswer is what an invited person hands in.
	InvitationAnswer struct {
		Envelope json.RawMessage `json:"envelope"` // DSSE over the public keys, by the approval key among them
	}
	// Duty is one line of what must follow from a departure or a lost device.
	Duty struct {
		ID          string     `json:"id"`
		Kind        string     `json:"kind"`
		Person      string     `json:"person"`
		Cause       string     `json:"cause"`
		Subject     string     `json:"subject,omitempty"`
		Task        string     `json:"task"`
		Control     string     `json:"control,omitempty"`
		OpenedAt    time.Time  `json:"opened_at"`
		OpenedBy    string     `json:"opened_by"`
		DueAt       time.Time  `json:"due_at"`
		Overdue     bool       `json:"overdue,omitempty"`
		Outstanding []string   `json:"outstanding,omitempty"` // what the facts still show, at most 100
		ClosedAt    *time.Time `json:"closed_at,omitempty"`
		ClosedBy    string     `json:"closed_by,omitempty"`
		Finding     string     `json:"finding,omitempty"`
	}
	// Alert is something that a person should look at.
	Alert struct {
		Kind     string `json:"kind"`
		Key      string `json:"key,omitempty"`
		Version  uint32 `json:"version,omitempty"`
		Keystore string `json:"keystore,omitempty"`
		Person   string `json:"person,omitempty"`
		Duty     string `json:"duty,omitempty"`
		Set      string `json:"share_set,omitempty"`
		Days     int    `json:"days,omitempty"` // the warning step reached
		Message  string `json:"message"`
	}
)
