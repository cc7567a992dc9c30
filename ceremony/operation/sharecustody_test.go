package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
)

func device(t *testing.T, id string) (*keyfile.Signer, json.RawMessage, shamir.Recipient) {
	t.Helper()
	signer, err := keyfile.Generate(id, "ES256")
	require.NoError(t, err)
	public := signer.Public().ShareKey
	raw, err := public.JSON()
	require.NoError(t, err)
	return signer, raw, shamir.Recipient{KeyID: public.Thumbprint(), Key: raw}
}

// moved seals a share of the vault anew, as its holder's client does.
func (r *sharesRig) moved(t *testing.T, epoch uint32, index int, to ...shamir.Recipient) map[string]any {
	t.Helper()
	share := r.openLine(t, vaultSet, epoch, index)
	holder := row[people.Person](t, r.rig, custodian.KindPerson, r.line(t, vaultSet, epoch, index).Custodian)
	sealed, err := shamir.Seal(share, to...)
	require.NoError(t, err)
	signature, err := share.SignMove(holder.ShareKeyID, sealed)
	require.NoError(t, err)
	return map[string]any{"set": vaultSet, "epoch": epoch, "index": index, "sealed": sealed, "signature": base64.StdEncoding.EncodeToString(signature)}
}

// move takes ada's share to other keys, through the engine.
func (r *sharesRig) move(t *testing.T, params map[string]any) {
	t.Helper()
	c := r.propose(t, "demo-ada", "share.move", params)
	require.Equal(t, ceremony.Proposed, c.State)
	r.approve(t, "demo-ben", c.ID)
	require.Equal(t, ceremony.Proposed, r.approve(t, "demo-cleo", c.ID).State, "a witness is missing")
	require.Equal(t, ceremony.Completed, r.attend(t, c.ID).State)
}

// TestInvariant04_ShareMove: the same share, sealed to a new device and a backup; only its holder can do it, with the
// share itself, and nothing of an earlier move is of use again.
func TestInvariant04_ShareMove(t *testing.T) {
	r := newSharesRig(t)
	phone, phoneKey, toPhone := device(t, "demo-ada")
	safe, safeKey, toSafe := device(t, "demo-ada")
	first := map[string]any{"share_key": phoneKey, "backup_share_key": safeKey, "shares": []any{r.moved(t, 1, 1, toPhone, toSafe)}}
	old := r.signers["demo-ada"]
	r.move(t, first)
	line := r.line(t, vaultSet, 1, 1)
	require.NotNil(t, line.MovedAt)
	require.NoError(t, line.Validate())
	ada := row[people.Person](t, r.rig, custodian.KindPerson, "demo-ada")
	require.Equal(t, []string{toPhone.KeyID, toSafe.KeyID}, ada.ShareKeyIDs())
	require.Equal(t, []string{old.Public().ShareKey.Thumbprint()}, ada.FormerShareKeys)
	require.NoError(t, ada.Validate())
	_, err := old.OpenShare(line.Sealed)
	require.ErrorIs(t, err, shamir.ErrNotFor)
	for _, opener := range []*keyfile.Signer{phone, safe} {
		share, err := opener.OpenShare(line.Sealed)
		require.NoError(t, err)
		require.NoError(t, shamir.CheckShare(share, shamir.Register{Set: shamir.Set{ID: vaultSet, Epoch: 1}, Commitments: map[int][]byte{1: line.Commitment}}))
		share.Wipe()
	}
	health := people.Assess(r.set(t), r.lines(vaultSet), r.find, r.Clock.Now())
	require.Contains(t, health.OverdueDrills, "demo-ada", "with the new keys it is not proven yet")

	_, err = r.prepare(t, "share.move", r.input(t, human("demo-ada"), first))
	require.Equal(t, "shares[0].signature", fieldOf(t, err), "replayed: the key that it left is no longer the register's")

	oldKey, err := old.Public().ShareKey.JSON()
	require.NoError(t, err)
	_, err = r.prepare(t, "share.move", r.input(t, human("demo-ada"), map[string]any{"share_key": oldKey, "shares": []any{}}))
	require.Equal(t, "share_key", fieldOf(t, err), "a key that was given up is not taken up again")
	_, err = r.prepare(t, "share.move", r.input(t, human("demo-ada"), map[string]any{"share_key": safeKey, "shares": []any{}}))
	require.Equal(t, "shares", fieldOf(t, err), "one in use may be, in another place")

	// At the next issue both keys are sealed to.
	r.signers["demo-ada"] = phone
	r.signKeys(t, "demo-ada")
	r.reissue(t, map[string]any{"set": vaultSet})
	outside, err := shamir.Inspect(r.line(t, vaultSet, 2, 1).Sealed)
	require.NoError(t, err)
	require.Equal(t, ada.ShareKeyIDs(), outside.KeyIDs)
}

