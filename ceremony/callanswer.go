package ceremony

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Answer records whether somebody who was called will come. A no calls their backup at once. evidence is the signed
// request.
func (e *Engine) Answer(ctx context.Context, p identity.Principal, id string, answer Answer, reason string, evidence []byte) (*Ceremony, error) {
	if answer != Accepted && answer != Declined {
		return nil, &custodian.InputError{Field: "answer", Problem: fmt.Sprintf("%q", clip(string(answer))), Allowed: "accepted or declined"}
	}
	if err := key.CheckText("reason", reason, 500, true); err != nil {
		return nil, err
	}
	var c *Ceremony
	_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
		var err error
		if c, err = load(view, id); err != nil {
			return nil, err
		}
		now := e.clock.Now().UTC().Truncate(time.Millisecond)
		mine := c.Call.find(p.ID)
		switch {
		case c.State.Ended():
			return nil, fmt.Errorf("%s is %s: %w", c.ID, c.State, ErrEnded)
		case p.Kind != identity.Human || mine == nil:
			return nil, &IneligibleError{p.ID, "not-called", "only who was called answers"}
		case !now.Before(c.Call.At):
			return nil, fmt.Errorf("%s: the meeting began at %s: %w", c.ID, c.Call.At.Format(time.RFC3339), ErrNotNow)
		case mine.Answer == answer:
			return nil, nil // said before
		}
		if err := people.Present(person(view)(p.ID)); err != nil {
			return nil, ineligible(err)
		}
		mine.Answer, mine.AnsweredAt, mine.Reason, mine.Evidence = answer, &now, reason, evidence
		detail := map[string]any{"answer": string(answer), "evidence_sha256": digest(evidence)}
		if answer == Declined {
			if backup := e.callBackup(view, c, p.ID, now); backup != "" {
				detail["backup"] = backup
			}
		}
		return e.callStep("answer", p, c, detail), nil
	})
	if err != nil {
		return nil, e.recordRefusal(ctx, "answer", p, nonNil(c, id), err)
	}
	return c, nil
}

// callBackup calls the named backup of somebody who will not come, unless they were called already or could take no
// part either; why not is noted.
func (e *Engine) callBackup(view *store.View, c *Ceremony, absent string, now time.Time) string {
	note := func(why string) string {
		c.Call.find(absent).Note = why
		return ""
	}
	who := person(view)(absent)
	switch {
	case !now.Before(c.Call.At):
		return note("the meeting has begun")
	case who == nil || who.Backup == "":
		return note("no backup is named")
	case c.Call.find(who.Backup) != nil:
		return note(who.Backup + " was called already")
	case len(c.Call.People) >= MaxCalled:
		return note("too many people were called")
	}
	if why := mayBeCalled(view, c, who.Backup); why != "" {
		return note(why)
	}
	if code := exclusions(c)[who.Backup]; code != "" {
		return note(who.Backup + " takes no part: " + code)
	}
	c.Call.invite(who.Backup, absent, now)
	return who.Backup
}

// lapse calls the backups of those who gave no answer in time.
func (e *Engine) lapse(ctx context.Context) error {
	for _, open := range store.Active[Ceremony](e.store.View(), Kind) {
		if open.Call == nil || !open.waits() || !overdue(open.Call, e.clock.Now()) {
			continue
		}
		_, err := e.change(ctx, func(view *store.View) (func(*store.Tx) error, error) {
			c, err := load(view, open.ID)
			now := e.clock.Now().UTC().Truncate(time.Millisecond)
			if err != nil || !c.waits() || !overdue(c.Call, now) {
				return nil, err
			}
			var late, backups []string
			for i := range c.Call.People { // those who are added meanwhile have time yet
				if inv := &c.Call.People[i]; inv.Answer == Awaited && !now.Before(inv.AnswerBy) {
					late = append(late, inv.Person)
				}
			}
			for _, id := range late {
				c.Call.find(id).Answer = Lapsed
				if backup := e.callBackup(view, c, id, now); backup != "" {
					backups = append(backups, backup)
				}
			}
			return e.callStep("call.lapsed", e.self(), c, map[string]any{"unanswered": late, "called": backups}), nil
		})
		if err != nil {
			return fmt.Errorf("calling backups for %s: %w", open.ID, err)
		}
	}
	return nil
}

func overdue(c *Call, now time.Time) bool {
	return c != nil && slices.ContainsFunc(c.People, func(i Invitation) bool { return i.Answer == Awaited && !now.Before(i.AnswerBy) })
}

// attended notes that somebody who was called took part.
func (c *Ceremony) attended(person string, now time.Time) {
	if inv := c.Call.find(person); inv != nil && inv.AttendedAt == nil {
		c.Call = c.Call.copy()
		c.Call.find(person).AttendedAt = &now
	}
}
