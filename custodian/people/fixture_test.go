package people_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/people"
)

var now = time.Date(2026, 5, 4, 8, 0, 0, 0, time.UTC)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func ecJWK(t *testing.T) json.RawMessage {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	point, err := k.PublicKey.Bytes()
	require.NoError(t, err)
	return json.RawMessage(`{"kty":"EC","crv":"P-256","x":"` + b64(point[1:33]) + `","y":"` + b64(point[33:]) + `"}`)
}

func edJWK(t *testing.T) json.RawMessage {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return json.RawMessage(`{"kty":"OKP","crv":"Ed25519","x":"` + b64(public) + `"}`)
}

func credential(t *testing.T, raw json.RawMessage) people.Credential {
	t.Helper()
	p, err := jwk.Parse(raw)
	require.NoError(t, err)
	return people.Credential{ID: p.Thumbprint(), Alg: p.SignatureAlg(), Key: raw, AddedAt: now}
}

func acknowledged(at time.Time) *people.Acknowledgement {
	return &people.Acknowledgement{FormVersion: people.CurrentForm().Version, SignedAt: at,
		ExpiresAt: at.Add(people.AcknowledgementPeriod), Envelope: json.RawMessage(`{}`)}
}

func person(t *testing.T, id string, roles ...people.Role) *people.Person {
	t.Helper()
	p := &people.Person{ID: id, Name: "Person " + id, Roles: roles, Team: "team-" + id, Site: "site-" + id,
		Status: people.StatusActive, ApprovalKeys: []people.Credential{credential(t, edJWK(t))},
		Acknowledgement: acknowledged(now.Add(-24 * time.Hour)), AddedAt: now, AddedBy: "genesis"}
	p.ShareKey = ecJWK(t)
	share, err := jwk.Parse(p.ShareKey)
	require.NoError(t, err)
	p.ShareKeyID = share.Thumbprint()
	require.NoError(t, p.Validate())
	return p
}

func code(err error) string {
	var e *people.IneligibleError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func field(t *testing.T, err error) string {
	t.Helper()
	var e *key.FieldError
	require.True(t, errors.As(err, &e), "%v", err)
	require.NotEmpty(t, e.Problem)
	require.NotEmpty(t, e.Allowed)
	return e.Field
}
