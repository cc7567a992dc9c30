package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"time"
)

const (
	// maxRound bounds the data-plane entries of one commit, and with it how long a control change waits.
	maxRound = 512
	// commitTimeout bounds one round against a server that does not answer.
	commitTimeout = 30 * time.Second
	// checkpointEvery is how often a checkpoint is kept while only the data plane writes.
	checkpointEvery = time.Second
)

// errHeadMoved: the head row is not the one this process wrote or read last.
var errHeadMoved = errors.New("ledger head row changed underneath")

// committer is the one writer. It alone moves Store.snap.
type committer struct {
	s     *Store
	draft draft
	// stale: a commit's outcome is unknown, or the head row was not as expected: look before writing.
	stale          bool
	lastCheckpoint time.Duration // on the clock's monotonic reading
	bounced        []*dataReq
	receipts       []Receipt
}

// writeTx is a transaction that holds the ledger head's lock.
type writeTx struct {
	db *database
	tx *sql.Tx
}

func (w *writeTx) exec(ctx context.Context, stmt *sql.Stmt, args ...any) (int64, error) {
	res, err := w.tx.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// run serves rounds until the store closes, then answers whoever waits.
func (c *committer) run() {
	defer close(c.s.done)
	w := &waiting{}
	for {
		select {
		case <-c.s.stop:
			c.s.queue.close()
			for c.s.queue.take(w, maxRound) {
				w.fail(ErrClosed)
			}
			return
		case <-c.s.queue.kick:
		}
		for c.s.queue.take(w, maxRound) {
			c.serve(w)
			if c.s.stopping() {
				break
			}
			// Whoever was just answered may come back at once: let them, so that the next commit carries all
			// waiters and not every second half of them.
			runtime.Gosched()
		}
	}
}

func (s *Store) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// fail answers everything that waits with err.
func (w *waiting) fail(err error) {
	for _, t := range w.tasks {
		t.finish(err)
	}
	for _, r := range w.control {
		r.finish(Receipt{}, err)
	}
	for _, r := range w.data {
		r.finish(Receipt{}, err)
	}
	w.tasks, w.control, w.data = nil, nil, w.data[:0]
}

// serve runs one round: tasks, then one commit of control changes and data entries.
func (c *committer) serve(w *waiting) {
	c.s.stall.begin()
	defer c.s.stall.end()
	ctx, cancel := c.context()
	defer cancel()
	for _, t := range w.tasks {
		t.finish(t.run(ctx))
	}
	w.tasks = nil
	w.dropAbandoned()
	if len(w.control)+len(w.data) == 0 {
		return
	}
	if reason := c.s.halt.Load(); reason != nil {
		w.fail(fmt.Errorf("ledger writing has stopped: %w", *reason))
		return
	}
	tx, err := c.begin(ctx)
	if err != nil {
		w.fail(err)
		return
	}
	c.round(ctx, tx, w)
}

// context bounds a round on a server; the embedded database is waited for (a deadline there costs a goroutine
// a statement and could only abandon a commit that is going to end).
func (c *committer) context() (context.Context, context.CancelFunc) {
	if c.s.db.driver == SQLite {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), commitTimeout)
}

func (w *waiting) dropAbandoned() {
	kept := w.control[:0]
	for _, r := range w.control {
		if r.abandoned.Load() {
			r.finish(Receipt{}, context.Canceled)
			continue
		}
		kept = append(kept, r)
	}
	w.control = kept
	data := w.data[:0]
	for _, r := range w.data {
		if r.abandoned.Load() {
			continue
		}
		data = append(data, r)
	}
	w.data = data
}

// begin takes the head's lock and brings the snapshot up to the committed head.
func (c *committer) begin(ctx context.Context) (*writeTx, error) {
	opts := &sql.TxOptions{}
	if c.s.db.driver == Postgres {
		// Each statement must see what was committed before the lock was given.
		opts.Isolation = sql.LevelReadCommitted
	}
	tx, err := c.s.db.write.BeginTx(ctx, opts)
	if err != nil {
		return nil, unavailable("beginning a commit", err)
	}
	w := &writeTx{db: c.s.db, tx: tx}
	if c.s.db.driver == SQLite && !c.stale {
		// The process lock makes us the only writer, and the head's update checks it once more.
		return w, nil
	}
	err = c.sync(ctx, w)
	if reason := c.s.halt.Load(); err == nil && reason != nil { // by what others committed
		err = fmt.Errorf("ledger writing has stopped: %w", *reason)
	}
	if err != nil {
		w.rollback()
		return nil, err
	}
	return w, nil
}

// rollback's own error says nothing new: the reason for it is already on its way to the caller.
func (w *writeTx) rollback() { _ = w.tx.Rollback() }

