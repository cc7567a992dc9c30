package httpapi_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/httpapi"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
)

const keyPath = "/v1/keys/" + custodiantest.KeyID

func encode(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func TestDataPlaneRoundTrip(t *testing.T) {
	e := newEdge(t, options{})
	context := map[string]string{"order": "4711", "name": "Zoë \"quoted\""}

	var made api.DataKeyResponse
	e.app(t, http.MethodPost, keyPath+"/datakeys", encode(t, api.DataKeyRequest{Bytes: 32, Context: context, Plaintext: true})).into(t, &made)
	require.Len(t, made.Plaintext, 32)
	require.Equal(t, custodiantest.KeyID, made.Key)
	require.EqualValues(t, 1, made.Version)
	require.EqualValues(t, 300, made.CacheSeconds)

	for _, path := range []string{keyPath + "/decrypt", "/v1/decrypt"} {
		var opened api.DecryptResponse
		e.app(t, http.MethodPost, path, encode(t, api.DecryptRequest{Ciphertext: made.Ciphertext, Context: context})).into(t, &opened)
		require.Equal(t, made.Plaintext, opened.Plaintext)
	}

	var bare api.DataKeyResponse
	e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":16}`).into(t, &bare)
	require.Empty(t, bare.Plaintext, "not asked for")

	var sealed, rewrapped api.EncryptResponse
	e.app(t, http.MethodPost, keyPath+"/encrypt", encode(t, api.EncryptRequest{Plaintext: []byte("four words of text"), Context: context})).into(t, &sealed)
	e.app(t, http.MethodPost, keyPath+"/rewrap", encode(t, api.RewrapRequest{Ciphertext: sealed.Ciphertext, Context: context, NewContext: map[string]string{"order": "1"}})).into(t, &rewrapped)
	var back api.DecryptResponse
	e.app(t, http.MethodPost, "/v1/decrypt", encode(t, api.DecryptRequest{Ciphertext: rewrapped.Ciphertext, Context: map[string]string{"order": "1"}})).into(t, &back)
	require.Equal(t, "four words of text", string(back.Plaintext))
}

func TestLargestPlaintextFits(t *testing.T) {
	e := newEdge(t, options{})
	plaintext := []byte(strings.Repeat("x", custodian.MaxPlaintext))
	var sealed api.EncryptResponse
	e.app(t, http.MethodPost, keyPath+"/encrypt", encode(t, api.EncryptRequest{Plaintext: plaintext})).into(t, &sealed)
	var back api.DecryptResponse
	e.app(t, http.MethodPost, "/v1/decrypt", encode(t, api.DecryptRequest{Ciphertext: sealed.Ciphertext})).into(t, &back)
	require.Equal(t, plaintext, back.Plaintext)

	p := e.app(t, http.MethodPost, keyPath+"/encrypt", encode(t, api.EncryptRequest{Plaintext: append(plaintext, 'x')})).problem(t)
	require.Equal(t, "invalid_field", p.Code)
	require.Equal(t, "plaintext", p.Field)
}

func TestBatchItemsFailAlone(t *testing.T) {
	e := newEdge(t, options{})
	var made api.BatchResult[api.DataKeyResponse]
	before := e.size()
	e.app(t, http.MethodPost, keyPath+"/datakeys/batch", `{"items":[{"bytes":32,"plaintext":true},{"bytes":7},{"bytes":16}]}`).into(t, &made)
	require.Len(t, made.Items, 3)
	require.Len(t, made.Items[0].Result.Plaintext, 32)
	require.Equal(t, "invalid_field", made.Items[1].Error.Code)
	require.Equal(t, "bytes", made.Items[1].Error.Field)
	require.Nil(t, made.Items[1].Result)
	require.NotEmpty(t, made.Items[2].Result.Ciphertext)
	require.EqualValues(t, 1, e.size()-before, "one entry lists the batch")

	altered := append([]byte(nil), made.Items[0].Result.Ciphertext...)
	altered[len(altered)-1] ^= 1
	var opened api.BatchResult[api.DecryptResponse]
	body := encode(t, api.Batch[api.DecryptRequest]{Items: []api.DecryptRequest{{Ciphertext: made.Items[0].Result.Ciphertext}, {Ciphertext: altered}}})
	e.app(t, http.MethodPost, "/v1/decrypt/batch", body).into(t, &opened)
	require.Equal(t, made.Items[0].Result.Plaintext, opened.Items[0].Result.Plaintext)
	require.Equal(t, "bad_ciphertext", opened.Items[1].Error.Code)

	p := e.app(t, http.MethodPost, keyPath+"/datakeys/batch", `{"items":[`+strings.Repeat(`{"bytes":32},`, 100)+`{"bytes":32}]}`).problem(t)
	require.Equal(t, "items", p.Field)
	require.Equal(t, "items", e.app(t, http.MethodPost, keyPath+"/datakeys/batch", `{"items":[]}`).problem(t).Field)
}

func TestBadBodies(t *testing.T) {
	e := newEdge(t, options{})
	secretText := base64.StdEncoding.EncodeToString([]byte("do not repeat me"))
	deep := strings.Repeat(`{"context":`, 5000) + strings.Repeat(`}`, 5000)
	tests := []struct {
		name, path, body string
		status           int
		code, field      string
	}{
		{"empty", "/datakeys", "", 400, "invalid_field", "body"},
		{"no JSON", "/datakeys", "bytes=32", 400, "invalid_field", "body"},
		{"cut off", "/datakeys", `{"bytes":32`, 400, "invalid_field", "body"},
		{"trailing data", "/datakeys", `{"bytes":32}{"bytes":32}`, 400, "invalid_field", "body"},
		{"another type", "/datakeys", `[32]`, 400, "invalid_field", "body"},
		{"unknown member", "/datakeys", `{"bytes":32,"plain":true}`, 400, "invalid_field", "plain"},
		{"wrong case", "/datakeys", `{"Bytes":32}`, 400, "invalid_field", "Bytes"},
		{"member twice", "/datakeys", `{"bytes":32,"bytes":16}`, 400, "invalid_field", "bytes"},
		{"member twice, escaped", "/datakeys", `{"bytes":32,"byte\u0073":16}`, 400, "invalid_field", "bytes"},
		{"context name twice", "/datakeys", `{"bytes":32,"context":{"a":"1","a":"2"}}`, 400, "invalid_field", "context.a"},
		{"context of numbers", "/datakeys", `{"bytes":32,"context":{"a":1}}`, 400, "invalid_field", "context.a"},
		{"invalid UTF-8", "/datakeys", "{\"bytes\":32,\"context\":{\"a\":\"\xff\"}}", 400, "invalid_field", "body"},
		{"fraction", "/datakeys", `{"bytes":32.5}`, 400, "invalid_field", "bytes"},
		{"leading zero", "/datakeys", `{"bytes":032}`, 400, "invalid_field", "body"},
		{"text for number", "/datakeys", `{"bytes":"32"}`, 400, "invalid_field", "bytes"},
		{"too few bytes", "/datakeys", `{"bytes":15}`, 400, "invalid_field", "bytes"},
		{"too many bytes", "/datakeys", `{"bytes":65}`, 400, "invalid_field", "bytes"},
		{"nested too deeply", "/datakeys", deep, 400, "invalid_field", "body"},
		{"wrong base64", "/encrypt", `{"plaintext":"` + secretText + `*"}`, 400, "invalid_field", "plaintext"},
		{"base64url", "/encrypt", `{"plaintext":"_-_-"}`, 400, "invalid_field", "plaintext"},
		{"base64 with line break", "/encrypt", `{"plaintext":"AAAA\nAAAA"}`, 400, "invalid_field", "plaintext"},
		{"no ciphertext", "/decrypt", `{}`, 400, "bad_ciphertext", ""},
		{"garbage ciphertext", "/decrypt", `{"ciphertext":"` + secretText + `"}`, 400, "bad_ciphertext", ""},
		{"too large", "/encrypt", `{"plaintext":"` + strings.Repeat("A", 200<<10) + `"}`, 413, "body_too_large", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := e.size()
			a := e.app(t, http.MethodPost, keyPath+tt.path, tt.body)
			p := a.problem(t)
			require.Equal(t, tt.status, p.Status, string(a.body))
			require.Equal(t, tt.code, p.Code)
			require.Equal(t, tt.field, p.Field)
			require.False(t, p.Retryable)
			require.NotContains(t, string(a.body), secretText)
			if tt.code == "bad_ciphertext" {
				before++ // that somebody offered one is on record
			}
			require.Equal(t, before, e.size(), "what is no request is judged by nobody and recorded nowhere")
		})
	}
}

