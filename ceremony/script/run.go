// Package script is the record of a ceremony held by a written script: who was there in which role, what each step
// expected and what came of it, what deviated, and everybody's signature over the record. Values and rules, no I/O.
//
// Sources: how well-run key ceremonies are written down and signed (IANA root KSK ceremonies; WebTrust for CAs,
// criterion 4; PCI PIN, requirement 21); bounds are ours.
package script

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/strictjson"
)

// Role in which somebody takes part.
type Role string

// Roles of ceremony-practice: the administrator leads, holds no share and approves nothing; the witness watches
// that the script is followed; an auditor observes and touches no keys.
const (
	Administrator Role = "administrator"
	Witness       Role = "witness"
	Custodian     Role = "custodian"
	Auditor       Role = "auditor"
	Observer      Role = "observer"
)

// Roles lists them in the order in which rolls are read.
func Roles() []Role { return []Role{Administrator, Witness, Custodian, Auditor, Observer} }

// State of a run.
type State string

// States: a run is performed when every step is done, signed when everybody who must has signed, abandoned when it
// was given up. Nothing is added to a run that was signed but the closing of its deviations.
const (
	Running   State = "running"
	Performed State = "performed"
	Signed    State = "signed"
	Abandoned State = "abandoned"
)

// Bounds of one run (ours).
const (
	MaxRoll       = 40
	MaxDeviations = 100
)

// Phase of a script. The ceremony itself is its one step of PhasePerform.
type Phase string

// The phases in their order.
const (
	PhaseOpen    Phase = "open"
	PhasePerform Phase = "perform"
	PhaseClose   Phase = "close"
)

// Script is what is done in a ceremony, in which order, and what is expected. Policy names it; its JSON is that of the
// policy bundle's table.
type Script struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Version int    `json:"version"`
	Steps   []Line `json:"steps"`
}

// Line is one step of a script; numbers count from 1.
type Line struct {
	Phase    Phase  `json:"phase"`
	Text     string `json:"text"`
	Expected string `json:"expected"`
}

// Digest is the hex SHA-256 of the script as RFC 8785 JSON.
func (s Script) Digest() (string, error) { return digest(s) }

