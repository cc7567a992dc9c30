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
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/secret"
	"conclave/policies"
)

// keyImportParams say which key, and in which form it comes: exactly one of New and Key, and of Components and Wrapped.
type keyImportParams struct {
	New        *keyCreateParams  `json:"new,omitempty"` // a new key, as key.create takes it
	Key        string            `json:"key"`           // or a new version of this one
	Components []componentParams `json:"components"`
	// WrappingKey is the one-time pair that Wrapped was made for.
	WrappingKey string `json:"wrapping_key"`
	Wrapped     []byte `json:"wrapped"` // see hsm.ImportWrapped
	// CheckValue of the key, where its sender states it beforehand: another one is not recorded.
	CheckValue string `json:"check_value"`
}

type componentParams struct {
	Custodian  string `json:"custodian"`
	CheckValue string `json:"check_value"` // of the component, as its form states it
}

// keyImport brings in a key that was made elsewhere: components that custodians enter under split knowledge, or
// wrapped for a one-time pair of its keystore. The version waits in pre-activation until a second person has compared
// its check value.
type keyImport struct{}

func (keyImport) Name() string { return "key.import" }

// importing is what an import is about, read under one view.
type importing struct {
	keyImportParams
	form    hsm.ImportForm
	key     *key.Key // as it would be
	version uint32
	at      time.Time // activation, zero for at once
	pair    *key.WrappingKey
}

func (i *importing) origin() string {
	return (&key.Import{Form: i.form}).Origin()
}

// read checks the parameters by themselves, and the key: its record as it would be. plan holds what there is to say
// about the key.
func (keyImport) read(ctx context.Context, env Env, view *store.View, in Input) (*importing, Plan, error) {
	p, err := decode[keyImportParams](in)
	if err != nil {
		return nil, Plan{}, err
	}
	i := &importing{keyImportParams: p, form: hsm.ImportWrapped}
	switch bad := (&custodian.InputError{Allowed: "either components, or wrapping_key and wrapped"}); {
	case len(p.Components) > 0 && (p.WrappingKey != "" || len(p.Wrapped) > 0):
		bad.Field, bad.Problem = "components", "given beside a wrapped key"
		return nil, Plan{}, bad
	case len(p.Components) > 0:
		i.form = hsm.ImportComponents
	case p.WrappingKey == "" && len(p.Wrapped) == 0:
		bad.Field, bad.Problem = "components", "missing"
		return nil, Plan{}, bad
	}
	if p.CheckValue != "" {
		if i.CheckValue, err = parseCheck("check_value", p.CheckValue); err != nil {
			return nil, Plan{}, err
		}
	}
	var plan Plan
	switch {
	case (p.New == nil) == (p.Key == ""):
		return nil, Plan{}, &custodian.InputError{Field: "key", Problem: "neither or both of new and key are given", Allowed: "new for a new key, key for a new version of one that there is"}
	case p.New != nil && p.New.Template != "":
		return nil, Plan{}, &custodian.InputError{Field: "new.template", Problem: "an import is decided by itself", Allowed: "nothing"}
	case p.New != nil:
		i.version, i.at = 1, p.New.ActivationAt
		i.key, plan, err = p.New.plan(ctx, env, view, in, i.origin())
		err = within("new", err)
	default:
		i.key, plan, err = existing(ctx, env, view, p.Key, i.origin())
		if err == nil {
			i.version = i.key.Versions + 1
		}
	}
	return i, plan, err
}

func parseCheck(field, text string) (string, error) {
	value, err := checkvalue.Parse(text)
	if err != nil {
		return "", &custodian.InputError{Field: field, Problem: fmt.Sprintf("%q", clean(text)), Allowed: "3 to 5 bytes in hexadecimal, as AB12CD34EF"}
	}
	return value, nil
}

