package httpapi_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/store/storetest"
	"conclave/hsm"
	"conclave/policies"
)

func TestRoutesAndMethods(t *testing.T) {
	e := newEdge(t, options{})
	p := e.call(t, http.MethodGet, "/v1/nothing/here", "", "").problem(t)
	require.Equal(t, "not_found", p.Code)
	a := e.call(t, http.MethodDelete, "/v1/ceremonies", "", "")
	require.Equal(t, "method_not_allowed", a.problem(t).Code)
	require.ElementsMatch(t, []string{"GET", "POST"}, strings.Split(strings.ReplaceAll(a.header.Get("Allow"), " ", ""), ","))
	require.Equal(t, http.StatusNotFound, e.call(t, http.MethodGet, "/v1/keys/", "", "").status, "no redirect: a signature covers the path")
	require.Equal(t, "body_too_large", e.call(t, http.MethodGet, "/healthz", "", "x").problem(t).Code)
}

func TestOpenAPIHoldsEveryRoute(t *testing.T) {
	e := newEdge(t, options{})
	var doc struct {
		OpenAPI string                                `json:"openapi"`
		Paths   map[string]map[string]json.RawMessage `json:"paths"`
	}
	e.call(t, http.MethodGet, "/v1/openapi.json", "", "").into(t, &doc)
	require.Equal(t, "3.1.0", doc.OpenAPI)
	var documented, served []string
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, raw := range methods {
			if method == "parameters" {
				continue
			}
			documented = append(documented, strings.ToUpper(method)+" "+path)
			var op struct {
				ID        string                     `json:"operationId"`
				Summary   string                     `json:"summary"`
				Responses map[string]json.RawMessage `json:"responses"`
			}
			require.NoError(t, json.Unmarshal(raw, &op))
			require.NotEmpty(t, op.Summary, path)
			require.NotEmpty(t, op.Responses, path)
			require.False(t, ids[op.ID], "operationId %s twice", op.ID)
			ids[op.ID] = true
		}
	}
	engine, ok := e.handler.(interface{ Routes() gin.RoutesInfo })
	require.True(t, ok)
	for _, r := range engine.Routes() {
		parts := strings.Split(r.Path, "/")
		for i, part := range parts {
			if strings.HasPrefix(part, ":") || strings.HasPrefix(part, "*") {
				parts[i] = "{" + part[1:] + "}"
			}
		}
		served = append(served, r.Method+" "+strings.Join(parts, "/"))
	}
	require.ElementsMatch(t, served, documented)
}

func TestOpenAPIReferencesResolve(t *testing.T) {
	e := newEdge(t, options{})
	var doc map[string]any
	e.call(t, http.MethodGet, "/v1/openapi.json", "", "").into(t, &doc)
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				var at any = doc
				for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
					m, ok := at.(map[string]any)
					require.True(t, ok, ref)
					at = m[part]
				}
				require.NotNil(t, at, ref)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(doc)
}

func TestHealthReadinessAndStatus(t *testing.T) {
	e := newEdge(t, options{})
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, "/healthz", "", "").status)
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, "/readyz", "", "").status)
	var status api.Status
	e.call(t, http.MethodGet, "/v1/status", "", "").into(t, &status)
	require.True(t, status.Ready)
	require.Equal(t, e.Service.Instance().ID, status.Instance)
	require.Empty(t, status.Keystores, "only to authenticated callers")
	e.app(t, http.MethodGet, "/v1/status", "").into(t, &status)
	require.Len(t, status.Keystores, 1)
	require.True(t, status.Keystores[0].Active)
	require.Equal(t, http.StatusUnauthorized, e.call(t, http.MethodGet, "/v1/status", "Bearer nonsense", "").status)

	e.ready = []string{"keystore soft is inactive"}
	a := e.call(t, http.MethodGet, "/readyz", "", "")
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.JSONEq(t, `{"ready":false,"problems":["keystore soft is inactive"]}`, string(a.body))
}

func TestMetrics(t *testing.T) {
	e := newEdge(t, options{})
	e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	e.call(t, http.MethodGet, "/no/such/"+custodiantest.KeyID, "", "")
	text := string(e.call(t, http.MethodGet, "/metrics", "", "").body)
	for _, want := range []string{
		`conclave_http_requests_total{class="2xx",method="POST",route="/v1/keys/:key/datakeys"} 1`,
		`conclave_http_requests_total{class="4xx",method="",route="(none)"} 1`,
		`conclave_keystore_active{keystore="soft"} 1`, "conclave_ledger_entries ", "conclave_authority_epoch ",
		"conclave_integrity_violations 0", "conclave_ceremonies_open 0", "conclave_batch_items_count 0"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, custodiantest.KeyID, "labels are bounded: no ids of callers' choosing")
}

