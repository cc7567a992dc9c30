package judge

import (
	"context"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// Bounds on recovery and on what goes wrong (ours; the rules name none, or "periodically").
const (
	rehearsedWithin = 366 * day
	reportedWithin  = 24 * time.Hour
)

// restoreTests judges whether a backup was opened, and what was in it held, within the last year.
func restoreTests(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Backups that were opened to see whether they can be", "backup|id", "opened|time", "by", "witness|id", "entries|integer", "rows|integer", "ceremony|id")
	var last time.Time
	for _, c := range ev.Backups {
		for _, d := range c.Value.Drills {
			if d.At.After(ev.Now) {
				continue
			}
			if d.At.After(last) {
				last = d.At
			}
			t.Note(control.OK, "", control.Proves(c.Ref), c.Value.ID, control.Time(d.At), list(d.People), d.Witness, control.Int(d.Entries), control.Int(d.Rows), d.Ceremony)
		}
	}
	overdue(t, ev, last, firstCopy(ev), rehearsedWithin, "no backup was opened within the last year", 7)
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   "A backup was opened by a quorum within the last year, and its entries hashed to the signed root.",
		Bad:    "It is not shown that a backup can be opened.",
		Empty:  "There is no backup.",
		Doubt:  "No backup was opened yet, and its time has not run out. When will it be?",
	})
}

func firstCopy(ev *control.Evidence) time.Time {
	var first time.Time
	for _, c := range ev.Backups {
		if c.Value.Status != backup.CopyDeleted && (first.IsZero() || c.Value.At.Before(first)) && !c.Value.At.After(ev.Now) {
			first = c.Value.At
		}
	}
	return first
}

// overdue adds a row where something that is due at an interval was not done: a fault when its time has run out.
func overdue(t *control.Table, ev *control.Evidence, last, since time.Time, within time.Duration, fault string, columns int) {
	if since.IsZero() || (!last.IsZero() && ev.Now.Sub(last) <= within) {
		return
	}
	cells := make([]string, columns)
	if ev.Now.Sub(since) > within {
		t.Add(control.OK, control.Faults{fault}, control.Proof{}, cells...)
		return
	}
	t.Note(control.Attention, "due by "+control.Time(since.Add(within)), control.Proof{}, cells...)
}

// drills judges whether each share set was brought together within the last year.
func drills(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Drills of share sets", "share set|id", "drill|id", "kinds", "result", "finished|time", "present", "missing site", "minutes|integer", "declared (minutes)|integer")
	for _, set := range ev.ShareSets {
		if !set.Value.InForce() || set.Value.IssuedAt.After(ev.Now) {
			continue
		}
		var last time.Time
		for _, d := range ev.Drills {
			v := d.Value
			if v.Set != set.Value.ID || v.FinishedAt.After(ev.Now) {
				continue
			}
			var f control.Faults
			minutes := int(v.FinishedAt.Sub(v.StartedAt) / time.Minute)
			passed := v.Problem == ""
			f.Check(passed || v.Finding != "", "it failed, and nobody owns what follows")
			f.Check(v.RTOMinutes == 0 || minutes <= v.RTOMinutes || v.Finding != "", "it took longer than declared")
			if passed && v.FinishedAt.After(last) {
				last = v.FinishedAt
			}
			t.Add(control.OK, f, control.Proves(set.Ref, d.Ref), v.Set, v.ID, words(v.Kinds), string(v.Result), control.Time(v.FinishedAt), list(v.Attendance), v.Site, control.Int(minutes), control.Int(v.RTOMinutes))
		}
		used := last
		for _, c := range ev.Ceremonies { // shares that were brought in earnest show as much
			if c.Value.ShareSet == set.Value.ID && c.Value.State == "completed" && c.Value.EndedAt != nil && !c.Value.EndedAt.After(ev.Now) && c.Value.EndedAt.After(used) {
				used = *c.Value.EndedAt
			}
		}
		if last.IsZero() && !used.IsZero() && ev.Now.Sub(used) <= rehearsedWithin {
			t.Note(control.Attention, "brought in earnest, not in a drill", control.Proves(set.Ref), set.Value.ID, "", "", "", control.Time(used), "", "", "", "")
			continue
		}
		before := t.Total
		overdue(t, ev, last, set.Value.IssuedAt, rehearsedWithin, "set "+set.Value.ID+" was not brought together within the last year", 9)
		if t.Total > before {
			t.Rows[len(t.Rows)-1].Cells[0] = set.Value.ID
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   "Every share set was brought together in a drill within the last year.",
		Bad:    "A share set was not brought together within a year, or a drill failed and nobody owns what follows.",
		Empty:  "There is no share set.",
		Doubt:  "Some share sets were used and never drilled, or their first drill is not due yet. Which plan says how custodians are reached when a site is missing, and when was it tried?",
	})
}

