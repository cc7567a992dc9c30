package key

import "time"

// Campaign is the work of protecting anew what stands under one version of a key. Row kind "campaign", id ID.
// What is left is never stored: it is what the assets' signed counts say.
type Campaign struct {
	ID          string           `json:"id"`
	Key         string           `json:"key"`
	Version     uint32           `json:"version"` // that is to go
	Cause       string           `json:"cause"`
	DueAt       time.Time        `json:"due_at"`
	OpenedAt    time.Time        `json:"opened_at"`
	OpenedBy    string           `json:"opened_by"` // ceremony
	AtStart     []CampaignTarget `json:"at_start,omitempty"`
	ClosedAt    *time.Time       `json:"closed_at,omitempty"`
	ClosedBy    string           `json:"closed_by,omitempty"`
	GovRevision uint64           `json:"gov_revision"`
}

// CampaignTarget is what an asset had under the version when the campaign began.
type CampaignTarget struct {
	Asset   string `json:"asset"`
	Records int64  `json:"records"`
}

// Causes of a campaign.
const (
	CauseRotation   = "rotation"
	CauseCompromise = "compromise"
	CauseMove       = "move"
)
