package api

import (
	"encoding/json"
	"time"
)

// Policy bundles: kept, proposed, tried.
type (
	// BundleUpload hands a signed bundle in. Archive is a tar, compressed by gzip or not.
	BundleUpload struct {
		Envelope json.RawMessage `json:"envelope"` // DSSE, by the bundle's author
		Archive  []byte          `json:"archive"`
	}
	PolicyBundle struct {
		Digest  string        `json:"digest"`
		Name    string        `json:"name"`
		State   string        `json:"state"` // in-force, was-in-force, proposed
		Signer  string        `json:"signer,omitempty"`
		AddedBy string        `json:"added_by"`
		AddedAt time.Time     `json:"added_at"`
		Files   int           `json:"files"`
		Bytes   int           `json:"bytes"`
		Check   *BundleCheck  `json:"check,omitempty"`
		Terms   []PolicyTerm  `json:"terms"`
		Tried   *BacktestSums `json:"backtest,omitempty"` // what its back-test found, as a proposal of it must repeat
	}
	BundleCheck struct {
		Tests    int      `json:"tests"`
		Coverage int      `json:"coverage,omitempty"`
		Probes   int      `json:"probes"`
		Findings []string `json:"findings,omitempty"`
	}
	PolicyTerm struct {
		Number    uint64     `json:"number"`
		From      time.Time  `json:"from"`
		Until     *time.Time `json:"until,omitempty"`
		Ceremony  string     `json:"ceremony"`
		Operation string     `json:"operation"`
	}
	// PolicyBundles is every bundle that is kept, and which was in force when.
	PolicyBundles struct {
		InForce string         `json:"in_force"`
		Problem string         `json:"problem,omitempty"` // why it cannot be used
		Items   []PolicyBundle `json:"items"`
		History []PolicySpell  `json:"history"`
	}
	PolicySpell struct {
		Digest string `json:"digest"`
		PolicyTerm
	}
	// PolicyChange is one difference between two bundles.
	PolicyChange struct {
		File   string `json:"file"`
		At     string `json:"at,omitempty"`
		Before string `json:"before,omitempty"`
		After  string `json:"after,omitempty"`
	}
	BundleDetail struct {
		Bundle  PolicyBundle   `json:"bundle"`
		Changes []PolicyChange `json:"changes"` // against the bundle in force
	}
	BacktestSums struct {
		Decisions    int    `json:"decisions"`
		NewlyDenied  int    `json:"newly_denied"`
		NewlyAllowed int    `json:"newly_allowed"`
		Unanswered   int    `json:"unanswered"`
		Placements   int    `json:"placements"`
		Lifecycles   int    `json:"lifecycles"`
		Quorums      int    `json:"quorums"`
		ReportSHA256 string `json:"report_sha256"`
	}
	BacktestProgress struct {
		Bundle    string     `json:"bundle"`
		State     string     `json:"state"` // running, done, failed, cancelled
		Phase     string     `json:"phase"`
		Read      uint64     `json:"read"`
		Of        uint64     `json:"of"`
		Groups    int        `json:"groups"`
		AskedBy   string     `json:"asked_by"`
		StartedAt time.Time  `json:"started_at"`
		EndedAt   *time.Time `json:"ended_at,omitempty"`
		Problem   string     `json:"problem,omitempty"`
	}
	// Backtest is how the trial of a bundle stands, and its report once there is one. Report is the exact bytes that
	// the digest in the summary is over.
	Backtest struct {
		Progress *BacktestProgress `json:"progress,omitempty"` // on this node, since it started
		Against  string            `json:"against,omitempty"`
		Summary  *BacktestSums     `json:"summary,omitempty"`
		Report   []byte            `json:"report,omitempty"`
	}
	ExplainRequest struct {
		Point string          `json:"point"` // authorise, place, quorum, lifecycle
		Input json.RawMessage `json:"input"`
	}
	ExplainResponse struct {
		Decision json.RawMessage `json:"decision"`
		Trace    string          `json:"trace"`
	}
	// Decision is what `conclave why` shows.
	Decision struct {
		ID         string          `json:"id"`
		Seq        uint64          `json:"seq"`
		At         time.Time       `json:"at"`
		Type       string          `json:"type"`
		Actor      string          `json:"actor"`
		Origin     string          `json:"origin"`
		Target     string          `json:"target"`
		Outcome    string          `json:"outcome"`
		Code       string          `json:"code,omitempty"`
		ReasonCode string          `json:"reason_code,omitempty"` // why the caller did it, in their words of the table
		Breakglass string          `json:"breakglass,omitempty"`  // ceremony that opened the emergency access used
		Reasons    []Reason        `json:"reasons,omitempty"`
		Policy     string          `json:"policy"`
		Entry      json.RawMessage `json:"entry,omitempty"`
		Inclusion  []string        `json:"inclusion,omitempty"` // base64 hashes, RFC 6962
		Checkpoint string          `json:"checkpoint,omitempty"`
	}
)
