package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

// open stores a new finding. Any operation may, and the jobs: what went wrong gets an owner and a date.
func (a acting) open(tx *store.Tx, f *oversight.Finding) error {
	f.OpenedAt, f.OpenedBy = a.at, a.principal.String()
	if err := key.First([]error{f.Validate(), vacant(tx.View(), custodian.KindFinding, "id", f.ID, "finding")}); err != nil {
		return err
	}
	e := a.event("finding.open", ledger.Target{Type: "finding", ID: f.ID}, map[string]any{"title": f.Title, "source": string(f.Source),
		"about": f.About.String(), "owner": f.Owner, "due_at": f.DueAt.Format(dateTime)})
	return a.put(tx, custodian.KindFinding, f.ID, f, e)
}

// due is a date some days from an instant.
func due(from time.Time, days int) time.Time {
	return from.UTC().Truncate(time.Microsecond).Add(time.Duration(days) * key.Day)
}

func findingPlan(f *oversight.Finding, revision uint64, title string, lines ...Line) Plan {
	return Plan{Target: Target{Type: "finding", ID: f.ID, GovRevision: revision}, Title: title,
		Lines: append([]Line{{Label: "finding", After: f.Title}, {Label: "about", After: f.About.String()}, {Label: "owner", After: f.Owner},
			{Label: "due", After: f.DueAt.Format(dateTime)}}, lines...),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "finding", ID: f.ID, Owner: f.Owner}}}
}

type findingOpenParams struct {
	ID     string           `json:"id"` // made from the ceremony's when empty
	Title  string           `json:"title"`
	Source oversight.Source `json:"source"` // person where empty
	About  oversight.Ref    `json:"about"`
	Owner  string           `json:"owner"`
	Days   int              `json:"days"` // to put it right
}

// findingOpen records that something must be put right, by whom and until when. While it is open, what it is about
// is not released from a suspension.
type findingOpen struct{}

func (findingOpen) Name() string { return "finding.open" }

func (findingOpen) read(view *store.View, in Input) (*oversight.Finding, error) {
	p, err := decode[findingOpenParams](in)
	if err != nil {
		return nil, err
	}
	if p.ID == "" {
		p.ID = idFrom("f", in.Ceremony)
	}
	if p.Source == "" {
		p.Source = oversight.FromPerson
	}
	f := &oversight.Finding{ID: p.ID, Title: p.Title, Source: p.Source, About: p.About, Owner: p.Owner, OpenedAt: in.Now, OpenedBy: in.Requester.String(),
		DueAt: due(in.Now, p.Days), Ceremony: in.Ceremony}
	err = key.First([]error{
		key.CheckOneOf("source", p.Source, oversight.FromPerson, oversight.FromIncident, oversight.FromDrill, oversight.FromDeparture),
		key.CheckRange("days", p.Days, 1, oversight.MaxFindingDays, "days"),
		f.Validate(), exists(view, "about.id", f.About), vacant(view, custodian.KindFinding, "id", f.ID, "finding"),
	})
	if err != nil {
		return nil, err
	}
	_, err = presentPerson(view, "owner", f.Owner)
	return f, err
}

func (o findingOpen) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	f, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	return findingPlan(f, 0, "Open a finding: "+f.Title), nil
}

func (o findingOpen) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	f, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := act(env, tx, in, in.Reason).open(tx, f); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"finding": f.ID, "due_at": f.DueAt.Format(dateTime)}), nil
}

type findingAlterParams struct {
	Finding string `json:"finding"`
	Owner   string `json:"owner"` // "" leaves it
	Days    int    `json:"days"`  // from now, 0 leaves the date
	Reason  string `json:"reason"`
}

// findingAlter gives a finding another owner or date. Nobody moves the date of what they own.
type findingAlter struct{}

func (findingAlter) Name() string { return "finding.alter" }

func (findingAlter) read(view *store.View, in Input) (f *oversight.Finding, row store.Row, reason string, err error) {
	p, err := decode[findingAlterParams](in)
	if err != nil {
		return nil, row, "", err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return nil, row, "", err
	}
	if p.Owner == "" && p.Days == 0 {
		return nil, row, "", &custodian.InputError{Field: "owner", Problem: "neither owner nor days is given", Allowed: "one of them, or both"}
	}
	if err := key.CheckRange("days", p.Days, 0, oversight.MaxFindingDays, "days"); err != nil {
		return nil, row, "", err
	}
	if f, row, err = lookup[oversight.Finding](view, custodian.KindFinding, "finding", p.Finding, "finding"); err != nil {
		return nil, row, "", err
	}
	if p.Owner != "" {
		if _, err := presentPerson(view, "owner", p.Owner); err != nil {
			return nil, row, "", err
		}
		f.Owner = p.Owner
	}
	if p.Days > 0 {
		f.DueAt = due(in.Now, p.Days)
	}
	f.Changes++
	return f, row, reason, nil
}

