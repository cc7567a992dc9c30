package operation_test

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/component"
	"conclave/ceremony/operation"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/hsm"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

// part is one component as its form states it.
type part struct {
	value *secret.Bytes
	check string
}

func checkOf(t *testing.T, value *secret.Bytes) string {
	t.Helper()
	check, err := checkvalue.Of(hsm.AES256, value)
	require.NoError(t, err)
	return check
}

// parts splits a new AES key into components, and gives the key's own check value.
func parts(t *testing.T, n int) ([]part, string) {
	t.Helper()
	whole := make([]byte, 32)
	out := make([]part, n)
	for i := range out {
		value := secret.Random(32)
		require.NoError(t, value.Use(func(b []byte) error { subtle.XORBytes(whole, whole, b); return nil }))
		out[i] = part{value, checkOf(t, value)}
	}
	return out, checkOf(t, secret.New(whole))
}

func componentsOf(list []part, holders ...string) []map[string]any {
	var out []map[string]any
	for i, p := range list {
		out = append(out, map[string]any{"custodian": holders[i], "check_value": p.check})
	}
	return out
}

func (r *engineRig) collector(t *testing.T) shamir.Recipient {
	t.Helper()
	envelope, err := r.engine.Collector(t.Context())
	require.NoError(t, err)
	parsed, err := dsse.Parse(envelope)
	require.NoError(t, err)
	var collector ceremony.CollectorKey
	require.NoError(t, json.Unmarshal(parsed.UnverifiedPayload(), &collector))
	k, err := jwk.Parse(collector.Key)
	require.NoError(t, err)
	return shamir.Recipient{KeyID: k.Thumbprint(), Key: collector.Key}
}

// bringPart hands in a component with its custodian's approval, where that is not given yet.
func (r *engineRig) bringPart(t *testing.T, who, id string, index int, value *secret.Bytes) (*ceremony.Ceremony, error) {
	t.Helper()
	sealed, err := component.Seal(component.Binding{Ceremony: id, Index: index}, value, r.collector(t))
	require.NoError(t, err)
	var envelope []byte
	if payload, err := r.engine.Statement(t.Context(), human(who), id, "approve"); err == nil {
		envelope, err = r.signers[who].Sign(statement.TypeStatement, payload)
		require.NoError(t, err)
	}
	return r.engine.SubmitComponent(t.Context(), human(who), id, envelope, sealed)
}

// again is the engine of a process that starts where this one ended, on the same ledger.
func (r *engineRig) again(t *testing.T) {
	t.Helper()
	challengeKey := make([]byte, 32)
	rand.Read(challengeKey)
	next, err := ceremony.New(ceremony.Config{Custodian: r.Service, Operations: operation.All(), Drivers: softDriver,
		NodeSigner: r.signers["demo-ada"], ChallengeKey: challengeKey, Clock: r.Clock})
	require.NoError(t, err)
	r.engine = next
}

func (r *engineRig) imported(t *testing.T, id string) *key.Version {
	t.Helper()
	v := r.version(t, id, 1)
	require.Equal(t, key.PreActivation, v.State)
	require.True(t, v.Unconfirmed())
	require.NoError(t, v.CheckHistory())
	return v
}

// refusedCode is the stable code of a recorded refusal.
func refusedCode(t *testing.T, err error) string {
	t.Helper()
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied)
	require.NotEmpty(t, denied.Decision, "recorded before answered")
	return denied.Code
}

