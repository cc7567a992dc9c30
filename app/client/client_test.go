package client_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/statement"
	"conclave/custodian/jwk"
	"conclave/hsm/secret"
)

const instance = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// serve starts a TLS 1.3 server and returns a client of it, configured further by edit.
func serve(t *testing.T, h http.HandlerFunc, edit func(*client.Config)) *client.Client {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	transport := server.Client().Transport.(*http.Transport)
	cfg := client.Config{
		URL: server.URL, RootCAs: transport.TLSClientConfig.RootCAs,
		Retry: client.Retry{Base: time.Microsecond, Cap: time.Millisecond},
	}
	if edit != nil {
		edit(&cfg)
	}
	c, err := client.New(cfg)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, p api.Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func TestConfigurationIsChecked(t *testing.T) {
	signer, err := keyfile.Generate("alice", jwk.EdDSA)
	require.NoError(t, err)
	token := secret.New([]byte("cvt_a.b"))
	for name, cfg := range map[string]client.Config{
		"no url":              {},
		"plain http":          {URL: "http://localhost"},
		"password in url":     {URL: "https://a:b@localhost"},
		"query in url":        {URL: "https://localhost?x=1"},
		"missing CA file":     {URL: "https://localhost", CAFile: filepath.Join(t.TempDir(), "none")},
		"certificate, no key": {URL: "https://localhost", CertFile: filepath.Join(t.TempDir(), "none")},
		"token and signer":    {URL: "https://localhost", Token: token, Signer: signer, Person: "alice", Instance: instance},
		"signer, no instance": {URL: "https://localhost", Signer: signer, Person: "alice"},
		"empty token":         {URL: "https://localhost", Token: secret.New(nil)},
	} {
		_, err := client.New(cfg)
		require.Error(t, err, name)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MaxVersion: tls.VersionTLS12}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{URL: server.URL, RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	require.NoError(t, err)
	_, err = c.Status(t.Context())
	require.ErrorContains(t, err, "protocol version")
}

func TestDataKeyMovesPlaintextIntoASecret(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "Bearer cvt_id.secret", r.Header.Get("Authorization"))
		require.Equal(t, "/v1/keys/orders/datakeys", r.URL.Path)
		var in api.DataKeyRequest
		require.NoError(t, json.NewDecoder(r.Body).Decode(&in))
		require.Equal(t, api.DataKeyRequest{Bytes: 32, Context: map[string]string{"order": "7"}, Plaintext: true}, in)
		answer(w, api.DataKeyResponse{Key: "orders", Version: 3, Plaintext: []byte("0123456789abcdef0123456789abcdef"), Ciphertext: []byte("c"), CacheSeconds: 60})
	}, func(cfg *client.Config) { cfg.Token = secret.New([]byte("cvt_id.secret")) })
	dk, err := c.DataKey(t.Context(), "orders", 32, map[string]string{"order": "7"})
	require.NoError(t, err)
	require.Equal(t, time.Minute, dk.CacheFor)
	require.EqualValues(t, 3, dk.Version)
	require.True(t, dk.Plaintext.Equal(secret.New([]byte("0123456789abcdef0123456789abcdef"))))
	dk.Plaintext.Wipe()
}

func TestProblemsAreTyped(t *testing.T) {
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		refuse(w, api.Problem{Status: 403, Code: "grant_missing", Title: "denied", Detail: "no grant", Decision: "d1",
			Reasons: []api.Reason{{Code: "grant_missing", Message: "no grant covers this", Remedy: "ask the key's owner"}}})
	}, nil)
	_, err := c.Key(t.Context(), "a/b")
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, "grant_missing", p.Code)
	require.Equal(t, "d1", p.Decision)
	require.Equal(t, "ask the key's owner", p.Reasons[0].Remedy)
	require.EqualError(t, err, "GET /v1/keys/a%2Fb: no grant (grant_missing)")
	require.EqualValues(t, 1, calls.Load(), "what is not retryable is not repeated")
}

func TestOnlyRetryableIsRepeated(t *testing.T) {
	var calls atomic.Int32
	keys := make(chan string, 10)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		keys <- r.Header.Get("Idempotency-Key")
		if calls.Add(1) < 3 {
			refuse(w, api.Problem{Status: 503, Code: "storage_unavailable", Retryable: true})
			return
		}
		answer(w, api.ProposeResponse{Ceremony: json.RawMessage(`{"id":"c1","state":"proposed"}`), Once: "cvt_x.y"})
	}, nil)
	p, err := c.Propose(t.Context(), "key.rotate", map[string]string{"key": "orders"}, "test")
	require.NoError(t, err)
	require.Equal(t, "c1", p.Ceremony.ID)
	require.Equal(t, "cvt_x.y", p.Once)
	first := <-keys
	require.Len(t, first, 22)
	require.Equal(t, first, <-keys, "one logical call, one key")
	require.Equal(t, first, <-keys)

	_, err = c.Propose(t.Context(), "key.rotate", map[string]string{"key": "orders"}, "test")
	require.NoError(t, err)
	require.NotEqual(t, first, <-keys, "another call, another key")
}

