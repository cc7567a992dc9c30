package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/policies"
)

// Kinds of alerts of the watch.
const (
	AlertLogReview AlertKind = "log_review" // a day's log waits for its review
	AlertControl   AlertKind = "control"    // controls of a framework are violated
	AlertRule      AlertKind = "rule"       // a rule over the ledger found something, and the log of that day is not reviewed
)

type logReviewParams struct {
	Day string `json:"day"` // 2006-01-02
	// To and Leaf are the summary's own: what the reviewer was shown, and signs.
	To      uint64            `json:"to"`
	Leaf    string            `json:"leaf"`
	Outcome oversight.Outcome `json:"outcome"`
	Note    string            `json:"note"`
	Owner   string            `json:"owner"` // of the finding, where the outcome is not "confirmed"
	Days    int               `json:"days"`
}

// logReview is one person's word that they went over a day's log, as the service summed it up. The signature is that of
// the request, which the ceremony keeps.
type logReview struct{}

func (logReview) Name() string { return "log.review" }

func (logReview) read(view *store.View, in Input) (p logReviewParams, d *oversight.LogDay, row store.Row, err error) {
	if p, err = decode[logReviewParams](in); err != nil {
		return p, nil, row, err
	}
	if err := key.First([]error{key.CheckOneOf("outcome", p.Outcome, oversight.Confirmed, oversight.Found), key.CheckText("note", p.Note, maxReason, false)}); err != nil {
		return p, nil, row, err
	}
	d, row, err = lookup[oversight.LogDay](view, custodian.KindLogDay, "day", p.Day, "day whose log is summed up")
	if err != nil {
		return p, nil, row, err
	}
	if p.To != d.To || p.Leaf != d.Leaf {
		return p, nil, row, &custodian.InputError{Field: "leaf", Problem: "not the end of that day's log", Allowed: fmt.Sprintf("to %d and leaf %q, as the summary has them", d.To, d.Leaf)}
	}
	return p, d, row, reviewSignParams{Outcome: p.Outcome, Owner: p.Owner, Days: p.Days}.checkFinding(view)
}

func (o logReview) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, d, row, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "log_day", ID: d.Day, GovRevision: row.Revision}, Title: fmt.Sprintf("Review of the log of %s: %s", d.Day, p.Outcome),
		Lines: []Line{{Label: "entries", After: fmt.Sprintf("%d to %d", d.From, max(d.From+1, d.To)-1)}, {Label: "refused", After: fmt.Sprint(d.Refused)},
			{Label: "failed", After: fmt.Sprint(d.Failed)}, {Label: "to be looked at", After: fmt.Sprint(len(d.Notable) + d.More)},
			{Label: "leaf of the last entry", After: d.Leaf}, {Label: "due", After: d.DueAt().Format(dateTime)}, {Label: "note", After: p.Note}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "log_day", ID: d.Day}}}
	if p.Outcome == oversight.Found {
		plan.Lines = append(plan.Lines, Line{Label: "finding", After: fmt.Sprintf("%s puts it right within %s", p.Owner, amount.Of(p.Days, "day"))})
	}
	if d.Reviewed != nil {
		plan.Deny = append(plan.Deny, refusal("already_reviewed", "the log of "+d.Day+" is reviewed already, by "+d.Reviewed.By, "open a finding about it (finding.open)"))
	}
	return plan, nil
}

