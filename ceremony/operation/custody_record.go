package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// custodyRecord writes what somebody did with a physical form of a share into the custody log. It counts when the
// witness whom it names has signed too (custody.countersign); a suspicion opens a finding at once.
type custodyRecord struct{}

func (custodyRecord) Name() string { return "custody.record" }

type custodyRecordParams struct {
	Form      string               `json:"form"`
	Action    people.CustodyAction `json:"action"`
	Kind      people.FormKind      `json:"kind"` // register
	Set       string               `json:"set"`  // register
	Epoch     uint32               `json:"epoch"`
	Index     int                  `json:"index"`
	Witness   string               `json:"witness"`
	At        time.Time            `json:"at"` // when it was done; now where empty
	Purpose   string               `json:"purpose"`
	Ceremony  string               `json:"ceremony"`
	Serial    string               `json:"serial"` // as read from the bag
	Seal      people.SealCondition `json:"seal"`
	NewSerial string               `json:"new_serial"`
	Site      string               `json:"site"`
	Container string               `json:"container"`
	Carrier   string               `json:"carrier"` // send; the requester where empty
}

// recordWithin is how long after the fact something may be recorded (ours).
const recordWithin = 7 * key.Day

// recording is an entry that is to be written.
type recording struct {
	form  *people.ShareForm // as it is
	row   store.Row         // of the form; zero for a new one
	next  *people.ShareForm // as it would be with both signatures
	share *people.Share
	set   *people.ShareSet
	facts people.CustodyFacts
	stale *people.CustodyEntry // an entry that nobody countersigned and that this one takes the place of
}

func (o custodyRecord) read(view *store.View, in Input) (*recording, error) {
	p, err := decode[custodyRecordParams](in)
	if err != nil {
		return nil, err
	}
	if err := key.First([]error{key.CheckID("form", p.Form), key.CheckOneOf("action", p.Action, people.CustodyActions()...)}); err != nil {
		return nil, err
	}
	r := &recording{}
	r.form, r.row, err = store.Get[people.ShareForm](view, custodian.KindShareForm, p.Form)
	switch {
	case errors.Is(err, store.ErrNotFound) && p.Action == people.ActRegister:
		r.form = &people.ShareForm{ID: p.Form, State: people.FormUnwitnessed, RegisteredAt: in.Now}
	case errors.Is(err, store.ErrNotFound):
		return nil, unknown("form", p.Form, "physical form (conclave custody register)")
	case err != nil:
		return nil, err
	}
	if err := r.identify(view, p); err != nil {
		return nil, err
	}
	if err := r.fill(view, p, in); err != nil {
		return nil, err
	}
	if id := r.form.Pending; id != "" {
		if r.stale, _, err = store.Get[people.CustodyEntry](view, custodian.KindCustody, id); err != nil {
			return nil, fmt.Errorf("reading entry %s of the custody log: %w", id, err)
		}
	}
	return r, r.check(view, p, in)
}

// identify says of which share it is a form.
func (r *recording) identify(view *store.View, p custodyRecordParams) error {
	if p.Action == people.ActRegister {
		if err := key.First([]error{key.CheckOneOf("kind", p.Kind, people.FormKinds()...),
			key.CheckRange("index", p.Index, 1, people.MaxShares, "(shares count from 1)"), key.CheckRange("epoch", int(p.Epoch), 1, 1<<31-1, "(epochs count from 1)")}); err != nil {
			return err
		}
		if r.form.State == people.FormUnwitnessed {
			r.form.Kind, r.form.Set, r.form.Epoch, r.form.Index = p.Kind, p.Set, p.Epoch, p.Index
		}
	} else if p.Kind != "" || p.Set != "" || p.Epoch != 0 || p.Index != 0 {
		return &custodian.InputError{Field: "set", Problem: "given for a form that is registered", Allowed: "the form alone"}
	}
	var err error
	if r.set, _, err = setRow(view, "set", r.form.Set); err != nil {
		return err
	}
	if r.share, _, err = store.Get[people.Share](view, custodian.KindShare, r.form.Share()); errors.Is(err, store.ErrNotFound) {
		return unknown("index", r.form.Share(), "share")
	}
	return err
}

