package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
	"conclave/hsm"
	"conclave/hsm/secret"
)

func newKeystore(id string) map[string]any {
	return map[string]any{"id": id, "driver": "software", "jurisdiction": "EU", "environment": "test", "location": "demo rack 2",
		"controller": "demo-ada", "make": "demo", "model": "one",
		"share_set": map[string]any{"id": id + "-shares", "threshold": 3, "holders": custodiantest.People()}}
}

// register makes a second keystore with shares.
func (r *rig) register(t *testing.T) {
	t.Helper()
	r.run(t, "keystore.register", human("demo-ada"), newKeystore("second"))
}

// share opens a holder's own share of the second keystore.
func (r *rig) share(t *testing.T, index int) (*shamir.Share, *people.Share) {
	t.Helper()
	line := row[people.Share](t, r, custodian.KindShare, people.ShareID("second-shares", 1, index))
	opened, err := r.signers[line.Custodian].OpenShare(line.Sealed)
	require.NoError(t, err)
	return opened, line
}

func (r *rig) combine(t *testing.T, indices ...int) *secret.Bytes {
	t.Helper()
	register := shamir.Register{Set: shamir.Set{ID: "second-shares", Epoch: 1}, Threshold: 3, Commitments: map[int][]byte{}}
	collectorShares := make([]*shamir.Share, 0, len(indices))
	for _, i := range indices {
		opened, line := r.share(t, i)
		register.Commitments[i] = line.Commitment
		collectorShares = append(collectorShares, opened)
	}
	combined, err := shamir.Combine(register, collectorShares)
	require.NoError(t, err)
	return combined
}

func TestKeystoreRegisterAndActivate(t *testing.T) {
	r := newRig(t)
	r.register(t)
	ks := row[key.Keystore](t, r, custodian.KindKeystore, "second")
	require.NoError(t, ks.Validate())
	require.NotEmpty(t, ks.Verifier)
	require.Equal(t, 256, ks.Capabilities.KeyStrength)
	set := row[people.ShareSet](t, r, custodian.KindShareSet, "second-shares")
	require.NoError(t, set.Validate())
	require.Len(t, r.events(t, "share.issue"), 5)
	r.lastEvent(t, "keystore.register")
	_, err := r.Keystore("second")
	require.Error(t, err, "its driver is made when it is activated")

	who, params := node(), map[string]any{"keystore": "second"}
	in := r.input(t, who, params)
	plan := r.plan(t, "keystore.activate", in)
	require.Equal(t, "second-shares", plan.ShareSet)
	require.Equal(t, 3, plan.Quorum.Target.Threshold)
	_, err = r.execute(t, "keystore.activate", in, nil)
	require.Error(t, err, "without shares")
	_, err = r.execute(t, "keystore.activate", in, secret.Random(32))
	require.ErrorIs(t, err, hsm.ErrActivationSecret)

	combined := r.combine(t, 5, 1, 3)
	_, err = r.execute(t, "keystore.activate", in, combined)
	require.NoError(t, err)
	driver, err := r.Keystore("second")
	require.NoError(t, err)
	require.True(t, driver.Active())
	require.Contains(t, r.denied(t, "keystore.activate", who, params), "already_active")
	onSecond := newKey("on-second")
	onSecond["keystore"] = "second"
	r.run(t, "key.create", human("demo-ada"), onSecond)
	require.Equal(t, key.Active, r.version(t, "on-second", 1).State)

	activate := op(t, "keystore.activate").(operation.Effectful)
	_, found, err := activate.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.True(t, found, "what is active needs no second activation")
	r.run(t, "keystore.deactivate", human("demo-cleo"), params)
	require.False(t, driver.Active())
	require.Contains(t, r.denied(t, "keystore.deactivate", human("demo-cleo"), params), "already_inactive")
	_, found, err = activate.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found)
	effect, err := activate.Effect(t.Context(), r.env, in, "e-2", r.combine(t, 2, 3, 4))
	require.NoError(t, err)
	require.NoError(t, activate.Undo(t.Context(), r.env, in, effect))
	require.False(t, driver.Active(), "an activation that is not on record is taken back")
}

