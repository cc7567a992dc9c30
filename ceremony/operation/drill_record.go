package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type drillRecordParams struct {
	Set         string             `json:"set"`
	Kind        people.DrillKind   `json:"kind"` // rehearsal, table-top, site-missing
	Result      people.DrillResult `json:"result"`
	StartedAt   time.Time          `json:"started_at"`
	FinishedAt  time.Time          `json:"finished_at"`
	Attendance  []string           `json:"attendance"`
	Steps       string             `json:"steps"`
	Deviations  []string           `json:"deviations"`
	MissingSite string             `json:"missing_site"`
	Evidence    string             `json:"evidence"` // ceremony that took shares of the set; its times count
	Problem     string             `json:"problem"`  // why it failed
	Days        int                `json:"days"`     // to put right what failed; 7 where 0
}

// drillRecord puts a drill on record that people held together outside of shares.rehearse: a rehearsal, a table-top, or
// one with a site missing. It is governed: those who were there sign what they saw, and nobody writes down alone that
// a drill passed. That something is wrong can be said by anybody at once (finding.open).
type drillRecord struct{}

func (drillRecord) Name() string { return "drill.record" }

// Bounds of a record (ours).
const (
	recordDrillWithin = 30 * key.Day
	maxAttendance     = 100
	maxDeviations     = 50
)

func (o drillRecord) read(view *store.View, in Input) (*people.Drill, *people.ShareSet, store.Row, int, error) {
	p, err := decode[drillRecordParams](in)
	if err != nil {
		return nil, nil, store.Row{}, 0, err
	}
	set, row, err := setInForce(view, p.Set)
	if err != nil {
		return nil, nil, row, 0, err
	}
	if err := o.checkForm(&p, in.Now); err != nil {
		return nil, nil, row, 0, err
	}
	slices.Sort(p.Attendance)
	d := &people.Drill{Set: set.ID, Epoch: set.Epoch, Kinds: []people.DrillKind{p.Kind}, Result: p.Result, StartedAt: p.StartedAt.UTC(), FinishedAt: p.FinishedAt.UTC(),
		Attendance: p.Attendance, Steps: p.Steps, Deviations: p.Deviations, Site: p.MissingSite, Evidence: p.Evidence, Problem: p.Problem}
	if plan := drillPlan(view, set.ID); plan != nil && p.Kind == people.DrillRehearsal {
		d.RTOMinutes = plan.RTOMinutes
	}
	if p.Evidence != "" {
		if err := o.cite(view, set, d); err != nil {
			return nil, nil, row, 0, err
		}
	}
	return d, set, row, p.Days, o.checkFacts(view, set, d)
}

// checkForm holds the parameters to what they may be.
func (drillRecord) checkForm(p *drillRecordParams, now time.Time) error {
	checks := []error{
		key.CheckOneOf("kind", p.Kind, people.DrillRehearsal, people.DrillTableTop, people.DrillSite),
		key.CheckOneOf("result", p.Result, people.DrillPassed, people.DrillFailed),
		key.CheckRange("attendance", len(p.Attendance), 2, maxAttendance, "people"),
		key.CheckRange("deviations", len(p.Deviations), 0, maxDeviations, "deviations"),
		key.CheckRange("days", p.Days, 0, oversight.MaxFindingDays, "days"),
		key.CheckText("steps", p.Steps, 4000, false),
		key.CheckText("problem", p.Problem, maxReason, p.Result == people.DrillPassed),
		key.CheckText("missing_site", p.MissingSite, 64, true),
	}
	for i, d := range p.Deviations {
		checks = append(checks, key.CheckText(fmt.Sprintf("deviations[%d]", i), d, maxReason, false))
	}
	if err := key.First(checks); err != nil {
		return err
	}
	switch {
	case p.StartedAt.IsZero() || !p.FinishedAt.After(p.StartedAt) || p.FinishedAt.After(now) || now.Sub(p.StartedAt) > recordDrillWithin:
		return &custodian.InputError{Field: "finished_at", Problem: "not after started_at, in the future, or too long ago", Allowed: "when it was held, within the last 30 days"}
	case p.Result == people.DrillPassed && p.Problem != "":
		return &custodian.InputError{Field: "problem", Problem: "given for a drill that passed", Allowed: "nothing; what went otherwise is a deviation"}
	case (p.Kind == people.DrillSite) != (p.MissingSite != ""):
		return &custodian.InputError{Field: "missing_site", Problem: "it belongs to site-missing alone", Allowed: "the site that was missing, for site-missing"}
	case p.Kind == people.DrillTableTop && p.Evidence != "":
		return &custodian.InputError{Field: "evidence", Problem: "no shares are brought to a table-top", Allowed: "nothing"}
	}
	return nil
}

