// Package statement makes and reads the exact bytes that people sign: statements about ceremonies, and
// requests to the API. A statement is canonical JSON (RFC 8785) in a DSSE envelope with one signature;
// the bytes signed are the bytes stored and shown, parsed once and strictly, never re-canonicalised.
// The formats are written down in docs/statement-format.md.
package statement

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"conclave/custodian/strictjson"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Version of the statement format.
const Version = 1

// Decision is what the signer says about the ceremony.
type Decision string

const (
	Approve     Decision = "approve"
	Reject      Decision = "reject"
	Acknowledge Decision = "acknowledge" // accepts a duty or reviews what one person did alone
	Attend      Decision = "attend"      // witnessed, without a vote
)

// Mode of the instance, chosen at genesis.
type Mode string

const (
	Production  Mode = "production"
	Development Mode = "development"
)

// Errors of statements. ErrField wraps every complaint about one field and is followed by its name.
var (
	ErrField       = errors.New("statement field")
	ErrExpired     = errors.New("expired")
	ErrNotYetValid = errors.New("issued in the future")
)

// Target is what the ceremony changes, at the governance revision the signer saw.
type Target struct {
	Type string // kind of authority row: "key", "keystore", …
	ID   string
	// GovRevision counts governed changes of the row (not its use); 0: it does not exist yet.
	GovRevision uint64
}

// Checkpoint is the ledger state the signer saw (RFC 6962: tree size and root hash).
type Checkpoint struct {
	Size uint64
	Root [32]byte
}

// Statement is everything that one signature covers.
type Statement struct {
	Instance   string // genesis digest
	Ceremony   string
	Operation  string
	Params     []byte // JSON object; Marshal brings it to canonical form, Parse returns it in that form
	Target     Target
	Policy     string // digest of the active policy bundle
	Checkpoint Checkpoint
	Requester  string // person id
	Signer     string // person id; the credential is the envelope's keyid
	Decision   Decision
	Nonce      string    // 22 or more base64url characters: see NewNonce
	IssuedAt   time.Time // UTC, milliseconds
	ExpiresAt  time.Time // exclusive
	Mode       Mode
}

// wire has the members of the JSON document.
type wire struct {
	Ceremony   string         `json:"ceremony"`
	Checkpoint wireCheckpoint `json:"checkpoint"`
	Decision   string         `json:"decision"`
	ExpiresAt  string         `json:"expires_at"`
	Instance   string         `json:"instance"`
	IssuedAt   string         `json:"issued_at"`
	Mode       string         `json:"mode"`
	Nonce      string         `json:"nonce"`
	Operation  string         `json:"operation"`
	Params     jsontext.Value `json:"params"`
	Policy     string         `json:"policy"`
	Requester  string         `json:"requester"`
	Signer     string         `json:"signer"`
	Target     wireTarget     `json:"target"`
	Version    int            `json:"v"`
}

type wireCheckpoint struct {
	Root string `json:"root"`
	Size uint64 `json:"size"`
}

type wireTarget struct {
	GovRevision uint64 `json:"gov_revision"`
	ID          string `json:"id"`
	Type        string `json:"type"`
}

// Marshal returns the bytes to sign: canonical JSON. Every field is checked first; the error names it.
func (s Statement) Marshal() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(wire{
		Ceremony:   s.Ceremony,
		Checkpoint: wireCheckpoint{Root: base64.StdEncoding.EncodeToString(s.Checkpoint.Root[:]), Size: s.Checkpoint.Size},
		Decision:   string(s.Decision),
		ExpiresAt:  formatTime(s.ExpiresAt),
		Instance:   s.Instance,
		IssuedAt:   formatTime(s.IssuedAt),
		Mode:       string(s.Mode),
		Nonce:      s.Nonce,
		Operation:  s.Operation,
		Params:     s.Params,
		Policy:     s.Policy,
		Requester:  s.Requester,
		Signer:     s.Signer,
		Target:     wireTarget{GovRevision: s.Target.GovRevision, ID: s.Target.ID, Type: s.Target.Type},
		Version:    Version,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding statement: %w", err)
	}
	return strictjson.Canonical(raw)
}

// Parse reads the bytes of a statement. It accepts exactly what Marshal produces: canonical, complete,
// every field within its rule.
func Parse(data []byte) (Statement, error) {
	if err := strictjson.CheckCanonical(data); err != nil {
		return Statement{}, fmt.Errorf("reading statement: %w", err)
	}
	if err := requireStatementMembers(data); err != nil {
		return Statement{}, fmt.Errorf("reading statement: %w", err)
	}
	var w wire
	if err := json.Unmarshal(data, &w, json.RejectUnknownMembers(true)); err != nil {
		return Statement{}, fmt.Errorf("reading statement: %w: %w", strictjson.ErrSyntax, err)
	}
	if w.Version != Version {
		return Statement{}, fmt.Errorf("%w v: %d, this build reads %d", ErrField, w.Version, Version)
	}
	s := Statement{
		Instance: w.Instance, Ceremony: w.Ceremony, Operation: w.Operation, Params: w.Params,
		Target:    Target{Type: w.Target.Type, ID: w.Target.ID, GovRevision: w.Target.GovRevision},
		Policy:    w.Policy,
		Requester: w.Requester, Signer: w.Signer, Decision: Decision(w.Decision),
		Nonce: w.Nonce, Mode: Mode(w.Mode),
	}
	var err error
	if s.IssuedAt, err = parseTime("issued_at", w.IssuedAt); err != nil {
		return Statement{}, err
	}
	if s.ExpiresAt, err = parseTime("expires_at", w.ExpiresAt); err != nil {
		return Statement{}, err
	}
	s.Checkpoint.Size = w.Checkpoint.Size
	if err := parseRoot(&s.Checkpoint.Root, w.Checkpoint.Root); err != nil {
		return Statement{}, err
	}
	if err := s.validate(); err != nil {
		return Statement{}, err
	}
	return s, nil
}

// ValidAt says whether the statement may be counted at now. skew is how far the signer's clock may run
// ahead of ours.
func (s Statement) ValidAt(now time.Time, skew time.Duration) error {
	if s.IssuedAt.After(now.Add(skew)) {
		return fmt.Errorf("statement of %s %w: issued at %s, now %s", s.Signer, ErrNotYetValid, formatTime(s.IssuedAt), formatTime(now))
	}
	if !now.Before(s.ExpiresAt) {
		return fmt.Errorf("statement of %s %w: at %s, now %s", s.Signer, ErrExpired, formatTime(s.ExpiresAt), formatTime(now))
	}
	return nil
}

// NewNonce returns 128 random bits as 22 base64url characters.
func NewNonce() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}
