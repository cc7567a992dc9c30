package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

type shareLostParams struct {
	Set     string `json:"set"`
	Epoch   uint32 `json:"epoch"`
	Index   int    `json:"index"`
	Exposed bool   `json:"exposed"` // somebody else may have seen it
	Note    string `json:"note"`
}

// shareLost is a holder's own report. The share counts no more from the commit on, the incident is on record with what
// is due by when, and lost shares that make a quorum flag the keystore's keys.
type shareLost struct{}

func (shareLost) Name() string { return "share.report-lost" }

// lostShare is what a report is about.
type lostShare struct {
	shareLostParams
	set   *people.ShareSet
	share *people.Share
	row   store.Row
	lines []*people.Share // of the set, the reported one as it will be
}

func (shareLost) read(view *store.View, in Input, at time.Time) (*lostShare, error) {
	p, err := decode[shareLostParams](in)
	if err != nil {
		return nil, err
	}
	l := &lostShare{shareLostParams: p}
	return l, l.find(view, at)
}

// find reads the share and says how the set would stand without it.
func (l *lostShare) find(view *store.View, at time.Time) (err error) {
	p := l.shareLostParams
	if l.set, _, err = setRow(view, "set", p.Set); err != nil {
		return err
	}
	if err := key.First([]error{
		key.CheckRange("index", p.Index, 1, people.MaxShares, "(shares count from 1)"),
		key.CheckRange("epoch", int(p.Epoch), 1, 1<<31-1, "(epochs count from 1)"),
		key.CheckText("note", p.Note, maxReason, true),
	}); err != nil {
		return err
	}
	id := people.ShareID(p.Set, p.Epoch, p.Index)
	if l.share, l.row, err = store.Get[people.Share](view, custodian.KindShare, id); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = unknown("index", id, "share")
		}
		return err
	}
	for _, s := range shareRows(view, p.Set) {
		if s.Epoch == p.Epoch && s.Index == p.Index {
			s.Status, s.LostAt, s.Exposed = people.ShareLost, &at, p.Exposed
		}
		l.lines = append(l.lines, s)
	}
	return nil
}

// Clocks of ceremony practice, section 6 (ours).
const (
	assessLoss     = 5 * key.Day
	assessExposure = key.Day
)

// due says what follows from the loss and by when.
func (l *lostShare) due(at time.Time) (action string, by time.Time, lost, threshold int) {
	epoch := *l.set
	if now, ok := l.set.At(l.Epoch); ok {
		epoch = *now
	} else {
		for _, old := range l.set.OldEpochs(l.lines) {
			if old.Epoch == l.Epoch {
				epoch.Threshold = old.Threshold
			}
		}
	}
	usable := 0
	for _, s := range l.lines {
		if s.Epoch == l.Epoch && s.Status == people.ShareLost {
			lost++
		}
		if s.Usable(&epoch) {
			usable++
		}
	}
	current := l.set.InForce() && l.Epoch == l.set.Epoch
	switch {
	case current && lost >= epoch.Threshold:
		return "the secret counts as compromised: mark the keystore's keys (key.compromise), replace them, protect anew what is under them", at, lost, epoch.Threshold
	case current && usable < epoch.Threshold:
		return "too few shares are left to open the keystore: keep it active and restore or re-protect before it stops", at, lost, epoch.Threshold
	case l.Exposed:
		return "decide whether keys are weakened (PCI DSS 3.7.5): rotate cardholder keys unless a written assessment says not; issue new shares, destroy the old", at.Add(assessExposure), lost, epoch.Threshold
	}
	return "assess in writing, issue new shares, destroy the old", at.Add(assessLoss), lost, epoch.Threshold
}

