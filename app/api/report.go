package api

import "time"

// ReportRequest asks for a report.
type ReportRequest struct {
	Framework string    `json:"framework,omitempty"` // "pci-dss-4.0.1"
	Register  string    `json:"register,omitempty"`  // instead of a framework: a list that judges nothing, as "architecture"
	From      time.Time `json:"from"`
	To        time.Time `json:"to,omitzero"` // none: now
}

// ReportJob is a report that is being made, or was.
type ReportJob struct {
	ID         string    `json:"id"`
	State      string    `json:"state"` // running, done, failed
	Format     string    `json:"format"`
	Stage      string    `json:"stage,omitempty"`
	Read       uint64    `json:"read"` // ledger entries
	Of         uint64    `json:"of"`
	Bytes      int64     `json:"bytes"`
	SHA256     string    `json:"sha256,omitempty"`
	Checkpoint uint64    `json:"checkpoint,omitempty"` // size of the ledger that it is of
	Error      string    `json:"error,omitempty"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
}
