package operation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/hsm/soft"
	"conclave/policies"
)

// addKeystore registers a second keystore by rows, activated, and returns what opens it.
func (r *engineRig) addKeystore(t *testing.T, id string, change func(*key.Keystore)) *secret.Bytes {
	t.Helper()
	activation, verifier, err := soft.NewActivation()
	require.NoError(t, err)
	t.Cleanup(activation.Wipe)
	driver, err := soft.New(soft.Config{ID: id, Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, driver.Activate(t.Context(), activation))
	require.NoError(t, r.Service.AddKeystore(id, driver))
	ks := *row[key.Keystore](t, r.rig, custodian.KindKeystore, custodiantest.KeystoreID)
	ks.ID, ks.Verifier, ks.ShareSet = id, verifier, ""
	if change != nil {
		change(&ks)
	}
	r.Put(t, custodian.KindKeystore, id, ks)
	return activation
}

func (r *engineRig) keystore(t *testing.T) *key.Keystore {
	t.Helper()
	return row[key.Keystore](t, r.rig, custodian.KindKeystore, custodiantest.KeystoreID)
}

func TestKeystoreAlterRecordsFactsUnderItsStatement(t *testing.T) {
	r := newEngineRig(t)
	r.Device.Declare()
	alter := func(more map[string]any) map[string]any {
		p := map[string]any{"keystore": custodiantest.KeystoreID, "reason": "the module was validated"}
		for k, v := range more {
			p[k] = v
		}
		return p
	}
	t.Run("bad input", func(t *testing.T) {
		for field, bad := range map[string]map[string]any{
			"fips_level":         {"fips_level": 3, "fips_standard": "140-3"},
			"certificate":        {"certificate": key.CertSimulated, "fips_standard": "140-3", "fips_level": 3},
			"certificate_status": {"certificate": "4321", "certificate_status": "fine"},
			"certificate_until":  {"certificate": "4321", "certificate_until": "soon"},
			"specs[0]":           {"specs": []string{"rsa-512"}},
			"tenancy":            {"tenancy": "some"},
			"controller":         {"controller": "nobody"},
			"jurisdiction":       {"jurisdiction": "Mars"},
			"strands":            {"max_keys": 10, "strands": map[string]any{"stranded": 9, "no_new_versions": 0}},
			"colour":             {"colour": "blue"},
		} {
			_, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "keystore.alter", Params: canonical(t, alter(bad)), Reason: "the test asks for it"})
			require.Equal(t, field, fieldOf(t, err))
		}
		require.Contains(t, r.refused(t, "demo-ada", "keystore.alter", alter(nil)), "no_change")
	})
	t.Run("decided", func(t *testing.T) {
		c := r.decided(t, "demo-ada", "keystore.alter", alter(map[string]any{"fips_standard": "140-3", "fips_level": 3, "certificate": "4321",
			"certificate_from": "2025-02-03", "certificate_until": "2030-02-03", "tenancy": "single", "max_keys": 500, "custody": "hyok"}), "demo-ben", "demo-cleo")
		require.Equal(t, "G", c.Class)
		var signed struct {
			Strands struct {
				Stranded int `json:"stranded"`
				NoNew    int `json:"no_new_versions"`
			} `json:"strands"`
		}
		require.NoError(t, json.Unmarshal(c.Params, &signed))
		require.Zero(t, signed.Strands.Stranded)
		ks := r.keystore(t)
		require.Equal(t, 3, ks.FIPSLevel)
		require.Equal(t, key.CertActive, ks.CertificateStatus, "a new number is active until something else is said")
		require.Equal(t, time.Date(2030, 2, 3, 0, 0, 0, 0, time.UTC), ks.CertificateUntil)
		require.Equal(t, hsm.CustodyHYOK, ks.Custody)
		require.EqualValues(t, 2, ks.GovRevision)
		_, detail := r.lastEvent(t, "keystore.alter")
		require.Contains(t, detail["changed"], "FIPS level: 0 → 3")
	})
	t.Run("another certificate forgets the status of the one before", func(t *testing.T) {
		r.decided(t, "demo-ada", "keystore.alter", alter(map[string]any{"certificate_status": "historical"}), "demo-ben", "demo-cleo")
		r.decided(t, "demo-ada", "keystore.alter", alter(map[string]any{"certificate": "9999"}), "demo-ben", "demo-cleo")
		require.Equal(t, key.CertActive, r.keystore(t).CertificateStatus)
		require.True(t, r.keystore(t).CertificateUntil.IsZero())
	})
	t.Run("simulators", func(t *testing.T) {
		r.decided(t, "demo-ada", "keystore.alter", alter(map[string]any{"simulated": true, "certificate": key.CertSimulated}), "demo-ben", "demo-cleo")
		_, err := r.prepare(t, "keystore.alter", r.input(t, human("demo-ada"), alter(map[string]any{"simulated": false, "certificate": "1"})))
		require.Equal(t, "simulated", fieldOf(t, err))
		in := r.input(t, human("demo-ada"), map[string]any{"keystore": custodiantest.KeystoreID, "simulated": true, "reason": "x"})
		in.Instance.Mode = custodian.Production
		plain := *r.keystore(t)
		plain.Simulated, plain.Certificate = false, "1"
		r.Put(t, custodian.KindKeystore, plain.ID, plain)
		_, err = r.prepare(t, "keystore.alter", in)
		require.Equal(t, "simulated", fieldOf(t, err), "not in production")
	})
}

