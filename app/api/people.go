package api

import (
	"encoding/json"
	"time"
)

// People: what the register shows beyond a line, how people come into it, and what follows when they leave.
type (
	Person struct {
		ID             string     `json:"id"`
		Name           string     `json:"name"`
		StaffNumber    string     `json:"staff_number,omitempty"`
		Organisation   string     `json:"organisation,omitempty"`
		Until          *time.Time `json:"until,omitempty"` // when an engagement ends by itself
		Roles          []string   `json:"roles"`
		Groups         []string   `json:"groups,omitempty"`
		Team           string     `json:"team"`
		Site           string     `json:"site"`
		Manager        string     `json:"manager,omitempty"`
		Backup         string     `json:"backup,omitempty"` // who stands in for them
		Status         string     `json:"status"`
		AcknowledgedAt *time.Time `json:"acknowledged_at,omitempty"`
		AckExpiresAt   *time.Time `json:"acknowledgement_expires_at,omitempty"`
		LastActiveAt   *time.Time `json:"last_active_at,omitempty"` // give or take a day
		ApprovalKeyIDs []string   `json:"approval_key_ids"`         // of those that may sign
		// ShareKeyID and BackupShareKeyID name the keys that shares are sealed to.
		ShareKeyID       string       `json:"share_key_id,omitempty"`
		BackupShareKeyID string       `json:"backup_share_key_id,omitempty"`
		AddedAt          time.Time    `json:"added_at"`
		AddedBy          string       `json:"added_by"`
		SuspendedAt      *time.Time   `json:"suspended_at,omitempty"`
		SuspendedReason  string       `json:"suspended_reason,omitempty"`
		SuspendedBy      string       `json:"suspended_by,omitempty"`
		LeftAt           *time.Time   `json:"left_at,omitempty"`
		LeftReason       string       `json:"left_reason,omitempty"`
		Credentials      []Credential `json:"credentials,omitempty"` // all approval keys; of one person asked for alone
	}
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
