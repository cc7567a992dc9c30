package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sys/unix"
)

// HighWater remembers in a file the highest checkpoint that this node or client has seen, so that it
// notices when it is shown an older log, or another. Safe for several processes on one file.
type HighWater struct {
	path      string
	origin    string
	verifiers []note.Verifier
}

// Prove fetches the consistency proof between two sizes of the log, from whoever shows the newer one.
type Prove func(ctx context.Context, older, newer uint64) (tlog.TreeProof, error)

// NewHighWater uses the file at path, which need not exist yet.
func NewHighWater(path, origin string, verifiers ...note.Verifier) *HighWater {
	return &HighWater{path: path, origin: origin, verifiers: verifiers}
}

// Path is the file that keeps the mark.
func (w *HighWater) Path() string { return w.path }

// Highest returns the highest checkpoint seen, and false before the first. A file that no longer
// verifies is an error: a mark that cannot be read protects nothing.
func (w *HighWater) Highest() (Head, bool, error) {
	f, err := os.Open(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, false, nil
	}
	if err != nil {
		return Head{}, false, fmt.Errorf("opening high-water mark: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNote+1))
	if err != nil {
		return Head{}, false, fmt.Errorf("reading high-water mark: %w", err)
	}
	h, err := OpenHead(data, w.origin, w.verifiers...)
	if err != nil {
		return Head{}, false, fmt.Errorf("what this reader saw of the instance before, %s, does not fit the trust file "+
			"(remove it only if you know that the instance was made anew): %w", w.path, err)
	}
	return h, true, nil
}

// Advance checks a checkpoint against the highest one seen and, where it is higher, remembers it before
// returning what it says. [ErrRollback] and [ErrFork] leave the mark as it was. The first checkpoint
// ever is taken on its signature alone: offer the trust file's own first.
func (w *HighWater) Advance(ctx context.Context, checkpoint []byte, prove Prove) (Head, error) {
	newer, err := OpenHead(checkpoint, w.origin, w.verifiers...)
	if err != nil {
		return Head{}, fmt.Errorf("advancing high-water mark: %w", err)
	}
	unlock, err := lockFile(w.path + ".lock")
	if err != nil {
		return Head{}, fmt.Errorf("advancing high-water mark: %w", err)
	}
	defer unlock()
	older, seen, err := w.Highest()
	if err != nil {
		return Head{}, err
	}
	if seen {
		var proof tlog.TreeProof
		if older.Size > 0 && newer.Size > older.Size {
			if proof, err = prove(ctx, older.Size, newer.Size); err != nil {
				return Head{}, fmt.Errorf("advancing high-water mark: fetching proof: %w", err)
			}
		}
		if err := CheckConsistency(proof, older, newer); err != nil {
			return Head{}, fmt.Errorf("advancing high-water mark: %w", err)
		}
		if newer == older {
			return newer, nil
		}
	}
	if err := WriteFileAtomic(w.path, checkpoint, 0o600); err != nil {
		return Head{}, fmt.Errorf("advancing high-water mark: %w", err)
	}
	return newer, nil
}

// Replace sets the mark to a checkpoint that does not continue it: somebody has judged the recovery that explains why.
// Its signature is checked, nothing else.
func (w *HighWater) Replace(checkpoint []byte) (Head, error) {
	h, err := OpenHead(checkpoint, w.origin, w.verifiers...)
	if err != nil {
		return Head{}, fmt.Errorf("replacing high-water mark: %w", err)
	}
	unlock, err := lockFile(w.path + ".lock")
	if err != nil {
		return Head{}, fmt.Errorf("replacing high-water mark: %w", err)
	}
	defer unlock()
	if err := WriteFileAtomic(w.path, checkpoint, 0o600); err != nil {
		return Head{}, fmt.Errorf("replacing high-water mark: %w", err)
	}
	return h, nil
}

// lockFile holds an advisory lock until unlock. The lock file stays: removing it would let two holders in.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
