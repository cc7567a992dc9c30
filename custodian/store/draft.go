package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/ledger"
)

// draft is the next state of the ledger while a round builds it: base and everything it adds. Dropping a draft
// undoes it.
type draft struct {
	cfg     *Config
	signers *signers
	stall   *stall
	base    *snapshot

	tree *ledger.Tree
	view *View
	head ledger.Head
	at   time.Time

	control, data batch
	writes        map[rowKey]*Row

	// handover is the log key that signs what comes after this draft; "" for the same as before.
	handover string
	keys     logKeys // of the committed state; set when sealed

	note    []byte
	tiles   []ledger.Tile
	scratch []byte
}

// batch is a row of ledger_batches being filled.
type batch struct {
	first uint64
	count int
	body  []byte
}

// maxBatchBody bounds a data batch, in bytes; one more entry may go beyond it.
const maxBatchBody = 2 << 20

// reset starts a draft on base, reusing buffers. at is not before the entry before.
func (d *draft) reset(s *Store, base *snapshot) {
	d.cfg, d.signers, d.stall, d.base = &s.cfg, &s.signers, s.stall, base
	d.tree = base.tree.Clone()
	d.view = base.view
	d.head = base.view.head
	d.head.Next, d.handover = "", ""
	d.at = entryTime(d.cfg.Clock.Now(), base.view.at)
	d.control = batch{body: d.control.body[:0]}
	d.data = batch{body: d.data.body[:0]}
	d.writes, d.note, d.tiles = nil, nil, nil
}

// entryTime is wall time in whole microseconds, never before the last entry.
func entryTime(now, last time.Time) time.Time {
	if now = now.UTC().Truncate(time.Microsecond); now.Before(last) {
		return last
	}
	return now
}

func (d *draft) empty() bool { return d.control.count+d.data.count == 0 }

// runControl runs one control change on the draft. On an error the draft is as before.
func (d *draft) runControl(fn func(*Tx) error) (Receipt, error) {
	if d.control.count == 0 {
		d.control.first = d.head.Size
	}
	current := d.head
	current.Root = d.tree.Root()
	tx := &Tx{
		schema: d.cfg.Schema, node: d.cfg.Node,
		view: d.view.moved(current, d.view.at), at: d.at, next: d.head.Size,
		changed: map[rowKey]*Row{}, stall: d.stall,
	}
	if err := d.guard(fn, tx); err != nil {
		return Receipt{}, err
	}
	if len(tx.pending) > 0 || len(tx.entries) == 0 {
		return Receipt{}, ErrNoEntry
	}
	return d.adopt(tx)
}

// guard turns a panic of fn into an error: one faulty change must not end the committer.
func (d *draft) guard(fn func(*Tx) error, tx *Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// The value may hold anything, secrets too: only its type is told.
			d.cfg.Logger.Error("control change panicked", "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = fmt.Errorf("control change panicked with a %T", p)
		}
	}()
	return fn(tx)
}

// adopt encodes a finished change's entries and, when all of them can be, takes them over.
func (d *draft) adopt(tx *Tx) (Receipt, error) {
	if err := d.mayHandOver(tx); err != nil {
		return Receipt{}, err
	}
	epoch := d.head.Epoch
	if tx.bump {
		epoch++
	}
	body, last := d.control.body, d.head.ControlLast
	leaves := make([]tlog.Hash, 0, len(tx.entries))
	for i := range tx.entries {
		e := &tx.entries[i]
		e.Seq, e.At, e.Epoch = d.head.Size+uint64(i), d.at, epoch
		e.Link = &ledger.Link{Number: d.head.ControlCount + uint64(i), Prev: last}
		last = e.Seq
		d.scratch = ledger.AppendCanonical(d.scratch[:0], e)
		var err error
		if body, err = ledger.AppendBundle(body, d.scratch); err != nil {
			return Receipt{}, fmt.Errorf("recording %s: %w", e.Type, err)
		}
		leaves = append(leaves, ledger.LeafHash(d.scratch))
	}
	receipt := Receipt{Seq: d.head.Size, LastSeq: last, At: d.at, Epoch: epoch, Leaf: leaves[len(leaves)-1]}
	for _, leaf := range leaves {
		d.tree.Append(leaf)
	}
	d.control.body = body
	d.control.count += len(leaves)
	d.head.Size += uint64(len(leaves))
	d.head.ControlCount += uint64(len(leaves))
	d.head.ControlLast, d.head.Epoch = last, epoch
	d.view, d.handover = tx.view, tx.handover
	if d.writes == nil {
		d.writes = make(map[rowKey]*Row, len(tx.changed))
	}
	for k, row := range tx.changed {
		d.writes[k] = row
	}
	return receipt, nil
}

// mayHandOver refuses a handover to a key that this process does not have.
func (d *draft) mayHandOver(tx *Tx) error {
	if tx.handover == "" {
		return nil
	}
	if tx.handover == d.base.keys.chain.Newest() {
		return errors.New("handing the log over: the key named is in force")
	}
	_, err := d.signers.get(tx.handover)
	return err
}

// full: no further data entry is taken.
func (d *draft) full() bool { return len(d.data.body) >= maxBatchBody }