// A key comes in components: each custodian theirs, none of them whole anywhere but in the keystore; what is wrong is
// named at once and costs nothing; the version is used only when a second person has compared its check value.
func TestInvariant05_ImportOfComponents(t *testing.T) {
	r := newEngineRig(t)
	list, check := parts(t, 3)
	params := map[string]any{"new": newKey("brought"), "components": componentsOf(list, "demo-ben", "demo-cleo", "demo-dan")}
	c := r.propose(t, "demo-ada", "key.import", params)
	require.Equal(t, ceremony.Proposed, c.State)
	require.Len(t, c.Components, 3)

	digit := list[0].value.Clone() // one wrong digit
	require.NoError(t, digit.Use(func(b []byte) error { b[7] ^= 0x10; return nil }))
	for name, bad := range map[string]struct {
		who   string
		index int
		value *secret.Bytes
		code  string
		says  string
	}{
		"a wrong digit":             {"demo-ben", 1, digit, "component_wrong", "a digit is wrong"},
		"another's component":       {"demo-ben", 1, list[1].value, "component_wrong", "it is component 2, which demo-cleo enters"},
		"in another's place":        {"demo-ben", 2, list[1].value, "component_wrong", "somebody else"},
		"by who holds none":         {"demo-eve", 1, list[0].value, "component_wrong", "somebody else"},
		"all zeros":                 {"demo-ben", 1, secret.New(make([]byte, 32)), "component_wrong", "all zeros"},
		"too short":                 {"demo-ben", 1, secret.Random(16), "component_wrong", "16 bytes"},
		"one that there is not":     {"demo-ben", 9, list[0].value, "component_wrong", "no component 9"},
		"by who asked for it":       {"demo-ada", 1, list[0].value, "component_wrong", "somebody else"},
		"longer than any key could": {"demo-ben", 1, secret.Random(64), "component_wrong", "64 bytes"},
	} {
		_, err := r.bringPart(t, bad.who, c.ID, bad.index, bad.value)
		require.Equal(t, bad.code, refusedCode(t, err), name)
		require.ErrorContains(t, err, bad.says, name)
	}
	foreign, err := component.Seal(component.Binding{Ceremony: "c-another", Index: 1}, list[0].value, r.collector(t))
	require.NoError(t, err)
	_, err = r.engine.SubmitComponent(t.Context(), human("demo-ben"), c.ID, nil, foreign)
	require.ErrorContains(t, err, "another ceremony")
	after, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Proposed, after.State, "none of it cost anything")
	require.Empty(t, after.Votes)

	after, err = r.bringPart(t, "demo-ben", c.ID, 1, list[0].value.Clone())
	require.NoError(t, err)
	require.Len(t, after.Votes, 1, "the approval comes with it")
	_, err = r.bringPart(t, "demo-ben", c.ID, 1, list[0].value)
	require.Equal(t, "component_repeated", refusedCode(t, err))
	after, err = r.bringPart(t, "demo-cleo", c.ID, 2, list[1].value.Clone())
	require.NoError(t, err)
	require.Equal(t, ceremony.Approved, after.State, "the quorum is there, one component is not")
	require.Contains(t, strings.Join(r.engine.Standing(after).Missing, "\n"), "component 3 of demo-dan")
	_, _, err = r.engine.Execute(t.Context(), human("demo-ada"), c.ID)
	require.ErrorIs(t, err, ceremony.ErrQuorum)
	require.NoError(t, r.engine.Tick(t.Context()), "time brings no component")

	r.again(t) // the collector dies: components are void, approvals are not
	after, err = r.bringPart(t, "demo-dan", c.ID, 3, list[2].value.Clone())
	require.NoError(t, err)
	require.Equal(t, ceremony.Approved, after.State)
	require.Len(t, after.Votes, 3)
	for i, who := range []string{"demo-ben", "demo-cleo"} {
		after, err = r.bringPart(t, who, c.ID, i+1, list[i].value.Clone())
		require.NoError(t, err)
	}
	require.Equal(t, ceremony.Completed, after.State)
	require.Len(t, after.Votes, 3, "approvals were not given twice")

	v := r.imported(t, "brought")
	require.Equal(t, check, v.CheckValue, "the XOR of the three is the key")
	require.Equal(t, key.OriginComponents, v.Origin())
	require.Equal(t, key.ElsewhereRNG, v.RNG)
	require.Equal(t, 256, v.StrengthBits)
	require.Equal(t, []string{"demo-ben", "demo-cleo", "demo-dan"}, []string{v.Import.Components[0].Custodian, v.Import.Components[1].Custodian, v.Import.Components[2].Custodian})
	require.Equal(t, key.OriginComponents, row[key.Key](t, r.rig, custodian.KindKey, "brought").Origin)
	_, detail := r.lastEvent(t, "key.import")
	require.Equal(t, key.OriginComponents, detail["origin"])

	r.Clock.Advance(days)
	require.NoError(t, r.engine.Tick(t.Context()))
	r.imported(t, "brought") // no date brings it into use
	require.Equal(t, []string{"second_person"}, r.denied(t, "key.import-confirm", human("demo-ada"), map[string]any{"key": "brought", "version": 1, "check_value": check}))
	require.Equal(t, []string{"check_value_differs"}, r.denied(t, "key.import-confirm", human("demo-eve"), map[string]any{"key": "brought", "version": 1, "check_value": "0011223344"}))
	confirmed := r.propose(t, "demo-eve", "key.import-confirm", map[string]any{"key": "brought", "version": 1, "check_value": strings.ToLower(check[:6])})
	require.Equal(t, ceremony.Completed, confirmed.State)
	v = r.version(t, "brought", 1)
	require.Equal(t, key.Active, v.State)
	require.Equal(t, "demo-eve", v.Import.ConfirmedBy)
	require.Equal(t, []string{"import_confirmed"}, r.denied(t, "key.import-reject", human("demo-eve"), map[string]any{"key": "brought", "version": 1, "reason": "too late"}))
	requireNoComponent(t, r, list)
}