// existing is a key that gets a version from outside: it can be rotated, or nothing that was imported for it was ever used.
func existing(ctx context.Context, env Env, view *store.View, id, origin string) (*key.Key, Plan, error) {
	k, err := keyRow(view, "key", id)
	if err != nil {
		return nil, Plan{}, err
	}
	current, err := versionRow(view, k, k.Current)
	if err != nil {
		return nil, Plan{}, err
	}
	newest, err := versionRow(view, k, k.Versions)
	if err != nil {
		return nil, Plan{}, err
	}
	plan := Plan{Target: keyTarget(k), Quorum: keyQuorum(k), Lines: []Line{keyLine(k)}}
	if unused := current.State == key.Destroyed && neverActive(current) && newest.State == key.Destroyed; !unused {
		plan.Lines = append(plan.Lines, stateLine(current, "deactivated, once the imported version is active"))
		plan.Deny = notRotatable(k, current, newest)
	}
	k.Origin = origin
	record, err := keystoreRow(view, "keystore", k.Keystore)
	if err != nil {
		return nil, Plan{}, err
	}
	misfits, err := misplaced(ctx, env, view, k)
	plan.Deny = append(append(plan.Deny, misfits...), inactive(env, record)...)
	return k, plan, err
}

func (o keyImport) Prepare(ctx context.Context, env Env, view *store.View, in Input) (Plan, error) {
	i, plan, err := o.read(ctx, env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan.Title = fmt.Sprintf("Import version %d of key %s, made elsewhere: %s", i.version, i.key.ID, i.form)
	plan.Lines = append(plan.Lines, Line{Label: "origin", After: i.origin()})
	if i.CheckValue != "" {
		plan.Lines = append(plan.Lines, Line{Label: "check value stated by its sender", After: i.CheckValue})
	}
	record, err := keystoreRow(view, "keystore", i.key.Keystore)
	if err != nil {
		return Plan{}, err
	}
	if i.form == hsm.ImportComponents {
		err = i.planComponents(view, in, &plan)
	} else {
		err = i.planWrapped(env, view, record, in.Now, &plan)
	}
	if err != nil || len(plan.Deny) > 0 {
		return plan, err
	}
	can, _, deny := importCapability(env, record, i.form)
	if plan.Deny = deny; len(deny) == 0 && !slices.Contains(can.Specs, i.key.Specification()) {
		plan.Deny = append(plan.Deny, refusal("import_unsupported", fmt.Sprintf("keystore %s takes no %s in form %s", record.ID, i.key.Specification(), i.form),
			"as "+string(i.form)+" it takes "+list(can.Specs)))
	}
	if len(plan.Deny) == 0 && !can.Inside {
		plan.Lines = append(plan.Lines, Line{Label: "boundary", After: "the whole key passes through the memory of this process on its way into the module"})
	}
	return plan, nil
}

func (o keyImport) Effect(ctx context.Context, env Env, in Input, effectID string, _ *secret.Bytes) (Effect, error) {
	view := env.Custodian.View()
	i, _, err := o.read(ctx, env, view, in)
	if err != nil {
		return Effect{}, err
	}
	driver, err := importerOf(env, i.key.Keystore)
	if err != nil {
		return Effect{}, err
	}
	var material hsm.Material
	if i.form == hsm.ImportComponents {
		if len(in.Components) != len(i.Components) {
			return Effect{}, fmt.Errorf("%d of %d components are here: they must be brought again", len(in.Components), len(i.Components))
		}
		material, err = driver.ImportComponents(ctx, i.key.ID, i.version, i.key.Specification(), effectID, in.Components)
	} else {
		var w *key.WrappingKey
		if w, err = wrappingRow(view, i.WrappingKey); err != nil {
			return Effect{}, err
		}
		if !w.Usable(in.Now) {
			return Effect{}, fmt.Errorf("wrapping key %s is %s, its time ends %s", w.ID, w.Status, w.ExpiresAt.UTC().Format(time.RFC3339))
		}
		material, err = driver.ImportWrapped(ctx, i.key.ID, i.version, i.key.Specification(), effectID, w.Material, i.Wrapped)
	}
	if err != nil {
		return Effect{}, err
	}
	return Effect{ID: effectID, Material: &material, Data: custodian.Detail(madeIn{i.key.Keystore})}, nil
}

func (o keyImport) Recover(ctx context.Context, env Env, in Input, effectID string) (Effect, bool, error) {
	p, err := decode[keyImportParams](in)
	if err != nil {
		return Effect{}, false, err
	}
	if p.New != nil {
		return findMaterial(ctx, env, p.New.Keystore, effectID)
	}
	k, err := keyRow(env.Custodian.View(), "key", p.Key)
	if err != nil {
		return Effect{}, false, err
	}
	return findMaterialOf(ctx, env, k, effectID)
}

// keystore of the key, by parameters and record alone.
func (keyImport) keystore(env Env, in Input) (string, error) {
	p, err := decode[keyImportParams](in)
	if err != nil {
		return "", err
	}
	if p.New != nil {
		return p.New.Keystore, nil
	}
	k, err := keyRow(env.Custodian.View(), "key", p.Key)
	if err != nil {
		return "", err
	}
	return k.Keystore, nil
}

func (o keyImport) Complete(ctx context.Context, env Env, tx *store.Tx, in Input, effect Effect) (Result, error) {
	i, plan, err := o.read(ctx, env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if err := refused(plan.Deny); err != nil {
		return Result{}, err
	}
	if i.CheckValue != "" && effect.Material != nil && !checkvalue.Match(effect.Material.CheckValue, i.CheckValue) {
		return Result{}, errors.New(differs(effect.Material.CheckValue, i.CheckValue).Message + "; nothing was imported")
	}
	driver, err := driverOf(env, tx.View(), i.key.Keystore)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	record, err := i.record(env, tx, a, in)
	if err != nil {
		return Result{}, err
	}
	k := i.key
	if i.New != nil {
		k.CreatedAt = a.at
	} else {
		k.GovRevision++
	}
	v, err := newVersionOf(a, driver, k, i.version, effect, i.at, record)
	if err != nil {
		return Result{}, err
	}
	return recordMade(ctx, env, tx, in, o.Name(), k, v)
}

// refused turns what stands against it now into an error.
func refused(deny []policies.Reason) error {
	var messages []string
	for _, r := range deny {
		if r.Code != custodian.CodeKeystoreInactive { // the material is made: what closed since is no obstacle to its record
			messages = append(messages, r.Message)
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return errors.New(strings.Join(messages, "; "))
}

// record is the version's origin, and in the same transaction the end of the wrapping key.
func (i *importing) record(env Env, tx *store.Tx, a acting, in Input) (*key.Import, error) {
	out := &key.Import{Form: i.form, By: in.Requester.ID, Ceremony: in.Ceremony}
	keystore, err := keystoreRow(tx.View(), "keystore", i.key.Keystore)
	if err != nil {
		return nil, err
	}
	if driver, err := Driver(env, keystore); err == nil {
		can, _ := driver.Capabilities().ImportsBy(i.form)
		out.Inside = can.Inside
	}
	for n, c := range i.Components {
		value, err := parseCheck(fmt.Sprintf("components[%d].check_value", n), c.CheckValue)
		if err != nil {
			return nil, err
		}
		out.Components = append(out.Components, key.Component{Custodian: c.Custodian, CheckValue: value})
	}
	if i.form != hsm.ImportWrapped {
		return out, nil
	}
	w, err := wrappingRow(tx.View(), i.WrappingKey)
	if err != nil {
		return nil, err
	}
	if w.Status != key.WrappingOpen {
		return nil, fmt.Errorf("wrapping key %s is %s", w.ID, w.Status)
	}
	out.WrappingKey, out.TransportBits = w.ID, w.StrengthBits
	e := a.event("wrappingkey.use", wrappingTarget(w), map[string]any{"key": i.key.ID, "version": i.version, "keystore": w.Keystore})
	return out, a.put(tx, custodian.KindWrappingKey, w.ID, w.End(key.WrappingUsed, in.Ceremony, a.at, stored(env, w.Keystore)), e)
}

func (o keyImport) Undo(ctx context.Context, env Env, in Input, effect Effect) error {
	keystore, err := o.keystore(env, in)
	if err != nil {
		return err
	}
	return destroyMaterial(ctx, env, keystore, effect)
}
