package api

import "time"

// What is on record about keys beside the keys.
type (
	// Template lets keys within its bounds be made without another decision.
	Template struct {
		ID             string   `json:"id"`
		Label          string   `json:"label"`
		Type           string   `json:"type"`
		Algorithms     []string `json:"algorithms,omitempty"`
		Classification string   `json:"classification"`
		MaxImpact      string   `json:"max_impact"`
		Frameworks     []string `json:"frameworks,omitempty"`
		Jurisdictions  []string `json:"jurisdictions"`
		Environment    string   `json:"environment"`
		Keystores      []string `json:"keystores"`
		Owners         []string `json:"owners"`
		NamePrefix     string   `json:"name_prefix"`
		MaxOUPDays     int      `json:"max_oup_days"`
		MaxRUPDays     int      `json:"max_rup_days"`
		MaxRotateDays  int      `json:"max_rotate_days"`
		MaxKeys        int      `json:"max_keys"`
		Made           int      `json:"made"`
		Status         string   `json:"status"`
		ApprovedBy     string   `json:"approved_by"`
		GovRevision    uint64   `json:"gov_revision"`
	}
	// Asset is data under a key, or the statement that there is none.
	Asset struct {
		ID          string       `json:"id"`
		Label       string       `json:"label"`
		Location    string       `json:"location"`
		Key         string       `json:"key"`
		Owner       string       `json:"owner"`
		None        bool         `json:"none,omitempty"`
		Custody     []string     `json:"custody,omitempty"` // models that it lets its key be under
		Counts      []AssetCount `json:"counts"`
		Status      string       `json:"status"`
		Deleted     bool         `json:"deleted"`
		At          time.Time    `json:"at"`
		Signed      string       `json:"signed"` // ceremony of the last statement
		GovRevision uint64       `json:"gov_revision"`
	}
	// AssetCount is how many records stand under one version.
	AssetCount struct {
		Version   uint32 `json:"version"`
		Records   int64  `json:"records"`
		Rewrapped int64  `json:"rewrapped"`
	}
)

type (
	// Campaign is the work of protecting anew what is under one version of a key.
	Campaign struct {
		ID       string           `json:"id"`
		Key      string           `json:"key"`
		Version  uint32           `json:"version"`
		Cause    string           `json:"cause"`
		DueAt    time.Time        `json:"due_at"`
		Overdue  bool             `json:"overdue"`
		OpenedAt time.Time        `json:"opened_at"`
		OpenedBy string           `json:"opened_by"`
		ClosedAt *time.Time       `json:"closed_at,omitempty"`
		ClosedBy string           `json:"closed_by,omitempty"`
		AtStart  []CampaignTarget `json:"at_start"`
		Left     []string         `json:"left"` // in words; empty when it can be closed
		// What the ledger knows: ciphertexts rewrapped away from the version since the campaign began (whole days),
		// and when the version was last used.
		Rewrapped int64      `json:"rewrapped"`
		LastUse   *time.Time `json:"last_use,omitempty"`
	}
	// CampaignTarget is what an asset had under the version when the campaign began.
	CampaignTarget struct {
		Asset   string `json:"asset"`
		Records int64  `json:"records"`
	}
	// Exposure is who used one key version, and what is under it.
	Exposure struct {
		Key      string     `json:"key"`
		Version  uint32     `json:"version"`
		State    string     `json:"state"`
		Since    *time.Time `json:"since,omitempty"` // first day counted
		Through  uint64     `json:"through"`         // entries of the ledger that are counted
		Behind   uint64     `json:"behind"`          // entries not counted yet
		LastUse  *time.Time `json:"last_use,omitempty"`
		LastDone string     `json:"last_operation,omitempty"`
		Uses     []Usage    `json:"uses"`
		Assets   []Asset    `json:"assets"` // of the key, with counts by version
		Campaign string     `json:"campaign,omitempty"`
	}
	// Usage is what one caller did with the version.
	Usage struct {
		Actor     string    `json:"actor"`
		Operation string    `json:"operation"`
		Outcome   string    `json:"outcome"`
		Origin    string    `json:"origin"`
		Uses      int64     `json:"uses"`
		First     time.Time `json:"first"`
		Last      time.Time `json:"last"`
		FirstSeq  uint64    `json:"first_seq"`
		LastSeq   uint64    `json:"last_seq"`
	}
)
