package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// The register of data assets. Each statement is made by the owner of the key, whose signed request is kept with
// its ceremony; what a version still protects is judged by it when the version is to be destroyed.

type assetCountParams struct {
	Version uint32 `json:"version"`
	Records int64  `json:"records"`
}

type assetParams struct {
	ID       string             `json:"id"`
	Label    string             `json:"label"`
	Location string             `json:"location"`
	Key      string             `json:"key"`
	Owner    string             `json:"owner"` // default: the key's owner
	None     bool               `json:"none"`  // nothing is under the versions counted
	Custody  []hsm.CustodyModel `json:"custody"`
	Counts   []assetCountParams `json:"counts"`
	Reason   string             `json:"reason"`
}

func counts(in []assetCountParams) []key.AssetCount {
	var out []key.AssetCount
	for _, c := range in {
		out = append(out, key.AssetCount{Version: c.Version, Records: c.Records})
	}
	return out
}

// assetRegister puts data under a key on record, or declares that there is none.
type assetRegister struct{}

func (assetRegister) Name() string { return "asset.register" }

func (assetRegister) read(view *store.View, in Input) (*key.Asset, *key.Key, string, error) {
	p, err := decode[assetParams](in)
	if err != nil {
		return nil, nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, nil, "", err
	}
	k, err := keyRow(view, "key", p.Key)
	if err != nil {
		return nil, nil, "", err
	}
	if p.Owner == "" {
		p.Owner = k.Owner
	}
	a := &key.Asset{ID: p.ID, Label: p.Label, Location: p.Location, Key: p.Key, Owner: p.Owner, None: p.None, Custody: p.Custody, Counts: counts(p.Counts),
		Status: key.StatusActive, GovRevision: 1, Signed: in.Ceremony}
	if err := a.Validate(); err != nil {
		return nil, nil, "", err
	}
	if err := countsOf(k, a.Counts); err != nil {
		return nil, nil, "", err
	}
	if _, err := presentPerson(view, "owner", p.Owner); err != nil {
		return nil, nil, "", err
	}
	return a, k, reason, vacant(view, custodian.KindAsset, "id", p.ID, "asset")
}

// countsOf checks that counted versions exist.
func countsOf(k *key.Key, counts []key.AssetCount) error {
	for i, c := range counts {
		if c.Version > k.Versions {
			return &key.FieldError{Field: fmt.Sprintf("counts[%d].version", i), Problem: fmt.Sprintf("key %s has no version %d", k.ID, c.Version), Allowed: fmt.Sprintf("1 to %d", k.Versions)}
		}
	}
	return nil
}

func (o assetRegister) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	a, k, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	deny, err := unmet(view, a)
	if err != nil {
		return Plan{}, err
	}
	title := fmt.Sprintf("State that asset %s is under key %s", a.ID, k.ID)
	if a.None {
		title = fmt.Sprintf("State that no data is under the versions named of key %s", k.ID)
	}
	return Plan{Target: Target{Type: "asset", ID: a.ID}, Title: title, Deny: deny, Quorum: assetQuorum(a.ID, k.Owner, k),
		Lines: append([]Line{keyLine(k)}, append(assetLines(a), Line{Label: "reason", After: reason})...)}, nil
}

func assetQuorum(id, owner string, k *key.Key) policies.QuorumInput {
	return policies.QuorumInput{Target: policies.QuorumTarget{Type: "asset", ID: id, Owner: owner, Classifications: []string{string(k.Classification)}}}
}

func assetLines(a *key.Asset) []Line {
	lines := []Line{{Label: "asset", After: a.ID + ": " + a.Label}, {Label: "kept at", After: a.Location}, {Label: "answered for by", After: a.Owner},
		{Label: "records", After: countWords(a)}, {Label: "custody of its key", After: "whatever the key's class accepts"}}
	if len(a.Custody) > 0 {
		lines[len(lines)-1].After = list(a.Custody)
	}
	return lines
}

// unmet refuses a demand for custody that a keystore in which the key lives does not meet: the key goes first.
func unmet(view *store.View, a *key.Asset) ([]policies.Reason, error) {
	if len(a.Custody) == 0 || a.Status != key.StatusActive {
		return nil, nil
	}
	for _, v := range store.All[key.Version](view, custodian.KindKeyVersion) {
		if v.Key != a.Key || !v.State.HasMaterial() {
			continue
		}
		record, err := keystoreRow(view, "keystore", v.Keystore)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(a.Custody, record.Custody) {
			return []policies.Reason{refusal("custody_data_set", fmt.Sprintf("%s is in keystore %s, whose custody model is %s", key.VersionID(v.Key, v.Version), record.ID, record.Custody),
				"take a key that is under "+list(a.Custody)+", or leave the demand out")}, nil
		}
	}
	return nil, nil
}

func countWords(a *key.Asset) string {
	var parts []string
	for _, c := range a.Counts {
		parts = append(parts, fmt.Sprintf("%d under version %d", c.Records, c.Version))
	}
	return strings.Join(parts, ", ")
}

