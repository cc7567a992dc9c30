package ceremony

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"conclave/ceremony/script"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// KindRun of the rows that record ceremonies held by a script; row id is the ceremony's.
const KindRun store.Kind = "script_run"

// codeAdministrator: who leads a ceremony by its script decides nothing in it.
const codeAdministrator = "administrator"

// Outcomes of a completed ceremony that was held by a script.
const (
	outcomeCompleted  = "completed"
	outcomeExceptions = "completed with exceptions"
	outcomeClosed     = "completed, exceptions closed"
)

// Run returns the record of a ceremony that is held by its script; ErrNotFound when it is not.
func (e *Engine) Run(id string) (*script.Run, error) { return loadRun(e.store.View(), id) }

func loadRun(view *store.View, id string) (*script.Run, error) {
	r, _, err := store.Get[script.Run](view, KindRun, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%q is held without a script: %w", clip(id), ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return r.Clone(), nil
}

// BeginRun begins to hold a ceremony by the script that policy names for it. Whoever begins is its administrator:
// somebody with that role who did not ask for it and has not decided on it, and from now on may not. Until the steps
// that come before the ceremony are done it is not executed. One that was abandoned is begun anew; what it recorded is kept.
func (e *Engine) BeginRun(ctx context.Context, p identity.Principal, id, place, site string) (*script.Run, error) {
	var run, before *script.Run
	err := e.changeRun(ctx, p, id, "begin", func(view *store.View, c *Ceremony, who script.Who) error {
		var err error
		before, err = loadRun(view, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && before.State != script.Abandoned {
			return fmt.Errorf("%s is held by its script: %w", id, ErrNotNow)
		}
		if err := script.CheckPlace(place, site); err != nil {
			return err
		}
		now := e.clock.Now()
		if c.State.Ended() || c.State == Executing || c.State == Indeterminate {
			return fmt.Errorf("%s is %s: %w", id, c.State, ErrNotNow)
		}
		if err := people.Eligible(who.Person, people.RoleAdministrator, now); err != nil {
			return ineligible(err)
		}
		if c.asked(p) || slices.ContainsFunc(c.Votes, func(v Vote) bool { return v.Person == p.ID }) {
			return &IneligibleError{p.ID, codeAdministrator, "who asked for a ceremony or decided on it does not lead it"}
		}
		c.Administrator = p.ID
		run, err = script.Begin(id, c.Operation, place, scriptOf(e.door.PoliciesOf(view).ScriptFor(c.Operation)),
			script.Attendance{Person: p.ID, Name: who.Person.Name, Role: script.Administrator, Site: site, ArrivedAt: now})
		return err
	}, &run, &before, map[string]any{"place": clip(place)})
	return run, err
}

// scriptOf is policy's script as runs keep it.
func scriptOf(s policies.Script) script.Script {
	out := script.Script{ID: s.ID, Title: s.Title, Version: s.Version}
	for _, step := range s.Steps {
		out.Steps = append(out.Steps, script.Line{Phase: script.Phase(step.Phase), Text: step.Text, Expected: step.Expected})
	}
	return out
}

// ActInRun records what somebody did in a ceremony held by its script. The act that opens the way executes the
// ceremony when nothing else is missing. Errors: *key.FieldError, *IneligibleError (recorded), ErrNotNow.
func (e *Engine) ActInRun(ctx context.Context, p identity.Principal, id string, act script.Act) (*script.Run, error) {
	var run *script.Run
	var c *Ceremony
	err := e.changeRun(ctx, p, id, string(act.Kind), func(view *store.View, of *Ceremony, who script.Who) error {
		var err error
		if run, err = loadRun(view, id); err != nil {
			return err
		}
		c = of
		if c.State.Ended() {
			run.Perform(e.door.Node(), c.Outcome, c.State == Completed, *c.EndedAt)
		}
		if err := run.Apply(act, who, e.clock.Now()); err != nil {
			return err
		}
		if run.State == script.Abandoned {
			c.Administrator = ""
		}
		c.Outcome = outcomeOf(c, run)
		return nil
	}, &run, nil, map[string]any{"number": act.Number, "as_expected": act.AsExpected, "person": clip(act.Person), "role": clip(string(act.Role))})
	if err != nil {
		return nil, err
	}
	_, err = e.proceed(ctx, p, c)
	return run, err
}

// writeRuns writes down in the runs how their ceremonies ended.
func (e *Engine) writeRuns(ctx context.Context) error {
	var errs []error
	for _, r := range store.Active[script.Run](e.store.View(), KindRun) {
		_, step, more := r.Next()
		c, err := e.Get(r.Ceremony)
		if err != nil || !more || step.Phase != script.PhasePerform || r.State != script.Running || !c.State.Ended() {
			continue
		}
		errs = append(errs, e.writeRun(ctx, r.Ceremony))
	}
	return errors.Join(errs...)
}

func (e *Engine) writeRun(ctx context.Context, id string) error {
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		c, err := load(view, id)
		if err != nil {
			return nil, err
		}
		run, err := loadRun(view, id)
		if err != nil || !c.State.Ended() || !run.Perform(e.door.Node(), c.Outcome, c.State == Completed, *c.EndedAt) {
			return nil, err
		}
		c.Outcome = outcomeOf(c, run)
		return func(tx *store.Tx) error {
			if err := tx.Put(KindRun, id, run); err != nil {
				return err
			}
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, e.entry("script.perform", e.self(), c, map[string]any{"outcome": c.Outcome}))
		}, nil
	})
	return err
}

