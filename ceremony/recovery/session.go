// Package recovery restores an instance from a backup where none is left. One person opens a session; custodians and
// a witness sign exactly that restore, each on their own machine, and custodians send their share of the backup key
// sealed to the session; then the ledger is restored, verified whole, and begins a recovery epoch that says what was
// lost and applies again what had restricted. docs/backup-format.md.
package recovery

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/statement"
	"conclave/custodian/backup"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/custodian/strictjson"
)

// Operations that a session is for, as policy names them.
const (
	OperationRestore = "restore"
	OperationOpen    = "backup.open" // a drill into a scratch instance
)

// Bounds of a session (ours).
const (
	// Life is how long contributions can be given and used.
	Life = 7 * 24 * time.Hour
	// maxSession bounds a session's bytes: the manifest with all sealed shares, and room.
	maxSession = 8 << 20
)

// Reasons why a session or what was given for it is refused.
var (
	ErrSession = errors.New("not a restore session")
	ErrExpired = errors.New("restore session has expired: begin a new one")
	ErrOther   = errors.New("belongs to another restore session")
	ErrQuorum  = errors.New("the restore lacks its quorum")
)

// Backup is the file that a session is about.
type Backup struct {
	ID        string    `json:"id"`
	SHA256    string    `json:"sha256"` // of the whole file, hex
	Bytes     int64     `json:"bytes"`
	Size      uint64    `json:"size"` // ledger entries
	Root      string    `json:"root"`
	Rows      uint64    `json:"rows"`
	CreatedAt time.Time `json:"created_at"`
}

// Session is one restore as everybody who takes part sees and signs it. What is signed is its digest.
type Session struct {
	Version  int            `json:"v"`
	ID       string         `json:"id"`
	Scratch  bool           `json:"scratch"` // a drill: the result is thrown away
	Instance string         `json:"instance"`
	Mode     string         `json:"mode"`
	Backup   Backup         `json:"backup"`
	Manifest jsontext.Value `json:"manifest"` // signed by the node that wrote the backup
	Target   string         `json:"target"`   // directory where the instance will stand
	Driver   string         `json:"driver"`   // database: "sqlite" or "postgres"
	Told
	Collector jwk.Key `json:"collector"` // shares are sealed to it
	Nonce     string  `json:"nonce"`
	BegunAt   string  `json:"begun_at"`
	ExpiresAt string  `json:"expires_at"`
}

// Told is what a session says of the time after the backup. All of it follows from the journals and from the checkpoints
// that somebody had seen: it is worked out again when the session is carried out, and must come out the same.
type Told struct {
	Known    []ledger.Known       `json:"known"` // heads beyond the backup that somebody had seen
	Journals []backup.JournalPart `json:"journals"`
	// Control is the number of the control entry up to which the journals know everything, from the backup's on.
	Control      uint64   `json:"control"`
	Restrictions []string `json:"restrictions"` // what the journals say must be applied again
	Deviations   []string `json:"deviations"`   // what is not known, or comes undone
}

const timeForm = "2006-01-02T15:04:05.000Z"

// BeginInput is what a session is made of.
type BeginInput struct {
	Trust     *ledger.TrustFile
	File      *backup.File // opened; its manifest is in it
	Written   backup.Written
	Lost      *backup.Lost
	Known     []ledger.Head // seen by nodes, clients, auditors
	Target    string
	Driver    string
	Scratch   bool
	Collector jwk.Key
	Now       time.Time
}

// Begin makes a session and its exact bytes. Heads that the backup should contain and cannot be shown to contain yet
// are left to the verification of the whole ledger when it is restored.
func Begin(in BeginInput) (*Session, []byte, error) {
	m := in.File.Manifest
	head, err := m.Head(in.Trust)
	if err != nil {
		return nil, nil, err
	}
	s := &Session{Version: 1, ID: "r-" + strings.ToLower(rand.Text()[:16]), Scratch: in.Scratch, Instance: m.Instance, Mode: m.Mode,
		Backup: Backup{ID: m.ID, SHA256: in.Written.SHA256, Bytes: in.Written.Bytes, Size: head.Size, Root: head.Root.String(),
			Rows: in.Written.Rows, CreatedAt: m.CreatedAt},
		Manifest: jsontext.Value(in.File.Envelope), Target: in.Target, Driver: in.Driver, Collector: in.Collector, Nonce: statement.NewNonce(),
		BegunAt: in.Now.UTC().Format(timeForm), ExpiresAt: in.Now.Add(Life).UTC().Format(timeForm)}
	tell, err := tellOf(m.ID, head, in.Lost, in.Known)
	if err != nil {
		return nil, nil, err
	}
	s.Told = *tell
	raw, err := s.encode()
	if err != nil {
		return nil, nil, err
	}
	return s, raw, nil
}

