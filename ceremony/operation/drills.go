package operation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// AlertDrill: a drill of a share set is overdue.
const AlertDrill AlertKind = "drill"

// DrillRegister says for every share set in force when each drill was held and is due, the most urgent first in each.
// A row that contradicts the ledger proves nothing: what it would show is due.
func DrillRegister(view *store.View, now time.Time) []people.DrillDue {
	var out []people.DrillDue
	f := people.DrillFacts{Find: register(view), Activity: map[string]time.Time{}, Now: now}
	for _, a := range store.All[people.Activity](view, custodian.KindActivity) {
		f.Activity[a.Person] = a.At
	}
	for _, x := range store.All[people.ShareForm](view, custodian.KindShareForm) {
		f.Forms = append(f.Forms, x)
	}
	for _, d := range store.All[people.Drill](view, custodian.KindDrill) {
		f.Drills = append(f.Drills, d)
	}
	for _, set := range store.All[people.ShareSet](view, custodian.KindShareSet) {
		if !set.InForce() {
			continue
		}
		f.Set, f.Shares, f.Plan, f.Opened = set, shareRows(view, set.ID), drillPlan(view, set.ID), nil
		f.Owner = drillOwner(view, set)
		for _, c := range store.All[backup.Copy](view, custodian.KindBackup) {
			for _, d := range c.Drills {
				if c.ShareSet == set.ID && c.Epoch == set.Epoch {
					f.Opened = append(f.Opened, d.At)
				}
			}
		}
		out = append(out, people.DrillRegister(f)...)
	}
	return out
}

// drillPlan is the schedule of a set; nil where nothing was scheduled.
func drillPlan(view *store.View, set string) *people.DrillPlan {
	p, _, err := store.Get[people.DrillPlan](view, custodian.KindDrillPlan, set)
	if err != nil {
		return nil
	}
	return p
}

// drillOwner answers for the drills of a set: who the schedule names, or whoever answers for the keystore; "" for none.
func drillOwner(view *store.View, set *people.ShareSet) string {
	if p := drillPlan(view, set.ID); p != nil {
		return p.Owner
	}
	if ks, err := store.Peek[key.Keystore](view, custodian.KindKeystore, set.Keystore); err == nil {
		return ks.Controller
	}
	return ""
}

func drillAlerts(view *store.View, now time.Time) []Alert {
	var out []Alert
	for _, d := range DrillRegister(view, now) {
		if d.Late {
			out = append(out, Alert{Kind: AlertDrill, Person: d.Person, Set: d.Set,
				Message: fmt.Sprintf("share set %s: %s is overdue since %s: %s", d.Set, d.Kind, d.Due.Format(time.DateOnly), d.What)})
		}
	}
	return out
}

// putDrill stores the record of a drill, and opens the finding about one that failed: days, 0 for the usual time, to put
// it right.
func (a acting) putDrill(tx *store.Tx, set *people.ShareSet, d *people.Drill, days int) error {
	d.ID, d.Ceremony, d.SignedBy = idFrom("d", a.ceremony), a.ceremony, a.approvers
	if d.Result == people.DrillFailed {
		if days == 0 {
			days = oversight.DefaultFindingDays
		}
		f := &oversight.Finding{ID: idFrom("f", a.ceremony), Title: shorten(fmt.Sprintf("drill of share set %s failed: %s", set.ID, d.Problem)), Source: oversight.FromDrill,
			About: oversight.Ref{Type: "share_set", ID: set.ID}, Owner: drillOwner(tx.View(), set), DueAt: due(a.at, days), Ceremony: a.ceremony}
		if f.Owner == "" && len(a.approvers) > 0 {
			f.Owner = a.approvers[0]
		}
		if err := a.open(tx, f); err != nil {
			return err
		}
		d.Finding = f.ID
	}
	e := a.event("drill.held", setEventTarget(set.ID), map[string]any{"drill": d.ID, "kinds": d.Kinds, "result": string(d.Result), "attendance": d.Attendance,
		"started_at": d.StartedAt.Format(dateTime), "finished_at": d.FinishedAt.Format(dateTime), "deviations": len(d.Deviations), "problem": d.Problem})
	if d.Result == people.DrillFailed {
		e.Outcome = ledger.Failed
	}
	return a.put(tx, custodian.KindDrill, d.ID, d, e)
}

// tooSlow says whether a recovery took longer than was declared.
func tooSlow(d *people.Drill) string {
	took := d.FinishedAt.Sub(d.StartedAt)
	if d.RTOMinutes == 0 || took <= time.Duration(d.RTOMinutes)*time.Minute {
		return ""
	}
	return fmt.Sprintf("it took %s, declared are %d minutes", took.Round(time.Second), d.RTOMinutes)
}

// siteOf reports whether a person counts as of a site.
func siteOf(find people.Lookup, person, site string) bool {
	p := find(person)
	return p != nil && p.Site == site
}

// checkSite holds a site that is to be missing against the holders: some of them are there.
func checkSite(view *store.View, set *people.ShareSet, site string) error {
	find := register(view)
	if slices.ContainsFunc(holdersOf(view, set), func(h string) bool { return siteOf(find, h, site) }) {
		return nil
	}
	return &custodian.InputError{Field: "missing_site", Problem: fmt.Sprintf("%q is the site of no holder", clean(site)), Allowed: "a site at which shares of the set are held"}
}

// setInForce reads a set that opens something now.
func setInForce(view *store.View, id string) (*people.ShareSet, store.Row, error) {
	set, row, err := setRow(view, "set", id)
	if err == nil && !set.InForce() {
		err = &custodian.InputError{Field: "set", Problem: set.ID + " is not in force", Allowed: "a set that opens something now"}
	}
	return set, row, err
}

// session is what the ceremony's own row tells about who was there and when.
type session struct {
	State    string `json:"state"`
	ShareSet string `json:"share_set"`
	Votes    []struct {
		Person   string `json:"person"`
		Decision string `json:"decision"`
	} `json:"votes"`
	Shares  []brought  `json:"shares"`
	EndedAt *time.Time `json:"ended_at"`
}

// brought is one share that somebody brought to a ceremony.
type brought struct {
	Person string    `json:"person"`
	Index  int       `json:"index"`
	At     time.Time `json:"at"`
}

// began is when the first share was brought, zero where none was; indices are those brought.
func (s *session) began() (at time.Time, indices []int) {
	for _, x := range s.Shares {
		if at.IsZero() || x.At.Before(at) {
			at = x.At
		}
		indices = append(indices, x.Index)
	}
	slices.Sort(indices)
	return at, indices
}

// voted lists who decided so.
func (s *session) voted(decision string) []string {
	var out []string
	for _, v := range s.Votes {
		if v.Decision == decision && !slices.Contains(out, v.Person) {
			out = append(out, v.Person)
		}
	}
	slices.Sort(out)
	return out
}

var errNoSession = errors.New("the ceremony's record is not readable")
