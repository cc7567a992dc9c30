package api

import "time"

// What is on record about keys beside the keys.
type (
	// Template lets keys within its bounds be made without another decision.
	Template struct {
		ID             string   `json:"id"`
		Label          string   `json:"label"`
		Type           string   `json:"type"`
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
