package operation_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/keyfile"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/custodian/strictjson"
)

func newSigner(t testing.TB, id string) *keyfile.Signer {
	t.Helper()
	s, err := keyfile.Generate(id, "ES256")
	require.NoError(t, err)
	return s
}

func publicKeys(t testing.TB, s *keyfile.Signer) (approval, share json.RawMessage) {
	t.Helper()
	a, err := s.Public().ApprovalKey.JSON()
	require.NoError(t, err)
	b, err := s.Public().ShareKey.JSON()
	require.NoError(t, err)
	return a, b
}

// newPerson are the parameters of custodian.add for somebody with new keys.
func newPerson(t testing.TB, id, name string, s *keyfile.Signer) map[string]any {
	t.Helper()
	approval, share := publicKeys(t, s)
	return map[string]any{"id": id, "name": name, "roles": []string{"custodian"}, "team": "ops", "site": "east", "approval_key": approval, "share_key": share, "compared": "in-person"}
}

func with(base map[string]any, pairs ...any) map[string]any {
	out := map[string]any{}
	for k, v := range base {
		out[k] = v
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i].(string)] = pairs[i+1]
	}
	return out
}

// join signs what an invited person hands in.
func (r *rig) join(t testing.TB, s *keyfile.Signer, invitation, person string) []byte {
	t.Helper()
	approval, share := publicKeys(t, s)
	raw, err := json.Marshal(people.Joining{Instance: r.Instance.ID, Invitation: invitation, Person: person, ApprovalKey: approval, ShareKey: share})
	require.NoError(t, err)
	payload, err := strictjson.Canonical(raw)
	require.NoError(t, err)
	envelope, err := s.Sign(statement.TypeJoining, payload)
	require.NoError(t, err)
	return envelope
}

func (r *rig) answer(t testing.TB, id string, envelope []byte) error {
	t.Helper()
	_, apply, err := operation.AnswerInvitation(r.env, r.View(), id, envelope, "192.0.2.1", r.Clock.Now())
	if err != nil || apply == nil {
		return err
	}
	_, err = r.Store.Control(t.Context(), apply)
	return err
}

func lineOf(plan operation.Plan, label string) string {
	var out []string
	for _, l := range plan.Lines {
		if l.Label == label {
			out = append(out, l.Before+" → "+l.After)
		}
	}
	return strings.Join(out, "\n")
}

func TestEnrolmentByInvitation(t *testing.T) {
	r := newRig(t)
	opened := r.run(t, "invitation.open", human("demo-cleo"), map[string]any{"person": "fay", "name": "Fay Marsh", "hours": 24})
	require.NotNil(t, opened.Once, "the secret is shown once")
	id := decoded(t, opened)["invitation"].(string)
	row0 := row[people.Invitation](t, r, custodian.KindInvitation, id)
	require.Len(t, row0.SecretHash, 32)
	require.NoError(t, opened.Once.Use(func(b []byte) error {
		require.NotContains(t, string(r.body(t, custodian.KindInvitation, id)), string(b[21:]))
		return nil
	}))

	fay := newSigner(t, "fay")
	require.Error(t, r.answer(t, id, r.join(t, fay, id, "gus")), "another person")
	require.Error(t, r.answer(t, id, r.join(t, fay, "other", "fay")), "another invitation")
	require.Error(t, r.answer(t, id, r.join(t, r.signers["demo-ada"], id, "fay")), "somebody else's key")
	require.NoError(t, r.answer(t, id, r.join(t, fay, id, "fay")))
	require.NoError(t, r.answer(t, id, r.join(t, fay, id, "fay")), "the same again changes nothing")
	require.Len(t, r.events(t, "invitation.answer"), 1)
	require.ErrorIs(t, r.answer(t, id, r.join(t, newSigner(t, "fay"), id, "fay")), operation.ErrInvitationUsed)

	params := with(newPerson(t, "fay", "Fay Marsh", fay), "invitation", id)
	in := r.input(t, human("demo-ada"), params)
	plan := r.plan(t, "custodian.add", in)
	require.Equal(t, []string{"fay"}, plan.Subjects)
	require.Contains(t, lineOf(plan, "approval key"), fay.Public().ApprovalFingerprint)
	require.Contains(t, lineOf(plan, "fingerprints"), "demo-ada says: compared with the holder in person")
	_, err := r.prepare(t, "custodian.add", r.input(t, human("demo-ada"), with(newPerson(t, "fay", "Fay Marsh", newSigner(t, "fay")), "invitation", id)))
	require.Equal(t, "approval_key", fieldOf(t, err), "not what was handed in")
	_, err = r.prepare(t, "custodian.add", r.input(t, human("demo-ada"), with(params, "id", "gus")))
	require.Equal(t, "invitation", fieldOf(t, err))
	r.run(t, "custodian.add", human("demo-ada"), params)
	p := row[people.Person](t, r, custodian.KindPerson, "fay")
	require.NoError(t, p.Validate())
	require.Equal(t, "demo-ada", p.ApprovalKeys[0].Attested.By)
	require.Equal(t, people.InvitationUsed, row[people.Invitation](t, r, custodian.KindInvitation, id).Status)
	require.Error(t, people.Eligible(p, people.RoleCustodian, r.Clock.Now()), "the acknowledgement is missing")
	_, err = r.prepare(t, "custodian.add", r.input(t, human("demo-ada"), params))
	require.Equal(t, "id", fieldOf(t, err), "ids are unique for ever")

	second := decoded(t, r.run(t, "invitation.open", human("demo-cleo"), map[string]any{"person": "gus", "name": "Gus", "hours": 1}))["invitation"].(string)
	r.Clock.Advance(time.Hour)
	require.ErrorIs(t, r.answer(t, second, r.join(t, newSigner(t, "gus"), second, "gus")), operation.ErrInvitationOver)
	third := decoded(t, r.run(t, "invitation.open", human("demo-cleo"), map[string]any{"person": "gus", "name": "Gus"}))["invitation"].(string)
	r.run(t, "invitation.withdraw", human("demo-ada"), map[string]any{"invitation": third, "reason": "wrong person"})
	require.ErrorIs(t, r.answer(t, third, r.join(t, newSigner(t, "gus"), third, "gus")), operation.ErrInvitationOver)
}

