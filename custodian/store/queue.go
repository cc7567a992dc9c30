package store

import (
	"context"
	"sync"
	"sync/atomic"

	"conclave/custodian/ledger"
)

// controlReq is one waiting control-plane change.
type controlReq struct {
	fn        func(*Tx) error
	done      chan struct{}
	abandoned atomic.Bool
	receipt   Receipt
	err       error
}

func (r *controlReq) finish(receipt Receipt, err error) {
	r.receipt, r.err = receipt, err
	close(r.done)
}

// dataReq is one waiting data-plane entry.
type dataReq struct {
	entry     ledger.Entry
	epoch     uint64
	done      chan struct{} // one token per use, so that it can be used again
	abandoned atomic.Bool
	receipt   Receipt
	err       error
}

func (r *dataReq) finish(receipt Receipt, err error) {
	r.receipt, r.err = receipt, err
	r.done <- struct{}{}
}

// task is work that must not run beside a commit: looking for foreign commits, rechecking rows.
type task struct {
	run  func(ctx context.Context) error
	done chan struct{}
	err  error
}

func (t *task) finish(err error) {
	t.err = err
	close(t.done)
}

// waiting is what one round works on.
type waiting struct {
	tasks   []*task
	control []*controlReq
	data    []*dataReq
}

// queue holds what waits for the committer.
type queue struct {
	mu      sync.Mutex
	closed  bool
	control []*controlReq
	data    []*dataReq
	tasks   []*task
	kick    chan struct{} // holds a token when the queue may be non-empty
	free    sync.Pool
}

func newQueue() *queue {
	q := &queue{kick: make(chan struct{}, 1)}
	q.free.New = func() any { return &dataReq{done: make(chan struct{}, 1)} }
	return q
}

// request returns a data-plane request holding a copy of e.
func (q *queue) request(e *ledger.Entry, epoch uint64) *dataReq {
	r := q.free.Get().(*dataReq)
	r.entry, r.epoch = *e, epoch
	return r
}

// recycle takes back a request that nobody else holds any more.
func (q *queue) recycle(r *dataReq) {
	r.entry, r.receipt, r.err = ledger.Entry{}, Receipt{}, nil
	q.free.Put(r)
}

func (q *queue) add(put func()) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return ErrClosed
	}
	put()
	q.mu.Unlock()
	select {
	case q.kick <- struct{}{}:
	default:
	}
	return nil
}

func (q *queue) addControl(r *controlReq) error {
	return q.add(func() { q.control = append(q.control, r) })
}

func (q *queue) addTask(t *task) error {
	return q.add(func() { q.tasks = append(q.tasks, t) })
}

func (q *queue) addData(r *dataReq) error {
	return q.add(func() { q.data = append(q.data, r) })
}

// take moves everything that one round may do into w: all tasks and control changes, and up to max data
// entries, oldest first. It reports whether there was anything.
func (q *queue) take(w *waiting, max int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.tasks, q.tasks = q.tasks, nil
	w.control, q.control = q.control, nil
	n := min(max, len(q.data))
	w.data = append(w.data[:0], q.data[:n]...)
	rest := copy(q.data, q.data[n:])
	clear(q.data[rest:])
	q.data = q.data[:rest]
	return n > 0 || len(w.tasks) > 0 || len(w.control) > 0
}

// putBack returns entries that a round had no room for to the head of the queue.
func (q *queue) putBack(rest []*dataReq) {
	if len(rest) == 0 {
		return
	}
	q.mu.Lock()
	q.data = append(append(make([]*dataReq, 0, len(rest)+len(q.data)), rest...), q.data...)
	q.mu.Unlock()
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// putBackControl is putBack for control changes.
func (q *queue) putBackControl(rest []*controlReq) {
	q.mu.Lock()
	q.control = append(append(make([]*controlReq, 0, len(rest)+len(q.control)), rest...), q.control...)
	q.mu.Unlock()
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// close refuses further requests.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
}