// outcomeOf a ceremony: one that completed with open deviations says so until an auditor has closed them.
func outcomeOf(c *Ceremony, run *script.Run) string {
	switch {
	case c.State != Completed:
		return c.Outcome
	case run.State != script.Abandoned && run.Open() > 0:
		return outcomeExceptions
	case len(run.Deviations) > 0:
		return outcomeClosed
	}
	return outcomeCompleted
}

// earlierRunID is the id of the row that keeps an abandoned run whose ceremony is held anew.
func earlierRunID(r *script.Run) string {
	return r.Ceremony + "/" + strconv.FormatInt(r.BegunAt.UnixMilli(), 10)
}

// changeRun judges a step of a run and commits it together with the ceremony's own row. before, where it leads to a run,
// is one that was abandoned and is kept beside.
func (e *Engine) changeRun(ctx context.Context, p identity.Principal, id, step string, judge func(*store.View, *Ceremony, script.Who) error,
	run, before **script.Run, detail map[string]any) error {
	var c *Ceremony
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		who, err := e.taking(view, p)
		if err != nil {
			return nil, err
		}
		who.Requester = c.asked(p)
		who.Voted = slices.ContainsFunc(c.Votes, func(v Vote) bool { return v.Person == p.ID }) ||
			slices.ContainsFunc(c.Shares, func(s Contribution) bool { return s.Person == p.ID })
		if err := judge(view, c, who); err != nil {
			return nil, scriptRefusal(p, err)
		}
		entry := e.entry("script."+step, p, c, detail)
		return func(tx *store.Tx) error {
			if before != nil && *before != nil {
				if err := tx.Put(KindRun, earlierRunID(*before), *before); err != nil {
					return err
				}
			}
			if err := tx.Put(KindRun, id, *run); err != nil {
				return err
			}
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, entry)
		}, nil
	})
	if err != nil {
		return e.recordRefusal(ctx, "script."+step, p, nonNil(c, id), err)
	}
	return nil
}

// taking is who takes part: a person of the register who is there. An acknowledgement that ran out keeps nobody from
// writing down what happened.
func (e *Engine) taking(view *store.View, p identity.Principal) (script.Who, error) {
	if p.Kind != identity.Human {
		return script.Who{}, &IneligibleError{p.ID, "not-a-person", "only people take part in a ceremony"}
	}
	find := person(view)
	who := find(p.ID)
	if err := people.Present(who); err != nil {
		return script.Who{}, ineligible(err)
	}
	return script.Who{Person: who, Instance: e.door.Instance().ID, Related: func(other string) bool {
		o := find(other)
		return o != nil && people.SameLine(who, o, find)
	}}, nil
}

func scriptRefusal(p identity.Principal, err error) error {
	var role *script.RoleError
	switch {
	case errors.As(err, &role):
		return &IneligibleError{p.ID, people.CodeWrongRole, role.Detail}
	case errors.Is(err, script.ErrNotNow):
		return fmt.Errorf("%w: %w", err, ErrNotNow)
	}
	return err
}

// minRoll is how many people must be on the roll for a script to hold up what shares open (ours).
const minRoll = 2

// held says why a ceremony waits for its script; nil when it does not. A bundle that demands a script refuses what
// nobody holds by one.
func held(view *store.View, c *Ceremony, takes policies.QuorumDecision) error {
	run, err := loadRun(view, c.ID)
	switch {
	case errors.Is(err, ErrNotFound) || (err == nil && run.State == script.Abandoned):
		if takes.Script {
			return fmt.Errorf("missing: an administrator who holds it by its script: %w", ErrQuorum)
		}
		return nil
	case err != nil:
		return err
	case policies.Class(c.Class) == policies.Attended && run.Here() < minRoll && !takes.Script:
		return nil // nobody came but who leads: custodians could not end it otherwise
	case run.Holds():
		number, _, _ := run.Next()
		return fmt.Errorf("missing: step %d of its script: %w", number, ErrQuorum)
	}
	return nil
}