// TestInvariant04_RegisteringLeavesNoSecret: what goes into the record opens nothing by itself.
func TestInvariant04_RegisteringLeavesNoSecret(t *testing.T) {
	r := newRig(t)
	register := op(t, "keystore.register").(operation.Effectful)
	in := r.input(t, human("demo-ada"), newKeystore("second"))
	effect, err := register.Effect(t.Context(), r.env, in, "e-1", nil)
	require.NoError(t, err)
	_, found, err := register.Recover(t.Context(), r.env, in, "e-1")
	require.NoError(t, err)
	require.False(t, found, "nothing outside the database remembers it")
	_, err = r.record(t, "keystore.register", in, effect)
	require.NoError(t, err)
	require.NoError(t, r.combine(t, 1, 2, 3).Use(func(b []byte) error {
		require.NotContains(t, string(effect.Data), base64.StdEncoding.EncodeToString(b))
		require.NotContains(t, string(effect.Data), string(b))
		return nil
	}))
	_, err = r.record(t, "keystore.register", in, effect)
	require.Error(t, err, "an id is registered once")
}

func TestShareConfirmAndDrill(t *testing.T) {
	r := newRig(t)
	r.register(t)
	proof := func(holder string, index int, signWith *shamir.Share) map[string]any {
		challenge := r.challenges.New(holder, "second-shares", 1, index, r.Clock.Now())
		signature, err := signWith.Sign(challenge)
		require.NoError(t, err)
		return map[string]any{"set": "second-shares", "epoch": 1, "index": index,
			"challenge": base64.StdEncoding.EncodeToString(challenge), "signature": base64.StdEncoding.EncodeToString(signature)}
	}
	mine, line := r.share(t, 1)
	others, _ := r.share(t, 2)
	holder := human(line.Custodian)

	require.Contains(t, r.denied(t, "share.drill", holder, proof(holder.ID, 1, mine)), "not_confirmed")
	_, err := r.prepare(t, "share.confirm", r.input(t, holder, proof(holder.ID, 1, others)))
	require.Equal(t, "signature", fieldOf(t, err), "another share")
	_, err = r.prepare(t, "share.confirm", r.input(t, holder, proof("demo-ben", 1, mine)))
	require.Equal(t, "challenge", fieldOf(t, err), "a challenge for somebody else")
	require.False(t, r.quorum(t, "share.confirm", human("demo-ben"), proof(holder.ID, 1, mine)).Allow, "not their share")
	in := r.input(t, human("demo-ben"), proof(holder.ID, 1, mine))
	_, err = r.execute(t, "share.confirm", in, nil)
	require.Error(t, err)

	stale := proof(holder.ID, 1, mine)
	r.Clock.Advance(operation.ChallengeLife)
	_, err = r.prepare(t, "share.confirm", r.input(t, holder, stale))
	require.Equal(t, "challenge", fieldOf(t, err), "too late")

	require.True(t, r.quorum(t, "share.confirm", holder, proof(holder.ID, 1, mine)).Allow)
	r.run(t, "share.confirm", holder, proof(holder.ID, 1, mine))
	_, line = r.share(t, 1)
	require.Equal(t, people.ShareConfirmed, line.Status)
	require.Equal(t, r.Clock.Now(), *line.ConfirmedAt)
	require.Nil(t, line.DrilledAt)
	require.Contains(t, r.denied(t, "share.confirm", holder, proof(holder.ID, 1, mine)), "already_confirmed")

	r.Clock.Advance(30 * days)
	r.run(t, "share.drill", holder, proof(holder.ID, 1, mine))
	_, line = r.share(t, 1)
	require.Equal(t, r.Clock.Now(), *line.DrilledAt)
	e, _ := r.lastEvent(t, "share.drill")
	require.Equal(t, "second-shares/1/1", e.Target.ID)

	line.Status = people.ShareLost
	r.Put(t, custodian.KindShare, people.ShareID(line.Set, line.Epoch, line.Index), line)
	require.Contains(t, r.denied(t, "share.drill", holder, proof(holder.ID, 1, mine)), "share_unusable")
}