func (o shareLost) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	l, err := o.read(view, in, in.Now)
	if err != nil {
		return Plan{}, err
	}
	id := people.ShareID(l.Set, l.Epoch, l.Index)
	action, by, lost, threshold := l.due(in.Now)
	plan := Plan{Target: Target{Type: "share", ID: id, GovRevision: l.row.Revision},
		Title: fmt.Sprintf("%s reports share %d of set %s lost: it counts no more", l.share.Custodian, l.Index, l.Set),
		Lines: []Line{{Label: "share " + id, Before: string(l.share.Status), After: string(people.ShareLost)},
			{Label: "lost shares of this epoch", After: fmt.Sprintf("%d; %d make a quorum", lost, threshold)},
			{Label: "what is due by " + by.UTC().Format(time.RFC3339), After: action}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "share", ID: id, Owner: l.share.Custodian, Threshold: l.set.Threshold, Total: l.set.Total}}}
	switch l.share.Status {
	case people.ShareIssued, people.ShareConfirmed, people.ShareSuperseded:
	default:
		plan.Deny = []policies.Reason{refusal("share_unusable", fmt.Sprintf("share %s is %s already", id, l.share.Status), "nothing to do")}
	}
	return plan, nil
}

func (o shareLost) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	l, err := o.read(tx.View(), in, tx.Now())
	if err != nil {
		return Result{}, err
	}
	return l.record(act(env, tx, in, in.Reason), tx, o.Name())
}

// record has the share count no more, and everything that follows from that. event names how it came to be known.
func (l *lostShare) record(a acting, tx *store.Tx, event string) (Result, error) {
	action, by, lost, threshold := l.due(a.at)
	id := people.ShareID(l.Set, l.Epoch, l.Index)
	detail := map[string]any{"custodian": l.share.Custodian, "exposed": l.Exposed, "was": string(l.share.Status), "lost": lost, "threshold": threshold,
		"due": action, "due_by": by.UTC().Format(time.RFC3339)}
	if l.Note != "" {
		detail["note"] = l.Note
	}
	l.share.Status, l.share.LostAt, l.share.Exposed = people.ShareLost, &a.at, l.Exposed
	if err := a.put(tx, custodian.KindShare, id, l.share, a.event(event, ledger.Target{Type: "share", ID: id}, detail)); err != nil {
		return Result{}, err
	}
	if err := l.follow(a, tx, action, by); err != nil {
		return Result{}, err
	}
	exposed := l.set.InForce() && l.Epoch == l.set.Epoch && lost >= threshold
	if exposed {
		if err := expose(a, tx, l.set, lost); err != nil {
			return Result{}, err
		}
	}
	return result(map[string]any{"share": id, "status": string(people.ShareLost), "lost": lost, "threshold": threshold, "secret_exposed": exposed,
		"due": action, "due_by": by.UTC().Format(time.RFC3339)}), nil
}

// atOnce is how long a finding gets about what is due at once: it must have a date.
const atOnce = time.Hour

// follow opens the incident: whoever answers for the keystore has it assessed and mended by the date.
func (l *lostShare) follow(a acting, tx *store.Tx, action string, by time.Time) error {
	if l.set.Keystore == "" {
		return nil
	}
	ks, err := keystoreRow(tx.View(), "keystore", l.set.Keystore)
	if err != nil {
		return err
	}
	if !by.After(a.at) {
		by = a.at.Add(atOnce)
	}
	id := people.ShareID(l.Set, l.Epoch, l.Index)
	return a.open(tx, &oversight.Finding{ID: idFrom("f", a.ceremony), Title: shorten("share " + id + " lost: " + action), Source: oversight.FromIncident,
		About: oversight.Ref{Type: "share", ID: id}, Owner: ks.Controller, DueAt: by.UTC().Truncate(time.Microsecond), Ceremony: a.ceremony})
}

// expose flags the keystore of a set whose lost shares make a quorum: what is in it is to be treated as compromised.
// States are left to people; nothing irreversible rests on one person's report.
func expose(a acting, tx *store.Tx, set *people.ShareSet, lost int) error {
	ks, err := keystoreRow(tx.View(), "keystore", set.Keystore)
	if err != nil {
		return err
	}
	x := &key.Exposure{Set: set.ID, Epoch: set.Epoch, Shares: lost, At: a.at, Ceremony: a.ceremony}
	if before := ks.SecretExposed; before != nil && before.Until == nil {
		x.At, x.Ceremony = before.At, before.Ceremony
	}
	ks.SecretExposed = x
	e := a.event("keystore.secret-exposed", ledger.Target{Type: "keystore", ID: ks.ID}, map[string]any{"share_set": set.ID, "epoch": set.Epoch,
		"lost": lost, "threshold": set.Threshold})
	return a.put(tx, custodian.KindKeystore, ks.ID, ks, e)
}