// fill makes the entry's facts.
func (r *recording) fill(view *store.View, p custodyRecordParams, in Input) error {
	f := people.CustodyFacts{Form: r.form.ID, Kind: r.form.Kind, Set: r.form.Set, Epoch: r.form.Epoch, Index: r.form.Index, Action: p.Action, Who: in.Requester.ID,
		Witness: p.Witness, Purpose: p.Purpose, Ceremony: p.Ceremony, OldSerial: r.form.Serial, Read: p.Serial, NewSerial: p.NewSerial, Seal: p.Seal,
		Site: p.Site, Container: p.Container, Carrier: p.Carrier, At: p.At.UTC().Truncate(time.Second)}
	if p.At.IsZero() {
		f.At = in.Now.UTC().Truncate(time.Second)
	}
	at := f.At
	switch p.Action {
	case people.ActSend:
		f.OutAt = &at
		if f.Carrier == "" {
			f.Carrier = in.Requester.ID
		}
	case people.ActOpen:
		f.OutAt = &at
	case people.ActSeal, people.ActReceive:
		f.InAt = &at
	}
	r.facts = f
	if f.Carrier != "" {
		if _, err := presentPerson(view, "carrier", f.Carrier); err != nil {
			return err
		}
	}
	if f.At.After(in.Now) || in.Now.Sub(f.At) > recordWithin {
		return &custodian.InputError{Field: "at", Problem: f.At.Format(dateTime), Allowed: "when it was done, at most 7 days ago"}
	}
	return nil
}

// check holds who witnesses, which ceremony is cited and the serials against the records.
func (r *recording) check(view *store.View, p custodyRecordParams, in Input) error {
	if _, err := presentPerson(view, "witness", p.Witness); err != nil {
		return err
	}
	if p.Witness == in.Requester.ID {
		return &custodian.InputError{Field: "witness", Problem: "yourself", Allowed: "a second person who is there"}
	}
	if p.Ceremony != "" {
		if err := servesSet(view, p.Ceremony, r.form.Set, p.Action == people.ActOpen); err != nil {
			return err
		}
	}
	if p.NewSerial == "" || people.CheckSerial("new_serial", p.NewSerial, true) != nil {
		return nil // what is wrong with it is Step's to say
	}
	used, _, err := store.Get[people.BagSerial](view, custodian.KindBagSerial, p.NewSerial)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case r.stale != nil && used.Entry == r.stale.ID:
		return nil // the bag of the entry that nobody countersigned
	}
	return &custodian.InputError{Field: "new_serial", Problem: p.NewSerial + " was used before", Allowed: "the serial of a new bag: none is used twice"}
}

// citable is what of a ceremony's row matters to who cites it.
type citable struct {
	State    string `json:"state"`
	ShareSet string `json:"share_set"`
	Target   struct {
		Type string `json:"type"`
		ID   string `json:"id"`
	} `json:"target"`
}

// servesSet checks that a ceremony is one that takes shares of the set; open: and that it has not ended.
func servesSet(view *store.View, id, set string, open bool) error {
	row, err := view.Get(ceremonyKind, id)
	if err != nil {
		return unknown("ceremony", id, "ceremony")
	}
	var c citable
	if err := json.Unmarshal(row.Body, &c); err != nil {
		return fmt.Errorf("reading ceremony %s: %w", clean(id), err)
	}
	ended := slices.Contains([]string{"completed", "rejected", "expired", "cancelled", "failed"}, c.State)
	if c.ShareSet != set || open && ended {
		return &custodian.InputError{Field: "ceremony", Problem: clean(id) + " is " + c.State + " and does not take shares of set " + set,
			Allowed: "a ceremony that takes shares of this set; to open a form, one that goes on"}
	}
	return nil
}

// against says why an entry can not be: who may handle the form, and where it may go.
func (r *recording) against(view *store.View) ([]policies.Reason, error) {
	deny := r.people(view)
	if r.stale != nil && r.stale.Facts.Suspicion() != "" && r.facts.Action != people.ActLost {
		deny = append(deny, refusal("suspicion_pending", fmt.Sprintf("entry %s found that %s and awaits %s", r.stale.ID, r.stale.Facts.Suspicion(), r.stale.Facts.Witness),
			"its witness signs or disputes it (custody.countersign)"))
	}
	var err error
	if r.next, err = r.form.Step(&r.facts); err == nil {
		err = placesOf(view, r.next, r.set)
	}
	var refused *people.CustodyError
	if errors.As(err, &refused) {
		return append(deny, refusal(refused.Code, refused.Problem, refused.Remedy)), nil
	}
	return deny, err
}