// requireNoComponent looks through every entry and row for a component.
func requireNoComponent(t *testing.T, r *engineRig, list []part) {
	t.Helper()
	var forms []string
	for _, p := range list {
		require.NoError(t, p.value.Use(func(b []byte) error {
			forms = append(forms, base64.StdEncoding.EncodeToString(b), string(b))
			return nil
		}))
	}
	for seq := range r.View().Head().Size {
		_, e, err := r.Store.EntryAt(t.Context(), seq)
		require.NoError(t, err)
		for _, f := range forms {
			require.NotContains(t, string(e.Detail), f)
		}
	}
}

// A mismatch that is reported ends the import: the material is destroyed, and the key can be imported anew.
func TestImportIsRejected(t *testing.T) {
	r := newEngineRig(t)
	list, _ := parts(t, 2)
	bring := func(params map[string]any) *ceremony.Ceremony {
		c := r.propose(t, "demo-ada", "key.import", params)
		for i, who := range []string{"demo-ben", "demo-cleo"} {
			var err error
			c, err = r.bringPart(t, who, c.ID, i+1, list[i].value.Clone())
			require.NoError(t, err)
		}
		return c
	}
	entered := componentsOf(list, "demo-ben", "demo-cleo")
	require.Equal(t, ceremony.Completed, bring(map[string]any{"new": newKey("wrong"), "components": entered}).State)
	r.imported(t, "wrong")
	require.Equal(t, []string{"not_rotatable"}, r.denied(t, "key.import", human("demo-ada"), map[string]any{"key": "wrong", "components": entered}))
	rejected := r.propose(t, "demo-eve", "key.import-reject", map[string]any{"key": "wrong", "version": 1, "reason": "the letter says otherwise"})
	require.Equal(t, ceremony.Completed, rejected.State)
	v := r.version(t, "wrong", 1)
	require.Equal(t, key.Destroyed, v.State)
	require.Empty(t, v.Material.Blob)
	require.Equal(t, []string{"import_ended"}, r.denied(t, "key.import-confirm", human("demo-eve"), map[string]any{"key": "wrong", "version": 1, "check_value": v.CheckValue}))

	list, check := parts(t, 2)
	require.Equal(t, ceremony.Completed, bring(map[string]any{"key": "wrong", "components": componentsOf(list, "demo-ben", "demo-cleo")}).State)
	r.propose(t, "demo-dan", "key.import-confirm", map[string]any{"key": "wrong", "version": 2, "check_value": check})
	require.Equal(t, key.Active, r.version(t, "wrong", 2).State)

	list, check = parts(t, 2) // the sender's check value is in the proposal, and the components give another
	c := r.propose(t, "demo-ada", "key.import", map[string]any{"new": newKey("other"), "check_value": "00112233", "components": componentsOf(list, "demo-ben", "demo-cleo")})
	_, err := r.bringPart(t, "demo-ben", c.ID, 1, list[0].value.Clone())
	require.NoError(t, err)
	_, err = r.bringPart(t, "demo-cleo", c.ID, 2, list[1].value.Clone())
	var failed *ceremony.FailedError
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, check)
	_, err = r.View().Get(custodian.KindKey, "other")
	require.Error(t, err, "nothing is half-imported")

	c = r.propose(t, "demo-ada", "key.import", map[string]any{"new": newKey("other"), "components": componentsOf(list, "demo-ben", "demo-cleo")})
	payload, err := r.engine.Statement(t.Context(), human("demo-cleo"), c.ID, "reject")
	require.NoError(t, err)
	envelope, err := r.signers["demo-cleo"].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	c, err = r.engine.Vote(t.Context(), human("demo-cleo"), c.ID, envelope)
	require.NoError(t, err)
	require.Equal(t, ceremony.Rejected, c.State, "without this custodian it can not be done")
}

