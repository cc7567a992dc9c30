// Package key is the record of keys, their versions and the keystores they live in, with the life cycle
// of NIST SP 800-57 Part 1 section 7 as tables; of templates, data under keys, campaigns and controlled uses. Values
// and rules only, no I/O.
package key

import (
	"time"

	"conclave/hsm"
)

// State of a key version (SP 800-57 Part 1 Rev 5, section 7).
type State string

const (
	PreActivation State = "pre-activation"
	Active        State = "active"
	Suspended     State = "suspended"
	Deactivated   State = "deactivated"
	Compromised   State = "compromised"
	Destroyed     State = "destroyed"
)

// Classification of the data a key protects; it decides placement and quorum.
type Classification string

const (
	Public         Classification = "public"
	Internal       Classification = "internal"
	Confidential   Classification = "confidential"
	Restricted     Classification = "restricted"
	CardholderData Classification = "cardholder-data" // PCI DSS account data
	EPHI           Classification = "ephi"            // HIPAA electronic protected health information
)

// Impact is the FIPS 199 potential impact: the high-water mark of confidentiality, integrity, availability.
type Impact string

const (
	Low      Impact = "low"
	Moderate Impact = "moderate"
	High     Impact = "high"
)

// Key is one named long-lived key. Row kind "key", id ID.
type Key struct {
	ID             string         `json:"id"`
	Label          string         `json:"label"`
	Type           Type           `json:"type"`
	Spec           hsm.Spec       `json:"spec,omitempty"` // see Specification
	Classification Classification `json:"classification"`
	Impact         Impact         `json:"impact"`
	Frameworks     []string       `json:"frameworks,omitempty"` // "pci-dss", "hipaa"
	Jurisdiction   string         `json:"jurisdiction"`         // ISO 3166-1 alpha-2 or a region policy knows, e.g. "EU"
	Environment    string         `json:"environment"`          // "production", "test"
	Owner          string         `json:"owner"`                // person id
	Purpose        string         `json:"purpose,omitempty"`
	Keystore       string         `json:"keystore"`
	Origin         string         `json:"origin"`       // of the version made last; see Origins
	OUPDays        int            `json:"oup_days"`     // originator usage period, days
	RUPDays        int            `json:"rup_days"`     // recipient usage period, days from activation
	RotateDays     int            `json:"rotate_days"`  // scheduled rotation after so many days; ≤ OUPDays
	Current        uint32         `json:"current"`      // version that protects
	Versions       uint32         `json:"versions"`     // versions made so far
	GovRevision    uint64         `json:"gov_revision"` // changes with every governed change, never by use
	CreatedAt      time.Time      `json:"created_at"`
	CreatedBy      string         `json:"created_by"`         // ceremony id
	Template       string         `json:"template,omitempty"` // under which it was made without a quorum of its own
	Development    bool           `json:"development,omitempty"`
	// Custody models that its owner lets it be under; none: whatever its class accepts.
	Custody []hsm.CustodyModel `json:"custody,omitempty"`
}

// Specification is what the versions of the key are. A record from before there was more than one kind names none
// and is AES-256.
func (k *Key) Specification() hsm.Spec { return hsm.Material{Spec: k.Spec}.Specification() }

// Transition is one line of a version's history; append-only. Suspected and ReviewBy belong to T7 alone.
type Transition struct {
	ID        string     `json:"id"` // "T1"…"T15", "A1"
	From      State      `json:"from,omitempty"`
	To        State      `json:"to"`
	At        time.Time  `json:"at"`
	Actor     string     `json:"actor"`
	Ceremony  string     `json:"ceremony,omitempty"`
	Reason    string     `json:"reason"`
	Suspected bool       `json:"suspected,omitempty"` // compromise is suspected
	ReviewBy  *time.Time `json:"review_by,omitempty"` // latest review of the suspension
}

// Version is one generation of a key's material. Row kind "key_version", id VersionID(key, n).
type Version struct {
	Key                      string        `json:"key"`
	Version                  uint32        `json:"version"`
	Type                     Type          `json:"type"` // of the key; decides what the end of the OUP brings
	State                    State         `json:"state"`
	Keystore                 string        `json:"keystore"`
	Spec                     hsm.Spec      `json:"spec,omitempty"`   // see Specification
	Public                   []byte        `json:"public,omitempty"` // public half of a pair, SubjectPublicKeyInfo; kept when destroyed
	Material                 hsm.Material  `json:"material"`         // zero when destroyed
	Algorithm                hsm.Algorithm `json:"algorithm"`        // how it seals; 0 for keys that do not
	StrengthBits             int           `json:"strength_bits"`
	CheckValue               string        `json:"check_value"`
	Module                   string        `json:"module"`
	RNG                      string        `json:"rng"`        // generator, ElsewhereRNG for imported material
	FIPSClaim                string        `json:"fips_claim"` // "" or e.g. "140-3 level 1 #5247"
	GeneratedAt              time.Time     `json:"generated_at"`
	ActivationAt             time.Time     `json:"activation_at"`
	OUPEnd                   time.Time     `json:"oup_end"`
	RUPEnd                   time.Time     `json:"rup_end"`
	SuspendedAt              *time.Time    `json:"suspended_at,omitempty"`
	Suspected                bool          `json:"suspected,omitempty"` // suspended on suspicion of compromise
	ReviewBy                 *time.Time    `json:"review_by,omitempty"`
	DestroyedAt              *time.Time    `json:"destroyed_at,omitempty"`
	CompromisedBeforeDestroy bool          `json:"compromised_before_destroy,omitempty"`
	History                  []Transition  `json:"history"`
	Import                   *Import       `json:"import,omitempty"` // nil: generated in its keystore
}