func (o assetRegister) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	asset, _, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	return putAsset(act(env, tx, in, reason), tx, "asset.register", asset, nil)
}

// putAsset stores a statement about an asset.
func putAsset(a acting, tx *store.Tx, kind string, asset *key.Asset, detail map[string]any) (Result, error) {
	if err := asset.Validate(); err != nil {
		return Result{}, err
	}
	asset.At, asset.Signed = a.at, a.ceremony
	d := map[string]any{"key": asset.Key, "counts": asset.Counts, "status": asset.Status}
	for name, v := range detail {
		d[name] = v
	}
	e := a.event(kind, ledger.Target{Type: "asset", ID: asset.ID}, d)
	return result(map[string]any{"asset": asset.ID, "key": asset.Key, "counts": asset.Counts}), a.put(tx, custodian.KindAsset, asset.ID, asset, e)
}

type assetChangeParams struct {
	Asset    string             `json:"asset"`
	Label    string             `json:"label"`
	Location string             `json:"location"`
	Owner    string             `json:"owner"`
	Custody  []hsm.CustodyModel `json:"custody"` // default: as it is; never more models than before
	Counts   []assetCountParams `json:"counts"`
	Reason   string             `json:"reason"`
}

type assetRewrapParams struct {
	Asset     string `json:"asset"`
	From      uint32 `json:"from"`
	To        uint32 `json:"to"`
	Rewrapped int64  `json:"rewrapped"`
	Left      int64  `json:"left"`
	Reason    string `json:"reason"`
}

type assetRetireParams struct {
	Asset   string `json:"asset"`
	Deleted bool   `json:"deleted"` // the data is gone
	Reason  string `json:"reason"`
}

// assetChange is a statement about an asset on record: what it says is in apply.
type assetChange struct {
	name  string
	apply func(view *store.View, in Input) (change assetStatement, err error)
}

// assetStatement is what changes about an asset.
type assetStatement struct {
	id, reason, title string
	byAssetOwner      bool // the asset's owner says it, else the key's
	ends              bool // the data is gone, or out of the register: not while it is on hold
	change            func(view *store.View, k *key.Key, a *key.Asset) error
	detail            map[string]any
	lines             []Line
}

func assetAlter() assetChange {
	return assetChange{"asset.alter", func(view *store.View, in Input) (assetStatement, error) {
		p, err := decode[assetChangeParams](in)
		return assetStatement{id: p.Asset, reason: p.Reason, title: "Correct what is on record of asset " + clean(p.Asset),
			change: func(view *store.View, k *key.Key, a *key.Asset) error {
				set := func(to *string, v string) {
					if v != "" {
						*to = v
					}
				}
				if p.Custody != nil && !key.Narrows(a.Custody, p.Custody) { // one person restricts, and does not release
					return &key.FieldError{Field: "custody", Problem: "it would let more models be", Allowed: "fewer of " + list(a.Custody) + "; the demand ends with the asset (asset.retire)"}
				}
				if p.Custody != nil {
					a.Custody = p.Custody
				}
				set(&a.Label, p.Label)
				set(&a.Location, p.Location)
				set(&a.Owner, p.Owner)
				if _, err := presentPerson(view, "owner", a.Owner); err != nil {
					return err
				}
				if err := countsOf(k, counts(p.Counts)); err != nil {
					return err
				}
				return a.Grow(counts(p.Counts))
			}}, err
	}}
}

func assetRewrap() assetChange {
	return assetChange{"asset.rewrap", func(view *store.View, in Input) (assetStatement, error) {
		p, err := decode[assetRewrapParams](in)
		return assetStatement{id: p.Asset, reason: p.Reason, byAssetOwner: true,
			title:  fmt.Sprintf("State that %d records of asset %s were protected anew under version %d, and %d are left under version %d", p.Rewrapped, clean(p.Asset), p.To, p.Left, p.From),
			detail: map[string]any{"from": p.From, "to": p.To, "rewrapped": p.Rewrapped, "left": p.Left},
			change: func(view *store.View, k *key.Key, a *key.Asset) error {
				to, err := versionRow(view, k, p.To)
				if err != nil {
					return within("to", err)
				}
				if p.Rewrapped > 0 && to.State != key.Active && to.State != key.Deactivated {
					return &key.FieldError{Field: "to", Problem: fmt.Sprintf("version %d is %s", p.To, to.State), Allowed: "a version that protects, or did until its period ended"}
				}
				return a.Rewrap(p.From, p.To, p.Rewrapped, p.Left)
			}}, err
	}}
}

