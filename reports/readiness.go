package reports

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// Readiness is what is red now, and what will be on a day if nobody does anything until then. What the service does by
// itself at a date that was decided on (a key's end, the suspension of who is inactive) is taken as done.
type Readiness struct {
	Framework  string           `json:"framework"`
	Instance   control.Instance `json:"instance"`
	Now        time.Time        `json:"now"`
	On         time.Time        `json:"on"`
	Checkpoint Checkpoint       `json:"checkpoint"`
	Counts     map[string]int   `json:"counts"`    // controls by verdict, now
	CountsOn   map[string]int   `json:"counts_on"` // and on the day
	Controls   []ReadyControl   `json:"controls"`  // those that are or will be violated, and those that cease to be satisfied
	Due        []Due            `json:"due"`       // by date, what has passed first
	Findings   []OpenFinding    `json:"findings"`  // open now, by date
}

// ReadyControl is one control, now and then.
type ReadyControl struct {
	ID        string          `json:"id"`
	Title     string          `json:"title"`
	Verdict   control.Verdict `json:"verdict"`
	VerdictOn control.Verdict `json:"verdict_on"`
	Why       []string        `json:"why"` // what is wrong on the day, at most a few
}

// Due is something whose date comes.
type Due struct {
	At    time.Time `json:"at"`
	What  string    `json:"what"`
	About string    `json:"about"` // "type id"
	Owner string    `json:"owner,omitempty"`
	Late  bool      `json:"late"`
}

// OpenFinding is a finding that is not closed.
type OpenFinding struct {
	ID    string    `json:"id"`
	Title string    `json:"title"`
	About string    `json:"about"`
	Owner string    `json:"owner"`
	DueAt time.Time `json:"due_at"`
	Late  bool      `json:"late"`      // now
	OnDay bool      `json:"late_then"` // on the day
}

// Bounds of a look ahead (ours).
const (
	maxAhead  = 5 * 366 * 24 * time.Hour
	lookBack  = 366 * 24 * time.Hour
	keptWhy   = 5
	maxDue    = 2_000
	confirmIn = 30 * 24 * time.Hour
)

// Ready judges a framework as of now and as of a day; inactive are the people whom the service will have suspended for
// inactivity by then. Bad requests are a [*custodian.InputError] that names the field.
func Ready(ctx context.Context, src Source, name string, inactive []string, on, now time.Time) (*Readiness, error) {
	catalogue, evaluators, err := frameworkOf(name)
	if err != nil {
		return nil, err
	}
	now, on = now.UTC(), on.UTC()
	if on.Before(now) || on.Sub(now) > maxAhead {
		return nil, &custodian.InputError{Field: "on", Problem: "is not a day ahead", Allowed: fmt.Sprintf("a time from %s on, within five years", now.Format(time.RFC3339))}
	}
	ev, err := collect(ctx, src, now.Add(-lookBack), now, reading{})
	if err != nil {
		return nil, fmt.Errorf("collecting evidence: %w", err)
	}
	ev.Framework, ev.Scope, ev.Now = catalogue.Framework, catalogue.Scope, now
	then := ahead(ev, inactive, on)
	r := &Readiness{Framework: catalogue.Framework, Instance: ev.Instance, Now: now, On: on, Checkpoint: src.Checkpoint(), Counts: map[string]int{}, CountsOn: map[string]int{},
		Controls: []ReadyControl{}, Due: due(ev, inactive, on), Findings: openFindings(ev, on)}
	for _, v := range control.Verdicts() {
		r.Counts[string(v)], r.CountsOn[string(v)] = 0, 0
	}
	for i, c := range catalogue.Controls {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("judging control %s: %w", c.ID, err)
		}
		a, b := doubtDamaged(evaluators[i](ctx, ev), ev.Damaged), doubtDamaged(evaluators[i](ctx, then), ev.Damaged)
		r.Counts[string(a.Verdict)]++
		r.CountsOn[string(b.Verdict)]++
		worse := a.Verdict == control.Satisfied && b.Verdict != control.Satisfied
		if a.Verdict == control.Violated || b.Verdict == control.Violated || worse {
			r.Controls = append(r.Controls, ReadyControl{ID: c.ID, Title: c.Title, Verdict: a.Verdict, VerdictOn: b.Verdict, Why: whys(b)})
		}
	}
	return r, nil
}

