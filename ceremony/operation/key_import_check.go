package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
	"conclave/policies"
)

// planComponents says who enters which component: distinct people, in office, who did not ask for it.
func (i *importing) planComponents(view *store.View, in Input, plan *Plan) error {
	if err := key.CheckRange("components", len(i.Components), hsm.LeastComponents, hsm.MostComponents, "components"); err != nil {
		return err
	}
	for n, c := range i.Components {
		field := fmt.Sprintf("components[%d]", n)
		value, err := parseCheck(field+".check_value", c.CheckValue)
		if err != nil {
			return err
		}
		p, err := presentPerson(view, field+".custodian", c.Custodian)
		if err != nil {
			return err
		}
		slot := ComponentSlot{Index: n + 1, Custodian: p.ID, CheckValue: value}
		for _, other := range plan.Components {
			bad := &custodian.InputError{Field: field + ".custodian", Problem: p.ID + " holds two components", Allowed: "each custodian one component"}
			if other.CheckValue == value {
				bad = &custodian.InputError{Field: field + ".check_value", Problem: "the same as of another component", Allowed: "components that differ"}
			}
			if other.Custodian == p.ID || other.CheckValue == value {
				return bad
			}
		}
		switch err := people.Eligible(p, people.RoleCustodian, in.Now); {
		case p.ID == in.Requester.ID:
			plan.Deny = append(plan.Deny, refusal(people.CodeExcludedRequester, p.ID+" asks for the import and would hold a component of it", "somebody else enters it, or asks"))
		case err != nil:
			plan.Deny = append(plan.Deny, refusal(codeOf(err), err.Error(), "name a custodian who has acknowledged the duty"))
		}
		plan.Components = append(plan.Components, slot)
		plan.Lines = append(plan.Lines, Line{Label: fmt.Sprintf("component %d", n+1), After: fmt.Sprintf("entered by %s, check value %s", p.ID, value)})
	}
	return nil
}

func codeOf(err error) string {
	var ineligible *people.IneligibleError
	if errors.As(err, &ineligible) {
		return ineligible.Code
	}
	return "ineligible"
}

// planWrapped checks what can be told of a wrapped key without opening it.
func (i *importing) planWrapped(env Env, view *store.View, record *key.Keystore, now time.Time, plan *Plan) error {
	w, err := wrappingRow(view, i.WrappingKey)
	if err != nil {
		return err
	}
	i.pair = w
	if w.Keystore != record.ID {
		return &custodian.InputError{Field: "wrapping_key", Problem: fmt.Sprintf("%s is one of keystore %s", w.ID, w.Keystore), Allowed: "a wrapping key of keystore " + record.ID}
	}
	if problem := wrongLength(w.Spec, i.key.Specification(), i.Wrapped); problem != "" {
		return &custodian.InputError{Field: "wrapped", Problem: problem, Allowed: fmt.Sprintf("a key of %s wrapped for %s (RSA_AES_KEY_WRAP with SHA-256)", i.key.Specification(), w.Spec)}
	}
	sum := sha256.Sum256(i.Wrapped)
	plan.Lines = append(plan.Lines, Line{Label: "wrapped key", After: fmt.Sprintf("SHA-256 %s", hex.EncodeToString(sum[:]))},
		Line{Label: "wrapped for", After: fmt.Sprintf("%s: %s, check value %s, until %s", w.ID, w.Spec, w.CheckValue, w.ExpiresAt.UTC().Format(time.RFC3339))})
	plan.Deny = append(plan.Deny, unusable(env, record, w, now)...)
	return nil
}

// wrongLength is what is wrong with the length of a wrapped key; "" where it fits.
func wrongLength(pair, spec hsm.Spec, wrapped []byte) string {
	if keywrap.CheckLength(pair, wrapped) != nil {
		return fmt.Sprintf("%d bytes, which no key wrapped for %s has", len(wrapped), pair)
	}
	if n := keywrap.KeyBytes(spec); n > 0 && len(wrapped) != keywrap.Length(pair, n) {
		return fmt.Sprintf("%d bytes: it holds a key of another length than %d bytes", len(wrapped), n)
	}
	return ""
}

