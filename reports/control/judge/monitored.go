package judge

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"conclave/custodian/amount"
	"conclave/reports/control"
)

// monitorEvery is how far apart the daily runs may be: a day, and a day's grace (ours).
const monitorEvery = 48 * time.Hour

// monitored judges whether the record was gone over by the program each day, and shows what that found.
func monitored(_ context.Context, ev *control.Evidence) control.Result {
	runs := table("Daily runs of the monitor", "first|time", "last|time", "runs|integer")
	gaps := table("Stretches without a run", "from|time", "to|time", "hours|integer")
	var first, last time.Time
	var proof control.Proof
	n := 0
	gap := func(until time.Time, seqs ...uint64) {
		if d := until.Sub(last); !last.IsZero() && d > monitorEvery {
			gaps.Add(control.OK, control.Faults{"the record was not gone over"}, control.Proof{Ledger: seqs}, control.Time(last), control.Time(until), control.Int(int(d/time.Hour)))
		}
	}
	for _, e := range ev.Events.Of("monitor.run") {
		if !ev.InPeriod(e.At) || e.At.After(ev.Now) {
			continue
		}
		gap(e.At, e.Seq)
		if n++; n == 1 {
			first, proof = e.At, proof.And(e.Seq)
		}
		last = e.At
	}
	if ev.Ahead.IsZero() {
		gap(ev.Now)
	} else {
		gap(ev.Ahead) // it runs by itself
	}
	if n > 0 {
		runs.Note(control.OK, "", proof, control.Time(first), control.Time(last), control.Int(n))
	}
	alerts := table("Alerts of its rules in the period", "at|time", "rule|id", "what it found")
	for _, e := range ev.Events.Of("monitor.alert") {
		if ev.InPeriod(e.At) {
			alerts.Note(control.Info, "", control.Proof{Ledger: []uint64{e.Seq}}, control.Time(e.At), e.Target, cmp.Or(e.Subject, e.Reason))
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{gaps, runs, alerts},
		Good:   fmt.Sprintf("The program went over the record and every control in %s, at most two days apart; its rules watch each entry as it comes.", amount.Of(n, "daily run")),
		Bad:    fmt.Sprintf("%s of more than two days without a run.", amount.Of(gaps.Violating, "stretch")),
		Empty:  "No daily run of the monitor is on record in the period.",
		Unseen: ev.Events.Dropped("monitor.run"),
	})
}
