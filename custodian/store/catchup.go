package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// catchUp takes over what other replicas committed since our snapshot: it verifies the head's signature, that
// the batches lead from our tree to its root, that the control chain goes on, and that the changed rows are
// what the entries say. Only then is the new snapshot published.
func (s *Store) catchUp(ctx context.Context, tx *sql.Tx, stored *storedHead) error {
	base := s.snap.Load()
	old := base.view.head
	head, err := (reader{tx}).openHead(ctx, stored, base.keys, old.Size)
	if err != nil {
		return err
	}
	if head.Size < old.Size {
		return fmt.Errorf("%w: database has %d entries, %d were seen", ErrRollback, head.Size, old.Size)
	}
	f := &foreign{tree: base.tree.Clone(), at: base.view.at, projection: newProjection()}
	f.projection.count, f.projection.last, f.projection.epoch = old.ControlCount, old.ControlLast, old.Epoch
	f.view = base.view
	if err := (reader{tx}).batches(ctx, old.Size, head.Size, false, f.batch); err != nil {
		return fmt.Errorf("catching up: %w", err)
	}
	p := f.projection
	if f.tree.Size() != head.Size || f.tree.Root() != head.Root {
		return fmt.Errorf("%w: the head of size %d does not continue the head of size %d", ErrFork, head.Size, old.Size)
	}
	if p.count != head.ControlCount || p.last != head.ControlLast || p.epoch != head.Epoch {
		return fmt.Errorf("%w: control entries up to %d do not reach the signed head's", ErrEdited, p.last)
	}
	view, err := s.foreignRows(ctx, tx, base.view, p)
	if err != nil {
		return err
	}
	keys, err := s.continued(ctx, reader{tx}, base.keys, f.tree, stored, head, p.turns)
	if err != nil {
		return err
	}
	f.tree.TakeFullTiles() // stored by whoever finished them
	s.snap.Store(&snapshot{view: view.moved(head, f.at), tree: f.tree, note: stored.note, keys: keys})
	s.high.offer(p.count != old.ControlCount)
	if p.count != old.ControlCount {
		s.permit(s.View())
	}
	return nil
}

// foreign gathers what other replicas committed.
type foreign struct {
	tree       *ledger.Tree
	at         time.Time
	view       *View
	projection *projection
}

func (f *foreign) batch(b *storedBatch) error {
	end := f.tree.Size()
	if b.first+b.count <= end {
		return nil // the last batch that we already have
	}
	if b.first != end {
		return fmt.Errorf("%w: entry %d is missing", ErrEdited, end)
	}
	return b.entries(func(seq uint64, raw []byte) error {
		f.tree.Append(ledger.LeafHash(raw))
		last := seq == b.first+b.count-1
		if !b.control && !last {
			return nil
		}
		e, err := decodeAt(seq, raw)
		if err != nil {
			return err
		}
		f.at = e.At
		if !b.control {
			return nil
		}
		f.seed(e)
		return f.projection.apply(e)
	})
}

// seed gives the projection the state that our View holds of the rows which e changes.
func (f *foreign) seed(e *ledger.Entry) {
	for _, c := range e.Rows {
		k := rowKey{Kind(c.Kind), c.ID}
		if _, known := f.projection.rows[k]; !known {
			f.projection.rows[k] = f.view.bound(k)
		}
	}
}

// foreignRows loads the rows that foreign entries changed and quarantines those that contradict them.
func (s *Store) foreignRows(ctx context.Context, tx *sql.Tx, view *View, p *projection) (*View, error) {
	if len(p.rows) == 0 {
		return view, nil
	}
	g := s.db.session(ctx, tx)
	now := s.cfg.Clock.Now()
	rows := make([]*Row, 0, len(p.rows))
	bad := map[rowKey]Violation{}
	for k, b := range p.rows {
		if _, known := s.cfg.Schema[k.kind]; !known {
			return nil, fmt.Errorf("%w: a replica wrote rows of kind %q, unknown to this program", ErrNewerSchema, k.kind)
		}
		m, err := readRow(g, k)
		if err != nil {
			return nil, err
		}
		row, violation := s.compare(k, m, b, now)
		if violation != nil {
			bad[k] = *violation
		}
		rows = append(rows, row)
	}
	view = view.settled(rows...)
	if len(bad) > 0 {
		for k, v := range view.tampered {
			if _, again := bad[k]; !again {
				bad[k] = v
			}
		}
		view = view.quarantined(bad)
		s.alertAll(bad)
	}
	return view, nil
}

// compare holds what is stored of a row, nil for nothing, against the ledger. The row it returns is the one
// for the View: with content, or a shadow.
func (s *Store) compare(k rowKey, m *rowModel, b bound, now time.Time) (*Row, *Violation) {
	absent := b.revision == 0 || b.deleted()
	switch {
	case m == nil && absent:
		return b.shadow(k), nil
	case m == nil:
		v := rowViolation(k, ProblemMissing, b, "the ledger says it exists", now)
		return b.shadow(k), &v
	}
	row, violation := s.checkRow(m, b, now)
	if violation != nil {
		return b.shadow(k), violation
	}
	return row, nil
}

// alertAll tells of violations, in a fixed order.
func (s *Store) alertAll(found map[rowKey]Violation) {
	list := make([]Violation, 0, len(found))
	for _, v := range found {
		list = append(list, v)
	}
	sortViolations(list)
	for _, v := range list {
		s.cfg.Logger.Error("authority row contradicts the ledger", "kind", string(v.Kind), "id", v.ID, "problem", string(v.Problem))
		s.cfg.Alert(v)
	}
}

// Refresh looks for what other replicas have committed and takes it over. On SQLite there are none.
func (s *Store) Refresh(ctx context.Context) error {
	if s.db.driver == SQLite {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	var note []byte
	if err := s.db.read.QueryRowContext(ctx, "SELECT note FROM ledger_head WHERE id = 1").Scan(&note); err != nil {
		return unavailable("reading ledger head", err)
	}
	if string(note) == string(s.snap.Load().note) {
		return nil
	}
	return s.between(ctx, s.com.refresh)
}

// between runs work on the committer's goroutine between two rounds.
func (s *Store) between(ctx context.Context, work func(context.Context) error) error {
	t := &task{run: work, done: make(chan struct{})}
	if err := s.queue.addTask(t); err != nil {
		return err
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the committer: %w", ctx.Err())
	}
}

// refresh catches up in a read-only transaction: no lock is needed, only one consistent state.
func (c *committer) refresh(ctx context.Context) error {
	tx, err := c.s.db.snapshotTx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	stored, err := reader{tx}.head(ctx)
	if err != nil {
		return err
	}
	if err := c.s.catchUp(ctx, tx, stored); err != nil {
		c.s.haltOn(err)
		return err
	}
	return nil
}