// wrappedFor wraps a key for a wrapping key on record, as the offline helper does.
func (r *rig) wrappedFor(t *testing.T, id string, value *secret.Bytes) string {
	t.Helper()
	w := row[key.WrappingKey](t, r, custodian.KindWrappingKey, id)
	wrapped, err := keywrap.Wrap(w.Spec, w.Public, value)
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(wrapped)
}

func (r *rig) wrappingKey(t *testing.T, id string) {
	t.Helper()
	r.run(t, "wrappingkey.create", human("demo-dan"), map[string]any{"id": id, "keystore": custodiantest.KeystoreID, "algorithm": "rsa-oaep-3072", "hours": 2})
}

// A wrapped key replaces a generated one: each wrapping key serves once, and what does not fit is refused before
// anybody is asked to approve it.
func TestImportOfWrappedKeys(t *testing.T) {
	r := newEngineRig(t)
	r.wrappingKey(t, "once")
	r.wrappingKey(t, "spare")
	value := secret.Random(32)
	check := checkOf(t, value)
	params := func(pair, wrapped string) map[string]any {
		return map[string]any{"key": custodiantest.KeyID, "wrapping_key": pair, "wrapped": wrapped, "check_value": check}
	}
	refusal := func(code string, p map[string]any) {
		t.Helper()
		_, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "key.import", Params: canonical(t, p), Reason: "the test asks for it"})
		require.Equal(t, code, refusedCode(t, err))
	}
	refusal("import_unwrap", params("spare", r.wrappedFor(t, "once", value)))
	refusal("import_key_form", params("once", r.wrappedFor(t, "once", secret.New(make([]byte, 32)))))
	refusal("check_value_differs", params("once", r.wrappedFor(t, "once", secret.Random(32))))
	for field, bad := range map[string]map[string]any{
		"wrapped":      params("once", r.wrappedFor(t, "once", secret.Random(16))),
		"wrapping_key": params("nowhere", "AAAA"),
		"components":   {"key": custodiantest.KeyID},
		"key":          {"wrapping_key": "once", "wrapped": "AAAA"},
		"check_value":  {"key": custodiantest.KeyID, "wrapping_key": "once", "wrapped": "AAAA", "check_value": "xyz"},
	} {
		_, err := r.prepare(t, "key.import", r.input(t, human("demo-ada"), bad))
		require.Equal(t, field, fieldOf(t, err))
	}
	size := r.View().Head().Size
	first := r.propose(t, "demo-ada", "key.import", params("once", r.wrappedFor(t, "once", value)))
	second := r.propose(t, "demo-ada", "key.import", params("once", r.wrappedFor(t, "once", value)))
	require.Greater(t, r.View().Head().Size, size)
	r.approve(t, "demo-ben", first.ID)
	r.approve(t, "demo-ben", second.ID)
	require.Equal(t, ceremony.Completed, r.approve(t, "demo-cleo", first.ID).State)
	payload, err := r.engine.Statement(t.Context(), human("demo-cleo"), second.ID, "approve")
	require.NoError(t, err)
	envelope, err := r.signers["demo-cleo"].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	_, err = r.engine.Vote(t.Context(), human("demo-cleo"), second.ID, envelope)
	require.Error(t, err, "each wrapping key serves once")
	w := row[key.WrappingKey](t, r.rig, custodian.KindWrappingKey, "once")
	require.Equal(t, key.WrappingUsed, w.Status)
	require.Empty(t, w.Material.Blob, "the private half is gone")
	require.NotNil(t, w.DestroyedAt)
	refusal("version_pending", params("once", r.wrappedFor(t, "once", value)))

	v := r.version(t, custodiantest.KeyID, 2)
	require.Equal(t, check, v.CheckValue)
	require.Equal(t, key.OriginWrapped, v.Origin())
	require.Equal(t, 128, v.StrengthBits, "no stronger than what it travelled under")
	require.Equal(t, key.Active, r.version(t, custodiantest.KeyID, 1).State, "until it is confirmed the version before protects")
	r.propose(t, "demo-eve", "key.import-confirm", map[string]any{"key": custodiantest.KeyID, "version": 2, "check_value": check})
	require.Equal(t, key.Active, r.version(t, custodiantest.KeyID, 2).State)
	require.Equal(t, key.Deactivated, r.version(t, custodiantest.KeyID, 1).State)
	refusal("wrapping_key_used", params("once", r.wrappedFor(t, "once", value)))
	sealed, err := r.use(t, custodiantest.KeyID)
	require.NoError(t, err)
	require.NoError(t, r.decrypt(t, sealed))

	wrapped := r.wrappedFor(t, "spare", value)
	r.wrappingKey(t, "third")
	r.propose(t, "demo-dan", "wrappingkey.withdraw", map[string]any{"wrapping_key": "third", "reason": "not needed"})
	r.Clock.Advance(3 * days / 24)
	refusal("wrapping_key_expired", params("spare", wrapped))
	require.NoError(t, r.engine.Tick(t.Context()))
	for id, status := range map[string]string{"spare": key.WrappingExpired, "third": key.WrappingWithdrawn} {
		w := row[key.WrappingKey](t, r.rig, custodian.KindWrappingKey, id)
		require.Equal(t, status, w.Status)
		require.Empty(t, w.Material.Blob)
		refusal("wrapping_key_"+status, params(id, wrapped))
	}
	size = r.View().Head().Size
	require.NoError(t, r.engine.Tick(t.Context()))
	require.Equal(t, size, r.View().Head().Size)
	require.EqualValues(t, 1, len(r.events(t, "wrappingkey.expire")))
	rotated := r.propose(t, "demo-cleo", "key.rotate", map[string]any{"key": custodiantest.KeyID})
	require.Equal(t, ceremony.Completed, rotated.State)
	require.Equal(t, key.OriginGenerated, row[key.Key](t, r.rig, custodian.KindKey, custodiantest.KeyID).Origin)
}

