package ledger

import (
	"context"
	"errors"
	"time"
)

// Timed reads what [FirstAt] asks for.
type Timed struct {
	// Entry is the entry at a place; a [*DeletedError] where it was deleted.
	Entry func(ctx context.Context, seq uint64) (*Entry, error)
	// Control walks the control-plane entries from ≤ seq < to, in order. An error of fn ends it and is returned.
	Control func(ctx context.Context, from, to uint64, fn func(*Entry) error) error
}

// FirstAt is the first of the first size entries of a log that is not before an instant; size for none. Of a run that was
// deleted its first and last time tell where the instant is; where it is among them, the entries which are left there. Times of entries never go back, so it is found by halving,
// after a look from the end back in doubling steps: what is recent is found without a look at what is old.
func FirstAt(ctx context.Context, in Timed, at time.Time, size uint64) (uint64, error) {
	low, high := uint64(0), size
	back := uint64(1) // from the end; 0 once something before the instant is known
	for low < high {
		middle := low + (high-low)/2
		if back > 0 {
			middle = max(low, min(size-min(size, back), high-1))
			back *= 2
		}
		e, err := in.Entry(ctx, middle)
		var gone *DeletedError
		switch {
		case errors.As(err, &gone) && gone.before(at):
			low, back = min(gone.To, high), 0
		case errors.As(err, &gone) && gone.from(at):
			high = max(gone.From, low)
		case errors.As(err, &gone):
			if low, high, err = in.narrow(ctx, at, low, high, gone); err != nil {
				return 0, err
			}
		case err != nil:
			return 0, err
		case e.At.Before(at):
			low, back = middle+1, 0
		default:
			high = middle
		}
	}
	return low, nil
}

// errFound ends a walk; no caller sees it.
var errFound = errors.New("found")

// narrow is a step of FirstAt at entries that were deleted: those of the control plane among them tell.
func (in Timed) narrow(ctx context.Context, at time.Time, low, high uint64, gone *DeletedError) (uint64, uint64, error) {
	from, to := max(low, gone.From), min(high, gone.To)
	before, found := from, to // from ≤ seq < before is before the instant, found is not
	err := in.Control(ctx, from, to, func(e *Entry) error {
		if e.At.Before(at) {
			before = e.Seq + 1
			return nil
		}
		found = e.Seq
		return errFound
	})
	switch {
	case err != nil && !errors.Is(err, errFound):
		return 0, 0, err
	case found == to: // whatever is left there is before it
		return to, high, nil
	case before > from:
		return before, before, nil
	}
	return low, from, nil
}
