package api

import "time"

// Backups, and recoveries from them.
type (
	BackupSchedule struct {
		ID           string `json:"id"`
		Directory    string `json:"directory"`
		EveryMinutes int    `json:"every_minutes"`
		Keep         int    `json:"keep"`
		ShareSet     string `json:"share_set"`
		Epoch        uint32 `json:"epoch"`
		KeyID        string `json:"key_id"`
		Status       string `json:"status"`
		DecidedBy    string `json:"decided_by"`
	}
	Backup struct {
		ID       string     `json:"id"`
		Schedule string     `json:"schedule"`
		File     string     `json:"file"`
		Bytes    int64      `json:"bytes"`
		SHA256   string     `json:"sha256"`
		Size     uint64     `json:"size"` // ledger entries
		Root     string     `json:"root"`
		Rows     uint64     `json:"rows"`
		ShareSet string     `json:"share_set"`
		Epoch    uint32     `json:"epoch"`
		Node     string     `json:"node"`
		At       time.Time  `json:"at"`
		Status   string     `json:"status"` // present, expired, deleted
		GoneAt   *time.Time `json:"gone_at,omitempty"`
		GoneBy   string     `json:"gone_by,omitempty"`
		DrillAt  *time.Time `json:"drill_at,omitempty"` // last restore test
	}
	// Recovery is one recovery epoch. Document is the row that the ledger binds, for whoever judges it.
	Recovery struct {
		ID           string    `json:"id"`
		Size         uint64    `json:"size"` // entries of the backup
		At           time.Time `json:"at"`
		People       []string  `json:"people"`
		Witnesses    []string  `json:"witnesses"`
		Restrictions []string  `json:"restrictions"`
		Deviations   []string  `json:"deviations"`
		Document     []byte    `json:"document"`
	}
)
