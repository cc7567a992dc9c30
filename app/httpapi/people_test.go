package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// invite puts an open invitation and returns its id and secret.
func (e *edge) invite(t *testing.T, person string, life time.Duration) (id, secret string) {
	t.Helper()
	id, hash, once := access.NewInvitation()
	require.NoError(t, once.Use(func(b []byte) error { secret = string(b); return nil }))
	now := e.Clock.Now()
	e.Put(t, custodian.KindInvitation, id, people.Invitation{ID: id, Person: person, Name: "Fay", SecretHash: hash, OpenedBy: "demo-ada",
		Ceremony: "c-demo", OpenedAt: now, ExpiresAt: now.Add(life), Status: people.InvitationOpen})
	return id, secret
}

func (e *edge) joining(t *testing.T, invitation, person string) string {
	t.Helper()
	signer, err := keyfile.Generate(person, "ES256")
	require.NoError(t, err)
	approval, err := signer.Public().ApprovalKey.JSON()
	require.NoError(t, err)
	share, err := signer.Public().ShareKey.JSON()
	require.NoError(t, err)
	raw, err := json.Marshal(people.Joining{Instance: e.Instance.ID, Invitation: invitation, Person: person, ApprovalKey: approval, ShareKey: share})
	require.NoError(t, err)
	payload, err := strictjson.Canonical(raw)
	require.NoError(t, err)
	envelope, err := signer.Sign(statement.TypeJoining, payload)
	require.NoError(t, err)
	body, err := json.Marshal(api.InvitationAnswer{Envelope: envelope})
	require.NoError(t, err)
	return string(body)
}

func TestInvitationsAreForTheirBearerOnceAndInTime(t *testing.T) {
	e := newEdge(t, options{})
	id, secret := e.invite(t, "fay", time.Hour)
	const path = "/v1/invitation"
	wrong := secret[:len(secret)-1] + "A"
	if wrong == secret {
		wrong = secret[:len(secret)-1] + "Q"
	}
	for name, header := range map[string]string{"none": "", "a token": "Bearer " + e.token, "wrong": "Bearer " + wrong, "nonsense": "Bearer cvi_x",
		"signed": e.sign(t, "demo-ada", http.MethodGet, path, "", nil)} {
		p := e.call(t, http.MethodGet, path, header, "").problem(t)
		require.Equal(t, http.StatusUnauthorized, p.Status, name)
		require.Equal(t, "unauthenticated", p.Code, name)
	}
	var shown api.KeyInvitation
	e.call(t, http.MethodGet, path, "Bearer "+secret, "").into(t, &shown)
	require.Equal(t, "fay", shown.Person)
	require.Equal(t, e.Instance.ID, shown.Instance)
	require.Equal(t, http.StatusUnauthorized, e.call(t, http.MethodGet, "/v1/people", "Bearer "+secret, "").status, "good for nothing else")

	require.Equal(t, "envelope", e.call(t, http.MethodPost, path, "Bearer "+secret, `{"envelope":{}}`).problem(t).Field)
	require.Equal(t, "body_too_large", e.call(t, http.MethodPost, path, "Bearer "+secret, `{"envelope":"`+string(make([]byte, 9<<10))+`"}`).problem(t).Code)
	body := e.joining(t, id, "fay")
	require.Equal(t, http.StatusOK, e.call(t, http.MethodPost, path, "Bearer "+secret, body).status)
	require.Equal(t, http.StatusOK, e.call(t, http.MethodPost, path, "Bearer "+secret, body).status, "replayed, it changes nothing")
	require.Equal(t, "invitation_used", e.call(t, http.MethodPost, path, "Bearer "+secret, e.joining(t, id, "fay")).problem(t).Code)

	var list api.Page[api.KeyInvitation]
	answer := e.as(t, "demo-ada", http.MethodGet, "/v1/invitations", "")
	answer.into(t, &list)
	require.Equal(t, "answered", list.Items[0].Status)
	require.NotEmpty(t, list.Items[0].ApprovalFingerprint)
	require.NotContains(t, string(answer.body), "secret")

	late, lateSecret := e.invite(t, "gus", time.Minute)
	e.Clock.Advance(time.Minute)
	p := e.call(t, http.MethodPost, path, "Bearer "+lateSecret, e.joining(t, late, "gus")).problem(t)
	require.Equal(t, http.StatusGone, p.Status)
	require.Equal(t, "invitation_over", p.Code)
}

// Guessing secrets is counted by source and answered slower, and fills no ledger.
func TestFloodsOfWrongInvitationsAreBounded(t *testing.T) {
	e := newEdge(t, options{})
	_, secret := e.invite(t, "fay", time.Hour)
	before, limited := e.size(), 0
	for range 100 {
		if e.call(t, http.MethodPost, "/v1/invitation", "Bearer cvi_aaaaaaaaaaaaaaaa"+secret[20:], "").status == http.StatusTooManyRequests {
			limited++
		}
	}
	require.Positive(t, limited)
	require.LessOrEqual(t, e.size()-before, uint64(8))
}

func TestPeopleDutiesAndAlertsAreRead(t *testing.T) {
	e := newEdge(t, options{})
	now := e.Clock.Now()
	e.Put(t, custodian.KindDuty, "d-1", people.Duty{ID: "d-1", Kind: people.DutyKeys, Person: "demo-ada", Cause: people.CauseDeparture, Task: "hand over",
		OpenedAt: now.Add(-time.Hour), OpenedBy: "c-demo", DueAt: now})
	var duties api.Page[api.Duty]
	e.as(t, "demo-ada", http.MethodGet, "/v1/duties?state=open", "").into(t, &duties)
	require.Len(t, duties.Items, 1)
	require.True(t, duties.Items[0].Overdue)
	var alerts api.Page[api.Alert]
	e.as(t, "demo-ada", http.MethodGet, "/v1/alerts", "").into(t, &alerts)
	require.Equal(t, "duty", alerts.Items[len(alerts.Items)-1].Kind)
	var p api.Person
	e.as(t, "demo-ada", http.MethodGet, "/v1/people/demo-ada", "").into(t, &p)
	require.Len(t, p.Credentials, 1)
	require.Equal(t, http.StatusNotFound, e.as(t, "demo-ada", http.MethodGet, "/v1/people/nobody", "").status)
	for _, path := range []string{"/v1/duties", "/v1/alerts", "/v1/invitations", "/v1/people/demo-ada"} {
		require.Equal(t, http.StatusUnauthorized, e.call(t, http.MethodGet, path, "", "").status, path)
		require.Equal(t, http.StatusForbidden, e.app(t, http.MethodGet, path, "").status, path)
	}
}
