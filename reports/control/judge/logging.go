package judge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/reports/control"
)

// Bounds on the record (ours; PCI DSS 4.0.1 has "promptly" in 10.3.3 and twelve months in 10.5.1).
const (
	copyWithin   = 24 * time.Hour // age of the newest copy on another system
	burst        = 10             // failed sign-ins from one source that somebody is to look at
	answerWithin = 24 * time.Hour // from a failure to what settles it
)

// recorded judges whether what a control wants logged is: each type named by it, in the period. An entry is committed
// before its call is answered, so that whatever happened is there; a type without entries did not happen.
func recorded(c control.Control) control.Evaluator {
	return func(_ context.Context, ev *control.Evidence) control.Result {
		t := table("Entries of the period, by type", "type", "entries|integer")
		counts := ev.Events.Counts()
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			if slices.ContainsFunc(c.Evidence.Events, func(p string) bool { return matches(p, name) }) {
				t.Note(control.OK, "", control.Proof{Ledger: examples(ev, name)}, name, control.Int(counts[name]))
			}
		}
		signs := damage(ev)
		return control.Conclude(control.Finding{
			Tables: []*control.Table{signs, t},
			Good:   fmt.Sprintf("%s of entry that this control asks for occurred in the period, and each is on record with its entries counted; the ledger shows no sign of being edited.", amount.Of(t.Total, "type")),
			Bad:    "The record shows signs of having been edited.",
			Empty:  "Nothing of what is to be logged occurred in the period, so logging is not shown at work.",
			Unseen: ev.Events.Dropped("integrity.violation"),
		})
	}
}

// refusals judges whether refused and failed tries are on record: by the entries that record one.
func refusals(_ context.Context, ev *control.Evidence) control.Result {
	t, signs := refusedTable(ev), damage(ev)
	if n := ev.Events.Counts()["auth.failure"]; n > 0 {
		t.Note(control.OK, "", control.Proof{Ledger: examples(ev, "auth.failure")}, "failed sign-ins: auth.failure", control.Int(n))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{signs, t},
		Good:   "Refused and failed tries of the period are on record, counted below by what was tried; the ledger shows no sign of being edited.",
		Bad:    "The record shows signs of having been edited.",
		Empty:  "Nothing was refused in the period and no sign-in failed, so it is not shown that such tries leave a trace.",
		Unseen: ev.Events.Dropped("integrity.violation"),
	})
}

// refusedTable counts what was refused in the period. Uses of keys are counted one by one, also within a batch.
func refusedTable(ev *control.Evidence) *control.Table {
	t := table("Requests that were refused in the period", "what was tried", "refused|integer")
	var uses control.Proof
	denied, refused := 0, ev.Events.Refused()
	for _, tally := range ev.Events.Doers(control.Uses) {
		denied += tally.Denied
	}
	for _, kind := range slices.Sorted(maps.Keys(refused)) {
		if l := refused[kind]; strings.HasPrefix(kind, control.Uses) {
			uses = uses.And(l.Seqs...)
		} else if kind != "auth.failure" {
			t.Note(control.OK, "", control.Proof{Ledger: l.Seqs}, kind, control.Int(l.Count))
		}
	}
	if denied > 0 {
		t.Note(control.OK, "", uses, "use of a key: "+control.Uses+"*", control.Int(denied))
	}
	return t
}