// sync reads the head under its lock and catches up with what others committed.
func (c *committer) sync(ctx context.Context, w *writeTx) error {
	stored, err := scanHead(w.tx.StmtContext(ctx, w.db.stmt.lockHead).QueryRowContext(ctx))
	if errors.Is(err, ErrNotInitialised) {
		err = fmt.Errorf("%w: head row is gone", ErrEdited)
	}
	if snap := c.s.snap.Load(); err == nil && bytes.Equal(stored.note, snap.note) {
		err = stored.matches(snap.view.head)
	} else if err == nil {
		err = c.s.catchUp(ctx, w.tx, stored)
	}
	if err != nil {
		c.s.haltOn(err)
		return err
	}
	c.stale = false
	return nil
}

// round builds the draft, commits it and answers.
func (c *committer) round(ctx context.Context, tx *writeTx, w *waiting) {
	d := &c.draft
	d.reset(c.s, c.s.snap.Load())
	c.fill(w)
	if d.empty() {
		tx.rollback()
		c.bounce()
		return
	}
	checkpoint := d.control.count > 0 || c.s.cfg.Clock.Elapsed()-c.lastCheckpoint >= checkpointEvery
	if err := c.commit(ctx, tx, checkpoint); err != nil {
		c.bounce()
		w.fail(err)
		return
	}
	if checkpoint {
		c.lastCheckpoint = c.s.cfg.Clock.Elapsed()
	}
	if c.s.snap.Load().view.head.Size < d.head.Size { // not yet taken over by catching up
		c.s.snap.Store(d.snapshot())
	}
	c.s.high.offer(d.control.count > 0)
	if d.control.count > 0 {
		c.s.permit(c.s.View())
	}
	for i, r := range w.control {
		r.finish(c.receipts[i], nil)
	}
	for i, r := range w.data {
		r.finish(c.receipts[len(w.control)+i], nil)
	}
	c.bounce()
}

// fill runs the control changes, then takes data entries; what fails or bounces leaves w.
func (c *committer) fill(w *waiting) {
	d := &c.draft
	c.receipts, c.bounced = c.receipts[:0], c.bounced[:0]
	kept := w.control[:0]
	for i, r := range w.control {
		if d.handover != "" { // the head that hands the log over ends with what says so
			c.s.queue.putBackControl(w.control[i:])
			break
		}
		receipt, err := d.runControl(r.fn)
		if err != nil {
			r.finish(Receipt{}, err)
			continue
		}
		kept = append(kept, r)
		c.receipts = append(c.receipts, receipt)
	}
	w.control = kept
	data := w.data[:0]
	for i, r := range w.data {
		if d.full() || d.handover != "" {
			c.s.queue.putBack(w.data[i:])
			break
		}
		receipt, err := d.appendData(&r.entry, r.epoch)
		if err != nil {
			r.err = err
			c.bounced = append(c.bounced, r)
			continue
		}
		data = append(data, r)
		c.receipts = append(c.receipts, receipt)
	}
	w.data = data
}

// bounce answers refused data entries, after the new View stands: whoever decides again sees the new epoch.
func (c *committer) bounce() {
	for i, r := range c.bounced {
		r.finish(Receipt{}, r.err)
		c.bounced[i] = nil
	}
	c.bounced = c.bounced[:0]
}

// commit writes the draft. On an error nothing of it is acknowledged, and the next round looks first.
func (c *committer) commit(ctx context.Context, tx *writeTx, checkpoint bool) error {
	d := &c.draft
	if err := d.seal(); err != nil {
		tx.rollback()
		return err
	}
	if err := d.persist(ctx, tx, false, checkpoint); err != nil {
		tx.rollback()
		c.stale = true
		return unavailable("writing", err)
	}
	if err := tx.tx.Commit(); err != nil {
		c.stale = true
		if c.landed() {
			return nil
		}
		return unavailable("committing", err)
	}
	return nil
}

// landed finds out whether a commit that reported an error took place all the same. Taking the head's lock waits
// for its end and catches up with it; its first batch holds random salts, so the same bytes at the same place
// are ours. While the database does not answer the outcome stays unknown, and nothing is acknowledged.
func (c *committer) landed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	w, err := c.begin(ctx)
	if err != nil {
		return false
	}
	defer w.rollback()
	ours := &c.draft.control
	if ours.count == 0 {
		ours = &c.draft.data
	}
	var body []byte
	err = w.tx.QueryRowContext(ctx, "SELECT body FROM ledger_batches WHERE first_seq = $1", ours.first).Scan(&body)
	return err == nil && bytes.Equal(body, ours.body)
}

// haltOn stops all writing when the database turned out not to be the one this process knows.
func (s *Store) haltOn(err error) {
	if !errors.Is(err, ErrRollback) && !errors.Is(err, ErrFork) && !errors.Is(err, ErrEdited) {
		return
	}
	if s.halt.CompareAndSwap(nil, &err) {
		s.cfg.Logger.Error("ledger writing has stopped", "reason", err)
		s.cfg.Alert(Violation{Object: "head", Problem: ProblemEdited, Detail: err.Error(), FoundAt: s.cfg.Clock.Now()})
	}
}