func (r *rig) body(t testing.TB, kind store.Kind, id string) []byte {
	t.Helper()
	row, err := r.View().Get(kind, id)
	require.NoError(t, err)
	return row.Body
}

func TestTwoPeopleOfOneNameAreToldApart(t *testing.T) {
	r := newRig(t)
	ada := row[people.Person](t, r, custodian.KindPerson, "demo-ada")
	for name, want := range map[string]string{ada.Name: "same name", strings.ToUpper(ada.Name): "reads like", ada.Name + "x": "nearly the name"} {
		plan := r.plan(t, "custodian.add", r.input(t, human("demo-ben"), newPerson(t, "fay", name, newSigner(t, "fay"))))
		require.Contains(t, lineOf(plan, "beware"), want, name)
	}
	plan := r.plan(t, "custodian.add", r.input(t, human("demo-ben"), newPerson(t, "demo_ada", "Quite Another", newSigner(t, "demo_ada"))))
	require.Contains(t, lineOf(plan, "beware"), "id that reads like")
	taken := newPerson(t, "fay", "Fay", r.signers["demo-ada"])
	_, err := r.prepare(t, "custodian.add", r.input(t, human("demo-ben"), taken))
	require.Equal(t, "approval_key", fieldOf(t, err))
	fay := newSigner(t, "fay")
	_, share := publicKeys(t, r.signers["demo-ada"])
	_, err = r.prepare(t, "custodian.add", r.input(t, human("demo-ben"), with(newPerson(t, "fay", "Fay", fay), "share_key", share)))
	require.Equal(t, "share_key", fieldOf(t, err))
	_, err = r.prepare(t, "custodian.add", r.input(t, human("demo-ben"), with(newPerson(t, "fay", "Fay", fay), "compared", "guessed")))
	require.Equal(t, "compared", fieldOf(t, err))
	// Keys of whoever left, and revoked ones, are nobody else's either.
	r.newcomers(t, "demo-fay", "demo-gus")
	r.run(t, "custodian.remove", human("demo-ada"), map[string]any{"person": "demo-eve", "reason": "left"})
	_, err = r.prepare(t, "custodian.add", r.input(t, human("demo-ben"), newPerson(t, "fay", "Fay", r.signers["demo-eve"])))
	require.Equal(t, "approval_key", fieldOf(t, err))
	_, err = r.prepare(t, "custodian.add", r.input(t, human("demo-ben"), newPerson(t, "demo-eve", "Eve again", newSigner(t, "demo-eve"))))
	require.Equal(t, "id", fieldOf(t, err))
}

