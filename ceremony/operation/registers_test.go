package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

func newTemplate(id string) map[string]any {
	return map[string]any{"id": id, "label": "Keys of small services", "classification": "internal", "max_impact": "low", "jurisdictions": []string{"EU"},
		"environment": "test", "keystores": []string{custodiantest.KeystoreID}, "owners": []string{"demo-ada"}, "name_prefix": "svc-",
		"max_oup_days": 365, "max_rup_days": 730, "max_rotate_days": 180, "max_keys": 2}
}

func underTemplate(id string) map[string]any {
	p := newKey(id)
	p["template"], p["oup_days"], p["rup_days"], p["rotate_days"] = "small", 365, 730, 90
	return p
}

func (r *engineRig) decided(t *testing.T, by string, name string, params map[string]any, approvers ...string) *ceremony.Ceremony {
	t.Helper()
	c := r.propose(t, by, name, params)
	for _, who := range approvers {
		c = r.approve(t, who, c.ID)
	}
	require.Equal(t, ceremony.Completed, c.State, name)
	return c
}

func (r *engineRig) refusedAs(t *testing.T, by, name string, params map[string]any) string {
	t.Helper()
	_, _, err := r.engine.Propose(t.Context(), human(by), ceremony.Proposal{Operation: name, Params: canonical(t, params), Reason: "the test asks for it"})
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied, name)
	return denied.Code
}

// Keys of lower classes are made under an approved template without a quorum, cite its ceremony, and stay within
// its bounds; altered or retired, it stops new keys at once.
func TestTemplates(t *testing.T) {
	r := newEngineRig(t)
	approved := r.decided(t, "demo-ada", "template.create", newTemplate("small"), "demo-ben", "demo-cleo")
	made := r.propose(t, "demo-cleo", "key.create", underTemplate("svc-one"))
	require.Equal(t, ceremony.Completed, made.State)
	require.Equal(t, string(policies.PreAuthorised), made.Class)
	require.Equal(t, approved.ID, made.Cites)
	require.Equal(t, key.Active, r.version(t, "svc-one", 1).State)
	for field, value := range map[string]any{"id": "other", "impact": "moderate", "classification": "confidential", "owner": "demo-ben",
		"jurisdiction": "US", "environment": "production", "rotate_days": 200, "frameworks": []string{"hipaa"}} {
		p := underTemplate("svc-two")
		p[field] = value
		require.Equal(t, "template_bounds", r.refusedAs(t, "demo-cleo", "key.create", p), field)
	}
	r.propose(t, "demo-cleo", "key.create", underTemplate("svc-two"))
	require.Equal(t, "template_bounds", r.refusedAs(t, "demo-cleo", "key.create", underTemplate("svc-three")), "all are made")
	more := newTemplate("small")
	more["max_keys"] = 3
	r.decided(t, "demo-ada", "template.alter", more, "demo-ben", "demo-cleo")
	require.Equal(t, "completed", r.propose(t, "demo-cleo", "key.create", underTemplate("svc-three")).Outcome)
	more["max_keys"] = 9
	r.decided(t, "demo-ada", "template.alter", more, "demo-ben", "demo-cleo")
	r.propose(t, "demo-dan", "template.retire", map[string]any{"template": "small"})
	require.Equal(t, "template_bounds", r.refusedAs(t, "demo-cleo", "key.create", underTemplate("svc-four")))

	signing := newTemplate("signing")
	signing["type"], signing["algorithms"] = "private-signature", []string{"ecdsa-p256"}
	r.decided(t, "demo-ada", "template.create", signing, "demo-ben", "demo-cleo")
	for algorithm, made := range map[string]bool{"ecdsa-p256": true, "ed25519": false} {
		p := underTemplate("svc-" + algorithm)
		p["template"], p["algorithm"] = "signing", algorithm
		if !made {
			require.Equal(t, "template_bounds", r.refusedAs(t, "demo-cleo", "key.create", p))
			continue
		}
		require.Equal(t, ceremony.Completed, r.propose(t, "demo-cleo", "key.create", p).State)
	}
	signing["id"], signing["algorithms"] = "odd", []string{"aes-256"}
	_, odd := r.prepare(t, "template.create", r.input(t, human("demo-ada"), signing))
	require.Equal(t, "algorithms[0]", fieldOf(t, odd))

	protected := newTemplate("cards")
	protected["classification"] = "cardholder-data"
	_, err := r.prepare(t, "template.create", r.input(t, human("demo-ada"), protected))
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	require.Equal(t, "classification", input.Field)
}