// notByOwner refuses what the owner of a finding, or whom it is about, would do to it.
func notByOwner(f *oversight.Finding, in Input) []policies.Reason {
	if in.Requester.ID != f.Owner && f.About != (oversight.Ref{Type: "person", ID: in.Requester.ID}) {
		return nil
	}
	return []policies.Reason{{Rule: "operation", Code: "own_finding", Controls: []string{"nist-800-53r5:AC-5"},
		Message: "whoever answers for a finding, or is what it is about, does not judge it", Remedy: "another security officer or an auditor acts"}}
}

func closedAlready(f *oversight.Finding) []policies.Reason {
	if f.Open() {
		return nil
	}
	return []policies.Reason{refusal("finding_closed", "finding "+f.ID+" is closed", "open another one (finding.open)")}
}

func (o findingAlter) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	f, row, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	before, _, err := store.Get[oversight.Finding](view, custodian.KindFinding, f.ID)
	if err != nil {
		return Plan{}, err
	}
	plan := findingPlan(f, row.Revision, fmt.Sprintf("Change owner or date of finding %s", f.ID), Line{Label: "reason", After: reason})
	plan.Lines[2].Before, plan.Lines[3].Before = before.Owner, before.DueAt.Format(dateTime)
	plan.Deny = append(closedAlready(before), notByOwner(before, in)...)
	return plan, nil
}

func (o findingAlter) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	f, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	e := act(env, tx, in, reason).event("finding.alter", ledger.Target{Type: "finding", ID: f.ID}, map[string]any{"owner": f.Owner, "due_at": f.DueAt.Format(dateTime)})
	if err := act(env, tx, in, reason).put(tx, custodian.KindFinding, f.ID, f, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"finding": f.ID, "owner": f.Owner, "due_at": f.DueAt.Format(dateTime)}), nil
}

type findingCloseParams struct {
	Finding  string `json:"finding"`
	Evidence string `json:"evidence"` // what shows that it is put right
}

// findingClose accepts the evidence that something was put right. Its owner does not.
type findingClose struct{}

func (findingClose) Name() string { return "finding.close" }

func (findingClose) read(view *store.View, in Input) (*oversight.Finding, store.Row, string, error) {
	p, err := decode[findingCloseParams](in)
	if err != nil {
		return nil, store.Row{}, "", err
	}
	if err := key.CheckText("evidence", p.Evidence, maxReason, false); err != nil {
		return nil, store.Row{}, "", err
	}
	f, row, err := lookup[oversight.Finding](view, custodian.KindFinding, "finding", p.Finding, "finding")
	return f, row, p.Evidence, err
}

func (o findingClose) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	f, row, evidence, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := findingPlan(f, row.Revision, fmt.Sprintf("Close finding %s", f.ID), Line{Label: "evidence", After: evidence})
	plan.Deny = append(closedAlready(f), notByOwner(f, in)...)
	return plan, nil
}

func (o findingClose) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	f, _, evidence, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	f.ClosedAt, f.ClosedBy, f.Evidence = &a.at, in.Requester.ID, evidence
	e := a.event("finding.close", ledger.Target{Type: "finding", ID: f.ID}, map[string]any{"evidence": evidence, "late": a.at.After(f.DueAt)})
	if err := a.put(tx, custodian.KindFinding, f.ID, f, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"finding": f.ID, "closed": true}), nil
}

// findingsOpen refuses to release what an open finding is about.
func findingsOpen(view *store.View, refs ...oversight.Ref) ([]policies.Reason, error) {
	if bad := view.Tampered(custodian.KindFinding); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: custodian.KindFinding, ID: bad[0].ID}
	}
	var out []policies.Reason
	for row := range view.List(custodian.KindFinding) {
		f, ok := row.Value.(*oversight.Finding)
		if !ok {
			continue
		}
		for _, r := range refs {
			if f.Blocks(r) {
				out = append(out, refusal(key.CodeFindingOpen, fmt.Sprintf("finding %s is open: %s", f.ID, f.Title), "somebody other than its owner closes it with the evidence (finding.close)"))
				break
			}
		}
	}
	return out, nil
}
