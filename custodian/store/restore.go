package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"conclave/custodian/ledger"
)

// RestoreInput is what a ledger is restored from, and what it is held against.
type RestoreInput struct {
	// Records gives the records of an export in their order, and io.EOF when they are complete and genuine.
	Records func() (Record, error)
	Trust   *ledger.TrustFile
	Known   []ledger.Head // heads seen before: the ledger contains them, or they are beyond it and were lost
	// Amend begins the recovery: it appends the entries that say so, and changes rows. It sees what verification
	// established. An error of it leaves nothing behind.
	Amend func(tx *Tx, report *ledger.VerifyReport, lost []ledger.Head) error
}

// Restored says what stands after a restore.
type Restored struct {
	Backup ledger.Head // the head that the export belonged to
	Head   ledger.Head // after the entries that Amend appended
	Rows   int
}

// Restore makes a ledger in an empty database from an export: every entry and row is verified against the signed head
// and the trust file, and all of it is committed together with the entries that Amend appends, or nothing is. Rows
// that Amend changes are stored in their new form alone, so that what it took out of them was never written here.
// A database that holds a ledger already is refused with [ErrInitialised].
func Restore(ctx context.Context, cfg Config, in RestoreInput) (Restored, error) {
	s, err := prepare(ctx, cfg, true)
	if err != nil {
		return Restored{}, err
	}
	out, err := s.restore(ctx, in)
	if err != nil {
		err = fmt.Errorf("restoring ledger: %w", err)
	}
	return out, errors.Join(err, s.db.close())
}

func (s *Store) restore(ctx context.Context, in RestoreInput) (Restored, error) {
	if err := s.vacant(ctx); err != nil {
		return Restored{}, err
	}
	audit, err := ledger.NewAudit(in.Trust, in.Known)
	if err != nil {
		return Restored{}, err
	}
	tx, err := s.db.write.BeginTx(ctx, nil)
	if err != nil {
		return Restored{}, unavailable("beginning to restore", err)
	}
	w := &writeTx{db: s.db, tx: tx}
	defer w.rollback() // does nothing after the commit
	if s.db.driver == Postgres {
		if _, err := tx.ExecContext(ctx, "SET LOCAL idle_in_transaction_session_timeout = "+exportStall); err != nil {
			return Restored{}, unavailable("beginning to restore", err)
		}
	}
	r := &restorer{store: s, w: w, in: in, audit: audit, projection: newProjection(), rows: map[rowKey]*Row{}}
	out, err := r.run(ctx)
	if err != nil {
		return Restored{}, err
	}
	if err := tx.Commit(); err != nil {
		return Restored{}, unavailable("committing", err)
	}
	snap := s.com.draft.snapshot()
	s.snap.Store(snap)
	if err := s.high.advance(ctx, snap.keys.chain, snap.note, prover(snap.tree, reader{s.db.read})); err != nil {
		return out, fmt.Errorf("the ledger is restored, its checkpoint is not remembered: %w", err)
	}
	return out, nil
}

// vacant refuses a database that holds anything of a ledger.
func (s *Store) vacant(ctx context.Context) error {
	for _, table := range []string{"ledger_head", "ledger_batches", "authority_rows"} {
		var n int64
		if err := s.db.write.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
			return unavailable("looking into the database", err)
		}
		if n > 0 {
			return ErrInitialised
		}
	}
	return nil
}

type restorer struct {
	store      *Store
	w          *writeTx
	in         RestoreInput
	audit      *ledger.Audit
	projection *projection
	rows       map[rowKey]*Row
	archived   []Run // entries that the backup has by their hashes
	head       ledger.Head
	keys       *ledger.KeyChain
	note       []byte
	at         time.Time
}

func (r *restorer) run(ctx context.Context) (Restored, error) {
	if err := r.readHead(); err != nil {
		return Restored{}, err
	}
	for {
		rec, err := r.in.Records()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.take(ctx, rec)
		}
		if err != nil {
			return Restored{}, err
		}
	}
	report, err := r.audit.Finish(r.head)
	if err != nil {
		return Restored{}, err
	}
	return r.amend(ctx, report)
}