func TestInvariant03_TheSubjectTakesNoPart(t *testing.T) {
	r := newRig(t)
	approval, _ := publicKeys(t, newSigner(t, "demo-ada"))
	self := human("demo-ada")
	for name, params := range map[string]map[string]any{
		"custodian.alter":    {"person": "demo-ada", "team": "other"},
		"custodian.remove":   {"person": "demo-ada", "reason": "bored"},
		"role.change":        {"person": "demo-ada", "roles": []string{"key-manager", "security-officer"}},
		"credential.add":     {"person": "demo-ada", "approval_key": approval, "compared": "in-person"},
		"credential.recover": {"person": "demo-ada", "approval_key": approval, "compared": "in-person", "identity_proof": "passport", "keep_share_key": "on a card in the safe"},
		"invitation.open":    {"person": "demo-ada"},
	} {
		require.Contains(t, r.denied(t, name, self, params), people.CodeExcludedSubject, name)
	}
	own := row[people.Person](t, r, custodian.KindPerson, "demo-ada").ApprovalKeys[0].ID
	require.False(t, r.quorum(t, "credential.revoke", human("demo-dan"), map[string]any{"person": "demo-ada", "credential": own, "reason": "x"}).Allow, "dan is no officer")
	require.True(t, r.quorum(t, "credential.revoke", human("demo-dan"), map[string]any{"person": "demo-dan", "credential": row[people.Person](t, r, custodian.KindPerson, "demo-dan").ApprovalKeys[0].ID, "reason": "x"}).Allow)
}

func TestCustodianAlter(t *testing.T) {
	r := newRig(t)
	r.register(t)
	alter := func(params map[string]any) (operation.Plan, error) {
		return r.prepare(t, "custodian.alter", r.input(t, human("demo-ada"), params))
	}
	plan, err := alter(map[string]any{"person": "demo-eve", "team": "treasury", "site": "north"})
	require.NoError(t, err)
	require.Contains(t, lineOf(plan, "team"), "→ treasury")
	for field, params := range map[string]map[string]any{
		"person":  {"person": "nobody", "team": "x"},
		"name":    {"person": "demo-eve", "name": ""},
		"manager": {"person": "demo-eve", "manager": "demo-eve"},
		"backup":  {"person": "demo-eve", "backup": "demo-ada"},
	} {
		_, err := alter(params)
		require.Equal(t, field, fieldOf(t, err), "%v", params)
	}
	r.run(t, "custodian.alter", human("demo-ada"), map[string]any{"person": "demo-eve", "manager": "demo-dan"})
	_, err = alter(map[string]any{"person": "demo-dan", "manager": "demo-eve"})
	require.Equal(t, "manager", fieldOf(t, err), "a circle")
	require.Contains(t, r.denied(t, "custodian.alter", human("demo-ada"), map[string]any{"person": "demo-ben", "manager": "demo-dan"}), "line_holds_quorum",
		"dan, ben and eve would hold three shares of a set of threshold three")
	require.Contains(t, r.denied(t, "custodian.alter", human("demo-cleo"), map[string]any{"person": "demo-dan", "manager": "demo-ada"}), "line_holds_quorum",
		"the line goes on above dan")
	require.Contains(t, r.denied(t, "custodian.alter", human("demo-ada"), map[string]any{"person": "demo-eve", "manager": "demo-dan"}), "no_change")
}

