package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/policies"
)

func newApplication(id string) map[string]any {
	return map[string]any{"id": id, "name": "Demo billing", "owner": "demo-ben", "environment": "test", "token_days": 30}
}

// quorum asks policy what a plan takes, as the engine does, refused or not.
func (r *rig) quorum(t *testing.T, name string, who identity.Principal, params map[string]any) policies.QuorumDecision {
	t.Helper()
	plan, err := r.prepare(t, name, r.input(t, who, params))
	require.NoError(t, err, name)
	q := plan.Quorum
	q.Now, q.Mode, q.Operation = r.Clock.Now(), policies.Mode(r.Instance.Mode), name
	q.Requester = policies.Requester{Kind: string(who.Kind), ID: who.ID}
	if who.Kind == identity.Human {
		for _, role := range row[people.Person](t, r, custodian.KindPerson, who.ID).Roles {
			q.Requester.Roles = append(q.Requester.Roles, string(role))
		}
	}
	d, err := r.Policies.Quorum(t.Context(), q)
	require.NoError(t, err, name)
	return d
}

func TestGrantCreateAndRevoke(t *testing.T) {
	r := newRig(t)
	other := r.other(t)
	params := map[string]any{"application": custodiantest.ApplicationID, "key": other, "operations": []string{"datakey"}, "context": map[string]string{"tenant": "demo"}, "days": 30}
	_, err := r.use(t, other)
	require.Error(t, err)
	granted := decoded(t, r.run(t, "grant.create", human("demo-ada"), params))
	id := granted["grant"].(string)
	g := row[access.Grant](t, r, custodian.KindGrant, id)
	require.Equal(t, r.Clock.Now().Add(30*days), g.ExpiresAt)
	require.Equal(t, map[string]string{"tenant": "demo"}, g.Context)
	require.NoError(t, g.Validate())
	used, err := r.Use(t.Context(), r.App, custodian.Use{Operation: access.DataKey, Key: other, Bytes: 32, Context: map[string]string{"tenant": "demo"}})
	require.NoError(t, err)
	require.NotEmpty(t, used.Ciphertext)
	e, _ := r.lastEvent(t, "grant.create")
	require.Equal(t, id, e.Target.ID)

	r.run(t, "grant.revoke", human("demo-cleo"), map[string]any{"grant": id, "reason": "no longer needed"})
	_, err = r.Use(t.Context(), r.App, custodian.Use{Operation: access.DataKey, Key: other, Bytes: 32, Context: map[string]string{"tenant": "demo"}})
	require.Error(t, err)
	require.Contains(t, r.denied(t, "grant.revoke", human("demo-cleo"), map[string]any{"grant": id}), "already_revoked")
}

// Who may grant alone depends on the class of the key: policy hears it from the plan.
func TestGrantQuorumFollowsTheClass(t *testing.T) {
	r := newRig(t)
	params := map[string]any{"application": custodiantest.ApplicationID, "key": custodiantest.KeyID, "operations": []string{"decrypt"}, "days": 1}
	d := r.quorum(t, "grant.create", human("demo-ada"), params)
	require.Equal(t, policies.Direct, d.Class)
	require.True(t, d.Allow)
	require.False(t, r.quorum(t, "grant.create", human("demo-ben"), params).Allow, "not the owner of this key")

	r.AddKey(t, "demo-cards", key.CardholderData)
	params["key"] = "demo-cards"
	require.Equal(t, policies.Governed, r.quorum(t, "grant.create", human("demo-ada"), params).Class)
	enrol := newApplication("cards-app")
	require.Equal(t, policies.Direct, r.quorum(t, "application.enrol", human("demo-ada"), enrol).Class)
	enrol["grants"] = []any{map[string]any{"key": custodiantest.KeyID, "operations": []string{"decrypt"}, "days": 1},
		map[string]any{"key": "demo-cards", "operations": []string{"decrypt"}, "days": 1}}
	require.Equal(t, policies.Governed, r.quorum(t, "application.enrol", human("demo-ada"), enrol).Class)
	require.Equal(t, policies.Governed, r.quorum(t, "key.rotate", human("demo-ada"), map[string]any{"key": "demo-cards"}).Class)
	require.Equal(t, policies.Direct, r.quorum(t, "key.rotate", human("demo-ada"), map[string]any{"key": custodiantest.KeyID}).Class)
}

// Test and production stay apart.
func TestGrantRefusesAnotherEnvironment(t *testing.T) {
	r := newRig(t)
	k := row[key.Key](t, r, custodian.KindKey, r.other(t))
	k.Environment = "production"
	r.Put(t, custodian.KindKey, k.ID, k)
	params := map[string]any{"application": custodiantest.ApplicationID, "key": k.ID, "operations": []string{"decrypt"}, "days": 1}
	require.Contains(t, r.denied(t, "grant.create", human("demo-ada"), params), "environment")
	enrol := newApplication("mixed")
	enrol["grants"] = []any{map[string]any{"key": k.ID, "operations": []string{"decrypt"}, "days": 1}}
	require.Contains(t, r.denied(t, "application.enrol", human("demo-ada"), enrol), "environment")
}

