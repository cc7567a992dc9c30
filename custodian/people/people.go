// Package people is the register of the humans answerable for keys: custodians, officers, witnesses,
// their credentials, invitations, acknowledgements and duties, their shares, and the custody log of physical forms. Values and
// rules only, no I/O.
package people

import (
	"encoding/json"
	"time"
)

// Role is what a person may do. A person may hold several.
type Role string

const (
	RoleCustodian       Role = "custodian"        // holds a share
	RoleSecurityOfficer Role = "security-officer" // approves releases, suspends
	RoleKeyManager      Role = "key-manager"      // proposes and runs key operations
	RoleKeyOwner        Role = "key-owner"        // grants use of the keys they own
	RoleWitness         Role = "witness"          // attends, signs what was seen
	RoleAuditor         Role = "auditor"          // reads evidence
	RoleAdministrator   Role = "administrator"    // leads ceremonies; may hold no share
)

// Status of a person.
type Status string

const (
	StatusActive    Status = "active"
	StatusSuspended Status = "suspended"
	StatusLeft      Status = "left"
)

// Person is one row of the register. Row id: ID.
type Person struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	StaffNumber string   `json:"staff_number,omitempty"`
	Roles       []Role   `json:"roles"`
	Groups      []string `json:"groups,omitempty"`
	Team        string   `json:"team"`
	Site        string   `json:"site"`
	Manager     string   `json:"manager,omitempty"` // person id, or a name outside the register
	// Backup is the person who stands in for them with every share that they hold: CheckBackups.
	Backup string `json:"backup,omitempty"`
	// Organisation is whom somebody from outside works for.
	Organisation string `json:"organisation,omitempty"`
	// Until ends an engagement by itself: from then on the person counts nowhere, whatever tokens they have. Only for
	// auditors, on whom no quorum of keys rests.
	Until  *time.Time `json:"until,omitempty"`
	Status Status     `json:"status"`
	// ApprovalKeys sign statements. Several belong to one person and count as one voice. Revoked ones stay, so that
	// what they signed before can be verified and nobody else ever brings them.
	ApprovalKeys []Credential `json:"approval_keys"`
	// ShareKey (P-256, ECDH) opens sealed shares.
	ShareKey   json.RawMessage `json:"share_key,omitempty"` // public JWK (RFC 7517)
	ShareKeyID string          `json:"share_key_id,omitempty"`
	// BackupShareKey opens them too: the private half is kept in a safe, so that a lost device is not a lost share.
	BackupShareKey   json.RawMessage `json:"backup_share_key,omitempty"` // public JWK
	BackupShareKeyID string          `json:"backup_share_key_id,omitempty"`
	FormerShareKeys  []string        `json:"former_share_keys,omitempty"` // thumbprints of those lost or replaced

	Acknowledgement *Acknowledgement `json:"acknowledgement,omitempty"`
	AddedAt         time.Time        `json:"added_at"`
	AddedBy         string           `json:"added_by"` // ceremony id, or "genesis"
	SuspendedAt     *time.Time       `json:"suspended_at,omitempty"`
	SuspendedReason string           `json:"suspended_reason,omitempty"`
	SuspendedBy     string           `json:"suspended_by,omitempty"` // person id of who suspended, "node:id" for the inactivity job
	// LeftAt, LeftReason and LeftBy record a departure. Who left stays in the register, so that their id is nobody else's.
	LeftAt      *time.Time `json:"left_at,omitempty"`
	LeftReason  string     `json:"left_reason,omitempty"`
	LeftBy      string     `json:"left_by,omitempty"`     // ceremony id
	Development bool       `json:"development,omitempty"` // demo data
}

// Credential is one public approval key.
type Credential struct {
	ID      string          `json:"id"`  // RFC 7638 SHA-256 thumbprint of Key, base64url
	Alg     string          `json:"alg"` // "ES256" or "EdDSA"
	Key     json.RawMessage `json:"key"` // public JWK
	AddedAt time.Time       `json:"added_at"`
	AddedBy string          `json:"added_by,omitempty"` // ceremony id; "" for the keys of genesis
	// Attested is how it was made sure that the key is this person's; nil for genesis, which attests for all.
	Attested      *Attestation `json:"attested,omitempty"`
	Revoked       bool         `json:"revoked,omitempty"`
	RevokedAt     *time.Time   `json:"revoked_at,omitempty"`
	RevokedBy     string       `json:"revoked_by,omitempty"` // person id of who revoked
	RevokedReason string       `json:"revoked_reason,omitempty"`
}

