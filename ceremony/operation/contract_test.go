package operation_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/policies"
)

// Every operation is of one of the two kinds, has its own name, and policy knows what it takes.
func TestAllOperations(t *testing.T) {
	r := newRig(t)
	seen := map[string]bool{}
	for _, o := range operation.All() {
		require.False(t, seen[o.Name()], o.Name())
		seen[o.Name()] = true
		_, pure := o.(operation.Pure)
		_, effectful := o.(operation.Effectful)
		if _, compound := o.(operation.Compound); compound {
			require.False(t, pure || effectful, "%s is of exactly one kind", o.Name())
			continue // it takes what its items take
		}
		require.True(t, pure != effectful, "%s is of exactly one kind", o.Name())
		_, err := r.Policies.Quorum(t.Context(), policies.QuorumInput{Now: r.Clock.Now(), Mode: policies.Production, Operation: o.Name(), Precedent: "genesis",
			Requester: policies.Requester{Kind: "human", ID: "demo-ada"},
			Target:    policies.QuorumTarget{Type: "key", ID: "x", Owner: "demo-ada", Classifications: []string{"internal"}, Threshold: 3, Total: 5}})
		require.NoError(t, err, o.Name())
	}
}

// Parameters are read strictly by every operation: a member that it does not know is named.
func TestUnknownMembersAreNamed(t *testing.T) {
	r := newRig(t)
	for _, o := range operation.All() {
		_, err := r.prepare(t, o.Name(), r.input(t, human("demo-ada"), map[string]any{"no_such_member": 1}))
		var input *custodian.InputError
		require.ErrorAs(t, err, &input, o.Name())
		require.Equal(t, "no_such_member", input.Field, o.Name())
		require.NotEmpty(t, input.Allowed)
	}
}

func TestMembersOfTheWrongTypeAreNamed(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct{ operation, params, field string }{
		{"key.create", `{"oup_days":"long"}`, "oup_days"},
		{"key.create", `{"activation_at":"tomorrow"}`, "activation_at"},
		{"key.create", `{"frameworks":[1]}`, "frameworks[0]"},
		{"key.suspend", `{"suspected":"yes"}`, "suspected"},
		{"key.destroy", `{"version":-1}`, "version"},
		{"key.destroy", `{"version":4294967296}`, "version"},
		{"keystore.register", `{"share_set":{"id":"x","holder":[]}}`, "share_set.holder"},
		{"keystore.register", `{"share_set":{"holders":["a",2]}}`, "share_set.holders[1]"},
		{"application.enrol", `{"grants":[{"key":"k"},{"keys":"k"}]}`, "grants[1].keys"},
		{"grant.create", `{"context":{"a":1}}`, "context.a"},
		{"share.drill", `{"challenge":"%%%"}`, "challenge"},
		{"share.confirm", `{"index":1.5}`, "index"},
		{"keystore.activate", `[]`, "params"},
	} {
		in := r.input(t, human("demo-ada"), nil)
		in.Params = []byte(c.params)
		_, err := r.prepare(t, c.operation, in)
		var input *custodian.InputError
		require.ErrorAs(t, err, &input, "%s %s", c.operation, c.params)
		require.Equal(t, c.field, input.Field, "%s %s", c.operation, c.params)
	}
}

