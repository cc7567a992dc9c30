package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

type reviewSignParams struct {
	Ceremony string            `json:"ceremony"` // what is reviewed
	Outcome  oversight.Outcome `json:"outcome"`
	Note     string            `json:"note"`
	Owner    string            `json:"owner"` // of the finding, where the outcome is not "confirmed"
	Days     int               `json:"days"`  // to put it right
}

// reviewSign is the judgement of somebody who took no part on what one person did alone, or on emergency access.
// The signature is that of the request, which the ceremony keeps.
type reviewSign struct{}

func (reviewSign) Name() string { return "review.sign" }

// reviewed is what of a ceremony's row matters to its review; the engine's package imports this one.
type reviewed struct {
	ID        string   `json:"id"`
	Operation string   `json:"operation"`
	State     string   `json:"state"`
	Title     string   `json:"title"`
	Subjects  []string `json:"subjects"`
	Target    struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"target"`
	Requester struct {
		Kind     identity.Kind `json:"kind"`
		ID       string        `json:"id"`
		CalledBy string        `json:"called_by"`
	} `json:"requester"`
	Votes []struct {
		Person string `json:"person"`
	} `json:"votes"`
	Administrator string     `json:"administrator"`
	ReviewBy      *time.Time `json:"review_by"`
}

// tookPart lists who had a part in it.
func (c *reviewed) tookPart() []string {
	out := append([]string{c.Requester.ID, c.Requester.CalledBy, c.Administrator}, c.Subjects...)
	for _, v := range c.Votes {
		out = append(out, v.Person)
	}
	return out
}

func (reviewSign) read(view *store.View, in Input) (p reviewSignParams, c *reviewed, err error) {
	if p, err = decode[reviewSignParams](in); err != nil {
		return p, nil, err
	}
	err = key.First([]error{
		key.CheckID("ceremony", p.Ceremony),
		key.CheckOneOf("outcome", p.Outcome, oversight.Confirmed, oversight.Undo, oversight.Found),
		key.CheckText("note", p.Note, maxReason, false),
	})
	if err != nil {
		return p, nil, err
	}
	row, err := view.Get(ceremonyKind, p.Ceremony)
	if err != nil {
		return p, nil, unknown("ceremony", p.Ceremony, "ceremony that is to be reviewed")
	}
	c = &reviewed{}
	if err := json.Unmarshal(row.Body, c); err != nil {
		return p, nil, fmt.Errorf("reading ceremony %s: %w", p.Ceremony, err)
	}
	if c.ReviewBy == nil || c.State != "completed" {
		return p, nil, &custodian.InputError{Field: "ceremony", Problem: fmt.Sprintf("%s has nothing to review", clean(p.Ceremony)), Allowed: "a completed ceremony with a review date"}
	}
	return p, c, p.checkFinding(view)
}

// checkFinding: what is not confirmed becomes a finding, with owner and date.
func (p reviewSignParams) checkFinding(view *store.View) error {
	if p.Outcome == oversight.Confirmed {
		if p.Owner != "" || p.Days != 0 {
			return &custodian.InputError{Field: "owner", Problem: "given with outcome confirmed", Allowed: "owner and days with outcome undo or finding only"}
		}
		return nil
	}
	if err := key.CheckRange("days", p.Days, 1, oversight.MaxFindingDays, "days"); err != nil {
		return err
	}
	_, err := presentPerson(view, "owner", p.Owner)
	return err
}

func (o reviewSign) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, c, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "review", ID: c.ID}, Title: fmt.Sprintf("Review of ceremony %s: %s", c.ID, p.Outcome),
		Lines:  []Line{{Label: "what was done", After: c.Title}, {Label: "by", After: c.Requester.ID}, {Label: "due", After: c.ReviewBy.Format(dateTime)}, {Label: "note", After: p.Note}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "review", ID: c.ID}}}
	if p.Outcome != oversight.Confirmed {
		plan.Lines = append(plan.Lines, Line{Label: "finding", After: fmt.Sprintf("%s puts it right within %d days", p.Owner, p.Days)})
	}
	plan.Deny, err = o.against(view, c, in)
	return plan, err
}

func (reviewSign) against(view *store.View, c *reviewed, in Input) ([]policies.Reason, error) {
	if slices.Contains(c.tookPart(), in.Requester.ID) {
		return []policies.Reason{{Rule: "operation", Code: "took_part", Controls: []string{"pci-dss-4.0.1:3.7.6", "nist-800-53r5:AC-5"},
			Message: "whoever acted, approved, attended, or was the subject, does not review it", Remedy: "somebody who took no part reviews it"}}, nil
	}
	if err := vacant(view, custodian.KindReview, "ceremony", c.ID, "review"); err != nil {
		return []policies.Reason{refusal("already_reviewed", "ceremony "+c.ID+" is reviewed already", "open a finding about it (finding.open)")}, nil
	}
	if c.Operation != (breakglassOpen{}).Name() {
		return nil, nil
	}
	b, _, err := store.Get[oversight.BreakGlass](view, custodian.KindBreakGlass, c.Target.ID)
	if err != nil {
		return nil, fmt.Errorf("reading emergency access %q: %w", c.Target.ID, err)
	}
	if b.Open(in.Now) {
		return []policies.Reason{refusal("still_open", "the emergency access is open: what is done with it cannot be judged yet", "close it (breakglass.close), or wait until "+b.ExpiresAt.Format(dateTime))}, nil
	}
	return nil, nil
}

func (o reviewSign) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, c, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Note)
	r := &oversight.Review{Ceremony: c.ID, Operation: c.Operation, Outcome: p.Outcome, Note: p.Note, Reviewer: in.Requester.ID, SignedAt: a.at,
		DueAt: *c.ReviewBy, Recorded: in.Ceremony}
	if p.Outcome != oversight.Confirmed {
		f := &oversight.Finding{ID: idFrom("f", in.Ceremony), Title: shorten("review of " + c.Operation + ": " + p.Note), Source: oversight.FromReview,
			About: oversight.Ref{Type: c.Target.Type, ID: c.Target.ID}, Owner: p.Owner, DueAt: due(a.at, p.Days), Ceremony: c.ID}
		if p.Outcome == oversight.Undo {
			f.Source, f.Title = oversight.FromUndo, shorten("to be undone: "+c.Title)
		}
		if err := a.open(tx, f); err != nil {
			return Result{}, err
		}
		r.Finding = f.ID
	}
	e := a.event("review.sign", ledger.Target{Type: "ceremony", ID: c.ID}, map[string]any{"outcome": string(r.Outcome), "operation": c.Operation, "late": r.Late(), "finding": r.Finding})
	if err := a.put(tx, custodian.KindReview, c.ID, r, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"ceremony": c.ID, "outcome": string(r.Outcome), "late": r.Late(), "finding": r.Finding}), nil
}

// shorten makes a text fit for a title.
func shorten(s string) string {
	const most = 200
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// Unreviewed is a completed ceremony whose review date has passed without a review.
type Unreviewed struct {
	Ceremony, Operation, Title, Actor string
	DueAt                             time.Time
}

// overdueID is the id of the finding about a review that nobody gave in time: one for each ceremony.
func overdueID(ceremony string) string { return idFrom("f-review", ceremony) }

// Noted reports whether the finding about an overdue review is there already.
func (u Unreviewed) Noted(view *store.View) bool {
	_, err := view.Get(custodian.KindFinding, overdueID(u.Ceremony))
	return err == nil
}

// OpenOverdue opens the finding about a review that nobody gave in time. Who acted answers for getting it.
func (j Jobs) OpenOverdue(tx *store.Tx, u Unreviewed) error {
	a := acting{principal: identity.Principal{Kind: identity.Node, ID: j.Env.Custodian.Node()}, ceremony: u.Ceremony,
		policy: j.Env.Policies.Digest(), at: tx.Now(), reason: "nobody reviewed it in time"}
	return a.open(tx, &oversight.Finding{ID: overdueID(u.Ceremony), Title: shorten("not reviewed in time: " + u.Title), Source: oversight.FromOverdue,
		About: oversight.Ref{Type: "ceremony", ID: u.Ceremony}, Owner: u.Actor, DueAt: due(a.at, oversight.DefaultFindingDays), Ceremony: u.Ceremony})
}