// cite takes times and people from the ceremony that is cited, which took shares of the set.
func (drillRecord) cite(view *store.View, set *people.ShareSet, d *people.Drill) error {
	if err := servesSet(view, d.Evidence, set.ID, false); err != nil {
		return err
	}
	s, err := sessionOf(view, d.Evidence)
	if err != nil {
		return err
	}
	began, indices := s.began()
	if s.State != "completed" || s.EndedAt == nil || began.Before(d.StartedAt) || s.EndedAt.After(d.FinishedAt) {
		return &custodian.InputError{Field: "evidence", Problem: clean(d.Evidence) + " was not completed within the times given", Allowed: "a ceremony in which shares of the set were brought during the drill"}
	}
	d.Shares, d.Witnesses = indices, s.voted("attend")
	for _, x := range s.Shares {
		if !slices.Contains(d.Attendance, x.Person) {
			return &custodian.InputError{Field: "attendance", Problem: x.Person + " brought a share and is missing", Allowed: "everybody who was there"}
		}
	}
	return nil
}

func sessionOf(view *store.View, id string) (*session, error) {
	row, err := view.Get(ceremonyKind, id)
	if err != nil {
		return nil, unknown("evidence", id, "ceremony")
	}
	var s session
	if err := json.Unmarshal(row.Body, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSession, err)
	}
	return &s, nil
}

// checkFacts holds what is claimed against the register: who was there could have done it.
func (drillRecord) checkFacts(view *store.View, set *people.ShareSet, d *people.Drill) error {
	find := register(view)
	for i, id := range d.Attendance {
		field := fmt.Sprintf("attendance[%d]", i)
		if _, _, err := personRow(view, field, id); err != nil {
			return err
		}
		if i > 0 && d.Attendance[i-1] == id {
			return &custodian.InputError{Field: field, Problem: id + " is there twice", Allowed: "everybody once"}
		}
	}
	if d.Kinds[0] == people.DrillTableTop {
		return nil
	}
	present := 0
	for _, h := range usableHolders(view, set) {
		if slices.Contains(d.Attendance, h) && people.Present(find(h)) == nil {
			present++
		}
	}
	if d.Site != "" {
		if err := checkSite(view, set, d.Site); err != nil {
			return err
		}
		if i := slices.IndexFunc(d.Attendance, func(p string) bool { return siteOf(find, p, d.Site) }); i >= 0 {
			return &custodian.InputError{Field: "attendance", Problem: d.Attendance[i] + " is of " + d.Site, Allowed: "nobody of the site that is missing"}
		}
	}
	if d.Result != people.DrillPassed {
		return nil
	}
	if present < set.Threshold {
		return &custodian.InputError{Field: "attendance", Problem: fmt.Sprintf("%d holders of usable shares, %d open the set", present, set.Threshold), Allowed: "a quorum of holders; else the drill failed"}
	}
	if slow := tooSlow(d); slow != "" {
		return &custodian.InputError{Field: "result", Problem: slow, Allowed: "failed"}
	}
	return nil
}

func (o drillRecord) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	d, set, row, _, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: setTarget(set, row), Title: fmt.Sprintf("Record that the %s drill of share set %s %s", d.Kinds[0], set.ID, d.Result), Lines: drillLines(d),
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_set", ID: set.ID, Owner: drillOwner(view, set), Threshold: set.Threshold, Total: set.Total}}}
	if d.Result == people.DrillFailed {
		plan.Lines = append(plan.Lines, Line{Label: "a finding is opened for", After: drillOwner(view, set)})
	}
	return plan, nil
}

func drillLines(d *people.Drill) []Line {
	lines := []Line{{Label: "drill", After: string(d.Kinds[0])}, {Label: "result", After: string(d.Result)}, {Label: "there were", After: list(d.Attendance)},
		{Label: "held", After: d.StartedAt.Format(dateTime) + " to " + d.FinishedAt.Format(dateTime)}, {Label: "steps", After: d.Steps}}
	for _, x := range d.Deviations {
		lines = append(lines, Line{Label: "deviation", After: x})
	}
	for _, l := range []Line{{Label: "missing site", After: d.Site}, {Label: "evidence", After: d.Evidence}, {Label: "problem", After: d.Problem}} {
		if l.After != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func (o drillRecord) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	d, set, _, days, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if !slices.ContainsFunc(in.Approvers, func(p string) bool { return slices.Contains(d.Attendance, p) }) {
		return Result{}, errors.New("none of those who signed was there; at least one who was signs what they saw")
	}
	if err := act(env, tx, in, in.Reason).putDrill(tx, set, d, days); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"drill": d.ID, "set": set.ID, "result": string(d.Result), "finding": d.Finding}), nil
}
