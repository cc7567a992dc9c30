package store

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

var (
	// ErrNotFound: no row of that kind and id.
	ErrNotFound = errors.New("no such row")
	// ErrEpochChanged: people, grants, keys, keystores or policy changed since the caller decided. Nothing was
	// written; decide again under the View's epoch and append again.
	ErrEpochChanged = errors.New("authority epoch has changed since the decision")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrUnavailable: the database refused or was lost (disk full, connection gone). Nothing is acknowledged; retry.
	ErrUnavailable = errors.New("ledger storage is unavailable")
	// ErrDamaged: the database's files are not whole. It comes with [ErrUnavailable]; no trying again mends it.
	ErrDamaged = errors.New("the database's files are damaged")
	// ErrBarred: this process may not write any more; another may. Config.Permit said why, which it wraps.
	ErrBarred = errors.New("this process may not write to the ledger any more")
	// ErrNotInitialised: the database holds no ledger.
	ErrNotInitialised = errors.New("database holds no ledger: genesis has not run")
	// ErrInitialised: genesis was asked for a database that already holds a ledger.
	ErrInitialised = errors.New("database already holds a ledger")
	// ErrRollback: the database is older than a checkpoint this node has seen.
	ErrRollback = ledger.ErrRollback
	// ErrFork: the database's ledger is not an extension of a checkpoint this node has seen.
	ErrFork = ledger.ErrFork
	// ErrEdited: stored head, tiles or control-plane entries contradict the signed checkpoint.
	ErrEdited = errors.New("ledger has been edited in the database")
	// ErrNewerSchema: the database was made by a newer version of the service.
	ErrNewerSchema = errors.New("database schema is newer than this program")
	// ErrUnfit: the database's URL is no such URL, or its server would lose what was acknowledged. Nothing that trying again mends.
	ErrUnfit = errors.New("database can not be used as it is set up")
	// ErrLocked: another process is using this SQLite database.
	ErrLocked = errors.New("database is in use by another process")
	// ErrNoEntry: a control change put rows but no entry after them, or recorded nothing at all.
	ErrNoEntry = errors.New("control change has no ledger entry that records it")
	// ErrIdempotencyConflict: the idempotency key was used before with a different request.
	ErrIdempotencyConflict = errors.New("idempotency key was used with a different request")
)

// TamperedError says that a row contradicts the ledger and must not be used.
type TamperedError struct {
	Kind Kind
	ID   string
}

func (e *TamperedError) Error() string {
	return fmt.Sprintf("%s %q contradicts the ledger and is quarantined", e.Kind, e.ID)
}

// Problem is what is wrong with a stored object.
type Problem string

const (
	ProblemEdited  Problem = "edited"  // content differs from what the ledger says
	ProblemMissing Problem = "missing" // the ledger says it exists
	ProblemExtra   Problem = "extra"   // the ledger knows nothing of it
)

// Violation is one contradiction between the database and the ledger.
type Violation struct {
	Object  string // "row", "head", "control-batch"
	Problem Problem
	Kind    Kind   // rows only
	ID      string // rows only
	Seq     uint64 // entry concerned, where one is known
	Detail  string
	FoundAt time.Time
}

func (v Violation) String() string {
	if v.Object == "row" {
		return fmt.Sprintf("row %s %q %s: %s", v.Kind, v.ID, v.Problem, v.Detail)
	}
	return fmt.Sprintf("%s %s: %s", v.Object, v.Problem, v.Detail)
}