func TestAcknowledgementSign(t *testing.T) {
	r := newRig(t)
	r.register(t)
	p := row[people.Person](t, r, custodian.KindPerson, "demo-dan")
	p.Acknowledgement = nil
	r.Put(t, custodian.KindPerson, p.ID, p)
	sign := func(signer string, payloadType string, terms people.Terms, change func([]byte) []byte) map[string]any {
		raw, err := json.Marshal(terms)
		require.NoError(t, err)
		payload, err := strictjson.Canonical(raw)
		require.NoError(t, err)
		if change != nil {
			payload = change(payload)
		}
		envelope, err := r.signers[signer].Sign(payloadType, payload)
		require.NoError(t, err)
		return map[string]any{"envelope": jsontext.Value(envelope)}
	}
	terms := people.NewTerms(r.Instance.ID, p, []string{"second-shares"}, r.Clock.Now())
	good := sign(p.ID, statement.TypeAcknowledgement, terms, nil)
	stranger, foreignSet, tomorrow, elsewhere, nowhere := terms, terms, terms, terms, terms
	elsewhere.Instance, nowhere.Instance = strings.Repeat("0", 64), ""
	stranger.Name, foreignSet.ShareSets, tomorrow.EffectiveAt = "Somebody else", []string{"other-set"}, "2027-01-01T00:00:00Z"
	for name, c := range map[string]struct {
		who    string
		params map[string]any
		field  string
	}{
		"another person's key": {p.ID, sign("demo-eve", statement.TypeAcknowledgement, terms, nil), "envelope"},
		"on behalf of another": {"demo-eve", good, "envelope"},
		"another payload type": {p.ID, sign(p.ID, statement.TypeStatement, terms, nil), "envelope"},
		"not canonical":        {p.ID, sign(p.ID, statement.TypeAcknowledgement, terms, func(b []byte) []byte { return append([]byte(" "), b...) }), "envelope"},
		"not terms":            {p.ID, sign(p.ID, statement.TypeAcknowledgement, terms, func([]byte) []byte { return []byte(`{"x":1}`) }), "envelope"},
		"another name":         {p.ID, sign(p.ID, statement.TypeAcknowledgement, stranger, nil), "envelope.name"},
		"another instance":     {p.ID, sign(p.ID, statement.TypeAcknowledgement, elsewhere, nil), "envelope.instance"},
		"no instance":          {p.ID, sign(p.ID, statement.TypeAcknowledgement, nowhere, nil), "envelope.instance"},
		"a set of others":      {p.ID, sign(p.ID, statement.TypeAcknowledgement, foreignSet, nil), "envelope.share_sets[0]"},
		"another day":          {p.ID, sign(p.ID, statement.TypeAcknowledgement, tomorrow, nil), "envelope.effective_at"},
	} {
		_, err := r.prepare(t, "acknowledgement.sign", r.input(t, human(c.who), c.params))
		require.Error(t, err, name)
		require.Equal(t, c.field, fieldOf(t, err), name)
	}
	require.Error(t, people.Eligible(p, people.RoleCustodian, r.Clock.Now()))
	require.True(t, r.quorum(t, "acknowledgement.sign", human(p.ID), good).Allow)
	r.run(t, "acknowledgement.sign", human(p.ID), good)
	p = row[people.Person](t, r, custodian.KindPerson, p.ID)
	require.NoError(t, people.Eligible(p, people.RoleCustodian, r.Clock.Now()))
	require.JSONEq(t, string(good["envelope"].(jsontext.Value)), string(p.Acknowledgement.Envelope))
	e, _ := r.lastEvent(t, "custodian.ack")
	require.Equal(t, p.ID, e.Target.ID)
	_, err := r.prepare(t, "acknowledgement.sign", r.input(t, node(), good))
	require.Equal(t, "requester", fieldOf(t, err))
}

