package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

type keyControlledUseParams struct {
	Key         string            `json:"key"`
	Version     uint32            `json:"version"`
	Application string            `json:"application"`
	Asset       string            `json:"asset"`
	Context     map[string]string `json:"context"`
	Days        int               `json:"days"`
	Reason      string            `json:"reason"`
}

// keyControlledUse lets an application read one data set under a compromised version, for at most seven days, so
// that it can be protected anew. Every call under it names it in the ledger. The application's grant is needed too.
type keyControlledUse struct{}

func (keyControlledUse) Name() string { return "key.controlled-use" }

func (keyControlledUse) read(view *store.View, in Input, at time.Time) (u *key.ControlledApproval, k *key.Key, v *key.Version, asset *key.Asset, reason string, err error) {
	p, err := decode[keyControlledUseParams](in)
	if err != nil {
		return nil, nil, nil, nil, "", err
	}
	if reason, err = why("reason", p.Reason, in); err != nil {
		return nil, nil, nil, nil, "", err
	}
	if err = key.CheckRange("days", p.Days, 1, int(key.MaxControlledUse/key.Day), "days"); err != nil {
		return nil, nil, nil, nil, "", err
	}
	if k, err = keyRow(view, "key", p.Key); err != nil {
		return nil, nil, nil, nil, "", err
	}
	if v, err = versionRow(view, k, p.Version); err != nil {
		return nil, nil, nil, nil, "", err
	}
	if _, _, err = applicationRow(view, "application", p.Application); err != nil {
		return nil, nil, nil, nil, "", err
	}
	if asset, _, err = lookup[key.Asset](view, custodian.KindAsset, "asset", p.Asset, "asset"); err != nil {
		return nil, nil, nil, nil, "", err
	}
	from := at.UTC().Truncate(time.Microsecond)
	u = &key.ControlledApproval{ID: idFrom("u", in.Ceremony), Key: k.ID, Version: v.Version, Application: p.Application, Asset: p.Asset, Context: p.Context,
		From: from, Until: from.Add(time.Duration(p.Days) * key.Day), Ceremony: in.Ceremony}
	// The fields are those of a grant's context, and bounded as they are.
	g := &access.Grant{ID: u.ID, Application: u.Application, Key: u.Key, Operations: []access.Operation{access.Decrypt}, Context: u.Context, CreatedAt: u.From, ExpiresAt: u.Until, CreatedBy: u.Ceremony}
	return u, k, v, asset, reason, g.Validate()
}

func (o keyControlledUse) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	u, k, v, asset, reason, err := o.read(view, in, in.Now)
	if err != nil {
		return Plan{}, err
	}
	data := fmt.Sprintf("%s (%s): %d records under version %d", asset.ID, asset.Label, asset.Outstanding(v.Version), v.Version)
	if len(u.Context) > 0 {
		fields := make([]string, 0, len(u.Context))
		for name, value := range u.Context {
			fields = append(fields, fmt.Sprintf("%q = %q", name, value))
		}
		data += ", where the encryption context has " + list(fields)
	}
	plan := Plan{Target: versionTarget(v), Title: fmt.Sprintf("Let application %s read asset %s under version %d of key %s, which is compromised", u.Application, asset.ID, v.Version, k.ID),
		Lines: []Line{keyLine(k), {Label: "data set", After: data}, {Label: "until", After: u.Until.Format(time.RFC3339)}, {Label: "reason", After: reason}}, Quorum: keyQuorum(k)}
	switch {
	case v.State != key.Compromised:
		plan.Deny = append(plan.Deny, refusal("not_compromised", fmt.Sprintf("version %d of key %s is %s", v.Version, k.ID, v.State), "use it under its grants"))
	case asset.Key != k.ID || asset.Outstanding(v.Version) == 0:
		plan.Deny = append(plan.Deny, refusal("nothing_under_it", fmt.Sprintf("no record of asset %s is under version %d of key %s", asset.ID, v.Version, k.ID),
			"name an asset that has records under it (asset.register)"))
	}
	return plan, nil
}

func (o keyControlledUse) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	a := act(env, tx, in, in.Reason)
	u, _, v, _, reason, err := o.read(tx.View(), in, a.at)
	if err != nil {
		return Result{}, err
	}
	if v.State != key.Compromised {
		return Result{}, fmt.Errorf("%s is %s", key.VersionID(v.Key, v.Version), v.State)
	}
	a.reason = reason
	e := a.event(o.Name(), ledger.Target{Type: "key", ID: u.Key, Version: u.Version}, map[string]any{"controlled_use": u.ID, "application": u.Application,
		"asset": u.Asset, "until": u.Until.Format(time.RFC3339)})
	return result(map[string]any{"controlled_use": u.ID, "until": u.Until.Format(time.RFC3339)}), a.put(tx, custodian.KindControlledUse, u.ID, u, e)
}
