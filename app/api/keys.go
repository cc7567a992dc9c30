package api

import (
	"encoding/json"
	"time"
)

// Keys and how they came in.
type (
	Key struct {
		ID             string    `json:"id"`
		Label          string    `json:"label"`
		Type           string    `json:"type"`
		Algorithm      string    `json:"algorithm"` // what its versions are, e.g. "aes-256", "ecdsa-p256"
		Classification string    `json:"classification"`
		Impact         string    `json:"impact"`
		Frameworks     []string  `json:"frameworks,omitempty"`
		Jurisdiction   string    `json:"jurisdiction"`
		Environment    string    `json:"environment"`
		Owner          string    `json:"owner"`
		Keystore       string    `json:"keystore"`
		Origin         string    `json:"origin"` // of the current version: generated, imported-components, imported-wrapped
		State          string    `json:"state"`  // of the current version
		Current        uint32    `json:"current"`
		Versions       uint32    `json:"versions"`
		OUPEnd         time.Time `json:"oup_end"`
		CreatedAt      time.Time `json:"created_at"`
		CreatedBy      string    `json:"created_by"`
		GovRevision    uint64    `json:"gov_revision"`
	}
	Version struct {
		Version      uint32       `json:"version"`
		State        string       `json:"state"`
		Keystore     string       `json:"keystore"` // that it is in; those before a move stay where they are
		CheckValue   string       `json:"check_value"`
		Origin       string       `json:"origin"`           // generated, imported-components, imported-wrapped
		Import       *Import      `json:"import,omitempty"` // how it came in, where it was made elsewhere
		Algorithm    string       `json:"algorithm"`
		StrengthBits int          `json:"strength_bits"`
		FIPSClaim    string       `json:"fips_claim,omitempty"`
		GeneratedAt  time.Time    `json:"generated_at"`
		ActivationAt time.Time    `json:"activation_at"`
		OUPEnd       time.Time    `json:"oup_end"`
		RUPEnd       time.Time    `json:"rup_end"`
		History      []Transition `json:"history"`
		// Members of a keystore group that hold it, with the check value that each computed; Lacking are those that should.
		Members []MemberCopy `json:"members,omitempty"`
		Lacking []string     `json:"lacking,omitempty"`
		// Copies says of a destroyed version what is known of copies that still hold it: "copies outstanding", "no
		// copies known", or "copies not known: rows damaged".
		Copies string `json:"copies,omitempty"`
		// CountsAsCompromised: so many shares of its keystore were lost that they make a quorum.
		CountsAsCompromised bool `json:"counts_as_compromised,omitempty"`
	}
	MemberCopy struct {
		Keystore   string `json:"keystore"`
		CheckValue string `json:"check_value"`
	}
	// Import is what is on record about a version that was made elsewhere.
	Import struct {
		By            string            `json:"by"`       // who asked for it
		Ceremony      string            `json:"ceremony"` // that brought it in
		Inside        bool              `json:"inside"`   // the whole key was never outside the module
		Components    []ImportComponent `json:"components,omitempty"`
		WrappingKey   string            `json:"wrapping_key,omitempty"`
		TransportBits int               `json:"transport_bits,omitempty"` // strength of the wrapping key
		ConfirmedBy   string            `json:"confirmed_by,omitempty"`   // who compared the check value; none: it is not used
		ConfirmedAt   *time.Time        `json:"confirmed_at,omitempty"`
		ConfirmedIn   string            `json:"confirmed_in,omitempty"` // ceremony
	}
	ImportComponent struct {
		Custodian  string `json:"custodian"`
		CheckValue string `json:"check_value"`
	}
	// WrappingKey is a one-time pair that a key made elsewhere is wrapped for.
	WrappingKey struct {
		ID           string     `json:"id"`
		Keystore     string     `json:"keystore"`
		Algorithm    string     `json:"algorithm"`
		StrengthBits int        `json:"strength_bits"`
		CheckValue   string     `json:"check_value"`
		Status       string     `json:"status"` // open, used, expired, withdrawn
		CreatedAt    time.Time  `json:"created_at"`
		CreatedBy    string     `json:"created_by"`
		Ceremony     string     `json:"ceremony"`
		ExpiresAt    time.Time  `json:"expires_at"`
		UsedBy       string     `json:"used_by,omitempty"` // ceremony of the import
		EndedAt      *time.Time `json:"ended_at,omitempty"`
		DestroyedAt  *time.Time `json:"destroyed_at,omitempty"` // its private half
	}
	// WrappingKeyFile states the public half of one that is open: DSSE by the node key.
	WrappingKeyFile struct {
		Envelope json.RawMessage `json:"envelope"`
	}
	Transition struct {
		ID       string    `json:"id"`
		From     string    `json:"from,omitempty"`
		To       string    `json:"to"`
		At       time.Time `json:"at"`
		Actor    string    `json:"actor"`
		Ceremony string    `json:"ceremony,omitempty"`
		Reason   string    `json:"reason"`
	}
	// PublicKeys are the public halves of a pair's versions.
	PublicKeys struct {
		Key       string      `json:"key"`
		Algorithm string      `json:"algorithm"`
		Use       string      `json:"use"` // "signature" or "key-transport"
		Items     []PublicKey `json:"items"`
	}
	// PublicKey is one public half. State is its own: it verifies on after the private half was destroyed, until
	// RUPEnd, and nothing any more once it reads compromised or destroyed.
	PublicKey struct {
		Version      uint32          `json:"version"`
		State        string          `json:"state"`
		CheckValue   string          `json:"check_value"`
		ActivationAt time.Time       `json:"activation_at"`
		OUPEnd       time.Time       `json:"oup_end"`
		RUPEnd       time.Time       `json:"rup_end"`
		PEM          string          `json:"pem"` // SubjectPublicKeyInfo, RFC 7468
		JWK          json.RawMessage `json:"jwk"` // RFC 7517; kid is the thumbprint of RFC 7638
	}
)