func TestRegistersShowNoHashes(t *testing.T) {
	e := newEdge(t, options{})
	for _, path := range []string{"/v1/people", "/v1/applications", "/v1/grants", "/v1/tokens", "/v1/keystores", "/v1/shares", "/v1/ceremonies", keyPath + "/versions"} {
		a := e.audit(t, path)
		require.Equal(t, http.StatusOK, a.status, string(a.body))
		var list api.Page[json.RawMessage]
		a.into(t, &list)
		require.NotNil(t, list.Items, path)
		for _, word := range []string{"secret_hash", "envelope", "blob", "verifier", "sealed"} {
			require.NotContains(t, string(a.body), word, path)
		}
	}
	require.Equal(t, "limit", strings.TrimPrefix(e.audit(t, "/v1/people?limit=0").problem(t).Field, "query."))
	require.Equal(t, "query.filter", e.audit(t, "/v1/people?filter=x").problem(t).Field)
	require.Equal(t, "query.cursor", e.audit(t, "/v1/people?cursor=%25").problem(t).Field)
}

func TestPagesCoverEverythingOnce(t *testing.T) {
	e := newEdge(t, options{})
	var got []string
	path, pages := "/v1/people?limit=2", 0
	for {
		var list api.Page[api.Person]
		e.audit(t, path).into(t, &list)
		for _, p := range list.Items {
			got = append(got, p.ID)
		}
		pages++
		if list.Next == "" {
			break
		}
		path = "/v1/people?limit=2&cursor=" + list.Next
	}
	require.Equal(t, custodiantest.People(), got)
	require.Equal(t, 3, pages)
}

func TestKeyETag(t *testing.T) {
	e := newEdge(t, options{})
	a := e.app(t, http.MethodGet, keyPath, "")
	require.Equal(t, http.StatusOK, a.status)
	tag := a.header.Get("ETag")
	require.NotEmpty(t, tag)
	require.Equal(t, http.StatusNotModified, e.call(t, http.MethodGet, keyPath, "Bearer "+e.token, "", "If-None-Match", tag).status)
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, keyPath, "Bearer "+e.token, "", "If-None-Match", `"0"`).status)
}

func TestLedgerIsServedWithProofs(t *testing.T) {
	e := newEdge(t, options{})
	for range 3 {
		e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	}
	size := e.size()
	require.Contains(t, string(e.call(t, http.MethodGet, "/v1/ledger/checkpoint", "", "").body), "\n")

	bundle := e.audit(t, "/v1/ledger/"+ledger.EntriesPath(0, int(size)))
	require.Equal(t, http.StatusOK, bundle.status, string(bundle.body))
	tile := e.app(t, http.MethodGet, "/v1/ledger/"+ledger.TilePath(0, 0, int(size)), "")
	require.Equal(t, http.StatusOK, tile.status, string(tile.body))
	n := 0
	for raw, err := range ledger.ReadBundle(bundle.body) {
		require.NoError(t, err)
		leaf := ledger.LeafHash(raw)
		require.Equal(t, tile.body[n*32:n*32+32], leaf[:])
		n++
	}
	require.EqualValues(t, size, n)

	var proof api.Proof
	e.app(t, http.MethodGet, fmt.Sprintf("/v1/ledger/proof/inclusion?seq=2&size=%d", size), "").into(t, &proof)
	require.NotEmpty(t, proof.Hashes)
	e.app(t, http.MethodGet, fmt.Sprintf("/v1/ledger/proof/consistency?from=3&to=%d", size), "").into(t, &proof)
	require.NotEmpty(t, proof.Hashes)

	var progress api.Progress
	e.call(t, http.MethodGet, fmt.Sprintf("/v1/ledger/progress?from=3,0,%d,99999", size), "", "").into(t, &progress)
	require.Contains(t, progress.Checkpoint, "\n")
	require.GreaterOrEqual(t, progress.Size, size)
	require.Equal(t, uint64(3), progress.Proofs[0].From)
	var same api.Proof
	e.app(t, http.MethodGet, fmt.Sprintf("/v1/ledger/proof/consistency?from=3&to=%d", progress.Size), "").into(t, &same)
	require.Equal(t, same.Hashes, progress.Proofs[0].Hashes)
	for _, p := range progress.Proofs {
		require.True(t, p.From > 0 && p.From < progress.Size, "nothing is proved of what is no part of the log")
	}
	for _, bad := range []string{"-1", "x", "1,", "1,2,3,4,5", "99999999999999999999"} {
		a := e.call(t, http.MethodGet, "/v1/ledger/progress?from="+bad, "", "")
		require.Equal(t, http.StatusBadRequest, a.status, bad)
		require.Contains(t, string(a.body), "query.from")
	}

	for _, path := range []string{"0/001", "0/000.p/0", "0/000.p/256", "0/0", "9/000", "entries/999.p/5", "0/x000/000", "../000", "0/000/", "-1/000"} {
		a := e.audit(t, "/v1/ledger/tile/"+path)
		require.Equal(t, http.StatusNotFound, a.status, path)
	}
}

