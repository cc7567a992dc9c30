package operation

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// Bounds on wrapping keys (ours). AWS gives theirs 24 hours, Google 3 days.
const (
	usualWrappingHours = 24
	mostWrappingHours  = 14 * 24
	maxWrappingKeys    = 20 // open ones of one keystore
)

type wrappingKeyCreateParams struct {
	ID        string   `json:"id"`
	Keystore  string   `json:"keystore"`
	Algorithm hsm.Spec `json:"algorithm"` // "" for rsa-oaep-4096
	Hours     int      `json:"hours"`     // until it expires; 0 for 24
}

// wrappingKeyCreate makes a pair in a keystore, for one key that was made elsewhere to be wrapped for. By itself it
// lets nothing in: that takes key.import.
type wrappingKeyCreate struct{}

func (wrappingKeyCreate) Name() string { return "wrappingkey.create" }

func (wrappingKeyCreate) read(view *store.View, in Input) (wrappingKeyCreateParams, *key.Keystore, error) {
	p, err := decode[wrappingKeyCreateParams](in)
	if err != nil {
		return p, nil, err
	}
	p.Algorithm, p.Hours = cmp.Or(p.Algorithm, hsm.RSAOAEP4096), cmp.Or(p.Hours, usualWrappingHours)
	err = key.First([]error{vacant(view, custodian.KindWrappingKey, "id", p.ID, "wrapping key"),
		key.CheckOneOf("algorithm", p.Algorithm, hsm.RSAOAEP4096, hsm.RSAOAEP3072),
		key.CheckRange("hours", p.Hours, 1, mostWrappingHours, "hours, 0 for a day")})
	if err != nil {
		return p, nil, err
	}
	record, err := keystoreRow(view, "keystore", p.Keystore)
	return p, record, err
}

func (o wrappingKeyCreate) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	p, record, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "wrapping_key", ID: p.ID}, Title: fmt.Sprintf("Make wrapping key %s in keystore %s, for one key to be imported", p.ID, record.ID),
		Lines: []Line{{Label: "wrapping key", After: fmt.Sprintf("%s: %s, %d bits of strength", p.ID, p.Algorithm, p.Algorithm.StrengthBits())},
			{Label: "keystore", After: record.ID}, {Label: "expires", After: amount.Of(p.Hours, "hour") + " after it is made, or with its one use"}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "wrapping_key", ID: p.ID, Owner: record.Controller}}}
	if plan.Deny = inactive(env, record); len(plan.Deny) > 0 {
		return plan, nil
	}
	if record.Status != key.KeystoreRegistered {
		plan.Deny = append(plan.Deny, refusal("keystore_retired", "keystore "+record.ID+" is "+record.Status, "use a registered keystore"))
	}
	plan.Deny = append(plan.Deny, wrapsFor(env, record, p.Algorithm)...)
	open := 0
	for _, w := range store.All[key.WrappingKey](view, custodian.KindWrappingKey) {
		if w.Keystore == record.ID && w.Status == key.WrappingOpen {
			open++
		}
	}
	if open >= maxWrappingKeys {
		plan.Deny = append(plan.Deny, refusal("too_many_wrapping_keys", fmt.Sprintf("%d wrapping keys of keystore %s are open", open, record.ID),
			"withdraw some (wrappingkey.withdraw), or wait until they expire"))
	}
	return plan, nil
}

// wrapsFor refuses a keystore that makes no wrapping pairs of this kind.
func wrapsFor(env Env, record *key.Keystore, pair hsm.Spec) []policies.Reason {
	can, _, deny := importCapability(env, record, hsm.ImportWrapped)
	if len(deny) > 0 {
		return deny
	}
	for _, s := range can.WrappingSpecs {
		if s == pair {
			return nil
		}
	}
	return []policies.Reason{refusal("import_unsupported", fmt.Sprintf("keystore %s makes no wrapping pair of %s", record.ID, pair), "choose one of "+list(can.WrappingSpecs))}
}

// importCapability is what a keystore that serves takes in one form, and its driver.
func importCapability(env Env, record *key.Keystore, form hsm.ImportForm) (hsm.ImportCapability, hsm.Importer, []policies.Reason) {
	driver, err := env.Custodian.Keystore(record.ID)
	if err == nil {
		importer, ok := driver.(hsm.Importer)
		if can, takes := driver.Capabilities().ImportsBy(form); ok && takes {
			return can, importer, nil
		}
	}
	return hsm.ImportCapability{}, nil, []policies.Reason{refusal("import_unsupported", fmt.Sprintf("keystore %s takes no keys in form %s: %s", record.ID, form, formNeeds(form)),
		"import into a keystore that does, or in another form")}
}

// importerOf is the driver that takes keys, as the newest record has it.
func importerOf(env Env, keystore string) (hsm.Importer, error) {
	driver, err := Current(env, keystore)
	if err != nil {
		return nil, err
	}
	importer, ok := driver.(hsm.Importer)
	if !ok {
		return nil, fmt.Errorf("keystore %s takes no keys: %w", keystore, hsm.ErrUnsupported)
	}
	return importer, nil
}

