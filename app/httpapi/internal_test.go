package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/app/auth"
	"conclave/ceremony"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

// Answers written by hand are what package api says they are.
func TestHandWrittenAnswers(t *testing.T) {
	for _, u := range []custodian.Used{
		{Key: "orders", Version: 7, Plaintext: []byte{1, 2, 3}, Ciphertext: []byte("cipher"), Warning: `ends "soon" ✓`, CacheFor: 299_999 * time.Millisecond},
		{Key: "orders", Version: 1<<32 - 1, Plaintext: []byte{0}, Ciphertext: []byte{255, 254}},
	} {
		same := func(got []byte, want any) {
			t.Helper()
			raw, err := json.Marshal(want)
			require.NoError(t, err)
			require.JSONEq(t, string(raw), string(got))
			require.LessOrEqual(t, len(got), answerSize(&u), "never grown: plaintext would be left behind")
		}
		same(appendDataKey(nil, &u), api.DataKeyResponse{Key: u.Key, Version: u.Version, Plaintext: u.Plaintext, Ciphertext: u.Ciphertext, Warning: u.Warning, CacheSeconds: int64(u.CacheFor / time.Second)})
		same(appendSealed(nil, &u), api.EncryptResponse{Key: u.Key, Version: u.Version, Ciphertext: u.Ciphertext, Warning: u.Warning})
		same(appendOpened(nil, &u), api.DecryptResponse{Key: u.Key, Version: u.Version, Plaintext: u.Plaintext})
	}
}

// A refused share is named for what it is, with the decision that records it.
func TestRefusedSharesAreNamed(t *testing.T) {
	s := &server{sentinels: sentinels()}
	for code, err := range map[string]error{
		"share_wrong": shamir.ErrWrongShare, "share_foreign": shamir.ErrForeignSet, "share_repeated": shamir.ErrRepeated,
		"share_stale": shamir.ErrStaleEpoch,
	} {
		denied := &custodian.Denied{Code: code, Decision: "d1-00000000"}
		p := s.describe(fmt.Errorf("submitting: %w", &ceremony.ShareError{Denied: denied, Err: fmt.Errorf("share 3: %w", err)}), true)
		require.Equal(t, 400, p.Status, code)
		require.Equal(t, code, p.Code)
		require.Equal(t, "d1-00000000", p.Decision)
		require.Contains(t, p.Detail, "share 3")
	}
	stale := &ceremony.ShareError{Denied: &custodian.Denied{}, Err: fmt.Errorf("%w: %w", ceremony.ErrCollector, shamir.ErrNotFor)}
	require.Equal(t, "share_stale", s.describe(stale, true).Code, "sealed to the collector key of a process that has ended")
}

// Entries that are gone are no fault and no secret: whoever may ask is told which, and by what.
func TestDeletedEntriesAreSaidToBeGone(t *testing.T) {
	s := &server{sentinels: sentinels()}
	err := fmt.Errorf("reading ledger entries: %w", &ledger.DeletedError{From: 256, To: 512, By: "01DELETED"})
	p := s.describe(err, false)
	require.Equal(t, http.StatusGone, p.Status)
	require.Equal(t, "entries_deleted", p.Code)
	require.Equal(t, "ledger entries 256 to 511 were deleted under retention by ceremony 01DELETED", p.Detail)
	require.Equal(t, &api.DeletedEntries{From: 256, To: 512, Ceremony: "01DELETED"}, p.Deleted)
	require.False(t, p.Retryable)
}

