package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Kinds of alerts about registers.
const (
	AlertSuspicion AlertKind = "suspicion" // a version is suspended on suspicion of compromise: to be decided
	AlertCampaign  AlertKind = "campaign"  // what stands under a version is not protected anew in time; days: to its date, 0 when over
	AlertCustody   AlertKind = "custody"   // an entry of the custody log lacks its second signature
)

const (
	// decideSuspicion is how soon a suspicion is decided upon (ours): PCI DSS 3.7.5 has no number.
	decideSuspicion = key.Day
	// campaignWarning is how long before its date a campaign is told of, in days (ours).
	campaignWarning = 7
	// signAtLast is when a second signature that did not come is a finding: nobody vouches for the entry (ours).
	signAtLast = 3 * people.SignWithin
)

// registerAlerts lists what should be looked at in the registers: suspicions, campaigns, the custody log.
func registerAlerts(view *store.View, now time.Time) (out []Alert) {
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		if v.State == key.Suspended && v.Suspected && v.SuspendedAt != nil {
			out = append(out, suspicion(view, v, now))
		}
	}
	for _, c := range store.All[key.Campaign](view, custodian.KindCampaign) {
		id := key.VersionID(c.Key, c.Version)
		switch left := c.DueAt.Sub(now); {
		case c.ClosedAt != nil || left > campaignWarning*key.Day:
		case left > 0:
			out = append(out, Alert{Kind: AlertCampaign, Key: c.Key, Version: c.Version, Days: campaignWarning,
				Message: fmt.Sprintf("campaign %s for %s is due %s: within %d days", c.ID, id, c.DueAt.Format(time.DateOnly), campaignWarning)})
		default:
			out = append(out, Alert{Kind: AlertCampaign, Key: c.Key, Version: c.Version,
				Message: fmt.Sprintf("campaign %s for %s was due %s: state what is rewrapped (asset.rewrap), then close it (campaign.close)", c.ID, id, c.DueAt.Format(time.DateOnly))})
		}
	}
	for _, e := range store.All[people.CustodyEntry](view, custodian.KindCustody) {
		if e.Late(now) {
			out = append(out, Alert{Kind: AlertCustody, Person: e.Facts.Witness, Message: fmt.Sprintf("entry %s of the custody log (%s of form %s, %s) awaits the signature of %s since %s (custody.countersign)",
				e.ID, e.Facts.Action, e.Facts.Form, people.ShareID(e.Facts.Set, e.Facts.Epoch, e.Facts.Index), e.Facts.Witness, e.RecordedAt.Format(time.RFC3339))})
		}
	}
	return out
}

func suspicion(view *store.View, v *key.Version, now time.Time) Alert {
	by := v.SuspendedAt.Add(decideSuspicion)
	word := "decide by"
	if now.After(by) {
		word = "it was to be decided by"
	}
	return Alert{Kind: AlertSuspicion, Key: v.Key, Version: v.Version, Message: fmt.Sprintf("%s is suspended since its compromise is suspected; %s %s: %s",
		key.VersionID(v.Key, v.Version), word, by.UTC().Format(time.RFC3339), afterSuspicion(view, v.Key, v.Version))}
}

// afterSuspicion says what follows from a suspicion: the campaign under way for the version, or what opens one.
func afterSuspicion(view *store.View, keyID string, version uint32) string {
	next := "key.compromise opens a campaign to protect anew what is under it, or key.resume where nothing was wrong"
	if open, err := openCampaign(view, keyID, version); err == nil && open != "" {
		next = "campaign " + open + " is under way; key.compromise, or key.resume where nothing was wrong"
	}
	return next
}

// Lapsed is something on a register whose date has passed without what was to be done.
type Lapsed struct {
	finding, title, owner, ceremony string
	about                           oversight.Ref
}

// lapseID is the id of the finding about a row: one for each, whatever its length.
func lapseID(prefix, id string) string {
	if out := prefix + "-" + id; len(out) <= key.MaxID {
		return out
	}
	sum := sha256.Sum256([]byte(id))
	return prefix + "-" + hex.EncodeToString(sum[:16])
}

// Lapsed lists campaigns past their date and entries of the custody log that nobody signed for at last, of which there is
// no finding yet, at most so many.
func (j Jobs) Lapsed(view *store.View, now time.Time, most int) (out []Lapsed) {
	add := func(l Lapsed) {
		if _, err := view.Get(custodian.KindFinding, l.finding); err != nil && len(out) < most {
			out = append(out, l)
		}
	}
	for _, c := range store.All[key.Campaign](view, custodian.KindCampaign) {
		k, err := store.Peek[key.Key](view, custodian.KindKey, c.Key)
		if err != nil || c.ClosedAt != nil || !now.After(c.DueAt) {
			continue
		}
		add(Lapsed{finding: lapseID("f-campaign", c.ID), title: fmt.Sprintf("not protected anew in time: what is under version %d of key %s (campaign %s)", c.Version, c.Key, c.ID),
			owner: k.Owner, ceremony: c.OpenedBy, about: oversight.Ref{Type: "campaign", ID: c.ID}})
	}
	for _, e := range store.All[people.CustodyEntry](view, custodian.KindCustody) {
		if e.State != people.EntryPending || now.Sub(e.RecordedAt) <= signAtLast {
			continue
		}
		add(Lapsed{finding: lapseID("f-custody", e.ID), title: fmt.Sprintf("nobody vouches for entry %s of the custody log: %s did not sign", e.ID, e.Facts.Witness),
			owner: e.Facts.Who, ceremony: e.Recorded, about: oversight.Ref{Type: "share", ID: people.ShareID(e.Facts.Set, e.Facts.Epoch, e.Facts.Index)}})
	}
	return out
}

// OpenLapsed opens the finding about something that lapsed.
func (j Jobs) OpenLapsed(tx *store.Tx, l Lapsed) error {
	a := acting{principal: identity.Principal{Kind: identity.Node, ID: j.Env.Custodian.Node()}, ceremony: l.ceremony,
		policy: j.Env.Policies.Digest(), at: tx.Now(), reason: "its date has passed"}
	return a.open(tx, &oversight.Finding{ID: l.finding, Title: shorten(l.title), Source: oversight.FromLapse, About: l.about, Owner: l.owner,
		DueAt: due(a.at, oversight.DefaultFindingDays), Ceremony: l.ceremony})
}