func (o logReview) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, d, _, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Note)
	next := *d
	next.Reviewed = &oversight.LogReview{By: in.Requester.ID, At: a.at, Outcome: p.Outcome, Note: p.Note, Ceremony: in.Ceremony}
	if p.Outcome == oversight.Found {
		f := &oversight.Finding{ID: idFrom("f", in.Ceremony), Title: shorten("log of " + d.Day + ": " + p.Note), Source: oversight.FromReview,
			About: oversight.Ref{Type: "log_day", ID: d.Day}, Owner: p.Owner, DueAt: due(a.at, p.Days), Ceremony: in.Ceremony}
		if err := a.open(tx, f); err != nil {
			return Result{}, err
		}
		next.Reviewed.Finding = f.ID
	}
	if err := reviewAlarms(tx, d.Day); err != nil {
		return Result{}, err
	}
	late := next.Late(a.at)
	e := a.event("log.review", ledger.Target{Type: "log_day", ID: d.Day}, map[string]any{"outcome": string(p.Outcome), "from": d.From, "to": d.To, "leaf": d.Leaf,
		"refused": d.Refused, "failed": d.Failed, "notable": len(d.Notable) + d.More, "late": late, "finding": next.Reviewed.Finding})
	if err := a.put(tx, custodian.KindLogDay, d.Day, &next, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"day": d.Day, "outcome": string(p.Outcome), "late": late, "finding": next.Reviewed.Finding}), nil
}

// reviewAlarms takes the alarms of a day whose log is reviewed off the list: its summary names them.
func reviewAlarms(tx *store.Tx, day string) error {
	found, _, err := store.Get[oversight.Watched](tx.View(), custodian.KindWatched, oversight.WatchedRow)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if next := found.Clone(); next.Review(day) {
		return tx.Put(custodian.KindWatched, oversight.WatchedRow, next)
	}
	return nil
}

// ruleAlerts are the alarms of the rules.
func ruleAlerts(view *store.View) []Alert {
	var out []Alert
	for _, found := range store.All[oversight.Watched](view, custodian.KindWatched) {
		for _, a := range found.Open {
			out = append(out, Alert{Kind: AlertRule, Message: fmt.Sprintf("%s: %s, %d from %s on, entries %d to %d; until the log of %s is reviewed",
				a.Title, a.Subject, a.Count, a.From.UTC().Format(dateTime), a.FirstSeq, a.LastSeq, a.At.UTC().Format(time.DateOnly))})
		}
		if found.More > 0 {
			out = append(out, Alert{Kind: AlertRule, Message: fmt.Sprintf("%d more that rules found, up to %s: conclave ledger search --operation monitor.alert --outcome failed --newest-first",
				found.More, found.MoreOn)})
		}
	}
	return out
}

// shownControls is how many violated controls an alert names.
const shownControls = 8

// monitorAlerts tell of days whose log is to be reviewed, and of how the frameworks stand.
func monitorAlerts(view *store.View, now time.Time) []Alert {
	out := ruleAlerts(view)
	for _, d := range store.All[oversight.LogDay](view, custodian.KindLogDay) {
		if d.Reviewed != nil {
			continue
		}
		words := "is to be reviewed by " + d.DueAt().Format(dateTime)
		if d.Late(now) {
			words = "should have been reviewed by " + d.DueAt().Format(dateTime)
		}
		out = append(out, Alert{Kind: AlertLogReview, Message: fmt.Sprintf("the log of %s (%s, %d to be looked at) %s: conclave audit review-log %s",
			d.Day, amount.Of(d.To-d.From, "entry"), len(d.Notable)+d.More, words, d.Day)})
	}
	for _, s := range store.All[oversight.Monitored](view, custodian.KindMonitored) {
		var bad []string
		for id, verdict := range s.Verdicts {
			if verdict.Verdict == "violated" {
				bad = append(bad, id)
			}
		}
		if len(bad) == 0 {
			continue
		}
		slices.Sort(bad)
		out = append(out, Alert{Kind: AlertControl, Message: fmt.Sprintf("%s: controls that are violated, as judged %s: %d (%s%s)", s.Framework, s.RunAt.UTC().Format(dateTime), len(bad),
			strings.Join(bad[:min(len(bad), shownControls)], ", "), moreControls(len(bad)))})
	}
	return out
}

func moreControls(n int) string {
	if n <= shownControls {
		return ""
	}
	return fmt.Sprintf(" and %d more", n-shownControls)
}