// placesOf holds a form against all others. A register that contradicts the ledger answers nothing.
func placesOf(view *store.View, next *people.ShareForm, set *people.ShareSet) error {
	if bad := view.Tampered(custodian.KindShareForm); len(bad) > 0 {
		return &store.TamperedError{Kind: custodian.KindShareForm, ID: bad[0].ID}
	}
	var others []*people.ShareForm
	for _, f := range store.All[people.ShareForm](view, custodian.KindShareForm) {
		others = append(others, f)
	}
	return people.CheckPlaces(next, others, thresholdAt(set, next.Epoch))
}

// thresholdAt is how many shares open an epoch of a set: in force, pending or past.
func thresholdAt(set *people.ShareSet, epoch uint32) int {
	if at, ok := set.At(epoch); ok {
		return at.Threshold
	}
	for _, p := range set.Past {
		if p.Epoch == epoch {
			return p.Threshold
		}
	}
	return set.Threshold
}

// people says who may not do this with the form, and who may not watch. Whoever has the share itself in hand is its
// holder or their named backup; whoever watches that holds none of the same set, so that nobody comes to see two.
func (r *recording) people(view *store.View) []policies.Reason {
	find := register(view)
	who, witness, holder := find(r.facts.Who), find(r.facts.Witness), find(r.share.Custodian)
	own := r.facts.Who == r.share.Custodian || holder != nil && holder.Backup == r.facts.Who
	helps := who != nil && (who.Has(people.RoleWitness) || who.Has(people.RoleSecurityOfficer)) || r.form.Carrier == r.facts.Who
	var deny []policies.Reason
	if !own && (r.facts.Action.Handles() || !helps) {
		deny = append(deny, refusal("not_the_holder", fmt.Sprintf("share %s is %s's", r.form.Share(), r.share.Custodian),
			"its holder or their named backup does it; a witness or a security officer may send, receive, check and report"))
	}
	watches := witness != nil && (witness.Has(people.RoleWitness) || witness.Has(people.RoleSecurityOfficer) || witness.Has(people.RoleAuditor) || witness.Has(people.RoleCustodian))
	if !watches {
		deny = append(deny, refusal(people.CodeWrongRole, r.facts.Witness+" is no witness, security officer, auditor or custodian", "somebody in one of these roles watches"))
	}
	if who != nil && witness != nil && people.SameLine(who, witness, find) {
		deny = append(deny, refusal("same_line", fmt.Sprintf("one of %s and %s reports to the other", r.facts.Who, r.facts.Witness), "somebody of another reporting line watches"))
	}
	if r.facts.Action.Handles() && r.facts.Witness != r.share.Custodian && holdsOf(view, r.form, r.facts.Witness) {
		deny = append(deny, refusal("two_shares_one_person", fmt.Sprintf("%s holds another share of set %s and would see this one", r.facts.Witness, r.form.Set),
			"somebody without a share of this set watches"))
	}
	return deny
}

// holdsOf reports whether a person holds a share of the form's set and epoch.
func holdsOf(view *store.View, f *people.ShareForm, person string) bool {
	return slices.ContainsFunc(shareRows(view, f.Set), func(s *people.Share) bool { return s.Epoch == f.Epoch && s.Custodian == person })
}

// factsDigest is what both people sign.
func factsDigest(f *people.CustodyFacts) string {
	sum := sha256.Sum256(custodian.Detail(f))
	return hex.EncodeToString(sum[:])
}

func custodyLines(f *people.CustodyFacts, before, after people.FormState) []Line {
	lines := []Line{{Label: "form " + f.Form, Before: string(before), After: string(after)},
		{Label: "share", After: people.ShareID(f.Set, f.Epoch, f.Index) + ", " + string(f.Kind)},
		{Label: "who", After: f.Who}, {Label: "witness", After: f.Witness}, {Label: "when", After: f.At.Format(dateTime)}, {Label: "purpose", After: f.Purpose}}
	for _, l := range []Line{{Label: "ceremony", After: f.Ceremony}, {Label: "bag by the register", After: f.OldSerial}, {Label: "bag as read", After: f.Read}, {Label: "seal", After: string(f.Seal)},
		{Label: "new bag", After: f.NewSerial}, {Label: "site", After: f.Site}, {Label: "container", After: f.Container}, {Label: "carrier", After: f.Carrier},
		{Label: "suspected compromise", After: f.Suspicion()}} {
		if l.After != "" {
			lines = append(lines, l)
		}
	}
	return lines
}

