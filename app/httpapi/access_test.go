package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// mint puts a token of the demo application, edited, and returns its cleartext.
func (e *edge) mint(t *testing.T, edit func(*access.Token)) string {
	t.Helper()
	token, once, err := access.NewToken(string(identity.Application), custodiantest.ApplicationID, "genesis", e.Clock.Now(), time.Hour)
	require.NoError(t, err)
	if edit != nil {
		edit(&token)
	}
	e.Put(t, custodian.KindToken, token.ID, token)
	out := ""
	require.NoError(t, once.Use(func(b []byte) error { out = string(b); return nil }))
	return out
}

// TestEngagementEnds: an auditor from outside sees evidence until the day, and nothing after it, by token and by key alike.
func TestEngagementEnds(t *testing.T) {
	e := newEdge(t, options{})
	until := e.Clock.Now().Add(30 * time.Minute)
	e.change(t, "demo-eve", func(p *people.Person) { p.Roles, p.Until = []people.Role{people.RoleAuditor}, &until })
	require.Equal(t, http.StatusOK, e.audit(t, "/v1/ledger/entries").status)
	require.Equal(t, http.StatusOK, e.as(t, "demo-eve", http.MethodGet, "/v1/ledger/entries", "").status)
	e.Clock.Advance(30 * time.Minute)
	a := e.audit(t, "/v1/ledger/entries")
	require.Equal(t, http.StatusUnauthorized, a.status, "the token is good for an hour, the person is not")
	a = e.as(t, "demo-eve", http.MethodGet, "/v1/ledger/entries", "")
	require.Equal(t, http.StatusUnauthorized, a.status)
	require.Contains(t, string(a.body), "engagement has ended")
}

func TestTokens(t *testing.T) {
	e := newEdge(t, options{})
	foreign := newEdge(t, options{})
	revoked := e.Clock.Now()
	wrongSecret := e.token[:len(e.token)-10] + "AAAAAAAAAA"
	tests := []struct{ name, authorization, code, reason string }{
		{"none", "", "unauthenticated", "credentials_missing"},
		{"another scheme", "Basic ZGVtbzpkZW1v", "unauthenticated", "scheme_unknown"},
		{"malformed", "Bearer cvt_short.secret", "unauthenticated", "token_malformed"},
		{"of another instance", "Bearer " + foreign.token, "unauthenticated", "token_unknown"},
		{"wrong secret", "Bearer " + wrongSecret, "unauthenticated", "token_secret"},
		{"revoked", "Bearer " + e.mint(t, func(k *access.Token) { k.RevokedAt = &revoked }), "token_revoked", "token_revoked"},
		{"expired", "Bearer " + e.mint(t, func(k *access.Token) {
			k.CreatedAt, k.ExpiresAt = e.Clock.Now().Add(-2*time.Hour), e.Clock.Now().Add(-time.Hour)
		}), "token_expired", "token_expired"},
		{"not valid yet", "Bearer " + e.mint(t, func(k *access.Token) {
			k.CreatedAt, k.ExpiresAt = e.Clock.Now().Add(time.Hour), e.Clock.Now().Add(2*time.Hour)
		}), "unauthenticated", "token_not_yet"},
		{"of nobody", "Bearer " + e.mint(t, func(k *access.Token) { k.Subject = "nobody" }), "unauthenticated", "application_unknown"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e.Clock.Advance(2 * time.Second) // each failure is recorded by itself
			before := e.size()
			a := e.call(t, http.MethodPost, keyPath+"/datakeys", tt.authorization, `{"bytes":32}`)
			p := a.problem(t)
			require.Equal(t, http.StatusUnauthorized, p.Status)
			require.Equal(t, tt.code, p.Code)
			require.NotEmpty(t, a.header.Values("WWW-Authenticate"))
			recorded := e.entries(t, "auth.failure", before)
			require.Len(t, recorded, 1, "recorded before it was answered")
			require.Equal(t, tt.reason, recorded[0].Reason)
			require.Equal(t, "127.0.0.1", recorded[0].Actor.Origin)
			_, secretPart, _ := strings.Cut(tt.authorization, ".")
			if secretPart != "" {
				require.NotContains(t, string(a.body)+e.logs.String(), secretPart)
			}
		})
	}
}