// whys are the first few things that are wrong or doubtful in a result.
func whys(r control.Result) []string {
	var out []string
	more := 0
	for _, state := range []control.State{control.Violating, control.Attention} {
		for _, t := range r.Tables {
			for _, row := range t.Rows {
				if row.State != state {
					continue
				}
				text := strings.TrimPrefix(strings.TrimSpace(named(t, row)+": "+cmp.Or(row.Why, t.Title)), ": ")
				switch {
				case slices.Contains(out, text):
				case len(out) >= keptWhy:
					more++
				default:
					out = append(out, text)
				}
			}
		}
	}
	if more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	if len(out) == 0 {
		out = append(out, r.Summary)
	}
	return out
}

// named is what a row is about: its first two cells, times written for reading.
func named(t control.Table, row control.Row) string {
	var words []string
	for i, text := range row.Cells[:min(2, len(row.Cells))] {
		if at, err := time.Parse(time.RFC3339, text); err == nil && t.Columns[i].Type == control.Instant {
			text = at.UTC().Format("2006-01-02 15:04 UTC")
		}
		if text != "" {
			words = append(words, text)
		}
	}
	return strings.Join(words, " ")
}

// ahead is the evidence as it will be on a day if nobody does anything. A version ends by itself at the end of its
// originator usage period: expiry never waits. People who are inactive are suspended when their time is over.
func ahead(ev *control.Evidence, inactive []string, on time.Time) *control.Evidence {
	then := *ev
	then.Now, then.To, then.Ahead = on, on, ev.Now
	then.Versions = slices.Clone(ev.Versions)
	for i := range then.Versions {
		v := &then.Versions[i].Value
		if v.State == key.Active && !v.OUPEnd.IsZero() && !v.OUPEnd.After(on) {
			v.State = key.Deactivated
			v.History = append(slices.Clone(v.History), key.Transition{ID: "T8", From: key.Active, To: key.Deactivated, At: v.OUPEnd, Actor: "node", Reason: "the end of its originator usage period"})
		}
	}
	then.People = slices.Clone(ev.People)
	for i := range then.People {
		if p := &then.People[i].Value; p.Status == people.StatusActive && slices.Contains(inactive, p.ID) {
			at := inactiveOn(ev, p.ID)
			p.Status, p.SuspendedAt, p.SuspendedReason = people.StatusSuspended, &at, "inactive"
		}
	}
	return &then
}

// inactiveOn is when a person counts as inactive if nothing more is heard of them; zero where their activity is not known.
func inactiveOn(ev *control.Evidence, person string) time.Time {
	for _, a := range ev.Activities {
		if a.Value.Person == person {
			return people.InactiveOn(&a.Value)
		}
	}
	return time.Time{}
}

func openFindings(ev *control.Evidence, on time.Time) []OpenFinding {
	out := []OpenFinding{}
	for _, f := range ev.Findings {
		if v := f.Value; v.Open() {
			out = append(out, OpenFinding{ID: v.ID, Title: v.Title, About: v.About.String(), Owner: v.Owner, DueAt: v.DueAt, Late: v.Overdue(ev.Now), OnDay: v.Overdue(on)})
		}
	}
	slices.SortStableFunc(out, func(a, b OpenFinding) int { return a.DueAt.Compare(b.DueAt) })
	return out
}

