package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// instanceTarget is the Target.Type of entry 0; its Target.ID is the instance id.
const instanceTarget = "instance"

// checkEntries reads every entry once, judges it, and builds the tree of exactly the bytes judged: a
// source that answers differently the second time it is asked gains nothing.
func (v *verifier) checkEntries(ctx context.Context) error {
	c := &entryCheck{v: v, leaves: leafReader{files: v.files}, tree: NewTree()}
	next, stop := iter.Pull2(v.entries(ctx))
	defer stop()
	for {
		it, err, ok := next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if it.raw != nil {
			err = c.take(ctx, it.raw, next)
		} else {
			err = c.takeMissing(ctx, it.group)
		}
		if err != nil {
			return err
		}
		if c.pos%TileWidth == 0 && v.in.Progress != nil {
			v.in.Progress(c.pos, v.head.Size)
		}
	}
	return c.finish()
}

// item is what stands next in a log: an encoded entry or, where raw is nil, a full group without its entry bundle.
type item struct {
	raw   []byte
	group uint64
}

// entries is every entry in the order in which the bundles hold them, whatever their number. It ends where a bundle is
// missing for which the hash tiles can not stand in.
func (v *verifier) entries(ctx context.Context) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for index := uint64(0); index*TileWidth < v.head.Size; index++ {
			data, grown, err := v.files.bundle(ctx, index)
			if errors.Is(err, fs.ErrNotExist) {
				if !v.leavesGenuine || v.files.width(index) < TileWidth || !yield(item{group: index}, nil) {
					return
				}
				continue
			}
			if err != nil {
				yield(item{}, err)
				return
			}
			if !v.bundleEntries(index, data, grown, yield) {
				return
			}
		}
	}
}

// bundleEntries yields one bundle's entries and says whether to go on.
func (v *verifier) bundleEntries(index uint64, data []byte, grown bool, yield func(item, error) bool) bool {
	width, count := v.files.width(index), 0
	for raw, err := range ReadBundle(data) {
		if err != nil {
			yield(item{}, at(unreadable(err), index*TileWidth+uint64(count), "%s: %s", EntriesPath(index, width), err))
			return false
		}
		if grown && count == width {
			return true
		}
		count++
		if !yield(item{raw: raw}, nil) {
			return false
		}
	}
	if count != width {
		v.flawed(index*TileWidth, "%s holds %d entries, want %d", EntriesPath(index, width), count, width)
	}
	return true
}

// unreadable is the finding of bytes that are no entry bundle.
func unreadable(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return ErrEdited
}

// entryCheck is the state of one pass over the entries.
type entryCheck struct {
	v      *verifier
	leaves leafReader
	tree   *Tree // of the entries so far
	pos    uint64
	rules  rules
	flaw   *VerifyError // first entry that breaks a rule
	// missing are the runs of groups without their entries that no deletion met so far covers; missingTo is where the last
	// of all such groups ends.
	missing   []Span
	missingTo uint64
}

// pull gives the next entry, as iter.Pull2 does.
type pull func() (item, error, bool)

// take judges the entry at pos.
func (c *entryCheck) take(ctx context.Context, raw []byte, rest pull) error {
	if c.pos >= c.v.head.Size {
		return at(ErrInserted, c.pos, "the checkpoint covers %d entries only", c.v.head.Size)
	}
	e, decodeErr := Decode(raw)
	hash := LeafHash(raw)
	if c.v.leavesGenuine {
		want, err := c.leaves.at(ctx, c.pos)
		if err != nil {
			return err
		}
		if hash != want {
			return c.misplaced(ctx, e, hash, rest)
		}
	} else if decodeErr == nil && e.Seq != c.pos {
		return c.misplaced(ctx, e, hash, rest)
	}
	c.v.append(c.tree, hash)
	if err := c.found(c.pos, e, decodeErr); err != nil {
		return err
	}
	c.pos++
	return nil
}

