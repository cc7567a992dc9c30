package ceremony

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/ceremony/component"
	"conclave/ceremony/importfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Component is one component of a key that somebody is to bring; the component itself is never stored.
type Component struct {
	operation.ComponentSlot
	At   *time.Time `json:"at,omitempty"`   // when it was brought
	Boot string     `json:"boot,omitempty"` // collector it was sealed to; void when that process ends
}

// brings reports whether a component of the ceremony is this person's to bring.
func (c *Ceremony) brings(person string) bool {
	return slices.ContainsFunc(c.Components, func(s Component) bool { return s.Custodian == person })
}

// SubmitComponent takes a custodian's component of a key, sealed to this process's collector key, with their signed
// approval where they have not given it yet. A wrong component is named, recorded, and costs the ceremony nothing. With
// the last one the ceremony runs before SubmitComponent returns, if nothing else is missing. Errors: *ComponentError,
// ErrCollector, ErrStatement, *custodian.Denied, *FailedError.
func (e *Engine) SubmitComponent(ctx context.Context, p identity.Principal, id string, envelope []byte, sealed string) (*Ceremony, error) {
	bound, value, err := component.Open(e.collector, sealed)
	switch {
	case errors.Is(err, component.ErrNotFor):
		err = fmt.Errorf("%w; fetch it again and seal the component to it", ErrCollector)
	case err == nil && bound.Ceremony != id:
		err = fmt.Errorf("%w: it was sealed for another ceremony", component.ErrWrong)
	}
	kept := false
	defer func() {
		if !kept {
			wipe(value)
		}
	}()
	if err != nil {
		return nil, e.refuseComponent(ctx, p, &Ceremony{ID: clip(id)}, err)
	}
	var c *Ceremony
	_, err = e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		return e.judgeComponent(view, c, p, envelope, bound.Index, value)
	})
	if err != nil {
		return nil, e.refuseComponent(ctx, p, nonNil(c, id), err)
	}
	kept = e.keepComponent(id, bound.Index, value)
	return e.proceed(ctx, p, c)
}

// judgeComponent checks component and approval under one view and returns the step that records them.
func (e *Engine) judgeComponent(view *store.View, c *Ceremony, p identity.Principal, envelope []byte, index int, value *secret.Bytes) (func(*store.Tx) error, error) {
	now := e.clock.Now()
	op, gathers := e.ops[c.Operation].(operation.Gathering)
	switch {
	case p.Kind != identity.Human:
		return nil, &IneligibleError{p.ID, "not-a-person", "only people bring components"}
	case c.State.Ended(), !now.Before(c.deadline()):
		return nil, fmt.Errorf("%s is %s, its time ends %s: %w", c.ID, c.State, c.deadline().Format(time.RFC3339), ErrEnded)
	case !gathers || len(c.Components) == 0 || (c.State != Proposed && c.State != Approved):
		return nil, fmt.Errorf("%s is %s and takes no components now: %w", c.ID, c.State, ErrNotNow)
	case index > len(c.Components):
		return nil, fmt.Errorf("%w: there is no component %d", component.ErrWrong, index)
	}
	slot := &c.Components[index-1]
	if slot.Custodian != p.ID {
		return nil, fmt.Errorf("%w: component %d is for somebody else to enter", component.ErrWrong, index)
	}
	if err := people.Eligible(person(view)(p.ID), people.RoleCustodian, now); err != nil {
		return nil, ineligible(err)
	}
	if err := op.CheckComponent(e.environment(view), view, e.input(c, c.requester(), now, nil), index, value); err != nil {
		return nil, err
	}
	if err := e.repeated(c, index, value); err != nil {
		return nil, err
	}
	vote, err := e.componentVote(view, c, p, envelope)
	if err != nil {
		return nil, err
	}
	var approved func(*store.Tx) error
	if vote != nil {
		c.Votes = append(c.Votes, *vote)
		approved = e.voted(view, c, p, *vote)
	}
	for i := range c.Components {
		if s := &c.Components[i]; s.Boot != e.boot {
			s.At, s.Boot = nil, ""
		}
	}
	slot.At, slot.Boot = &now, e.boot
	c.attended(p.ID, now)
	return func(tx *store.Tx) error {
		if approved != nil {
			if err := approved(tx); err != nil {
				return err
			}
		}
		c.LastSeq = tx.View().Head().Size
		return put(tx, c, e.entry("component", p, c, map[string]any{"index": index, "check_value": slot.CheckValue,
			"components": len(c.Components), "boot": e.boot}))
	}, nil
}

// componentVote is the approval that comes with a component; nil where one that stands was given before.
func (e *Engine) componentVote(view *store.View, c *Ceremony, p identity.Principal, envelope []byte) (*Vote, error) {
	if slices.ContainsFunc(c.Votes, func(v Vote) bool {
		return v.Person == p.ID && v.Decision == string(statement.Approve) && e.stands(view, c, v)
	}) {
		return nil, nil
	}
	if len(envelope) == 0 {
		return nil, fmt.Errorf("%w: a component comes with its custodian's signed approval", ErrStatement)
	}
	vote, err := e.readVote(view, c, p, envelope)
	if err != nil {
		return nil, err
	}
	if vote.Decision != string(statement.Approve) {
		return nil, fmt.Errorf("%w: a component comes with an approval", ErrStatement)
	}
	return &vote, nil
}

// repeated refuses a component that is here already: brought again by the same person, or the same as another's.
func (e *Engine) repeated(c *Ceremony, index int, value *secret.Bytes) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	here := e.components[c.ID]
	if here[index] != nil {
		return fmt.Errorf("%w: component %d is here", component.ErrRepeated, index)
	}
	for other, held := range here {
		if held.Equal(value) {
			return fmt.Errorf("%w: it is the same as component %d, and both together would count for nothing", component.ErrRepeated, other)
		}
	}
	return nil
}

