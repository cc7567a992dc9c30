package api

import "time"

type (
	// LogDay sums up the ledger's entries of a day, with the review it got.
	LogDay struct {
		Day        string         `json:"day"`
		From       uint64         `json:"from"` // first entry
		To         uint64         `json:"to"`   // behind the last
		Leaf       string         `json:"leaf,omitempty"`
		Entries    map[string]int `json:"entries"`
		Refused    int            `json:"refused"`
		Failed     int            `json:"failed"`
		Notable    []NotableEntry `json:"notable"`
		More       int            `json:"more"`
		MadeAt     time.Time      `json:"made_at"`
		DueAt      time.Time      `json:"due_at"`
		Late       bool           `json:"late"`
		Outcome    string         `json:"outcome,omitempty"` // of the review
		Note       string         `json:"note,omitempty"`
		ReviewedBy string         `json:"reviewed_by,omitempty"`
		ReviewedAt *time.Time     `json:"reviewed_at,omitempty"`
		Finding    string         `json:"finding,omitempty"`
		Ceremony   string         `json:"ceremony,omitempty"`
	}

	// NotableEntry is an entry of a day that somebody must look at.
	NotableEntry struct {
		Seq    uint64    `json:"seq"`
		At     time.Time `json:"at"`
		Type   string    `json:"type"`
		Target string    `json:"target"`
		Reason string    `json:"reason,omitempty"`
	}
)
