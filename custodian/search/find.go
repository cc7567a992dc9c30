package search

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Query selects entries: what is set must match, all of it.
type Query struct {
	From, To  time.Time // From ≤ time < To; zero: no bound
	Actor     string    // id, or "kind:id"
	Key       string    // key acted on or used, in a batch too
	Target    string    // id, or "type:id"
	Ceremony  string
	Operation string // type, with everything under it: "key.use" finds "key.use.decrypt"
	Outcome   ledger.Outcome
	// NewestFirst turns the order round.
	NewestFirst bool
	// After is where the page before ended; nil for the first page.
	After *uint64
	Limit int // 1 or more
}

// Found is one entry with the proof that it is in the log of the page's checkpoint.
type Found struct {
	Entry     *ledger.Entry
	Raw       []byte
	Inclusion tlog.RecordProof
}

// Page is one answer. A page may hold fewer entries than asked for, even none, and yet have a next one: what one
// answer looks at is bounded.
type Page struct {
	Checkpoint []byte // signed note that the proofs belong to
	Items      []Found
	Next       *uint64 // After of the next page; nil: there is none
	Indexed    uint64  // entries that the index covers; those after it were looked at one by one
	From, To   uint64  // the entries of the time asked for: From ≤ seq < To
}

// Bounds of one answer.
const (
	maxBlocks = 64      // of entries, looked at
	maxBytes  = 3 << 20 // of entries, answered
)

// Find answers one page of a query.
func Find(ctx context.Context, s *store.Store, q Query) (*Page, error) {
	view, note, _ := s.Published()
	f := &finder{s: s, q: q, size: view.Head().Size, page: &Page{Checkpoint: note}, tree: s.Tree(), tiles: tiles{s, map[[2]int64][]byte{}}}
	lo, hi, err := f.span(ctx)
	if err != nil {
		return nil, err
	}
	indexed, err := s.TermsCursor(ctx)
	if err != nil {
		return nil, err
	}
	f.page.Indexed = min(indexed, f.size)
	for range maxBlocks/blocksAtOnce + 1 {
		if lo >= hi {
			return f.page, nil
		}
		blocks, end, err := f.candidates(ctx, lo, hi)
		if err != nil {
			return nil, err
		}
		for _, b := range blocks {
			if f.looked++; f.looked > maxBlocks {
				f.goOn(max(lo, b*store.TermBlock), min(hi, (b+1)*store.TermBlock))
				return f.page, nil
			}
			if full, err := f.block(ctx, max(lo, b*store.TermBlock), min(hi, (b+1)*store.TermBlock)); full || err != nil {
				return f.page, err
			}
		}
		if q.NewestFirst {
			hi = end
		} else {
			lo = end
		}
	}
	f.goOn(lo, hi)
	return f.page, nil
}

type finder struct {
	s      *store.Store
	q      Query
	size   uint64
	page   *Page
	tree   *ledger.Tree
	tiles  tiles
	looked int // blocks
	bytes  int
}

// span is the sequence numbers to look at: those of the time asked for, beyond the page before.
func (f *finder) span(ctx context.Context) (lo, hi uint64, err error) {
	hi = f.size
	if !f.q.From.IsZero() {
		if lo, err = f.s.FirstAt(ctx, f.q.From); err != nil {
			return 0, 0, err
		}
	}
	if !f.q.To.IsZero() {
		if hi, err = f.s.FirstAt(ctx, f.q.To); err != nil {
			return 0, 0, err
		}
	}
	lo, hi = min(lo, f.size), min(hi, f.size)
	f.page.From, f.page.To = lo, hi
	switch {
	case f.q.After == nil:
	case f.q.NewestFirst:
		hi = min(hi, *f.q.After)
	default:
		lo = max(lo, *f.q.After)
	}
	return lo, hi, nil
}

// blocksAtOnce are asked of the index.
const blocksAtOnce = 16

// candidates are the next blocks that may hold what is looked for, and where to go on after them: from the index where
// it reaches, and every block behind it.
func (f *finder) candidates(ctx context.Context, lo, hi uint64) (blocks []uint64, end uint64, err error) {
	first, last := lo/store.TermBlock, (hi+store.TermBlock-1)/store.TermBlock
	known := f.page.Indexed / store.TermBlock // blocks before it are indexed whole
	terms := f.q.terms()
	if len(terms) == 0 {
		known = 0
	}
	if f.q.NewestFirst {
		if last > known {
			from := max(first, known, last-min(last, blocksAtOnce))
			blocks = span(from, last)
			slices.Reverse(blocks)
			return blocks, max(lo, from*store.TermBlock), nil
		}
		blocks, err = f.s.TermBlocks(ctx, terms, first, last, true, blocksAtOnce)
		if len(blocks) < blocksAtOnce {
			return blocks, lo, err
		}
		return blocks, max(lo, blocks[len(blocks)-1]*store.TermBlock), err
	}
	if first < known {
		blocks, err = f.s.TermBlocks(ctx, terms, first, min(last, known), false, blocksAtOnce)
		if len(blocks) < blocksAtOnce {
			return blocks, min(hi, known*store.TermBlock), err
		}
		return blocks, min(hi, (blocks[len(blocks)-1]+1)*store.TermBlock), err
	}
	to := min(last, first+blocksAtOnce)
	return span(first, to), min(hi, to*store.TermBlock), nil
}