// due lists what has a date up to a day: what ends, what is to be confirmed, reviewed or put right.
func due(ev *control.Evidence, inactive []string, on time.Time) []Due {
	out := []Due{}
	add := func(at time.Time, what, about, owner string) {
		if !at.IsZero() && !at.After(on) && len(out) < maxDue {
			out = append(out, Due{At: at, What: what, About: about, Owner: owner, Late: at.Before(ev.Now)})
		}
	}
	dueOfPeople(ev, inactive, add)
	dueOfKeys(ev, add)
	for _, a := range ev.Attestations {
		if a.Value.InForce(ev.Now) {
			what := "a statement about " + strings.Join(a.Value.Controls, ", ") + " ends"
			if a.Value.Kind.Declared() {
				what = "a declaration ends (" + string(a.Value.Kind) + ")"
			}
			add(a.Value.ExpiresAt, what, "attestation "+a.Value.ID, a.Value.Signer)
		}
	}
	for _, f := range ev.Findings {
		if f.Value.Open() {
			add(f.Value.DueAt, "to be put right: "+f.Value.Title, "finding "+f.Value.ID, f.Value.Owner)
		}
	}
	for _, c := range ev.Ceremonies {
		reviewed := slices.ContainsFunc(ev.Reviews, func(r control.Record[oversight.Review]) bool { return r.Value.Ceremony == c.Value.ID })
		if c.Value.State == "completed" && c.Value.ReviewBy != nil && !reviewed {
			add(*c.Value.ReviewBy, "to be reviewed by somebody who took no part: "+c.Value.Title, "ceremony "+c.Value.ID, c.Value.Requester.ID)
		}
	}
	slices.SortStableFunc(out, func(a, b Due) int { return cmp.Or(a.At.Compare(b.At), strings.Compare(a.About, b.About)) })
	return out
}

func dueOfPeople(ev *control.Evidence, inactive []string, add func(at time.Time, what, about, owner string)) {
	active := map[string]bool{}
	for _, p := range ev.People {
		if p.Value.Status != people.StatusActive {
			continue
		}
		active[p.Value.ID] = true
		if until := people.AcknowledgedUntil(&p.Value); !until.IsZero() {
			add(until, "the acceptance of the duty ends", "person "+p.Value.ID, p.Value.ID)
		}
	}
	for _, a := range ev.Activities {
		if active[a.Value.Person] {
			what := "not seen for 90 days by then, and stays active, since too few would be left to act: has to sign something before"
			if slices.Contains(inactive, a.Value.Person) {
				what = "not seen for 90 days by then: is suspended"
			}
			add(people.InactiveOn(&a.Value), what, "person "+a.Value.Person, a.Value.Person)
		}
	}
	for _, d := range ev.Duties {
		if d.Value.ClosedAt == nil {
			add(d.Value.DueAt, d.Value.Task, "duty "+d.Value.ID, d.Value.Person)
		}
	}
	for _, set := range ev.ShareSets {
		for _, s := range ev.CurrentShares(set.Value) {
			if s.Value.Status == people.ShareIssued {
				add(s.Value.IssuedAt.Add(confirmIn), "a share is to be confirmed", "share "+s.Ref.ID, s.Value.Custodian)
			}
		}
	}
	for _, e := range ev.Custody {
		if e.Value.State == people.EntryPending {
			add(e.Value.RecordedAt.Add(people.SignWithin), "a line of the custody log is to be countersigned", "custody "+e.Value.ID, e.Value.Facts.Witness)
		}
	}
}

func dueOfKeys(ev *control.Evidence, add func(at time.Time, what, about, owner string)) {
	for _, v := range ev.Versions {
		if v.Value.State != key.Active {
			continue
		}
		owner := ""
		if k := ev.Key(v.Value.Key); k != nil {
			owner = k.Value.Owner
		}
		add(v.Value.OUPEnd, "protects no more: the end of its originator usage period", "key_version "+v.Ref.ID, owner)
	}
	for _, k := range ev.Keystores {
		if k.Value.RetiredAt.IsZero() {
			add(k.Value.CertificateUntil, "the module's certificate becomes historical", "keystore "+k.Value.ID, k.Value.Controller)
		}
	}
	for _, g := range ev.Grants {
		if g.Value.RevokedAt == nil {
			add(g.Value.ExpiresAt, "a grant ends", "grant "+g.Value.ID, ownerOf(ev, g.Value.Application))
		}
	}
	for _, k := range ev.Tokens {
		if k.Value.RevokedAt == nil {
			add(k.Value.ExpiresAt, "a token ends", "token "+k.Value.ID, ownerOf(ev, k.Value.Subject))
		}
	}
	for _, x := range ev.Exceptions {
		if x.Value.RevokedAt == nil {
			add(x.Value.ExpiresAt, "an accepted risk ends", "exception "+x.Value.ID, x.Value.Owner)
		}
	}
}

// ownerOf is who answers for an application, or the person that a token is of.
func ownerOf(ev *control.Evidence, id string) string {
	for _, a := range ev.Applications {
		if a.Value.ID == id {
			return a.Value.Owner
		}
	}
	return id
}
