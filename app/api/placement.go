package api

import "encoding/json"

// Where a key may live, and what would change if something else did.
type (
	// PlaceRequest asks about a key that is there (key, and nothing else), or about one that might be.
	PlaceRequest struct {
		Key            string   `json:"key,omitempty"`
		Classification string   `json:"classification,omitempty"`
		Impact         string   `json:"impact,omitempty"`
		Frameworks     []string `json:"frameworks,omitempty"`
		Jurisdiction   string   `json:"jurisdiction,omitempty"`
		Environment    string   `json:"environment,omitempty"`
		Custody        string   `json:"custody,omitempty"`
		Algorithm      string   `json:"algorithm,omitempty"` // none: aes-256
	}
	PlaceResponse struct {
		Candidates   []PlaceCandidate `json:"candidates"`  // best first
		BestFirst    string           `json:"best_first"`  // what best means
		LeastLevel   int              `json:"least_level"` // FIPS level that the key needs; 0 for none
		Validated    bool             `json:"validated"`   // a module with a certificate in force is needed
		PolicyDigest string           `json:"policy_digest"`
		// Models says for every custody model who can read a key under it, in a device and as a stored, wrapped key.
		Models []CustodyModel `json:"custody_models"`
	}
	PlaceCandidate struct {
		Keystore       string   `json:"keystore"`
		Allowed        bool     `json:"allowed"`
		Home           bool     `json:"home,omitempty"` // new versions of the key that was asked about are made here
		EffectiveLevel int      `json:"effective_level"`
		FIPS           string   `json:"fips"`
		Custody        string   `json:"custody"`
		Tenancy        string   `json:"tenancy"`
		Active         bool     `json:"active"`
		ReadAtRest     string   `json:"read_at_rest"` // who can read the key at rest
		ReadInUse      string   `json:"read_in_use"`
		Reasons        []Reason `json:"reasons,omitempty"`
		// Exceptions in force that bear on it; an allow may rest on them.
		Exceptions []string `json:"exceptions,omitempty"`
	}
	CustodyModel struct {
		Model      string `json:"model"`
		StoresKeys bool   `json:"stores_keys"`
		ReadAtRest string `json:"read_at_rest"`
		ReadInUse  string `json:"read_in_use"`
	}
	// WhatIfRequest supposes one change: parameters of keystore.alter, of key.reclassify, or a stored bundle's digest.
	WhatIfRequest struct {
		Keystore json.RawMessage `json:"keystore,omitempty"`
		Key      json.RawMessage `json:"key,omitempty"`
		Bundle   string          `json:"bundle,omitempty"`
	}
	WhatIf struct {
		Stranded int            `json:"stranded"`        // keys that would not be let stay, and are now
		NoNew    int            `json:"no_new_versions"` // keys that would stay without new versions, and get them now
		Changes  []WhatIfChange `json:"changes"`         // at most 200 groups of keys that stand otherwise, the worst first
		More     int            `json:"more,omitempty"`  // further groups
	}
	WhatIfChange struct {
		Facts    string   `json:"facts"`
		Keystore string   `json:"keystore"`
		Count    int      `json:"count"`
		Keys     []string `json:"keys"` // at most 100
		Before   string   `json:"before"`
		After    string   `json:"after"`
		State    string   `json:"state"` // fits, stays, stranded
		Worse    bool     `json:"worse"`
		MayLive  []string `json:"may_live"`
		Reasons  []Reason `json:"reasons,omitempty"`
	}
)