func span(from, to uint64) []uint64 {
	var out []uint64
	for b := from; b < to; b++ {
		out = append(out, b)
	}
	return out
}

// goOn says where the next page begins.
func (f *finder) goOn(lo, hi uint64) {
	next := lo
	if f.q.NewestFirst {
		next = hi
	}
	f.page.Next = &next
}

// block looks at the entries from ≤ seq < to, and says whether the page is full.
func (f *finder) block(ctx context.Context, from, to uint64) (full bool, err error) {
	if from >= to {
		return false, nil
	}
	var matches []Found
	err = f.s.Present(ctx, from, to, func(e *ledger.Entry, raw []byte) error {
		if f.q.matches(e) {
			matches = append(matches, Found{Entry: e, Raw: slices.Clone(raw)})
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if f.q.NewestFirst {
		slices.Reverse(matches)
	}
	for _, m := range matches {
		if len(f.page.Items) == f.q.Limit || f.bytes+len(m.Raw) > maxBytes {
			next := m.Entry.Seq
			if f.q.NewestFirst {
				next++
			}
			f.page.Next = &next
			return true, nil
		}
		if m.Inclusion, err = ledger.ProveInclusion(ctx, f.tree, f.tiles, m.Entry.Seq, f.size); err != nil {
			return false, fmt.Errorf("proving entry %d: %w", m.Entry.Seq, err)
		}
		f.page.Items, f.bytes = append(f.page.Items, m), f.bytes+len(m.Raw)
	}
	return false, nil
}

// terms are what a block must hold.
func (q *Query) terms() []int64 {
	var out []int64
	add := func(field, value string) {
		if value != "" {
			out = append(out, term(field, value))
		}
	}
	add(fieldCeremony, q.Ceremony)
	add(fieldTarget, q.Target)
	add(fieldOperation, q.Operation)
	outcome := string(q.Outcome)
	switch {
	case q.Key != "" && outcome != "":
		out = append(out, term(fieldKey, q.Key, outcome))
	case q.Key != "":
		add(fieldKey, q.Key)
	}
	switch {
	case q.Actor != "" && outcome != "":
		out = append(out, term(fieldActor, q.Actor, outcome))
	case q.Actor != "":
		add(fieldActor, q.Actor)
	case q.Key == "":
		add(fieldOutcome, outcome)
	}
	return out
}

func (q *Query) matches(e *ledger.Entry) bool {
	return (q.Actor == "" || e.Actor.ID == q.Actor || e.Actor.String() == q.Actor) &&
		(q.Target == "" || e.Target.ID == q.Target || e.Target.Type+":"+e.Target.ID == q.Target) &&
		(q.Ceremony == "" || e.Ceremony == q.Ceremony) &&
		(q.Operation == "" || e.Type == q.Operation || strings.HasPrefix(e.Type, q.Operation+".")) &&
		q.keyAndOutcome(e)
}

// keyAndOutcome: of a batch, one item must be of the key and have ended so.
func (q *Query) keyAndOutcome(e *ledger.Entry) bool {
	if q.Key == "" && (q.Outcome == "" || e.Outcome == q.Outcome) {
		return true
	}
	return slices.ContainsFunc(keysOf(e), func(u keyUse) bool {
		return (q.Key == "" || u.key == q.Key) && (q.Outcome == "" || u.outcome == string(q.Outcome))
	})
}

// tiles remembers the tiles that the proofs of one page share.
type tiles struct {
	from ledger.TileSource
	kept map[[2]int64][]byte
}

// ReadTile implements [ledger.TileSource].
func (t tiles) ReadTile(ctx context.Context, level int, index int64) ([]byte, error) {
	at := [2]int64{int64(level), index}
	if data, ok := t.kept[at]; ok {
		return data, nil
	}
	data, err := t.from.ReadTile(ctx, level, index)
	if err == nil {
		t.kept[at] = data
	}
	return data, err
}
