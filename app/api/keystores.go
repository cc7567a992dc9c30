package api

import (
	"encoding/json"
	"time"
)

// Keystores, and the nodes that reach them.
type (
	Keystore struct {
		ID           string `json:"id"`
		Driver       string `json:"driver"`
		Active       bool   `json:"active"`
		FIPS         string `json:"fips"` // "140-3 level 1, certificate 5247 (active)" or "no claim"
		Jurisdiction string `json:"jurisdiction"`
		Environment  string `json:"environment"`
		Custody      string `json:"custody"`
		Location     string `json:"location"`
		ShareSet     string `json:"share_set,omitempty"`
		Threshold    int    `json:"threshold,omitempty"`
		Total        int    `json:"total,omitempty"`
		Confirmed    int    `json:"confirmed,omitempty"`
		Simulated    bool   `json:"simulated,omitempty"`
		Status       string `json:"status"` // registered, retired, zeroised
		Controller   string `json:"controller"`
		// FIPSStandard to Tenancy are the governed facts, one by one; FIPS words what counts of them today.
		FIPSStandard      string `json:"fips_standard,omitempty"`
		FIPSLevel         int    `json:"fips_level"`
		Certificate       string `json:"certificate,omitempty"`
		CertificateStatus string `json:"certificate_status,omitempty"` // today, whatever was recorded
		CertificateFrom   string `json:"certificate_from,omitempty"`
		CertificateUntil  string `json:"certificate_until,omitempty"`
		Tenancy           string `json:"tenancy"`
		MaxKeys           int    `json:"max_keys,omitempty"`
		// Makes are the keys that its record lets be made; Offers those that its driver on this node makes.
		Makes  []string `json:"makes"`
		Offers []string `json:"offers,omitempty"`
		// Takes are the keys made elsewhere that it takes, by form: "wrapped", "components".
		Takes map[string][]string `json:"takes,omitempty"`
		// Beyond is what the record claims and the driver on this node does not prove.
		Beyond []string `json:"beyond,omitempty"`
		// Members of a group, in order of preference; MemberOf is the group that it is one of. Degraded counts the key
		// versions that not every serving member holds.
		Members     []GroupMember `json:"members,omitempty"`
		MemberOf    string        `json:"member_of,omitempty"`
		Degraded    int           `json:"degraded,omitempty"`
		ReadAtRest  string        `json:"read_at_rest"`
		ReadInUse   string        `json:"read_in_use"`
		GovRevision uint64        `json:"gov_revision"`
		// Token is the device that it is; none where its driver speaks to none.
		Token *Device `json:"token,omitempty"`
	}
	// GroupMember is one keystore of a group, as it stands on the node that answers.
	GroupMember struct {
		Keystore string    `json:"keystore"`
		State    string    `json:"state"` // serving, drained
		Since    time.Time `json:"since"`
		Active   bool      `json:"active"`
		Breaker  bool      `json:"breaker_open,omitempty"` // it failed too often just now and is left alone for a moment
		Holds    int       `json:"holds"`                  // key versions
		Lacks    int       `json:"lacks"`                  // key versions that it should hold
	}
	// Device is a token that is a keystore, as it was found when it was registered.
	Device struct {
		Module       string `json:"module"` // name in the nodes' configuration
		Label        string `json:"label"`
		Serial       string `json:"serial"`
		Manufacturer string `json:"manufacturer,omitempty"`
		Model        string `json:"model,omitempty"`
		Firmware     string `json:"firmware,omitempty"`
		// InitialisedAt and InitialisedBy say when and by which ceremony it was taken over; none: not yet.
		InitialisedAt *time.Time `json:"initialised_at,omitempty"`
		InitialisedBy string     `json:"initialised_by,omitempty"`
	}
	// Node is a machine that serves the instance, or did.
	Node struct {
		ID            string     `json:"id"`
		Key           string     `json:"key"` // RFC 7638 thumbprint of its public key
		Fingerprint   string     `json:"fingerprint"`
		Here          bool       `json:"here"` // it is the one that answers
		EnrolledAt    *time.Time `json:"enrolled_at,omitempty"`
		EnrolledBy    string     `json:"enrolled_by"` // ceremony, or "genesis"
		HandOver      bool       `json:"hand_over"`   // activation secrets may be handed to it
		RevokedAt     *time.Time `json:"revoked_at,omitempty"`
		RevokedBy     string     `json:"revoked_by,omitempty"`
		RevokedReason string     `json:"revoked_reason,omitempty"`
	}
	// NodeDocument is what a node signed: a list of nodes, or the keys of the instance for one of them.
	NodeDocument struct {
		Envelope json.RawMessage `json:"envelope"`
	}
	// Collector is the node's signed statement of its boot-time collector key.
	Collector struct {
		Envelope json.RawMessage `json:"envelope"` // DSSE by the node key over CollectorKey
	}
	CollectorKey struct {
		Instance string          `json:"instance"`
		Node     string          `json:"node"`
		Boot     string          `json:"boot"`
		Key      json.RawMessage `json:"key"` // P-256 public JWK
		At       time.Time       `json:"at"`
	}
)
