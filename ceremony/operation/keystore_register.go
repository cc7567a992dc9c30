package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/ceremony/issue"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
	"conclave/policies"
)

// driverSoftware is the driver of keystores that are no device.
const driverSoftware = "software"

// newActivation makes the activation secret of a keystore of a driver.
func newActivation(driver string) (*secret.Bytes, []byte, error) {
	if driver == pkcs11.Driver {
		return pkcs11.NewActivation()
	}
	return soft.NewActivation()
}

// tokenParams name a token: by label, serial number, or both.
type tokenParams struct {
	Module string `json:"module"`
	Label  string `json:"label"`
	Serial string `json:"serial"`
}

type shareSetParams struct {
	ID        string   `json:"id"`
	Threshold int      `json:"threshold"`
	Holders   []string `json:"holders"` // person ids; the first gets share 1
}

type keystoreRegisterParams struct {
	ID           string           `json:"id"`
	Driver       string           `json:"driver"`
	Jurisdiction string           `json:"jurisdiction"`
	Environment  string           `json:"environment"`
	Location     string           `json:"location"`
	Controller   string           `json:"controller"`
	Custody      hsm.CustodyModel `json:"custody"`
	Make         string           `json:"make"`
	Model        string           `json:"model"`
	ShareSet     shareSetParams   `json:"share_set"`
	Token        *tokenParams     `json:"token,omitempty"`
}

// record is the governed row before its driver has proved anything.
func (p *keystoreRegisterParams) record() *key.Keystore {
	custody := p.Custody
	if custody == "" {
		custody = hsm.CustodySelf
	}
	out := &key.Keystore{ID: p.ID, Driver: p.Driver, Make: p.Make, Model: p.Model, Custody: custody,
		Jurisdiction: p.Jurisdiction, Environment: p.Environment, Location: p.Location, Controller: p.Controller,
		ShareSet: p.ShareSet.ID, Status: key.KeystoreRegistered, GovRevision: 1}
	if p.Token != nil {
		out.Token = &key.Token{Module: p.Token.Module, Device: hsm.Device{Label: p.Token.Label, Serial: p.Token.Serial}}
	}
	return out
}

func (p *keystoreRegisterParams) set() *people.ShareSet {
	return &people.ShareSet{ID: p.ShareSet.ID, Keystore: p.ID, Threshold: p.ShareSet.Threshold, Total: len(p.ShareSet.Holders),
		Epoch: 1, Scheme: shamir.Scheme, Module: shamir.Module}
}

// keystoreRegister makes a keystore known: its activation secret is made, split, sealed to the holders of the
// shares and forgotten. It can be activated once enough holders have confirmed theirs.
type keystoreRegister struct{}

func (keystoreRegister) Name() string { return "keystore.register" }

func (keystoreRegister) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	p, err := decode[keystoreRegisterParams](in)
	if err != nil {
		return Plan{}, err
	}
	if err := p.check(view); err != nil {
		return Plan{}, err
	}
	if _, err := presentPerson(view, "controller", p.Controller); err != nil {
		return Plan{}, err
	}
	plan := Plan{
		Target: Target{Type: "keystore", ID: p.ID},
		Title:  fmt.Sprintf("Register keystore %s and issue the shares that open it", p.ID),
		Lines: []Line{
			{Label: "driver", After: p.Driver},
			{Label: "jurisdiction", After: p.Jurisdiction},
			{Label: "environment", After: p.Environment},
			{Label: "location", After: p.Location},
			{Label: "controller", After: p.Controller},
			{Label: "share set", After: fmt.Sprintf("%s: %d of %d shares open it", p.ShareSet.ID, p.ShareSet.Threshold, len(p.ShareSet.Holders))},
			{Label: "holders", After: list(p.ShareSet.Holders)},
		},
		Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "keystore", ID: p.ID, Owner: p.Controller,
			Threshold: p.ShareSet.Threshold, Total: len(p.ShareSet.Holders)}},
		Deny: strongHolders(view, nil, p.set(), p.ShareSet.Holders),
	}
	if record := p.record(); record.Token != nil {
		plan.Lines = append(plan.Lines, Line{Label: "module", After: record.Token.Module})
		plan.Lines = append(plan.Lines, deviceLines(&record.Token.Device)...)
		plan.Lines = append(plan.Lines, Line{Label: "then", After: "its custodians initialise it, which erases what is in it (keystore.initialise)"})
	}
	return plan, nil
}