// appendData adds one data-plane entry. All control changes of the round come first.
func (d *draft) appendData(e *ledger.Entry, epoch uint64) (Receipt, error) {
	if epoch != d.head.Epoch {
		return Receipt{}, ErrEpochChanged
	}
	e.Seq, e.At, e.Epoch = d.head.Size, d.at, epoch
	d.scratch = ledger.AppendCanonical(d.scratch[:0], e)
	body, err := ledger.AppendBundle(d.data.body, d.scratch)
	if err != nil {
		return Receipt{}, fmt.Errorf("recording %s: %w", e.Type, err)
	}
	if d.data.count == 0 {
		d.data.first = d.head.Size
	}
	leaf := ledger.LeafHash(d.scratch)
	d.tree.Append(leaf)
	d.data.body = body
	d.data.count++
	d.head.Size++
	return Receipt{Seq: e.Seq, LastSeq: e.Seq, At: e.At, Epoch: epoch, Leaf: leaf}, nil
}

// seal computes root and signature.
func (d *draft) seal() error {
	d.head.Root, d.head.Next = d.tree.Root(), d.handover
	key, err := d.signers.get(d.base.keys.chain.Newest())
	if err != nil {
		return fmt.Errorf("sealing batch: %w", err)
	}
	d.keys = d.base.keys
	if d.handover != "" {
		return d.sealHandover(key)
	}
	note, err := ledger.SignHead(key.Signer, key.Origin, d.head)
	if err != nil {
		return fmt.Errorf("sealing batch: %w", err)
	}
	d.note, d.tiles = note, d.tree.TakeFullTiles()
	return nil
}

// sealHandover signs the last head of the old log key, with the new one beside it.
func (d *draft) sealHandover(key *ledger.LogKey) error {
	next, err := d.signers.get(d.handover)
	if err != nil {
		return fmt.Errorf("sealing batch: %w", err)
	}
	note, err := ledger.SignHead(key.Signer, key.Origin, d.head, next.Signer)
	if err != nil {
		return fmt.Errorf("sealing batch: %w", err)
	}
	chain := d.base.keys.chain
	if chain, err = chain.Follow(append(chain.Handovers(), string(note))...); err != nil {
		return fmt.Errorf("sealing batch: %w", err)
	}
	d.keys = logKeys{chain: chain, turned: d.at}
	d.note, d.tiles = note, d.tree.TakeFullTiles()
	return nil
}

// snapshot is the state that holds once the draft is committed.
func (d *draft) snapshot() *snapshot {
	var ended []*Row
	for _, r := range d.writes {
		if r.archived && !r.deleted() {
			ended = append(ended, r)
		}
	}
	return &snapshot{view: d.view.settled(ended...).moved(d.head, d.at), tree: d.tree, note: d.note, keys: d.keys}
}

// persist writes the draft inside tx. genesis inserts the head row that later commits update.
func (d *draft) persist(ctx context.Context, w *writeTx, genesis, checkpoint bool) error {
	for i, b := range [...]*batch{&d.control, &d.data} {
		if b.count == 0 {
			continue
		}
		if _, err := w.exec(ctx, w.db.stmt.insertBatch, b.first, b.count, 1-i, b.body); err != nil {
			return fmt.Errorf("writing batch: %w", err)
		}
	}
	for _, t := range d.tiles {
		if _, err := w.exec(ctx, w.db.stmt.insertTile, t.Level, t.Index, t.Data); err != nil {
			return fmt.Errorf("writing tile: %w", err)
		}
	}
	if err := d.persistRows(ctx, w); err != nil {
		return err
	}
	if checkpoint {
		if _, err := w.exec(ctx, w.db.stmt.insertCheckpoint, d.head.Size, d.at.UnixMicro(), d.note); err != nil {
			return fmt.Errorf("writing checkpoint: %w", err)
		}
	}
	return d.persistHead(ctx, w, genesis)
}

func (d *draft) persistHead(ctx context.Context, w *writeTx, genesis bool) error {
	h := &d.head
	root := slices.Clone(h.Root[:])
	if genesis {
		_, err := w.tx.ExecContext(ctx, "INSERT INTO ledger_head (id, size, root, epoch, control_count, control_last, note)"+
			" VALUES (1, $1, $2, $3, $4, $5, $6)", h.Size, root, h.Epoch, h.ControlCount, h.ControlLast, d.note)
		if err != nil {
			return fmt.Errorf("writing head: %w", err)
		}
		return nil
	}
	n, err := w.exec(ctx, w.db.stmt.updateHead, h.Size, root, h.Epoch, h.ControlCount, h.ControlLast, d.note,
		d.base.view.head.Size, d.base.note)
	if err != nil {
		return fmt.Errorf("writing head: %w", err)
	}
	if n != 1 {
		return errHeadMoved
	}
	return nil
}

func (d *draft) persistRows(ctx context.Context, w *writeTx) error {
	if len(d.writes) == 0 {
		return nil
	}
	g := w.db.session(ctx, w.tx)
	for _, row := range d.writes {
		if err := writeRow(g, row); err != nil {
			return err
		}
		d.stall.progress()
	}
	return nil
}
