package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// What was asked for with an approval key is found again when the key is taken back, and nothing of another key's.
func TestARevokedKeyLeavesNothingUnseen(t *testing.T) {
	r := newRig(t)
	r.register(t)
	r.newcomers(t, "demo-fay", "demo-gus")
	stolen := row[people.Person](t, r, custodian.KindPerson, "demo-ada").ApprovalKeys[0].ID
	approval, _ := publicKeys(t, newSigner(t, "demo-ada"))
	r.run(t, "credential.add", human("demo-ben"), map[string]any{"person": "demo-ada", "approval_key": approval, "compared": "by-voice"})
	other := row[people.Person](t, r, custodian.KindPerson, "demo-ada").ApprovalKeys[1].ID
	by := func(credential string) identity.Principal {
		return identity.Principal{Kind: identity.Human, ID: "demo-ada", Credential: credential}
	}
	made := map[string]map[string]any{}
	for credential, app := range map[string]string{stolen: "left-behind", other: "honest"} {
		enrol := map[string]any{"id": app, "name": "Demo", "owner": "demo-ada", "environment": "test", "token_days": 30}
		in := r.input(t, by(credential), enrol)
		r.plan(t, "application.enrol", in)
		_, err := r.execute(t, "application.enrol", in, nil)
		require.NoError(t, err)
		r.Put(t, kindCeremony, in.Ceremony, map[string]any{"operation": "application.enrol", "params": enrol,
			"requester": map[string]any{"kind": "human", "id": "demo-ada", "credential": credential}})
		made[credential] = map[string]any{
			"tokens":      decoded(t, r.run(t, "token.issue", by(credential), map[string]any{"application": app, "days": 30}))["token"],
			"invitations": decoded(t, r.run(t, "invitation.open", by(credential), map[string]any{"person": app, "name": "Somebody", "hours": 24}))["invitation"],
			"grants": decoded(t, r.run(t, "grant.create", by(credential), map[string]any{"application": app, "key": custodiantest.KeyID,
				"operations": []string{"decrypt"}, "days": 30}))["grant"],
			"enrolments": app,
		}
	}
	// A token of before rows said who asked for it is told by its ceremony.
	old, once, err := access.NewToken("application", "left-behind", "c-old", r.Clock.Now(), 24*time.Hour)
	require.NoError(t, err)
	once.Wipe()
	r.Put(t, custodian.KindToken, old.ID, old)
	r.Put(t, kindCeremony, "c-old", map[string]any{"operation": "token.issue", "requester": map[string]any{"kind": "human", "id": "demo-ada", "credential": stolen}})

	params := map[string]any{"person": "demo-ada", "credential": stolen, "reason": "laptop stolen"}
	require.Contains(t, lineOf(r.plan(t, "credential.revoke", r.input(t, human("demo-ben"), params)), "must follow"), stolen)
	require.Len(t, decoded(t, r.run(t, "credential.revoke", human("demo-ben"), params))["duties"], 4)
	duties := map[people.DutyKind]*people.Duty{}
	for _, d := range operation.Duties(r.View(), true) {
		require.Equal(t, []string{people.CauseCredential, stolen, "demo-ada"}, []string{d.Cause, d.Subject, d.Person})
		duties[d.Kind] = d
		left := operation.Outstanding(r.View(), d)
		if d.Kind == people.DutyTokens {
			require.ElementsMatch(t, []any{made[stolen]["tokens"], old.ID}, []any{left[0], left[1]})
			require.Len(t, left, 2)
			continue
		}
		require.Equal(t, []string{made[stolen][string(d.Kind)].(string)}, left)
	}
	require.Contains(t, r.denied(t, "duty.close", human("demo-ada"), map[string]any{"duty": duties[people.DutyTokens].ID, "finding": "mine"}), people.CodeExcludedSubject)

	r.run(t, "token.revoke", human("demo-ben"), map[string]any{"token": made[stolen]["tokens"], "reason": "stolen key"})
	jobs := operation.Jobs{Env: r.env}
	require.Empty(t, jobs.DoneDuties(r.View()), "one token is left")
	r.run(t, "token.revoke", human("demo-ben"), map[string]any{"token": old.ID, "reason": "stolen key"})
	r.run(t, "invitation.withdraw", human("demo-ben"), map[string]any{"invitation": made[stolen]["invitations"], "reason": "stolen key"})
	r.run(t, "grant.revoke", human("demo-ben"), map[string]any{"grant": made[stolen]["grants"], "reason": "stolen key"})
	r.run(t, "application.suspend", human("demo-ben"), map[string]any{"application": "left-behind", "reason": "stolen key"})
	done := jobs.DoneDuties(r.View())
	require.Len(t, done, 4, "the facts close them")
	_, err = r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.CloseDuties(tx, done) })
	require.NoError(t, err)

	// A recovery takes the other key back, and says what becomes of the share key.
	fresh, share := publicKeys(t, newSigner(t, "demo-ada"))
	recover := map[string]any{"person": "demo-ada", "approval_key": fresh, "compared": "in-person", "identity_proof": "passport"}
	for field, bad := range map[string]map[string]any{
		"share_key":      recover,
		"keep_share_key": with(recover, "share_key", share, "keep_share_key", "on a card in the safe"),
	} {
		_, err := r.prepare(t, "credential.recover", r.input(t, human("demo-ben"), bad))
		require.Equal(t, field, fieldOf(t, err))
	}
	kept := with(recover, "keep_share_key", "on a card in the safe")
	require.Contains(t, lineOf(r.plan(t, "credential.recover", r.input(t, human("demo-ben"), kept)), "share key"), "STAYS: on a card in the safe")
	require.Len(t, decoded(t, r.run(t, "credential.recover", human("demo-ben"), kept))["duties"], 4)
	for _, d := range operation.Duties(r.View(), true) {
		require.Equal(t, other, d.Subject)
	}
	r.Clock.Advance(31 * 24 * time.Hour)
	r.Put(t, kindCeremony, "c-later", map[string]any{"operation": "duty.close"})
	require.Len(t, jobs.DoneDuties(r.View()), 3, "what has ended by its date lets nobody in; the application stands")
}