// Component holders are distinct, in office, and not who asks.
func TestInvariant03_ComponentHolders(t *testing.T) {
	r := newRig(t)
	list, _ := parts(t, 3)
	ask := func(components []map[string]any) map[string]any {
		return map[string]any{"new": newKey("brought"), "components": components}
	}
	require.Equal(t, []string{"requester"}, r.denied(t, "key.import", human("demo-ada"), ask(componentsOf(list[:2], "demo-ada", "demo-ben"))))
	require.Equal(t, []string{"wrong-role"}, r.denied(t, "key.import", human("demo-ada"), ask(componentsOf(list[:2], "demo-aud", "demo-ben"))))
	same := []part{list[0], list[0]}
	for field, components := range map[string][]map[string]any{
		"components":                componentsOf(list[:1], "demo-ben"),
		"components[1].custodian":   componentsOf(list[:2], "demo-ben", "demo-ben"),
		"components[1].check_value": componentsOf(same, "demo-ben", "demo-cleo"),
		"components[0].custodian":   componentsOf(list[:2], "nobody", "demo-cleo"),
		"components[0].check_value": {{"custodian": "demo-ben", "check_value": "12"}, {"custodian": "demo-cleo", "check_value": list[1].check}},
	} {
		_, err := r.prepare(t, "key.import", r.input(t, human("demo-ada"), ask(components)))
		require.Equal(t, field, fieldOf(t, err))
	}
	params := ask(componentsOf(list[:2], "demo-ben", "demo-cleo"))
	params["new"] = newKeyOf("brought", "ecdsa-p256")
	require.Equal(t, []string{"import_unsupported"}, r.denied(t, "key.import", human("demo-ada"), params))
}