func (p *keystoreRegisterParams) check(view *store.View) error {
	record, set := p.record(), p.set()
	return key.First([]error{
		key.CheckOneOf("driver", p.Driver, driverSoftware, pkcs11.Driver),
		p.checkToken(view),
		key.CheckOneOf("custody", record.Custody, hsm.CustodySelf),
		record.Validate(),
		vacant(view, custodian.KindKeystore, "id", p.ID, "keystore"),
		within("share_set", set.Validate()),
		vacant(view, custodian.KindShareSet, "share_set.id", p.ShareSet.ID, "share set"),
		within("share_set", checkHolders(view, set, p.ShareSet.Holders)),
	})
}

// checkToken holds driver and token together, and refuses a token that another keystore is.
func (p *keystoreRegisterParams) checkToken(view *store.View) error {
	switch {
	case p.Driver == pkcs11.Driver && p.Token == nil:
		return &custodian.InputError{Field: "token", Problem: "missing", Allowed: "module, and label or serial number, of the token that the keystore is to be"}
	case p.Driver != pkcs11.Driver && p.Token != nil:
		return &custodian.InputError{Field: "token", Problem: "a " + p.Driver + " keystore is no token", Allowed: "no token, or driver " + pkcs11.Driver}
	case p.Token == nil:
		return nil
	}
	return sameToken(view, p.ID, p.Token.Module, p.Token.Serial)
}

// sameToken refuses a second keystore in one token: they would log each other out, and share one fate.
func sameToken(view *store.View, id, module, serial string) error {
	for _, ks := range store.All[key.Keystore](view, custodian.KindKeystore) {
		if serial != "" && ks.ID != id && ks.Token != nil && ks.Status == key.KeystoreRegistered && ks.Token.Module == module && ks.Token.Device.Serial == serial {
			return &custodian.InputError{Field: "token.serial", Problem: fmt.Sprintf("%s is keystore %s", serial, ks.ID), Allowed: "a token that is no keystore yet"}
		}
	}
	return nil
}

// Pin looks for the token and writes down which one it is, so that nobody is asked to approve what this node does not
// find, and everybody signs for one device. It changes nothing in it.
func (keystoreRegister) Pin(_ context.Context, env Env, view *store.View, in Input) ([]byte, error) {
	p, err := decode[keystoreRegisterParams](in)
	if err != nil {
		return nil, err
	}
	if err := p.check(view); err != nil {
		return nil, err
	}
	if p.Token == nil {
		return in.Params, nil
	}
	activation, verifier, err := newActivation(p.Driver)
	if err != nil {
		return nil, err
	}
	activation.Wipe() // nothing is opened with it: only a driver takes a verifier
	record := p.record()
	record.Verifier = verifier
	driver, err := env.Drivers(record)
	if err != nil {
		return nil, &custodian.InputError{Field: "token", Problem: err.Error(), Allowed: "a token that this node finds now, by a module of its configuration"}
	}
	if device, ok := driver.(hsm.Initialiser); ok {
		p.Token.Label, p.Token.Serial = device.Device().Label, device.Device().Serial
	}
	if err := sameToken(view, p.ID, p.Token.Module, p.Token.Serial); err != nil {
		return nil, err
	}
	return custodian.Detail(p), nil
}

// registered is what the effect leaves for the record: nothing in it is secret.
type registered struct {
	Keystore key.Keystore    `json:"keystore"`
	Set      people.ShareSet `json:"set"`
	Shares   []people.Share  `json:"shares"`
}

// Effect makes the activation secret, hands it out and forgets it. Nothing is stored outside the database, so
// what was not recorded did not happen.
func (keystoreRegister) Effect(_ context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	p, err := decode[keystoreRegisterParams](in)
	if err != nil {
		return Effect{}, err
	}
	view := env.Custodian.View()
	if err := p.check(view); err != nil {
		return Effect{}, err
	}
	activation, verifier, err := newActivation(p.Driver)
	if err != nil {
		return Effect{}, err
	}
	defer activation.Wipe()
	made := registered{Keystore: *p.record()}
	made.Keystore.Verifier, made.Keystore.RegisteredBy = verifier, in.Ceremony
	driver, err := env.Drivers(&made.Keystore)
	if err != nil { // not %w: a token that is away is not waited for, since nothing has been done that could be lost
		return Effect{}, fmt.Errorf("making the driver of keystore %s: %v; propose it again", p.ID, err)
	}
	made.Keystore.SetFacts(driver)
	if err := made.Keystore.Validate(); err != nil {
		return Effect{}, fmt.Errorf("facts that the driver reports: %w", err)
	}
	issued, err := issue.Shares(activation, p.order(view, driver, in.Now))
	if err != nil {
		return Effect{}, fmt.Errorf("issuing shares: %w", err)
	}
	made.Set, made.Shares = issued.Set, issued.Shares
	data, err := json.Marshal(made)
	if err != nil {
		return Effect{}, fmt.Errorf("encoding what was made: %w", err)
	}
	return Effect{ID: effectID, Data: data}, nil
}

