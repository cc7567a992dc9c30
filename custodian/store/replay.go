package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// replay reads the ledger's signed head, rebuilds the tree's edge, follows the control plane from entry 0 and
// holds the authority rows against it. The data plane is read only after the last full tile, so the time it
// takes does not grow with the calls served.
func (s *Store) replay(ctx context.Context) error {
	tx, err := s.db.snapshotTx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	r := reader{tx}
	stored, err := r.head(ctx)
	if errors.Is(err, ErrNotInitialised) {
		err = s.high.missing(err)
	}
	if err != nil {
		return err
	}
	head, err := s.openOwn(ctx, r, stored)
	if err != nil {
		return err
	}
	tree, at, err := loadTree(ctx, r, head)
	if err != nil {
		return err
	}
	if err := r.nothingBeyond(ctx, head.Size); err != nil {
		return err
	}
	p := newProjection()
	if err := p.follow(ctx, r, tree, head); err != nil {
		return err
	}
	snap := &snapshot{tree: tree, note: stored.note}
	if snap.keys, err = s.provenKeys(ctx, r, tree, stored, head, p.turns); err != nil {
		return err
	}
	if s.anchored, err = s.high.seen(snap.keys.chain); err != nil {
		return err
	}
	if err := s.high.advance(ctx, snap.keys.chain, stored.note, prover(tree, r)); err != nil {
		return err
	}
	view, err := s.loadRows(ctx, tx, p)
	if err != nil {
		return err
	}
	snap.view = view.moved(head, at)
	s.snap.Store(snap)
	s.alertAll(view.tampered)
	return nil
}