func TestControlEntriesOfAGroupAreServed(t *testing.T) {
	e := newEdge(t, options{})
	kept := "/v1/ledger/" + ledger.KeptPath(0)
	require.Equal(t, http.StatusNotFound, e.audit(t, kept).status, "the group is not full")
	for e.size() < 2*ledger.TileWidth {
		entry := storetest.Entry("key.use.datakey")
		_, err := e.Store.Append(t.Context(), &entry, e.Store.View().Epoch())
		require.NoError(t, err)
	}
	got := e.audit(t, kept)
	require.Equal(t, http.StatusOK, got.status, string(got.body))
	tile := e.app(t, http.MethodGet, "/v1/ledger/"+ledger.TilePath(0, 0, ledger.TileWidth), "")
	var want, found []uint64
	for raw, err := range ledger.ReadBundle(e.audit(t, "/v1/ledger/"+ledger.EntriesPath(0, ledger.TileWidth)).body) {
		require.NoError(t, err)
		entry, err := ledger.Decode(raw)
		require.NoError(t, err)
		if entry.Link != nil {
			want = append(want, entry.Seq)
		}
	}
	for raw, err := range ledger.ReadBundle(got.body) {
		require.NoError(t, err)
		entry, err := ledger.Decode(raw)
		require.NoError(t, err)
		leaf := ledger.LeafHash(raw)
		require.Equal(t, tile.body[entry.Seq*32:entry.Seq*32+32], leaf[:])
		found = append(found, entry.Seq)
	}
	require.NotEmpty(t, want)
	require.Equal(t, want, found)

	require.Equal(t, http.StatusNotFound, e.audit(t, "/v1/ledger/"+ledger.KeptPath(1)).status, "no control entry in it")
	for _, path := range []string{"000.p/3", "0", "x000/000", "999", "entries/000", ""} {
		require.Equal(t, http.StatusNotFound, e.audit(t, "/v1/ledger/kept/"+path).status, path)
	}
	require.Equal(t, http.StatusUnauthorized, e.call(t, http.MethodGet, kept, "", "").status)
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodGet, kept, "").status)
}

func TestEntriesAreFilteredAndPaged(t *testing.T) {
	e := newEdge(t, options{})
	for range 5 {
		e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	}
	path, found := "/v1/ledger/entries?type=key.use&limit=2", 0
	for {
		var list api.Page[json.RawMessage]
		e.audit(t, path).into(t, &list)
		for _, raw := range list.Items {
			entry, err := ledger.Decode(raw)
			require.NoError(t, err)
			require.Equal(t, "key.use.datakey", entry.Type)
			found++
		}
		if list.Next == "" {
			break
		}
		path = "/v1/ledger/entries?type=key.use&limit=2&cursor=" + list.Next
	}
	require.Equal(t, 5, found)
	require.Equal(t, "query.from", e.audit(t, "/v1/ledger/entries?from=x").problem(t).Field)
}