// matches: "key.use.*" stands for every type that begins so.
func matches(pattern, name string) bool {
	if prefix, any := strings.CutSuffix(pattern, "*"); any {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// examples are the first and the last kept entry of a type in the period.
func examples(ev *control.Evidence, kind string) []uint64 {
	var out []uint64
	for _, e := range ev.Events.Of(kind) {
		if ev.InPeriod(e.At) {
			out = append(out, e.Seq)
		}
	}
	if len(out) > 2 {
		out = []uint64{out[0], out[len(out)-1]}
	}
	return out
}

func fieldsSummary(total, rolled int) string {
	if rolled > 0 {
		return fmt.Sprintf("Of %d entries of the period all that were read one by one have all six fields.", total)
	}
	return fmt.Sprintf("Each of %s of the period has all six fields.", amount.Of(total, "entry"))
}

// recordFields judges whether each entry of the period says who, what, when, with what outcome, from where, on what.
func recordFields(_ context.Context, ev *control.Evidence) control.Result {
	total := 0
	for _, n := range ev.Events.Counts() {
		total += n
	}
	t := table("Fields of every entry of the period", "field", "entries with it|integer", "entries without it|integer")
	for _, field := range []string{"user", "type of event", "date and time", "success or failure", "origination", "what was affected"} {
		if total == 0 {
			break
		}
		l := ev.Events.Lacking()[field]
		if l == nil {
			t.Note(control.OK, "", control.Proof{}, field, control.Int(total), "0")
			continue
		}
		t.Add(control.OK, control.Faults{"missing in " + amount.Of(l.Count, "entry")}, control.Proof{Ledger: l.Seqs}, field, control.Int(total-l.Count), control.Int(l.Count))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fieldsSummary(total, ev.Events.Rolled()),
		Unseen: ev.Events.Rolled(),
		Bad:    "Some entries of the period lack a field.",
		Empty:  "The period has no entry.",
	})
}

// readers shows who read the record, and judges whether each is somebody who may.
func readers(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Who read the record in the period", "reader|id", "kind", "what", "times|integer", "refused|integer", "last|time")
	for _, kind := range []string{"ledger.read", "report.create", "decision.explain"} {
		doers := ev.Events.Doers(kind)
		for _, who := range sortedDoers(doers) {
			tally := doers[who]
			var f control.Faults
			proof := control.Proof{Ledger: []uint64{tally.First, tally.Last}}
			if p := ev.Person(who.ID); p != nil {
				proof.Rows = append(proof.Rows, p.Ref)
			} else {
				f.Check(tally.Allowed == 0 || !oneOf(who.Kind, "human", "auditor"), "nobody in the register")
				f.Check(tally.Allowed == 0 || who.Kind != "application", "an application read the record")
			}
			t.Add(control.OK, f, proof, who.ID, who.Kind, kind, control.Int(tally.Allowed), control.Int(tally.Denied), control.Time(tally.LastAt))
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s on record; every reader is in the register, and the roles that policy names are the only ones let in.", amount.Of(t.Total, "reader")),
		Bad:    fmt.Sprintf("%s who should not have read the record.", of(t.Violating, t.Total, "reader")),
		Empty:  "Nobody read the record in the period.",
	})
}

func sortedDoers(doers map[control.Doer]*control.Tally) []control.Doer {
	return slices.SortedFunc(maps.Keys(doers), func(a, b control.Doer) int {
		return strings.Compare(a.Kind+"\x00"+a.ID+"\x00"+a.What, b.Kind+"\x00"+b.ID+"\x00"+b.What)
	})
}

// logIntegrity judges whether the record is as it was written. That rows are compared with the ledger at each start, and
// every half minute after that, is what would notice; the bundle lets anybody check the ledger itself.
func logIntegrity(_ context.Context, ev *control.Evidence) control.Result {
	signs := damage(ev)
	starts := table("Comparisons of all rows with the ledger", "at|time", "node|id", "what")
	for _, e := range ev.Events.Of("node.start") {
		if ev.InPeriod(e.At) {
			starts.Note(control.OK, "", control.Proof{Ledger: []uint64{e.Seq}}, control.Time(e.At), e.Actor, "start of the node")
		}
	}
	here := table("This report's own comparison", "entries|integer", "rows that contradict the ledger|integer")
	if n := total(ev); n > 0 {
		here.Note(control.OK, "", control.Proof{}, control.Int(n), control.Int(len(ev.Damaged)))
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{signs, here, starts},
		Good:   "No row contradicts the ledger, and no violation was recorded in the period. An edited entry would not hash to the signed root.",
		Bad:    fmt.Sprintf("%s of an edited record.", amount.Of(signs.Violating, "sign")),
		Empty:  "The period has no entry.",
		Unseen: ev.Events.Dropped("integrity.violation"),
	})
}

func total(ev *control.Evidence) int {
	n := 0
	for _, c := range ev.Events.Counts() {
		n += c
	}
	return n
}