func TestCiphertextsThatDoNotFit(t *testing.T) {
	e := newEdge(t, options{})
	e.AddKey(t, "demo-other", "internal")
	e.AddGrant(t, "demo-grant-other", custodiantest.ApplicationID, "demo-other")
	other := newEdge(t, options{})
	seal := func(e *edge, key string) []byte {
		var out api.EncryptResponse
		e.app(t, http.MethodPost, "/v1/keys/"+key+"/encrypt", `{"plaintext":"AAAA","context":{"a":"b"}}`).into(t, &out)
		return out.Ciphertext
	}
	mine := seal(e, custodiantest.KeyID)
	tests := []struct {
		name       string
		ciphertext []byte
		context    map[string]string
		code       string
	}{
		{"of another key", seal(e, "demo-other"), map[string]string{"a": "b"}, "wrong_key"},
		{"of another instance", seal(other, custodiantest.KeyID), map[string]string{"a": "b"}, "foreign_ciphertext"},
		{"another context", mine, map[string]string{"a": "c"}, "bad_ciphertext"},
		{"no context", mine, nil, "bad_ciphertext"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := e.app(t, http.MethodPost, keyPath+"/decrypt", encode(t, api.DecryptRequest{Ciphertext: tt.ciphertext, Context: tt.context}))
			p := a.problem(t)
			require.Equal(t, http.StatusBadRequest, p.Status, string(a.body))
			require.Equal(t, tt.code, p.Code)
		})
	}
}

