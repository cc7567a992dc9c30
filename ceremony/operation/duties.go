package operation

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// duty is one line of what must follow, with its fact.
type duty struct{ people.Duty }

func (d duty) line() Line {
	return Line{Label: "must follow", After: fmt.Sprintf("%s, until %s", d.Task, d.DueAt.UTC().Format(time.RFC3339))}
}

// followUps is what must follow when a person leaves, is about to, stops being a custodian or lost the key to their
// shares: nothing that their facts do not ask for. Clocks are those of ceremony practice.
func followUps(view *store.View, p *people.Person, cause string, in Input, seen []*key.Key) []duty {
	var out []duty
	add := func(kind people.DutyKind, subject string, clock time.Duration, control, format string, args ...any) *people.Duty {
		d := people.Duty{Kind: kind, Person: p.ID, Cause: cause, Subject: subject, Task: fmt.Sprintf(format, args...), Control: control,
			OpenedAt: in.Now, OpenedBy: in.Ceremony, DueAt: in.Now.Add(clock), ID: dutyID(in.Ceremony, kind, p.ID, subject)}
		out = append(out, duty{d})
		return &out[len(out)-1].Duty
	}
	for _, s := range heldShares(view, p.ID) {
		shareDuty(view, p, cause, s, add)
	}
	if cause == people.CauseRole || cause == people.CauseDevice {
		return out
	}
	for _, k := range seen {
		add(people.DutyCleartext, k.ID, people.ClockLeaving, "pci-dss-4.0.1:3.7.5", "replace key %s, whose cleartext %s saw", k.ID, p.ID).Version = k.Versions
	}
	for _, kind := range []dutyOfKind{
		{people.DutyTokens, people.ClockAccess, "pci-dss-4.0.1:8.2.5", "revoke and replace tokens that were shown to %s"},
		{people.DutyInvitations, people.ClockAccess, "pci-dss-4.0.1:8.2.5", "withdraw invitations that %s opened"},
		{people.DutyGrants, people.ClockLeaving, "pci-dss-4.0.1:7.2.4", "look through the grants that %s asked for"},
		{people.DutyKeys, people.ClockLeaving, "pci-dss-4.0.1:3.6.1.2", "give the keys that %s owns to somebody else (ownership.transfer)"},
		{people.DutyApplications, people.ClockLeaving, "pci-dss-4.0.1:7.2.5", "give the applications that %s owns to somebody else (ownership.transfer)"},
		{people.DutyKeystores, people.ClockLeaving, "pci-dss-4.0.1:3.6.1.2", "give the keystores that %s controls to somebody else (ownership.transfer)"},
		{people.DutyBackups, people.ClockLeaving, "pci-dss-4.0.1:3.6.1.3", "name another backup for those whom %s stands in for (custodian.alter)"},
		{people.DutyReports, people.ClockLeaving, "nist-800-53r5:AC-5", "name another manager for those who report to %s (custodian.alter)"},
	} {
		probe := people.Duty{Kind: kind.kind, Person: p.ID, OpenedAt: in.Now}
		if n := len(Outstanding(view, &probe)); n > 0 {
			add(kind.kind, "", kind.clock, kind.control, kind.task, p.ID)
		}
	}
	return out
}

// dutyOfKind is a duty about everything of a kind that goes back to a person.
type dutyOfKind struct {
	kind    people.DutyKind
	clock   time.Duration
	control string
	task    string
}

type addDuty func(kind people.DutyKind, subject string, clock time.Duration, control, format string, args ...any) *people.Duty

// shareDuty is what becomes of one share: re-issued soon, sooner where others of the set are leaving too, and at once
// where those who left could open the set together.
func shareDuty(view *store.View, p *people.Person, cause string, s *people.Share, add addDuty) {
	id := people.ShareID(s.Set, s.Epoch, s.Index)
	if cause == people.CauseDevice {
		add(people.DutyShareKey, id, people.ClockDevice, "pci-dss-4.0.1:3.7.5", "have share %s moved to the new key, proven readable or re-issued: it is sealed to a key that %s lost", id, p.ID)
		return
	}
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, s.Set)
	away := gone(view, s.Set, p.ID)
	switch {
	case err == nil && away >= set.Threshold:
		add(people.DutyShare, id, 0, "pci-dss-4.0.1:3.7.5", "%d shares of set %s are with people who left, enough to open it: replace the keys of keystore %s and re-issue share %s", away, s.Set, set.Keystore, id)
	case away > 1:
		add(people.DutyShare, id, people.ClockTogether, "pci-dss-4.0.1:3.7.5", "collect share %s of %s and re-issue set %s: %d of its holders left", id, p.ID, s.Set, away)
	default:
		add(people.DutyShare, id, people.ClockLeaving, "pci-dss-4.0.1:3.7.5", "collect share %s of %s and re-issue set %s", id, p.ID, s.Set)
	}
}

// heldShares are the shares of a person that can still be brought.
func heldShares(view *store.View, person string) (out []*people.Share) {
	for _, s := range store.All[people.Share](view, custodian.KindShare) {
		if s.Custodian == person && usable(view, s) {
			out = append(out, s)
		}
	}
	return out
}

func usable(view *store.View, s *people.Share) bool {
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, s.Set)
	return err == nil && s.Usable(set)
}