// A software keystore proves what it is: a record may claim less, never more; and what it can make is taken in anew.
func TestKeystoreAlterStaysWithinProof(t *testing.T) {
	r := newEngineRig(t)
	old := r.keystore(t)
	old.Capabilities.Specs = nil // registered before there were others than AES-256
	r.Put(t, custodian.KindKeystore, old.ID, old)
	base := map[string]any{"keystore": old.ID, "fips_standard": "140-3", "fips_level": 3, "certificate": "4321", "reason": "wishful"}
	require.Contains(t, r.refused(t, "demo-ada", "keystore.alter", base), "claims_beyond_proof")
	require.Contains(t, r.refused(t, "demo-ada", "keystore.alter", map[string]any{"keystore": old.ID, "custody": "hyok", "reason": "wishful"}), "claims_beyond_proof")

	sign := newKey("seal")
	sign["type"], sign["algorithm"] = "private-signature", "ed25519"
	require.Contains(t, r.refused(t, "demo-ada", "key.create", sign), "algorithm_unsupported")
	r.decided(t, "demo-ada", "keystore.alter", map[string]any{"keystore": old.ID, "specs": []string{"aes-256", "ed25519"}, "reason": "newer program"}, "demo-ben", "demo-cleo")
	require.Equal(t, []hsm.Spec{hsm.AES256, hsm.Ed25519}, r.keystore(t).Capabilities.Specs, "less than the driver makes, as signed")
	require.Equal(t, ceremony.Proposed, r.propose(t, "demo-ada", "key.create", sign).State)
}

// The statement names what an alteration would strand; a key that comes in between voids what was signed.
func TestInvariant06_AlteringAKeystoreShowsWhatItStrands(t *testing.T) {
	r := newEngineRig(t)
	r.certify(t)
	r.AddKey(t, "cards-1", key.CardholderData)
	r.AddKey(t, "cards-2", key.CardholderData)
	lower := map[string]any{"keystore": custodiantest.KeystoreID, "certificate_status": "revoked", "reason": "CMVP revoked it"}
	c := r.propose(t, "demo-ada", "keystore.alter", lower)
	var p struct {
		Strands struct {
			Stranded int      `json:"stranded"`
			NoNew    int      `json:"no_new_versions"`
			Keys     []string `json:"keys"`
			SHA256   string   `json:"sha256"`
		} `json:"strands"`
	}
	require.NoError(t, json.Unmarshal(c.Params, &p))
	require.Equal(t, 3, p.Strands.Stranded, "revoked: no key may stay, of whatever class; the demo key among them: %s", c.Params)
	require.Equal(t, []string{"cards-1", "cards-2", custodiantest.KeyID}, p.Strands.Keys)
	require.Len(t, p.Strands.SHA256, 64)
	text := ""
	for _, l := range c.Lines {
		text += l.Label + " " + l.Before + " " + l.After + "\n"
	}
	require.Contains(t, text, "keys cards-1, cards-2 fits")
	require.Contains(t, text, "must move (fips_level_low, module_not_validated)")
	changes, err := operation.WhatIf(t.Context(), r.env, r.View(), r.input(t, human("demo-ada"), nil), operation.Supposition{Keystore: canonical(t, lower)})
	require.NoError(t, err)
	require.Len(t, changes, 2, "what-if says the same")

	r.approve(t, "demo-ben", c.ID)
	r.AddKey(t, "cards-3", key.CardholderData)
	_, err = r.engine.Get(c.ID)
	require.NoError(t, err)
	require.Contains(t, r.voteRefused(t, "demo-cleo", c.ID), "strands_differ")

	fresh := r.decided(t, "demo-ada", "keystore.alter", lower, "demo-ben", "demo-cleo")
	require.Equal(t, ceremony.Completed, fresh.State)
	require.Contains(t, r.refused(t, "demo-dan", "key.rotate", map[string]any{"key": "cards-1", "reason": "x"}), "module_not_validated", "rotation is judged anew")
	_, err = r.Service.Use(t.Context(), r.App, custodian.Use{Operation: "datakey", Key: custodiantest.KeyID, Bytes: 32})
	require.NoError(t, err, "existing keys stay in use")
}