func (r *sharesRig) find(id string) *people.Person {
	p, err := store.Peek[people.Person](r.View(), custodian.KindPerson, id)
	if err != nil {
		return nil
	}
	return p
}

// signKeys lets somebody sign with the approval key of the device they use in this test.
func (r *sharesRig) signKeys(t *testing.T, id string) {
	t.Helper()
	p := row[people.Person](t, r.rig, custodian.KindPerson, id)
	credential, err := r.signers[id].Public().Credential(r.Clock.Now())
	require.NoError(t, err)
	p.ApprovalKeys = append(p.ApprovalKeys, credential)
	r.Put(t, custodian.KindPerson, id, p)
}

func TestInvariant04_ForgedMoveIsRefused(t *testing.T) {
	r := newSharesRig(t)
	_, newKey, to := device(t, "demo-ada")
	_, otherKey, _ := device(t, "demo-ada")
	good := r.moved(t, 1, 1, to)
	with := func(change map[string]any) map[string]any {
		out := map[string]any{}
		for k, v := range good {
			out[k] = v
		}
		for k, v := range change {
			out[k] = v
		}
		return out
	}
	forged, err := shamir.Split(r.combine(t, 1, 2, 3), 3, 5, shamir.Set{ID: vaultSet, Epoch: 1})
	require.NoError(t, err)
	fake, err := shamir.Seal(forged[0], to)
	require.NoError(t, err)
	fakeSignature, err := forged[0].SignMove(row[people.Person](t, r.rig, custodian.KindPerson, "demo-ada").ShareKeyID, fake)
	require.NoError(t, err)
	bens := r.moved(t, 1, 2, to)
	benKey := row[people.Person](t, r.rig, custodian.KindPerson, "demo-ben").ShareKey
	reissued := map[string]any{"share_key": newKey, "shares": []any{good}}
	for name, c := range map[string]struct {
		params map[string]any
		field  string
	}{
		"sealed by somebody without the share": {map[string]any{"share_key": newKey, "shares": []any{with(map[string]any{"sealed": fake})}}, "shares[0].signature"},
		"a share of one's own making":          {map[string]any{"share_key": newKey, "shares": []any{with(map[string]any{"sealed": fake, "signature": base64.StdEncoding.EncodeToString(fakeSignature)})}}, "shares[0].signature"},
		"sealed to another key":                {map[string]any{"share_key": otherKey, "shares": []any{good}}, "shares[0].sealed"},
		"without the backup that is named":     {map[string]any{"share_key": newKey, "backup_share_key": otherKey, "shares": []any{good}}, "shares[0].sealed"},
		"a backup that is the key itself":      {map[string]any{"share_key": newKey, "backup_share_key": newKey, "shares": []any{good}}, "backup_share_key"},
		"somebody else's share":                {map[string]any{"share_key": newKey, "shares": []any{bens}}, "shares[0]"},
		"somebody else's key":                  {map[string]any{"share_key": benKey, "shares": []any{good}}, "share_key"},
		"no share at all":                      {map[string]any{"share_key": newKey, "shares": []any{}}, "shares"},
		"the same twice":                       {map[string]any{"share_key": newKey, "shares": []any{good, good}}, "shares[1]"},
		"no key":                               {map[string]any{"shares": []any{good}}, "share_key"},
		"not a sealed share":                   {map[string]any{"share_key": newKey, "shares": []any{with(map[string]any{"sealed": "x"})}}, "shares[0].sealed"},
	} {
		_, err := r.prepare(t, "share.move", r.input(t, human("demo-ada"), c.params))
		require.Error(t, err, name)
		require.Equal(t, c.field, fieldOf(t, err), "%s: %v", name, err)
	}
	r.plan(t, "share.move", r.input(t, human("demo-ada"), reissued))
	r.reissue(t, map[string]any{"set": vaultSet}) // holds a second share now: none may be left to a key that is given up
	_, err = r.prepare(t, "share.move", r.input(t, human("demo-ada"), reissued))
	require.Equal(t, "shares", fieldOf(t, err))
}

