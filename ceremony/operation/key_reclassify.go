package operation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// reapproveWithin is how long grants that one person made stay when their key comes into a protected class (ours):
// within it a quorum approves them anew (grant.alter), or they end.
const reapproveWithin = 14 * key.Day

type keyReclassifyParams struct {
	Key            string             `json:"key"`
	Classification key.Classification `json:"classification"` // default: as it is
	Impact         key.Impact         `json:"impact"`         // default: as it is
	Frameworks     []string           `json:"frameworks"`     // default: as they are
	Custody        []hsm.CustodyModel `json:"custody"`        // default: as they are; [] for whatever the class accepts
	OUPDays        int                `json:"oup_days"`       // where the new class allows less
	RUPDays        int                `json:"rup_days"`
	RotateDays     int                `json:"rotate_days"`
	Reason         string             `json:"reason"`
}

// keyReclassify changes the class, impact or frameworks of a key. Where it may live and for how long is judged anew;
// into a protected class, the grants that no quorum approved end unless one does.
type keyReclassify struct{}

func (keyReclassify) Name() string { return "key.reclassify" }

func (keyReclassify) read(view *store.View, in Input) (before, after *key.Key, reason string, err error) {
	p, err := decode[keyReclassifyParams](in)
	if err != nil {
		return nil, nil, "", err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return nil, nil, "", err
	}
	if before, err = keyRow(view, "key", p.Key); err != nil {
		return nil, nil, "", err
	}
	own := *before
	after = &own
	if p.Classification != "" {
		after.Classification = p.Classification
	}
	if p.Impact != "" {
		after.Impact = p.Impact
	}
	if p.Frameworks != nil {
		after.Frameworks = p.Frameworks
	}
	if p.Custody != nil {
		after.Custody = p.Custody
	}
	for _, f := range []struct{ to, from *int }{{&after.OUPDays, &p.OUPDays}, {&after.RUPDays, &p.RUPDays}, {&after.RotateDays, &p.RotateDays}} {
		if *f.from != 0 {
			*f.to = *f.from
		}
	}
	return before, after, reason, after.Validate()
}

func (o keyReclassify) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	before, after, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: keyTarget(before), Title: fmt.Sprintf("Reclassify key %s from %s to %s", before.ID, before.Classification, after.Classification),
		Lines: append([]Line{keyLine(before)}, changes([][3]string{{"classification", string(before.Classification), string(after.Classification)},
			{"impact (FIPS 199)", string(before.Impact), string(after.Impact)}, {"frameworks", strings.Join(before.Frameworks, ", "), strings.Join(after.Frameworks, ", ")},
			{"custody models", list(before.Custody), list(after.Custody)},
			{"periods of new versions", describePeriods(before.OUPDays, before.RUPDays, before.RotateDays), describePeriods(after.OUPDays, after.RUPDays, after.RotateDays)}})...)}
	if len(plan.Lines) == 1 {
		plan.Deny = append(plan.Deny, refusal("no_change", "nothing would change", "name what is to be different"))
	}
	plan.Quorum = keyQuorum(before)
	plan.Quorum.Target.Raising = before.Raises(after)
	plan.Quorum.Target.Classifications = append(plan.Quorum.Target.Classifications, string(after.Classification))
	periods, err := lifecycle(ctx, env, in, after)
	if err != nil {
		return Plan{}, err
	}
	if !periods.Allow {
		plan.Deny = append(plan.Deny, periods.Reasons...)
	}
	misfits, err := misplaced(ctx, env, view, after)
	if err != nil {
		return Plan{}, err
	}
	plan.Deny = append(plan.Deny, misfits...)
	rejudged, err := rejudged(view, before, after, in.Now)
	if err != nil {
		return Plan{}, err
	}
	for _, g := range rejudged {
		plan.Lines = append(plan.Lines, Line{Label: "grant " + g.ID + " of " + g.Application, Before: "until " + g.ExpiresAt.Format(time.DateOnly),
			After: fmt.Sprintf("ends %d days after this, unless a quorum approves it anew (grant.alter)", reapproveWithin/key.Day)})
	}
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: reason})
	return plan, nil
}

// maxRejudged bounds what one transaction changes.
const maxRejudged = 1000

// rejudged are the grants in force that one person made and that take a quorum in the new class.
func rejudged(view *store.View, before, after *key.Key, now time.Time) ([]*access.Grant, error) {
	if policies.ProtectedClass(string(before.Classification)) || !policies.ProtectedClass(string(after.Classification)) {
		return nil, nil
	}
	if bad := view.Tampered(custodian.KindGrant); len(bad) > 0 {
		return nil, &store.TamperedError{Kind: custodian.KindGrant, ID: bad[0].ID}
	}
	var out []*access.Grant
	for _, g := range store.All[access.Grant](view, custodian.KindGrant) {
		if g.Key == before.ID && g.RevokedAt == nil && now.Add(reapproveWithin).Before(g.ExpiresAt) && !quorumMade(view, g.CreatedBy) {
			out = append(out, g)
		}
	}
	if len(out) > maxRejudged {
		return nil, &custodian.InputError{Field: "key", Problem: fmt.Sprintf("%d grants on it take a new decision", len(out)), Allowed: fmt.Sprintf("at most %d at once; revoke what is not needed", maxRejudged)}
	}
	return out, nil
}

// quorumMade reports whether the ceremony of an id was decided by a quorum, or was the genesis.
func quorumMade(view *store.View, id string) bool {
	if id == "genesis" {
		return true
	}
	row, err := view.Get(ceremonyKind, id)
	var c struct {
		Class string `json:"class"`
	}
	return err == nil && json.Unmarshal(row.Body, &c) == nil && (c.Class == string(policies.Governed) || c.Class == string(policies.Attended))
}

func (o keyReclassify) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	before, after, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	grants, err := rejudged(tx.View(), before, after, a.at)
	if err != nil {
		return Result{}, err
	}
	after.GovRevision++
	e := a.event("key.reclassify", ledger.Target{Type: "key", ID: after.ID}, map[string]any{"from": before.Classification, "to": after.Classification,
		"impact": after.Impact, "frameworks": after.Frameworks, "custody": after.Custody, "grants_to_approve": len(grants)})
	if err := a.put(tx, custodian.KindKey, after.ID, after, e); err != nil {
		return Result{}, err
	}
	var ids []string
	for _, g := range grants {
		g.ExpiresAt = a.at.Add(reapproveWithin).UTC().Truncate(time.Microsecond)
		e := a.event("grant.rejudge", ledger.Target{Type: "grant", ID: g.ID}, map[string]any{"key": after.ID, "expires_at": g.ExpiresAt.Format(time.RFC3339)})
		if err := a.put(tx, custodian.KindGrant, g.ID, g, e); err != nil {
			return Result{}, err
		}
		ids = append(ids, g.ID)
	}
	return result(map[string]any{"key": after.ID, "classification": after.Classification, "grants_to_approve": ids}), nil
}