func (r *restorer) readHead() error {
	rec, err := r.in.Records()
	if err != nil {
		return err
	}
	if rec.Type != RecordHead {
		return fmt.Errorf("%w: it begins with a record of type %q", ErrEdited, rec.Type)
	}
	chain, err := r.in.Trust.Chain()
	if err != nil {
		return fmt.Errorf("reading trust file: %w", err)
	}
	if r.head, err = chain.Open(rec.Body); err != nil {
		return fmt.Errorf("%w: signed head: %w", ErrEdited, err)
	}
	if r.keys, err = chain.Before(r.head.Size); err != nil {
		return fmt.Errorf("reading trust file: %w", err)
	}
	if _, err := r.store.signers.get(r.keys.Newest()); err != nil {
		return fmt.Errorf("the log key in the backup is not the one that signed its ledger: %w", err)
	}
	r.note = append([]byte(nil), rec.Body...)
	return nil
}

func (r *restorer) take(ctx context.Context, rec Record) error {
	switch rec.Type {
	case RecordBatch:
		return r.batch(ctx, rec)
	case RecordLeaves:
		return r.leaves(ctx, rec)
	case RecordCheckpoint:
		head, err := r.keys.Open(rec.Body)
		if err != nil || head.Size != rec.Size || head.Size > r.head.Size {
			return fmt.Errorf("%w: a checkpoint of size %d is not one of this ledger", ErrEdited, rec.Size)
		}
		if _, err := r.w.exec(ctx, r.w.db.stmt.insertCheckpoint, rec.Size, rec.At, rec.Body); err != nil {
			return unavailable("writing checkpoint", err)
		}
		return nil
	case RecordRow:
		return r.row(rec)
	}
	return fmt.Errorf("%w: a record of type %q", ErrEdited, rec.Type)
}

