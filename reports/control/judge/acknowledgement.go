package judge

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian/amount"
	"conclave/custodian/people"
	"conclave/reports/control"
)

// Acknowledgement judges 3.7.8 for everybody who is a custodian or holds a share.
func Acknowledgement(_ context.Context, ev *control.Evidence) control.Result {
	t := control.NewTable("Custodians and their acknowledgement",
		control.Column{Name: "custodian", Type: control.ID}, control.Column{Name: "name", Type: control.Text},
		control.Column{Name: "form", Type: control.Text}, control.Column{Name: "signed", Type: control.Instant},
		control.Column{Name: "in force until", Type: control.Instant}, control.Column{Name: "first share confirmed", Type: control.Instant})
	holders := map[string]bool{}
	for _, set := range ev.ShareSets {
		for _, s := range ev.CurrentShares(set.Value) {
			holders[s.Value.Custodian] = true
		}
	}
	for _, p := range ev.People {
		if p.Value.Status != people.StatusActive || p.Value.AddedAt.After(ev.Now) {
			continue
		}
		if has(p.Value, people.RoleCustodian) || holders[p.Value.ID] {
			addCustodian(ev, t, p)
		}
	}
	return control.Conclude(control.Finding{
		Tables: []*control.Table{t},
		Good:   fmt.Sprintf("%s, each with a signed acknowledgement that is in force and signed before they held a share.", amount.Of(t.Total, "custodian")),
		Bad:    fmt.Sprintf("Without an acknowledgement in force, or with one signed only after they held a share: %s.", of(t.Violating, t.Total, "custodian")),
		Empty:  "There is no active custodian, so nobody could have accepted the duty.",
	})
}

func addCustodian(ev *control.Evidence, t *control.Table, p control.Record[people.Person]) {
	ack := people.Acknowledgement{}
	proof := control.Proves(p.Ref)
	var f control.Faults
	if a := p.Value.Acknowledgement; a != nil {
		ack = *a
	}
	for _, e := range ev.Events.About(p.Value.ID, "custodian.ack") {
		proof = proof.And(e.Seq)
	}
	if err := people.Acknowledged(&p.Value, ev.Now); err != nil && !renewedSince(ev, p.Value.ID, ack.SignedAt) {
		f = append(f, err.Error())
	}
	first, share := firstConfirmed(ev, p.Value.ID)
	if share != nil {
		proof.Rows = append(proof.Rows, *share)
	}
	if earliest := firstSigned(ev, p.Value.ID, ack.SignedAt); !first.IsZero() && !earliest.IsZero() {
		f.Check(!earliest.After(first), "signed only after a share was confirmed")
	}
	t.Add(control.OK, f, proof, p.Value.ID, p.Value.Name, ack.FormVersion, control.Time(ack.SignedAt), control.Time(ack.ExpiresAt), control.Time(first))
}

// renewedSince says that the acknowledgement in the register is from after the report's instant, and that the
// ledger has an earlier one that was in force then.
func renewedSince(ev *control.Evidence, person string, signed time.Time) bool {
	if !signed.After(ev.Now) {
		return false
	}
	for _, e := range ev.Events.About(person, "custodian.ack") {
		if !e.At.After(ev.Now) && ev.Now.Sub(e.At) < people.AcknowledgementPeriod {
			return true
		}
	}
	return false
}

// firstSigned is the time of a person's first acknowledgement on record.
func firstSigned(ev *control.Evidence, person string, signed time.Time) time.Time {
	for _, e := range ev.Events.About(person, "custodian.ack") {
		if e.At.Before(signed) {
			signed = e.At
		}
	}
	return signed
}

// firstConfirmed is when a person first confirmed a share, and its row; zero and nil for never.
func firstConfirmed(ev *control.Evidence, person string) (first time.Time, share *control.Ref) {
	for _, s := range ev.Shares {
		at := s.Value.ConfirmedAt
		if s.Value.Custodian == person && at != nil && !at.After(ev.Now) && (first.IsZero() || at.Before(first)) {
			first, share = *at, &s.Ref
		}
	}
	return first, share
}
