// Package api is the wire: the JSON bodies of the HTTP API, shared by the server's handlers and the Go
// client so that the two cannot drift. Byte slices travel as standard base64. Values only.
package api

// Problem is an RFC 9457 problem. Type is "urn:conclave:problem:" + Code.
type Problem struct {
	Type      string   `json:"type"`
	Title     string   `json:"title"`
	Status    int      `json:"status"`
	Code      string   `json:"code"` // stable
	Detail    string   `json:"detail,omitempty"`
	Field     string   `json:"field,omitempty"`   // input errors: which field
	Allowed   string   `json:"allowed,omitempty"` // input errors: what is allowed
	Retryable bool     `json:"retryable"`
	Decision  string   `json:"decision,omitempty"` // open it with `conclave why`
	Request   string   `json:"request,omitempty"`
	Reasons   []Reason `json:"reasons,omitempty"` // development mode, and governed operations, only
	// Deleted says which ledger entries are gone, where that is the problem.
	Deleted *DeletedEntries `json:"deleted,omitempty"`
}

// CodeEntriesDeleted is the code of a problem whose Deleted says which ledger entries are gone.
const CodeEntriesDeleted = "entries_deleted"

// DeletedEntries are ledger entries that were deleted under retention, from ≤ seq < to.
type DeletedEntries struct {
	From     uint64 `json:"from"`
	To       uint64 `json:"to"`
	Ceremony string `json:"ceremony"` // that deleted them
}

// Reason is one reason of a policy decision.
type Reason struct {
	Code     string   `json:"code"`
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy,omitempty"`
	Controls []string `json:"controls,omitempty"`
	Rule     string   `json:"rule,omitempty"`
}
