package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/location"
	"conclave/custodian/oversight"
	"conclave/custodian/segment"
	"conclave/custodian/store"
	"conclave/hsm/secret"
	"conclave/policies"
)

type ledgerDeleteParams struct {
	Segments []string `json:"segments"`
	// Gone attests that the files were destroyed otherwise, or with what they lay on: nothing is looked for.
	Gone   bool   `json:"gone"`
	Reason string `json:"reason"`
}

// ledgerDeleteArchived deletes archived entries for good, once retention has passed and no hold keeps them. Their hashes
// stay, and so do the entries of the control plane: the rest of the ledger proves as before, and that these entries were
// there, in these places, and who deleted them.
type ledgerDeleteArchived struct{}

func (ledgerDeleteArchived) Name() string { return ledger.DeletionType }

func (ledgerDeleteArchived) read(view *store.View, in Input) (p ledgerDeleteParams, out []*segment.Segment, err error) {
	if p, err = decode[ledgerDeleteParams](in); err != nil {
		return p, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, err
	}
	if n := len(p.Segments); n == 0 || n > maxSegments {
		return p, nil, &key.FieldError{Field: "segments", Problem: fmt.Sprintf("%d ids", n), Allowed: fmt.Sprintf("1 to %d ids of segments", maxSegments)}
	}
	for i, id := range p.Segments {
		if slices.Contains(p.Segments[:i], id) {
			return p, nil, &key.FieldError{Field: "segments", Problem: fmt.Sprintf("%.40q stands twice", id), Allowed: "each id once"}
		}
		g, _, err := lookup[segment.Segment](view, custodian.KindSegment, "segments", id, "segment")
		if err != nil {
			return p, nil, err
		}
		out = append(out, g)
	}
	return p, out, nil
}

func (o ledgerDeleteArchived) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, segments, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	kept, err := ledgerRetention(view)
	if err != nil {
		return Plan{}, err
	}
	entries := uint64(0)
	plan := Plan{Target: Target{Type: "ledger", ID: "archive"}, Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "ledger", ID: "archive"}}}
	for _, g := range segments {
		entries += g.To - g.From - g.Control
		after := "deleted for ever; hashes and entries of the control plane stay"
		if p.Gone {
			after = "destroyed otherwise, as whoever approves attests: nothing is looked for"
		}
		plan.Lines = append(plan.Lines, Line{Label: fmt.Sprintf("entries %d to %d, of %s to %s", g.From, g.To-1, g.FirstAt.Format(time.DateOnly), g.LastAt.Format(time.DateOnly)),
			Before: location.Within(g.Directory, g.File), After: after})
		if !p.Gone {
			plan.Deny = append(plan.Deny, noArchive(env, g.Directory)...)
		}
		plan.Deny = append(plan.Deny, deletable(g, kept, in.Now)...)
		held, err := entriesOnHold(view, g)
		if err != nil {
			return Plan{}, err
		}
		plan.Deny = append(plan.Deny, held...)
	}
	plan.Title = fmt.Sprintf("Delete %d ledger entries in %s for ever", entries, amount.Of(len(segments), "archived segment"))
	plan.Lines = append(plan.Lines, Line{Label: "kept for", After: fmt.Sprintf("%d days, which have passed", kept.Days)}, Line{Label: "reason", After: p.Reason})
	return plan, nil
}

// deletable refuses a segment that is gone already, or that retention keeps.
func deletable(g *segment.Segment, kept oversight.Retention, now time.Time) []policies.Reason {
	if g.Status != segment.Kept {
		return []policies.Reason{refusal("already_deleted", "segment "+g.ID+" is deleted already", "nothing to do")}
	}
	if until := g.LastAt.AddDate(0, 0, kept.Days); now.Before(until) {
		return []policies.Reason{{Rule: "operation", Code: "retention", Message: fmt.Sprintf("the ledger is kept for %d days: segment %s until %s", kept.Days, g.ID, until.Format(time.DateOnly)),
			Remedy: "wait for that day", Controls: []string{"pci-dss-4.0.1:10.5.1", "nist-800-53r5:AU-11"}}}
	}
	return nil
}