func TestDepartureOpensWhatMustFollow(t *testing.T) {
	r := newRig(t)
	r.register(t)
	r.newcomers(t, "demo-fay", "demo-gus")
	k := row[key.Key](t, r, custodian.KindKey, custodiantest.KeyID)
	k.Owner = "demo-eve"
	r.Put(t, custodian.KindKey, k.ID, k)
	params := map[string]any{"person": "demo-eve", "reason": "another employer", "cleartext": []string{custodiantest.KeyID}}
	plan := r.plan(t, "custodian.remove", r.input(t, human("demo-ada"), params))
	require.Contains(t, lineOf(plan, "must follow"), "share second-shares/1/5")
	result := decoded(t, r.run(t, "custodian.remove", human("demo-ada"), params))
	p := row[people.Person](t, r, custodian.KindPerson, "demo-eve")
	require.Equal(t, people.StatusLeft, p.Status)
	require.False(t, p.CanSign())
	require.Error(t, people.Present(p))

	kinds := map[people.DutyKind]*people.Duty{}
	for _, d := range operation.Duties(r.View(), true) {
		kinds[d.Kind] = d
		require.NoError(t, d.Validate())
	}
	require.Len(t, result["duties"], len(kinds))
	require.Equal(t, r.Clock.Now().Add(people.ClockLeaving), kinds[people.DutyShare].DueAt)
	require.Contains(t, kinds, people.DutyKeys)
	require.Contains(t, kinds, people.DutyCleartext)
	require.Equal(t, []string{custodiantest.KeyID}, operation.Outstanding(r.View(), kinds[people.DutyKeys]))

	jobs := operation.Jobs{Env: r.env}
	require.Empty(t, jobs.DoneDuties(r.View()))
	r.run(t, "ownership.transfer", human("demo-ada"), map[string]any{"from": "demo-eve", "to": "demo-dan", "keys": []string{custodiantest.KeyID}})
	require.Equal(t, "demo-dan", row[key.Key](t, r, custodian.KindKey, custodiantest.KeyID).Owner)
	done := jobs.DoneDuties(r.View())
	require.Len(t, done, 1, "the fact closes it")
	_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.CloseDuties(tx, done) })
	require.NoError(t, err)
	require.Empty(t, jobs.DoneDuties(r.View()))

	r.run(t, "duty.close", human("demo-ada"), map[string]any{"duty": kinds[people.DutyShare].ID, "finding": "collected, shredded before a witness"})
	require.Contains(t, r.denied(t, "duty.close", human("demo-ada"), map[string]any{"duty": kinds[people.DutyShare].ID, "finding": "x"}), "already_closed")
	r.Clock.Advance(people.ClockLeaving)
	overdue := false
	for _, a := range operation.Alerts(r.View(), r.Clock.Now()) {
		overdue = overdue || a.Kind == operation.AlertDuty && a.Duty == kinds[people.DutyCleartext].ID
	}
	require.True(t, overdue)
	_, err = r.prepare(t, "custodian.remove", r.input(t, human("demo-ada"), params))
	require.Equal(t, "person", fieldOf(t, err), "left already")

	// The second holder to leave shortens the clock for all of the set.
	r.run(t, "custodian.suspend", human("demo-ada"), map[string]any{"person": "demo-dan", "reason": "gives notice", "leaving": true})
	for _, d := range operation.Duties(r.View(), true) {
		if d.Kind == people.DutyShare && d.Person == "demo-dan" {
			require.Equal(t, people.ClockTogether, d.DueAt.Sub(d.OpenedAt))
			kinds[people.DutyShare] = d
		}
	}
	r.run(t, "custodian.resume", human("demo-ben"), map[string]any{"person": "demo-dan", "finding": "stays"})
	for _, d := range jobs.DoneDuties(r.View()) {
		require.Equal(t, "demo-dan", d.Person, "who is back leaves nothing to do")
	}
	require.NotEmpty(t, jobs.DoneDuties(r.View()))
}

func TestInvariant12_TheLastOfficerDoesNotLeave(t *testing.T) {
	r := newRig(t)
	r.newcomers(t, "demo-fay", "demo-gus")
	r.run(t, "custodian.remove", human("demo-dan"), map[string]any{"person": "demo-ada", "reason": "x"})
	require.Contains(t, r.denied(t, "custodian.remove", human("demo-dan"), map[string]any{"person": "demo-ben", "reason": "x"}), "lock_out")
	require.Contains(t, r.denied(t, "role.change", human("demo-dan"), map[string]any{"person": "demo-ben", "roles": []string{"key-manager", "custodian"}}), "lock_out")
	id := row[people.Person](t, r, custodian.KindPerson, "demo-ben").ApprovalKeys[0].ID
	require.Contains(t, r.denied(t, "credential.revoke", human("demo-ben"), map[string]any{"person": "demo-ben", "credential": id, "reason": "x"}), "lock_out", "as good as a suspension")
}

