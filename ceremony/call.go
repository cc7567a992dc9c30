package ceremony

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"conclave/ceremony/calendar"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// Bounds of a call (all ours).
const (
	MaxCalled      = 50                  // people, backups included
	MaxCalls       = 20                  // times that a ceremony's call is made anew
	callAhead      = 90 * 24 * time.Hour // how far ahead a meeting may be
	leastAnswer    = time.Minute
	usualAnswer    = 4 * time.Hour
	usualMinutes   = 60
	longestMinutes = 24 * 60
)

// Answer of somebody who was called.
type Answer string

const (
	Awaited  Answer = ""         // not yet given
	Accepted Answer = "accepted" // will come
	Declined Answer = "declined" // will not; the backup is called
	Lapsed   Answer = "lapsed"   // gave none in time; the backup is called, and they may still answer
)

// Call is when and where people are to attend a ceremony, and who was called.
type Call struct {
	At           time.Time    `json:"at"`
	Minutes      int          `json:"minutes"`
	Place        string       `json:"place"`
	AnswerWithin Nanoseconds  `json:"answer_within_ns"`
	CalledBy     string       `json:"called_by"`
	CalledAt     time.Time    `json:"called_at"`
	Sequence     int          `json:"sequence"` // how often it was made anew
	People       []Invitation `json:"people"`
}

// Invitation is one person who was called.
type Invitation struct {
	Person     string          `json:"person"`
	BackupFor  string          `json:"backup_for,omitempty"` // who declined or gave no answer
	CalledAt   time.Time       `json:"called_at"`
	AnswerBy   time.Time       `json:"answer_by"`
	Answer     Answer          `json:"answer,omitempty"`
	AnsweredAt *time.Time      `json:"answered_at,omitempty"`
	Reason     string          `json:"reason,omitempty"`
	Evidence   json.RawMessage `json:"evidence,omitempty"` // the signed request by which they answered (DSSE)
	AttendedAt *time.Time      `json:"attended_at,omitempty"`
	Note       string          `json:"note,omitempty"` // why no backup was called
}

// CallRequest asks people to come.
type CallRequest struct {
	People       []string // ids; none: everybody who could still take part
	At           time.Time
	Minutes      int // 0 for 60
	Place        string
	AnswerWithin time.Duration // 0 for four hours; never beyond At
}

// Call calls people to attend a ceremony that waits for them: its requester does, or a ceremony administrator or a
// security officer. Made anew it replaces the call before, and everybody answers again.
func (e *Engine) Call(ctx context.Context, p identity.Principal, id string, in CallRequest) (*Ceremony, error) {
	var c *Ceremony
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		now := e.clock.Now().UTC().Truncate(time.Millisecond)
		if err := mayCall(view, c, p); err != nil {
			return nil, err
		}
		call, err := e.draftCall(view, c, p, in, now)
		if err != nil {
			return nil, err
		}
		c.Call = call
		return e.callStep("call", p, c, map[string]any{"called": called(call.People), "at": call.At.Format(time.RFC3339), "sequence": call.Sequence}), nil
	})
	if err != nil {
		return nil, e.recordRefusal(ctx, "call", p, nonNil(c, id), err)
	}
	return c, nil
}

func (e *Engine) callStep(step string, p identity.Principal, c *Ceremony, detail map[string]any) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		c.LastSeq = tx.View().Head().Size
		return put(tx, c, e.entry(step, p, c, detail))
	}
}

func called(list []Invitation) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = list[i].Person
	}
	return out
}

// waits says whether people are still needed.
func (c *Ceremony) waits() bool {
	return c.State == Proposed || c.State == Gathering || c.State == Approved
}

func mayCall(view *store.View, c *Ceremony, p identity.Principal) error {
	switch {
	case c.State.Ended():
		return fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrEnded)
	case !c.waits():
		return fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrNotNow)
	case p.Kind != identity.Human:
		return &IneligibleError{p.ID, "not-a-person", "only people call people"}
	}
	who := person(view)(p.ID)
	if err := people.Present(who); err != nil {
		return ineligible(err)
	}
	if slices.Contains(c.Subjects, p.ID) {
		return &IneligibleError{p.ID, people.CodeExcludedSubject, "whom a change is about takes no part in deciding it"}
	}
	if c.asked(p) || who.Has(people.RoleAdministrator) || who.Has(people.RoleSecurityOfficer) {
		return nil
	}
	return &IneligibleError{p.ID, people.CodeWrongRole, "only who asked, a ceremony administrator or a security officer may call people"}
}

