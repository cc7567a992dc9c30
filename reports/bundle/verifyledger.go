package bundle

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// period reads what the bundle says of the period's place in the ledger.
func (v *verifier) period(context.Context) error {
	data, err := v.archive.read(filePeriod)
	if err != nil {
		return err
	}
	if err := decode(filePeriod, data, &v.span); err != nil {
		return err
	}
	p := v.span
	if p.First > p.End || p.End > v.head.Size || p.Start > p.First || (p.After != 0 && (p.After < p.End || p.After >= v.head.Size)) {
		return faultf(filePeriod, ErrFormat, "entries %d to %d, checkpoints of %d and %d, in a log of %d", p.First, p.End, p.Start, p.After, v.head.Size)
	}
	return v.kept()
}

// kept checks the checkpoints from around the period, and that each continues the one before.
func (v *verifier) kept() error {
	newer := v.head
	for _, c := range []struct {
		file, proof, what string
		size              uint64
		head              *ledger.Head
	}{{fileEnd, fileEndProof, "at the end of", v.span.After, &v.endHead}, {fileStart, fileStartProof, "before", v.span.Start, &v.startHead}} {
		if c.size == 0 {
			for _, name := range []string{c.file, c.proof} {
				if v.archive.files[name] != nil {
					return faultf(name, ErrExtra, "%s names no such checkpoint", filePeriod)
				}
			}
			continue
		}
		older, _, err := v.continuing(c.file, c.proof, newer)
		if err != nil {
			return err
		}
		if older.Size != c.size {
			return faultf(c.file, ErrCheckpoint, "it is of %d entries, %s says %d", older.Size, filePeriod, c.size)
		}
		v.say("The checkpoint kept %s the period (%d entries) is signed by the log key, and the log of %d entries continues it (RFC 6962 consistency).",
			c.what, older.Size, newer.Size)
		newer, *c.head = older, older
	}
	return nil
}

// continuing opens a checkpoint of the log and checks that a newer one continues it.
func (v *verifier) continuing(file, proofFile string, newer ledger.Head) (ledger.Head, []byte, error) {
	note, err := v.archive.read(file)
	if err != nil {
		return ledger.Head{}, nil, err
	}
	older, err := openCheckpoint(note, v.chain)
	if err != nil {
		return ledger.Head{}, nil, fault(file, err)
	}
	proof, err := v.hashes(proofFile)
	if err != nil {
		return ledger.Head{}, nil, err
	}
	if err := ledger.CheckConsistency(tlog.TreeProof(proof), older, newer); err != nil {
		return ledger.Head{}, nil, fault(file, fmt.Errorf("%w: the log of %d entries is not shown to continue that of %d: %w", ErrFork, newer.Size, older.Size, err))
	}
	return older, note, nil
}

// hashes reads a file of hashes.
func (v *verifier) hashes(name string) ([]tlog.Hash, error) {
	data, err := v.archive.read(name)
	if err != nil {
		return nil, err
	}
	if len(data)%tlog.HashSize != 0 {
		return nil, faultf(name, ErrFormat, "%d bytes are no whole number of hashes", len(data))
	}
	out := make([]tlog.Hash, 0, len(data)/tlog.HashSize)
	for ; len(data) > 0; data = data[tlog.HashSize:] {
		out = append(out, tlog.Hash(data[:tlog.HashSize]))
	}
	return out, nil
}

// packedFiles walks the numbered files of a folder, with their number; any other file in it is extra.
func (v *verifier) packedFiles(folder, ending string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		n := 0
		for _, f := range v.manifest.Files {
			if strings.HasPrefix(f.Path, folder) {
				n++
			}
		}
		for i := range n {
			name := packed(folder, i, ending)
			if v.archive.files[name] == nil {
				yield("", fault(name, ErrMissing))
				return
			}
			if !yield(name, nil) {
				return
			}
		}
	}
}

// packedEntry is one entry of a packed file.
type packedEntry struct {
	file  string
	entry *ledger.Entry
	raw   []byte
}