func TestKeystoreRetire(t *testing.T) {
	r := newEngineRig(t)
	params := map[string]any{"keystore": custodiantest.KeystoreID, "reason": "end of life"}
	require.Contains(t, r.refused(t, "demo-ada", "keystore.retire", params), "keystore_not_empty")
	r.addKeystore(t, "spare", nil)
	retire := map[string]any{"keystore": "spare", "reason": "never needed"}
	c := r.decided(t, "demo-ada", "keystore.retire", retire, "demo-ben", "demo-cleo")
	require.Equal(t, "G", c.Class)
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, "spare")
	require.Equal(t, key.KeystoreRetired, ks.Status)
	require.False(t, ks.RetiredAt.IsZero())
	require.Contains(t, r.refused(t, "demo-ada", "keystore.retire", retire), "no_change")
	require.Contains(t, r.refused(t, "demo-ada", "keystore.alter", map[string]any{"keystore": "spare", "location": "elsewhere", "reason": "x"}), "keystore_retired")
	into := newKey("late")
	into["keystore"] = "spare"
	require.Contains(t, r.refused(t, "demo-ada", "key.create", into), "keystore_not_registered")

	t.Run("not the last share set by which policy is recovered", func(t *testing.T) {
		r.addKeystore(t, "last", func(ks *key.Keystore) { ks.ShareSet = "root" })
		r.Put(t, custodian.KindShareSet, "root", people.ShareSet{ID: "root", Keystore: "last", Threshold: 2, Total: 3, Epoch: 1})
		require.Contains(t, r.refused(t, "demo-ada", "keystore.retire", map[string]any{"keystore": "last", "reason": "x"}), "lock_out")
	})
}

// What a data set demands of custody binds its key wherever that would go, and one person narrows it only.
func TestInvariant06_DataSetsDemandCustody(t *testing.T) {
	r := newEngineRig(t)
	register := map[string]any{"id": "archive", "label": "Archive", "location": "lake", "key": custodiantest.KeyID, "custody": []string{"hyok"},
		"counts": []map[string]any{{"version": 1, "records": 5}}, "reason": "contract with the customer"}
	require.Contains(t, r.refused(t, "demo-ada", "asset.register", register), "custody_data_set")
	register["custody"] = []string{"hyok", "self-hosted"}
	require.Equal(t, ceremony.Completed, r.propose(t, "demo-ada", "asset.register", register).State)
	wider := map[string]any{"asset": "archive", "custody": []string{}, "reason": "x"}
	_, err := r.prepare(t, "asset.alter", r.input(t, human("demo-ada"), wider))
	require.Equal(t, "custody", fieldOf(t, err))
	require.Contains(t, r.refused(t, "demo-ada", "asset.alter", map[string]any{"asset": "archive", "custody": []string{"hyok"}, "reason": "x"}), "custody_data_set")

	r.Device.Declare()
	c := r.propose(t, "demo-ada", "keystore.alter", map[string]any{"keystore": custodiantest.KeystoreID, "custody": "byok", "reason": "the provider runs it now"})
	require.Contains(t, string(c.Params), `"stranded":1`)
	lines, _ := json.Marshal(c.Lines)
	require.Contains(t, string(lines), "custody_data_set")
	require.True(t, strings.Contains(string(lines), "keys "+custodiantest.KeyID))
}