// loadTree rebuilds the right edge of the tree and returns the time of the last entry.
func loadTree(ctx context.Context, r reader, head ledger.Head) (*ledger.Tree, time.Time, error) {
	if head.Size == 0 {
		return nil, time.Time{}, fmt.Errorf("%w: signed head of an empty ledger", ErrEdited)
	}
	edge := head.Size - head.Size%ledger.TileWidth
	var tail []tlog.Hash
	var last []byte
	err := r.contiguous(ctx, min(edge, head.Size-1), head.Size, func(seq uint64, raw []byte) error {
		if seq >= edge {
			tail = append(tail, ledger.LeafHash(raw))
		}
		last = append(last[:0], raw...)
		return nil
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	e, err := ledger.Decode(last)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%w: entry %d: %w", ErrEdited, head.Size-1, err)
	}
	tree, err := ledger.LoadTree(ctx, head.Size, r, tail)
	if err != nil {
		if errors.Is(err, ErrUnavailable) {
			return nil, time.Time{}, err
		}
		return nil, time.Time{}, fmt.Errorf("%w: %w", ErrEdited, err)
	}
	if tree.Root() != head.Root {
		return nil, time.Time{}, fmt.Errorf("%w: entries and tiles do not give the signed root", ErrEdited)
	}
	return tree, e.At, nil
}

// projection is what the control plane says of the authority rows.
type projection struct {
	count, last uint64 // control entries so far, Seq of the last
	epoch       uint64
	rows        map[rowKey]bound
	turns       []turn // of the log key
}

// bound is a row's content as its last entry committed to it.
type bound struct {
	revision, seq uint64
	hash          [32]byte
}

func (b bound) deleted() bool { return b.hash == [32]byte{} }

// shadow is the row that stands in the View for one whose content is gone or not to be trusted: it keeps what
// the ledger says of it.
func (b bound) shadow(k rowKey) *Row {
	return &Row{Kind: k.kind, ID: k.id, Revision: b.revision, Seq: b.seq, Hash: b.hash}
}

func newProjection() *projection { return &projection{rows: map[rowKey]bound{}} }

// apply takes the next control entry: it must continue the chain, and each row's revisions too.
func (p *projection) apply(e *ledger.Entry) error {
	if e.Link == nil || e.Link.Number != p.count || e.Link.Prev != p.last {
		return fmt.Errorf("%w: control entry %d does not continue the control chain at number %d", ErrEdited, e.Seq, p.count)
	}
	for _, c := range e.Rows {
		k := rowKey{Kind(c.Kind), c.ID}
		if c.Revision != p.rows[k].revision+1 {
			return fmt.Errorf("%w: entry %d takes %s %q from revision %d to %d", ErrEdited, e.Seq, c.Kind, c.ID, p.rows[k].revision, c.Revision)
		}
		p.rows[k] = bound{revision: c.Revision, seq: e.Seq, hash: c.Hash}
	}
	p.count, p.last, p.epoch = p.count+1, e.Seq, e.Epoch
	turns, err := readTurn(p.turns, e)
	if err != nil {
		return err
	}
	p.turns = turns
	return nil
}

// follow reads the whole control plane, proves every entry to be in the tree, and holds the chain's end
// against the head.
func (p *projection) follow(ctx context.Context, r reader, tree *ledger.Tree, head ledger.Head) error {
	prove := newLeafCheck(ctx, tree, r)
	err := r.batches(ctx, 0, head.Size, true, func(b *storedBatch) error {
		return b.entries(func(seq uint64, raw []byte) error {
			if seq >= head.Size {
				return nil
			}
			if err := prove.add(seq, raw); err != nil {
				return err
			}
			e, err := decodeAt(seq, raw)
			if err != nil {
				return err
			}
			return p.apply(e)
		})
	})
	if err != nil {
		return err
	}
	if err := prove.flush(); err != nil {
		return err
	}
	if p.count != head.ControlCount || p.last != head.ControlLast || p.epoch != head.Epoch {
		return fmt.Errorf("%w: %d control entries up to %d at epoch %d found, signed head says %d up to %d at epoch %d",
			ErrEdited, p.count, p.last, p.epoch, head.ControlCount, head.ControlLast, head.Epoch)
	}
	return nil
}

// decodeAt decodes a stored entry that must be the one at seq.
func decodeAt(seq uint64, raw []byte) (*ledger.Entry, error) {
	e, err := ledger.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrEdited, seq, err)
	}
	if e.Seq != seq {
		return nil, fmt.Errorf("%w: entry %d stands at %d", ErrEdited, e.Seq, seq)
	}
	return e, nil
}

// leafCheck proves stored entries to be leaves of a trusted tree, some hundred at a time so that a tile is
// read and verified once for its neighbours.
type leafCheck struct {
	ctx     context.Context
	tree    *ledger.Tree
	tiles   ledger.TileSource
	indexes []int64
	leaves  []tlog.Hash
}

const leafChunk = 256

func newLeafCheck(ctx context.Context, tree *ledger.Tree, tiles ledger.TileSource) *leafCheck {
	return &leafCheck{ctx: ctx, tree: tree, tiles: tiles}
}

func (c *leafCheck) add(seq uint64, raw []byte) error {
	c.indexes = append(c.indexes, tlog.StoredHashIndex(0, int64(seq)))
	c.leaves = append(c.leaves, ledger.LeafHash(raw))
	if len(c.indexes) < leafChunk {
		return nil
	}
	return c.flush()
}

func (c *leafCheck) flush() error {
	if len(c.indexes) == 0 {
		return nil
	}
	hashes, err := ledger.HashReader(c.ctx, c.tree, c.tiles).ReadHashes(c.indexes)
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: hash tiles: %w", ErrEdited, err)
	}
	for i, h := range hashes {
		if h != c.leaves[i] {
			_, seq := tlog.SplitStoredHashIndex(c.indexes[i])
			return fmt.Errorf("%w: entry %d is not the one in the signed tree", ErrEdited, seq)
		}
	}
	c.indexes, c.leaves = c.indexes[:0], c.leaves[:0]
	return nil
}

