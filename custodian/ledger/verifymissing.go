package ledger

import (
	"context"
	"iter"
)

// A full group whose entry bundle is missing is taken by its leaf hashes, with what remains of it: its control entries.
// It stands if the log itself records, later, that it was deleted.

// takeMissing takes the group due at pos without its entries.
func (c *entryCheck) takeMissing(ctx context.Context, index uint64) error {
	v, from, to := c.v, index*TileWidth, (index+1)*TileWidth
	if c.pos != from {
		return at(ErrTruncated, c.pos, "%s is missing, and %d entries stand before it", EntriesPath(index, TileWidth), c.pos)
	}
	if n := len(c.missing); n > 0 && c.missing[n-1].To == from {
		c.missing[n-1].To = to
	} else {
		c.missing = append(c.missing, Span{From: from, To: to})
	}
	c.missingTo = to
	tile, err := c.leaves.group(ctx, index)
	if err != nil {
		return err
	}
	data, err := v.files.kept(ctx, index)
	if err != nil {
		return err
	}
	v.report.HashOnly += TileWidth
	for kept, err := range keptEntries(index, tile, data) {
		if err != nil {
			return err
		}
		v.report.HashOnly--
		if err := c.found(kept.Seq, kept, nil); err != nil {
			return err
		}
	}
	for seq := from; seq < to; seq++ {
		v.append(c.tree, leafOf(tile, seq))
	}
	c.pos = to
	return nil
}

// keptEntries walks the control entries that remain of a group, ascending, each held against its leaf in the group's
// level-0 tile. What is wrong is a [VerifyError]. That none is left out the control chain says.
func keptEntries(index uint64, tile, data []byte) iter.Seq2[*Entry, error] {
	return func(yield func(*Entry, error) bool) {
		due := index * TileWidth
		for raw, err := range ReadBundle(data) {
			if err != nil {
				yield(nil, somewhere(unreadable(err), "%s: %s", KeptPath(index), err))
				return
			}
			e, err := keptEntry(index, due, tile, raw)
			if !yield(e, err) || err != nil {
				return
			}
			due = e.Seq + 1
		}
	}
}

func keptEntry(index, due uint64, tile, raw []byte) (*Entry, error) {
	name := KeptPath(index)
	e, err := Decode(raw)
	switch {
	case err != nil:
		return nil, somewhere(ErrEdited, "%s: %s", name, err)
	case e.Seq/TileWidth != index:
		return nil, somewhere(ErrInserted, "%s holds entry %d, which is of another group", name, e.Seq)
	case LeafHash(raw) != leafOf(tile, e.Seq):
		return nil, at(ErrEdited, e.Seq, "%s: the entry does not hash to what was recorded", name)
	case e.Seq < due:
		return nil, at(ErrReordered, e.Seq, "%s: it comes after entry %d", name, due-1)
	case e.Link == nil:
		return nil, at(ErrTiles, e.Seq, "%s: it is no control entry", name)
	}
	return e, nil
}

// noteDeletion takes what a deletion covers out of what is missing.
func (c *entryCheck) noteDeletion(e *Entry) error {
	d, is, err := ReadDeletion(e)
	if err != nil || !is {
		return err
	}
	var left []Span
	relied := false
	for _, s := range c.missing {
		if s.To <= d.From || d.To <= s.From {
			left = append(left, s)
			continue
		}
		relied = true
		left = append(left, nonEmpty(Span{From: s.From, To: d.From}, Span{From: d.To, To: s.To})...)
	}
	if relied {
		c.missing = left
		c.v.report.Deleted = append(c.v.report.Deleted, d)
	}
	return nil
}

// hidden is the finding where the chain counts control entries, number of them up to the one at prev, that were not
// among what remains of the groups without their entries; nil where that is not so.
func (c *entryCheck) hidden(number, prev uint64) *VerifyError {
	met, last := c.rules.controlCount, c.rules.controlLast
	if number <= met || prev >= c.missingTo || (prev <= last && met > 0) {
		return nil
	}
	if number-met > 1 {
		return somewhere(ErrTruncated, "%d control entries after entry %d, the last of them %d, are missing; control entries are never deleted", number-met, last, prev)
	}
	return at(ErrTruncated, prev, "the control entry is missing from %s; control entries are never deleted", KeptPath(prev/TileWidth))
}

// cutOff is the finding where the log ends too early. A deletion of what is missing last would have been recorded in what
// follows it.
func (c *entryCheck) cutOff() *VerifyError {
	first := c.pos
	if n := len(c.missing); n > 0 && c.missing[n-1].To == first {
		first = c.missing[n-1].From
	}
	found := at(ErrTruncated, first, "%d entries of the %d that the checkpoint covers", first, c.v.head.Size)
	if c.v.tileFlaw != nil {
		found.Detail += "; whether a ceremony deleted the next ones can not be told: " + c.v.tileFlaw.Detail
	}
	return found
}