// keepComponent keeps an accepted component in memory. It reports false where the same person was faster with it.
func (e *Engine) keepComponent(id string, index int, value *secret.Bytes) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.components[id] == nil {
		e.components[id] = map[int]*secret.Bytes{}
	}
	if e.components[id][index] != nil {
		return false
	}
	e.components[id][index] = value
	return true
}

// lacking lists the components that are not here, in words.
func (e *Engine) lacking(c *Ceremony) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, s := range c.Components {
		if e.components[c.ID][s.Index] == nil {
			out = append(out, fmt.Sprintf("component %d of %s, brought to this node", s.Index, s.Custodian))
		}
	}
	return out
}

// takeComponents hands over the components of a ceremony, in their order; nil where it has none.
func (e *Engine) takeComponents(c *Ceremony) []*secret.Bytes {
	e.mu.Lock()
	defer e.mu.Unlock()
	here := e.components[c.ID]
	delete(e.components, c.ID)
	var out []*secret.Bytes
	for _, s := range c.Components {
		if value := here[s.Index]; value != nil {
			out = append(out, value)
		}
	}
	return out
}

// reopen puts an effect that is known not to have happened back to where its components are brought: they went with the
// process that gathered them, the approvals stay.
func (e *Engine) reopen(ctx context.Context, p identity.Principal, id string) error {
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		c, err := load(view, id)
		if err != nil || (c.State != Executing && c.State != Indeterminate) {
			return nil, err
		}
		c.State, c.EffectID, c.Executor, c.ExecutingAt, c.Outcome = Approved, "", "", nil, ""
		for i := range c.Components {
			c.Components[i].At, c.Components[i].Boot = nil, ""
		}
		return func(tx *store.Tx) error {
			c.LastSeq = tx.View().Head().Size
			return put(tx, c, e.entry("reopen", p, c, map[string]any{"why": "the process ended before it was done: nothing was imported, the components must be brought again"}))
		}, nil
	})
	return err
}

// refuseComponent records a component that was refused, under a code that names what it is instead.
func (e *Engine) refuseComponent(ctx context.Context, p identity.Principal, c *Ceremony, err error) error {
	code := ""
	switch {
	case errors.Is(err, component.ErrRepeated):
		code = "component_repeated"
	case errors.Is(err, component.ErrWrong), errors.Is(err, component.ErrSealed), errors.Is(err, hsm.ErrComponent):
		code = "component_wrong"
	case errors.Is(err, ErrCollector):
		code = "component_stale"
	default:
		return e.recordRefusal(ctx, "component", p, c, err)
	}
	rec := e.refuse(ctx, "component", p, c, []policies.Reason{{Rule: "ceremony", Code: code, Message: strings.TrimSpace(err.Error()),
		Remedy: "enter your own component digit by digit from its form, sealed to the collector key that the node states now"}})
	var denied *custodian.Denied
	if errors.As(rec, &denied) {
		return &ComponentError{Denied: denied, Err: err}
	}
	return rec
}

// ComponentError is a refused component: recorded, named, and without cost to the ceremony.
type ComponentError struct {
	Denied *custodian.Denied
	Err    error
}

func (e *ComponentError) Error() string   { return "component refused: " + e.Err.Error() }
func (e *ComponentError) Unwrap() []error { return []error{e.Err, e.Denied} }

// examine has an operation look into what it was given, before people are asked.
func (e *Engine) examine(ctx context.Context, view *store.View, op operation.Operation, c *Ceremony, p identity.Principal, now time.Time) error {
	x, ok := op.(operation.Examining)
	if !ok {
		return nil
	}
	against, err := x.Examine(ctx, e.environment(view), view, e.input(c, p, now, nil))
	if err == nil && len(against) > 0 {
		err = &custodian.Denied{Code: firstCode(against), Reasons: against}
	}
	return err
}

// WrappingKey states the public half of a wrapping key that is open, signed by the node key: what a machine that
// prepares a key checks against its trust file. ErrNotFound, ErrEnded.
func (e *Engine) WrappingKey(id string) ([]byte, error) {
	w, _, err := store.Get[key.WrappingKey](e.store.View(), custodian.KindWrappingKey, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("wrapping key %q: %w", clip(id), store.ErrNotFound)
	case err != nil:
		return nil, err
	case !w.Usable(e.clock.Now()):
		return nil, fmt.Errorf("wrapping key %s is %s, its time ends %s: %w", w.ID, w.Status, w.ExpiresAt.UTC().Format(time.RFC3339), ErrEnded)
	}
	return importfile.Sign(e.signer, importfile.WrappingKey{Instance: e.door.Instance().ID, Node: e.door.Node(), WrappingKey: w.ID, Keystore: w.Keystore,
		Algorithm: w.Spec, Public: w.Public, CheckValue: w.CheckValue, ExpiresAt: w.ExpiresAt})
}

// tendWrappingKeys ends wrapping keys whose time is over, and sees to it that the private halves of those that ended
// are destroyed in their keystores.
func (e *Engine) tendWrappingKeys(ctx context.Context) error {
	view, now := e.store.View(), e.clock.Now()
	jobs := operation.Jobs{Env: e.environment(view)}
	var errs []error
	for _, w := range jobs.DueWrappingKeys(view, now) {
		gone, err := jobs.DestroyWrapping(ctx, w)
		if err == nil && gone {
			_, err = e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
				jobs := operation.Jobs{Env: e.environment(view)}
				return func(tx *store.Tx) error { return jobs.EndWrapping(tx, w.ID, now) }, nil
			})
		}
		if err != nil && !errors.Is(err, store.ErrNoEntry) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