// Forty keys of a template in one batch cite the one ceremony.
func TestBatchUnderATemplate(t *testing.T) {
	r := newEngineRig(t)
	approved := r.decided(t, "demo-ada", "template.create", newTemplate("small"), "demo-ben", "demo-cleo")
	c := r.propose(t, "demo-cleo", "batch", map[string]any{"operation": "key.create", "items": []any{underTemplate("svc-one"), underTemplate("svc-two"), underTemplate("svc-three")}})
	require.Equal(t, ceremony.Completed, c.State)
	require.Equal(t, approved.ID, c.Cites)
	require.Len(t, c.Deviations, 1, "the template's number of keys holds within a batch too")
}

// A version goes once its owner has said that nothing is left under it; of a protected key silence is no answer.
func TestAssetsJudgeDestruction(t *testing.T) {
	r := newEngineRig(t)
	r.certify(t)
	r.AddKey(t, "cards", key.CardholderData)
	owner := row[key.Key](t, r.rig, custodian.KindKey, "cards").Owner
	r.decided(t, "demo-cleo", "key.rotate", map[string]any{"key": "cards"}, "demo-ada", "demo-ben")
	destroy := map[string]any{"key": "cards", "version": 1}
	require.Equal(t, key.CodeDependents, r.refusedAs(t, "demo-cleo", "key.destroy", destroy), "nobody has said anything")
	_, _, err := r.engine.Propose(t.Context(), human("demo-dan"), ceremony.Proposal{Operation: "asset.register", Reason: "x",
		Params: canonical(t, map[string]any{"id": "pan", "label": "card numbers", "location": "db-1", "key": "cards", "counts": []any{map[string]any{"version": 1, "records": 1}}})})
	var denied *custodian.Denied
	require.ErrorAs(t, err, &denied, "only the owner answers for the data")

	r.propose(t, owner, "asset.register", map[string]any{"id": "pan", "label": "card numbers", "location": "db-1", "key": "cards",
		"counts": []any{map[string]any{"version": 1, "records": 1000}}})
	require.Equal(t, key.CodeDependents, r.refusedAs(t, "demo-cleo", "key.destroy", destroy))
	for _, bad := range []map[string]any{
		{"rewrapped": 400, "left": 500}, {"rewrapped": 1001, "left": 0}, {"rewrapped": -1, "left": 1001}, {"rewrapped": 400, "left": 600, "to": 1}, {"rewrapped": 400, "left": 600, "from": 2, "to": 1},
	} {
		p := map[string]any{"asset": "pan", "from": 1, "to": 2}
		for k, v := range bad {
			p[k] = v
		}
		_, _, err := r.engine.Propose(t.Context(), human(owner), ceremony.Proposal{Operation: "asset.rewrap", Params: canonical(t, p), Reason: "x"})
		require.Error(t, err, "%v", bad)
	}
	r.propose(t, owner, "asset.rewrap", map[string]any{"asset": "pan", "from": 1, "to": 2, "rewrapped": 400, "left": 600})
	require.Equal(t, key.CodeDependents, r.refusedAs(t, "demo-cleo", "key.destroy", destroy))
	_, _, err = r.engine.Propose(t.Context(), human(owner), ceremony.Proposal{Operation: "asset.retire", Params: canonical(t, map[string]any{"asset": "pan"}), Reason: "x"})
	require.Error(t, err, "an asset with records is not simply dropped")
	r.propose(t, owner, "asset.rewrap", map[string]any{"asset": "pan", "from": 1, "to": 2, "rewrapped": 600, "left": 0})
	asset := row[key.Asset](t, r.rig, custodian.KindAsset, "pan")
	require.Equal(t, []key.AssetCount{{Version: 1, Rewrapped: 1000}, {Version: 2, Records: 1000}}, asset.Counts)
	require.Equal(t, ceremony.Proposed, r.propose(t, "demo-cleo", "key.destroy", destroy).State)
}

// That no data is under a version of a protected key is said explicitly, by its owner.
func TestDeclaringThatNoneIsThere(t *testing.T) {
	r := newEngineRig(t)
	r.certify(t)
	r.AddKey(t, "cards", key.CardholderData)
	owner := row[key.Key](t, r.rig, custodian.KindKey, "cards").Owner
	r.decided(t, "demo-cleo", "key.rotate", map[string]any{"key": "cards"}, "demo-ada", "demo-ben")
	r.propose(t, owner, "asset.register", map[string]any{"id": "none-1", "label": "never used", "location": "nowhere", "key": "cards", "none": true,
		"counts": []any{map[string]any{"version": 1, "records": 0}}})
	require.Equal(t, ceremony.Proposed, r.propose(t, "demo-cleo", "key.destroy", map[string]any{"key": "cards", "version": 1}).State)
}