// After a crash an import that is not on record did not happen: wrapped it is done again, components are asked for again.
func TestRecoverImport(t *testing.T) {
	r := newEngineRig(t)
	list, check := parts(t, 2)
	c := r.propose(t, "demo-ada", "key.import", map[string]any{"new": newKey("brought"), "components": componentsOf(list, "demo-ben", "demo-cleo")})
	r.approve(t, "demo-dan", c.ID)
	approved := r.approve(t, "demo-eve", c.ID)
	require.Equal(t, ceremony.Approved, approved.State)
	approved.State, approved.EffectID, approved.Executor = ceremony.Executing, "e-lost", "demo-node/b-dead"
	r.Put(t, ceremony.Kind, c.ID, approved)
	r.again(t)
	require.NoError(t, r.engine.Recover(t.Context()))
	after, err := r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Equal(t, ceremony.Approved, after.State)
	require.Empty(t, after.EffectID)
	for i, who := range []string{"demo-ben", "demo-cleo"} {
		after, err = r.bringPart(t, who, c.ID, i+1, list[i].value.Clone())
		require.NoError(t, err)
	}
	require.Equal(t, ceremony.Completed, after.State)
	require.Equal(t, check, r.imported(t, "brought").CheckValue)

	r.wrappingKey(t, "once")
	wrapped := r.propose(t, "demo-ada", "key.import", map[string]any{"new": newKey("wrapped"), "wrapping_key": "once", "wrapped": r.wrappedFor(t, "once", list[0].value)})
	wrapped.State, wrapped.EffectID, wrapped.Executor = ceremony.Executing, "e-lost-2", "demo-node/b-dead"
	require.Len(t, r.approve(t, "demo-ben", wrapped.ID).Votes, 1)
	half, err := r.engine.Get(wrapped.ID)
	require.NoError(t, err)
	half.State, half.EffectID, half.Executor = ceremony.Executing, "e-lost-2", "demo-node/b-dead"
	payload, err := r.engine.Statement(t.Context(), human("demo-cleo"), wrapped.ID, "approve")
	require.NoError(t, err)
	envelope, err := r.signers["demo-cleo"].Sign(statement.TypeStatement, payload)
	require.NoError(t, err)
	half.Votes = append(half.Votes, ceremony.Vote{Person: "demo-cleo", Credential: "", Decision: "approve", At: r.Clock.Now(), Envelope: envelope})
	now := r.Clock.Now()
	half.ApprovedAt, half.Approvers = &now, []string{"demo-ben", "demo-cleo"}
	r.Put(t, ceremony.Kind, wrapped.ID, half)
	r.again(t)
	require.NoError(t, r.engine.Recover(t.Context()))
	require.Equal(t, list[0].check, r.imported(t, "wrapped").CheckValue)
	require.Equal(t, key.WrappingUsed, row[key.WrappingKey](t, r.rig, custodian.KindWrappingKey, "once").Status)
}