func TestDecisionOpensWithItsProof(t *testing.T) {
	e := newEdge(t, options{})
	p := e.app(t, http.MethodPost, "/v1/keys/nope/datakeys", `{"bytes":32}`).problem(t)
	var d api.Decision
	a := e.as(t, "demo-ada", http.MethodGet, "/v1/decisions/"+p.Decision, "")
	a.into(t, &d)
	require.Equal(t, "grant_missing", d.Code)
	require.NotEmpty(t, d.Reasons)
	require.Equal(t, "application:"+custodiantest.ApplicationID, d.Actor)
	var path tlog.RecordProof
	for _, text := range d.Inclusion {
		h, err := tlog.ParseHash(text)
		require.NoError(t, err)
		path = append(path, h)
	}
	require.NotEmpty(t, path)
	require.NotEmpty(t, sha256.Sum256(d.Entry))
	require.Equal(t, http.StatusNotFound, e.as(t, "demo-ada", http.MethodGet, "/v1/decisions/d1-00000000", "").status)
	require.Equal(t, http.StatusBadRequest, e.as(t, "demo-ada", http.MethodGet, "/v1/decisions/nonsense", "").status)
}

func TestIdempotencyKeyRepeatsTheAnswer(t *testing.T) {
	e := newEdge(t, options{})
	body := `{"operation":"custodian.suspend","params":{"person":"demo-dan","reason":"absent"},"reason":"left the keys unattended"}`
	send := func(key, body string) *answer {
		return e.as(t, "demo-ada", http.MethodPost, "/v1/ceremonies", body, "Idempotency-Key", key)
	}
	before := e.size()
	first := send("k1", body)
	if first.status >= 300 { // the operation words its parameters itself; what matters is the same answer twice
		t.Fatalf("proposal refused: %s", first.body)
	}
	made := e.size()
	require.Greater(t, made, before)
	again := send("k1", body)
	require.Equal(t, first.body, again.body)
	require.Equal(t, "true", again.header.Get("Idempotent-Replay"))
	require.Equal(t, made, e.size(), "nothing happened twice")
	p := send("k1", strings.Replace(body, "demo-dan", "demo-eve", 1)).problem(t)
	require.Equal(t, "conflict", p.Code)

	// A crash before the answer was kept: the ceremony itself remembers its key.
	_, err := e.Store.PurgeIdempotency(t.Context(), e.Clock.Now().Add(time.Hour))
	require.NoError(t, err)
	again = send("k1", body)
	require.Equal(t, http.StatusCreated, again.status)
	require.Empty(t, again.header.Get("Idempotent-Replay"))
	require.Equal(t, made, e.size(), "nothing happened twice")
	_, err = e.Store.PurgeIdempotency(t.Context(), e.Clock.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, "conflict", send("k1", strings.Replace(body, "demo-dan", "demo-eve", 1)).problem(t).Code)
	require.Equal(t, "Idempotency-Key", send("two words", body).problem(t).Field)
}

// decide fetches the statement of a decision, signs exactly its bytes and hands it in.
func (e *edge) decide(t *testing.T, person, id, decision string) *answer {
	t.Helper()
	var s api.StatementResponse
	e.as(t, person, http.MethodGet, "/v1/ceremonies/"+id+"/statement?decision="+decision, "").into(t, &s)
	envelope, err := dsse.Sign(e.signers[person], statement.TypeStatement, s.Payload)
	require.NoError(t, err)
	return e.as(t, person, http.MethodPost, "/v1/ceremonies/"+id+"/votes", encode(t, api.VoteRequest{Envelope: envelope}))
}

