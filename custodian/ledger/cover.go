package ledger

import (
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Span is a run of entries, From ≤ seq < To, of which a reader has hashes: of each entry where Height is 0, of each
// complete subtree of 2^Height entries where it is more. Then From and To are multiples of 2^Height.
type Span struct {
	From, To uint64
	Height   int
}

// Nodes is how many hashes the reader has of the span.
func (s Span) Nodes() uint64 { return (s.To - s.From) >> s.Height }

// RangeSpans are the spans of the entries from ≤ seq < to, in hashes of entries and, where a height is given, of the
// complete subtrees of that height among them.
func RangeSpans(from, to uint64, height int) []Span {
	if height == 0 {
		return nonEmpty(Span{From: from, To: to})
	}
	step := uint64(1) << height
	first, last := (from+step-1)/step*step, to/step*step
	if first >= last {
		return nonEmpty(Span{From: from, To: to})
	}
	return nonEmpty(Span{From: from, To: first}, Span{From: first, To: last, Height: height}, Span{From: last, To: to})
}

func nonEmpty(spans ...Span) []Span {
	return slices.DeleteFunc(spans, func(s Span) bool { return s.From >= s.To })
}

// EntrySpans are the spans of single entries, given ascending and once each.
func EntrySpans(seqs []uint64) []Span {
	var out []Span
	for _, seq := range seqs {
		if n := len(out); n > 0 && out[n-1].To == seq {
			out[n-1].To++
			continue
		}
		out = append(out, Span{From: seq, To: seq + 1})
	}
	return out
}

// checkSpans holds spans to what a cover can be made for.
func checkSpans(size uint64, spans []Span) error {
	if size == 0 || size > MaxInteger {
		return fmt.Errorf("cover of a log of %d entries: allowed: 1 to 2^53", size)
	}
	end := uint64(0)
	for _, s := range spans {
		if s.Height < 0 || s.Height > 52 || s.From < end || s.From >= s.To || s.To > size || (s.From|s.To)&(1<<s.Height-1) != 0 {
			return fmt.Errorf("cover: span %d to %d of height %d: allowed: ascending, not empty, within %d entries, aligned to its height", s.From, s.To, s.Height, size)
		}
		end = s.To
	}
	return nil
}

// cover walks the tree of size entries from the root down. Where a subtree holds nothing of the spans it is outside;
// where it is a node of a span it is known; anything else is split as RFC 6962 section 2.1 splits.
type cover struct {
	outside func(lo, hi uint64) (tlog.Hash, error)
	known   func() (tlog.Hash, error)
	seen    func(lo, hi uint64, h tlog.Hash)
}

func (c cover) node(lo, hi uint64, spans []Span) (tlog.Hash, error) {
	h, err := c.hash(lo, hi, spans)
	if err == nil {
		c.seen(lo, hi, h)
	}
	return h, err
}

func (c cover) hash(lo, hi uint64, spans []Span) (tlog.Hash, error) {
	if len(spans) == 0 {
		return c.outside(lo, hi)
	}
	if s := spans[0]; s.From <= lo && hi <= s.To && hi-lo == uint64(1)<<s.Height {
		return c.known()
	}
	mid := lo + split(hi-lo)
	left, err := c.node(lo, mid, within(spans, lo, mid))
	if err != nil {
		return tlog.Hash{}, err
	}
	right, err := c.node(mid, hi, within(spans, mid, hi))
	if err != nil {
		return tlog.Hash{}, err
	}
	return tlog.NodeHash(left, right), nil
}

// split is the largest power of two below n, n > 1 (RFC 6962 section 2.1).
func split(n uint64) uint64 { return uint64(1) << (bits.Len64(n-1) - 1) }

// within are the spans that overlap lo ≤ seq < hi.
func within(spans []Span, lo, hi uint64) []Span {
	first, _ := slices.BinarySearchFunc(spans, lo, func(s Span, lo uint64) int {
		if s.To <= lo {
			return -1
		}
		return 1
	})
	last := first
	for last < len(spans) && spans[last].From < hi {
		last = max(last+1, skip(spans, last, hi))
	}
	return spans[first:last]
}

// skip finds the end of the spans that begin before hi.
func skip(spans []Span, from int, hi uint64) int {
	n, _ := slices.BinarySearchFunc(spans[from:], hi, func(s Span, hi uint64) int {
		if s.From < hi {
			return -1
		}
		return 1
	})
	return from + n
}

// coverRead is how many hashes are read at once: each needs its tiles in memory.
const coverRead = 512

// ProveCover gives the hashes that, with those of the spans, make the root of the log of a size: of every maximal
// subtree that holds nothing of the spans, from left to right. Whoever has both knows that each entry of the spans
// is in the log at its place and, of a run, that none is left out of it. hashes must hold at least size entries.
func ProveCover(size uint64, spans []Span, hashes tlog.HashReader) ([]tlog.Hash, error) {
	if err := checkSpans(size, spans); err != nil {
		return nil, err
	}
	// A first walk finds which stored hashes are needed, so that they are read some hundred at a time.
	type part struct{ first, count int }
	var parts []part
	var indexes []int64
	walk := cover{
		seen:  func(uint64, uint64, tlog.Hash) {},
		known: func() (tlog.Hash, error) { return tlog.Hash{}, nil },
		outside: func(lo, hi uint64) (tlog.Hash, error) {
			p := part{first: len(indexes)}
			for _, n := range complete(lo, hi) {
				indexes = append(indexes, n)
				p.count++
			}
			parts = append(parts, p)
			return tlog.Hash{}, nil
		},
	}
	if _, err := walk.node(0, size, spans); err != nil {
		return nil, err
	}
	read := make([]tlog.Hash, 0, len(indexes))
	for batch := range slices.Chunk(indexes, coverRead) {
		got, err := hashes.ReadHashes(batch)
		if err != nil {
			return nil, fmt.Errorf("proving a cover: %w", err)
		}
		read = append(read, got...)
	}
	out := make([]tlog.Hash, len(parts))
	for i, p := range parts {
		out[i] = join(read[p.first : p.first+p.count])
	}
	return out, nil
}

// complete are the stored indexes of the complete subtrees that lo ≤ seq < hi consists of, from the left: one, or
// several at the right edge of the tree. lo is a multiple of every power of two up to hi-lo.
func complete(lo, hi uint64) []int64 {
	var out []int64
	for lo < hi {
		level := bits.Len64(hi-lo) - 1
		out = append(out, tlog.StoredHashIndex(level, int64(lo>>level)))
		lo += 1 << level
	}
	return out
}

// join makes the root of complete subtrees of falling size.
func join(hashes []tlog.Hash) tlog.Hash {
	h := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		h = tlog.NodeHash(hashes[i], h)
	}
	return h
}

