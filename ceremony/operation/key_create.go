package operation

import (
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Bounds of an activation date around the proposal (ours): a ceremony may take a while, and a key is not
// made years before it is needed.
const (
	oldestActivation = 60 * key.Day
	latestActivation = 730 * key.Day
)

type keyCreateParams struct {
	ID             string             `json:"id"`
	Label          string             `json:"label"`
	Type           key.Type           `json:"type"`
	Algorithm      hsm.Spec           `json:"algorithm"`
	Classification key.Classification `json:"classification"`
	Impact         key.Impact         `json:"impact"`
	Frameworks     []string           `json:"frameworks"`
	Jurisdiction   string             `json:"jurisdiction"`
	Environment    string             `json:"environment"`
	Owner          string             `json:"owner"`
	Purpose        string             `json:"purpose"`
	Keystore       string             `json:"keystore"`
	Custody        []hsm.CustodyModel `json:"custody"` // models that it may be under; none: whatever its class accepts
	OUPDays        int                `json:"oup_days"`
	RUPDays        int                `json:"rup_days"`
	RotateDays     int                `json:"rotate_days"`
	ActivationAt   time.Time          `json:"activation_at"`
	Template       string             `json:"template"` // approved beforehand for keys like this one
}

// keyCreate makes a new key with its first version.
type keyCreate struct{}

func (keyCreate) Name() string { return "key.create" }

// draft is the record of the key as it would be, with the periods that policy fills in, and what policy has
// against them.
func (p *keyCreateParams) draft(ctx context.Context, env Env, in Input, origin string) (*key.Key, []policies.Reason, error) {
	if err := p.kind(); err != nil {
		return nil, nil, err
	}
	k := &key.Key{ID: p.ID, Label: p.Label, Type: p.Type, Spec: p.Algorithm, Classification: p.Classification, Impact: p.Impact, Frameworks: p.Frameworks,
		Jurisdiction: p.Jurisdiction, Environment: p.Environment, Owner: p.Owner, Purpose: p.Purpose, Keystore: p.Keystore, Custody: p.Custody,
		Origin: origin, OUPDays: p.OUPDays, RUPDays: p.RUPDays, RotateDays: p.RotateDays,
		GovRevision: 1, CreatedBy: in.Ceremony, Template: p.Template, Development: in.Instance.Mode == custodian.Development}
	const most = 100 * 365
	err := key.First([]error{
		key.CheckRange("oup_days", p.OUPDays, 0, most, "days, 0 for the default"),
		key.CheckRange("rup_days", p.RUPDays, 0, most, "days, 0 for the default"),
		key.CheckRange("rotate_days", p.RotateDays, 0, most, "days, 0 for the default"),
		withPeriods(*k, 1).Validate(),
	})
	if err != nil {
		return nil, nil, err
	}
	periods, err := lifecycle(ctx, env, in, k)
	if err != nil {
		return nil, nil, fmt.Errorf("judging the periods of key %s: %w", p.ID, err)
	}
	if !periods.Allow {
		return k, periods.Reasons, nil
	}
	k.OUPDays, k.RUPDays, k.RotateDays = periods.OUPDays, periods.RUPDays, periods.RotateDays
	return k, nil, k.Validate()
}

// kind fills in what type and algorithm leave open: each says what the other is, where there is one choice only.
func (p *keyCreateParams) kind() error {
	if p.Algorithm == "" {
		if p.Type == "" {
			p.Type = key.DataEncryption
		}
		if err := key.CheckOneOf("type", p.Type, key.Made()...); err != nil {
			return err
		}
		choice := p.Type.Specs()
		if len(choice) != 1 {
			return &custodian.InputError{Field: "algorithm", Problem: "missing", Allowed: list(choice)}
		}
		p.Algorithm = choice[0]
	}
	if p.Type == "" {
		p.Type = key.TypeFor(p.Algorithm)
	}
	return nil
}

func (p *keyCreateParams) checkActivation(now time.Time) error {
	if p.ActivationAt.IsZero() {
		return nil
	}
	if p.ActivationAt.Before(now.Add(-oldestActivation)) || p.ActivationAt.After(now.Add(latestActivation)) {
		return &custodian.InputError{Field: "activation_at", Problem: p.ActivationAt.UTC().Format(time.RFC3339),
			Allowed: fmt.Sprintf("within %d days from now; nothing for at once", latestActivation/key.Day)}
	}
	return nil
}

func (keyCreate) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[keyCreateParams](in)
	if err != nil {
		return Plan{}, err
	}
	_, plan, err := p.plan(ctx, env, view, in, key.OriginGenerated)
	return plan, err
}

