package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// reprotectWithin is how long a campaign lasts that a compromise opens (ours), in days.
const reprotectWithin = 30

type campaignStartParams struct {
	ID      string `json:"id"` // made from the ceremony's when empty
	Key     string `json:"key"`
	Version uint32 `json:"version"`
	Cause   string `json:"cause"`
	Days    int    `json:"days"` // until it is due
	Reason  string `json:"reason"`
}

// campaignStart begins to protect anew what stands under a version.
type campaignStart struct{}

func (campaignStart) Name() string { return "campaign.start" }

func (campaignStart) read(view *store.View, in Input, at time.Time) (*key.Campaign, *key.Key, string, error) {
	p, err := decode[campaignStartParams](in)
	if err != nil {
		return nil, nil, "", err
	}
	if p.ID == "" {
		p.ID = idFrom("w", in.Ceremony)
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, nil, "", err
	}
	err = key.First([]error{key.CheckOneOf("cause", p.Cause, key.CauseRotation, key.CauseCompromise, key.CauseMove),
		key.CheckRange("days", p.Days, 1, 730, "days"), vacant(view, custodian.KindCampaign, "id", p.ID, "campaign")})
	if err != nil {
		return nil, nil, "", err
	}
	k, err := keyRow(view, "key", p.Key)
	if err != nil {
		return nil, nil, "", err
	}
	v, err := versionRow(view, k, p.Version)
	if err != nil {
		return nil, nil, "", err
	}
	if open, err := openCampaign(view, k.ID, v.Version); err != nil || open != "" {
		if err == nil {
			err = &custodian.InputError{Field: "version", Problem: "campaign " + open + " is under way for it", Allowed: "a version without an open campaign"}
		}
		return nil, nil, "", err
	}
	c, err := newCampaign(view, p.ID, v, p.Cause, p.Days, in.Ceremony, at)
	return c, k, reason, err
}

// newCampaign is the record of a campaign that begins.
func newCampaign(view *store.View, id string, v *key.Version, cause string, days int, ceremony string, at time.Time) (*key.Campaign, error) {
	at = at.UTC().Truncate(time.Microsecond)
	c := &key.Campaign{ID: id, Key: v.Key, Version: v.Version, Cause: cause, DueAt: at.Add(time.Duration(days) * key.Day), OpenedAt: at, OpenedBy: ceremony, GovRevision: 1}
	assets, err := assetsOf(view, v.Key)
	for _, a := range assets {
		if n := a.Outstanding(v.Version); n > 0 {
			c.AtStart = append(c.AtStart, key.CampaignTarget{Asset: a.ID, Records: n})
		}
	}
	return c, err
}

// openCampaign is the id of the campaign under way for a version, "" for none.
func openCampaign(view *store.View, keyID string, version uint32) (string, error) {
	if bad := view.Tampered(custodian.KindCampaign); len(bad) > 0 {
		return "", &store.TamperedError{Kind: custodian.KindCampaign, ID: bad[0].ID}
	}
	for _, c := range store.All[key.Campaign](view, custodian.KindCampaign) {
		if c.Key == keyID && c.Version == version && c.ClosedAt == nil {
			return c.ID, nil
		}
	}
	return "", nil
}

func (o campaignStart) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	c, k, reason, err := o.read(view, in, in.Now)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "campaign", ID: c.ID}, Title: fmt.Sprintf("Protect anew what is under version %d of key %s, by %s", c.Version, k.ID, c.DueAt.Format(time.DateOnly)),
		Lines:  []Line{keyLine(k), {Label: "cause", After: c.Cause}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "campaign", ID: c.ID, Owner: k.Owner, Classifications: []string{string(k.Classification)}}}}
	for _, t := range c.AtStart {
		plan.Lines = append(plan.Lines, Line{Label: "asset " + t.Asset, Before: fmt.Sprintf("%s under version %d", amount.Of(t.Records, "record"), c.Version), After: "none"})
	}
	return plan, nil
}

func (o campaignStart) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	a := act(env, tx, in, in.Reason)
	c, _, reason, err := o.read(tx.View(), in, a.at)
	if err != nil {
		return Result{}, err
	}
	a.reason = reason
	return result(map[string]any{"campaign": c.ID, "due_at": c.DueAt.Format(time.RFC3339)}), putCampaign(a, tx, "campaign.start", c)
}

func putCampaign(a acting, tx *store.Tx, kind string, c *key.Campaign) error {
	e := a.event(kind, ledger.Target{Type: "campaign", ID: c.ID}, map[string]any{"key": c.Key, "version": c.Version, "cause": c.Cause, "assets": len(c.AtStart)})
	return a.put(tx, custodian.KindCampaign, c.ID, c, e)
}

// reprotects says in words what campaignFor does.
func reprotects() string {
	return fmt.Sprintf("a campaign to protect anew what is under it, within %d days", reprotectWithin)
}

