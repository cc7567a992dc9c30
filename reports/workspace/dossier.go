package workspace

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/control"
)

// DossierFormat names the JSON of a dossier; it changes when a member changes its meaning.
const DossierFormat = "conclave-dossier-1"

// maxEvents bounds a dossier (ours): the newest are told, and how many older ones were left out.
const maxEvents = 5000

// Dossier is the whole life of one thing: what the register says of it now, and every control-plane entry about it with
// the proof that it is in the ledger.
type Dossier struct {
	Format      string             `json:"format"`
	Number      string             `json:"number"`
	Cited       string             `json:"cited,omitempty"` // the number by which it was opened
	Newer       int                `json:"newer,omitempty"` // events that the checkpoint of Cited did not have
	Kind        string             `json:"kind"`
	ID          string             `json:"id"`
	Instance    string             `json:"instance"`
	Name        string             `json:"name"`
	Mode        string             `json:"mode"`
	GeneratedAt time.Time          `json:"generated_at"`
	Checkpoint  reports.Checkpoint `json:"checkpoint"`
	Facts       []Fact             `json:"facts"`    // the subject's own row first
	Timeline    []Event            `json:"timeline"` // oldest first
	Omitted     int                `json:"omitted"`  // events before the first of Timeline
	Uses        []Use              `json:"uses,omitempty"`
	UsesTo      uint64             `json:"uses_to,omitempty"` // entries that Uses were counted from: those before this one
	// Transcript is the signed document of a ceremony that has ended.
	Transcript jsontext.Value `json:"transcript,omitempty"`
}

// Development says that the instance was made for trying out; every page of a dossier says so.
func (d *Dossier) Development() bool { return d.Mode != string(custodian.Production) }

// Fact is an authority row as the register has it. Members that hold wrapped keys, sealed shares or hashes of
// credentials do not travel: evidence must not become another place where keys live (PCI DSS 4.0.1, 3.6.1.4).
type Fact struct {
	Row      control.Ref    `json:"row"`
	Body     jsontext.Value `json:"body"` // canonical JSON without what is withheld
	Withheld []string       `json:"withheld,omitempty"`
	// Damaged says that the row in the database contradicts the ledger; then there is no body.
	Damaged bool `json:"damaged,omitempty"`
}

// Event is one ledger entry about the subject.
type Event struct {
	Number   string         `json:"number"`
	Seq      uint64         `json:"seq"`
	At       time.Time      `json:"at"`
	Type     string         `json:"type"`
	Actor    string         `json:"actor"`
	Origin   string         `json:"origin,omitempty"` // network address
	Node     string         `json:"node"`
	Target   string         `json:"target"`
	Outcome  string         `json:"outcome"`
	Reason   string         `json:"reason,omitempty"`
	Ceremony string         `json:"ceremony,omitempty"`
	Policy   string         `json:"policy,omitempty"`
	Detail   jsontext.Value `json:"detail,omitempty"`
	Changed  []string       `json:"changed,omitempty"` // rows, as "kind id revision"
	Entry    []byte         `json:"entry"`             // exact bytes
	Proof    []string       `json:"proof"`             // inclusion, RFC 6962 section 2.1.1, hashes in base64
}

// Use is what one caller did with a key's version: counted from the ledger's entries, whose first and last are named.
type Use struct {
	Version   uint32    `json:"version"`
	Actor     string    `json:"actor"`
	Operation string    `json:"operation"`
	Outcome   string    `json:"outcome"`
	Uses      int64     `json:"uses"`
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	First     string    `json:"first"` // evidence number of the first entry
	Last      string    `json:"last"`
	FirstSeq  uint64    `json:"first_seq"`
	LastSeq   uint64    `json:"last_seq"`
}