func digest(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	canonical, err := strictjson.Canonical(raw)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

// Run is one ceremony held by its script. Row kind "script_run", id the ceremony's.
type Run struct {
	Ceremony      string       `json:"ceremony"`
	Operation     string       `json:"operation"`
	Script        Script       `json:"script"`        // as it was when the run began
	ScriptSHA256  string       `json:"script_sha256"` // Script.Digest
	Place         string       `json:"place"`
	Administrator string       `json:"administrator"` // person id
	State         State        `json:"state"`
	BegunAt       time.Time    `json:"begun_at"`
	Roll          []Attendance `json:"roll"`
	Steps         []Step       `json:"steps"` // done, in order
	Deviations    []Deviation  `json:"deviations,omitempty"`
	SignOffs      []SignOff    `json:"sign_offs,omitempty"`
	EndedAt       *time.Time   `json:"ended_at,omitempty"`
	EndReason     string       `json:"end_reason,omitempty"` // why it was abandoned
	// AbandonedBy are those who took part and would have it abandoned: one asks, the second ends it.
	AbandonedBy []string `json:"abandoned_by,omitempty"`
}

// Attendance is one line of the roll. Each person writes their own arrival, from where they are.
type Attendance struct {
	Person    string     `json:"person"`
	Name      string     `json:"name"`
	Role      Role       `json:"role"`
	Site      string     `json:"site"`
	ArrivedAt time.Time  `json:"arrived_at"`
	LeftAt    *time.Time `json:"left_at,omitempty"`
	Document  string     `json:"document,omitempty"`   // kind of document by which they were identified, never its number
	CheckedBy string     `json:"checked_by,omitempty"` // witness
}

// Step is a step of the script as it was done.
type Step struct {
	Number     int        `json:"number"`
	Actual     string     `json:"actual"`
	AsExpected bool       `json:"as_expected"`
	At         time.Time  `json:"at"`
	By         string     `json:"by"` // administrator, or the node for what it saw itself
	Initials   string     `json:"initials,omitempty"`
	InitialsAt *time.Time `json:"initials_at,omitempty"`
}

// Deviation is something that did not go by the script. While one is open the ceremony is completed with exceptions.
type Deviation struct {
	Number    int        `json:"number"`
	Step      int        `json:"step,omitempty"` // 0: no step in particular
	What      string     `json:"what"`
	Why       string     `json:"why"`
	DecidedBy string     `json:"decided_by"` // person id
	Impact    string     `json:"impact"`
	By        string     `json:"by"`
	At        time.Time  `json:"at"`
	ClosedAt  *time.Time `json:"closed_at,omitempty"`
	ClosedBy  string     `json:"closed_by,omitempty"` // auditor
	Finding   string     `json:"finding,omitempty"`
}

// SignOff is a person's signature over the record.
type SignOff struct {
	Person    string          `json:"person"`
	Role      Role            `json:"role"`
	Statement string          `json:"statement"`
	At        time.Time       `json:"at"`
	Envelope  json.RawMessage `json:"envelope"` // DSSE over an Opinion
}

// Begin opens a run.
func Begin(ceremony, operation, place string, s Script, administrator Attendance) (*Run, error) {
	sum, err := s.Digest()
	if err != nil {
		return nil, fmt.Errorf("encoding script %s: %w", s.ID, err)
	}
	return &Run{Ceremony: ceremony, Operation: operation, Script: s, ScriptSHA256: sum, Place: place, State: Running,
		Administrator: administrator.Person, BegunAt: administrator.ArrivedAt, Roll: []Attendance{administrator}, Steps: []Step{}}, nil
}

// Clone is a copy that may be changed.
func (r *Run) Clone() *Run {
	own := *r
	own.Roll, own.Steps = slices.Clone(r.Roll), slices.Clone(r.Steps)
	own.Deviations, own.SignOffs = slices.Clone(r.Deviations), slices.Clone(r.SignOffs)
	own.AbandonedBy = slices.Clone(r.AbandonedBy)
	return &own
}

// Next is the step that is to be done now; false when all are done.
func (r *Run) Next() (number int, step Line, ok bool) {
	if len(r.Steps) >= len(r.Script.Steps) {
		return 0, Line{}, false
	}
	return len(r.Steps) + 1, r.Script.Steps[len(r.Steps)], true
}

// Opened reports whether everything that comes before the ceremony itself is done.
func (r *Run) Opened() bool {
	_, step, more := r.Next()
	return !more || step.Phase != PhaseOpen
}

// Holds reports whether the run keeps its ceremony from being executed: it is under way and not yet opened.
func (r *Run) Holds() bool { return r.State == Running && !r.Opened() }

// Here is how many people are on the roll and have not left.
func (r *Run) Here() int {
	n := 0
	for _, a := range r.Roll {
		if a.LeftAt == nil {
			n++
		}
	}
	return n
}

// Present finds a person on the roll who has not left; nil for nobody.
func (r *Run) Present(person string) *Attendance {
	for i := range r.Roll {
		if r.Roll[i].Person == person && r.Roll[i].LeftAt == nil {
			return &r.Roll[i]
		}
	}
	return nil
}

// Open is the number of deviations that no auditor has closed.
func (r *Run) Open() int {
	n := 0
	for _, d := range r.Deviations {
		if d.ClosedAt == nil {
			n++
		}
	}
	return n
}

// Record is the hex SHA-256 of what is signed off: the run as RFC 8785 JSON without its signatures and without what may
// come after them: the closing of deviations, and that it is given up.
func (r *Run) Record() (string, error) {
	own := r.Clone()
	own.SignOffs, own.State, own.EndedAt, own.EndReason, own.AbandonedBy = nil, "", nil, "", nil
	for i := range own.Deviations {
		own.Deviations[i].ClosedAt, own.Deviations[i].ClosedBy, own.Deviations[i].Finding = nil, "", ""
	}
	for i := range own.Roll { // people leave after they signed
		own.Roll[i].LeftAt = nil
	}
	sum, err := digest(own)
	if err != nil {
		return "", fmt.Errorf("encoding the record of %s: %w", r.Ceremony, err)
	}
	return sum, nil
}

// Unsigned lists who must still sign: the administrator, every witness, custodian and auditor on the roll.
func (r *Run) Unsigned() []string {
	out := []string{}
	for _, a := range r.Roll {
		signed := slices.ContainsFunc(r.SignOffs, func(s SignOff) bool { return s.Person == a.Person })
		if a.Role != Observer && !signed && !slices.Contains(out, a.Person) {
			out = append(out, a.Person)
		}
	}
	return out
}
