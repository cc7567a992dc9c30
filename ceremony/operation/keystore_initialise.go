package operation

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

// keystoreInitialise takes over the token that a keystore is: it is erased, and its PINs become those that follow from the
// activation secret, which the custodians bring. That they bring it, instead of the service making it then, is what makes
// a process that ends half-way harmless: the shares are there before the token asks for anything that they open.
type keystoreInitialise struct{}

func (keystoreInitialise) Name() string { return "keystore.initialise" }

func (keystoreInitialise) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	record, err := keystoreOf(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(record, fmt.Sprintf("Initialise the token of keystore %s: everything in it is erased, and only its shares open it", record.ID))
	if record.Token == nil {
		plan.Deny = append(plan.Deny, refusal("no_device", fmt.Sprintf("a %s keystore is no device to be initialised", record.Driver), "it is activated as it is"))
		return plan, nil
	}
	set, _, err := keystoreSet(view, record)
	if err != nil {
		return Plan{}, err
	}
	plan.ShareSet = set.ID
	plan.Quorum.Target.Threshold, plan.Quorum.Target.Total = set.Threshold, set.Total
	plan.Lines = append(plan.Lines, deviceLines(&record.Token.Device)...)
	plan.Lines = append(plan.Lines, Line{Label: "share set", After: fmt.Sprintf("%s, epoch %d: %d of %d shares", set.ID, set.Epoch, set.Threshold, set.Total)})
	if record.Initialised() {
		plan.Deny = append(plan.Deny, refusal("already_initialised", fmt.Sprintf("the token of keystore %s was initialised by %s; keys may be in it", record.ID, record.Token.InitialisedBy),
			"nothing to do; a token that is to be emptied is zeroised with its keystore"))
	}
	if record.Status != key.KeystoreRegistered {
		plan.Deny = append(plan.Deny, refusal("keystore_retired", "keystore "+record.ID+" is "+record.Status, "use a registered keystore"))
	}
	return plan, nil
}

// Examine looks whether this node has what it takes: the device, and the first PIN of its security officer.
func (keystoreInitialise) Examine(ctx context.Context, env Env, view *store.View, in Input) ([]policies.Reason, error) {
	record, err := keystoreOf(view, in)
	if err != nil || record.Token == nil || record.Initialised() { // what Prepare says is all there is to say
		return nil, err
	}
	driver, err := Driver(env, record)
	if err != nil {
		return nil, err
	}
	device, ok := driver.(hsm.Initialiser)
	if !ok {
		return nil, fmt.Errorf("initialising keystore %s: %w", record.ID, hsm.ErrUnsupported)
	}
	if err := device.CheckInitialise(ctx); err != nil {
		return []policies.Reason{refusal("not_prepared", err.Error(), "prepare it on node "+env.Custodian.Node()+" as docs/hsm.md says, and ask again")}, nil
	}
	return nil, nil
}

// deviceLines tell a token to those who decide about it.
func deviceLines(d *hsm.Device) []Line {
	lines := []Line{{Label: "token label", After: d.Label}, {Label: "token serial number", After: d.Serial}}
	if d.Manufacturer != "" {
		lines = append(lines, Line{Label: "made by", After: fmt.Sprintf("%s, %s, firmware %s", d.Manufacturer, d.Model, d.Firmware)})
	}
	return lines
}

// Effect initialises the token. A process that ends in it leaves a token whose security officer has the first PIN or the
// one of the shares: bringing the shares again comes to the same end.
func (keystoreInitialise) Effect(ctx context.Context, env Env, in Input, effectID string, shares *secret.Bytes) (Effect, error) {
	if shares == nil {
		return Effect{}, errors.New("initialising a token takes its shares")
	}
	driver, id, err := named(env, in)
	if err != nil {
		return Effect{}, err
	}
	device, ok := driver.(hsm.Initialiser)
	if !ok {
		return Effect{}, fmt.Errorf("initialising keystore %s: %w", id, hsm.ErrUnsupported)
	}
	if err := device.Initialise(ctx, shares); err != nil {
		return Effect{}, err
	}
	return Effect{ID: effectID}, nil
}

// Recover: the shares are gone with the process, so what was begun is begun anew with them.
func (keystoreInitialise) Recover(context.Context, Env, Input, string) (Effect, bool, error) {
	return Effect{}, false, nil
}

func (keystoreInitialise) Complete(_ context.Context, env Env, tx *store.Tx, in Input, _ Effect) (Result, error) {
	record, err := keystoreOf(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if record.Token == nil || record.Initialised() {
		return Result{}, fmt.Errorf("keystore %s is not one that waits to be initialised: %w", record.ID, ErrOvertaken)
	}
	a := act(env, tx, in, in.Reason)
	ks, token := *record, *record.Token
	token.InitialisedAt, token.InitialisedBy = &a.at, in.Ceremony
	ks.Token = &token
	ks.GovRevision++
	e := a.event("keystore.initialise", ledger.Target{Type: "keystore", ID: ks.ID}, map[string]any{"node": env.Custodian.Node(), "share_set": ks.ShareSet,
		"token_label": token.Device.Label, "token_serial": token.Device.Serial, "manufacturer": token.Device.Manufacturer, "model": token.Device.Model, "firmware": token.Device.Firmware})
	if err := a.put(tx, custodian.KindKeystore, ks.ID, &ks, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": ks.ID, "token_serial": token.Device.Serial, "active": true, "node": env.Custodian.Node()}), nil
}

// Undo closes the keystore. Its token stays erased, and is initialised anew.
func (keystoreInitialise) Undo(ctx context.Context, env Env, in Input, _ Effect) error {
	driver, _, err := named(env, in)
	if err != nil {
		return err
	}
	return driver.Deactivate(ctx)
}

// uninitialised refuses what needs a token that was taken over.
func uninitialised(record *key.Keystore) []policies.Reason {
	if record.Initialised() {
		return nil
	}
	return []policies.Reason{refusal("not_initialised", fmt.Sprintf("the token of keystore %s is not initialised yet", record.ID), "its custodians initialise it (keystore.initialise)")}
}