// report has a holder report their share.
func (r *sharesRig) report(t *testing.T, epoch uint32, index int, exposed bool) map[string]any {
	t.Helper()
	c := r.propose(t, r.line(t, vaultSet, epoch, index).Custodian, "share.report-lost",
		map[string]any{"set": vaultSet, "epoch": epoch, "index": index, "exposed": exposed, "note": "left on a train"})
	require.Equal(t, ceremony.Completed, c.State)
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(c.Result, &out))
	return out
}

// A lost share counts no more at once; with as many lost as make a quorum the keystore's keys count as compromised,
// until the secret is replaced, and what was made before still does then.
func TestShareReportLost(t *testing.T) {
	r := newSharesRig(t)
	now := r.Clock.Now()
	require.Equal(t, now.Add(5*key.Day).UTC().Format(time.RFC3339), r.report(t, 1, 1, false)["due_by"])
	line := r.line(t, vaultSet, 1, 1)
	require.Equal(t, people.ShareLost, line.Status)
	require.NotNil(t, line.LostAt)
	opened, detail := r.lastEvent(t, "finding.open")
	finding := row[oversight.Finding](t, r.rig, custodian.KindFinding, opened.Target.ID)
	require.Equal(t, oversight.FromIncident, finding.Source)
	require.Equal(t, "demo-ada", finding.Owner, "the keystore's controller")
	require.Equal(t, "share second-shares/1/1", detail["about"])
	require.Equal(t, now.Add(5*key.Day).UTC(), finding.DueAt)
	health := people.Assess(r.set(t), r.lines(vaultSet), r.find, now)
	require.Equal(t, 4, health.Usable)
	require.Equal(t, 1, health.Lost)
	reissue := r.propose(t, "demo-ben", "shares.reissue", map[string]any{"set": vaultSet})
	_, err := r.bring(t, reissue.ID, vaultSet, 1, 1)
	var refused *ceremony.ShareError
	require.ErrorAs(t, err, &refused, "it is brought to nothing any more")
	require.Contains(t, r.denied(t, "share.report-lost", human("demo-ada"), map[string]any{"set": vaultSet, "epoch": 1, "index": 1}), "share_unusable")
	require.False(t, r.quorum(t, "share.report-lost", human("demo-ben"), map[string]any{"set": vaultSet, "epoch": 1, "index": 3}).Allow, "one's own")

	require.Equal(t, now.Add(key.Day).UTC().Format(time.RFC3339), r.report(t, 1, 2, true)["due_by"])
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.Nil(t, ks.SecretExposed)
	third := r.report(t, 1, 3, false)
	require.Equal(t, true, third["secret_exposed"])
	require.Equal(t, now.UTC().Format(time.RFC3339), third["due_by"], "at once")
	ks = row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.Equal(t, 3, ks.SecretExposed.Shares)
	require.True(t, ks.CountsAsCompromised(r.version(t, vaultKey, 1)))
	require.False(t, ks.CountsAsCompromised(r.version(t, custodiantest.KeyID, 1)), "of another keystore")
	require.True(t, slices.ContainsFunc(operation.Alerts(r.View(), now), func(a operation.Alert) bool { return a.Kind == operation.AlertExposure && a.Key == vaultKey }))
	_, err = r.use(t, vaultKey)
	require.NoError(t, err, "nothing irreversible, and no outage, rests on reports")
}

