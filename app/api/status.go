package api

import "time"

// What the service says of itself.
type (
	// Status is what anybody may know of the service.
	Status struct {
		Instance     string     `json:"instance"`
		Name         string     `json:"name"`
		Mode         string     `json:"mode"`
		Node         string     `json:"node"`
		Version      string     `json:"version"`
		Ready        bool       `json:"ready"`
		Problems     []string   `json:"problems,omitempty"` // why not ready, or degraded
		FIPS         string     `json:"fips"`
		PolicyDigest string     `json:"policy_digest"`
		Keystores    []Keystore `json:"keystores,omitempty"` // only to authenticated callers
		LedgerSize   uint64     `json:"ledger_size"`
		LogKey       *LogKey    `json:"log_key,omitempty"` // only to authenticated callers
		Time         time.Time  `json:"time"`
	}
	// LogKey is the key that signs the ledger.
	LogKey struct {
		Key     string    `json:"key"` // note verifier key
		Since   time.Time `json:"since"`
		Until   time.Time `json:"until"` // the end of its cryptoperiod
		AgeDays int       `json:"age_days"`
		Due     []string  `json:"due,omitempty"` // why it should be replaced
	}
)