// gone counts the shares of a set that are out of control: lost, or of holders who left or are about to, with this
// person among them.
func gone(view *store.View, set, leaving string) int {
	n, find := 0, register(view)
	away := map[string]bool{leaving: true}
	for _, d := range store.All[people.Duty](view, custodian.KindDuty) {
		if d.Open() && d.Kind == people.DutyShare && d.Cause != people.CauseRole {
			away[d.Person] = true
		}
	}
	row, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, set)
	if err != nil {
		return 0
	}
	for _, s := range shareRows(view, set) {
		p := find(s.Custodian)
		left := p != nil && p.Status == people.StatusLeft
		if s.Epoch == row.Epoch && (s.Status == people.ShareLost || (s.Usable(row) && (away[s.Custodian] || left))) {
			n++
		}
	}
	return n
}

// dutyID is the same for the same line of the same ceremony, and for nothing else.
func dutyID(ceremony string, kind people.DutyKind, person, subject string) string {
	h := sha256.New()
	for _, part := range []string{"conclave duty", ceremony, string(kind), person, subject} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return "d-" + strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:16]
}

// openDuties records duties, each with its entry. One about the same thing that is open already stays the one, and
// gets the shorter clock.
func openDuties(a acting, tx *store.Tx, duties []duty) ([]string, error) {
	ids := []string{}
	for _, d := range duties {
		d.OpenedAt, d.DueAt = a.at, a.at.Add(d.DueAt.Sub(d.OpenedAt))
		for _, o := range store.All[people.Duty](tx.View(), custodian.KindDuty) {
			if o.Open() && o.Same(&d.Duty) {
				d.ID, d.OpenedAt, d.OpenedBy, d.Version = o.ID, o.OpenedAt, o.OpenedBy, o.Version
				if o.DueAt.Before(d.DueAt) {
					d.DueAt = o.DueAt
				}
			}
		}
		if err := d.Validate(); err != nil {
			return nil, err
		}
		e := a.event("duty.open", ledger.Target{Type: "duty", ID: d.ID}, map[string]any{"kind": d.Kind, "person": d.Person, "subject": d.Subject,
			"due_at": d.DueAt.UTC().Format(time.RFC3339), "task": d.Task})
		if err := a.put(tx, custodian.KindDuty, d.ID, d.Duty, e); err != nil {
			return nil, err
		}
		ids = append(ids, d.ID)
	}
	return ids, nil
}

// maxOutstanding bounds what is listed of one duty; more is told as a number by asking again later.
const maxOutstanding = 100

// Outstanding lists what a duty still asks for, by the facts of a view: ids, sorted, at most 100. None: it is done.
func Outstanding(view *store.View, d *people.Duty) []string {
	var out []string
	switch d.Kind {
	case people.DutyShare, people.DutyShareKey:
		out = outstandingShare(view, d)
	case people.DutyCleartext:
		out = outstandingKey(view, d)
	case people.DutyTokens, people.DutyInvitations, people.DutyGrants, people.DutyEnrolments:
		out = outstandingAccess(view, d)
	case people.DutyKeys:
		out = idsOf(view, custodian.KindKey, func(k *key.Key) (string, bool) { return k.ID, k.Owner == d.Person })
	case people.DutyApplications:
		out = idsOf(view, custodian.KindApplication, func(x *access.Application) (string, bool) { return x.ID, x.Owner == d.Person })
	case people.DutyKeystores:
		out = idsOf(view, custodian.KindKeystore, func(ks *key.Keystore) (string, bool) {
			return ks.ID, ks.Controller == d.Person && ks.Status == key.KeystoreRegistered
		})
	case people.DutyBackups:
		out = idsOf(view, custodian.KindPerson, func(p *people.Person) (string, bool) {
			return p.ID, p.Backup == d.Person && p.Status != people.StatusLeft
		})
	case people.DutyReports:
		out = idsOf(view, custodian.KindPerson, func(p *people.Person) (string, bool) {
			return p.ID, p.Manager == d.Person && p.Status != people.StatusLeft
		})
	}
	return out[:min(len(out), maxOutstanding)]
}

func idsOf[T any](view *store.View, kind store.Kind, pick func(*T) (string, bool)) (out []string) {
	for _, v := range store.All[T](view, kind) {
		if id, ok := pick(v); ok {
			out = append(out, id)
		}
	}
	return out
}

// outstandingShare: a share is done with when it can no longer be brought, or is somebody else's; one sealed to a
// lost key also when its holder has proven since that they can open it.
func outstandingShare(view *store.View, d *people.Duty) []string {
	s, _, err := store.Get[people.Share](view, custodian.KindShare, d.Subject)
	if err != nil || !usable(view, s) || s.Custodian != d.Person {
		if err != nil { // not to be believed, or gone in a way that nobody recorded: a person looks
			return []string{d.Subject}
		}
		return nil
	}
	if d.Kind == people.DutyShareKey {
		for _, at := range []*time.Time{s.ConfirmedAt, s.DrilledAt} {
			if at != nil && at.After(d.OpenedAt) {
				return nil
			}
		}
	}
	return []string{d.Subject}
}

// outstandingKey: the cleartext seen is of versions up to the newest of then; the key is replaced when none of them
// protects or could again.
func outstandingKey(view *store.View, d *people.Duty) []string {
	for n := uint32(1); n <= d.Version; n++ {
		v, _, err := store.Get[key.Version](view, custodian.KindKeyVersion, key.VersionID(d.Subject, n))
		if err != nil || v.State == key.Active || v.State == key.Suspended || v.State == key.PreActivation {
			return []string{d.Subject}
		}
	}
	return nil
}

// Duties lists duties, open ones first, those due soonest first.
func Duties(view *store.View, open bool) []*people.Duty {
	var out []*people.Duty
	for _, d := range store.All[people.Duty](view, custodian.KindDuty) {
		if !open || d.Open() {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b *people.Duty) int {
		return cmp.Or(-cmp.Compare(btoi(a.Open()), btoi(b.Open())), a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID))
	})
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