func TestDenialsSayWhyInDevelopmentOnly(t *testing.T) {
	for _, mode := range []custodian.Mode{custodian.Development, custodian.Production} {
		t.Run(string(mode), func(t *testing.T) {
			e := newEdge(t, options{Options: custodiantest.Options{Mode: mode}})
			p := e.app(t, http.MethodPost, "/v1/keys/no-such-key/datakeys", `{"bytes":32}`).problem(t)
			require.Equal(t, http.StatusForbidden, p.Status)
			require.Equal(t, "grant_missing", p.Code)
			require.NotEmpty(t, p.Decision)
			require.Equal(t, mode == custodian.Development, len(p.Reasons) > 0)

			var told api.Decision
			e.app(t, http.MethodGet, "/v1/decisions/"+p.Decision, "").into(t, &told)
			require.Equal(t, "grant_missing", told.Code)
			require.Empty(t, told.Reasons)
			require.Empty(t, told.Entry)
		})
	}
}

func TestInactiveKeystoreIsRetryable(t *testing.T) {
	e := newEdge(t, options{})
	require.NoError(t, e.Soft.Deactivate(t.Context()))
	a := e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`)
	p := a.problem(t)
	require.Equal(t, http.StatusServiceUnavailable, p.Status, string(a.body))
	require.Equal(t, "keystore_inactive", p.Code)
	require.True(t, p.Retryable)
	require.NotEmpty(t, a.header.Get("Retry-After"))
}

func TestApplicationRate(t *testing.T) {
	e := newEdge(t, options{limits: httpapi.Limits{ApplicationRate: 0.001, ApplicationBurst: 2}})
	for range 2 {
		require.Equal(t, http.StatusOK, e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`).status)
	}
	p := e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32}`).problem(t)
	require.Equal(t, "rate_limited", p.Code)
	require.True(t, p.Retryable)
}

func TestInvariant13_NoSecretInLogs(t *testing.T) {
	e := newEdge(t, options{})
	var made api.DataKeyResponse
	e.app(t, http.MethodPost, keyPath+"/datakeys", `{"bytes":32,"plaintext":true}`).into(t, &made)
	plaintext := base64.StdEncoding.EncodeToString([]byte("a secret of the caller"))
	e.app(t, http.MethodPost, keyPath+"/encrypt", `{"plaintext":"`+plaintext+`","x":1}`)
	e.app(t, http.MethodPost, keyPath+"/encrypt", `{"plaintext":"`+plaintext+`","context":{"patient":"Jane Roe"}}`)
	e.app(t, http.MethodPost, "/v1/keys/nope/encrypt", `{"plaintext":"`+plaintext+`","context":{"patient":"Jane Roe"}}`)
	e.call(t, http.MethodGet, "/v1/keys", "Bearer "+e.token[:len(e.token)-1]+"A", "")
	logs := e.logs.String()
	_, secretPart, _ := strings.Cut(e.token, ".")
	for _, s := range []string{secretPart, plaintext, "a secret of the caller", "Jane Roe", base64.StdEncoding.EncodeToString(made.Plaintext)} {
		require.NotContains(t, logs, s)
	}
}