func TestSuspendedApplicationStaysOut(t *testing.T) {
	e := newEdge(t, options{})
	app, _, err := store.Get[access.Application](e.View(), custodian.KindApplication, custodiantest.ApplicationID)
	require.NoError(t, err)
	app.Status = "suspended"
	e.Put(t, custodian.KindApplication, app.ID, app)
	p := e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`).problem(t)
	require.Equal(t, http.StatusUnauthorized, p.Status)
}

func TestTwoAuthorizationHeadersAreRefused(t *testing.T) {
	e := newEdge(t, options{})
	req, err := http.NewRequest(http.MethodGet, e.url+"/v1/keys", nil)
	require.NoError(t, err)
	req.Header["Authorization"] = []string{"Bearer " + e.token, "Bearer " + e.auditor}
	resp, err := e.client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
}

func TestSignedRequests(t *testing.T) {
	e := newEdge(t, options{})
	e.Clock.Advance(time.Minute)
	const path, person = "/v1/keys?limit=5", "demo-ada"
	require.Equal(t, http.StatusOK, e.as(t, person, http.MethodGet, path, "").status)

	used := e.sign(t, person, http.MethodGet, path, "", nil)
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, path, used, "").status)
	tests := []struct{ name, method, path, authorization, body, reason string }{
		{"replayed", http.MethodGet, path, used, "", "request_replayed"},
		{"another path", http.MethodGet, "/v1/people", e.sign(t, person, http.MethodGet, path, "", nil), "", "request_signature"},
		{"another query", http.MethodGet, "/v1/keys?limit=6", e.sign(t, person, http.MethodGet, path, "", nil), "", "request_signature"},
		{"another method", http.MethodPost, path, e.sign(t, person, http.MethodGet, path, "", nil), "", ""},
		{"swapped body", http.MethodPost, "/v1/policy/place", e.sign(t, person, http.MethodPost, "/v1/policy/place", `{"impact":"low"}`, nil), `{"impact":"high"}`, "request_signature"},
		{"expired", http.MethodGet, path, e.sign(t, person, http.MethodGet, path, "", func(r *statement.Request) {
			r.IssuedAt, r.ExpiresAt = e.Clock.Now().Add(-50*time.Second), e.Clock.Now().Add(-time.Second)
		}), "", "request_signature"},
		{"issued in the future", http.MethodGet, path, e.sign(t, person, http.MethodGet, path, "", func(r *statement.Request) {
			r.IssuedAt, r.ExpiresAt = e.Clock.Now().Add(time.Minute), e.Clock.Now().Add(2*time.Minute)
		}), "", "request_signature"},
		{"signed before this process began", http.MethodGet, path, e.sign(t, person, http.MethodGet, path, "", func(r *statement.Request) {
			r.IssuedAt, r.ExpiresAt = custodiantest.Start().Add(-time.Second), e.Clock.Now().Add(-time.Second)
		}), "", "request_signature"},
		{"another instance", http.MethodGet, path, e.sign(t, person, http.MethodGet, path, "", func(r *statement.Request) { r.Instance = strings.Repeat("0", 64) }), "", "request_signature"},
		{"by somebody else", http.MethodGet, path, e.sign(t, "demo-ben", http.MethodGet, path, "", func(r *statement.Request) { r.Person = person }), "", "credential_unknown"},
		{"by nobody", http.MethodGet, path, e.sign(t, person, http.MethodGet, path, "", func(r *statement.Request) { r.Person = "nobody" }), "", "person_unknown"},
		{"garbage", http.MethodGet, path, "Conclave e30", "", "request_malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e.Clock.Advance(2 * time.Second)
			before := e.size()
			a := e.call(t, tt.method, tt.path, tt.authorization, tt.body)
			if tt.reason == "" { // no such route with that method: refused before anybody is asked who they are
				require.Equal(t, http.StatusMethodNotAllowed, a.status)
				return
			}
			require.Equal(t, http.StatusUnauthorized, a.problem(t).Status, string(a.body))
			recorded := e.entries(t, "auth.failure", before)
			require.Len(t, recorded, 1)
			require.Equal(t, tt.reason, recorded[0].Reason)
		})
	}
}

func TestRequestSignedBeforeStartIsRefused(t *testing.T) {
	e := newEdge(t, options{})
	header := e.sign(t, "demo-ada", http.MethodGet, "/v1/keys", "", func(r *statement.Request) {
		r.IssuedAt = e.Clock.Now().Add(-time.Second)
		r.ExpiresAt = r.IssuedAt.Add(time.Minute)
	})
	p := e.call(t, http.MethodGet, "/v1/keys", header, "").problem(t)
	require.Equal(t, "unauthenticated", p.Code)
	require.Contains(t, p.Detail, "before this node started")
}

func TestInvariant03_SuspendedPeopleAndRevokedKeysStayOut(t *testing.T) {
	e := newEdge(t, options{})
	require.Equal(t, http.StatusOK, e.as(t, "demo-ada", http.MethodGet, "/v1/keys", "").status)
	e.change(t, "demo-ada", func(p *people.Person) { p.Status = people.StatusSuspended })
	require.Equal(t, http.StatusUnauthorized, e.as(t, "demo-ada", http.MethodGet, "/v1/keys", "").status)
	e.change(t, "demo-ben", func(p *people.Person) {
		keys := append([]people.Credential(nil), p.ApprovalKeys...)
		keys[0].Revoked = true
		p.ApprovalKeys = keys
	})
	require.Equal(t, http.StatusUnauthorized, e.as(t, "demo-ben", http.MethodGet, "/v1/keys", "").status)
	e.change(t, "demo-eve", func(p *people.Person) { p.Status = people.StatusLeft })
	require.Equal(t, http.StatusUnauthorized, e.audit(t, "/v1/keys").status, "an auditor's token ends with the auditor")
}

func TestFloodOfUnauthenticatedCallsIsBounded(t *testing.T) {
	e := newEdge(t, options{})
	const calls = 300
	before := e.size()
	limited := 0
	for range calls {
		a := e.call(t, http.MethodGet, "/v1/keys", "Bearer nonsense", "")
		switch p := a.problem(t); p.Code {
		case "rate_limited":
			require.Equal(t, http.StatusTooManyRequests, p.Status)
			require.NotEmpty(t, a.header.Get("Retry-After"))
			limited++
		default:
			require.Equal(t, http.StatusUnauthorized, p.Status)
		}
	}
	require.Greater(t, limited, calls/2)
	require.Len(t, e.entries(t, "auth.failure", before), 1, "no time has passed: one entry")

	require.Equal(t, http.StatusOK, e.app(t, http.MethodGet, "/v1/keys", "").status, "good credentials from the same address still come in")

	e.Clock.Advance(time.Second)
	e.call(t, http.MethodGet, "/v1/keys", "Bearer nonsense", "")
	recorded := e.entries(t, "auth.failure", before)
	require.Len(t, recorded, 2)
	require.Equal(t, `{"attempts":1}`, string(recorded[0].Detail))
	require.Equal(t, `{"attempts":300}`, string(recorded[1].Detail), "every attempt is counted")
}

func TestKindsOfCallers(t *testing.T) {
	e := newEdge(t, options{})
	status := func(a *answer) int { return a.status }
	require.Equal(t, http.StatusForbidden, status(e.app(t, http.MethodGet, "/v1/people", "")))
	require.Equal(t, http.StatusForbidden, status(e.app(t, http.MethodGet, "/v1/ledger/entries", "")))
	require.Equal(t, http.StatusForbidden, status(e.app(t, http.MethodGet, "/v1/ledger/tile/entries/000.p/1", "")))
	require.Equal(t, http.StatusForbidden, status(e.as(t, "demo-cleo", http.MethodGet, "/v1/ledger/entries", "")), "neither auditor nor security officer")
	require.Equal(t, http.StatusOK, status(e.as(t, "demo-ada", http.MethodGet, "/v1/ledger/entries", "")))
	require.Equal(t, http.StatusForbidden, status(e.as(t, "demo-ada", http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)), "people govern keys, they do not use them")
	require.Equal(t, http.StatusForbidden, status(e.call(t, http.MethodPost, keyPath+"/datakeys", "Bearer "+e.auditor, `{"bytes":32}`)))

	e.AddKey(t, "demo-hidden", "internal")
	var keys api.Page[api.Key]
	e.app(t, http.MethodGet, "/v1/keys", "").into(t, &keys)
	require.Len(t, keys.Items, 1, "an application sees the keys it has a grant on")
	require.Equal(t, http.StatusNotFound, status(e.app(t, http.MethodGet, "/v1/keys/demo-hidden", "")))
	e.audit(t, "/v1/keys").into(t, &keys)
	require.Len(t, keys.Items, 2)
}
