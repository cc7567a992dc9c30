package backup

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"conclave/custodian/ledger"
)

// Journals of an instance that was restored before tell of more than one history: what was left behind, and what came
// after the recovery, with the same numbers. Each segment begins with the last control entry of its backup, so that
// segments are put together by entries that they share, and histories part where entries of one number differ.

// segment is one file of blocks.
type segment struct {
	part   JournalPart
	blocks []*Block
}

// step is one control entry.
type step struct {
	number uint64
	sum    [sha256.Size]byte
	entry  *ledger.Entry
	parent *step
	own    bool // in a segment of the backup that is restored
	blocks []*Block
	kin    kinship
	leads  bool // another step that counts follows
}

// kinship of a step to the backup.
type kinship uint8

const (
	unjudged kinship = iota
	follows          // it comes after the backup
	apart            // nothing links it to the backup or parts it
	foreign          // it follows another entry than the backup's last one
)

// histories are all steps by number.
type histories map[uint64][]*step

func (h histories) find(number uint64, sum [sha256.Size]byte) *step {
	for _, s := range h[number] {
		if s.sum == sum {
			return s
		}
	}
	return nil
}

func (h histories) add(g *segment, backup string) error {
	var before *step
	for _, b := range g.blocks {
		for i, raw := range b.Entries {
			number, sum := b.From+uint64(i), sha256.Sum256(raw)
			s := h.find(number, sum)
			if s == nil {
				e, err := ledger.Decode(raw)
				if err != nil {
					return fmt.Errorf("%w: %w", ErrJournal, err)
				}
				s = &step{number: number, sum: sum, entry: e}
				h[number] = append(h[number], s)
			}
			if s.parent == nil {
				s.parent = before
			}
			s.own = s.own || b.Backup == backup
			before = s
		}
		before.blocks = append(before.blocks, b)
	}
	return nil
}

// judge says of every step how it stands to the backup whose control entries are those below from, the last at Seq last;
// nil: to any backup with so many.
func (h histories) judge(from uint64, last *uint64) {
	var roots []*step
	if from > 0 {
		roots = slices.DeleteFunc(slices.Clone(h[from-1]), func(s *step) bool { return last != nil && s.entry.Seq != *last })
		if slices.ContainsFunc(roots, func(s *step) bool { return s.own }) {
			roots = slices.DeleteFunc(roots, func(s *step) bool { return !s.own })
		}
	}
	for _, number := range slices.Sorted(maps.Keys(h)) {
		for _, s := range h[number] {
			switch {
			case number+1 == from && slices.Contains(roots, s):
				s.kin = follows
			case number < from:
				s.kin = foreign // an earlier entry, or another history's: what follows it without a root is not the backup's
			case s.parent != nil:
				s.kin = s.parent.kin
			case number == from && (s.own || last == nil):
				s.kin = follows
			default:
				s.kin = apart
			}
		}
	}
}

// After says what the journals know of everything after a backup: its id, its ledger's head. What is of a history that
// was left before the backup was made is not of this one, and is left out.
func (l *Lost) After(backup string, head ledger.Head) (*Lost, error) {
	return l.after(backup, head.ControlCount, &head.ControlLast)
}

func (l *Lost) after(backup string, from uint64, last *uint64) (*Lost, error) {
	h := histories{}
	for i := range l.segments {
		if err := h.add(&l.segments[i], backup); err != nil {
			return nil, err
		}
	}
	h.judge(from, last)
	out := &Lost{Parts: l.Parts, To: from, Handovers: l.Handovers, segments: l.segments, verify: l.verify, Changed: map[string][]string{}}
	var ends []*step
	left, changed := map[string]bool{}, map[[2]string]bool{}
	for _, number := range slices.Sorted(maps.Keys(h)) {
		for _, s := range h[number] {
			if number < from {
				continue
			}
			if s.kin == foreign {
				for _, b := range s.blocks {
					left[b.Backup] = true
				}
				continue
			}
			if s.parent != nil {
				s.parent.leads = true
			}
			if s.kin == follows {
				out.To = max(out.To, number+1)
			}
			if s.entry.Seq >= out.Last {
				out.Last, out.LastAt = s.entry.Seq, s.entry.At
			}
			for _, r := range s.entry.Rows {
				changed[[2]string{r.Kind, r.ID}] = true
			}
			if err := out.take(s); err != nil {
				return nil, err
			}
			ends = append(ends, s)
		}
	}
	ends = slices.DeleteFunc(ends, func(s *step) bool { return s.leads })
	out.tell(ends, left)
	for row := range changed {
		out.Changed[row[0]] = append(out.Changed[row[0]], row[1])
	}
	for _, ids := range out.Changed {
		slices.Sort(ids)
	}
	var each [][]Fact
	for _, end := range ends {
		each = append(each, Newest(told(end, from)))
	}
	if len(each) > 0 {
		out.Facts = merge(each)
	}
	return out, nil
}

// take keeps the checkpoints of the blocks that end with a step.
func (l *Lost) take(s *step) error {
	for _, b := range s.blocks {
		head, err := l.verify([]byte(b.Checkpoint))
		if err != nil {
			return fmt.Errorf("%w: checkpoint: %w", ErrJournal, err)
		}
		l.Heads = append(l.Heads, head)
	}
	return nil
}

// tell words what the journals are of, where that is more than one history.
func (l *Lost) tell(ends []*step, left map[string]bool) {
	if len(ends) > 1 {
		l.Notes = append(l.Notes, fmt.Sprintf("the journals tell of %d histories, or parts without a link, after the backup: of each row the more restrictive counts", len(ends)))
	}
	for _, backup := range slices.Sorted(maps.Keys(left)) {
		l.Notes = append(l.Notes, fmt.Sprintf("the journal of backup %s goes on in a history that was left before this backup was made: that part is not applied", backup))
	}
}

// told are the facts on the way to the end of one history, oldest first.
func told(end *step, from uint64) []Fact {
	var blocks []*Block
	for s := end; s != nil && s.number >= from; s = s.parent {
		blocks = append(blocks, s.blocks...)
	}
	slices.SortStableFunc(blocks, func(a, b *Block) int { return cmp.Compare(a.Next(), b.Next()) })
	var out []Fact
	for _, b := range blocks {
		out = append(out, b.Facts...)
	}
	return out
}