// found notes what the entry recorded at pos says, and where it is the first that breaks a rule. An error ends the
// verification.
func (c *entryCheck) found(pos uint64, e *Entry, err error) error {
	if err == nil {
		err = c.noteDeletion(e)
	}
	if c.flaw != nil {
		return nil
	}
	if err == nil && e.Link != nil {
		if c.flaw = c.hidden(e.Link.Number, e.Link.Prev); c.flaw != nil {
			return nil
		}
	}
	if err == nil {
		err = c.judge(pos, e)
	}
	var observed *observerError
	if errors.As(err, &observed) {
		return observed.err
	}
	if err != nil {
		c.flaw = at(ErrRules, pos, "%s", err)
	}
	return nil
}

// observerError is what [VerifyInput.Observe] returned.
type observerError struct{ err error }

func (e *observerError) Error() string { return e.err.Error() }

// judge holds an entry to the rules, and notes a recovery that it begins and a log key that it announces.
func (c *entryCheck) judge(pos uint64, e *Entry) error {
	if err := c.rules.check(pos, e, c.v.report); err != nil {
		return err
	}
	r, is, err := ReadRecovery(e)
	if err != nil {
		return err
	}
	if is {
		c.v.report.Recoveries = append(c.v.report.Recoveries, r)
	}
	turn, is, err := ReadRotation(e)
	if err != nil {
		return err
	}
	if is {
		c.v.report.Rotations = append(c.v.report.Rotations, turn)
	}
	if c.v.in.Observe != nil {
		if err := c.v.in.Observe(e); err != nil {
			return &observerError{err}
		}
	}
	return nil
}

// finish judges the whole.
func (c *entryCheck) finish() error {
	v := c.v
	if c.pos < v.head.Size {
		return c.cutOff()
	}
	if c.tree.Root() != v.head.Root {
		if c.flaw != nil {
			return at(ErrEdited, c.flaw.Seq, "%s", c.flaw.Detail)
		}
		if v.tileFlaw != nil && v.tileFlaw.Seq > 0 {
			return at(ErrEdited, v.tileFlaw.Seq, "or shortly after: entries hash to another root than the one signed; %s", v.tileFlaw.Detail)
		}
		return somewhere(ErrEdited, "the entries hash to another root than the one signed; the tiles do not tell which one is wrong")
	}
	for _, p := range v.pins {
		switch {
		case p.match && p.handed:
		case p.handed:
			return somewhere(ErrFork, "its first %d entries are not those at which its log key was replaced", p.head.Size)
		case p.match || p.head.Size == 0:
			v.report.Contains = append(v.report.Contains, p.head.Size)
		default:
			if err := v.missed(p); err != nil {
				return err
			}
		}
	}
	if len(c.missing) > 0 {
		first := c.missing[0]
		return at(ErrTruncated, first.From, "%s are missing, and no ceremony deleted them", entryRun(first.From, first.To))
	}
	if c.flaw != nil {
		return c.flaw
	}
	if v.tileFlaw != nil {
		return v.tileFlaw
	}
	if hidden := c.hidden(v.head.ControlCount, v.head.ControlLast); hidden != nil {
		return hidden
	}
	if err := c.rules.finish(v.head); err != nil {
		return somewhere(ErrRules, "%s", err)
	}
	if v.in.Trust != nil && v.report.Instance != v.in.Trust.Instance {
		return at(ErrForeign, 0, "genesis of instance %s, want %s", v.report.Instance, v.in.Trust.Instance)
	}
	if v.chain == nil { // signature not checked
		return nil
	}
	return v.chain.CheckRotations(v.report.Rotations, v.head)
}