// Key, keystore and data set: whatever changes what a key asks of its place is judged anew.
func TestInvariant06_PlacementIsJudgedAtEveryStep(t *testing.T) {
	r := newEngineRig(t)
	hyok := newKey("outside")
	hyok["custody"] = []string{"hyok"}
	require.Contains(t, r.refused(t, "demo-ada", "key.create", hyok), "custody_demanded")
	require.Contains(t, r.refused(t, "demo-ada", "key.reclassify", map[string]any{"key": custodiantest.KeyID, "classification": "ephi", "reason": "x"}), "module_not_validated")
	require.Contains(t, r.refused(t, "demo-ada", "key.reclassify", map[string]any{"key": custodiantest.KeyID, "custody": []string{"byok"}, "reason": "x"}), "custody_demanded")
	ks := r.keystore(t)
	ks.Jurisdiction = "US"
	r.Put(t, custodian.KindKeystore, ks.ID, ks)
	require.Contains(t, r.refused(t, "demo-dan", "key.rotate", map[string]any{"key": custodiantest.KeyID, "reason": "x"}), "residency")
	decision, err := r.Service.Place(t.Context(), r.View(), policies.PlacementKey{Type: "symmetric-data-encryption", Classification: "internal", Impact: "low", Jurisdiction: "US", Environment: "test",
		Algorithm: "aes-256", StrengthBits: 256})
	require.NoError(t, err)
	require.True(t, decision.Keystores[0].Allow)
}

// voteRefused tries to approve what can no longer be approved, and returns why.
func (r *engineRig) voteRefused(t *testing.T, who, id string) string {
	t.Helper()
	payload, err := r.engine.Statement(t.Context(), human(who), id, "approve")
	if err == nil {
		var envelope []byte
		envelope, err = r.signers[who].Sign(statement.TypeStatement, payload)
		require.NoError(t, err)
		_, err = r.engine.Vote(t.Context(), human(who), id, envelope)
	}
	require.Error(t, err)
	return err.Error()
}

// Drift is found after whatever changed, recorded once, told as an alert, and goes from the record when all fits again.
func TestInvariant06_DriftIsFoundAndSettles(t *testing.T) {
	r := newEngineRig(t)
	r.certify(t)
	r.AddKey(t, "cards-1", key.CardholderData)
	r.AddKey(t, "cards-2", key.CardholderData)
	jobs := operation.Jobs{Env: r.env}
	watch := func() *operation.Drifted {
		found, err := jobs.Drift(t.Context(), r.View(), r.Clock.Now())
		require.NoError(t, err)
		if !found.Nothing() {
			_, err = r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.RecordDrift(tx, found) })
			require.NoError(t, err)
		}
		return found
	}
	change := func(do func(*key.Keystore)) {
		ks := r.keystore(t)
		do(ks)
		r.Put(t, custodian.KindKeystore, ks.ID, ks)
	}
	alerts := func() (out string) {
		for _, a := range operation.Alerts(r.View(), r.Clock.Now()) {
			if a.Kind == operation.AlertPlacement || a.Kind == operation.AlertKeystore {
				out += a.Message + "\n"
			}
		}
		return out
	}
	require.True(t, watch().Nothing())
	require.Empty(t, alerts())

	change(func(ks *key.Keystore) { ks.CertificateUntil = r.Clock.Now().Add(time.Hour) })
	require.True(t, watch().Nothing())
	r.Clock.Advance(2 * time.Hour)
	lapsed := watch().Found
	names := []string{}
	for _, d := range lapsed {
		names = append(names, d.RowID())
	}
	require.Equal(t, []string{"cards-1", "cards-2", custodiantest.KeyID, key.KeystoreDriftID(custodiantest.KeystoreID)}, names, "the keystore, and every key in it: none of them gets a new version under an ended certificate")
	require.True(t, watch().Nothing(), "recorded once")
	require.Contains(t, alerts(), "past its sunset")
	require.Contains(t, alerts(), "2 keys in soft would get no new version there (fips_level_low, module_not_validated): cards-1, cards-2")
	d := row[key.Drift](t, r.rig, custodian.KindDrift, "cards-1")
	require.False(t, d.Homes[0].Stranded, "keys that are there stay")
	require.Contains(t, r.refused(t, "demo-dan", "key.rotate", map[string]any{"key": "cards-1", "reason": "x"}), "module_not_validated")

	change(func(ks *key.Keystore) { ks.CertificateStatus = key.CertRevoked })
	watch()
	require.True(t, row[key.Drift](t, r.rig, custodian.KindDrift, "cards-1").Homes[0].Stranded)
	require.Contains(t, alerts(), "would not be let stay")
	_, detail := r.lastEvent(t, "placement.drift")
	require.NotEmpty(t, detail["keys"])

	change(func(ks *key.Keystore) { ks.CertificateStatus, ks.CertificateUntil = key.CertActive, time.Time{} })
	require.Len(t, watch().Settled, 3)
	require.Empty(t, alerts())
	require.NotEmpty(t, r.events(t, "placement.settled"))

	_, err := r.Service.Use(t.Context(), r.App, custodian.Use{Operation: "datakey", Key: custodiantest.KeyID, Bytes: 32})
	require.NoError(t, err)
}
