package siem

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Target takes records. Send returns nil only once the target has taken all of them; otherwise all are sent again.
type Target interface {
	Name() string
	Send(ctx context.Context, records []Record) error
	Close() error
}

// Repeater is a target that does not say what it took to heart. Where it has no connection, the records before those that
// are due are sent once more: whatever ended it may have lost them on the other side, whoever delivered them.
type Repeater interface {
	Target
	Connected() bool
	Repeats() uint64 // at most, on a new connection
}

// Bounds of one delivery.
const (
	batchRecords = 256
	batchBytes   = 1 << 20
	sendTimeout  = 30 * time.Second
	leaseFor     = 90 * time.Second // longer than a delivery may take
	firstPause   = time.Second
	longestPause = time.Minute
)

// State is how far a target is, for metrics.
type State struct {
	Target   string
	Next     uint64    // first entry that it has not got
	Behind   uint64    // entries that it has not got
	Oldest   time.Time // of the first of them; zero: none
	Failures uint64    // deliveries that failed, by this process
}

// Exporter delivers to one target.
type Exporter struct {
	store  *store.Store
	target Target
	src    Source
	clock  clock.Clock
	log    *slog.Logger

	turn      sync.Mutex    // of one run; the target and what follows are its own
	notBefore time.Duration // monotonic: after a failure
	problem   error         // that failure
	repeats   uint64        // of what the target has: the last so many are still to be sent once more on its connection
	pause     time.Duration

	mu    sync.Mutex
	state State
}

// New makes the exporter of a target.
func New(st *store.Store, target Target, src Source, clk clock.Clock, log *slog.Logger) *Exporter {
	return &Exporter{store: st, target: target, src: src, clock: clk, log: log, state: State{Target: target.Name()}}
}

// State is how far the target is, as of the last run.
func (x *Exporter) State() State {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.state
}

// Close gives up the connection.
func (x *Exporter) Close() error { return x.target.Close() }

// Run delivers what is there, if this replica has the lease, until nothing is left or ctx ends. After a failure it waits
// longer each time, up to a minute, before it tries the same records again; meanwhile it returns that failure.
func (x *Exporter) Run(ctx context.Context) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	if err := x.observe(ctx); err != nil {
		return err
	}
	if x.clock.Elapsed() < x.notBefore {
		return x.problem
	}
	for ctx.Err() == nil {
		ours, err := x.store.Lease(ctx, "export/"+x.target.Name(), x.src.Node, leaseFor)
		if err != nil || !ours {
			return err
		}
		more, err := x.deliver(ctx)
		if err != nil {
			x.problem = fmt.Errorf("delivering to %s: %w", x.target.Name(), err)
			x.failed()
			return x.problem
		}
		x.pause, x.notBefore = 0, 0
		if !more {
			return nil
		}
	}
	return nil
}

func (x *Exporter) failed() {
	x.pause = min(longestPause, max(firstPause, 2*x.pause))
	x.notBefore = x.clock.Elapsed() + x.pause
	x.mu.Lock()
	x.state.Failures++
	x.mu.Unlock()
}

// deliver sends the next records and notes that the target has them.
func (x *Exporter) deliver(ctx context.Context) (more bool, err error) {
	from, err := x.store.ExportCursor(ctx, x.target.Name())
	if err != nil {
		return false, err
	}
	if from > x.store.View().Head().Size { // or this replica has not heard yet of what another delivered
		if err := x.store.Refresh(ctx); err != nil {
			return false, err
		}
	}
	size := x.store.View().Head().Size
	if from == size {
		return false, x.observe(ctx)
	}
	if again, err := x.again(ctx, min(from, size)); again || err != nil {
		return again, err
	}
	if from > size {
		return true, x.restored(ctx, from, size)
	}
	records, _, err := read(ctx, x.store.Entries, from, min(size, from+batchRecords), batchBytes)
	if gone := new(ledger.DeletedError); errors.As(err, &gone) && len(records) == 0 {
		return true, x.deleted(ctx, from, gone)
	}
	if len(records) == 0 {
		return false, errors.Join(err, x.observe(ctx))
	}
	if err := x.send(ctx, records); err != nil {
		return false, err
	}
	to := from + uint64(len(records))
	if moved, err := x.store.MoveExport(ctx, x.target.Name(), from, to); err != nil || !moved {
		return moved, err
	}
	return to < size, x.observe(ctx)
}