// entriesOnHold refuses what a legal hold keeps. A segment can only be deleted whole, and what was done with a key, or by
// a person, is anywhere in it: a hold on anything that entries may be about keeps them all.
func entriesOnHold(view *store.View, g *segment.Segment) ([]policies.Reason, error) {
	if bad := view.Tampered(custodian.KindHold); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: custodian.KindHold, ID: bad[0].ID}
	}
	var out []policies.Reason
	for _, h := range store.All[oversight.Hold](view, custodian.KindHold) {
		if !h.InForce() || h.On.Type == oversight.HoldLedger && !h.CoversEntries(g.From, g.To-1) {
			continue
		}
		out = append(out, policies.Reason{Rule: "operation", Code: key.CodeLegalHold, Message: fmt.Sprintf("hold %s for %s keeps segment %s, which goes whole or not at all: entries in it may be about %s", h.ID, h.Matter, g.ID, h.What()),
			Remedy: "a quorum lifts hold " + h.ID + " (hold.lift)", Controls: []string{"nist-800-53r5:AU-11"}})
	}
	return out, nil
}

// Effect deletes the files. One that is not where it should be is gone only where the archive itself is there.
func (o ledgerDeleteArchived) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	return o.delete(ctx, env, in, effectID, false)
}

func (o ledgerDeleteArchived) delete(ctx context.Context, env Env, in Input, effectID string, again bool) (Effect, error) {
	p, segments, err := o.read(env.Custodian.View(), in)
	if err != nil || p.Gone {
		return Effect{ID: effectID}, err
	}
	for _, g := range segments {
		archive := segment.Archive{Directory: g.Directory, Objects: env.Archives}
		if !archive.Marked(ctx) {
			return Effect{}, fmt.Errorf("%w: %s is no archive seen from this node: bring it back, or propose its segments as gone, which whoever approves attests", segment.ErrUnreachable, g.Directory)
		}
		gone, err := archive.Remove(ctx, g.File)
		if err != nil {
			return Effect{}, err
		}
		if !gone && !again {
			return Effect{}, fmt.Errorf("%w: %s is not there: look for it, or propose it as gone, which whoever approves attests", segment.ErrUnreachable, location.Within(g.Directory, g.File))
		}
	}
	return Effect{ID: effectID}, nil
}

// Recover deletes again: deleting twice is deleting once, and the intent is on record.
func (o ledgerDeleteArchived) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	effect, err := o.delete(ctx, env, in, effectID, true)
	return effect, err == nil, err
}

func (o ledgerDeleteArchived) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	p, segments, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	kept, err := ledgerRetention(tx.View())
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	for _, g := range segments {
		if g.Status == segment.Deleted { // by another ceremony at the same time: what was wanted is so
			continue
		}
		at := a.at
		g.Status, g.DeletedAt, g.DeletedBy = segment.Deleted, &at, in.Ceremony
		held, err := entriesOnHold(tx.View(), g)
		if err != nil {
			return Result{}, err
		}
		detail := map[string]any{"from": g.From, "to": g.To, "first_at": g.FirstAt, "last_at": g.LastAt, "file": g.File, "sha256": g.SHA256, "retention_days": kept.Days}
		if len(held) > 0 { // set while the file was deleted: the record says what is so
			detail["hold_set_meanwhile"] = true
		}
		if p.Gone {
			detail["gone"] = true
		}
		if err := a.put(tx, custodian.KindSegment, g.ID, g, a.event(ledger.DeletionType, ledger.Target{Type: ledger.SegmentTarget, ID: g.ID}, detail)); err != nil {
			return Result{}, err
		}
	}
	return result(map[string]any{"segments": p.Segments}), nil
}

// Undo: there is none. The ceremony is shown as indeterminate until its record is made.
func (ledgerDeleteArchived) Undo(context.Context, Env, Input, Effect) error { return errGone }