// batch verifies entries and stores them with the tiles that they finish.
func (r *restorer) batch(ctx context.Context, rec Record) error {
	if rec.First != r.audit.Tree().Size() {
		return fmt.Errorf("%w: entry %d is missing", ErrEdited, r.audit.Tree().Size())
	}
	b := &storedBatch{first: rec.First, count: rec.Count, control: rec.Control, body: rec.Body}
	err := b.entries(func(_ uint64, raw []byte) error {
		e, err := r.audit.Add(raw)
		if err != nil {
			return err
		}
		if (e.Link != nil) != rec.Control {
			return fmt.Errorf("%w: entry %d stands in a batch of the other plane", ErrEdited, e.Seq)
		}
		r.at = e.At
		if rec.Control {
			return r.projection.apply(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	control := 0
	if rec.Control {
		control = 1
	}
	if _, err := r.w.exec(ctx, r.w.db.stmt.insertBatch, rec.First, rec.Count, control, rec.Body); err != nil {
		return unavailable("writing batch", err)
	}
	return r.tiles(ctx)
}

// tiles stores the tiles that were finished.
func (r *restorer) tiles(ctx context.Context) error {
	for _, t := range r.audit.Tree().TakeFullTiles() {
		if _, err := r.w.exec(ctx, r.w.db.stmt.insertTile, t.Level, t.Index, t.Data); err != nil {
			return unavailable("writing tile", err)
		}
	}
	return nil
}

// leaves takes entries that were archived before the backup was made by their hashes. That a segment has them is held
// against the rows once these are known: see amend.
func (r *restorer) leaves(ctx context.Context, rec Record) error {
	first := r.audit.Tree().Size()
	if rec.First != first || rec.Count == 0 || uint64(len(rec.Body)) != rec.Count*hashBytes {
		return fmt.Errorf("%w: the hashes of archived entries from %d on", ErrEdited, first)
	}
	appendLeaves(r.audit.AddLeaf, rec.Body)
	if n := len(r.archived); n > 0 && r.archived[n-1].To == first {
		r.archived[n-1].To += rec.Count
	} else {
		r.archived = append(r.archived, Run{From: first, To: first + rec.Count})
	}
	return r.tiles(ctx)
}

// segmented holds the runs of archived entries against the rows of a view: each must be in segments.
func (r *restorer) segmented(view *View) error {
	for _, gap := range r.archived {
		for seq := gap.From; seq < gap.To; {
			if r.store.cfg.Segments == nil {
				return missing(seq)
			}
			run, ok := r.store.cfg.Segments.Covering(view, seq)
			if !ok || run.To <= seq {
				return missing(seq)
			}
			seq = run.To
		}
	}
	return nil
}

// row keeps a row until all of them are known: none is stored before the recovery has had its say.
func (r *restorer) row(rec Record) error {
	k := rowKey{Kind(rec.Kind), rec.ID}
	if _, known := r.store.cfg.Schema[k.kind]; !known {
		return fmt.Errorf("%w: the backup holds rows of kind %q", ErrNewerSchema, rec.Kind)
	}
	m := &rowModel{Kind: rec.Kind, ID: rec.ID, Revision: number(rec.Revision), Seq: number(rec.Seq), Body: append([]byte(nil), rec.Body...)}
	row, violation := r.store.checkRow(m, r.projection.rows[k], r.at)
	if violation != nil {
		return fmt.Errorf("%w: %s", ErrEdited, violation)
	}
	if r.rows[k] != nil {
		return fmt.Errorf("%w: row %s %q comes twice", ErrEdited, rec.Kind, rec.ID)
	}
	r.rows[k] = row
	return nil
}

// amend puts the state together, lets the recovery append to it, and stores what results.
func (r *restorer) amend(ctx context.Context, report *ledger.VerifyReport) (Restored, error) {
	all := make([]*Row, 0, len(r.projection.rows))
	for k, b := range r.projection.rows {
		row := r.rows[k]
		if row == nil && !b.deleted() {
			return Restored{}, fmt.Errorf("%w: row %s %q is missing", ErrEdited, k.kind, k.id)
		}
		if row == nil {
			row = b.shadow(k)
		}
		all = append(all, row)
	}
	base := &snapshot{view: (&View{}).with(all...).moved(r.head, r.at), tree: r.audit.Tree().Clone(), note: r.note, keys: r.logKeys()}
	if err := r.segmented(base.view); err != nil {
		return Restored{}, err
	}
	if err := r.insertHead(ctx); err != nil {
		return Restored{}, err
	}
	d := &r.store.com.draft
	d.reset(r.store, base)
	lost := r.audit.Lost(r.head)
	if _, err := d.runControl(func(tx *Tx) error { return r.in.Amend(tx, report, lost) }); err != nil {
		return Restored{}, err
	}
	if err := d.seal(); err != nil {
		return Restored{}, err
	}
	g := r.w.db.session(ctx, r.w.tx)
	for k, row := range r.rows {
		if _, changed := d.writes[k]; changed {
			continue
		}
		if err := writeRow(g, row); err != nil {
			return Restored{}, unavailable("writing", err)
		}
	}
	if err := d.persist(ctx, r.w, false, true); err != nil {
		return Restored{}, unavailable("writing", err)
	}
	return Restored{Backup: r.head, Head: d.head, Rows: len(r.rows)}, nil
}

// logKeys are those of the backup's own end.
func (r *restorer) logKeys() logKeys {
	k := logKeys{chain: r.keys}
	if n := len(r.projection.turns); n > 0 {
		k.turned = r.projection.turns[n-1].at
	}
	return k
}

// insertHead stores the backup's own head; the recovery's commit moves it.
func (r *restorer) insertHead(ctx context.Context) error {
	h := &r.head
	_, err := r.w.tx.ExecContext(ctx, "INSERT INTO ledger_head (id, size, root, epoch, control_count, control_last, note)"+
		" VALUES (1, $1, $2, $3, $4, $5, $6)", h.Size, h.Root[:], h.Epoch, h.ControlCount, h.ControlLast, r.note)
	if err != nil {
		return unavailable("writing head", err)
	}
	return nil
}