func TestInvariant01_RestrictAloneReleaseTogether(t *testing.T) {
	e := newEdge(t, options{Options: custodiantest.Options{Mode: custodian.Production}})
	propose := func(person, body string) api.Ceremony {
		t.Helper()
		var out api.ProposeResponse
		a := e.as(t, person, http.MethodPost, "/v1/ceremonies", body)
		a.into(t, &out)
		require.Equal(t, http.StatusCreated, a.status)
		var c api.Ceremony
		require.NoError(t, json.Unmarshal(out.Ceremony, &c))
		return c
	}
	c := propose("demo-cleo", `{"operation":"key.suspend","params":{"key":"demo-orders"},"reason":"odd traffic at night"}`)
	require.Equal(t, "completed", c.State, "one person, at once")
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`).status)

	c = propose("demo-cleo", `{"operation":"key.resume","params":{"key":"demo-orders","finding":"a batch job"},"reason":"it was a batch job"}`)
	require.Equal(t, "proposed", c.State)
	self := e.as(t, "demo-cleo", http.MethodGet, "/v1/ceremonies/"+c.ID+"/statement?decision=approve", "").problem(t)
	require.Equal(t, http.StatusForbidden, self.Status, "whoever asks does not approve")
	require.NotEmpty(t, self.Decision)
	require.NotEmpty(t, self.Reasons, "people are told why")

	var after api.Ceremony
	e.decide(t, "demo-ada", c.ID, "approve").into(t, &after)
	require.Equal(t, "proposed", after.State)
	after = api.Ceremony{}
	e.as(t, "demo-cleo", http.MethodGet, "/v1/ceremonies/"+c.ID, "").into(t, &after)
	require.NotNil(t, after.Standing)
	require.Equal(t, []string{"demo-ada"}, after.Standing.Approved)
	require.NotEmpty(t, after.Standing.Missing)
	require.False(t, after.Standing.Met)
	require.True(t, after.Standing.Reachable)
	after = api.Ceremony{}
	require.Equal(t, "conflict", e.as(t, "demo-ada", http.MethodGet, "/v1/ceremonies/"+c.ID+"/statement?decision=approve", "").problem(t).Code)
	e.decide(t, "demo-ben", c.ID, "approve").into(t, &after)
	require.Equal(t, "completed", after.State)
	require.Nil(t, after.Standing)
	require.Equal(t, []string{"demo-ada", "demo-ben"}, after.Approvers)
	require.Equal(t, http.StatusOK, e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`).status)

	require.Equal(t, "ceremony_ended", e.as(t, "demo-cleo", http.MethodPost, "/v1/ceremonies/"+c.ID+"/cancel", `{"reason":"too late"}`).problem(t).Code)
	var transcript map[string]any
	e.as(t, "demo-cleo", http.MethodGet, "/v1/ceremonies/"+c.ID+"/transcript", "").into(t, &transcript)
	require.Contains(t, transcript, "payloadType")
	var list api.Page[api.Ceremony]
	e.as(t, "demo-cleo", http.MethodGet, "/v1/ceremonies?state=all", "").into(t, &list)
	require.Len(t, list.Items, 2)
	e.as(t, "demo-cleo", http.MethodGet, "/v1/ceremonies", "").into(t, &list)
	require.Empty(t, list.Items, "none is open")
}

func TestInvariant13_PanicIsAnsweredWithoutItsValue(t *testing.T) {
	e := newEdge(t, options{})
	e.broken = true
	a := e.call(t, http.MethodGet, "/readyz", "", "")
	p := a.problem(t)
	require.Equal(t, "internal", p.Code)
	require.NotContains(t, string(a.body), "secret value")
	require.Contains(t, e.logs.String(), p.Request)
	require.NotContains(t, e.logs.String(), "secret value")
	e.broken = false
	require.Equal(t, http.StatusOK, e.call(t, http.MethodGet, "/readyz", "", "").status)
}

func TestCeremoniesRefuseWhoMayNot(t *testing.T) {
	e := newEdge(t, options{})
	body := `{"operation":"key.create","params":{},"reason":"demo"}`
	require.GreaterOrEqual(t, e.app(t, http.MethodPost, "/v1/ceremonies", body).status, 400)
	p := e.as(t, "demo-ada", http.MethodPost, "/v1/ceremonies", `{"operation":"no.such","params":{},"reason":"x"}`).problem(t)
	require.Equal(t, "operation", p.Field)
	require.Equal(t, "not_found", e.as(t, "demo-ada", http.MethodGet, "/v1/ceremonies/c-none", "").problem(t).Code)
	require.Equal(t, "not_found", e.as(t, "demo-ada", http.MethodGet, "/v1/ceremonies/c-none/statement?decision=approve", "").problem(t).Code)
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodPost, "/v1/ceremonies/c-none/execute", "").status)
}

func TestReports(t *testing.T) {
	e := newEdge(t, options{})
	body := `{"framework":"demo","from":"2026-01-01T00:00:00Z","to":"2026-02-01T00:00:00Z"}`
	a := e.call(t, http.MethodPost, "/v1/reports?format=html", "Bearer "+e.auditor, body)
	require.Equal(t, http.StatusOK, a.status, string(a.body))
	require.Equal(t, "text/html; charset=utf-8", a.header.Get("Content-Type"))
	require.Equal(t, `{"format":"html"}`, string(a.body))
	require.NotEmpty(t, a.header.Get("Content-Security-Policy"))
	p := e.call(t, http.MethodPost, "/v1/reports", "Bearer "+e.auditor, strings.Replace(body, "demo", "nope", 1)).problem(t)
	require.Equal(t, "framework", p.Field)
	require.Equal(t, http.StatusForbidden, e.app(t, http.MethodPost, "/v1/reports", body).status)
	require.Equal(t, "framework", e.call(t, http.MethodPost, "/v1/reports", "Bearer "+e.auditor, strings.Replace(body, `"from"`, `"register":"access","from"`, 1)).problem(t).Field)
	require.Equal(t, "query.format", e.call(t, http.MethodPost, "/v1/reports?format=bundle", "Bearer "+e.auditor, strings.Replace(body, `"framework":"demo"`, `"register":"access"`, 1)).problem(t).Field)
	require.Equal(t, "query.format", e.call(t, http.MethodPost, "/v1/reports?format=docx", "Bearer "+e.auditor, body).problem(t).Field)
}