// campaignFor opens a campaign for a version that was just marked compromised, or is suspected to be, unless one is under
// way. suffix tells the campaigns of one ceremony apart.
func campaignFor(a acting, tx *store.Tx, v *key.Version, in Input, suffix string) (string, error) {
	open, err := openCampaign(tx.View(), v.Key, v.Version)
	if err != nil || open != "" {
		return open, err
	}
	id := idFrom("w", in.Ceremony)
	if in.Item > 0 {
		id += fmt.Sprintf("-%d", in.Item)
	}
	id += suffix
	c, err := newCampaign(tx.View(), id, v, key.CauseCompromise, reprotectWithin, in.Ceremony, a.at)
	if err != nil {
		return "", err
	}
	return c.ID, putCampaign(a, tx, "campaign.start", c)
}

type campaignCloseParams struct {
	Campaign string `json:"campaign"`
	Waiver   string `json:"waiver"` // who answers for what is left, and why
	Reason   string `json:"reason"`
}

// campaignClose ends a campaign when nothing is left under its version, by the assets' signed counts, and retires
// the version: one that still protects is deactivated. Its destruction is proposed by itself (key.destroy).
type campaignClose struct{}

func (campaignClose) Name() string { return "campaign.close" }

func (campaignClose) read(view *store.View, in Input) (p campaignCloseParams, c *key.Campaign, k *key.Key, v *key.Version, err error) {
	if p, err = decode[campaignCloseParams](in); err != nil {
		return p, nil, nil, nil, err
	}
	if p.Reason, err = why("reason", p.Reason, in); err != nil {
		return p, nil, nil, nil, err
	}
	if err = key.CheckText("waiver", p.Waiver, maxReason, true); err != nil {
		return p, nil, nil, nil, err
	}
	if c, _, err = lookup[key.Campaign](view, custodian.KindCampaign, "campaign", p.Campaign, "campaign"); err != nil {
		return p, nil, nil, nil, err
	}
	if k, err = keyRow(view, "key", c.Key); err != nil {
		return p, nil, nil, nil, err
	}
	v, err = versionRow(view, k, c.Version)
	return p, c, k, v, err
}

// against says what keeps the campaign open.
func (p campaignCloseParams) against(view *store.View, c *key.Campaign, k *key.Key, v *key.Version, at time.Time) ([]policies.Reason, error) {
	if c.ClosedAt != nil {
		return []policies.Reason{refusal("already_closed", "campaign "+c.ID+" is closed", "nothing to do")}, nil
	}
	_, missing, err := free(view, k, v, at)
	if err != nil || len(missing) == 0 || p.Waiver != "" {
		return nil, err
	}
	return []policies.Reason{refusal("records_left", "still under version "+fmt.Sprint(v.Version)+": "+strings.Join(missing, "; "),
		"state what was protected anew (asset.rewrap), or name who waives what is left: waiver")}, nil
}

func (o campaignClose) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, c, k, v, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "campaign", ID: c.ID, GovRevision: c.GovRevision}, Title: fmt.Sprintf("Close the campaign for version %d of key %s", v.Version, k.ID),
		Lines: []Line{keyLine(k), {Label: "reason", After: p.Reason}}, Quorum: keyQuorum(k)}
	if retires(v) {
		plan.Lines = append(plan.Lines, stateLine(v, string(key.Deactivated)))
	}
	if p.Waiver != "" {
		plan.Lines = append(plan.Lines, Line{Label: "waiver for what is left", After: p.Waiver})
	}
	plan.Deny, err = p.against(view, c, k, v, in.Now)
	return plan, err
}

// retires: closing deactivates a version that could still protect or be released to.
func retires(v *key.Version) bool {
	return v.State == key.Active || v.State == key.Suspended && !v.Suspected
}

func (o campaignClose) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	p, c, k, v, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, p.Reason)
	against, err := p.against(tx.View(), c, k, v, a.at)
	if err != nil {
		return Result{}, err
	}
	if len(against) > 0 {
		return Result{}, fmt.Errorf("closing campaign %s: %s", c.ID, against[0].Message)
	}
	if retires(v) {
		next, err := moveTo(v, key.Deactivated, a, key.Facts{})
		if err != nil {
			return Result{}, err
		}
		if err := putChanged(a, tx, "key.deactivate", k, []*key.Version{next}, map[string]any{"from": string(v.State), "campaign": c.ID}); err != nil {
			return Result{}, err
		}
	}
	c.ClosedAt, c.ClosedBy = &a.at, in.Ceremony
	c.GovRevision++
	return result(map[string]any{"campaign": c.ID, "closed": true, "next": "destroy the version when it is due (key.destroy)"}), putCampaign(a, tx, "campaign.close", c)
}

// Left says in words what is still under a campaign's version, by what owners have signed; nothing when it can be
// closed.
func Left(view *store.View, c *key.Campaign, at time.Time) ([]string, error) {
	k, err := keyRow(view, "key", c.Key)
	if err != nil {
		return nil, err
	}
	v, err := versionRow(view, k, c.Version)
	if err != nil {
		return nil, err
	}
	_, missing, err := free(view, k, v, at)
	return missing, err
}