func (o wrappingKeyCreate) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	p, _, err := o.read(env.Custodian.View(), in)
	if err != nil {
		return Effect{}, err
	}
	driver, err := importerOf(env, p.Keystore)
	if err != nil {
		return Effect{}, err
	}
	material, err := driver.CreateWrapping(ctx, p.ID, p.Algorithm, effectID)
	if err != nil {
		return Effect{}, err
	}
	return Effect{ID: effectID, Material: &material}, nil
}

func (wrappingKeyCreate) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	p, err := decode[wrappingKeyCreateParams](in)
	if err != nil {
		return Effect{}, false, err
	}
	return findMaterial(ctx, env, p.Keystore, effectID)
}

func (o wrappingKeyCreate) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	p, record, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if effect.Material == nil {
		return Result{}, fmt.Errorf("effect %s made no pair", effect.ID)
	}
	driver, err := Driver(env, record)
	if err != nil {
		return Result{}, err
	}
	if err := underRecord(env, tx.View(), driver, record, effect.Material); err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	w := &key.WrappingKey{ID: p.ID, Keystore: record.ID, Spec: p.Algorithm, Material: *effect.Material, Public: effect.Material.Public,
		CheckValue: effect.Material.CheckValue, StrengthBits: p.Algorithm.StrengthBits(), Status: key.WrappingOpen, CreatedAt: a.at, CreatedBy: in.Requester.ID,
		Ceremony: in.Ceremony, ExpiresAt: a.at.Add(time.Duration(p.Hours) * time.Hour), Development: in.Instance.Mode == custodian.Development}
	w.Material.Public = nil
	detail := map[string]any{"keystore": w.Keystore, "specification": w.Spec, "strength": w.StrengthBits, "check_value": w.CheckValue,
		"expires_at": w.ExpiresAt.UTC().Format(time.RFC3339)}
	e := a.event("wrappingkey.create", wrappingTarget(w), detail)
	return result(map[string]any{"wrapping_key": w.ID, "keystore": w.Keystore, "check_value": w.CheckValue, "expires_at": w.ExpiresAt.UTC().Format(time.RFC3339)}),
		a.put(tx, custodian.KindWrappingKey, w.ID, w, e)
}

func (wrappingKeyCreate) Undo(ctx context.Context, env Env, in Input, effect Effect) error {
	p, err := decode[wrappingKeyCreateParams](in)
	if err != nil {
		return err
	}
	return destroyMaterial(ctx, env, p.Keystore, effect)
}

func wrappingTarget(w *key.WrappingKey) ledger.Target {
	return ledger.Target{Type: "wrapping_key", ID: w.ID}
}

func wrappingRow(view *store.View, id string) (*key.WrappingKey, error) {
	w, _, err := lookup[key.WrappingKey](view, custodian.KindWrappingKey, "wrapping_key", id, "wrapping key")
	return w, err
}

// stored reports whether a keystore itself holds its pairs, so that destroying one is more than forgetting the blob. One
// whose driver this process lacks may.
func stored(env Env, keystore string) bool {
	driver, err := env.Custodian.Keystore(keystore)
	return err != nil || driver.Capabilities().StoresKeys
}

type wrappingKeyWithdrawParams struct {
	WrappingKey string `json:"wrapping_key"`
	Reason      string `json:"reason"`
}

// wrappingKeyWithdraw ends a wrapping key before its time. It only restricts.
type wrappingKeyWithdraw struct{}

func (wrappingKeyWithdraw) Name() string { return "wrappingkey.withdraw" }

func (wrappingKeyWithdraw) read(view *store.View, in Input) (*key.WrappingKey, string, error) {
	p, err := decode[wrappingKeyWithdrawParams](in)
	if err != nil {
		return nil, "", err
	}
	reason, err := why("reason", p.Reason, in)
	if err != nil {
		return nil, "", err
	}
	w, err := wrappingRow(view, p.WrappingKey)
	return w, reason, err
}

func (o wrappingKeyWithdraw) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	w, reason, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "wrapping_key", ID: w.ID}, Title: fmt.Sprintf("Withdraw wrapping key %s: what was wrapped for it can not be imported", w.ID),
		Lines:  []Line{{Label: "wrapping key", Before: w.Status, After: key.WrappingWithdrawn}, {Label: "reason", After: reason}},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "wrapping_key", ID: w.ID, Owner: w.CreatedBy}}}
	if w.Status != key.WrappingOpen {
		plan.Deny = append(plan.Deny, refusal("wrapping_key_"+w.Status, fmt.Sprintf("wrapping key %s is %s", w.ID, w.Status), "nothing to do"))
	}
	return plan, nil
}

func (o wrappingKeyWithdraw) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	w, reason, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, reason)
	next := w.End(key.WrappingWithdrawn, "", a.at, stored(env, w.Keystore))
	e := a.event("wrappingkey.withdraw", wrappingTarget(w), map[string]any{"keystore": w.Keystore})
	return result(map[string]any{"wrapping_key": w.ID, "status": next.Status}), a.put(tx, custodian.KindWrappingKey, w.ID, next, e)
}
