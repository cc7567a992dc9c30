package workspace

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports"
)

// Population is how many there are of a kind.
type Population struct {
	Kind     string `json:"kind"`
	What     string `json:"what"`
	Existing int    `json:"existing"` // in the register at the checkpoint
	Changed  int    `json:"changed"`  // made, altered or taken out in the period
}

// Populations counts every population.
type Populations struct {
	Instance   string             `json:"instance"`
	Name       string             `json:"name"`
	Mode       string             `json:"mode"`
	From       time.Time          `json:"from"`
	To         *time.Time         `json:"to,omitempty"` // nil: up to the checkpoint
	Checkpoint reports.Checkpoint `json:"checkpoint"`
	Items      []Population       `json:"populations"`
}

// Populations counts what there is at the checkpoint and what changed in a period. now bounds the period.
func (w *Workspace) Populations(ctx context.Context, p Period, now time.Time) (*Populations, error) {
	if err := p.check(now); err != nil {
		return nil, err
	}
	changed := map[string]map[string]bool{}
	for _, kind := range Kinds() {
		changed[kind] = map[string]bool{}
	}
	err := w.changes(ctx, p, func(_ *ledger.Entry, c ledger.RowChange) {
		if ids := changed[c.Kind]; ids != nil {
			ids[c.ID] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("counting what changed: %w", err)
	}
	out := &Populations{Instance: w.instance.ID, Name: w.instance.Name, Mode: w.instance.Mode, From: p.From.UTC(), To: until(p.To), Checkpoint: w.src.Checkpoint()}
	for _, x := range populations() {
		n := 0
		for range w.src.Rows(x.kind) {
			n++
		}
		out.Items = append(out.Items, Population{Kind: x.kind, What: x.what, Existing: n, Changed: len(changed[x.kind])})
	}
	return out, w.src.Err()
}

func until(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Basis is which members of a population a sample is drawn from.
type Basis string

const (
	Existing Basis = "existing" // what is in the register at the checkpoint
	Changed  Basis = "changed"  // what was made, altered or taken out in the period
)

// MaxSample is how many are drawn at most; whoever wants more takes the whole population (ours).
const MaxSample = 500

// Draw asks for a sample.
type Draw struct {
	Kind  string
	Basis Basis
	Period
	Seed string // the assessor's own, any text of 1 to 64 printable characters
	Want int    // 1 to MaxSample
}

// Sample is what was drawn. Whoever has the population draws the same: an item's rank is the SHA-256 of
//
//	"conclave-sample-1" LF instance LF seed LF kind LF id
//
// in hex, and the sample is the items of lowest rank. A population that grows changes the sample only where a new item
// ranks among the lowest.
type Sample struct {
	Instance   string             `json:"instance"`
	Kind       string             `json:"kind"`
	Basis      Basis              `json:"basis"`
	From       *time.Time         `json:"from,omitempty"`
	To         *time.Time         `json:"to,omitempty"`
	Seed       string             `json:"seed"`
	Want       int                `json:"want"`
	Population int                `json:"population"`        // members drawn from
	Digest     string             `json:"population_digest"` // hex SHA-256 of the ids in ascending order, a line feed after each
	Checkpoint reports.Checkpoint `json:"checkpoint"`
	Items      []Drawn            `json:"items"` // in order of rank
}

// Drawn is one item of a sample.
type Drawn struct {
	Rank   string `json:"rank"`
	ID     string `json:"id"`
	Number string `json:"number"` // evidence number of its dossier
}

func (d Draw) check(now time.Time) error {
	if err := checkKind(d.Kind); err != nil {
		return err
	}
	switch {
	case d.Basis != Existing && d.Basis != Changed:
		return &custodian.InputError{Field: "basis", Problem: fmt.Sprintf("%q is unknown", clip(string(d.Basis))), Allowed: string(Existing) + ", " + string(Changed)}
	case d.Want < 1 || d.Want > MaxSample:
		return &custodian.InputError{Field: "want", Problem: fmt.Sprint(d.Want), Allowed: fmt.Sprintf("1 to %d", MaxSample)}
	case d.Seed == "" || utf8.RuneCountInString(d.Seed) > 64 || !utf8.ValidString(d.Seed) || strings.ContainsFunc(d.Seed, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return &custodian.InputError{Field: "seed", Problem: "missing, too long or not printable", Allowed: "1 to 64 printable characters, of the assessor's choice"}
	}
	return d.Period.check(now)
}

// Sample draws from a population. now bounds the period.
func (w *Workspace) Sample(ctx context.Context, d Draw, now time.Time) (*Sample, error) {
	if err := d.check(now); err != nil {
		return nil, err
	}
	ids, err := w.members(ctx, d)
	if err != nil {
		return nil, err
	}
	out := &Sample{Instance: w.instance.ID, Kind: d.Kind, Basis: d.Basis, Seed: d.Seed, Want: d.Want, Population: len(ids), Checkpoint: w.src.Checkpoint(), Items: []Drawn{}}
	if d.Basis == Changed {
		out.From, out.To = until(d.From), until(d.To)
	}
	all := sha256.New()
	type ranked struct {
		rank [32]byte
		id   string
	}
	order := make([]ranked, len(ids))
	for i, id := range ids {
		all.Write([]byte(id + "\n"))
		order[i] = ranked{sha256.Sum256([]byte(strings.Join([]string{"conclave-sample-1", w.instance.ID, d.Seed, d.Kind, id}, "\n"))), id}
	}
	out.Digest = hex.EncodeToString(all.Sum(nil))
	slices.SortFunc(order, func(a, b ranked) int { return bytes.Compare(a.rank[:], b.rank[:]) })
	for _, r := range order[:min(d.Want, len(order))] {
		out.Items = append(out.Items, Drawn{Rank: hex.EncodeToString(r.rank[:]), ID: r.id, Number: w.number(d.Kind, r.id)})
	}
	return out, nil
}

// members lists the ids that a sample is drawn from, ascending.
func (w *Workspace) members(ctx context.Context, d Draw) ([]string, error) {
	var ids []string
	if d.Basis == Existing {
		for ref := range w.src.Rows(d.Kind) {
			ids = append(ids, ref.ID)
		}
	} else {
		err := w.changes(ctx, d.Period, func(_ *ledger.Entry, c ledger.RowChange) {
			if c.Kind == d.Kind {
				ids = append(ids, c.ID)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("finding what changed: %w", err)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), w.src.Err()
}