// emergencyAccess judges what was opened in an emergency: with a reason, by a quorum, for hours, and looked at after.
func emergencyAccess(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Emergency access in the period", "access|id", "for|id", "keys", "operations", "reason", "opened|time", "ended|time", "reviewed|time", "reviewer|id")
	for _, b := range ev.BreakGlass {
		v := b.Value
		if !ev.InPeriod(v.OpenedAt) {
			continue
		}
		proof := control.Proves(b.Ref)
		var f control.Faults
		var reviewedAt time.Time
		reviewer := ""
		if c := ev.Ceremony(v.Ceremony); c != nil {
			proof.Rows = append(proof.Rows, c.Ref)
			f.Check(len(c.Value.Approvers) >= leastApprovals || ev.Instance.Development(), "fewer than two others approved it")
		} else {
			f = append(f, "no ceremony on record opened it")
		}
		i := slices.IndexFunc(ev.Reviews, func(r control.Record[oversight.Review]) bool {
			return r.Value.Ceremony == v.Ceremony && !r.Value.SignedAt.After(ev.Now)
		})
		if i >= 0 {
			proof.Rows = append(proof.Rows, ev.Reviews[i].Ref)
			reviewedAt, reviewer = ev.Reviews[i].Value.SignedAt, ev.Reviews[i].Value.Reviewer
			f.Check(reviewer != v.Principal, "who had it reviewed it")
		}
		f.Check(i >= 0 || ev.Now.Sub(v.EndedAt()) <= 72*time.Hour, "not reviewed within 72 hours of its end")
		f.Check(v.Reason != "", "no reason is on record")
		f.Check(v.ExpiresAt.Sub(v.OpenedAt) <= oversight.MaxBreakGlass, "it lasted longer than four hours")
		t.Add(control.OK, f, proof, v.ID, v.Principal, list(v.Keys), words(v.Operations), v.Reason, control.Time(v.OpenedAt), control.Time(v.EndedAt()), control.Time(reviewedAt), reviewer)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s in the period, with a reason, approved by two others, for at most four hours, and reviewed.", amount.Of(t.Total, "emergency grant")),
		Bad:    fmt.Sprintf("%s not as demanded.", of(t.Violating, t.Total, "emergency grant")),
		Empty:  "No emergency access was opened in the period, so the procedure is not shown at work.",
	})
}

// incidents judges whether what looks like an incident has a finding within a day.
func incidents(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Events that may be incidents", "at|time", "what", "about|id", "finding|id", "owner|id", "opened|time", "closed|time")
	for _, kind := range []string{"key.compromise", "share.report-lost", "share.lost-form", "keystore.secret-exposed", "integrity.violation"} {
		for _, e := range ev.Events.Of(kind) {
			if ev.InPeriod(e.At) {
				addIncident(ev, t, e)
			}
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s in the period, each with a finding within a day.", amount.Of(t.Total, "event")),
		Bad:    fmt.Sprintf("%s without a finding within a day.", of(t.Violating, t.Total, "event")),
		Empty:  "Nothing that looks like an incident was recorded in the period.",
		Unseen: ev.Events.Dropped("key.compromise", "share.report-lost", "integrity.violation"),
	})
}

func addIncident(ev *control.Evidence, t *control.Table, e control.Event) {
	proof := control.Proof{Ledger: []uint64{e.Seq}}
	i := slices.IndexFunc(ev.Findings, func(x control.Record[oversight.Finding]) bool {
		v := x.Value
		about := v.About.ID == e.Target || (e.Ceremony != "" && v.Ceremony == e.Ceremony)
		return about && !v.OpenedAt.Before(e.At.Add(-reportedWithin)) && !v.OpenedAt.After(ev.Now)
	})
	cells := []string{control.Time(e.At), e.Type, e.Target}
	if i < 0 {
		if ev.Now.Sub(e.At) <= reportedWithin {
			t.Note(control.Attention, "its time has not run out", proof, append(cells, "", "", "", "")...)
			return
		}
		t.Add(control.OK, control.Faults{"no finding about it"}, proof, append(cells, "", "", "", "")...)
		return
	}
	x := ev.Findings[i]
	proof.Rows = append(proof.Rows, x.Ref)
	var f control.Faults
	f.Check(x.Value.OpenedAt.Sub(e.At) <= reportedWithin, "its finding came later than a day")
	closed := ""
	if x.Value.ClosedAt != nil {
		closed = control.Time(*x.Value.ClosedAt)
	}
	t.Add(control.OK, f, proof, append(cells, x.Value.ID, x.Value.Owner, control.Time(x.Value.OpenedAt), closed)...)
}