func TestCustodianSuspendAndResume(t *testing.T) {
	r := newRig(t)
	r.register(t)
	suspend := func(who, person string) operation.Result {
		return r.run(t, "custodian.suspend", human(who), map[string]any{"person": person, "reason": "lost device"})
	}
	require.Contains(t, r.denied(t, "custodian.suspend", human("demo-ada"), map[string]any{"person": "demo-ada"}), people.CodeExcludedSubject)
	result := decoded(t, suspend("demo-ada", "demo-eve"))
	require.Empty(t, result["warnings"])
	p := row[people.Person](t, r, custodian.KindPerson, "demo-eve")
	require.Error(t, people.Present(p))
	require.Equal(t, "lost device", p.SuspendedReason)
	require.Contains(t, r.denied(t, "custodian.suspend", human("demo-ada"), map[string]any{"person": "demo-eve"}), "not_active")

	require.Equal(t, "demo-ada", p.SuspendedBy)
	r.newcomers(t, "demo-fay", "demo-gus")
	result = decoded(t, suspend("demo-ada", "demo-dan"))
	require.Contains(t, result["warnings"].([]any)[0], "no spare share")
	result = decoded(t, suspend("demo-ada", "demo-cleo"))
	require.Contains(t, result["warnings"].([]any)[0], "only 2 usable shares", "not refused for what it costs, but said")
	require.Len(t, result["warnings"], 1)
	_, detail := r.lastEvent(t, "custodian.suspend")
	require.Len(t, detail["warnings"], 1)

	in := r.input(t, human("demo-ada"), map[string]any{"person": "demo-eve", "finding": "device found"})
	require.Equal(t, []string{"demo-eve"}, r.plan(t, "custodian.resume", in).Subjects)
	r.run(t, "custodian.resume", human("demo-ada"), map[string]any{"person": "demo-eve", "finding": "device found"})
	p = row[people.Person](t, r, custodian.KindPerson, "demo-eve")
	require.NoError(t, people.Present(p))
	require.Empty(t, p.SuspendedReason)
	require.Contains(t, r.denied(t, "custodian.resume", human("demo-ada"), map[string]any{"person": "demo-eve"}), "not_suspended")
}

// newcomers are further key managers who may approve.
func (r *rig) newcomers(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		p := row[people.Person](t, r, custodian.KindPerson, "demo-dan")
		signer, err := keyfile.Generate(id, "ES256")
		require.NoError(t, err)
		credential, err := signer.Public().Credential(r.Clock.Now())
		require.NoError(t, err)
		p.ID, p.Name, p.ApprovalKeys = id, id, []people.Credential{credential}
		p.Status, p.SuspendedAt, p.SuspendedBy, p.SuspendedReason = people.StatusActive, nil, "", ""
		r.Put(t, custodian.KindPerson, id, p)
	}
}

func TestInvariant12_SuspensionsLeaveAQuorumThatReleases(t *testing.T) {
	r := newRig(t)
	suspension := func(person string) map[string]any { return map[string]any{"person": person, "reason": "test"} }
	refused := func(who, person, because string) {
		t.Helper()
		require.Equal(t, []string{"lock_out"}, r.denied(t, "custodian.suspend", human(who), suspension(person)), because)
	}
	refused("demo-ada", "demo-ben", "ada would be the only officer left, and could keep ben out for ever")
	r.run(t, "custodian.suspend", human("demo-ada"), suspension("demo-eve"))
	refused("demo-ada", "demo-dan", "ben, cleo and nobody to ask them: ada does not count")
	refused("demo-ben", "demo-dan", "ada and ben, who both suspended, do not count, so that two together gain nothing")

	r.newcomers(t, "demo-fay", "demo-gus")
	r.run(t, "custodian.suspend", human("demo-ada"), suspension("demo-dan"))
	refused("demo-ben", "demo-cleo", "no officer is left who suspended nobody")

	p := row[people.Person](t, r, custodian.KindPerson, "demo-fay")
	p.ApprovalKeys[0].Revoked = true
	r.Put(t, custodian.KindPerson, p.ID, p)
	refused("demo-ada", "demo-gus", "fay has no key to sign with any more")

	r.run(t, "custodian.resume", human("demo-cleo"), map[string]any{"person": "demo-eve", "finding": "found"})
	r.run(t, "custodian.resume", human("demo-cleo"), map[string]any{"person": "demo-dan", "finding": "found"})
	r.run(t, "custodian.suspend", human("demo-ben"), suspension("demo-gus"))
}
