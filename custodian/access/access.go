// Package access is who may use which key for what: applications, their tokens and grants. Values and
// rules only, no I/O.
package access

import "time"

// Operation is one data-plane operation a grant may allow.
type Operation string

const (
	DataKey Operation = "datakey" // make a data key, wrapped (protect)
	Encrypt Operation = "encrypt" // protect
	Decrypt Operation = "decrypt" // process
	Rewrap  Operation = "rewrap"  // process and protect, plaintext never leaves
	// With keys of other types than those that encrypt data:
	DataKeyPair     Operation = "datakeypair" // make a key pair, its private half wrapped (protect)
	Sign            Operation = "sign"        // protect
	VerifySignature Operation = "verify"      // process, by the public half
	MAC             Operation = "mac"         // protect
	VerifyMAC       Operation = "verify_mac"  // process
)

// Asked is which person asked for a row, and with which of their approval keys: what a stolen key left behind is found by
// it. Both are "" in rows that nobody asked for, and in those of before it was recorded.
type Asked struct {
	AskedBy   string `json:"asked_by,omitempty"`   // person id
	AskedWith string `json:"asked_with,omitempty"` // id of the approval key: RFC 7638 thumbprint
}

// Application is a workload. Row kind "application", id ID.
type Application struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Owner       string    `json:"owner"` // person id
	Environment string    `json:"environment"`
	Status      string    `json:"status"` // "active", "suspended"
	EnrolledAt  time.Time `json:"enrolled_at"`
	EnrolledBy  string    `json:"enrolled_by"` // ceremony id
	Asked
	SuspendedAt *time.Time `json:"suspended_at,omitempty"`
	Development bool       `json:"development,omitempty"`
}

// Token is a bearer credential "id.secret"; only SHA-256(secret) is kept. Row kind "token", id ID.
type Token struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`    // identity.Kind: "application" or "auditor"
	Subject    string    `json:"subject"` // application id, or person id of the auditor
	SecretHash []byte    `json:"secret_hash"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	CreatedBy  string    `json:"created_by"` // ceremony id
	Asked
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// Grant lets one application use one key. Row kind "grant", id ID.
type Grant struct {
	ID          string            `json:"id"`
	Application string            `json:"application"`
	Key         string            `json:"key"`
	Operations  []Operation       `json:"operations"`
	Context     map[string]string `json:"context,omitempty"` // required equal fields of the encryption context
	CreatedAt   time.Time         `json:"created_at"`
	ExpiresAt   time.Time         `json:"expires_at"`
	CreatedBy   string            `json:"created_by"`
	Asked
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}