func TestCredentials(t *testing.T) {
	r := newRig(t)
	r.register(t)
	second := newSigner(t, "demo-eve")
	approval, _ := publicKeys(t, second)
	r.run(t, "credential.add", human("demo-ada"), map[string]any{"person": "demo-eve", "approval_key": approval, "compared": "by-voice"})
	p := row[people.Person](t, r, custodian.KindPerson, "demo-eve")
	require.Len(t, p.Live(), 2)
	_, err := r.prepare(t, "credential.add", r.input(t, human("demo-ada"), map[string]any{"person": "demo-dan", "approval_key": approval, "compared": "by-voice"}))
	require.Equal(t, "approval_key", fieldOf(t, err), "one key, one person")
	r.run(t, "credential.revoke", human("demo-eve"), map[string]any{"person": "demo-eve", "credential": p.ApprovalKeys[0].ID, "reason": "sold the laptop"})
	require.Contains(t, r.denied(t, "credential.revoke", human("demo-eve"), map[string]any{"person": "demo-eve", "credential": p.ApprovalKeys[0].ID, "reason": "x"}), "already_revoked")

	third := newSigner(t, "demo-eve")
	approval, share := publicKeys(t, third)
	recover := map[string]any{"person": "demo-eve", "approval_key": approval, "share_key": share, "compared": "in-person", "identity_proof": "passport seen by demo-ben"}
	require.True(t, r.quorum(t, "credential.recover", human("demo-ada"), recover).Witness)
	result := decoded(t, r.run(t, "credential.recover", human("demo-ada"), recover))
	p = row[people.Person](t, r, custodian.KindPerson, "demo-eve")
	require.NoError(t, p.Validate())
	require.Len(t, p.Live(), 1)
	require.Equal(t, third.Public().ShareKey.Thumbprint(), p.ShareKeyID)
	require.Len(t, p.FormerShareKeys, 1)
	require.Len(t, result["duties"], 1, "the share is sealed to the key that was lost")
	for field, change := range map[string]any{"identity_proof": "", "keep": []string{"none"}} {
		fresh, _ := publicKeys(t, newSigner(t, "demo-eve"))
		bad := with(with(recover, "approval_key", fresh, "keep_share_key", "on a card in the safe"), field, change)
		delete(bad, "share_key")
		_, err := r.prepare(t, "credential.recover", r.input(t, human("demo-ada"), bad))
		require.Contains(t, fieldOf(t, err), field)
	}
}

func TestInactivity(t *testing.T) {
	r := newRig(t)
	r.newcomers(t, "demo-fay", "demo-gus")
	record := func(seen map[string]time.Time) {
		active := operation.Unseen(r.View(), seen, r.Clock.Now())
		if len(active) == 0 {
			return
		}
		_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error { return operation.RecordActivity(r.env, tx, active) })
		require.NoError(t, err)
	}
	record(nil) // the count begins
	require.Empty(t, operation.Unseen(r.View(), map[string]time.Time{"demo-ada": r.Clock.Now()}, r.Clock.Now()), "at most once a day")
	revision := r.View().Head().Epoch
	r.Clock.Advance(61 * days)
	seen := map[string]time.Time{}
	for _, id := range []string{"demo-ada", "demo-ben", "demo-cleo", "demo-dan"} {
		seen[id] = r.Clock.Now()
	}
	record(seen)
	require.Equal(t, revision, r.View().Head().Epoch, "being there changes no authority")
	warned := map[string]int{}
	for _, a := range operation.Alerts(r.View(), r.Clock.Now()) {
		if a.Kind == operation.AlertInactivity {
			warned[a.Person] = a.Days
		}
	}
	require.Equal(t, 30, warned["demo-eve"])
	require.NotContains(t, warned, "demo-ada")
	jobs := operation.Jobs{Env: r.env}
	suspendAll := func() (out []string) {
		for {
			p, err := jobs.Inactive(t.Context(), r.View(), r.Clock.Now())
			require.NoError(t, err)
			if p == nil {
				return out
			}
			out = append(out, p.ID)
			_, err = r.Store.Control(t.Context(), func(tx *store.Tx) error { return jobs.SuspendInactive(tx, p) })
			require.NoError(t, err)
		}
	}
	foreseen := func(in time.Duration) []string {
		out, err := jobs.InactiveBy(t.Context(), r.View(), r.Clock.Now().Add(in))
		require.NoError(t, err)
		return out
	}
	require.Empty(t, suspendAll())
	require.Empty(t, foreseen(0))
	ahead := foreseen(30 * days)
	r.Clock.Advance(30 * days)
	require.Equal(t, ahead, foreseen(0))
	require.Equal(t, ahead, suspendAll(), "foreseen as it comes")
	require.ElementsMatch(t, []string{"demo-aud", "demo-eve", "demo-fay", "demo-gus"}, ahead)
	r.run(t, "custodian.resume", human("demo-ada"), map[string]any{"person": "demo-eve", "finding": "was ill"})
	require.Empty(t, suspendAll(), "the count begins anew")
	ahead = foreseen(365 * days)
	r.Clock.Advance(365 * days)
	require.Equal(t, ahead, suspendAll(), "and so are those who stay, since too few would be left")
	active := 0
	for _, p := range store.All[people.Person](r.View(), custodian.KindPerson) {
		if people.Present(p) == nil {
			active++
		}
	}
	require.GreaterOrEqual(t, active, 3, "inactivity never locks everybody out")
}
