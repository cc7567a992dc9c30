package api

import "time"

// AuditRequest asks for something of the auditor's workspace. Which members count is said at the route.
type AuditRequest struct {
	Kind   string    `json:"kind,omitempty"`  // a population, as "key"
	ID     string    `json:"id,omitempty"`    // of the item
	Basis  string    `json:"basis,omitempty"` // "existing" (default) or "changed" in the period
	From   time.Time `json:"from,omitzero"`
	To     time.Time `json:"to,omitzero"` // none: up to the newest checkpoint
	Seed   string    `json:"seed,omitempty"`
	Want   int       `json:"want,omitempty"`   // items drawn
	After  string    `json:"after,omitempty"`  // id after which a list goes on
	Number string    `json:"number,omitempty"` // evidence number
	// Framework and On are of a look ahead: what is red now, and what will be on a day.
	Framework string    `json:"framework,omitempty"`
	On        time.Time `json:"on,omitzero"` // none: now
}