// The document of the API names every code that errors known by identity are answered with.
func TestOpenAPINamesEveryCode(t *testing.T) {
	_, after, found := strings.Cut(string(openAPISource), "Stable. Of the request:")
	require.True(t, found)
	list, _, _ := strings.Cut(after, "A denial (403)")
	words := strings.FieldsFunc(list, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
	codes := []string{"internal", "integrity", "invalid_field", auth.CodeUnauthenticated, auth.CodeTokenExpired, auth.CodeTokenRevoked, auth.CodeRateLimited, api.CodeEntriesDeleted}
	for _, s := range sentinels() {
		codes = append(codes, s.code)
	}
	for _, code := range codes {
		require.Contains(t, words, code)
	}
}

func TestSecretDeliveredOnceIsNotKept(t *testing.T) {
	r, err := newReply(201, api.ProposeResponse{Ceremony: json.RawMessage(`{}`)}, secret.New([]byte("cvt_x.y")))
	require.NoError(t, err)
	require.Contains(t, string(r.first), "cvt_x.y")
	require.NotContains(t, string(r.body), "cvt_x.y")
}

// What the scanner reads, the general parser reads alike.
func scannedAlike[T any](t *testing.T, body []byte, scan func([]byte, *T) bool) {
	t.Helper()
	var fast, slow T
	if !scan(body, &fast) {
		return
	}
	x := &exchange{body: body}
	if err := x.decode(&slow); err != nil {
		t.Fatalf("scanner took %q, parser says %v", body, err)
	}
	require.Equal(t, slow, fast)
}

func FuzzScanners(f *testing.F) {
	for _, s := range []string{
		`{}`, ` { "bytes" : 32 , "context" : { "a" : "b" } , "plaintext" : true } `, `{"bytes":32,"context":{},"plaintext":false}`,
		`{"plaintext":"AAAA","context":{"a":"b","c":""},"reason":"routine"}`, `{"bytes":32,"reason":"r","reason":"r"}`, `{"ciphertext":"AAAA","accept_risk":true,"reason":"routine"}`,
		`{"bytes":32}x`, `{"bytes":32,}`, `{"bytes":032}`, `{"bytes":32.0}`, `{"bytes":1e2}`, `{"bytes":-1}`, `{"bytes":32,"bytes":32}`,
		`{"plaintext":"AAB="}`, `{"plaintext":"AA=="}`, `{"plaintext":"AA"}`, `{"plaintext":""}`, `{"context":{"a":"1","a":"2"}}`, `{"bytes":truee}`, `{"plaintext":truex}`, `{"bytes":9999999999}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		scannedAlike(t, body, scanDataKey)
		scannedAlike(t, body, scanEncrypt)
		scannedAlike(t, body, scanDecrypt)
	})
}

func TestScannersTakeWhatClientsSend(t *testing.T) {
	body, err := json.Marshal(api.DataKeyRequest{Bytes: 32, Context: map[string]string{"order": "4711", "tenant": "demo"}, Plaintext: true, Reason: "routine"})
	require.NoError(t, err)
	require.True(t, scanDataKey(body, new(api.DataKeyRequest)))
	body, err = json.Marshal(api.DecryptRequest{Ciphertext: []byte("cipher"), Context: map[string]string{"a": "b"}, AcceptRisk: true, Reason: "routine"})
	require.NoError(t, err)
	require.True(t, scanDecrypt(body, new(api.DecryptRequest)))
	body, err = json.Marshal(api.EncryptRequest{Plaintext: []byte("text"), Reason: "routine"})
	require.NoError(t, err)
	require.True(t, scanEncrypt(body, new(api.EncryptRequest)))
}

func FuzzTilePath(f *testing.F) {
	for _, s := range []string{"/0/000", "/1/x001/234.p/5", "/entries/000.p/1", "/0/x001/x234/067", "/", "", "/0/000.p/256", "/x/y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, err := parseTilePath(path)
		if err == nil && (p.width < 1 || p.width > 256 || p.level < 0 || p.level > 5) {
			t.Fatalf("%q parsed to %+v", path, p)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"operation":"key.create","params":{"a":[{"b":1}]},"reason":"x"}`))
	f.Add([]byte(`{"items":[{"bytes":32}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		x := &exchange{body: body}
		_ = x.decode(new(api.ProposeRequest))
		_ = x.decode(new(api.Batch[api.DataKeyRequest]))
	})
}

// BenchmarkReadBody is why the scanner is there.
func BenchmarkReadBody(b *testing.B) {
	x := &exchange{body: []byte(`{"bytes":32,"context":{"order":"4711","tenant":"demo"},"plaintext":true}`)}
	b.Run("scanner", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var in api.DataKeyRequest
			if !scanDataKey(x.body, &in) {
				b.Fatal("not simple")
			}
		}
	})
	b.Run("parser", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var in api.DataKeyRequest
			if err := x.decode(&in); err != nil {
				b.Fatal(err)
			}
		}
	})
}