// unusable refuses a wrapping key that is past its time or its one use, or whose keystore's secret was replaced since.
func unusable(env Env, record *key.Keystore, w *key.WrappingKey, now time.Time) []policies.Reason {
	another := "make another wrapping key (wrappingkey.create), and wrap the key for that"
	switch {
	case w.Status != key.WrappingOpen:
		message := fmt.Sprintf("wrapping key %s is %s", w.ID, w.Status)
		if w.UsedBy != "" {
			message += " (" + w.UsedBy + "): each serves once"
		}
		return []policies.Reason{refusal("wrapping_key_"+w.Status, message, another)}
	case !w.Usable(now):
		return []policies.Reason{refusal("wrapping_key_expired", fmt.Sprintf("wrapping key %s expired at %s", w.ID, w.ExpiresAt.UTC().Format(time.RFC3339)), another)}
	}
	driver, err := env.Custodian.Keystore(record.ID)
	if r, ok := driver.(hsm.Rekeyer); err == nil && ok && !r.Wraps(w.Material, record.Verifier) {
		return []policies.Reason{refusal("wrapping_key_stale", fmt.Sprintf("the activation secret of keystore %s was replaced since wrapping key %s was made", record.ID, w.ID), another)}
	}
	return nil
}

// Examine opens a wrapped key once when it is proposed, so that nobody approves what can not be imported.
func (o keyImport) Examine(ctx context.Context, env Env, view *store.View, in Input) ([]policies.Reason, error) {
	i, plan, err := o.read(ctx, env, view, in)
	if err != nil || i.form != hsm.ImportWrapped || len(plan.Deny) > 0 {
		return nil, err
	}
	if plan, err = o.Prepare(ctx, env, view, in); err != nil || len(plan.Deny) > 0 {
		return nil, err // judging says it
	}
	w, err := wrappingRow(view, i.WrappingKey)
	if err != nil {
		return nil, err
	}
	driver, err := importerOf(env, w.Keystore)
	if err != nil {
		return nil, err
	}
	value, _, err := driver.Examine(ctx, w.Material, i.key.Specification(), i.Wrapped)
	switch {
	case errors.Is(err, hsm.ErrUnwrap):
		return []policies.Reason{refusal("import_unwrap", "the wrapped key does not open under wrapping key "+w.ID+": it was wrapped for another, or altered",
			"wrap it for the public half of "+w.ID+", whose check value is "+w.CheckValue)}, nil
	case errors.Is(err, hsm.ErrKeyForm):
		return []policies.Reason{refusal("import_key_form", fmt.Sprintf("what is wrapped is no key of %s: %v", i.key.Specification(), err),
			"prepare it as conclave key import prepare does")}, nil
	case err != nil:
		return nil, err
	case i.CheckValue != "" && !checkvalue.Match(value, i.CheckValue):
		return []policies.Reason{differs(value, i.CheckValue)}, nil
	}
	return nil, nil
}

// CheckComponent tells a wrong digit, or a component that belongs to another, by the check value that its form states.
func (o keyImport) CheckComponent(_ Env, view *store.View, in Input, index int, component *secret.Bytes) error {
	p, err := decode[keyImportParams](in)
	if err != nil {
		return err
	}
	spec, err := p.spec(view)
	if err != nil {
		return err
	}
	if err := keywrap.CheckComponent(spec, component); err != nil {
		return err
	}
	value, err := checkvalue.Of(spec, component)
	if err != nil {
		return err
	}
	for i, c := range p.Components {
		stated, err := parseCheck("check_value", c.CheckValue)
		switch {
		case err != nil:
			return err
		case !checkvalue.Match(value, stated):
		case i+1 == index:
			return nil
		default:
			return fmt.Errorf("it is component %d, which %s enters: %w", i+1, c.Custodian, hsm.ErrComponent)
		}
	}
	return fmt.Errorf("its check value is %s, the form states %s: a digit is wrong: %w", value, p.Components[index-1].CheckValue, hsm.ErrComponent)
}

// spec of the key that is imported.
func (p *keyImportParams) spec(view *store.View) (hsm.Spec, error) {
	if p.New == nil {
		k, err := keyRow(view, "key", p.Key)
		if err != nil {
			return "", err
		}
		return k.Specification(), nil
	}
	err := p.New.kind()
	return p.New.Algorithm, err
}

func differs(computed, stated string) policies.Reason {
	return refusal("check_value_differs", fmt.Sprintf("the check value is %s, stated was %s", computed, stated),
		"compare with the sender which key it is, and which check value: CMAC for AES")
}