func custodyQuorum(f *people.CustodyFacts, owner string) policies.QuorumInput {
	return policies.QuorumInput{Target: policies.QuorumTarget{Type: "share_form", ID: f.Form, Owner: owner}}
}

func (o custodyRecord) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	r, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "share_form", ID: r.form.ID, GovRevision: r.row.Revision}, Quorum: custodyQuorum(&r.facts, r.share.Custodian),
		Title: fmt.Sprintf("Record in the custody log that %s did %s form %s; it counts when %s has signed too", r.facts.Who, r.facts.Action, r.form.ID, r.facts.Witness)}
	if plan.Deny, err = r.against(view); err != nil {
		return Plan{}, err
	}
	after := r.form.State
	if r.next != nil {
		after = r.next.State
	}
	plan.Lines = custodyLines(&r.facts, r.form.State, after)
	return plan, nil
}

func (o custodyRecord) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	in.Now = tx.Now()
	r, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	deny, err := r.against(tx.View())
	if err != nil {
		return Result{}, err
	}
	if len(deny) > 0 {
		return Result{}, errors.New(deny[0].Message)
	}
	a := act(env, tx, in, in.Reason)
	entry := &people.CustodyEntry{ID: idFrom("l", a.ceremony), Facts: r.facts, Digest: factsDigest(&r.facts), State: people.EntryPending, Recorded: a.ceremony, RecordedAt: a.at}
	if s := entry.Facts.Suspicion(); s != "" { // at once: whoever sees it acts alone, what follows takes both
		if entry.Finding, err = incident(a, tx, r.set, r.share, "suspected compromise of form "+r.form.ID+": "+s); err != nil {
			return Result{}, err
		}
	}
	if err := r.put(a, tx, entry); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"entry": entry.ID, "form": r.form.ID, "state": string(entry.State), "digest": entry.Digest, "witness": r.facts.Witness,
		"finding": entry.Finding}), nil
}

// put stores the entry, what it reserves and what it takes the place of, under one ledger entry.
func (r *recording) put(a acting, tx *store.Tx, entry *people.CustodyEntry) error {
	if r.stale != nil {
		r.stale.State = people.EntryReplaced
		if err := tx.Put(custodian.KindCustody, r.stale.ID, r.stale); err != nil {
			return err
		}
	}
	if serial := r.facts.NewSerial; serial != "" {
		if err := tx.Put(custodian.KindBagSerial, serial, people.BagSerial{Serial: serial, Form: r.form.ID, Entry: entry.ID}); err != nil {
			return err
		}
	}
	r.form.Pending = entry.ID
	if err := tx.Put(custodian.KindShareForm, r.form.ID, r.form); err != nil {
		return err
	}
	detail := map[string]any{"entry": entry.ID, "action": string(r.facts.Action), "share": r.form.Share(), "witness": r.facts.Witness, "digest": entry.Digest}
	if s := r.facts.Suspicion(); s != "" {
		detail["suspicion"] = s
	}
	return a.put(tx, custodian.KindCustody, entry.ID, entry, a.event(custodyRecord{}.Name(), ledger.Target{Type: "share_form", ID: r.form.ID}, detail))
}

// incident opens a finding about a share for whoever answers for its keystore, to be assessed within a day.
func incident(a acting, tx *store.Tx, set *people.ShareSet, share *people.Share, title string) (string, error) {
	owner := share.Custodian
	if set.Keystore != "" {
		ks, err := keystoreRow(tx.View(), "keystore", set.Keystore)
		if err != nil {
			return "", err
		}
		owner = ks.Controller
	}
	id := idFrom("f", a.ceremony)
	return id, a.open(tx, &oversight.Finding{ID: id, Title: shorten(title), Source: oversight.FromIncident, Owner: owner, Ceremony: a.ceremony,
		About: oversight.Ref{Type: "share", ID: people.ShareID(share.Set, share.Epoch, share.Index)}, DueAt: a.at.Add(assessExposure).UTC().Truncate(time.Microsecond)})
}