// misplaced names what happened where an entry is not the one due at pos. It reads the rest of the log
// once, to see whether the one due comes later and how many entries there are.
func (c *entryCheck) misplaced(ctx context.Context, e *Entry, hash tlog.Hash, rest pull) error {
	genuine := e != nil && e.Seq < c.v.head.Size && e.Seq != c.pos
	if genuine && c.v.leavesGenuine {
		leaf, err := c.leaves.at(ctx, e.Seq)
		if err != nil {
			return err
		}
		genuine = leaf == hash
	}
	later, total := false, c.pos+1
	for {
		it, err, ok := rest()
		var malformed *VerifyError
		if err != nil && !errors.As(err, &malformed) {
			return err
		}
		if err != nil || !ok {
			break // after what is malformed nothing stands
		}
		if it.raw == nil {
			total += TileWidth
			continue
		}
		total++
		if later {
			continue
		}
		if later, err = c.isDue(ctx, it.raw); err != nil {
			return err
		}
	}
	switch {
	case !genuine && later:
		return at(ErrInserted, c.pos, "the entry recorded here comes later")
	case !genuine:
		return at(ErrEdited, c.pos, "the entry does not hash to what was recorded")
	case later && (e.Seq < c.pos || total > c.v.head.Size):
		return at(ErrInserted, c.pos, "a copy of entry %d stands here, the entry recorded here comes later", e.Seq)
	case later:
		return at(ErrReordered, c.pos, "entry %d stands here", e.Seq)
	case e.Seq > c.pos:
		return at(ErrTruncated, c.pos, "entry %d follows, those before it are missing", e.Seq)
	default:
		return at(ErrEdited, c.pos, "replaced by a copy of entry %d", e.Seq)
	}
}

// isDue says whether an encoded entry is the one recorded at pos.
func (c *entryCheck) isDue(ctx context.Context, raw []byte) (bool, error) {
	if c.v.leavesGenuine {
		want, err := c.leaves.at(ctx, c.pos)
		return want == LeafHash(raw), err
	}
	e, err := Decode(raw)
	return err == nil && e.Seq == c.pos, nil
}

// rules are what holds from entry to entry.
type rules struct {
	at           time.Time
	epoch        uint64
	controlCount uint64
	controlLast  uint64
}

func (r *rules) check(pos uint64, e *Entry, report *VerifyReport) error {
	if e.Seq != pos {
		return fmt.Errorf("entry says it is number %d", e.Seq)
	}
	if pos == 0 {
		if err := checkGenesis(e, report); err != nil {
			return err
		}
	}
	if e.At.Before(r.at) {
		return fmt.Errorf("its time %s is before that of the entry before it, %s", e.At.Format(time.RFC3339Nano), r.at.Format(time.RFC3339Nano))
	}
	if e.Epoch < r.epoch {
		return fmt.Errorf("its authority epoch %d is below %d of the entry before it", e.Epoch, r.epoch)
	}
	r.at, r.epoch = e.At, e.Epoch
	report.Last = e.At
	if e.Link == nil {
		return nil
	}
	if e.Link.Number != r.controlCount || e.Link.Prev != r.controlLast {
		return fmt.Errorf("control chain: it is number %d after entry %d, want number %d after entry %d", e.Link.Number, e.Link.Prev, r.controlCount, r.controlLast)
	}
	r.controlCount++
	r.controlLast = pos
	return nil
}

func checkGenesis(e *Entry, report *VerifyReport) error {
	report.First, report.Instance = e.At, e.Target.ID
	if e.Link == nil {
		return errors.New("the genesis entry is not a control entry")
	}
	if e.Target.Type != instanceTarget {
		return fmt.Errorf("the genesis entry's target is a %q, want %q", e.Target.Type, instanceTarget)
	}
	origin, err := Origin(e.Target.ID)
	if err != nil {
		return fmt.Errorf("genesis entry: %w", err)
	}
	if origin != report.Origin {
		return fmt.Errorf("genesis entry of %s in a log of %s", origin, report.Origin)
	}
	return nil
}

// finish holds the chain against the signed head.
func (r *rules) finish(h Head) error {
	if r.controlCount != h.ControlCount || r.controlLast != h.ControlLast {
		return fmt.Errorf("control chain: %d entries, the last at %d; the checkpoint says %d, the last at %d", r.controlCount, r.controlLast, h.ControlCount, h.ControlLast)
	}
	if r.epoch > h.Epoch {
		return fmt.Errorf("authority epoch: entries reach %d, the checkpoint says %d", r.epoch, h.Epoch)
	}
	return nil
}