func TestPolicyIsReadable(t *testing.T) {
	e := newEdge(t, options{})
	var bundle api.Policy
	e.audit(t, "/v1/policy").into(t, &bundle)
	require.Equal(t, e.Policies.Digest(), bundle.Digest)
	require.Greater(t, len(bundle.Rules), 100)
	var placed api.PlaceResponse
	e.as(t, "demo-ada", http.MethodPost, "/v1/policy/place", `{"classification":"internal","impact":"low","jurisdiction":"EU","environment":"test"}`).into(t, &placed)
	require.Equal(t, policies.BestFirst, placed.BestFirst)
	require.Len(t, placed.Models, 8)
	require.Equal(t, hsm.CustodySelf.Readers(false).AtRest, placed.Candidates[0].ReadAtRest)
	var home api.PlaceResponse
	e.as(t, "demo-ada", http.MethodPost, "/v1/policy/place", `{"key":"`+custodiantest.KeyID+`"}`).into(t, &home)
	require.True(t, home.Candidates[0].Home)
	e.as(t, "demo-ada", http.MethodPost, "/v1/policy/place", `{"key":"`+custodiantest.KeyID+`","impact":"low"}`).refusedAs(t, "invalid_field")
	e.as(t, "demo-ada", http.MethodPost, "/v1/policy/place", `{"key":"none"}`).refusedAs(t, "invalid_field")
	var what api.WhatIf
	e.as(t, "demo-ada", http.MethodPost, "/v1/policy/what-if", `{"keystore":{"keystore":"`+custodiantest.KeystoreID+`","jurisdiction":"US"}}`).into(t, &what)
	require.Equal(t, 1, what.Stranded)
	require.Equal(t, []string{custodiantest.KeyID}, what.Changes[0].Keys)
	require.Equal(t, "residency", what.Changes[0].Reasons[0].Code)
	e.as(t, "demo-ada", http.MethodPost, "/v1/policy/what-if", `{"key":{"key":"`+custodiantest.KeyID+`","classification":"ephi"}}`).into(t, &what)
	require.Equal(t, 1, what.Stranded)
	for _, bad := range []string{`{}`, `{"bundle":"x","key":{"key":"a"}}`, `{"keystore":{"keystore":"` + custodiantest.KeystoreID + `","colour":1}}`} {
		e.as(t, "demo-ada", http.MethodPost, "/v1/policy/what-if", bad).refusedAs(t, "invalid_field")
	}
	require.Len(t, placed.Candidates, 1)
	p := e.as(t, "demo-ada", http.MethodPost, "/v1/policy/explain", `{"point":"nonsense","input":{}}`).problem(t)
	require.Equal(t, "invalid_field", p.Code)
}

func TestConcurrentCallsShareNoBuffers(t *testing.T) {
	e := newEdge(t, options{limits: httpapi.Limits{InFlight: 1 << 20}})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 10 {
				text := fmt.Appendf(nil, "caller %d call %d", i, j)
				var sealed api.EncryptResponse
				e.app(t, http.MethodPost, keyPath+"/encrypt", encode(t, api.EncryptRequest{Plaintext: text})).into(t, &sealed)
				var opened api.DecryptResponse
				e.app(t, http.MethodPost, "/v1/decrypt", encode(t, api.DecryptRequest{Ciphertext: sealed.Ciphertext})).into(t, &opened)
				require.Equal(t, string(text), string(opened.Plaintext))
			}
		})
	}
	wg.Wait()
}

func (a *answer) refusedAs(t *testing.T, code string) {
	t.Helper()
	require.Equal(t, code, a.problem(t).Code)
}