// knownBeyond are the largest heads beyond the backup, each once, largest first.
func knownBeyond(backup ledger.Head, lists ...[]ledger.Head) []ledger.Known {
	seen := map[ledger.Known]bool{}
	out := []ledger.Known{}
	for _, list := range lists {
		for _, h := range list {
			k := ledger.Known{Size: h.Size, Root: h.Root.String()}
			if h.Size > backup.Size && !seen[k] {
				seen[k] = true
				out = append(out, k)
			}
		}
	}
	sortKnown(out)
	return out[:min(len(out), ledger.MaxKnown)]
}

func sortKnown(list []ledger.Known) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].Size > list[j-1].Size; j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

func (s *Session) encode() ([]byte, error) {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding session: %w", err)
	}
	v := jsontext.Value(raw)
	if err := v.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encoding session: %w", err)
	}
	if err := strictjson.Check(v, maxSession); err != nil {
		return nil, fmt.Errorf("encoding session: %w", err)
	}
	return v, nil
}

// Opened is a session that was read and checked, with its manifest.
type Opened struct {
	*Session
	Raw      []byte
	Manifest *backup.Manifest
	Head     ledger.Head // of the backup
}

// Open reads a session's bytes and holds it against the trust file: its manifest must be one that a node of this
// instance signed, and say the same of the backup.
func Open(raw []byte, trust *ledger.TrustFile) (*Opened, error) {
	fail := func(format string, args ...any) (*Opened, error) {
		return nil, fmt.Errorf("%w: %w", ErrSession, fmt.Errorf(format, args...))
	}
	if err := strictjson.Check(raw, maxSession); err != nil {
		return fail("%w", err)
	}
	canonical := jsontext.Value(bytes.Clone(raw))
	if err := canonical.Canonicalize(); err != nil || !bytes.Equal(canonical, raw) {
		return fail("not in canonical form")
	}
	s := new(Session)
	if err := json.Unmarshal(raw, s, json.RejectUnknownMembers(true)); err != nil {
		return fail("%w", err)
	}
	m, err := backup.ReadManifest(s.Manifest, trust)
	if err != nil {
		return fail("%w", err)
	}
	head, err := m.Head(trust)
	if err != nil {
		return fail("%w", err)
	}
	switch {
	case s.Version != 1:
		return fail("version %d, this program reads 1", s.Version)
	case s.Instance != m.Instance || s.Mode != m.Mode || s.Backup.ID != m.ID || s.Backup.Size != head.Size || s.Backup.Root != head.Root.String():
		return fail("it says other things of the backup than the manifest")
	}
	if err := s.Told.check(head); err != nil {
		return fail("%w", err)
	}
	if _, err := s.Collector.ECDSA(); err != nil {
		return fail("collector: %w", err)
	}
	if _, _, err := s.period(); err != nil {
		return fail("%w", err)
	}
	return &Opened{Session: s, Raw: raw, Manifest: m, Head: head}, nil
}

func (s *Session) period() (from, until time.Time, err error) {
	if from, err = time.Parse(timeForm, s.BegunAt); err != nil {
		return from, until, fmt.Errorf("begun_at: %w", err)
	}
	if until, err = time.Parse(timeForm, s.ExpiresAt); err != nil {
		return from, until, fmt.Errorf("expires_at: %w", err)
	}
	if until.Sub(from) > Life || !until.After(from) {
		return from, until, errors.New("expires_at: not within a week of begun_at")
	}
	return from, until, nil
}

// Operation is what is signed for.
func (s *Session) Operation() string {
	if s.Scratch {
		return OperationOpen
	}
	return OperationRestore
}

// Digest is the SHA-256 of the session's bytes: people compare it before they sign.
func (o *Opened) Digest() string {
	sum := sha256.Sum256(o.Raw)
	return hex.EncodeToString(sum[:])
}

// Alive refuses a session whose time is over.
func (o *Opened) Alive(now time.Time) error {
	_, until, err := o.period()
	if err == nil && !now.Before(until) {
		err = fmt.Errorf("%w: it ended %s", ErrExpired, o.ExpiresAt)
	}
	return err
}

// Statement is what signer would sign at a time: it covers the session's digest, and so all of it.
func (o *Opened) Statement(signer string, decision statement.Decision, at time.Time) (statement.Statement, error) {
	_, until, err := o.period()
	if err != nil {
		return statement.Statement{}, err
	}
	params, err := json.Marshal(map[string]any{"backup_sha256": o.Backup.SHA256, "session_sha256": o.Digest(), "target": o.Target, "driver": o.Driver, "scratch": o.Scratch,
		"known": o.Known}, json.Deterministic(true))
	if err != nil {
		return statement.Statement{}, fmt.Errorf("encoding statement: %w", err)
	}
	return statement.Statement{Instance: o.Instance, Ceremony: o.ID, Operation: o.Operation(), Params: params,
		Target: statement.Target{Type: "backup", ID: o.Backup.ID}, Policy: o.Manifest.Policy,
		Checkpoint: statement.Checkpoint{Size: o.Head.Size, Root: o.Head.Root}, Requester: "session:" + o.ID, Signer: signer,
		Decision: decision, Nonce: o.Nonce, IssuedAt: at.UTC().Truncate(time.Millisecond), ExpiresAt: until, Mode: statement.Mode(o.Mode)}, nil
}
