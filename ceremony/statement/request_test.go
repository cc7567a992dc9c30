package statement_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"conclave/ceremony/statement"
	"conclave/custodian/dsse"

	"github.com/stretchr/testify/require"
)

func exampleRequest() (statement.Request, statement.Expected) {
	issued := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	r := statement.Request{
		Instance: "inst", Person: "alice", Method: "POST", Path: "/v1/ceremonies?dry=1",
		BodySHA256: statement.BodyDigest([]byte(`{"a":1}`)),
		IssuedAt:   issued, ExpiresAt: issued.Add(30 * time.Second), Nonce: statement.NewNonce(),
	}
	return r, statement.Expected{
		Instance: r.Instance, Method: r.Method, Path: r.Path, BodySHA256: r.BodySHA256, Now: issued.Add(time.Second),
	}
}

func TestSignedRequest(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		signer, credential := party(t, alg)
		r, want := exampleRequest()
		header, err := statement.SignRequest(signer, r)
		require.NoError(t, err)
		parsed, err := statement.ParseRequest(header)
		require.NoError(t, err)
		require.Equal(t, "alice", parsed.ClaimedPerson())
		require.Equal(t, credential.ID, parsed.ClaimedCredential())
		got, err := statement.VerifyRequest(parsed, credential, want)
		require.NoError(t, err)
		r.Credential = credential.ID
		require.Equal(t, r, got)
	}
}

func TestSignedRequestCoversTheCall(t *testing.T) {
	signer, credential := party(t, "ES256")
	r, _ := exampleRequest()
	header, err := statement.SignRequest(signer, r)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		change func(*statement.Expected)
		want   error
	}{
		"instance": {func(e *statement.Expected) { e.Instance = "other" }, statement.ErrOtherInstance},
		"method":   {func(e *statement.Expected) { e.Method = "PUT" }, statement.ErrOtherRequest},
		"path":     {func(e *statement.Expected) { e.Path = "/v1/ceremonies" }, statement.ErrOtherRequest},
		"body":     {func(e *statement.Expected) { e.BodySHA256 = statement.BodyDigest(nil) }, statement.ErrOtherRequest},
		"expired":  {func(e *statement.Expected) { e.Now = r.ExpiresAt }, statement.ErrExpired},
		"early":    {func(e *statement.Expected) { e.Now = r.IssuedAt.Add(-11 * time.Second) }, statement.ErrNotYetValid},
	} {
		t.Run(name, func(t *testing.T) {
			_, want := exampleRequest()
			c.change(&want)
			parsed, err := statement.ParseRequest(header)
			require.NoError(t, err)
			_, err = statement.VerifyRequest(parsed, credential, want)
			require.ErrorIs(t, err, c.want)
		})
	}
	t.Run("other signer", func(t *testing.T) {
		_, other := party(t, "ES256")
		_, want := exampleRequest()
		parsed, err := statement.ParseRequest(header)
		require.NoError(t, err)
		_, err = statement.VerifyRequest(parsed, other, want)
		require.ErrorIs(t, err, dsse.ErrOtherCredential)
	})
}

func TestSignRequestNamesTheBadField(t *testing.T) {
	signer, _ := party(t, "EdDSA")
	for field, change := range map[string]func(*statement.Request){
		"instance":    func(r *statement.Request) { r.Instance = "" },
		"person":      func(r *statement.Request) { r.Person = "a b" },
		"method":      func(r *statement.Request) { r.Method = "post" },
		"path":        func(r *statement.Request) { r.Path = "v1" },
		"body_sha256": func(r *statement.Request) { r.BodySHA256 = strings.ToUpper(r.BodySHA256) },
		"nonce":       func(r *statement.Request) { r.Nonce = "n" },
		"issued_at":   func(r *statement.Request) { r.IssuedAt = time.Time{} },
		"expires_at":  func(r *statement.Request) { r.ExpiresAt = r.IssuedAt.Add(61 * time.Second) },
	} {
		t.Run(field, func(t *testing.T) {
			r, _ := exampleRequest()
			change(&r)
			_, err := statement.SignRequest(signer, r)
			require.ErrorIs(t, err, statement.ErrField)
			require.ErrorContains(t, err, field)
		})
	}
}

func TestParseRequestRefuses(t *testing.T) {
	signer, _ := party(t, "EdDSA")
	wrap := func(payload string) string {
		envelope, err := dsse.Sign(signer, statement.TypeRequest, []byte(payload))
		require.NoError(t, err)
		return "Conclave " + base64.RawURLEncoding.EncodeToString(envelope)
	}
	for name, header := range map[string]string{
		"empty":        "",
		"bearer":       "Bearer abc",
		"no value":     "Conclave",
		"not base64":   "Conclave !!!",
		"not envelope": "Conclave e30",
		"not request":  wrap(`{}`),
		"not JSON":     wrap(`x`),
		"huge":         "Conclave " + strings.Repeat("A", statement.MaxHeader),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := statement.ParseRequest(header)
			require.ErrorIs(t, err, statement.ErrHeader)
		})
	}
}

func FuzzParseRequest(f *testing.F) {
	signer, _ := party(f, "EdDSA")
	r, _ := exampleRequest()
	header, err := statement.SignRequest(signer, r)
	require.NoError(f, err)
	f.Add(header)
	f.Add("Conclave e30")
	f.Fuzz(func(t *testing.T, header string) {
		parsed, err := statement.ParseRequest(header)
		if err == nil {
			require.NotEmpty(t, parsed.ClaimedPerson())
		}
	})
}