// packedEntries walks the entries of a folder in order.
func (v *verifier) packedEntries(folder string) iter.Seq2[packedEntry, error] {
	return func(yield func(packedEntry, error) bool) {
		for name, err := range v.packedFiles(folder, "entries") {
			if err != nil {
				yield(packedEntry{}, err)
				return
			}
			data, err := v.archive.read(name)
			if err != nil {
				yield(packedEntry{}, err)
				return
			}
			for raw, err := range ledger.ReadBundle(data) {
				var e *ledger.Entry
				if err == nil {
					e, err = ledger.Decode(raw)
				}
				if err != nil {
					yield(packedEntry{}, fault(name, fmt.Errorf("%w: %w", ErrFormat, err)))
					return
				}
				if !yield(packedEntry{name, e, raw}, nil) {
					return
				}
			}
		}
	}
}

// periodEntries checks that the bundle accounts for every entry of the period: the entries, or their hashes, make
// with what covers the rest of the log the root that is signed.
func (v *verifier) periodEntries(context.Context) error {
	if err := v.periodEdges(); err != nil {
		return err
	}
	first, end := v.span.First, v.span.End
	spans := ledger.RangeSpans(first, end, 0)
	var leaves []tlog.Hash
	var err error
	switch v.span.Form {
	case formEntries:
		leaves, err = v.wholePeriod()
	case formLeaves:
		leaves, err = v.periodHashes()
	case formSubtrees:
		spans = ledger.RangeSpans(first, end, subtreeHeight)
		leaves, err = v.periodHashes()
	default:
		err = faultf(filePeriod, ErrFormat, "form %q, allowed: %s, %s, %s", clip(v.span.Form), formEntries, formLeaves, formSubtrees)
	}
	if err != nil {
		return err
	}
	want := uint64(0)
	for _, s := range spans {
		want += s.Nodes()
	}
	if uint64(len(leaves)) != want {
		return faultf(filePeriod, ErrLeftOut, "the period has entries %d to %d, %s of %d are there, of %d are due", first, end, v.span.Form, len(leaves), want)
	}
	if err := v.covered(filePeriodCover, spans, leaves); err != nil {
		return err
	}
	v.result.PeriodEntries = end - first
	switch v.span.Form {
	case formEntries:
		v.say("All %d entries of the period are in the bundle, in order, and none is left out: with what covers the rest they make the checkpoint's root.", end-first)
	default:
		v.say("The bundle accounts for all %d entries of the period by their hashes, which make the checkpoint's root: none is left out. The entries themselves are too many for a bundle: `conclave ledger export` gives them.", end-first)
	}
	return nil
}

// covered holds known hashes and a cover to the checkpoint.
func (v *verifier) covered(file string, spans []ledger.Span, known []tlog.Hash) error {
	cover, err := v.hashes(file)
	if err != nil {
		return err
	}
	next := func() (tlog.Hash, error) {
		if len(known) == 0 {
			return tlog.Hash{}, fmt.Errorf("%w: fewer entries than positions", ledger.ErrProof)
		}
		h := known[0]
		known = known[1:]
		return h, nil
	}
	roots, err := ledger.CheckCover(v.head, spans, cover, next, append(v.sizes, v.least.Size)...)
	if err != nil {
		return fault(file, fmt.Errorf("%w: %w", ErrLeftOut, err))
	}
	maps.Copy(v.roots, roots)
	root, seen := roots[v.least.Size]
	if !seen || v.continued {
		return nil
	}
	if root != v.least.Root {
		return faultf(fileCheckpoint, ErrFork, "its first %d entries are not those of the trust file's checkpoint", v.least.Size)
	}
	v.continued = true
	v.say("The log continues the trust file's checkpoint of %d entries.", v.least.Size)
	return nil
}

// anchored says so where the bundle could not show that its log continues the trust file's checkpoint.
func (v *verifier) anchored(context.Context) error {
	if v.least.Size > 0 && !v.continued {
		v.say("The checkpoint is not older than the trust file's (%d entries); that it continues it is NOT shown by this bundle, and for `conclave ledger verify` to show.", v.least.Size)
	}
	return nil
}