// Acknowledgement is a custodian's signed acceptance of duty (PCI DSS 4.0.1, 3.7.8).
type Acknowledgement struct {
	FormVersion string          `json:"form_version"`
	SignedAt    time.Time       `json:"signed_at"`
	ExpiresAt   time.Time       `json:"expires_at"` // at most AcknowledgementPeriod after SignedAt
	Envelope    json.RawMessage `json:"envelope"`   // DSSE over the statement
}

// Purpose of a share set: what its secret opens.
type Purpose string

const (
	PurposeKeystore Purpose = ""       // a keystore's activation secret
	PurposeBackup   Purpose = "backup" // the private half of a backup key
)

// ShareSet is how one secret is split. Row id: ID.
type ShareSet struct {
	ID        string    `json:"id"`
	Purpose   Purpose   `json:"purpose,omitempty"`
	Keystore  string    `json:"keystore"`  // "" for purposes without one
	Threshold int       `json:"threshold"` // m
	Total     int       `json:"total"`     // n
	Epoch     uint32    `json:"epoch"`     // epoch in force, from 1; 0 while the first one is pending
	Scheme    string    `json:"scheme"`    // "ISO/IEC 19592-2 Shamir GF(256)"
	RNG       string    `json:"rng"`       // generator the polynomials came from
	Module    string    `json:"module"`    // splitting library and version
	IssuedAt  time.Time `json:"issued_at"`
	// Pending is the epoch that was issued to follow this one and has not been cut over to.
	Pending *PendingEpoch `json:"pending,omitempty"`
	// LastEpoch is the highest number that was ever issued, where it is not Epoch: the number of an epoch that
	// was abandoned is never used again.
	LastEpoch uint32 `json:"last_epoch,omitempty"`
	// Past are the epochs that were in force before, oldest first.
	Past []PastEpoch `json:"past,omitempty"`
	// ReplacedBy is the set that opens the keystore in this one's place; "" while this one does, or may come to.
	ReplacedBy string `json:"replaced_by,omitempty"`
}

// PendingEpoch is an epoch whose shares are out and whose secret opens nothing yet.
type PendingEpoch struct {
	Epoch     uint32    `json:"epoch"`
	Threshold int       `json:"threshold"`
	Total     int       `json:"total"`
	Scheme    string    `json:"scheme"`
	RNG       string    `json:"rng"`
	Module    string    `json:"module"`
	IssuedAt  time.Time `json:"issued_at"`
	IssuedBy  string    `json:"issued_by"` // ceremony id
	// Verifier is what the keystore's record will hold after the cutover; opaque, safe in the clear.
	Verifier []byte `json:"verifier"`
}

// PastEpoch is an epoch that is no longer in force. Its shares open copies of the database that were made before
// it was superseded.
type PastEpoch struct {
	Epoch        uint32    `json:"epoch"`
	Threshold    int       `json:"threshold"`
	Total        int       `json:"total"`
	IssuedAt     time.Time `json:"issued_at"`
	SupersededAt time.Time `json:"superseded_at"`
	SupersededBy string    `json:"superseded_by"` // ceremony id
}

// ShareStatus of one share.
type ShareStatus string

const (
	ShareIssued     ShareStatus = "issued"
	ShareConfirmed  ShareStatus = "confirmed"
	ShareLost       ShareStatus = "lost"       // reported so by its holder, whatever its epoch
	ShareRetired    ShareStatus = "retired"    // of an epoch that never came into force: it opens nothing
	ShareSuperseded ShareStatus = "superseded" // of an epoch that is no longer in force: it opens old copies of the database
	ShareDestroyed  ShareStatus = "destroyed"  // proven by its holder before a witness
)

// Share is the register's line for one share; never the share itself. Row id: ShareID(set, epoch, index).
type Share struct {
	Set         string      `json:"set"`
	Epoch       uint32      `json:"epoch"`
	Index       int         `json:"index"` // 1…n
	Custodian   string      `json:"custodian"`
	Commitment  []byte      `json:"commitment"` // public key derived from the share (package shamir)
	Sealed      string      `json:"sealed"`     // JWE, compact or JSON serialisation, to the custodian's share key
	Status      ShareStatus `json:"status"`
	IssuedAt    time.Time   `json:"issued_at"`
	ConfirmedAt *time.Time  `json:"confirmed_at,omitempty"`
	DrilledAt   *time.Time  `json:"drilled_at,omitempty"`
	MovedAt     *time.Time  `json:"moved_at,omitempty"` // sealed anew by its holder, to other keys
	LostAt      *time.Time  `json:"lost_at,omitempty"`
	Exposed     bool        `json:"exposed,omitempty"` // lost, and somebody else may have seen it
	DestroyedAt *time.Time  `json:"destroyed_at,omitempty"`
}