// Beside is what a dossier takes from elsewhere than the source.
type Beside struct {
	// Uses counts what was done with a version of a key.
	Uses func(ctx context.Context, key string, version uint32) ([]Use, error)
	// UsesTo is how far the ledger has been counted: a job follows it within seconds.
	UsesTo func(ctx context.Context) (uint64, error)
	// Transcript is the signed document of a ceremony that has ended, nil of one that has not.
	Transcript func(ctx context.Context, id string) ([]byte, error)
}

// Dossier tells the life of one thing. What neither the register nor the ledger knows is a [*custodian.InputError].
func (w *Workspace) Dossier(ctx context.Context, kind, id string, beside Beside, now time.Time) (*Dossier, error) {
	if err := checkKind(kind); err != nil {
		return nil, err
	}
	d := &Dossier{Format: DossierFormat, Number: w.number(kind, id), Kind: kind, ID: id, Instance: w.instance.ID, Name: w.instance.Name, Mode: w.instance.Mode,
		GeneratedAt: now.UTC(), Checkpoint: w.src.Checkpoint(), Timeline: []Event{}}
	about := newScope(kind, id)
	var err error
	if d.Facts, err = w.facts(about); err != nil {
		return nil, err
	}
	if err := w.timeline(ctx, about, d); err != nil {
		return nil, err
	}
	if len(d.Facts) == 0 && len(d.Timeline) == 0 {
		return nil, &custodian.InputError{Field: "id", Problem: fmt.Sprintf("there is and was no %s %q", kind, clip(id)), Allowed: "an id of the population (conclave audit members " + kind + ")"}
	}
	return d, w.beside(ctx, d, beside)
}

// beside adds uses and transcript.
func (w *Workspace) beside(ctx context.Context, d *Dossier, b Beside) error {
	if d.Kind == kindCeremony && b.Transcript != nil {
		raw, err := b.Transcript(ctx, d.ID)
		if err != nil {
			return fmt.Errorf("reading the transcript: %w", err)
		}
		d.Transcript = raw
	}
	if b.Uses == nil {
		return nil
	}
	var err error
	if d.UsesTo, err = b.UsesTo(ctx); err != nil {
		return fmt.Errorf("asking how far uses are counted: %w", err)
	}
	for _, f := range d.Facts {
		k, version, err := key.ParseVersionID(f.Row.ID)
		if f.Row.Kind != string(custodian.KindKeyVersion) || err != nil {
			continue
		}
		uses, err := b.Uses(ctx, k, version)
		if err != nil {
			return fmt.Errorf("counting the uses of %s: %w", f.Row.ID, err)
		}
		for _, u := range uses {
			// What was used after the checkpoint is in the next dossier.
			if u.FirstSeq >= d.Checkpoint.Size {
				continue
			}
			u.First, u.Last = w.entryNumber(u.FirstSeq), w.number(EntryKind, fmt.Sprint(u.LastSeq))
			d.Uses = append(d.Uses, u)
		}
	}
	return nil
}

// facts are the rows of the subject.
func (w *Workspace) facts(about *scope) ([]Fact, error) {
	var out []Fact
	for _, kind := range about.kinds() {
		for ref, body := range w.src.Rows(kind) {
			if !about.row(kind, ref.ID) && !about.belongs(kind, body) {
				continue
			}
			about.add(kind, ref.ID)
			f := Fact{Row: ref}
			var err error
			if f.Body, f.Withheld, err = shown(kind, body); err != nil {
				return nil, fmt.Errorf("reading %s %q: %w", kind, ref.ID, err)
			}
			out = append(out, f)
		}
	}
	if err := w.src.Err(); err != nil {
		return nil, err
	}
	for _, ref := range w.src.Damaged() {
		if about.row(ref.Kind, ref.ID) {
			out = append(out, Fact{Row: ref, Damaged: true})
		}
	}
	slices.SortStableFunc(out, func(a, b Fact) int {
		return cmp.Compare(slices.Index(about.kinds(), a.Row.Kind), slices.Index(about.kinds(), b.Row.Kind))
	})
	return out, nil
}

