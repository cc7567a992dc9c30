package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/oversight"
)

// proposeAs asks for an operation as a person.
func (e *edge) proposeAs(t *testing.T, person, operation string, params any) api.Ceremony {
	t.Helper()
	raw, err := json.Marshal(params)
	require.NoError(t, err)
	var out api.ProposeResponse
	e.as(t, person, http.MethodPost, "/v1/ceremonies", encode(t, api.ProposeRequest{Operation: operation, Params: raw, Reason: "the test asks for it"})).into(t, &out)
	var c api.Ceremony
	require.NoError(t, json.Unmarshal(out.Ceremony, &c))
	return c
}

func listOf[T any](t *testing.T, e *edge, path string) []T {
	t.Helper()
	var page api.Page[T]
	e.as(t, "demo-dan", http.MethodGet, path, "").into(t, &page)
	return page.Items
}

func TestReviewsFindingsAndHoldsOverHTTP(t *testing.T) {
	e := newEdge(t, options{Options: custodiantest.Options{Mode: custodian.Production}})
	c := e.proposeAs(t, "demo-cleo", "key.suspend", map[string]any{"key": custodiantest.KeyID, "reason": "odd traffic"})
	reviews := listOf[api.Review](t, e, "/v1/reviews")
	require.Len(t, reviews, 1)
	require.Equal(t, c.ID, reviews[0].Ceremony)
	require.Equal(t, "demo-cleo", reviews[0].By)
	require.False(t, reviews[0].Overdue)
	require.Empty(t, reviews[0].Outcome)

	e.proposeAs(t, "demo-dan", "review.sign", map[string]any{"ceremony": c.ID, "outcome": "finding", "note": "no ticket", "owner": "demo-cleo", "days": 2})
	var shown api.Ceremony
	e.as(t, "demo-dan", http.MethodGet, "/v1/ceremonies/"+c.ID, "").into(t, &shown)
	require.NotNil(t, shown.Review)
	require.Equal(t, "demo-dan", shown.Review.Reviewer)
	findings := listOf[api.Finding](t, e, "/v1/findings")
	require.Len(t, findings, 1)
	require.Equal(t, shown.Review.Finding, findings[0].ID)
	require.Equal(t, api.Ref{Type: "key", ID: custodiantest.KeyID}, findings[0].About)

	e.proposeAs(t, "demo-ben", "hold.set", map[string]any{"on": map[string]any{"type": "ledger"}, "from": 1, "to": 3, "matter": "Doe", "reason": "litigation"})
	holds := listOf[api.Hold](t, e, "/v1/holds")
	require.Len(t, holds, 1)
	require.Equal(t, "ledger entries 1 to 3", holds[0].What)
	retention := listOf[api.Retention](t, e, "/v1/retention")
	require.Len(t, retention, 2)
	require.Equal(t, 2192, retention[0].Days)
	require.Equal(t, 366, retention[0].LeastDays)
	for _, path := range []string{"/v1/holds", "/v1/retention", "/v1/reviews", "/v1/findings", "/v1/exceptions", "/v1/attestations", "/v1/log-days", "/v1/log-days/2026-11-27", "/v1/breakglass"} {
		require.Equal(t, http.StatusForbidden, e.app(t, http.MethodGet, path, "").status, "applications have no part in it: %s", path)
	}
}

// The summary of a day is had by its name, without the others.
func TestOneDayOfTheLogOverHTTP(t *testing.T) {
	e := newEdge(t, options{})
	d := &oversight.LogDay{Day: "2026-01-15", From: 3, To: 9, Leaf: "ab", Entries: map[string]int{"key.use": 6}, Refused: 1, MadeAt: e.Clock.Now()}
	e.Put(t, custodian.KindLogDay, d.Day, d)
	var one api.LogDay
	e.as(t, "demo-dan", http.MethodGet, "/v1/log-days/2026-01-15", "").into(t, &one)
	require.Equal(t, listOf[api.LogDay](t, e, "/v1/log-days"), []api.LogDay{one})
	require.Equal(t, "not_found", e.as(t, "demo-dan", http.MethodGet, "/v1/log-days/2026-01-16", "").problem(t).Code)
	p := e.as(t, "demo-dan", http.MethodGet, "/v1/log-days/yesterday", "").problem(t)
	require.Equal(t, http.StatusBadRequest, p.Status)
	require.Contains(t, p.Detail, "day")
}

// A person decrypts by emergency access, justified, and the decision shows why and by which ceremony.
func TestEmergencyAccessAndReasonCodesOverHTTP(t *testing.T) {
	e := newEdge(t, options{})
	var sealed api.EncryptResponse
	e.app(t, http.MethodPost, keyPath+"/encrypt", encode(t, api.EncryptRequest{Plaintext: []byte("record"), Reason: "treatment"})).into(t, &sealed)
	body := func(reason string) string {
		return encode(t, api.DecryptRequest{Ciphertext: sealed.Ciphertext, Reason: reason})
	}
	p := e.as(t, "demo-eve", http.MethodPost, keyPath+"/decrypt", body("treatment")).problem(t)
	require.Equal(t, "grant_missing", p.Code)

	c := e.proposeAs(t, "demo-ada", "breakglass.open", map[string]any{"person": "demo-eve", "keys": []string{custodiantest.KeyID}, "operations": []string{"decrypt"},
		"minutes": 30, "reason": "patient in danger"})
	e.decide(t, "demo-ben", c.ID, "approve")
	e.decide(t, "demo-cleo", c.ID, "approve")
	open := listOf[api.BreakGlass](t, e, "/v1/breakglass")
	require.Len(t, open, 1)
	require.True(t, open[0].Open)

	p = e.as(t, "demo-eve", http.MethodPost, keyPath+"/decrypt", body("")).problem(t)
	require.Equal(t, "reason_code_required", p.Code)
	from := e.size()
	var opened api.DecryptResponse
	e.as(t, "demo-eve", http.MethodPost, "/v1/decrypt", body("treatment")).into(t, &opened)
	require.Equal(t, "record", string(opened.Plaintext))
	used := e.entries(t, "key.use.decrypt", from)
	require.Len(t, used, 1)
	require.JSONEq(t, `{"breakglass":"`+c.ID+`","reason_code":"treatment"}`, string(used[0].Detail))

	p = e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32,"reason":"because"}`).problem(t)
	require.Equal(t, "reason_code_unknown", p.Code)
	var d api.Decision
	e.as(t, "demo-ada", http.MethodGet, "/v1/decisions/"+p.Decision, "").into(t, &d)
	require.Equal(t, "because", d.ReasonCode)
}