// plan is the record of the key as it would be, with material of this origin, and what is to be said about making it.
func (p *keyCreateParams) plan(ctx context.Context, env Env, view *store.View, in Input, origin string) (*key.Key, Plan, error) {
	k, against, err := p.draft(ctx, env, in, origin)
	if err != nil {
		return nil, Plan{}, err
	}
	if err := key.First([]error{vacant(view, custodian.KindKey, "id", p.ID, "key"), p.checkActivation(in.Now)}); err != nil {
		return nil, Plan{}, err
	}
	if _, err := presentPerson(view, "owner", p.Owner); err != nil {
		return nil, Plan{}, err
	}
	record, err := keystoreRow(view, "keystore", p.Keystore)
	if err != nil {
		return nil, Plan{}, err
	}
	plan := Plan{Target: Target{Type: "key", ID: k.ID}, Title: fmt.Sprintf("Create key %s in keystore %s", k.ID, k.Keystore),
		Lines: p.lines(k, in), Quorum: keyQuorum(k), Deny: against}
	if p.Template != "" {
		t, against, err := underTemplate(view, p.Template, k)
		if err != nil {
			return nil, Plan{}, err
		}
		plan.Quorum.Precedent, plan.Deny = t.ApprovedBy, append(plan.Deny, against...)
		plan.Lines = append(plan.Lines, Line{Label: "template", After: fmt.Sprintf("%s: key %d of at most %d", t.ID, t.Made+1, t.MaxKeys)})
	}
	misfits, err := misplaced(ctx, env, view, k)
	if err != nil {
		return nil, Plan{}, err
	}
	if plan.Deny = append(plan.Deny, misfits...); len(plan.Deny) > 0 {
		return k, plan, nil
	}
	risks, err := acceptedRisks(ctx, env, view, k)
	if err != nil {
		return nil, Plan{}, err
	}
	plan.Lines = append(plan.Lines, risks...)
	plan.Deny = inactive(env, record)
	missing, err := unacknowledged(view, record, in)
	if err != nil {
		return nil, Plan{}, err
	}
	if len(missing) > 0 {
		plan.Deny = append(plan.Deny, refusal(key.CodeAcknowledgement, "custodians of keystore "+record.ID+" have not acknowledged their duty: "+list(missing),
			"they sign it (acknowledgement.sign)"))
	}
	return k, plan, nil
}

func (p *keyCreateParams) lines(k *key.Key, in Input) []Line {
	at := "at once"
	if p.ActivationAt.After(in.Now) {
		at = p.ActivationAt.UTC().Format(time.RFC3339)
	}
	lines := []Line{
		keyLine(k),
		{Label: "type", After: string(k.Type)},
		{Label: "algorithm", After: describeSpec(k.Specification())},
		{Label: "impact (FIPS 199)", After: string(k.Impact)},
		{Label: "jurisdiction", After: k.Jurisdiction},
		{Label: "keystore", After: k.Keystore},
		{Label: "periods", After: describePeriods(k.OUPDays, k.RUPDays, k.RotateDays)},
		{Label: "works from", After: at},
	}
	if len(k.Frameworks) > 0 {
		lines = append(lines, Line{Label: "frameworks", After: list(k.Frameworks)})
	}
	if len(k.Custody) > 0 {
		lines = append(lines, Line{Label: "custody models", After: list(k.Custody)})
	}
	if k.Purpose != "" {
		lines = append(lines, Line{Label: "purpose", After: k.Purpose})
	}
	return lines
}

func (keyCreate) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	p, err := decode[keyCreateParams](in)
	if err != nil {
		return Effect{}, err
	}
	if err := p.kind(); err != nil {
		return Effect{}, err
	}
	return makeMaterial(ctx, env, &key.Key{ID: p.ID, Keystore: p.Keystore, Spec: p.Algorithm}, 1, effectID)
}

func (keyCreate) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	p, err := decode[keyCreateParams](in)
	if err != nil {
		return Effect{}, false, err
	}
	return findMaterial(ctx, env, p.Keystore, effectID)
}

func (keyCreate) Complete(ctx context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, err := decode[keyCreateParams](in)
	if err != nil {
		return Result{}, err
	}
	k, against, err := p.draft(ctx, env, in, key.OriginGenerated)
	if err != nil {
		return Result{}, err
	}
	if len(against) > 0 {
		return Result{}, fmt.Errorf("periods of key %s: %s", k.ID, against[0].Message)
	}
	if err := vacant(tx.View(), custodian.KindKey, "id", k.ID, "key"); err != nil {
		return Result{}, err
	}
	driver, err := driverOf(env, tx.View(), k.Keystore)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	k.CreatedAt = a.at
	v, err := newVersion(a, driver, k, 1, effect, p.ActivationAt)
	if err != nil {
		return Result{}, err
	}
	if p.Template != "" {
		if err := takeTemplate(tx, p.Template, k); err != nil {
			return Result{}, err
		}
	}
	return recordMade(ctx, env, tx, in, "key.create", k, v)
}

func (keyCreate) Undo(ctx context.Context, env Env, in Input, effect Effect) error {
	p, err := decode[keyCreateParams](in)
	if err != nil {
		return err
	}
	return destroyMaterial(ctx, env, p.Keystore, effect)
}

// describeSpec says what a key is to be, in the words of its one use.
func describeSpec(s hsm.Spec) string {
	return fmt.Sprintf("%s, for %s, %d bits of strength", s, s.Kind(), s.StrengthBits())
}

// withPeriods returns a key with the shortest periods there are, to check everything else about it.
func withPeriods(k key.Key, days int) *key.Key {
	k.OUPDays, k.RUPDays, k.RotateDays = days, days, days
	return &k
}
