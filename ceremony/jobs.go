package ceremony

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

// runJobs does what dates bring to keys (class A) and to people: scheduled rotations first, since nothing rotates from a
// version whose usage period is over, then activations and expiries; and tells once of what a person should
// look at.
func (e *Engine) runJobs(ctx context.Context) error {
	return errors.Join(e.rotateDue(ctx), e.applyDue(ctx), e.resyncDue(ctx), e.findUnreviewed(ctx), e.findLapsed(ctx), e.tendWrappingKeys(ctx), e.watchQuorums(ctx), e.watchPlacement(ctx), e.tendPeople(ctx), e.alert(ctx))
}

// rotateAgain is how long a scheduled rotation that was refused or failed, which is recorded, is left alone.
const rotateAgain = 10 * time.Minute

func (e *Engine) rotateDue(ctx context.Context) error {
	view := e.store.View()
	due, err := operation.Jobs{Env: e.environment(view)}.DueRotations(ctx, view, e.clock.Now())
	errs := []error{err}
	for _, s := range due {
		if e.clock.Elapsed() < e.notBefore[string(s.Params)] {
			continue
		}
		_, once, err := e.Propose(ctx, e.self(), Proposal{Operation: s.Operation, Params: s.Params, Reason: s.Reason})
		wipe(once)
		if err != nil {
			e.notBefore[string(s.Params)] = e.clock.Elapsed() + rotateAgain
			errs = append(errs, fmt.Errorf("scheduled %s: %w", s.Operation, err))
		}
	}
	return errors.Join(errs...)
}

// resyncAgain is how long a group is left alone after its members were brought up to date, or could not be.
const resyncAgain = 10 * time.Second

// resyncDue has keys sent to members of groups that lack them.
func (e *Engine) resyncDue(ctx context.Context) error {
	view := e.store.View()
	due, err := operation.Jobs{Env: e.environment(view)}.DueResyncs(view)
	errs := []error{err}
	for _, s := range due {
		if e.clock.Elapsed() < e.notBefore[string(s.Params)] {
			continue
		}
		_, once, err := e.Propose(ctx, e.self(), Proposal{Operation: s.Operation, Params: s.Params, Reason: s.Reason})
		wipe(once)
		e.notBefore[string(s.Params)] = e.clock.Elapsed() + resyncAgain
		if err != nil {
			e.notBefore[string(s.Params)] = e.clock.Elapsed() + rotateAgain
			errs = append(errs, fmt.Errorf("%s: %w", s.Operation, err))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) applyDue(ctx context.Context) error {
	var judged error
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		jobs := operation.Jobs{Env: e.environment(view)}
		due, err := jobs.DueTransitions(ctx, view, e.clock.Now())
		judged = err // one key that cannot be judged does not hold up the others
		if len(due) == 0 {
			return nil, nil
		}
		return func(tx *store.Tx) error { return jobs.ApplyDue(tx, due) }, nil
	})
	if errors.Is(err, store.ErrNoEntry) {
		err = nil
	}
	return errors.Join(judged, err)
}

// maxFound bounds how many findings one commit opens.
const maxFound = 50

// reviewsEvery is how often it is looked for what nobody reviewed in time, which takes a look at each ceremony (ours).
const reviewsEvery = time.Minute

// findUnreviewed opens a finding for each thing that nobody reviewed in time.
func (e *Engine) findUnreviewed(ctx context.Context) error {
	if e.clock.Elapsed() < e.reviewsDue {
		return nil
	}
	e.reviewsDue = e.clock.Elapsed() + reviewsEvery
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		late, err := e.unreviewed(view, e.clock.Now())
		if err != nil || len(late) == 0 {
			return nil, err
		}
		jobs := operation.Jobs{Env: e.environment(view)}
		if len(late) == maxFound { // there may be more
			e.reviewsDue = 0
		}
		return func(tx *store.Tx) error {
			for _, u := range late {
				if err := jobs.OpenOverdue(tx, u); err != nil {
					return fmt.Errorf("opening the finding about %s: %w", u.Ceremony, err)
				}
			}
			return nil
		}, nil
	})
	return err
}

// findLapsed opens a finding for each thing on a register whose date has passed.
func (e *Engine) findLapsed(ctx context.Context) error {
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		jobs := operation.Jobs{Env: e.environment(view)}
		lapsed := jobs.Lapsed(view, e.clock.Now(), maxFound)
		if len(lapsed) == 0 {
			return nil, nil
		}
		return func(tx *store.Tx) error {
			for _, l := range lapsed {
				if err := jobs.OpenLapsed(tx, l); err != nil {
					return fmt.Errorf("opening a finding about what lapsed: %w", err)
				}
			}
			return nil
		}, nil
	})
	return err
}

// unreviewed lists completed ceremonies past their review date, without a review and without a finding, the first
// maxFound. A review whose row contradicts the ledger is none. Only those that are listed are read.
func (e *Engine) unreviewed(view *store.View, now time.Time) ([]operation.Unreviewed, error) {
	var ids []string
	for id, due := range view.Marks(Kind) {
		if due > 0 && now.Unix() >= int64(due) && Review(view, id) == nil && !(operation.Unreviewed{Ceremony: id}).Noted(view) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var out []operation.Unreviewed
	for _, id := range ids {
		c, err := load(view, id)
		var tampered *store.TamperedError
		if errors.As(err, &tampered) {
			continue // it is quarantined, which says more than a finding
		}
		if err != nil {
			return nil, err
		}
		if c.State != Completed || c.ReviewBy == nil || now.Before(*c.ReviewBy) {
			continue
		}
		out = append(out, operation.Unreviewed{Ceremony: c.ID, Operation: c.Operation, Title: c.Title, Actor: cmp.Or(c.Requester.CalledBy, c.Requester.ID), DueAt: *c.ReviewBy})
		if len(out) == maxFound {
			break
		}
	}
	return out, nil
}

// Review is the signed review of a ceremony; nil while there is none.
func Review(view *store.View, ceremony string) *oversight.Review {
	r, err := store.Peek[oversight.Review](view, custodian.KindReview, ceremony)
	if err != nil {
		return nil
	}
	return r
}

// Began is when the instance did: the time of its first entry.
func (e *Engine) Began(ctx context.Context) (time.Time, error) {
	e.mu.Lock()
	began := e.instanceBegan
	e.mu.Unlock()
	if !began.IsZero() {
		return began, nil
	}
	_, first, err := e.store.EntryAt(ctx, 0)
	if err != nil {
		return began, fmt.Errorf("reading when the instance began: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.instanceBegan = first.At
	return first.At, nil
}

// Alerts lists what people should look at now.
func (e *Engine) Alerts(ctx context.Context) ([]operation.Alert, error) {
	began, err := e.Began(ctx)
	if err != nil {
		return nil, err
	}
	view, now := e.store.View(), e.clock.Now()
	return append(operation.Alerts(view, now), operation.LogKeyAlerts(view, began, now)...), nil
}

// alert writes each alert to the service's log once a process.
func (e *Engine) alert(ctx context.Context) error {
	alerts, err := e.Alerts(ctx)
	for _, a := range alerts {
		e.mu.Lock()
		told := e.told[a]
		e.told[a] = true
		e.mu.Unlock()
		if !told {
			e.log.Warn(a.Message, "kind", a.Kind, "key", a.Key, "version", a.Version, "keystore", a.Keystore, "person", a.Person, "duty", a.Duty, "share_set", a.Set)
		}
	}
	return err
}