// TestInvariant12_LossesStopNothingThatTheRestCanDo: while a quorum is left it opens the keystore and issues anew,
// although fewer than m+1 shares are left; and the new secret ends the exposure for what is made under it.
func TestInvariant12_LossesStopNothingThatTheRestCanDo(t *testing.T) {
	r := newSharesRig(t)
	r.report(t, 1, 4, false)
	r.report(t, 1, 5, true)
	activation := r.propose2(t)
	require.Equal(t, ceremony.Completed, r.bringAll(t, activation.ID, vaultSet, 1, 1, 2, 3).State)
	ks := row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	ks.SecretExposed = &key.Exposure{Set: vaultSet, Epoch: 1, Shares: 3, At: r.Clock.Now(), Ceremony: "c-test"}
	r.Put(t, custodian.KindKeystore, vault, ks)

	r.reissue(t, map[string]any{"set": vaultSet})
	r.report(t, 2, 5, false) // of the pending epoch: it must be confirmed by m+1 whose shares are good
	for i := range 3 {
		r.confirm(t, vaultSet, 2, i+1)
	}
	_, _, err := r.engine.Propose(t.Context(), human("demo-ada"), ceremony.Proposal{Operation: "shares.cutover", Params: canonical(t, map[string]any{"set": vaultSet}), Reason: "test"})
	require.ErrorIs(t, err, ceremony.ErrUnconfirmed)
	r.confirm(t, vaultSet, 2, 4)
	r.Clock.Advance(time.Hour)
	cut := r.propose(t, "demo-ada", "shares.cutover", map[string]any{"set": vaultSet})
	require.Equal(t, ceremony.Completed, r.bringAll(t, cut.ID, vaultSet, 2, 1, 2, 4).State)
	require.Equal(t, people.ShareLost, r.line(t, vaultSet, 1, 5).Status, "what was lost stays lost")
	ks = row[key.Keystore](t, r.rig, custodian.KindKeystore, vault)
	require.NotNil(t, ks.SecretExposed.Until)
	r.vaulted(t, "afterwards")
	require.True(t, ks.CountsAsCompromised(r.version(t, vaultKey, 1)), "a new secret does not make the keys unknown again")
	require.False(t, ks.CountsAsCompromised(r.version(t, "afterwards", 1)))
}

// attest is what a holder signs about an old share.
func (r *sharesRig) attest(t *testing.T, change func(d *operation.Destruction)) map[string]any {
	t.Helper()
	d := operation.Destruction{Instance: r.Instance.ID, Person: "demo-ada", Witness: theWitness, Set: vaultSet, Epoch: 1, Index: 1,
		Method: "key file shredded", Destroyed: r.Clock.Now().UTC().Truncate(time.Second).Format(time.RFC3339), Version: 1}
	signer := r.signers["demo-ada"]
	if change != nil {
		change(&d)
	}
	raw, err := json.Marshal(d)
	require.NoError(t, err)
	payload, err := strictjson.Canonical(raw)
	require.NoError(t, err)
	envelope, err := signer.Sign(statement.TypeDestruction, payload)
	require.NoError(t, err)
	return map[string]any{"envelope": json.RawMessage(envelope)}
}

