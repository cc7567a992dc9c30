package api

import "encoding/json"

// What people ask for and decide. A Ceremony on the wire is ceremony.Ceremony's own JSON.
type (
	ProposeRequest struct {
		Operation string          `json:"operation"`
		Params    json.RawMessage `json:"params"`
		Reason    string          `json:"reason"`
	}
	// ProposeResponse carries the ceremony and, once and never again, a secret it delivered.
	ProposeResponse struct {
		Ceremony json.RawMessage `json:"ceremony"`
		Once     string          `json:"once,omitempty"` // e.g. a token, shown this one time
	}
	// StatementResponse holds the exact bytes the caller would sign for a decision.
	StatementResponse struct {
		Payload []byte `json:"payload"`
	}
	VoteRequest struct {
		Envelope json.RawMessage `json:"envelope"` // DSSE over the statement
	}
	ShareSubmission struct {
		Envelope json.RawMessage `json:"envelope"` // the holder's signed approval (decision "approve")
		Sealed   string          `json:"sealed"`   // JWE of the encoded share, to the collector key
	}
	ComponentSubmission struct {
		Envelope json.RawMessage `json:"envelope,omitempty"` // the custodian's signed approval, where not given before
		Sealed   string          `json:"sealed"`             // JWE of the encoded component, to the collector key
	}
	CancelRequest struct {
		Reason string `json:"reason"`
	}
)