func assetRetire() assetChange {
	return assetChange{"asset.retire", func(view *store.View, in Input) (assetStatement, error) {
		p, err := decode[assetRetireParams](in)
		return assetStatement{id: p.Asset, reason: p.Reason, title: fmt.Sprintf("Take asset %s out of the register", clean(p.Asset)),
			ends:   true,
			detail: map[string]any{"deleted": p.Deleted},
			lines:  []Line{{Label: "data", After: map[bool]string{true: "deleted", false: "protected otherwise"}[p.Deleted]}},
			change: func(_ *store.View, _ *key.Key, a *key.Asset) error {
				for _, c := range a.Counts {
					if c.Records > 0 && !p.Deleted {
						return &key.FieldError{Field: "deleted", Problem: fmt.Sprintf("%d records stand under version %d", c.Records, c.Version), Allowed: "true where the data is gone; else report them rewrapped first (asset.rewrap)"}
					}
				}
				a.Status, a.Deleted = key.StatusRetired, p.Deleted
				return nil
			}}, err
	}}
}

func (o assetChange) Name() string { return o.name }

// next is the asset as it is and as it would be.
func (o assetChange) next(view *store.View, in Input) (s assetStatement, before, after *key.Asset, k *key.Key, err error) {
	if s, err = o.apply(view, in); err != nil {
		return s, nil, nil, nil, err
	}
	if s.reason, err = why("reason", s.reason, in); err != nil {
		return s, nil, nil, nil, err
	}
	if before, _, err = lookup[key.Asset](view, custodian.KindAsset, "asset", s.id, "asset"); err != nil {
		return s, nil, nil, nil, err
	}
	if k, err = keyRow(view, "key", before.Key); err != nil {
		return s, nil, nil, nil, err
	}
	own := *before
	after = &own
	if before.Status != key.StatusActive {
		return s, nil, nil, nil, &custodian.InputError{Field: "asset", Problem: before.ID + " is retired", Allowed: "an asset in the register; register anew what is there again"}
	}
	if err = s.change(view, k, after); err != nil {
		return s, nil, nil, nil, err
	}
	after.GovRevision++
	return s, before, after, k, after.Validate()
}

func (o assetChange) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	s, before, after, k, err := o.next(view, in)
	if err != nil {
		return Plan{}, err
	}
	var deny []policies.Reason
	if !slices.Equal(before.Custody, after.Custody) {
		if deny, err = unmet(view, after); err != nil {
			return Plan{}, err
		}
	}
	owner := k.Owner
	if s.byAssetOwner {
		owner = before.Owner
	}
	plan := Plan{Target: Target{Type: "asset", ID: before.ID, GovRevision: before.GovRevision}, Title: s.title, Deny: deny, Quorum: assetQuorum(before.ID, owner, k),
		Lines: append([]Line{keyLine(k)}, s.lines...)}
	was := assetLines(before)
	for i, l := range assetLines(after) {
		if l.After != was[i].After {
			l.Before = was[i].After
		}
		plan.Lines = append(plan.Lines, l)
	}
	plan.Lines = append(plan.Lines, Line{Label: "reason", After: s.reason})
	if s.ends {
		plan.Deny, err = onHold(view, oversight.Ref{Type: oversight.HoldAsset, ID: before.ID})
	}
	return plan, err
}

func (o assetChange) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	s, _, after, _, err := o.next(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if s.ends {
		against, err := onHold(tx.View(), oversight.Ref{Type: oversight.HoldAsset, ID: after.ID})
		if err != nil {
			return Result{}, err
		}
		if len(against) > 0 {
			return Result{}, errors.New(against[0].Message)
		}
	}
	return putAsset(act(env, tx, in, s.reason), tx, o.name, after, s.detail)
}

// assetsOf are the assets under a key, retired ones too.
func assetsOf(view *store.View, keyID string) ([]*key.Asset, error) {
	if bad := view.Tampered(custodian.KindAsset); len(bad) > 0 { // one that is hidden might be outstanding
		return nil, &store.TamperedError{Kind: custodian.KindAsset, ID: bad[0].ID}
	}
	var out []*key.Asset
	for _, a := range store.All[key.Asset](view, custodian.KindAsset) {
		if a.Key == keyID {
			out = append(out, a)
		}
	}
	return out, nil
}

// free reports whether the register lets a version go: nothing is outstanding under it, and for protected classes
// its owner has said so of this very version. Of other classes silence counts once the recipient usage period is
// over. missing says in words what is in the way.
func free(view *store.View, k *key.Key, v *key.Version, at time.Time) (ok bool, missing []string, err error) {
	if v.PublicHalfVerifies() {
		return true, nil, nil // nothing depends on the private half: what it signed is verified by the public one, which stays
	}
	assets, err := assetsOf(view, k.ID)
	if err != nil {
		return false, nil, err
	}
	said := false
	for _, a := range assets {
		if left := a.Outstanding(v.Version); left > 0 {
			missing = append(missing, fmt.Sprintf("%d records of asset %s (%s)", left, a.ID, a.Label))
		}
		if _, counted := a.Count(v.Version); counted {
			said = true
		}
	}
	silence := !policies.ProtectedClass(string(k.Classification)) && !at.Before(v.RUPEnd)
	if len(missing) == 0 && !said && !silence {
		missing = append(missing, fmt.Sprintf("nobody has said whether data is under version %d (asset.register; none: true where there is none)", v.Version))
	}
	return len(missing) == 0, missing, nil
}
