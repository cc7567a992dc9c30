package judge

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// confirmWithin is how long a share may be on its way: from issue to the custodian's confirmation (ours).
const confirmWithin = 30 * day

// Distribution judges 3.7.2.
func Distribution(_ context.Context, ev *control.Evidence) control.Result {
	if r, out := outOfScope(ev); out {
		return r
	}
	shares := control.NewTable("Shares on their way to custodians",
		control.Column{Name: "share", Type: control.ID}, control.Column{Name: "custodian", Type: control.ID},
		control.Column{Name: "status", Type: control.Text}, control.Column{Name: "sealed to them", Type: control.Text},
		control.Column{Name: "issued", Type: control.Instant}, control.Column{Name: "confirmed", Type: control.Instant})
	for _, set := range ev.ShareSets {
		for _, s := range ev.CurrentShares(set.Value) {
			addShare(ev, shares, s)
		}
	}
	exports, handed := exportTable(ev), dataKeys(ev)
	return control.Conclude(control.Finding{
		Tables: []*control.Table{shares, exports, handed},
		Good:   fmt.Sprintf("%s of current epochs, each recorded as sealed to its custodian; no key was exported in the clear.", amount.Of(shares.Total, "share")),
		Bad: fmt.Sprintf("%s not shown to have arrived safely; %s in the clear.",
			of(shares.Violating, shares.Total, "share"), of(exports.Violating, exports.Total, "export")),
		Holds:  true,
		Empty:  "No share and no key was distributed, so nothing is shown.",
		Doubt:  "Some shares were issued within the last 30 days and are not confirmed yet. Have they reached their custodians?",
		Unseen: ev.Events.Dropped("key.export"),
	})
}

func addShare(ev *control.Evidence, t *control.Table, s control.Record[people.Share]) {
	share := s.Value
	var f control.Faults
	proof := []control.Ref{s.Ref}
	p := ev.Person(share.Custodian)
	if p != nil {
		proof = append(proof, p.Ref)
	}
	f.Check(p != nil, "its custodian is not in the register")
	f.Check(share.Sealed != "", "not recorded as sealed")
	f.Check(len(share.Commitment) > 0, "no commitment, so a wrong share would not be recognised")
	var confirmed time.Time
	if share.ConfirmedAt != nil && !share.ConfirmedAt.After(ev.Now) {
		confirmed = *share.ConfirmedAt
	}
	state := control.OK
	switch late := share.IssuedAt.Add(confirmWithin); {
	case !confirmed.IsZero():
		f.Check(!confirmed.After(late), "confirmed later than 30 days after issue")
	case ev.Now.After(late):
		f = append(f, "not confirmed within 30 days of issue")
	default:
		state = control.Attention
	}
	proof2 := control.Proves(proof...)
	for _, e := range ev.Events.About(s.Ref.ID, "share.issue", "share.confirm") {
		proof2 = proof2.And(e.Seq)
	}
	t.Add(state, f, proof2, s.Ref.ID, share.Custodian, string(share.Status), yes(share.Sealed != ""), control.Time(share.IssuedAt), control.Time(confirmed))
}

// dataKeys shows, as context, what each key version handed out in the period; each call was authorised by a
// grant before it was answered.
func dataKeys(ev *control.Evidence) *control.Table {
	t := control.NewTable("What applications asked of each key version in the period",
		control.Column{Name: "key version", Type: control.ID}, control.Column{Name: "protecting calls", Type: control.Integer},
		control.Column{Name: "decryptions", Type: control.Integer}, control.Column{Name: "refused", Type: control.Integer})
	for _, s := range versions(ev, true) {
		u := ev.Events.UseOf(s.version.Value)
		if u.Protects+u.Processes+u.Denied == 0 {
			continue
		}
		t.Note(control.Info, "", control.Proof{Ledger: []uint64{u.First, u.Last}}, s.id(), control.Int(u.Protects), control.Int(u.Processes), control.Int(u.Denied))
	}
	return t
}
