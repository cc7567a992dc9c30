// Package store is the one place that knows the database. It keeps the ledger and its projection, the
// authority rows, generic over row types; it owns the one committer through which everything is written; and
// it holds what the database says against what the ledger signed, at start and while running.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// Drivers.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Config is what a store needs. All fields but Logger, Alert, HighWaterPath, Permit and Segments are required.
type Config struct {
	Driver string // [SQLite] or [Postgres]
	DSN    string // SQLite: path of the database file; PostgreSQL: URL or key=value string
	Schema Schema
	// LogKey signs checkpoints and, with what handovers lead to and from it, verifies them.
	LogKey *ledger.LogKey
	// NextLogKeys are those that a rotation may have put in force before this process could note that.
	NextLogKeys []*ledger.LogKey
	// HighWaterPath is this node's own file outside the database that keeps the highest checkpoint seen, by
	// which an older or forked database is recognised. Empty: no such protection.
	HighWaterPath string
	Clock         clock.Clock
	Logger        *slog.Logger
	// Alert is told of every contradiction between database and ledger, once each. It must return at once and
	// not wait for the store: it may be called by the committer.
	Alert func(Violation)
	Node  string // this node's id, written into entries that name none
	// Permit says by a committed state whether this process may still write: an error bars it for good, see [ErrBarred].
	// It is asked of every state that another process committed, before anything is written after it, and of every change
	// of the control plane that this one did. It must be quick. Nil: nothing bars.
	Permit func(*View) error
	// Segments gives back entries that were moved out of the database. Nil: none ever were.
	Segments Segments
}

func (c *Config) check() error {
	switch {
	case c.Driver != SQLite && c.Driver != Postgres:
		return fmt.Errorf("store driver is %q, allowed are %q and %q", c.Driver, SQLite, Postgres)
	case c.DSN == "":
		return errors.New("store DSN is empty, allowed is a file path (sqlite) or a connection string (postgres)")
	case len(c.Schema) == 0:
		return errors.New("store schema is empty, allowed is at least one row kind")
	case c.LogKey == nil:
		return errors.New("store log key is missing: checkpoints can be neither verified nor signed")
	case c.Clock == nil:
		return errors.New("store clock is missing")
	case c.Node == "":
		return errors.New("store node id is empty")
	}
	for kind, spec := range c.Schema {
		if kind == "" || spec.Decode == nil {
			return fmt.Errorf("store schema: row kind %q has no name or no decoder", kind)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Alert == nil {
		c.Alert = func(Violation) {}
	}
	return nil
}

// snapshot is one committed state: rows, tree and checkpoint belong together and never change.
type snapshot struct {
	view *View
	tree *ledger.Tree
	note []byte
	keys logKeys
}

// Store is an open ledger with its authority rows. All methods may be called from any goroutine.
type Store struct {
	cfg     Config
	db      *database
	queue   *queue
	signers signers
	stall   *stall
	snap    atomic.Pointer[snapshot]
	// halt holds the reason why nothing more is written: the database turned out rolled back, forked or edited.
	halt    atomic.Pointer[error]
	unswept atomic.Bool // the last integrity sweep could not be made
	// suspecting: a row that was read contradicts the ledger, and is being looked at again to be quarantined.
	suspecting atomic.Bool
	high       *highWater
	// anchored: at start there was a mark to hold the ledger against.
	anchored bool
	com      committer
	barring  sync.Once
	barred   chan struct{} // closed once Permit has refused

	closing sync.Once
	stop    chan struct{}
	done    chan struct{} // the committer has ended
}

// Open opens an existing ledger, replays and verifies it, and starts the committer. Rows that contradict the
// ledger do not stop it: they are quarantined, see [Store.Health]. A ledger that contradicts its own signed
// checkpoint or an earlier one does: [ErrRollback], [ErrFork], [ErrEdited]. Other named failures:
// [ErrNotInitialised], [ErrNewerSchema], [ErrLocked], [ErrUnavailable].
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := prepare(ctx, cfg, false)
	if err != nil {
		return nil, err
	}
	if err := s.replay(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening ledger: %w", err), s.db.close())
	}
	s.start()
	return s, nil
}

// Initialise makes the ledger: schema, then in one commit whatever genesis puts and appends; its first entry
// is entry 0. A database that holds a ledger is refused with [ErrInitialised] and left alone.
func Initialise(ctx context.Context, cfg Config, genesis func(*Tx) error) error {
	s, err := prepare(ctx, cfg, true)
	if err != nil {
		return err
	}
	err = s.genesis(ctx, genesis)
	if err != nil {
		err = fmt.Errorf("initialising ledger: %w", err)
	}
	return errors.Join(err, s.db.close())
}

// prepare opens the database, brings its schema up to date and builds a store without state.
func prepare(ctx context.Context, cfg Config, create bool) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	db, err := openDatabase(ctx, cfg.Driver, cfg.DSN, create)
	if err != nil {
		return nil, fmt.Errorf("opening database: %w", err)
	}
	s := &Store{cfg: cfg, db: db, queue: newQueue(), stall: newStall(), stop: make(chan struct{}), done: make(chan struct{}), barred: make(chan struct{})}
	s.signers.offer(cfg.LogKey)
	for _, k := range cfg.NextLogKeys {
		s.signers.offer(k)
	}
	s.high = newHighWater(s)
	s.com.s = s
	return s, nil
}

