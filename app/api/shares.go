package api

import "time"

// Shares, and the sets that they are of.
type (
	// Share is a custodian's own sealed share and what is needed to prove it.
	Share struct {
		Set        string `json:"set"`
		Epoch      uint32 `json:"epoch"`
		Index      int    `json:"index"`
		Custodian  string `json:"custodian"`
		Status     string `json:"status"`
		InUse      bool   `json:"in_use,omitempty"` // of the epoch in force or pending of its set, and not lost
		Commitment []byte `json:"commitment"`
		Sealed     string `json:"sealed,omitempty"`    // only to its custodian
		Challenge  string `json:"challenge,omitempty"` // only to its custodian: sign it to confirm or drill
	}
	// ShareSet is how one keystore's secret is shared, now and after the cutover that is prepared.
	ShareSet struct {
		ID        string        `json:"id"`
		Keystore  string        `json:"keystore"`
		Status    string        `json:"status"` // "in force", "pending", "abandoned", "re-issued, 5 old shares unproven", …
		Epoch     uint32        `json:"epoch"`  // in force; 0 for none yet
		Threshold int           `json:"threshold"`
		Total     int           `json:"total"`
		Confirmed int           `json:"confirmed"`
		Lost      int           `json:"lost"`
		IssuedAt  time.Time     `json:"issued_at,omitzero"`
		Pending   *PendingEpoch `json:"pending,omitempty"`
		Old       []OldEpoch    `json:"old,omitempty"` // epochs no longer in force with shares not proven destroyed
		// ReplacedBy is the set that opens the keystore in this one's place.
		ReplacedBy string `json:"replaced_by,omitempty"`
	}
	// PendingEpoch waits for its confirmations and the cutover.
	PendingEpoch struct {
		Epoch     uint32    `json:"epoch"`
		Threshold int       `json:"threshold"`
		Total     int       `json:"total"`
		Confirmed int       `json:"confirmed"`
		Needed    int       `json:"needed"` // confirmations before the cutover
		IssuedAt  time.Time `json:"issued_at"`
		IssuedBy  string    `json:"issued_by"` // ceremony
	}
	OldEpoch struct {
		Epoch        uint32    `json:"epoch"`
		Threshold    int       `json:"threshold"`
		Unproven     int       `json:"unproven"`
		Opens        bool      `json:"opens"` // enough are unproven to open a copy of the database of that time
		SupersededAt time.Time `json:"superseded_at,omitzero"`
		Backups      int       `json:"backups"` // registered ones that may still exist and hold what it opens
	}
)