// custody judges the custody log of physical forms: each line signed by two, each form where the register says.
func custody(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Custody log of physical forms of shares, in the period", "at|time", "form|id", "action", "who|id", "witness|id", "old bag", "new bag", "site", "state")
	for _, e := range ev.Custody {
		v := e.Value
		if !ev.InPeriod(v.RecordedAt) {
			continue
		}
		var f control.Faults
		f.Check(v.Facts.Who != v.Facts.Witness, "one person was both")
		f.Check(!v.Late(ev.Now), "the second signature is overdue")
		f.Check(v.State != people.EntryDisputed || v.Finding != "", "disputed, and nobody owns what follows")
		suspicion := v.Facts.Suspicion()
		f.Check(suspicion == "" || v.Finding != "", suspicion)
		t.Add(control.OK, f, control.Proves(e.Ref), control.Time(v.Facts.At), v.Facts.Form, string(v.Facts.Action), v.Facts.Who, v.Facts.Witness, v.Facts.OldSerial, v.Facts.NewSerial,
			v.Facts.Site, string(v.State))
	}
	forms := table("Physical forms of shares", "form|id", "of share", "kind", "state", "site", "container", "bag", "last checked|time")
	for _, x := range ev.ShareForms {
		v := x.Value
		if v.RegisteredAt.After(ev.Now) {
			continue
		}
		checked := ""
		if v.CheckedAt != nil {
			checked = control.Time(*v.CheckedAt)
		}
		forms.Note(control.OK, "", control.Proves(x.Ref), v.ID, people.ShareID(v.Set, v.Epoch, v.Index), string(v.Kind), string(v.State), v.Site, v.Container, v.Serial, checked)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, forms},
		Good:   fmt.Sprintf("%s of the custody log in the period, each signed by two people, with the serials that the register has.", amount.Of(t.Total, "line")),
		Bad:    fmt.Sprintf("%s of the custody log with a gap.", of(t.Violating, t.Total, "line")),
		Empty:  "No physical form of a share is registered: shares exist sealed to their custodians' keys only.",
	})
}

// safeHarbour gathers what speaks for or against the safe harbour for encrypted data. The decision is a lawyer's.
func safeHarbour(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	t := table("Key versions that protected data in the period", "key version|id", "state", "algorithm", "strength (bits)|integer", "module claim", "keystore exposed")
	for _, s := range versions(ev, true) {
		v := s.version.Value
		var f control.Faults
		f.Check(s.state != key.Compromised && !v.CompromisedBeforeDestroy, "it counts as compromised")
		exposed := "no"
		proof := control.Proves(s.version.Ref)
		if ks := ev.Keystore(v.Keystore); ks != nil {
			proof.Rows = append(proof.Rows, ks.Ref)
			if ks.Value.CountsAsCompromised(&v) {
				exposed = "yes"
				f = append(f, "shares that open its keystore are out of control")
			}
		}
		claim := v.FIPSClaim
		state := control.OK
		if claim == "" {
			claim, state = "none", control.Attention
		}
		t.Add(state, f, proof, s.id(), string(s.state), algorithmName(v), control.Int(v.StrengthBits), claim, exposed)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, dataKeys(ev), exportTable(ev)},
		Good:   "No key that protected the data is compromised, none left its keystore in the clear, and no keystore's secret is exposed.",
		Bad:    fmt.Sprintf("%s speak against the safe harbour.", of(t.Violating, t.Total, "key version")),
		Holds:  true,
		Empty:  "No key protected data in the period.",
		Question: "Was the data of the incident encrypted under one of these keys the whole time, was it kept apart from the keys, and is every decryption of the window explained? " +
			"Counsel decides; the guidance (74 FR 19006) names FIPS 140-2, whose certificates are historical now.",
		Unseen: ev.Events.Dropped("key.export"),
	})
}