// TestInvariant04_OldSharesAreProvenDestroyed: by holder and witness, only once no key in use opens the share any more,
// and the set says how many are not, until fewer than a quorum of each old epoch are left.
func TestInvariant04_OldSharesAreProvenDestroyed(t *testing.T) {
	r := newSharesRig(t)
	none := func(uint32) people.Copies { return people.Copies{Known: true} }
	status := func() string { return r.set(t).Status(r.lines(vaultSet), none) }
	require.Equal(t, "in force", status())
	require.Equal(t, []string{"share_in_use"}, r.denied(t, "share.destroyed", human(theWitness), r.attest(t, nil)))
	r.reissue(t, map[string]any{"set": vaultSet})
	require.Equal(t, ceremony.Completed, r.cutover(t).State)
	require.Equal(t, "re-issued, 5 old shares unproven", status())
	require.Equal(t, "re-issued, 5 old shares unproven, 0 or more backups of that time: rows of their register are damaged",
		r.set(t).Status(r.lines(vaultSet), func(uint32) people.Copies { return people.Copies{} }))
	health := people.Assess(r.set(t), r.lines(vaultSet), r.find, r.Clock.Now())
	require.Equal(t, 5, health.OldShares)
	require.True(t, health.OldEpochs[0].Opens())

	require.Equal(t, []string{"key_still_opens"}, r.denied(t, "share.destroyed", human(theWitness), r.attest(t, nil)),
		"the sealed share lies in old copies of the database, and the key that opens it is in use")
	_, phoneKey, toPhone := device(t, "demo-ada")
	r.move(t, map[string]any{"share_key": phoneKey, "shares": []any{r.moved(t, 2, 1, toPhone)}})

	for name, c := range map[string]struct {
		change func(d *operation.Destruction)
		field  string
	}{
		"another instance":  {func(d *operation.Destruction) { d.Instance = "x" }, "envelope.instance"},
		"another witness":   {func(d *operation.Destruction) { d.Witness = "demo-ben" }, "envelope.witness"},
		"somebody else's":   {func(d *operation.Destruction) { d.Index = 2 }, "envelope.index"},
		"in another's name": {func(d *operation.Destruction) { d.Person = "demo-ben" }, "envelope"},
		"tomorrow":          {func(d *operation.Destruction) { d.Destroyed = "2099-01-01T00:00:00Z" }, "envelope.destroyed_at"},
		"no method":         {func(d *operation.Destruction) { d.Method = "" }, "envelope.method"},
		"another version":   {func(d *operation.Destruction) { d.Version = 2 }, "envelope"},
	} {
		_, err := r.prepare(t, "share.destroyed", r.input(t, human(theWitness), r.attest(t, c.change)))
		require.Error(t, err, name)
		require.Equal(t, c.field, fieldOf(t, err), "%s: %v", name, err)
	}
	good := r.attest(t, nil)
	notWitness := r.attest(t, func(d *operation.Destruction) { d.Witness = "demo-ben" })
	require.False(t, r.quorum(t, "share.destroyed", human("demo-ben"), notWitness).Allow, "who is no witness hands in nothing")
	r.run(t, "share.destroyed", human(theWitness), good)
	line := r.line(t, vaultSet, 1, 1)
	require.Equal(t, people.ShareDestroyed, line.Status)
	require.Empty(t, line.Sealed)
	require.NoError(t, line.Validate())
	require.Equal(t, "re-issued, 4 old shares unproven", status())
	require.Equal(t, []string{"share_in_use"}, r.denied(t, "share.destroyed", human(theWitness), good), "replayed")
	for i := range 2 {
		s := r.line(t, vaultSet, 1, i+2)
		s.Status, s.Sealed = people.ShareDestroyed, ""
		r.Put(t, custodian.KindShare, people.ShareID(s.Set, s.Epoch, s.Index), s)
	}
	require.Equal(t, "in force", status(), "two of five open nothing")
	one := func(uint32) people.Copies { return people.Copies{Known: true, Count: 1} }
	require.Equal(t, "re-issued, 2 old shares unproven, 1 backup of that time", r.set(t).Status(r.lines(vaultSet), one))
}