// Specification is what the version is, as for a key.
func (v *Version) Specification() hsm.Spec { return hsm.Material{Spec: v.Spec}.Specification() }

// AlgorithmName names what the version does its work by, for records and reports.
func (v *Version) AlgorithmName() string {
	if spec := v.Specification(); spec.Kind() != hsm.Seals {
		return string(spec)
	}
	return v.Algorithm.String()
}

// Keystore is the governed record of one keystore. Row kind "keystore", id ID.
type Keystore struct {
	ID                string           `json:"id"`
	Driver            string           `json:"driver"`
	Make              string           `json:"make,omitempty"`
	Model             string           `json:"model,omitempty"`
	FIPSStandard      string           `json:"fips_standard,omitempty"`
	FIPSLevel         int              `json:"fips_level"`
	Certificate       string           `json:"certificate,omitempty"`
	CertificateStatus string           `json:"certificate_status,omitempty"` // "active", "historical", "revoked", ""; see StatusAt
	CertificateFrom   time.Time        `json:"certificate_from,omitzero"`    // day of the validation; zero: not recorded
	CertificateUntil  time.Time        `json:"certificate_until,omitzero"`   // sunset: historical from then on; zero: none recorded
	Custody           hsm.CustodyModel `json:"custody"`
	Tenancy           string           `json:"tenancy,omitempty"` // "single", "multi", ""; see Tenants
	Jurisdiction      string           `json:"jurisdiction"`
	Environment       string           `json:"environment"`
	Location          string           `json:"location"`
	Controller        string           `json:"controller"` // person id answerable for it
	ShareSet          string           `json:"share_set,omitempty"`
	Capabilities      hsm.Capabilities `json:"capabilities"`
	Status            string           `json:"status"` // "registered", "retired", "zeroised"
	// Simulated: a simulator of a device. Its claims count in development only.
	Simulated bool `json:"simulated,omitempty"`
	// MaxKeys bounds the key versions with material in it; 0: no bound.
	MaxKeys     int    `json:"max_keys,omitempty"`
	GovRevision uint64 `json:"gov_revision"`
	// Verifier is driver data that tells a right activation secret from a wrong one; opaque, safe in the clear.
	Verifier     []byte    `json:"verifier,omitempty"`
	RegisteredAt time.Time `json:"registered_at"`
	RegisteredBy string    `json:"registered_by"`
	RetiredAt    time.Time `json:"retired_at,omitzero"`
	// Token is the device that the keystore is; nil where its driver speaks to none.
	Token *Token `json:"token,omitempty"`
	// SecretExposed is set once so many shares of one epoch are out of control that they make a quorum.
	SecretExposed *Exposure `json:"secret_exposed,omitempty"`
	// Group is set where the keystore is several others together, MemberOf where it is one of those: then it takes no keys
	// by itself.
	Group    *Group `json:"group,omitempty"`
	MemberOf string `json:"member_of,omitempty"`
}

// Token is a device that is a keystore.
type Token struct {
	Module        string     `json:"module"` // name of the library that speaks to it, which each node's configuration has
	Device        hsm.Device `json:"device"`
	InitialisedAt *time.Time `json:"initialised_at,omitempty"` // nil: not taken over yet
	InitialisedBy string     `json:"initialised_by,omitempty"` // ceremony
}

// Exposure says that a keystore's activation secret counts as known to others.
type Exposure struct {
	Set      string     `json:"set"`
	Epoch    uint32     `json:"epoch"`
	Shares   int        `json:"shares"` // out of control
	At       time.Time  `json:"at"`
	Ceremony string     `json:"ceremony"`        // whose report made it a quorum
	Until    *time.Time `json:"until,omitempty"` // when the secret was replaced
}

// CountsAsCompromised reports whether a version must be treated as compromised because its keystore's secret was
// exposed while it was wrapped under it: every version made before the secret was replaced. Its state is for people to
// change (key.compromise).
func (s *Keystore) CountsAsCompromised(v *Version) bool {
	x := s.SecretExposed
	return x != nil && v.In(s.ID) && v.State.HasMaterial() && (x.Until == nil || v.GeneratedAt.Before(*x.Until))
}