// Bad input names the field, what is wrong and what is allowed, and nothing has changed.
func TestBadInput(t *testing.T) {
	r := newRig(t)
	before := r.View().Head().Size
	with := func(base map[string]any, more map[string]any) map[string]any {
		out := map[string]any{}
		for _, m := range []map[string]any{base, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	create, register, enrol := newKey("new"), newKeystore("second"), newApplication("new-app")
	grant := map[string]any{"application": custodiantest.ApplicationID, "key": custodiantest.KeyID, "operations": []string{"decrypt"}, "days": 30}
	long := strings.Repeat("x", 501)
	for _, c := range []struct {
		operation string
		params    map[string]any
		field     string
	}{
		{"key.create", with(create, map[string]any{"id": "UPPER"}), "id"},
		{"key.create", with(create, map[string]any{"id": custodiantest.KeyID}), "id"},
		{"key.create", with(create, map[string]any{"label": ""}), "label"},
		{"key.create", with(create, map[string]any{"label": "a\u202eb"}), "label"},
		{"key.create", with(create, map[string]any{"type": "symmetric-rbg"}), "type"},
		{"key.create", with(create, map[string]any{"type": "private-signature"}), "algorithm"},
		{"key.create", with(create, map[string]any{"type": "private-signature", "algorithm": "aes-256"}), "algorithm"},
		{"key.create", with(create, map[string]any{"algorithm": "rot-13"}), "algorithm"},
		{"key.create", with(create, map[string]any{"classification": "secret"}), "classification"},
		{"key.create", with(create, map[string]any{"impact": "huge"}), "impact"},
		{"key.create", with(create, map[string]any{"frameworks": []string{"gdpr"}}), "frameworks[0]"},
		{"key.create", with(create, map[string]any{"jurisdiction": "europe"}), "jurisdiction"},
		{"key.create", with(create, map[string]any{"environment": "staging"}), "environment"},
		{"key.create", with(create, map[string]any{"owner": "nobody"}), "owner"},
		{"key.create", with(create, map[string]any{"keystore": "nowhere"}), "keystore"},
		{"key.create", with(create, map[string]any{"oup_days": -1}), "oup_days"},
		{"key.create", with(create, map[string]any{"activation_at": "1999-01-01T00:00:00Z"}), "activation_at"},
		{"key.create", with(create, map[string]any{"activation_at": "2090-01-01T00:00:00Z"}), "activation_at"},
		{"key.rotate", map[string]any{"key": "nokey"}, "key"},
		{"key.rotate", map[string]any{"key": ""}, "key"},
		{"key.rotate", map[string]any{"key": custodiantest.KeyID, "reason": long}, "reason"},
		{"key.suspend", map[string]any{"key": custodiantest.KeyID, "version": 9}, "version"},
		{"key.resume", map[string]any{"key": custodiantest.KeyID, "finding": "two\nlines"}, "finding"},
		{"key.compromise", map[string]any{"key": custodiantest.KeyID}, "version"},
		{"key.activate", map[string]any{"key": custodiantest.KeyID, "version": 2}, "version"},
		{"key.destroy", map[string]any{"key": custodiantest.KeyID, "version": 1, "waiver": long}, "waiver"},
		{"keystore.activate", map[string]any{"keystore": "nowhere"}, "keystore"},
		{"keystore.deactivate", map[string]any{"keystore": "../soft"}, "keystore"},
		{"keystore.register", with(register, map[string]any{"id": custodiantest.KeystoreID}), "id"},
		{"keystore.register", with(register, map[string]any{"driver": "paper"}), "driver"},
		{"keystore.register", with(register, map[string]any{"location": ""}), "location"},
		{"keystore.register", with(register, map[string]any{"controller": "nobody"}), "controller"},
		{"keystore.register", with(register, map[string]any{"custody": "byok"}), "custody"},
		{"keystore.register", with(register, map[string]any{"share_set": map[string]any{"id": "s2", "threshold": 1, "holders": custodiantest.People()}}), "share_set.threshold"},
		{"keystore.register", with(register, map[string]any{"share_set": map[string]any{"id": "s2", "threshold": 3, "holders": []string{"demo-ada", "demo-ben", "demo-ada", "demo-dan"}}}), "share_set.holders[2]"},
		{"keystore.register", with(register, map[string]any{"share_set": map[string]any{"id": "s2", "threshold": 2, "holders": []string{"demo-ada", "demo-ben", "demo-aud"}}}), "share_set.holders[2]"},
		{"grant.create", with(grant, map[string]any{"application": "ghost"}), "application"},
		{"grant.create", with(grant, map[string]any{"key": "ghost"}), "key"},
		{"grant.create", with(grant, map[string]any{"operations": []string{}}), "operations"},
		{"grant.create", with(grant, map[string]any{"operations": []string{"export"}}), "operations[0]"},
		{"grant.create", with(grant, map[string]any{"days": 0}), "days"},
		{"grant.create", with(grant, map[string]any{"days": 100000}), "days"},
		{"grant.create", with(grant, map[string]any{"id": custodiantest.GrantID}), "id"},
		{"grant.revoke", map[string]any{"grant": "ghost"}, "grant"},
		{"application.enrol", with(enrol, map[string]any{"id": custodiantest.ApplicationID}), "id"},
		{"application.enrol", with(enrol, map[string]any{"owner": "nobody"}), "owner"},
		{"application.enrol", with(enrol, map[string]any{"token_days": 0}), "token_days"},
		{"application.enrol", with(enrol, map[string]any{"grants": []any{map[string]any{"key": custodiantest.KeyID, "operations": []string{"decrypt"}, "days": 0}}}), "grants[0].days"},
		{"application.suspend", map[string]any{"application": "ghost"}, "application"},
		{"application.resume", map[string]any{"application": "ghost"}, "application"},
		{"token.issue", map[string]any{"days": 3}, "application"},
		{"token.issue", map[string]any{"application": custodiantest.ApplicationID, "auditor": "demo-aud", "days": 3}, "application"},
		{"token.issue", map[string]any{"application": custodiantest.ApplicationID, "days": 366}, "days"},
		{"token.issue", map[string]any{"auditor": "demo-ben", "days": 3}, "auditor"},
		{"token.revoke", map[string]any{"token": "aaaa"}, "token"},
		{"custodian.suspend", map[string]any{"person": "nobody"}, "person"},
		{"custodian.resume", map[string]any{"person": "nobody"}, "person"},
		{"share.confirm", map[string]any{"set": "noset"}, "set"},
		{"acknowledgement.sign", map[string]any{"envelope": map[string]any{"payload": "x"}}, "envelope"},
		{"batch", map[string]any{"operation": "batch", "items": []any{map[string]any{}}}, "operation"},
		{"batch", map[string]any{"operation": "custodian.suspend", "items": []any{map[string]any{"person": "demo-ada"}}}, "operation"},
		{"batch", map[string]any{"operation": "key.rotate", "items": []any{}}, "items"},
		{"batch", map[string]any{"operation": "key.rotate", "items": []any{1}}, "items[0]"},
		{"batch", map[string]any{"operation": "key.rotate", "items": []any{map[string]any{"key": custodiantest.KeyID}, map[string]any{"key": "ghost"}}}, "items[1].key"},
		{"batch", map[string]any{"operation": "key.rotate", "items": []any{map[string]any{"key": custodiantest.KeyID}, map[string]any{"key": custodiantest.KeyID}}}, "items[1]"},
		{"batch", map[string]any{"operation": "key.rotate", "items": []any{map[string]any{"key": custodiantest.KeyID, "keys": 1}}}, "items[0].keys"},
		{"batch", map[string]any{"operation": "key.rotate", "items": []any{map[string]any{"key": custodiantest.KeyID}}, "targets": []any{map[string]any{"type": "key", "id": "x", "gov_revision": 1}, map[string]any{"type": "key", "id": "x", "gov_revision": 1}}}, "targets"},
	} {
		_, err := r.prepare(t, c.operation, r.input(t, human("demo-ada"), c.params))
		require.Error(t, err, "%s %v", c.operation, c.params)
		require.Equal(t, c.field, fieldOf(t, err), "%s %v: %v", c.operation, c.params, err)
	}
	require.Equal(t, before, r.View().Head().Size, "nothing changed")
}

// A proposal without any reason is refused where a reason is part of the record.
func TestReasonIsRequired(t *testing.T) {
	r := newRig(t)
	for name, params := range map[string]map[string]any{
		"key.suspend":         {"key": custodiantest.KeyID},
		"key.compromise":      {"key": custodiantest.KeyID, "version": 1},
		"key.destroy":         {"key": custodiantest.KeyID, "version": 1},
		"grant.revoke":        {"grant": custodiantest.GrantID},
		"application.suspend": {"application": custodiantest.ApplicationID},
		"custodian.suspend":   {"person": "demo-eve"},
	} {
		in := r.input(t, human("demo-ada"), params)
		in.Reason = ""
		_, err := r.prepare(t, name, in)
		require.Equal(t, "reason", fieldOf(t, err), name)
	}
}

func fieldOf(t *testing.T, err error) string {
	t.Helper()
	var input *custodian.InputError
	if errorsAs(err, &input) {
		return input.Field
	}
	var field *key.FieldError
	require.ErrorAs(t, err, &field)
	return field.Field
}

// Parameters come from outside: whatever they are, an operation answers with an error or a plan.
func FuzzPrepare(f *testing.F) {
	for _, o := range operation.All() {
		f.Add(o.Name(), `{"key":"demo-orders","version":1,"reason":"x"}`)
	}
	f.Add("key.create", `{"id":"a","label":"b","frameworks":["pci-dss"],"activation_at":"2026-01-01T00:00:00Z"}`)
	f.Add("keystore.register", `{"id":"a","share_set":{"id":"s","threshold":2,"holders":["a","b","c"]}}`)
	f.Add("application.enrol", `{"id":"a","grants":[{"key":"k","operations":["decrypt"],"context":{"a":"b"},"days":1}]}`)
	r := newRig(f)
	f.Fuzz(func(t *testing.T, name, params string) {
		if !json.Valid([]byte(params)) {
			return
		}
		for _, o := range operation.All() {
			if o.Name() != name {
				continue
			}
			in := r.input(t, human("demo-ada"), nil)
			in.Params = []byte(params)
			if plan, err := o.Prepare(t.Context(), r.env, r.View(), in); err == nil {
				require.NotEmpty(t, plan.Title)
			}
		}
	})
}