// CheckCover checks that the hashes of the spans, which next gives from left to right, and those of a cover make the
// root of a head. [ErrProof] when they do not. It also gives the roots that the log had at earlier sizes, where the entry
// before a size is among the spans: then whoever knows that earlier root sees whether this log continues it. The root of a
// size that it could not tell is not in roots.
func CheckCover(head Head, spans []Span, cov []tlog.Hash, next func() (tlog.Hash, error), earlier ...uint64) (roots map[uint64]tlog.Hash, err error) {
	if err := checkSpans(head.Size, spans); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	used := 0
	parts := prefixes{}
	for _, size := range earlier {
		parts.want(size)
	}
	walk := cover{known: next, seen: parts.see, outside: func(lo, hi uint64) (tlog.Hash, error) {
		if used == len(cov) {
			return tlog.Hash{}, fmt.Errorf("%w: the cover has %d hashes, entries %d to %d need one more", ErrProof, len(cov), lo, hi-1)
		}
		used++
		return cov[used-1], nil
	}}
	made, err := walk.node(0, head.Size, spans)
	switch {
	case err != nil:
		return nil, err
	case used != len(cov):
		return nil, fmt.Errorf("%w: the cover has %d hashes, %d are needed", ErrProof, len(cov), used)
	case made != head.Root:
		return nil, fmt.Errorf("%w: the entries and what covers the rest make another root than the one signed", ErrProof)
	}
	roots = map[uint64]tlog.Hash{}
	for _, size := range earlier {
		if root, known := parts.root(size); known {
			roots[size] = root
		}
	}
	return roots, nil
}

// subtree is a complete one: its first entry, and the one after its last.
type subtree struct{ lo, hi uint64 }

// prefixes collects the complete subtrees that the logs of earlier sizes consist of; nil for one not met yet.
type prefixes map[subtree]*tlog.Hash

// subtreesOf are those of a log of a size, from the left.
func subtreesOf(size uint64) (out []subtree) {
	for lo := uint64(0); lo < size; {
		hi := lo + 1<<(bits.Len64(size-lo)-1)
		out, lo = append(out, subtree{lo, hi}), hi
	}
	return out
}

func (p prefixes) want(size uint64) {
	for _, t := range subtreesOf(size) {
		p[t] = nil
	}
}

func (p prefixes) see(lo, hi uint64, h tlog.Hash) {
	if _, wanted := p[subtree{lo, hi}]; wanted {
		p[subtree{lo, hi}] = &h
	}
}

func (p prefixes) root(size uint64) (root tlog.Hash, known bool) {
	var parts []tlog.Hash
	for _, t := range subtreesOf(size) {
		h := p[t]
		if h == nil {
			return root, false
		}
		parts = append(parts, *h)
	}
	if len(parts) == 0 {
		return root, false
	}
	return join(parts), true
}