// Owners hand over by a decision in which neither takes part.
func TestKeyAlter(t *testing.T) {
	r := newEngineRig(t)
	r.decided(t, "demo-ada", "key.create", newKey("payroll"), "demo-ben", "demo-cleo")
	c := r.propose(t, "demo-cleo", "key.alter", map[string]any{"key": "payroll", "owner": "demo-ben", "rotate_days": 30})
	require.ElementsMatch(t, []string{"demo-ada", "demo-ben"}, c.Subjects)
	require.Equal(t, "no_change", r.refusedAs(t, "demo-cleo", "key.alter", map[string]any{"key": "payroll"}))
	in := r.input(t, human("demo-cleo"), map[string]any{"key": "payroll", "owner": "demo-ben", "rotate_days": 30})
	_, err := r.execute(t, "key.alter", in, nil)
	require.NoError(t, err)
	k := row[key.Key](t, r.rig, custodian.KindKey, "payroll")
	require.Equal(t, "demo-ben", k.Owner)
	require.Equal(t, 30, k.RotateDays)
	require.EqualValues(t, 2, k.GovRevision)
}

// Into a protected class, what one person granted ends unless a quorum approves it anew. Down again takes an officer.
func TestKeyReclassify(t *testing.T) {
	r := newEngineRig(t)
	r.decided(t, "demo-ada", "key.create", newKey("payroll"), "demo-ben", "demo-cleo")
	raise := map[string]any{"key": "payroll", "classification": "cardholder-data", "oup_days": 365, "rup_days": 730, "rotate_days": 180}
	require.Equal(t, "fips_level_low", r.refusedAs(t, "demo-cleo", "key.reclassify", raise), "where it may live is judged anew")
	r.certify(t)
	granted := r.propose(t, "demo-ada", "grant.create", map[string]any{"id": "direct", "application": custodiantest.ApplicationID, "key": "payroll", "operations": []string{"decrypt"}, "days": 300})
	require.Equal(t, string(policies.Direct), granted.Class)
	raised := r.decided(t, "demo-cleo", "key.reclassify", raise, "demo-ada", "demo-ben")
	require.Empty(t, raised.Takes.Roles, "raising asks for no officer")
	g := row[access.Grant](t, r.rig, custodian.KindGrant, "direct")
	require.WithinDuration(t, r.Clock.Now().Add(14*days), g.ExpiresAt, days)
	again := r.propose(t, "demo-cleo", "grant.alter", map[string]any{"grant": "direct", "days": 300})
	require.Equal(t, string(policies.Governed), again.Class)
	for _, who := range []string{"demo-ada", "demo-ben"} {
		again = r.approve(t, who, again.ID)
	}
	require.Equal(t, ceremony.Completed, again.State)
	require.WithinDuration(t, r.Clock.Now().Add(300*days), row[access.Grant](t, r.rig, custodian.KindGrant, "direct").ExpiresAt, days)

	lower := r.propose(t, "demo-cleo", "key.reclassify", map[string]any{"key": "payroll", "classification": "internal"})
	require.Equal(t, []policies.RoleCount{{Role: "security-officer", Count: 1}}, lower.Takes.Roles)
	sideways := r.propose(t, "demo-cleo", "key.reclassify", map[string]any{"key": "payroll", "classification": "ephi"})
	require.NotEmpty(t, sideways.Takes.Roles, "from one protected class to another is no raise")
}

