package judge

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/oversight"
	"conclave/reports/control"
)

// clock judges whether time in the record can be relied on.
func clock(_ context.Context, ev *control.Evidence) control.Result {
	t := table("What happened to the clock in the period", "at|time", "what", "node|id", "confirmed by ceremony|id")
	disagreed := 0
	for _, kind := range []string{"clock.disagrees", "clock.agrees", "clock.confirm"} {
		for _, e := range ev.Events.Of(kind) {
			if !ev.InPeriod(e.At) {
				continue
			}
			state := control.OK
			if kind == "clock.disagrees" {
				disagreed++
				state = control.Attention
			}
			var f control.Faults
			f.Check(kind != "clock.confirm" || ev.Ceremony(e.Ceremony) != nil, "no ceremony stands behind it")
			t.Add(state, f, control.Proof{Ledger: []uint64{e.Seq}}, control.Time(e.At), kind, e.Actor, e.Ceremony)
		}
	}
	order := table("Order of time in the record", "entries of the period|integer", "older than one before|integer", "form")
	if n := total(ev); n > 0 {
		back := ev.Events.Backwards()
		var f control.Faults
		f.Check(back.Count == 0, amount.Of(back.Count, "entry")+" older than one before it")
		order.Add(control.OK, f, control.Proof{Ledger: back.Seqs}, control.Int(n), control.Int(back.Count), "UTC, microseconds")
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, order},
		Good:   "Time in the record is UTC and never goes back; the clock of each node is held against the record and against monotonic time, and a change of it stops executions until a quorum has confirmed it.",
		Bad:    "A change of the clock was not decided on, or time in the record goes back.",
		Empty:  "The period has no entry.",
		Doubt:  fmt.Sprintf("The clock disagreed with the record %s. What was the cause each time, and was it changed by somebody who may?", amount.Of(disagreed, "time")),
		Unseen: ev.Events.Dropped("clock.disagrees", "clock.agrees", "clock.confirm"),
	})
}

// failureKinds are entries that say that a safeguard failed, with those of the same target that say that it works again;
// "" where people say so, by closing a finding about it.
var failureKinds = map[string]string{"integrity.violation": "", "clock.disagrees": "clock.agrees", "placement.drift": "placement.settled", "quorum.worse": "quorum.better"}

// failures judges whether failures of safeguards were noticed and settled.
func failures(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Failures of safeguards in the period", "at|time", "what", "about", "settled|time", "by")
	for _, kind := range slices.Sorted(maps.Keys(failureKinds)) {
		for _, e := range ev.Events.Of(kind) {
			if ev.InPeriod(e.At) {
				addFailure(ev, t, e, failureKinds[kind])
			}
		}
	}
	watch := table("What would notice", "watch", "every")
	if total(ev) > 0 {
		watch.Note(control.OK, "", control.Proof{}, "comparison of all rows with the ledger", "30 s, and at each start")
		watch.Note(control.OK, "", control.Proof{}, "clock against the record; quorum health; placement", "2 s")
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t, watch},
		Good:   recordedFailures(t.Total),
		Bad:    fmt.Sprintf("%s not settled within a day.", of(t.Violating, t.Total, "failure")),
		Holds:  true,
		Empty:  "The period has no entry.",
		Doubt:  "Some failures are not settled yet. For each: what was the cause, what was done meanwhile, was the risk weighed anew, and what keeps it from coming back?",
		Unseen: ev.Events.Dropped(slices.Sorted(maps.Keys(failureKinds))...),
	})
}

func recordedFailures(n int) string {
	switch n {
	case 0:
		return "No failure of a safeguard was recorded in the period."
	case 1:
		return "1 failure was recorded in the period; it is settled, or its time has not run out."
	}
	return fmt.Sprintf("%s recorded in the period; each is settled, or its time has not run out.", amount.Of(n, "failure")+" "+amount.Verb(n, "was", "were"))
}

func addFailure(ev *control.Evidence, t *control.Table, e control.Event, answer string) {
	proof, about := control.Proof{Ledger: []uint64{e.Seq}}, strings.TrimSpace(strings.ReplaceAll(e.TargetType, "_", " ")+" "+e.Target)
	switch {
	case len(e.Quorums.Worse) > 0:
		about = few(e.Quorums.Worse)
	case e.TargetType == "instance":
		about = "this instance"
	}
	what := cmp.Or(failureWords[e.Type], e.Type)
	if at, by, why := settledBy(ev, e, answer); by != "" {
		proof = proof.And(why.Ledger...)
		proof.Rows = append(proof.Rows, why.Rows...)
		t.Add(control.Attention, nil, proof, control.Time(e.At), what, about, control.Time(at), by)
		return
	}
	var f control.Faults
	f.Check(ev.Now.Sub(e.At) <= answerWithin, "not settled")
	t.Add(control.Attention, f, proof, control.Time(e.At), what, about, "", "")
}