func (s *Store) start() {
	go s.high.run()
	go s.com.run()
	go s.stall.watch(s.stop)
}

// Close ends the committer after the round under way, answers whoever still waits with [ErrClosed], persists
// the high-water mark and closes the database.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		close(s.stop)
		<-s.done
		err = errors.Join(s.high.close(), s.db.close())
	})
	return err
}

// View is the newest committed state.
func (s *Store) View() *View { return s.snap.Load().view }

// Anchored reports whether the ledger was held against a checkpoint that this node kept of an earlier run. Without
// one, as on a new replica or after the file was removed, an older database is not recognised as such here.
func (s *Store) Anchored() bool { return s.anchored }

// Checkpoint is the newest signed checkpoint, a C2SP signed note.
func (s *Store) Checkpoint() []byte { return append([]byte(nil), s.snap.Load().note...) }

// Published is one committed state whole: the rows, and the signed checkpoint of the very ledger head that they
// project, with the log keys that verify it. Whoever proves something to others takes both from here, so that they fit.
func (s *Store) Published() (*View, []byte, *ledger.KeyChain) {
	snap := s.snap.Load()
	return snap.view, append([]byte(nil), snap.note...), snap.keys.chain
}

// Health is nil when the database agrees with the ledger. Otherwise it says why the node must not count as
// ready: writing has stopped or hangs, rows are quarantined, or the last sweep could not be made.
func (s *Store) Health() error {
	if reason := s.halt.Load(); reason != nil {
		return fmt.Errorf("ledger writing has stopped: %w", *reason)
	}
	if err := s.stall.health(); err != nil {
		return err
	}
	if err := s.CanSign(); err != nil {
		return err
	}
	if n := len(s.View().tampered); n > 0 {
		return fmt.Errorf("%d authority rows contradict the ledger and are quarantined", n)
	}
	if s.unswept.Load() {
		return errUnswept // why is in the log: health is public, what a driver says is not
	}
	return nil
}

// Receipt says where something was recorded.
type Receipt struct {
	Seq     uint64 // first entry
	LastSeq uint64 // last entry; equal to Seq for the data plane
	At      time.Time
	Epoch   uint64   // authority epoch after it
	Leaf    [32]byte // RFC 6962 leaf hash of the last entry
}

// Control runs one control-plane change: fn reads tx.View, puts rows and appends the entries that record them;
// all of it is committed together, before any waiting data-plane entry. fn is called at most once, under the
// ledger head's lock: it must be quick and touch nothing but tx. When fn fails or panics nothing changes and
// nobody else is affected. A cancelled ctx before the change is taken up changes nothing; later the change
// may still be committed although an error is returned.
func (s *Store) Control(ctx context.Context, fn func(tx *Tx) error) (Receipt, error) {
	if s.stall.stalled() {
		return Receipt{}, s.stall.refusal("taking a control change")
	}
	r := &controlReq{fn: fn, done: make(chan struct{})}
	if err := s.queue.addControl(r); err != nil {
		return Receipt{}, err
	}
	select {
	case <-r.done:
		return r.receipt, r.err
	case <-s.stall.waiting():
		r.abandoned.Store(true)
		return Receipt{}, s.stall.refusal("waiting for control commit")
	case <-ctx.Done():
		r.abandoned.Store(true)
		return Receipt{}, fmt.Errorf("waiting for control commit: %w", ctx.Err())
	}
}

// Append records one data-plane entry; it is durable when Append returns nil. epoch is the authority epoch
// under which the call was decided: when that is no longer in force, nothing is written and the error is
// [ErrEpochChanged]. e is copied; its Detail must not be changed afterwards. A zero Salt is filled. A cancelled
// ctx returns at once; the entry may still be written. So it may when the database hangs, which is
// [ErrUnavailable] after some seconds.
func (s *Store) Append(ctx context.Context, e *ledger.Entry, epoch uint64) (Receipt, error) {
	if len(e.Rows) > 0 {
		return Receipt{}, errors.New("data-plane entry carries row changes, allowed are none: use Control")
	}
	if s.stall.stalled() { // what is not queued takes no memory
		return Receipt{}, s.stall.refusal("taking a ledger entry")
	}
	r := s.queue.request(e, epoch)
	if err := fillEntry(&r.entry, s.cfg.Node); err != nil {
		s.queue.recycle(r)
		return Receipt{}, err
	}
	if err := s.queue.addData(r); err != nil {
		s.queue.recycle(r)
		return Receipt{}, err
	}
	select {
	case <-r.done:
		receipt, err := r.receipt, r.err
		s.queue.recycle(r)
		return receipt, err
	case <-s.stall.waiting():
		r.abandoned.Store(true)
		return Receipt{}, s.stall.refusal("waiting for ledger commit")
	case <-ctx.Done():
		// Not recycled: the committer may hold it.
		r.abandoned.Store(true)
		return Receipt{}, fmt.Errorf("waiting for ledger commit: %w", ctx.Err())
	}
}