func TestApplicationEnrolAndToken(t *testing.T) {
	r := newRig(t)
	params := newApplication("billing")
	params["grants"] = []any{map[string]any{"key": custodiantest.KeyID, "operations": []string{"datakey"}, "days": 30}}
	in := r.input(t, human("demo-cleo"), params)
	r.plan(t, "application.enrol", in)
	result, err := r.execute(t, "application.enrol", in, nil)
	require.NoError(t, err)
	require.Nil(t, result.Once, "an enrolment makes no token")
	r.Put(t, kindCeremony, in.Ceremony, map[string]any{"id": in.Ceremony, "operation": "application.enrol",
		"requester": map[string]any{"kind": "human", "id": "demo-cleo"}, "params": params})
	app := row[access.Application](t, r, custodian.KindApplication, "billing")
	require.True(t, app.Active())
	require.True(t, app.Development)
	require.Equal(t, in.Ceremony, app.EnrolledBy)
	require.Len(t, decoded(t, result)["grants"], 1)

	issue := map[string]any{"application": "billing", "days": 30}
	require.True(t, r.quorum(t, "token.issue", human("demo-ben"), issue).Allow, "its owner")
	require.True(t, r.quorum(t, "token.issue", human("demo-cleo"), issue).Allow, "who had it enrolled")
	require.False(t, r.quorum(t, "token.issue", human("demo-dan"), issue).Allow, "nobody else")
	_, err = r.prepare(t, "token.issue", r.input(t, human("demo-ben"), map[string]any{"application": "billing", "days": 31}))
	require.Equal(t, "days", fieldOf(t, err), "longer than its enrolment allows")

	issued := r.run(t, "token.issue", human("demo-ben"), issue)
	require.NotNil(t, issued.Once)
	id := decoded(t, issued)["token"].(string)
	token := row[access.Token](t, r, custodian.KindToken, id)
	require.NoError(t, issued.Once.Use(func(b []byte) error {
		presented, err := access.ParseToken(string(b))
		require.NoError(t, err)
		require.NotContains(t, string(issued.Data), string(b))
		return access.Verify(token, presented, r.Clock.Now())
	}))
	require.False(t, r.quorum(t, "token.issue", human("demo-cleo"), issue).Allow, "who had it enrolled sets it up, once")
	ben := row[people.Person](t, r, custodian.KindPerson, "demo-ben")
	signed := ben.Acknowledgement
	ben.Acknowledgement = nil
	r.Put(t, custodian.KindPerson, ben.ID, ben)
	require.Contains(t, r.denied(t, "token.issue", human("demo-ben"), issue), "owner_not_eligible")
	ben.Acknowledgement = signed
	r.Put(t, custodian.KindPerson, ben.ID, ben)
	p := identity.Principal{Kind: identity.Application, ID: "billing", Credential: id}
	call := func() error {
		_, err := r.Use(t.Context(), p, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32})
		return err
	}
	require.NoError(t, call())

	r.run(t, "application.suspend", human("demo-cleo"), map[string]any{"application": "billing", "reason": "odd traffic"})
	require.Error(t, call())
	require.Contains(t, r.denied(t, "application.suspend", human("demo-cleo"), map[string]any{"application": "billing"}), "already_suspended")
	require.Contains(t, r.denied(t, "token.issue", human("demo-ben"), issue), "application_suspended")
	r.run(t, "application.resume", human("demo-ada"), map[string]any{"application": "billing", "finding": "a load test"})
	require.NoError(t, call())
	require.Contains(t, r.denied(t, "application.resume", human("demo-ada"), map[string]any{"application": "billing"}), "not_suspended")

	r.run(t, "token.revoke", human("demo-dan"), map[string]any{"token": id, "reason": "leaked"})
	require.Error(t, call())
	require.Contains(t, r.denied(t, "token.revoke", human("demo-dan"), map[string]any{"token": id}), "already_revoked")
}

// A ceremony that is not the enrolment it is said to be gives nobody a token.
func TestTokenNeedsAnHonestEnrolment(t *testing.T) {
	r := newRig(t)
	app := row[access.Application](t, r, custodian.KindApplication, custodiantest.ApplicationID)
	app.EnrolledBy = "c-other"
	r.Put(t, custodian.KindApplication, app.ID, app)
	r.Put(t, kindCeremony, "c-other", map[string]any{"operation": "key.create", "params": map[string]any{"token_days": 9}})
	_, err := r.prepare(t, "token.issue", r.input(t, human("demo-ada"), map[string]any{"application": app.ID, "days": 3}))
	require.ErrorContains(t, err, "enrolment")
}

// Tokens of auditors come from security officers, not from anybody and not from the auditor.
func TestAuditorToken(t *testing.T) {
	r := newRig(t)
	issue := map[string]any{"auditor": "demo-aud", "days": 7}
	require.True(t, r.quorum(t, "token.issue", human("demo-ada"), issue).Allow)
	require.Contains(t, r.denied(t, "token.issue", human("demo-cleo"), issue), "proposer_role_missing")
	require.Contains(t, r.denied(t, "token.issue", human("demo-aud"), issue), "proposer_role_missing")
	issued := r.run(t, "token.issue", human("demo-ada"), issue)
	require.Equal(t, "auditor", decoded(t, issued)["kind"])
	token := row[access.Token](t, r, custodian.KindToken, decoded(t, issued)["token"].(string))
	require.Equal(t, "demo-aud", token.Subject)
	require.Equal(t, r.Clock.Now().Add(7*24*time.Hour), token.ExpiresAt)
}
