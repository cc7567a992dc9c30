package ceremony

import (
	"errors"
	"fmt"
)

// Refusals that callers decide by.
var (
	ErrNotFound       = errors.New("no such ceremony")
	ErrEnded          = errors.New("ceremony has ended")
	ErrNotNow         = errors.New("ceremony is not at this step")
	ErrAlreadyVoted   = errors.New("this person has already decided: one human, one voice")
	ErrStatement      = errors.New("signed statement is not what this ceremony asks for")
	ErrQuorum         = errors.New("quorum is not reached")
	ErrVoid           = errors.New("what was approved has changed since: the approvals are void")
	ErrWaiting        = errors.New("waiting period is not over")
	ErrClockDisagrees = errors.New("the clock disagrees with the ledger or with elapsed time: executions stop until it is put right")
	ErrIndeterminate  = errors.New("an effect outside the database may or may not have happened")
	ErrCollector      = errors.New("share was not sealed to this node's present collector key")
	ErrUnconfirmed    = errors.New("too few shares of the set are confirmed by their holders")
)

// IneligibleError says why somebody takes no part: their voice does not count.
type IneligibleError struct {
	Person string
	Code   string // stable: "requester", "subject", "suspended", "unacknowledged", "wrong-role", …
	Detail string
}

func (e *IneligibleError) Error() string {
	return fmt.Sprintf("%s takes no part (%s): %s", e.Person, e.Code, e.Detail)
}

// FailedError: the ceremony ran and could not do what it was for; nothing was changed.
type FailedError struct {
	Ceremony string
	Err      error
}

func (e *FailedError) Error() string { return fmt.Sprintf("ceremony %s failed: %v", e.Ceremony, e.Err) }
func (e *FailedError) Unwrap() error { return e.Err }
