package httpapi_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/auth"
	"conclave/app/httpapi"
	"conclave/ceremony"
	"conclave/ceremony/bundles"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// edge is the whole API over real parts, served over TLS.
type edge struct {
	*custodiantest.Custodian
	engine  *ceremony.Engine
	handler http.Handler
	url     string
	client  *http.Client
	token   string // of the demo application
	auditor string // token of an auditor
	signers map[string]dsse.Signer
	logs    *syncBuffer
	ready   []string
	broken  bool // the readiness check panics
}

type options struct {
	custodiantest.Options
	limits httpapi.Limits
}

type reporter struct{}

func (reporter) Report(_ context.Context, req api.ReportRequest, format string, w io.Writer) error {
	if req.Framework != "demo" {
		return &custodian.InputError{Field: "framework", Problem: "unknown", Allowed: "demo"}
	}
	_, err := io.WriteString(w, `{"format":"`+format+`"}`)
	return err
}

func newEdge(t testing.TB, opts options) *edge {
	t.Helper()
	opts.Schema = ceremony.Schema(store.Schema{})
	e := &edge{Custodian: custodiantest.New(t, opts.Options), logs: &syncBuffer{}, signers: map[string]dsse.Signer{}}
	log := slog.New(slog.NewTextHandler(e.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	challengeKey := make([]byte, 32)
	rand.Read(challengeKey)
	var err error
	e.engine, err = ceremony.New(ceremony.Config{Custodian: e.Service, Operations: operation.All(),
		Drivers:    func(*key.Keystore) (hsm.Keystore, error) { return nil, errors.New("no further drivers here") },
		NodeSigner: newSigner(t), ChallengeKey: challengeKey, Clock: e.Clock, Logger: log})
	require.NoError(t, err)
	authenticator, err := auth.New(auth.Config{Custodian: e.Service, Clock: e.Clock, Logger: log})
	require.NoError(t, err)
	t.Cleanup(authenticator.Close)
	keeper, err := bundles.New(bundles.Config{Custodian: e.Service, Sandbox: policies.PatientJob(time.Minute), CheckTimeout: 5 * time.Minute, Clock: e.Clock, Logger: log})
	require.NoError(t, err)
	t.Cleanup(keeper.Close)
	e.handler, err = httpapi.New(httpapi.Config{Custodian: e.Service, Ceremonies: e.engine, Bundles: keeper, Auth: authenticator, Store: e.Store,
		Reports: reporter{}, Ready: e.check, Version: "test", FIPS: "test", Clock: e.Clock, Logger: log,
		Metrics: prometheus.NewRegistry(), Limits: opts.limits})
	require.NoError(t, err)
	e.serve(t)
	e.token = cleartext(t, e)
	for _, id := range custodiantest.People() {
		e.enrol(t, id)
	}
	e.change(t, "demo-eve", func(p *people.Person) { p.Roles = append(p.Roles, people.RoleAuditor) })
	auditorToken, once, err := access.NewToken(string(identity.Auditor), "demo-eve", "genesis", e.Clock.Now(), time.Hour)
	require.NoError(t, err)
	e.Put(t, custodian.KindToken, auditorToken.ID, auditorToken)
	require.NoError(t, once.Use(func(b []byte) error { e.auditor = string(b); return nil }))
	return e
}

func (e *edge) check() []string {
	if e.broken {
		panic("a secret value of whoever panicked")
	}
	return e.ready
}

func cleartext(t testing.TB, e *edge) (out string) {
	t.Helper()
	require.NoError(t, e.Token.Use(func(b []byte) error { out = string(b); return nil }))
	return out
}

func (e *edge) serve(t testing.TB) {
	t.Helper()
	ts := httptest.NewUnstartedServer(e.handler)
	ts.Config = httpapi.NewServer(e.handler, nil, slog.New(slog.NewTextHandler(e.logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	ts.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	ts.StartTLS()
	t.Cleanup(ts.Close)
	e.url, e.client = ts.URL, ts.Client()
}

func newSigner(t testing.TB) dsse.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s, err := dsse.NewSigner(k)
	require.NoError(t, err)
	return s
}

// enrol gives a demo person an approval key.
func (e *edge) enrol(t testing.TB, id string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	credential, err := dsse.NewCredential(k.Public(), e.Clock.Now())
	require.NoError(t, err)
	e.signers[id], err = dsse.NewSigner(k)
	require.NoError(t, err)
	e.change(t, id, func(p *people.Person) {
		p.ApprovalKeys = []people.Credential{credential}
		p.Acknowledgement = &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: e.Clock.Now(),
			ExpiresAt: e.Clock.Now().AddDate(0, 6, 0), Envelope: json.RawMessage(`{"demo":true}`)}
	})
}

func (e *edge) change(t testing.TB, id string, f func(*people.Person)) {
	t.Helper()
	p, _, err := store.Get[people.Person](e.View(), custodian.KindPerson, id)
	require.NoError(t, err)
	f(p)
	e.Put(t, custodian.KindPerson, id, p)
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) problem(t testing.TB) api.Problem {
	t.Helper()
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), string(a.body))
	var p api.Problem
	require.NoError(t, json.Unmarshal(a.body, &p))
	require.Equal(t, a.status, p.Status)
	require.Equal(t, "urn:conclave:problem:"+p.Code, p.Type)
	require.Equal(t, a.header.Get("X-Request-Id"), p.Request)
	require.NotEmpty(t, p.Title)
	return p
}

func (a *answer) into(t testing.TB, v any) {
	t.Helper()
	require.Equal(t, "application/json", a.header.Get("Content-Type"), string(a.body))
	require.Less(t, a.status, 300, string(a.body))
	require.NoError(t, json.Unmarshal(a.body, v))
}

// call sends a request with this Authorization header, none where it is "".
func (e *edge) call(t testing.TB, method, path, authorization, body string, headers ...string) *answer {
	t.Helper()
	req, err := http.NewRequest(method, e.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := e.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, resp.Header.Get("Cache-Control") != "", true)
	return &answer{resp.StatusCode, resp.Header, got}
}

// app calls as the demo application.
func (e *edge) app(t testing.TB, method, path, body string) *answer {
	t.Helper()
	return e.call(t, method, path, "Bearer "+e.token, body)
}

// audit calls as an auditor.
func (e *edge) audit(t testing.TB, path string) *answer {
	t.Helper()
	return e.call(t, http.MethodGet, path, "Bearer "+e.auditor, "")
}

// as calls as a person, signing the request.
func (e *edge) as(t testing.TB, person, method, path, body string, headers ...string) *answer {
	t.Helper()
	return e.call(t, method, path, e.sign(t, person, method, path, body, nil), body, headers...)
}

func (e *edge) sign(t testing.TB, person, method, path, body string, edit func(*statement.Request)) string {
	t.Helper()
	r := statement.Request{Instance: e.Service.Instance().ID, Person: person, Method: method, Path: path,
		BodySHA256: statement.BodyDigest([]byte(body)), IssuedAt: e.Clock.Now(), ExpiresAt: e.Clock.Now().Add(time.Minute), Nonce: statement.NewNonce()}
	if edit != nil {
		edit(&r)
	}
	header, err := statement.SignRequest(e.signers[person], r)
	require.NoError(t, err)
	return header
}

// entries returns the ledger's entries of a type from a position on.
func (e *edge) entries(t testing.TB, eventType string, from uint64) (out []*ledger.Entry) {
	t.Helper()
	err := e.Store.Entries(context.Background(), from, e.View().Head().Size, func(entry *ledger.Entry, _ []byte) error {
		if entry.Type == eventType {
			out = append(out, entry)
		}
		return nil
	})
	require.NoError(t, err)
	return out
}

func (e *edge) size() uint64 { return e.View().Head().Size }

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