// timeline finds the control-plane entries about the subject and proves each. Two walks: what a ceremony's entries are
// about is known once it has changed something.
func (w *Workspace) timeline(ctx context.Context, about *scope, d *Dossier) error {
	size := w.src.Checkpoint().Size
	ceremonies := map[string]bool{}
	if err := w.src.ControlEntries(ctx, size, func(e *ledger.Entry, _ []byte) error {
		if e.Ceremony != "" && about.entry(e) {
			ceremonies[e.Ceremony] = true
		}
		return ctx.Err()
	}); err != nil {
		return fmt.Errorf("finding ceremonies: %w", err)
	}
	err := w.src.ControlEntries(ctx, size, func(e *ledger.Entry, raw []byte) error {
		if !about.entry(e) && !about.acted(e) && !ceremonies[e.Ceremony] && !(e.Target.Type == kindCeremony && ceremonies[e.Target.ID]) {
			return nil
		}
		if len(d.Timeline) == 2*maxEvents {
			d.forget(maxEvents)
		}
		d.Timeline = append(d.Timeline, w.event(e, raw))
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading the history: %w", err)
	}
	d.forget(len(d.Timeline) - maxEvents)
	for i := range d.Timeline {
		if err := w.prove(ctx, &d.Timeline[i]); err != nil {
			return err
		}
	}
	return nil
}

// forget leaves out the oldest n events.
func (d *Dossier) forget(n int) {
	if n > 0 {
		d.Timeline = slices.Delete(d.Timeline, 0, n)
		d.Omitted += n
	}
}

func (w *Workspace) event(e *ledger.Entry, raw []byte) Event {
	v := told(e, raw)
	v.Number = w.entryNumber(e.Seq)
	return v
}

// ErrMisquoted: an event says something else than the entry that proves it.
var ErrMisquoted = errors.New("the event is not what its entry says")

// Check decodes the exact bytes and holds what is shown against them: a proof is of the bytes, not of the words beside.
func (v *Event) Check() error {
	e, err := ledger.Decode(v.Entry)
	if err != nil {
		return fmt.Errorf("decoding entry %d: %w", v.Seq, err)
	}
	want := told(e, v.Entry)
	want.Number, want.Proof = v.Number, v.Proof
	is, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encoding event %d: %w", v.Seq, err)
	}
	should, err := json.Marshal(&want, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encoding event %d: %w", v.Seq, err)
	}
	if !bytes.Equal(is, should) {
		return fmt.Errorf("entry %d: %w", v.Seq, ErrMisquoted)
	}
	return nil
}

// told is an entry in words.
func told(e *ledger.Entry, raw []byte) Event {
	v := Event{Seq: e.Seq, At: e.At, Type: e.Type, Actor: who(e.Actor), Origin: e.Actor.Origin, Node: e.Node,
		Target: strings.TrimSpace(e.Target.Type + " " + e.Target.ID), Outcome: string(e.Outcome), Reason: e.Reason, Ceremony: e.Ceremony,
		Policy: e.Policy, Detail: slices.Clone(e.Detail), Entry: slices.Clone(raw)}
	if e.Target.Version != 0 {
		v.Target = fmt.Sprintf("%s/%d", v.Target, e.Target.Version)
	}
	for _, c := range e.Rows {
		if c.Kind != kindCeremony {
			v.Changed = append(v.Changed, fmt.Sprintf("%s %s %d", c.Kind, c.ID, c.Revision))
		}
	}
	return v
}

func (w *Workspace) prove(ctx context.Context, v *Event) error {
	proof, err := w.src.Inclusion(ctx, v.Seq)
	if err != nil {
		return fmt.Errorf("proving entry %d: %w", v.Seq, err)
	}
	for _, h := range proof {
		v.Proof = append(v.Proof, base64.StdEncoding.EncodeToString(h[:]))
	}
	return nil
}

func who(p identity.Principal) string {
	if p.Kind == identity.Human {
		return p.ID
	}
	return string(p.Kind) + ":" + p.ID
}