// backups judges whether the record and the keys exist a second time, lately, and opened by a quorum only.
func backups(_ context.Context, ev *control.Evidence) control.Result {
	plans := table("Schedules of backups", "schedule|id", "every (minutes)|integer", "directory", "kept|integer", "opened by shares of|id", "newest copy|time", "entries in it|integer")
	for _, s := range ev.Schedules {
		if s.Value.CreatedAt.After(ev.Now) {
			continue
		}
		addSchedule(ev, plans, s)
	}
	missing := table("What is missing", "what")
	if plans.Total == 0 && len(ev.Keys) > 0 {
		missing.Add(control.OK, control.Faults{"no backup is scheduled"}, control.Proof{}, "a copy on another system")
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{missing, plans},
		Good:   "Copies are made on schedule, the newest within the last day or its schedule, encrypted to a key that exists only as shares.",
		Bad:    "No copy exists elsewhere that is young enough.",
		Holds:  true,
		Empty:  "There is nothing to copy.",
		Doubt:  "Is each directory listed here on another system than the service, with other administrators, and can what lies there not be overwritten?",
	})
}

func addSchedule(ev *control.Evidence, t *control.Table, s control.Record[backup.Schedule]) {
	proof := control.Proves(s.Ref)
	var newest control.Record[backup.Copy]
	for _, c := range ev.Backups {
		if c.Value.Schedule == s.Value.ID && !c.Value.At.After(ev.Now) && c.Value.At.After(newest.Value.At) && c.Value.Status != backup.CopyDeleted {
			newest = c
		}
	}
	var f control.Faults
	within := max(copyWithin, 2*time.Duration(s.Value.EveryMinutes)*time.Minute)
	if newest.Ref.ID == "" {
		f.Check(ev.Now.Sub(s.Value.CreatedAt) <= within, "no copy was made by it")
	} else {
		proof.Rows = append(proof.Rows, newest.Ref)
		f.Check(ev.Now.Sub(newest.Value.At) <= within, "its newest copy is too old")
	}
	t.Add(control.Attention, f, proof, s.Value.ID, control.Int(s.Value.EveryMinutes), s.Value.Directory, control.Int(s.Value.Keep),
		fmt.Sprintf("%s, epoch %d", s.Value.ShareSet, s.Value.Epoch), control.Time(newest.Value.At), control.Int(newest.Value.Size))
}

// reviewed judges a review that is due at an interval: daily of the log for PCI DSS, at the interval that a risk analysis
// sets for others. The control's title says of what.
func reviewed(c control.Control) control.Evaluator {
	within := 24*time.Hour + 24*time.Hour // each day, within a day of its end
	switch {
	case strings.HasPrefix(c.ID, "164."):
		within = 7 * day // "regularly" has no number; ours
	case c.ID == "10.4.2.1", c.ID == "7.2.5.1":
		within = accessReviewIn
	case strings.HasPrefix(c.ID, "12.3."), c.ID == "AU-2":
		within = 366 * day
	}
	return func(_ context.Context, ev *control.Evidence) control.Result {
		t := reviewsOf(ev, c.ID, within, strings.ToLower(c.Title[:1])+c.Title[1:], oldest(ev))
		days := uncovered(ev, c.ID, within)
		tables := []*control.Table{days, t}
		if daily(c.ID) && len(ev.LogDays) > 0 {
			tables = []*control.Table{logDays(ev, c.ID), statementsOnly(ev, c.ID)}
		}
		return control.Conclude(control.Finding{
			Tables: tables,
			Good:   "Every stretch of the period was reviewed by a named person, who signed.",
			Bad:    fmt.Sprintf("No signed review within %d days, or days of the period that no review covers.", int(within/day)),
			Empty:  "No review is on record, and none is late.",
			Open:   "What was due so far is not late, and a review is still to be made: see the rows marked attention.",
			Doubt:  "A review is not due yet. Who makes it, and when?",
		})
	}
}

