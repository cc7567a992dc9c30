package bundle

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// controlPlane checks the chain of control-plane entries from its beginning, or from the checkpoint before the
// period, up to the bundle's checkpoint. They say which revision of every row is the newest.
func (v *verifier) controlPlane(context.Context) error {
	number, last := uint64(0), uint64(0)
	if v.span.ControlFrom > 0 {
		number, last = v.startHead.ControlCount, v.startHead.ControlLast
		if v.span.Start == 0 || v.span.ControlFrom != number {
			return faultf(filePeriod, ErrLeftOut, "control-plane entries begin with number %d, the checkpoint before the period counts %d", v.span.ControlFrom, number)
		}
	}
	v.newest = map[rowName]change{}
	var turns []*ledger.Rotation
	var seqs []uint64
	var leaves []tlog.Hash
	for p, err := range v.packedEntries(folderControl) {
		if err != nil {
			return err
		}
		link := p.entry.Link
		if link == nil || link.Number != number || link.Prev != last || (len(seqs) > 0 && p.entry.Seq <= last) {
			return faultf(p.file, ErrLeftOut, "entry %d stands where control-plane entry number %d, the one after entry %d, is due", p.entry.Seq, number, last)
		}
		number, last = number+1, p.entry.Seq
		seqs, leaves = append(seqs, p.entry.Seq), append(leaves, ledger.LeafHash(p.raw))
		for _, r := range p.entry.Rows {
			v.newest[rowName{r.Kind, r.ID}] = change{r, p.entry.Seq}
		}
		v.notePolicy(p.entry)
		if err := v.noteDeletion(p); err != nil {
			return err
		}
		v.noteArrival(p.entry)
		turn, is, err := ledger.ReadRotation(p.entry)
		if err != nil {
			return fault(p.file, fmt.Errorf("%w: %w", ErrFormat, err))
		}
		if is {
			turns = append(turns, turn)
		}
	}
	if number != v.head.ControlCount || last != v.head.ControlLast {
		return faultf(folderControl, ErrLeftOut, "%d control-plane entries, the last at %d; the checkpoint counts %d, the last at %d",
			number, last, v.head.ControlCount, v.head.ControlLast)
	}
	if last >= v.head.Size {
		return faultf(folderControl, ErrProof, "entry %d in a log of %d", last, v.head.Size)
	}
	if err := v.covered(fileControlCover, ledger.EntrySpans(seqs), leaves); err != nil {
		return err
	}
	v.result.Complete = v.span.ControlFrom == 0
	if v.result.Complete {
		if err := v.chain.CheckRotations(turns, v.head); err != nil {
			return fault(fileCheckpoint, fmt.Errorf("%w: %w", ErrSignature, err))
		}
		v.say("The bundle holds all %d control-plane entries, in an unbroken chain up to the checkpoint.", number)
		return nil
	}
	v.say("The bundle holds all control-plane entries from number %d, before the period, to number %d, the checkpoint's last, in an unbroken chain. What was written before is not in it: a row older than the period is shown unchanged since, not that none was left out.",
		v.span.ControlFrom, number-1)
	return nil
}

// noteDeletion keeps the deletion that an entry records.
func (v *verifier) noteDeletion(p packedEntry) error {
	d, is, err := ledger.ReadDeletion(p.entry)
	if err != nil {
		return fault(p.file, fmt.Errorf("%w: %w", ErrFormat, err))
	}
	if is {
		v.deletions = append(v.deletions, d)
	}
	return nil
}
