package workspace

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/reports"
)

// Item is one ledger entry that a number cites, with its proof. It and its event bear the number that was cited, whatever
// the checkpoint of the proof.
type Item struct {
	Number     string             `json:"number"`
	Instance   string             `json:"instance"`
	Checkpoint reports.Checkpoint `json:"checkpoint"`
	Event      Event              `json:"event"`
}

// Opened is what an evidence number stands for: one of the two.
type Opened struct {
	Item    *Item    `json:"item,omitempty"`
	Dossier *Dossier `json:"dossier,omitempty"`
}

// Open finds what a number cites. The ledger only grows, so that the entry of an older number is the same one, proven in
// the newest checkpoint; a dossier is told as of now, under a number of its own, and says by which it was cited and how many
// of its events are newer than that.
func (w *Workspace) Open(ctx context.Context, number string, beside Beside, now time.Time) (*Opened, error) {
	n, err := ParseNumber(number)
	if err != nil {
		return nil, err
	}
	checkpoint := w.src.Checkpoint()
	if n.Instance != w.instance.ID[:instanceDigits] {
		return nil, &custodian.InputError{Field: "number", Problem: "it is of another instance", Allowed: "numbers that begin with EV-" + w.instance.ID[:instanceDigits]}
	}
	if n.Size > checkpoint.Size {
		return nil, &custodian.InputError{Field: "number", Problem: fmt.Sprintf("it is of a checkpoint of %d entries, and the ledger has %d: it was rolled back, or the number is wrong", n.Size, checkpoint.Size),
			Allowed: fmt.Sprintf("a size up to %d", checkpoint.Size)}
	}
	if n.Kind != EntryKind {
		d, err := w.Dossier(ctx, n.Kind, n.ID, beside, now)
		if err != nil {
			return nil, err
		}
		d.Cited = number
		for i := range d.Timeline {
			if d.Timeline[i].Seq >= n.Size {
				d.Newer++
			}
		}
		return &Opened{Dossier: d}, nil
	}
	seq, err := n.entry()
	if err != nil {
		return nil, err
	}
	e, raw, err := w.src.Entry(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", seq, err)
	}
	item := &Item{Number: number, Instance: w.instance.ID, Checkpoint: checkpoint, Event: w.event(e, raw)}
	item.Event.Number = number
	return &Opened{Item: item}, w.prove(ctx, &item.Event)
}

// Members is a page of a population's ids, ascending, so that whoever draws a sample can see all that it was drawn from.
type Members struct {
	Kind       string             `json:"kind"`
	Basis      Basis              `json:"basis"`
	Checkpoint reports.Checkpoint `json:"checkpoint"`
	Total      int                `json:"total"`
	Items      []string           `json:"items"`
	Next       string             `json:"next,omitempty"` // the last id, to go on after; "" at the end
}

// MaxMembers bounds a page.
const MaxMembers = 1000

// Members lists the ids after one.
func (w *Workspace) Members(ctx context.Context, d Draw, after string, now time.Time) (*Members, error) {
	d.Seed, d.Want = "-", 1 // a list draws nothing
	if err := d.check(now); err != nil {
		return nil, err
	}
	ids, err := w.members(ctx, d)
	if err != nil {
		return nil, err
	}
	out := &Members{Kind: d.Kind, Basis: d.Basis, Checkpoint: w.src.Checkpoint(), Total: len(ids), Items: []string{}}
	for _, id := range ids {
		if after != "" && id <= after {
			continue
		}
		if len(out.Items) == MaxMembers {
			out.Next = out.Items[MaxMembers-1]
			break
		}
		out.Items = append(out.Items, id)
	}
	return out, nil
}