// restored tells the target that the ledger was set back, which a quorum decided: numbers that it has seen come again.
func (x *Exporter) restored(ctx context.Context, from, size uint64) error {
	gap := fmt.Sprintf("the ledger was restored to %d entries; entries %d to %d, delivered before, are lost, and their numbers are used again", size, size, from-1)
	if err := x.send(ctx, []Record{{Gap: gap, At: x.clock.Now(), Seq: size}}); err != nil {
		return err
	}
	x.log.Warn("export goes on behind a restore", "target", x.target.Name(), "lost_from", size, "lost_to", from-1)
	_, err := x.store.MoveExport(ctx, x.target.Name(), from, size)
	return err
}

// deleted tells the target of entries that were deleted before it was to have them: one that is new, or was away for years.
// Those of the control plane among them are kept, and follow.
func (x *Exporter) deleted(ctx context.Context, from uint64, gone *ledger.DeletedError) error {
	next := gone.To
	kept, all, err := read(ctx, x.store.ControlEntriesIn, from, next, batchBytes)
	if err != nil {
		return err
	}
	if !all {
		next = kept[len(kept)-1].Entry.Seq + 1
	}
	said := (&ledger.DeletedError{From: from, To: next, By: gone.By}).Error() + "; those of the control plane among them are kept, and follow"
	if err := x.send(ctx, append([]Record{{Gap: said, At: x.clock.Now(), Seq: from}}, kept...)); err != nil {
		return err
	}
	_, err = x.store.MoveExport(ctx, x.target.Name(), from, next)
	return err
}

func (x *Exporter) send(ctx context.Context, records []Record) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return x.target.Send(ctx, records)
}

// errEnough ends a walk over entries.
var errEnough = errors.New("batch is full")

// again sends once more, on a new connection, what comes before the entry at next: one delivery of it, and says whether there
// was any. What fails begins anew with the next connection.
func (x *Exporter) again(ctx context.Context, next uint64) (bool, error) {
	r, ok := x.target.(Repeater)
	if !ok {
		return false, nil
	}
	if !r.Connected() {
		x.repeats = r.Repeats()
	}
	x.repeats = min(x.repeats, next)
	if x.repeats == 0 {
		return false, nil
	}
	records, all, err := read(ctx, x.store.Present, next-x.repeats, next, batchBytes)
	if err != nil {
		return false, err
	}
	if len(records) > 0 {
		if err := x.send(ctx, records); err != nil {
			return false, err
		}
	}
	if all {
		x.repeats = 0
	} else {
		x.repeats = next - records[len(records)-1].Entry.Seq - 1
	}
	return true, nil
}

// walk gives entries from ≤ seq < to, proven to be in the signed tree.
type walk func(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error

// read takes what a walk gives of a range, from its beginning up to a number of bytes and batchRecords entries, and says
// whether that was all of it.
func read(ctx context.Context, entries walk, from, to uint64, most int) (out []Record, all bool, err error) {
	total := 0
	err = entries(ctx, from, to, func(e *ledger.Entry, raw []byte) error {
		if total > 0 && total+len(raw) > most || len(out) == batchRecords {
			return errEnough
		}
		total += len(raw)
		out = append(out, Record{Entry: e, Raw: append([]byte(nil), raw...)})
		return nil
	})
	if errors.Is(err, errEnough) {
		return out, false, nil
	}
	return out, err == nil, err
}

// observe notes how far the target is, whichever replica delivers to it.
func (x *Exporter) observe(ctx context.Context) error {
	next, err := x.store.ExportCursor(ctx, x.target.Name())
	if err != nil {
		return err
	}
	size := x.store.View().Head().Size
	var oldest time.Time
	if next < size {
		_, e, err := x.store.EntryAt(ctx, next)
		switch gone := new(ledger.DeletedError); {
		case errors.As(err, &gone): // the target is told next
		case err != nil:
			return err
		default:
			oldest = e.At
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.state.Next, x.state.Oldest, x.state.Behind = next, oldest, size-min(size, next)
	return nil
}