// periodEdges checks by the entries beside its bounds that the period begins and ends where the bundle says.
func (v *verifier) periodEdges() error {
	p := v.span
	for _, seq := range edges(p, v.head.Size) {
		e, inside := v.entries[seq], p.holds(seq)
		if e == nil && !inside {
			if err := v.deletedEdge(seq); err != nil {
				return err
			}
			continue
		}
		if e == nil {
			return faultf(entryFile(seq), ErrMissing, "it shows where the period ends or begins")
		}
		if inside != inPeriod(e.At, v.manifest) {
			return faultf(entryFile(seq), ErrLeftOut, "its time is %s, the period %s to %s is said to be entries %d to %d",
				e.At.Format(time.RFC3339Nano), v.manifest.From.Format(time.RFC3339Nano), v.manifest.To.Format(time.RFC3339Nano), p.First, p.End)
		}
	}
	return nil
}

// deletedEdge stands for an entry beside the period that is not there: the ledger must record that it was deleted, with
// entries that were all of another time.
func (v *verifier) deletedEdge(seq uint64) error {
	i := slices.IndexFunc(v.deletions, func(d ledger.Deletion) bool { return d.Covers(seq) })
	if i < 0 {
		return faultf(entryFile(seq), ErrMissing, "it shows where the period ends or begins")
	}
	d := v.deletions[i]
	side, end, at, outside := "before", "last", d.LastAt, d.LastAt.Before(v.manifest.From)
	if seq >= v.span.End {
		side, end, at, outside = "after", "first", d.FirstAt, !d.FirstAt.Before(v.manifest.To)
	}
	if at.IsZero() || !outside {
		return faultf(entryFile(seq), ErrLeftOut, "entries %d to %d were deleted by ceremony %s; that none of them is of the period is not recorded (entry %d)", d.From, d.To-1, clip(d.Ceremony), d.Seq)
	}
	v.say("Entry %d, next to the period and %s it, was deleted under retention by ceremony %s (entry %d). Its time is NOT shown; the record says that the %s of entries %d to %d, deleted together, was of %s.",
		seq, side, clip(d.Ceremony), d.Seq, end, d.From, d.To-1, at.UTC().Format(time.RFC3339Nano))
	return nil
}

func inPeriod(at time.Time, m Manifest) bool { return !at.Before(m.From) && at.Before(m.To) }

// wholePeriod reads the entries of the period and counts them by type.
func (v *verifier) wholePeriod() ([]tlog.Hash, error) {
	v.counts = map[string]int{}
	var leaves []tlog.Hash
	seq := v.span.First
	for p, err := range v.packedEntries(folderPeriod) {
		if err != nil {
			return nil, err
		}
		if p.entry.Seq != seq {
			return nil, faultf(p.file, ErrLeftOut, "entry %d stands where entry %d is due", p.entry.Seq, seq)
		}
		if !inPeriod(p.entry.At, v.manifest) {
			return nil, faultf(p.file, ErrLeftOut, "entry %d is of %s, outside the period", seq, p.entry.At.Format(time.RFC3339Nano))
		}
		leaves = append(leaves, ledger.LeafHash(p.raw))
		v.counts[p.entry.Type]++
		v.notePolicy(p.entry)
		seq++
	}
	return leaves, nil
}

// periodHashes reads the hashes of the period.
func (v *verifier) periodHashes() ([]tlog.Hash, error) {
	var out []tlog.Hash
	for name, err := range v.packedFiles(folderPeriod, "hashes") {
		if err != nil {
			return nil, err
		}
		got, err := v.hashes(name)
		if err != nil {
			return nil, err
		}
		out = append(out, got...)
	}
	return out, nil
}

// counted holds what the report counts to the entries of the period.
func (v *verifier) counted(entries map[string]int) error {
	total := uint64(0)
	for kind, n := range entries {
		if n < 0 || uint64(n) > v.result.PeriodEntries || (v.counts != nil && v.counts[kind] != n) {
			return faultf(fileReport, ErrCitation, "it counts %d entries of type %s, the period has %d", n, clip(kind), v.counts[kind])
		}
		total += uint64(n)
	}
	if total != v.result.PeriodEntries {
		return faultf(fileReport, ErrCitation, "it counts %d entries, the period has %d", total, v.result.PeriodEntries)
	}
	return nil
}