func (p *keystoreRegisterParams) order(view *store.View, driver hsm.Keystore, at time.Time) issue.Order {
	order := issue.Order{Set: p.ShareSet.ID, Keystore: p.ID, Epoch: 1, Threshold: p.ShareSet.Threshold, RNG: driver.Facts().RNG, At: at}
	find := register(view)
	for _, id := range p.ShareSet.Holders {
		order.Holders = append(order.Holders, find(id))
	}
	return order
}

func (keystoreRegister) Recover(context.Context, Env, Input, string) (Effect, bool, error) {
	return Effect{}, false, nil
}

func (keystoreRegister) Complete(_ context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	var made registered
	if err := json.Unmarshal(effect.Data, &made, json.RejectUnknownMembers(true)); err != nil {
		return Result{}, fmt.Errorf("reading what was made: %w", err)
	}
	p, err := decode[keystoreRegisterParams](in)
	if err != nil {
		return Result{}, err
	}
	if err := p.check(tx.View()); err != nil {
		return Result{}, err
	}
	if t := made.Keystore.Token; t != nil { // the serial number that the token itself gave
		if err := sameToken(tx.View(), p.ID, t.Module, t.Device.Serial); err != nil {
			return Result{}, err
		}
	}
	a := act(env, tx, in, in.Reason)
	made.Keystore.RegisteredAt, made.Set.IssuedAt = a.at, a.at
	ks, set := &made.Keystore, &made.Set
	err = a.put(tx, custodian.KindKeystore, ks.ID, ks, a.event("keystore.register", ledger.Target{Type: "keystore", ID: ks.ID},
		map[string]any{"driver": ks.Driver, "specifications": ks.Capabilities.Makes(), "fips_standard": ks.FIPSStandard, "fips_level": ks.FIPSLevel, "certificate": ks.Certificate,
			"jurisdiction": ks.Jurisdiction, "location": ks.Location, "controller": ks.Controller}))
	if err != nil {
		return Result{}, err
	}
	err = a.put(tx, custodian.KindShareSet, set.ID, set, a.event("shareset.create", ledger.Target{Type: "share_set", ID: set.ID},
		map[string]any{"threshold": set.Threshold, "total": set.Total, "epoch": set.Epoch, "scheme": set.Scheme, "rng": set.RNG, "module": set.Module}))
	if err != nil {
		return Result{}, err
	}
	if err := recordIssued(a, tx, made.Shares); err != nil {
		return Result{}, err
	}
	out := map[string]any{"keystore": ks.ID, "share_set": set.ID, "epoch": set.Epoch,
		"confirm": fmt.Sprintf("%d holders confirm their shares before it can be activated", min(set.Total, set.Threshold+1))}
	if ks.Token != nil {
		out["token_serial"], out["makes"], out["lacks"] = ks.Token.Device.Serial, ks.Capabilities.Makes(), lacking(ks.Capabilities)
		out["takes_keys"] = takesKeys(ks.Capabilities)
	}
	return result(out), nil
}

// Undo: nothing was left outside the database; the sealed shares open nothing that exists.
func (keystoreRegister) Undo(context.Context, Env, Input, Effect) error { return nil }

// lacking are the specifications that a keystore does not make: known now, not when somebody asks for one.
func lacking(c hsm.Capabilities) []hsm.Spec {
	return slices.DeleteFunc(hsm.Specs(), func(s hsm.Spec) bool { return slices.Contains(c.Makes(), s) })
}

// takesKeys says which keys made elsewhere a keystore takes in each form, or why none.
func takesKeys(c hsm.Capabilities) map[string]string {
	out := map[string]string{}
	for _, form := range hsm.ImportForms() {
		can, takes := c.ImportsBy(form)
		out[string(form)] = list(can.Specs)
		if !takes {
			out[string(form)] = "none: " + formNeeds(form)
		}
	}
	return out
}

// formNeeds says what a device lacks that takes no keys in a form.
func formNeeds(form hsm.ImportForm) string {
	if form == hsm.ImportComponents {
		return "that takes a device that combines them inside (CKM_XOR_BASE_AND_DATA)"
	}
	return "that takes a device that opens the standard form inside (CKM_RSA_AES_KEY_WRAP, or RSA-OAEP and AES-KWP; with SHA-256)"
}