func prover(tree *ledger.Tree, tiles ledger.TileSource) ledger.Prove {
	return func(ctx context.Context, older, newer uint64) (tlog.TreeProof, error) {
		return ledger.ProveConsistency(ctx, tree, tiles, older, newer)
	}
}

// loadRows reads the authority rows and quarantines those that contradict the projection.
func (s *Store) loadRows(ctx context.Context, tx *sql.Tx, p *projection) (*View, error) {
	now := s.cfg.Clock.Now()
	tampered := map[rowKey]Violation{}
	found := make(map[rowKey]bool, len(p.rows))
	var rows []*Row
	err := s.db.eachRow(ctx, tx, func(m *rowModel) error {
		k := rowKey{Kind(m.Kind), m.ID}
		found[k] = true
		row, violation := s.loadRow(m, p.rows[k], now)
		if violation != nil {
			tampered[k] = *violation
			row = p.rows[k].shadow(k)
		}
		rows = append(rows, row)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for k, b := range p.rows {
		if found[k] {
			continue
		}
		rows = append(rows, b.shadow(k))
		if !b.deleted() {
			tampered[k] = rowViolation(k, ProblemMissing, b, "the ledger says it exists", now)
		}
	}
	for k := range p.rows {
		if _, known := s.cfg.Schema[k.kind]; !known {
			return nil, fmt.Errorf("%w: ledger holds rows of kind %q, unknown to this program", ErrNewerSchema, k.kind)
		}
	}
	view := (&View{source: s}).settled(rows...)
	view.tampered = tampered
	return view, nil
}

// checkRow holds one stored row against what the ledger says of it.
func (s *Store) checkRow(m *rowModel, b bound, now time.Time) (*Row, *Violation) {
	if violation := checkBound(m, b, now); violation != nil {
		return nil, violation
	}
	k := rowKey{Kind(m.Kind), m.ID}
	row, err := s.cfg.Schema.makeRow(k.kind, k.id, b.revision, b.seq, m.Body)
	if err != nil {
		v := rowViolation(k, ProblemEdited, b, "content cannot be read", now)
		return nil, &v
	}
	return row, nil
}

// loadRow is checkRow, for the View: a row that is archived is not decoded, and carries what binds it only.
func (s *Store) loadRow(m *rowModel, b bound, now time.Time) (*Row, *Violation) {
	archive := s.cfg.Schema[Kind(m.Kind)].Archive
	if archive == nil {
		return s.checkRow(m, b, now)
	}
	if violation := checkBound(m, b, now); violation != nil {
		return nil, violation
	}
	if mark, archived := archive(m.Body); archived {
		row := b.shadow(rowKey{Kind(m.Kind), m.ID})
		row.archived, row.mark = true, mark
		return row, nil
	}
	return s.checkRow(m, b, now)
}

// checkBound holds a stored row's revision, entry and bytes against what the ledger says of it.
func checkBound(m *rowModel, b bound, now time.Time) *Violation {
	problem, detail := ProblemEdited, ""
	switch {
	case b.revision == 0 || b.deleted():
		problem, detail = ProblemExtra, "the ledger does not know it"
	case uint64(m.Revision) != b.revision || uint64(m.Seq) != b.seq:
		detail = fmt.Sprintf("revision %d of entry %d, the ledger says %d of entry %d", uint64(m.Revision), uint64(m.Seq), b.revision, b.seq)
	case sha256.Sum256(m.Body) != b.hash:
		detail = "content is not what the ledger recorded"
	default:
		return nil
	}
	v := rowViolation(rowKey{Kind(m.Kind), m.ID}, problem, b, detail, now)
	return &v
}

func rowViolation(k rowKey, p Problem, b bound, detail string, now time.Time) Violation {
	return Violation{Object: "row", Problem: p, Kind: k.kind, ID: k.id, Seq: b.seq, Detail: detail, FoundAt: now}
}