// draftCall checks a call and says who is called.
func (e *Engine) draftCall(view *store.View, c *Ceremony, p identity.Principal, in CallRequest, now time.Time) (*Call, error) {
	in.Minutes = cmp.Or(in.Minutes, usualMinutes)
	end := c.deadline()
	if latest := now.Add(callAhead); end.After(latest) {
		end = latest
	}
	bad := func(field, problem, allowed string) error {
		return &custodian.InputError{Field: field, Problem: problem, Allowed: allowed}
	}
	switch {
	case key.CheckText("place", in.Place, 200, false) != nil:
		return nil, key.CheckText("place", in.Place, 200, false)
	case !in.At.After(now) || !in.At.Before(end):
		return nil, bad("at", "not between now and the end of the ceremony", "a time before "+end.UTC().Format(time.RFC3339))
	case in.Minutes < 5 || in.Minutes > longestMinutes:
		return nil, bad("minutes", fmt.Sprintf("%d", in.Minutes), fmt.Sprintf("5 to %d", longestMinutes))
	case in.AnswerWithin != 0 && in.AnswerWithin < leastAnswer, in.AnswerWithin > callAhead:
		return nil, bad("answer_within_seconds", in.AnswerWithin.String(), "a minute or more, at most 90 days")
	case len(in.People) > MaxCalled:
		return nil, bad("people", fmt.Sprintf("%d people", len(in.People)), fmt.Sprintf("at most %d", MaxCalled))
	}
	call := &Call{At: in.At.UTC().Truncate(time.Second), Minutes: in.Minutes, Place: in.Place, CalledBy: p.ID, CalledAt: now,
		AnswerWithin: Nanoseconds(cmp.Or(in.AnswerWithin, usualAnswer))}
	if c.Call != nil {
		if call.Sequence = c.Call.Sequence + 1; call.Sequence >= MaxCalls {
			return nil, denial("too_many_calls", fmt.Sprintf("people were called %d times for %s", MaxCalls, c.ID), "have it decided, or propose it again")
		}
	}
	ids := in.People
	if len(ids) == 0 {
		if ids = e.couldCome(view, c, now); len(ids) == 0 {
			return nil, denial("nobody_to_call", "nobody who could still take part is left", "look at the quorum of this operation (conclave quorum health)")
		}
	}
	for i, id := range ids {
		if err := mayBeCalled(view, c, id); err != "" {
			return nil, bad(fmt.Sprintf("people[%d]", i), err, "an active person of the register whom the ceremony is not about")
		}
		if slices.Contains(ids[:i], id) {
			return nil, bad(fmt.Sprintf("people[%d]", i), clip(id)+" repeats", "each person once")
		}
		call.invite(id, "", now)
	}
	return call, nil
}

func mayBeCalled(view *store.View, c *Ceremony, id string) string {
	who := person(view)(id)
	switch {
	case who == nil:
		return fmt.Sprintf("%q is not in the register", clip(id))
	case people.Present(who) != nil:
		return people.Present(who).Error()
	case slices.Contains(c.Subjects, id):
		return id + " is whom it is about"
	}
	return ""
}

// couldCome is everybody who could still approve, bring a share or, where a witness is wanted, attend.
func (e *Engine) couldCome(view *store.View, c *Ceremony, now time.Time) []string {
	standing := e.tally(view, c, c.Takes, now)
	excluded := exclusions(c)
	var out []string
	for _, p := range store.All[people.Person](view, custodian.KindPerson) {
		comes := slices.Contains(standing.Eligible, p.ID) && (c.ShareSet == "" || holdsShare(view, c, p.ID)) ||
			c.Takes.Witness && len(standing.Witnesses) == 0 && excluded[p.ID] == "" && people.Eligible(p, people.RoleWitness, now) == nil
		if comes && len(out) < MaxCalled {
			out = append(out, p.ID)
		}
	}
	return out
}

// holdsShare: of the epoch that the ceremony takes.
func holdsShare(view *store.View, c *Ceremony, person string) bool {
	s, err := gatheredSet(view, c.ShareSet, c.ShareEpoch)
	if err != nil {
		return false
	}
	for _, share := range store.All[people.Share](view, custodian.KindShare) {
		if share.Custodian == person && share.Usable(s) {
			return true
		}
	}
	return false
}

// invite adds somebody. They answer in time, and at the latest when the meeting begins.
func (c *Call) invite(id, backupFor string, now time.Time) {
	by := now.Add(c.AnswerWithin.Duration())
	if by.After(c.At) {
		by = c.At
	}
	c.People = append(c.People, Invitation{Person: id, BackupFor: backupFor, CalledAt: now, AnswerBy: by})
}

// find is somebody's invitation, nil where they were not called.
func (c *Call) find(id string) *Invitation {
	if c == nil {
		return nil
	}
	for i := range c.People {
		if c.People[i].Person == id {
			return &c.People[i]
		}
	}
	return nil
}

// copy is the caller's own.
func (c *Call) copy() *Call {
	if c == nil {
		return nil
	}
	own := *c
	own.People = slices.Clone(c.People)
	return &own
}

// Calendar is the meeting of a ceremony as an iCalendar object. ErrNotFound where nobody was called.
func (e *Engine) Calendar(id string) ([]byte, error) {
	c, err := e.Get(id)
	if err != nil {
		return nil, err
	}
	if c.Call == nil {
		return nil, fmt.Errorf("%s: nobody was called to it: %w", c.ID, ErrNotFound)
	}
	instance := e.door.Instance()
	ended := c.State.Ended() && c.EndedAt.Before(c.Call.At)
	description := fmt.Sprintf("%s\nCeremony %s of %s (%s).\nSay whether you come: conclave ceremony answer %s --accept or --decline", c.Title, c.ID, instance.Name, c.Operation, c.ID)
	if c.ShareSet != "" {
		description += fmt.Sprintf("\nHolders of set %s bring their share and key file.", c.ShareSet)
	}
	if policies.Class(c.Class) == policies.Governed {
		description += "\nBring your key file."
	}
	event := calendar.Event{UID: c.ID + "@" + instance.ID[:16] + ".conclave", Sequence: 2 * c.Call.Sequence, Stamp: c.Call.CalledAt,
		Start: c.Call.At, End: c.Call.At.Add(time.Duration(c.Call.Minutes) * time.Minute),
		Summary: c.Title, Location: c.Call.Place, Description: description, Cancelled: ended}
	if ended {
		event.Sequence++
		event.Stamp = *c.EndedAt
	}
	return event.Encode(), nil
}
