package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
	"conclave/reports"
)

// Bounds of one packed file: few enough entries for a reader to hold, many enough that there are few files.
const (
	packEntries = 4096
	packBytes   = 8 << 20
	packHashes  = 1 << 18
	readHashes  = 4096 // read at once
)

// ledgerPart adds what shows that no entry of the period, and no control-plane entry, was left out.
type ledgerPart struct {
	*builder
	src    reports.Source
	head   ledger.Head
	limits bounds
	open   func(note []byte) (ledger.Head, error)
	notes  []string // handovers of the log key
	period Period
	start  ledger.Head // of the checkpoint kept before the period; zero: none
}

func (b *builder) addLedger(ctx context.Context, src reports.Source, r *reports.Report, limits bounds) error {
	keys, err := chainOf(r.Instance.ID, r.Checkpoint.LogKeys, r.Checkpoint.Handovers)
	if err != nil {
		return err
	}
	open := func(note []byte) (ledger.Head, error) { return openCheckpoint(note, keys) }
	head, err := open([]byte(r.Checkpoint.Note))
	if err != nil {
		return err
	}
	first, end, err := reports.Range(ctx, src, r.From, r.To)
	if err != nil {
		return err
	}
	p := &ledgerPart{builder: b, src: src, head: head, notes: keys.Handovers(), limits: limits, open: open, period: Period{First: first, End: end}}
	for _, step := range []func(context.Context) error{p.checkpoints, p.handovers, p.witnessed, p.control, p.entries, p.edges} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return b.addJSON(filePeriod, p.period)
}

// checkpoints adds those kept around the period, and the proofs that each continues the one before.
func (p *ledgerPart) checkpoints(ctx context.Context) error {
	before, after, err := p.src.Kept(ctx, p.period.First, p.period.End)
	if err != nil {
		return err
	}
	next := p.head.Size
	if after != nil {
		head, err := p.open(after)
		if err != nil {
			return fmt.Errorf("the checkpoint kept after the period: %w", err)
		}
		if head.Size < p.head.Size {
			next, p.period.After = head.Size, head.Size
			if err := p.addCheckpoint(ctx, fileEnd, fileEndProof, after, head.Size, p.head.Size); err != nil {
				return err
			}
		}
	}
	if before == nil {
		return nil
	}
	if p.start, err = p.open(before); err != nil {
		return fmt.Errorf("the checkpoint kept before the period: %w", err)
	}
	if p.start.Size >= next { // the period is empty and at the end
		p.start = ledger.Head{}
		return nil
	}
	p.period.Start = p.start.Size
	return p.addCheckpoint(ctx, fileStart, fileStartProof, before, p.start.Size, next)
}

func (p *ledgerPart) addCheckpoint(ctx context.Context, file, proofFile string, note []byte, size, next uint64) error {
	proof, err := p.src.Consistency(ctx, size, next)
	if err != nil {
		return fmt.Errorf("proving that %d entries continue %d: %w", next, size, err)
	}
	var hashes []byte
	for _, h := range proof {
		hashes = append(hashes, h[:]...)
	}
	return errors.Join(p.add(file, note), p.add(proofFile, hashes))
}

// handovers adds, for each checkpoint at which the log key was replaced, the proof that the bundle's continues it.
func (p *ledgerPart) handovers(ctx context.Context) error {
	for i, note := range p.notes {
		head, err := p.open([]byte(note))
		if err != nil {
			return fmt.Errorf("a handover of the log key: %w", err)
		}
		proof, err := p.src.Consistency(ctx, head.Size, p.head.Size)
		if err != nil {
			return fmt.Errorf("proving that %d entries continue %d: %w", p.head.Size, head.Size, err)
		}
		var hashes []byte
		for _, h := range proof {
			hashes = append(hashes, h[:]...)
		}
		if err := p.add(packed(folderHandovers, i, "hashes"), hashes); err != nil {
			return err
		}
	}
	return nil
}

// witnessed adds what machines outside said of the log: cosigned checkpoints and a time-stamp, each with the proof that the
// bundle's checkpoint continues it.
func (p *ledgerPart) witnessed(ctx context.Context) error {
	notes, err := p.src.Witnessed(ctx)
	if err != nil {
		return err
	}
	for i, note := range notes {
		head, err := p.open(note)
		if err != nil {
			return fmt.Errorf("a cosigned checkpoint: %w", err)
		}
		if err := p.addCheckpoint(ctx, packed(folderWitnessed, i, "note"), packed(folderWitnessed, i, "hashes"), note, head.Size, p.head.Size); err != nil {
			return err
		}
	}
	note, token, err := p.src.Stamped(ctx)
	if err != nil || note == nil {
		return err
	}
	head, err := p.open(note)
	if err != nil {
		return fmt.Errorf("the time-stamped checkpoint: %w", err)
	}
	return errors.Join(p.add(fileStamp, token), p.addCheckpoint(ctx, fileStamped, fileStampedProof, note, head.Size, p.head.Size))
}