// A compromise at night: suspended by one person at once, marked by a quorum, which opens a campaign; the campaign
// closes on signed counts, and then the version can be destroyed.
func TestCompromiseAtNight(t *testing.T) {
	r := newEngineRig(t)
	r.certify(t)
	r.AddKey(t, "cards", key.CardholderData)
	r.AddGrant(t, "cards-grant", custodiantest.ApplicationID, "cards")
	sealed, err := r.use(t, "cards")
	require.NoError(t, err)
	owner := row[key.Key](t, r.rig, custodian.KindKey, "cards").Owner
	r.propose(t, owner, "asset.register", map[string]any{"id": "pan", "label": "card numbers", "location": "db-1", "key": "cards",
		"counts": []any{map[string]any{"version": 1, "records": 70}}})
	r.decided(t, "demo-cleo", "key.rotate", map[string]any{"key": "cards"}, "demo-ada", "demo-ben")
	r.decided(t, "demo-cleo", "key.compromise", map[string]any{"key": "cards", "version": 1}, "demo-ada", "demo-ben")
	var c *key.Campaign
	for _, one := range store.All[key.Campaign](r.View(), custodian.KindCampaign) {
		c = one
	}
	require.NotNil(t, c)
	require.Equal(t, []key.CampaignTarget{{Asset: "pan", Records: 70}}, c.AtStart)
	require.Equal(t, key.CauseCompromise, c.Cause)
	left, err := operation.Left(r.View(), c, r.Clock.Now())
	require.NoError(t, err)
	require.Len(t, left, 1)
	require.Equal(t, "records_left", r.refusedAs(t, "demo-cleo", "campaign.close", map[string]any{"campaign": c.ID}))
	r.readsUnderAnApproval(t, sealed)
	require.Equal(t, key.CodeReprotection, r.refusedAs(t, "demo-cleo", "key.destroy", map[string]any{"key": "cards", "version": 1}))
	r.propose(t, owner, "asset.rewrap", map[string]any{"asset": "pan", "from": 1, "to": 2, "rewrapped": 70, "left": 0})
	r.decided(t, "demo-cleo", "campaign.close", map[string]any{"campaign": c.ID}, "demo-ada", "demo-ben")
	require.NotNil(t, row[key.Campaign](t, r.rig, custodian.KindCampaign, c.ID).ClosedAt)
	require.Equal(t, ceremony.Proposed, r.propose(t, "demo-cleo", "key.destroy", map[string]any{"key": "cards", "version": 1}).State)
	require.Equal(t, "already_closed", r.refusedAs(t, "demo-cleo", "campaign.close", map[string]any{"campaign": c.ID}))
}

// A campaign after a rotation retires what still protects when it is closed, and one version has one at a time.
func TestCampaignRetires(t *testing.T) {
	r := newEngineRig(t)
	r.decided(t, "demo-ada", "key.create", newKey("payroll"), "demo-ben", "demo-cleo")
	start := map[string]any{"key": "payroll", "version": 1, "cause": "rotation", "days": 60}
	begun := r.propose(t, "demo-cleo", "campaign.start", start)
	require.Equal(t, ceremony.Completed, begun.State)
	_, err := r.prepare(t, "campaign.start", r.input(t, human("demo-cleo"), start))
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	r.propose(t, "demo-ada", "asset.register", map[string]any{"id": "none", "label": "nothing", "location": "nowhere", "key": "payroll", "none": true,
		"counts": []any{map[string]any{"version": 1, "records": 0}}})
	r.decided(t, "demo-cleo", "campaign.close", map[string]any{"campaign": begun.Target.ID}, "demo-ada", "demo-ben")
	require.Equal(t, key.Deactivated, r.version(t, "payroll", 1).State)
}

// readsUnderAnApproval: what is under the compromised version is read by the application that a quorum named, until
// its approval ends, and every call names it.
func (r *engineRig) readsUnderAnApproval(t *testing.T, sealed []byte) {
	t.Helper()
	require.Error(t, r.decrypt(t, sealed))
	params := map[string]any{"key": "cards", "version": 1, "application": custodiantest.ApplicationID, "asset": "pan", "days": 7}
	require.Equal(t, "not_compromised", r.refusedAs(t, "demo-cleo", "key.controlled-use", map[string]any{"key": "cards", "version": 2, "application": custodiantest.ApplicationID, "asset": "pan", "days": 7}))
	approved := r.decided(t, "demo-cleo", "key.controlled-use", params, "demo-ada", "demo-ben")
	require.NoError(t, r.decrypt(t, sealed))
	e, detail := r.lastEvent(t, "key.use.decrypt")
	require.Equal(t, "u-"+approved.ID[2:], detail["controlled_use"])
	require.EqualValues(t, 1, e.Target.Version)
	moved, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.Rewrap, Ciphertext: sealed})
	require.NoError(t, err)
	require.EqualValues(t, 2, moved.Version)
	_, detail = r.lastEvent(t, "key.use.rewrap")
	require.Equal(t, "u-"+approved.ID[2:], detail["controlled_use"])
	r.Clock.Advance(7 * days)
	require.Error(t, r.decrypt(t, sealed), "it ends by date alone")
	require.NoError(t, r.decrypt(t, moved.Ciphertext))
}