// settledBy is when a failure was over, and what shows it.
func settledBy(ev *control.Evidence, e control.Event, answer string) (at time.Time, by string, proof control.Proof) {
	if e.Type == "quorum.worse" {
		return quorumsBack(ev, e)
	}
	if answer != "" {
		for _, a := range ev.Events.Of(answer) {
			if a.At.After(e.At) && !a.At.After(ev.Now) && a.TargetType == e.TargetType && a.Target == e.Target {
				return a.At, a.Type, control.Proof{Ledger: []uint64{a.Seq}}
			}
		}
		return at, "", proof
	}
	about := oversight.Ref{Type: e.TargetType, ID: e.Target}
	for _, x := range ev.Findings {
		closed := x.Value.ClosedAt
		if x.Value.About == about && closed != nil && closed.After(e.At) && !closed.After(ev.Now) {
			return *closed, "finding " + x.Value.ID, control.Proof{Rows: []control.Ref{x.Ref}}
		}
	}
	return at, "", proof
}

// failureWords say what failed, by the type of the entry.
var failureWords = map[string]string{"integrity.violation": "a row contradicted the ledger", "clock.disagrees": "a clock disagreed with the record",
	"placement.drift": "a key lives where it may not", "quorum.worse": "fewer people for an operation than it takes, or none to spare"}

// fewMatters is how many matters a row names; the entry has the rest.
const fewMatters = 4

func few(matters []string) string {
	text := strings.Join(matters[:min(fewMatters, len(matters))], "; ")
	if more := len(matters) - fewMatters; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// quorumsBack is when every matter of which an entry says that it has fewer people than before was said to have more again:
// that another has more settles nothing. Of an entry that does not name all of its matters the rest counts as settled where
// a later one, which does not name all of its own, says that it got better.
func quorumsBack(ev *control.Evidence, e control.Event) (at time.Time, by string, proof control.Proof) {
	open := map[string]bool{}
	for _, line := range e.Quorums.Worse {
		open[control.Matter(line)] = true
	}
	unnamed := e.Quorums.Unnamed
	later := slices.Concat(ev.Events.Of("quorum.better"), ev.Events.Of("quorum.worse"))
	slices.SortFunc(later, func(a, b control.Event) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, a := range later {
		if a.Seq <= e.Seq || a.At.After(ev.Now) || a.TargetType != e.TargetType || a.Target != e.Target {
			continue
		}
		before := len(open)
		for _, line := range a.Quorums.Better {
			delete(open, control.Matter(line))
		}
		rest := unnamed && a.Quorums.Unnamed && a.Type == "quorum.better"
		if rest {
			unnamed = false
		}
		if rest || len(open) < before {
			proof = proof.And(a.Seq)
		}
		if len(open) == 0 && !unnamed {
			return a.At, "the people are there again", proof
		}
	}
	return time.Time{}, "", control.Proof{}
}

// signInFailures shows who failed to prove who they are, and how often.
func signInFailures(_ context.Context, ev *control.Evidence) control.Result {
	t := table("Failed sign-ins in the period, by source", "source|id", "entries|integer", "first|time", "last|time")
	doers := ev.Events.Doers("auth.failure")
	for _, who := range sortedDoers(doers) {
		tally := doers[who]
		n := tally.Allowed + tally.Denied
		state := control.OK
		if n >= burst {
			state = control.Attention
		}
		t.Note(state, "", control.Proof{Ledger: []uint64{tally.First, tally.Last}}, who.ID, control.Int(n), control.Time(tally.FirstAt), control.Time(tally.LastAt))
	}
	if t.Total == 0 && total(ev) > 0 {
		t.Note(control.OK, "", control.Proof{}, "none", "0", "", "")
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   "Failed sign-ins are on record by source, gathered to at most one entry a second; no source failed ten times or more.",
		Empty:  "The period has no entry.",
		Open:   "Failed sign-ins are on record by source, gathered to at most one entry a second; some sources failed ten times or more.",
		Doubt:  "Some sources failed ten times or more. Who was it, was an alert raised, and what came of it?",
	})
}