func TestRetriesEnd(t *testing.T) {
	var calls atomic.Int32
	retryable := func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "0")
		refuse(w, api.Problem{Status: 429, Code: "rate_limited", Retryable: true})
	}
	c := serve(t, retryable, func(cfg *client.Config) { cfg.Retry.Attempts = 4 })
	_, err := c.Status(t.Context())
	require.Error(t, err)
	require.EqualValues(t, 4, calls.Load())

	// A Retry-After beyond what is sat out ends the call with the refusal at once.
	calls.Store(0)
	c = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", "3600")
		refuse(w, api.Problem{Status: 503, Code: "keystore_inactive", Retryable: true})
	}, nil)
	_, err = c.Status(t.Context())
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, time.Hour, p.RetryAfter)
	require.EqualValues(t, 1, calls.Load())

	// The context ends it too.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.Status(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestConnectionRefusedIsRepeated(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close() // nobody listens there any more
	c, err := client.New(client.Config{URL: server.URL, Retry: client.Retry{Attempts: 3, Base: time.Microsecond, Cap: time.Millisecond}})
	require.NoError(t, err)
	_, err = c.Status(t.Context())
	require.ErrorContains(t, err, "connection refused")
}

func TestStrangeAnswersAreErrors(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"proxy's page": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "<html>\x1b[2Jbad gateway", http.StatusBadGateway)
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		},
		"problem without code": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(500)
			_, _ = io.WriteString(w, `{}`)
		},
	} {
		c := serve(t, h, func(cfg *client.Config) { cfg.Token = secret.New([]byte("cvt_id.secret")) })
		_, err := c.Status(t.Context())
		var p *client.Problem
		require.ErrorAs(t, err, &p, name)
		require.Equal(t, client.CodeUnexpected, p.Code, name)
		require.NotContains(t, p.Error(), "\x1b", name)
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"name":`) }, nil)
	_, err := c.Status(t.Context())
	require.ErrorContains(t, err, "reading answer")
}

func TestAnswersAreBounded(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat(" ", 1<<20)
		for range 6 {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	}, nil)
	_, err := c.Status(t.Context())
	require.ErrorContains(t, err, "larger than allowed")
}

func TestPeopleSignEachAttempt(t *testing.T) {
	signer, err := keyfile.Generate("alice", jwk.ES256)
	require.NoError(t, err)
	credential, err := signer.Public().Credential(time.Now())
	require.NoError(t, err)
	nonces := map[string]bool{}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		signed, err := statement.ParseRequest(r.Header.Get("Authorization"))
		if err != nil {
			t.Errorf("parsing: %v", err)
			return
		}
		req, err := statement.VerifyRequest(signed, credential, statement.Expected{
			Instance: instance, Method: r.Method, Path: r.URL.RequestURI(), BodySHA256: statement.BodyDigest(body), Now: time.Now(),
		})
		if err != nil || req.Person != "alice" || nonces[req.Nonce] {
			t.Errorf("request %+v: %v", req, err)
		}
		nonces[req.Nonce] = true
		if len(nonces)%2 == 1 {
			refuse(w, api.Problem{Status: 503, Code: "storage_unavailable", Retryable: true})
			return
		}
		answer(w, api.Page[api.Ceremony]{})
	}, func(cfg *client.Config) { cfg.Signer, cfg.Person, cfg.Instance = signer, "alice", instance })
	for _, err := range c.Ceremonies(t.Context(), true) {
		require.NoError(t, err)
	}
	_, err = c.Cancel(t.Context(), "c1", "changed my mind")
	require.NoError(t, err)
	require.Len(t, nonces, 4)
}

func TestPagesAreWalkedToTheEnd(t *testing.T) {
	pages := map[string]api.Page[api.Key]{
		"":  {Items: []api.Key{{ID: "a"}, {ID: "b"}}, Next: "1"},
		"1": {Items: []api.Key{{ID: "c"}}, Next: "2"},
		"2": {Items: []api.Key{{ID: "d"}}, Next: "2"}, // leads to itself: the walk ends
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { answer(w, pages[r.URL.Query().Get("cursor")]) }, nil)
	var got []string
	for k, err := range c.Keys(t.Context()) {
		require.NoError(t, err)
		got = append(got, k.ID)
	}
	require.Equal(t, []string{"a", "b", "c", "d"}, got)
}

func TestBatchItemsFailAlone(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/v1/decrypt/batch", r.URL.Path)
		answer(w, api.BatchResult[api.DecryptResponse]{Items: []api.BatchItem[api.DecryptResponse]{
			{Result: &api.DecryptResponse{Key: "k", Version: 1, Plaintext: []byte("p")}},
			{Error: &api.Problem{Status: 400, Code: "bad_ciphertext"}},
		}})
	}, nil)
	in := []api.DecryptRequest{{Ciphertext: []byte("a")}, {Ciphertext: []byte("b")}}
	out, err := c.DecryptBatch(t.Context(), "", in)
	require.NoError(t, err)
	require.NoError(t, out[0].Err)
	require.True(t, out[0].Result.Bytes.Equal(secret.New([]byte("p"))))
	var p *client.Problem
	require.ErrorAs(t, out[1].Err, &p)
	require.Equal(t, "bad_ciphertext", p.Code)

	_, err = c.DecryptBatch(t.Context(), "", in[:1])
	require.ErrorContains(t, err, "2 results for 1 items")
	_, err = c.DecryptBatch(t.Context(), "", make([]api.DecryptRequest, client.MaxBatch+1))
	require.ErrorContains(t, err, "allowed: 1 to 100")
}

func TestReportIsStreamed(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "bundle", r.URL.Query().Get("format"))
		_, _ = io.WriteString(w, "zip bytes")
	}, nil)
	var out strings.Builder
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, c.Report(t.Context(), "pci-dss-4.0.1", from, from.AddDate(0, 3, 0), client.ReportBundle, &out))
	require.Equal(t, "zip bytes", out.String())
	require.ErrorContains(t, c.Report(t.Context(), "x", from, from, "docx", &out), "allowed: json, html, pdf, xlsx, csv, bundle")
}

// A service that restarts meanwhile is asked again; a download that breaks goes on where it stopped.
func TestReportsAreFetchedInPieces(t *testing.T) {
	const whole = "a report of some length, in pieces"
	sum := sha256.Sum256([]byte(whole))
	polls, breaks := 0, 0
	var ranges []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		job := api.ReportJob{ID: "r-1", State: "running", Format: "pdf"}
		switch {
		case r.Method == http.MethodPost:
			answer(w, job)
		case strings.HasSuffix(r.URL.Path, "/content"):
			ranges = append(ranges, r.Header.Get("Range"))
			if breaks++; breaks == 1 {
				w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
				_, _ = io.WriteString(w, whole[:8])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
		default:
			if polls++; polls == 1 {
				panic(http.ErrAbortHandler) // it restarts
			}
			if polls > 2 {
				job.State, job.Bytes, job.SHA256 = "done", int64(len(whole)), hex.EncodeToString(sum[:])
			}
			answer(w, job)
		}
	}, nil)
	f, err := os.Create(filepath.Join(t.TempDir(), "report.pdf"))
	require.NoError(t, err)
	defer f.Close()
	job, err := c.StartReport(t.Context(), api.ReportRequest{Register: "access"}, client.ReportPDF)
	require.NoError(t, err)
	require.NoError(t, c.AwaitReport(t.Context(), job, f, nil))
	got, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	require.Equal(t, whole, string(got))
	require.Equal(t, "", ranges[0])
	require.Equal(t, "bytes=8-", ranges[len(ranges)-1])
}

func TestErrorsShowNoSecret(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, api.Problem{Status: 401, Code: "unauthenticated", Title: "who are you"})
	}, func(cfg *client.Config) { cfg.Token = secret.New([]byte("cvt_id.topsecret")) })
	_, err := c.Encrypt(t.Context(), "k", secret.New([]byte("plain as day")), nil)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "topsecret")
	require.NotContains(t, err.Error(), "plain")
	var p *client.Problem
	require.True(t, errors.As(err, &p))
}

func TestRegistersAreReadWhole(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			answer(w, api.Page[api.Grant]{Items: []api.Grant{{ID: "a"}}, Next: "x"})
			return
		}
		require.Equal(t, "cursor=x", r.URL.RawQuery)
		answer(w, api.Page[api.Grant]{Items: []api.Grant{{ID: "b"}}})
	}, nil)
	got, err := c.Grants(t.Context())
	require.NoError(t, err)
	require.Equal(t, []api.Grant{{ID: "a"}, {ID: "b"}}, got)
}
