package ceremony

import (
	"context"
	"errors"
	"maps"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Rhythm of the jobs about people (ours).
const (
	peopleEvery = time.Minute
	// inactivityGrace is how long after its start a process suspends nobody for inactivity: a clock that is wrong
	// after a restart is noticed first, and whoever signs meanwhile is active.
	inactivityGrace = time.Hour
)

// AnswerInvitation takes the public keys that an invited person hands in. The caller has compared the invitation's
// secret. Handing in the same again gives the same answer. Errors: operation's, *custodian.InputError, *key.FieldError.
func (e *Engine) AnswerInvitation(ctx context.Context, id string, envelope []byte, origin string) (*people.Invitation, error) {
	var answered *people.Invitation
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var apply func(*store.Tx) error
		var err error
		answered, apply, err = operation.AnswerInvitation(e.environment(view), view, id, envelope, origin, e.clock.Now())
		return apply, err
	})
	return answered, err
}

// Seen notes that a person proved who they are. It costs a map entry; NoteActivity makes it last.
func (e *Engine) Seen(p identity.Principal) {
	if p.Kind != identity.Human && p.Kind != identity.Auditor {
		return
	}
	now := e.clock.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen[p.ID] = now
}

// NoteActivity records when people were last seen by this process, at most once a person and day. Every replica calls
// it, every few seconds. What could not be recorded is tried again with the next call.
func (e *Engine) NoteActivity(ctx context.Context) error {
	if e.ClockProblem() != "" {
		return nil
	}
	e.mu.Lock()
	seen := maps.Clone(e.seen) // no more of them than the register has people
	e.mu.Unlock()
	active := operation.Unseen(e.store.View(), seen, e.clock.Now())
	if len(active) == 0 {
		return nil
	}
	_, err := e.store.Control(ctx, func(tx *store.Tx) error { return operation.RecordActivity(e.env, tx, active) })
	if errors.Is(err, store.ErrNoEntry) { // another replica was faster
		return nil
	}
	return err
}

// tendPeople closes duties that the facts have closed and suspends who is inactive.
func (e *Engine) tendPeople(ctx context.Context) error {
	now := e.clock.Elapsed()
	if now < e.peopleDue {
		return nil
	}
	e.peopleDue = now + peopleEvery
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		jobs := operation.Jobs{Env: e.environment(view)}
		done := jobs.DoneDuties(view)
		if len(done) == 0 {
			return nil, nil
		}
		return func(tx *store.Tx) error { return jobs.CloseDuties(tx, done) }, nil
	})
	if now-e.began < inactivityGrace {
		return err
	}
	return errors.Join(err, e.suspendInactive(ctx))
}

// suspendInactive suspends one after the other, each judged after the others.
func (e *Engine) suspendInactive(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
			jobs := operation.Jobs{Env: e.environment(view)}
			p, err := jobs.Inactive(ctx, view, e.clock.Now())
			if more = p != nil && err == nil; !more {
				return nil, err
			}
			return func(tx *store.Tx) error { return jobs.SuspendInactive(tx, p) }, nil
		})
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// InactiveBy lists who will be suspended for inactivity by a day, if nobody signs anything until then: ids, longest away
// first. Who would be inactive and is not among them stays, since too few would be left.
func (e *Engine) InactiveBy(ctx context.Context, on time.Time) ([]string, error) {
	view := e.store.View()
	return operation.Jobs{Env: e.environment(view)}.InactiveBy(ctx, view, on)
}