// control adds the control-plane entries: all of them, or where an instance has too many, all since the checkpoint
// before the period.
func (p *ledgerPart) control(ctx context.Context) error {
	from := uint64(0)
	if p.head.ControlCount > uint64(p.limits.control) {
		from, p.period.ControlFrom = p.period.Start, p.start.ControlCount
	}
	if n := p.head.ControlCount - p.period.ControlFrom; n > uint64(p.limits.control) {
		return fmt.Errorf("%w: %d control-plane entries since the period began, at most %d: ask for a later period", ErrTooLarge, n, p.limits.control)
	}
	pack := packer{builder: p.builder, folder: folderControl}
	var seqs, arrivals []uint64
	err := p.src.ControlEntries(ctx, p.head.Size, func(e *ledger.Entry, raw []byte) error {
		if e.Seq < from {
			if bringsKey(e.Type) && e.Ceremony != genesisCeremony {
				arrivals = append(arrivals, e.Seq)
			}
			return nil
		}
		seqs = append(seqs, e.Seq)
		return pack.entry(raw)
	})
	if err != nil {
		return fmt.Errorf("reading the control plane: %w", err)
	}
	if err := pack.flush("entries"); err != nil {
		return err
	}
	for _, seq := range arrivals { // what is known of keys that came before
		if err := p.single(ctx, p.src, seq); err != nil {
			return err
		}
	}
	return p.cover(ctx, fileControlCover, ledger.EntrySpans(seqs))
}

func (p *ledgerPart) cover(ctx context.Context, file string, spans []ledger.Span) error {
	hashes, err := ledger.ProveCover(p.head.Size, spans, p.src.Hashes(ctx))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return p.write(file, func(w io.Writer) error {
		for i := range hashes {
			if _, err := w.Write(hashes[i][:]); err != nil {
				return err
			}
		}
		return nil
	})
}

// entries adds the entries of the period, or where they are too many, their hashes.
func (p *ledgerPart) entries(ctx context.Context) error {
	first, end := p.period.First, p.period.End
	spans := ledger.RangeSpans(first, end, 0)
	p.period.Form = formEntries
	err := errTooMany
	if end-first <= p.limits.entries {
		err = p.wholeEntries(ctx)
	}
	if errors.Is(err, errTooMany) {
		p.period.Form, err = formLeaves, nil
		if end-first > p.limits.leaves {
			p.period.Form = formSubtrees
			spans = ledger.RangeSpans(first, end, subtreeHeight)
		}
		err = p.hashes(ctx, spans)
	}
	if err != nil {
		return err
	}
	return p.cover(ctx, filePeriodCover, spans)
}

// errTooMany: the entries of the period are too large to travel.
var errTooMany = errors.New("too many entries for a bundle")

// wholeEntries adds the entries themselves, all or none.
func (p *ledgerPart) wholeEntries(ctx context.Context) error {
	before, total := p.end, p.total
	pack := packer{builder: p.builder, folder: folderPeriod}
	err := p.src.Entries(ctx, p.period.First, p.period.End, func(_ *ledger.Entry, raw []byte) error {
		if p.total-total+int64(pack.data.Len()) > p.limits.bytes {
			return errTooMany
		}
		return pack.entry(raw)
	})
	if err == nil {
		err = pack.flush("entries")
	}
	if err != nil {
		p.drop(folderPeriod, before)
		return fmt.Errorf("reading the period's entries: %w", err)
	}
	return nil
}

// hashes adds the hashes of spans.
func (p *ledgerPart) hashes(ctx context.Context, spans []ledger.Span) error {
	reader := p.src.Hashes(ctx)
	pack := packer{builder: p.builder, folder: folderPeriod}
	for _, s := range spans {
		for at, last := s.From>>s.Height, s.To>>s.Height; at < last; at += readHashes {
			indexes := make([]int64, min(readHashes, last-at))
			for i := range indexes {
				indexes[i] = tlog.StoredHashIndex(s.Height, int64(at)+int64(i))
			}
			got, err := reader.ReadHashes(indexes)
			if err != nil {
				return fmt.Errorf("reading the hashes of the period: %w", err)
			}
			for i := range got {
				if err := pack.hash(got[i]); err != nil {
					return err
				}
			}
		}
	}
	return pack.flush("hashes")
}

// edges adds the entries on both sides of the period's bounds: their times show that the period ends there. For one
// outside that was deleted the record of its deletion stands, which is among the control-plane entries.
func (p *ledgerPart) edges(ctx context.Context) error {
	for _, seq := range edges(p.period, p.head.Size) {
		err := p.single(ctx, p.src, seq)
		var gone *ledger.DeletedError
		if errors.As(err, &gone) && !p.period.holds(seq) {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// edges are the entries beside the bounds of a period, inside and outside.
func edges(p Period, size uint64) []uint64 {
	var out []uint64
	if p.First > 0 {
		out = append(out, p.First-1)
	}
	if p.First < p.End {
		out = append(out, p.First, p.End-1)
	}
	if p.End < size {
		out = append(out, p.End)
	}
	return out
}

// packer writes entries or hashes into numbered files.
type packer struct {
	*builder
	folder string
	data   bytes.Buffer
	count  int
	files  int
}

func (p *packer) entry(raw []byte) error {
	framed, err := ledger.AppendBundle(p.data.AvailableBuffer(), raw)
	if err != nil {
		return err
	}
	p.data.Write(framed)
	if p.count++; p.count == packEntries || p.data.Len() >= packBytes {
		return p.flush("entries")
	}
	return nil
}

func (p *packer) hash(h tlog.Hash) error {
	p.data.Write(h[:])
	if p.count++; p.count == packHashes {
		return p.flush("hashes")
	}
	return nil
}

// flush ends a file, if one is begun.
func (p *packer) flush(ending string) error {
	if p.count == 0 {
		return nil
	}
	name := packed(p.folder, p.files, ending)
	err := p.add(name, p.data.Bytes())
	p.data.Reset()
	p.count, p.files = 0, p.files+1
	return err
}