// uncovered lists the stretches of the period, longer than the interval, that no signed review covers.
func uncovered(ev *control.Evidence, id string, within time.Duration) *control.Table {
	t := table("Stretches of the period that no review covers", "from|time", "to|time", "days|integer")
	var spans []oversight.Attestation
	for _, a := range ev.Attestations {
		if v := a.Value; v.Kind == oversight.AttestReview && v.Serves(ev.Framework, id) && v.CoversFrom != nil && !v.SignedAt.After(ev.Now) && !withdrawn(v, ev.Now) {
			spans = append(spans, v)
		}
	}
	if len(spans) == 0 {
		return t
	}
	slices.SortFunc(spans, func(a, b oversight.Attestation) int { return a.CoversFrom.Compare(*b.CoversFrom) })
	at := ev.From
	if first := oldest(ev); first.After(at) {
		at = first
	}
	gap := func(until time.Time) {
		if until.Sub(at) > within {
			t.Add(control.OK, control.Faults{"nobody reviewed it"}, control.Proof{}, control.Time(at), control.Time(until), control.Int(int(until.Sub(at)/day)))
		}
	}
	for _, s := range spans {
		if s.CoversFrom.After(at) {
			gap(*s.CoversFrom)
		}
		if s.CoversTo.After(at) {
			at = *s.CoversTo
		}
	}
	gap(ev.Now)
	return t
}

// findings judges whether what was found has an owner and an outcome in time.
func findings(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Findings", "finding|id", "title", "source", "about", "owner|id", "opened|time", "due|time", "closed|time", "closed by|id", "evidence")
	for _, x := range ev.Findings {
		v := x.Value
		if v.OpenedAt.After(ev.Now) {
			continue
		}
		closed := time.Time{}
		if v.ClosedAt != nil && !v.ClosedAt.After(ev.Now) {
			closed = *v.ClosedAt
		}
		if !closed.IsZero() && closed.Before(ev.From) {
			continue
		}
		var f control.Faults
		f.Check(v.Owner != "", "nobody owns it")
		f.Check(!closed.IsZero() || !ev.Now.After(v.DueAt), "open past its date")
		f.Check(closed.IsZero() || v.ClosedBy != v.Owner, "its owner closed it")
		f.Check(closed.IsZero() || v.Evidence != "", "closed without evidence")
		t.Add(control.OK, f, control.Proves(x.Ref), v.ID, v.Title, string(v.Source), v.About.String(), v.Owner, control.Time(v.OpenedAt), control.Time(v.DueAt),
			control.Time(closed), v.ClosedBy, v.Evidence)
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s open in the period, each with an owner and a date; none is late, and whatever is closed was closed by another, with evidence.", amount.Of(t.Total, "finding")),
		Bad:    fmt.Sprintf("%s late, without an owner, or closed by it.", of(t.Violating, t.Total, "finding")),
		Empty:  "No finding was open in the period, so it is not shown what becomes of one.",
	})
}

// retention judges whether the record is kept as long as it must be, and all of it is at hand.
func retention(_ context.Context, ev *control.Evidence) control.Result {
	hipaa := slices.ContainsFunc(ev.Keys, func(k control.Record[key.Key]) bool { return oversight.HIPAA(&k.Value) })
	t := table("How long records are kept", "class|id", "days|integer", "at hand (days)|integer", "least that is demanded|integer", "decided by|id")
	for _, class := range oversight.Classes() {
		r := oversight.DefaultRetention(class)
		proof := control.Proof{}
		for _, g := range ev.Retentions {
			if g.Value.Class == class && !g.Value.ChangedAt.After(ev.Now) {
				r, proof = g.Value, control.Proves(g.Ref)
			}
		}
		now := r.Effective(hipaa)
		var f control.Faults
		f.Check(now.Days >= oversight.Least(hipaa), "kept too short")
		f.Check(now.ImmediateDays >= oversight.LeastImmediate, "too little of it is at hand")
		by := r.ChangedBy
		if by == "" {
			by = "the default"
		}
		t.Add(control.OK, f, proof, string(class), control.Int(now.Days), control.Int(now.ImmediateDays), control.Int(oversight.Least(hipaa)), by)
	}
	first := table("How far back the record reaches", "first entry", "at|time")
	for _, e := range ev.Events.Of("genesis") {
		first.Note(control.OK, "", control.Proof{Ledger: []uint64{e.Seq}}, "genesis", control.Time(e.At))
	}
	archived := segments(ev)
	good := "Records are kept at least as long as demanded, and the whole ledger is in the database."
	if archived.Total > 0 {
		good = "Records are kept at least as long as demanded. What is not in the database any more was archived by ceremonies, not before its time, and is read and proven from there."
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, archived, first},
		Good:   good,
		Bad:    "Records are kept too short, or were archived or deleted too soon.",
	})
}
