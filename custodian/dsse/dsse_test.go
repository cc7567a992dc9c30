package dsse_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"

	upstream "github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/stretchr/testify/require"
)

const (
	typeOne = "application/vnd.conclave.one+json"
	typeTwo = "application/vnd.conclave.two+json"
)

// party makes a key and its public credential, for both algorithms.
func party(t testing.TB, alg string) (dsse.Signer, people.Credential) {
	t.Helper()
	var key crypto.Signer
	if alg == "EdDSA" {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		key = private
	} else {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		key = private
	}
	signer, err := dsse.NewSigner(key)
	require.NoError(t, err)
	credential, err := dsse.NewCredential(key.Public(), time.Unix(0, 0))
	require.NoError(t, err)
	require.Equal(t, credential.ID, signer.KeyID())
	require.Equal(t, alg, credential.Alg)
	return signer, credential
}

func TestEnvelopeRoundTrip(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			signer, credential := party(t, alg)
			payload := []byte(`{"a":1}`)
			envelope, err := dsse.Sign(signer, typeOne, payload)
			require.NoError(t, err)
			got, err := dsse.Verify(envelope, typeOne, credential)
			require.NoError(t, err)
			require.Equal(t, payload, got)

			parsed, err := dsse.Parse(envelope)
			require.NoError(t, err)
			require.Equal(t, credential.ID, parsed.KeyID())
			require.Equal(t, typeOne, parsed.PayloadType())
			require.Equal(t, payload, parsed.UnverifiedPayload())
			parsed.UnverifiedPayload()[0] ^= 1
			require.Equal(t, payload, parsed.UnverifiedPayload())
		})
	}
}

func TestEnvelopeRefusals(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		signer, credential := party(t, alg)
		_, otherCredential := party(t, alg)
		envelope, err := dsse.Sign(signer, typeOne, []byte(`{"a":1}`))
		require.NoError(t, err)

		t.Run(alg+" other type", func(t *testing.T) {
			_, err := dsse.Verify(envelope, typeTwo, credential)
			require.ErrorIs(t, err, dsse.ErrPayloadType)
		})
		t.Run(alg+" type swapped", func(t *testing.T) {
			swapped := strings.Replace(string(envelope), typeOne, typeTwo, 1)
			_, err := dsse.Verify([]byte(swapped), typeTwo, credential)
			require.ErrorIs(t, err, dsse.ErrSignature)
		})
		t.Run(alg+" other credential", func(t *testing.T) {
			_, err := dsse.Verify(envelope, typeOne, otherCredential)
			require.ErrorIs(t, err, dsse.ErrOtherCredential)
		})
		t.Run(alg+" keyid forged", func(t *testing.T) {
			forged := strings.Replace(string(envelope), credential.ID, otherCredential.ID, 1)
			_, err := dsse.Verify([]byte(forged), typeOne, otherCredential)
			require.ErrorIs(t, err, dsse.ErrSignature)
		})
		t.Run(alg+" credential id forged", func(t *testing.T) {
			forged := otherCredential
			forged.ID = credential.ID
			_, err := dsse.Verify(envelope, typeOne, forged)
			require.ErrorIs(t, err, dsse.ErrSignature)
		})
		t.Run(alg+" revoked", func(t *testing.T) {
			revoked := credential
			revoked.Revoked = true
			_, err := dsse.Verify(envelope, typeOne, revoked)
			require.ErrorIs(t, err, dsse.ErrRevokedCredential)
		})
		t.Run(alg+" algorithm confused", func(t *testing.T) {
			confused := credential
			confused.Alg = map[string]string{"ES256": "EdDSA", "EdDSA": "ES256"}[alg]
			_, err := dsse.Verify(envelope, typeOne, confused)
			require.Error(t, err)
		})
		t.Run(alg+" every bit of the signature", func(t *testing.T) {
			var raw upstream.Envelope
			require.NoError(t, json.Unmarshal(envelope, &raw))
			signature, err := base64.StdEncoding.DecodeString(raw.Signatures[0].Sig)
			require.NoError(t, err)
			for bit := range len(signature) * 8 {
				signature[bit/8] ^= 1 << (bit % 8)
				raw.Signatures[0].Sig = base64.StdEncoding.EncodeToString(signature)
				altered, err := json.Marshal(raw)
				require.NoError(t, err)
				_, err = dsse.Verify(altered, typeOne, credential)
				require.ErrorIs(t, err, dsse.ErrSignature)
				signature[bit/8] ^= 1 << (bit % 8)
			}
		})
		t.Run(alg+" wrong length", func(t *testing.T) {
			require.ErrorIs(t, dsse.VerifyMessage(credential, []byte("m"), make([]byte, 63)), dsse.ErrSignature)
			require.ErrorIs(t, dsse.VerifyMessage(credential, []byte("m"), make([]byte, 64)), dsse.ErrSignature)
			require.ErrorIs(t, dsse.VerifyMessage(credential, []byte("m"), nil), dsse.ErrSignature)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const sig = `{"keyid":"k","sig":"AA=="}`
	for name, text := range map[string]string{
		"no signature":   `{"payloadType":"t","payload":"e30=","signatures":[]}`,
		"null signature": `{"payloadType":"t","payload":"e30=","signatures":null}`,
		"two signatures": `{"payloadType":"t","payload":"e30=","signatures":[` + sig + `,` + sig + `]}`,
		"unknown member": `{"payloadType":"t","payload":"e30=","signatures":[` + sig + `],"x":1}`,
		"duplicate":      `{"payloadType":"t","payloadType":"t","payload":"e30=","signatures":[` + sig + `]}`,
		"no type":        `{"payload":"e30=","signatures":[` + sig + `]}`,
		"no keyid":       `{"payloadType":"t","payload":"e30=","signatures":[{"sig":"AA=="}]}`,
		"base64url":      `{"payloadType":"t","payload":"_-8=","signatures":[` + sig + `]}`,
		"unpadded":       `{"payloadType":"t","payload":"e30","signatures":[` + sig + `]}`,
		"line break":     `{"payloadType":"t","payload":"e3\n0=","signatures":[` + sig + `]}`,
		"spare bits":     `{"payloadType":"t","payload":"e31=","signatures":[` + sig + `]}`,
		"huge":           `{"payloadType":"t","payload":"` + strings.Repeat("A", 2*dsse.MaxPayload) + `","signatures":[` + sig + `]}`,
		"large payload":  `{"payloadType":"t","payload":"` + strings.Repeat("AAAA", dsse.MaxPayload/3+1) + `","signatures":[` + sig + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := dsse.Parse([]byte(text))
			require.ErrorIs(t, err, dsse.ErrEnvelope)
		})
	}
}

func TestSignBounds(t *testing.T) {
	signer, _ := party(t, "EdDSA")
	_, err := dsse.Sign(signer, typeOne, make([]byte, dsse.MaxPayload+1))
	require.ErrorIs(t, err, strictjson.ErrTooLarge)
	_, err = dsse.Sign(signer, "", []byte("{}"))
	require.ErrorIs(t, err, dsse.ErrEnvelope)
	envelope, err := dsse.Sign(signer, typeOne, make([]byte, dsse.MaxPayload))
	require.NoError(t, err)
	_, err = dsse.Parse(envelope)
	require.NoError(t, err)
}

func TestVerifyNode(t *testing.T) {
	keys := map[string]*ecdsa.PrivateKey{}
	var nodes []ledger.NodeKey
	for _, id := range []string{"node-1", "node-2"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		node, err := ledger.NewNodeKey(id, key.Public())
		require.NoError(t, err)
		keys[id], nodes = key, append(nodes, node)
	}
	signer, err := dsse.NewSigner(keys["node-2"])
	require.NoError(t, err)
	data, err := dsse.Sign(signer, typeOne, []byte("{}"))
	require.NoError(t, err)
	e, err := dsse.Parse(data)
	require.NoError(t, err)

	payload, node, err := e.VerifyNode(typeOne, nodes)
	require.NoError(t, err)
	require.Equal(t, "{}", string(payload))
	require.Equal(t, "node-2", node)
	_, _, err = e.VerifyNode(typeTwo, nodes)
	require.ErrorIs(t, err, dsse.ErrPayloadType)
	_, _, err = e.VerifyNode(typeOne, nodes[:1])
	require.ErrorIs(t, err, dsse.ErrUnknownNode)
	_, _, err = e.VerifyNode(typeOne, nil)
	require.ErrorIs(t, err, dsse.ErrUnknownNode)
}

func TestBoundsOfLargerPayloads(t *testing.T) {
	signer, credential := party(t, "ES256")
	payload := make([]byte, 3*dsse.MaxPayload)
	envelope, err := dsse.SignUpTo(signer, typeOne, payload, len(payload))
	require.NoError(t, err)
	_, err = dsse.Parse(envelope)
	require.ErrorIs(t, err, strictjson.ErrTooLarge)
	_, err = dsse.ParseUpTo(envelope, len(payload)-1)
	require.ErrorIs(t, err, strictjson.ErrTooLarge)
	e, err := dsse.ParseUpTo(envelope, len(payload))
	require.NoError(t, err)
	got, err := e.Verify(typeOne, credential)
	require.NoError(t, err)
	require.Len(t, got, len(payload))
	_, err = dsse.SignUpTo(signer, typeOne, payload, len(payload)-1)
	require.ErrorIs(t, err, strictjson.ErrTooLarge)
}

func FuzzParse(f *testing.F) {
	signer, credential := party(f, "EdDSA")
	good, err := dsse.Sign(signer, typeOne, []byte(`{}`))
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"payloadType":"t","payload":"e30=","signatures":[{"keyid":"k","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := dsse.Parse(data)
		if err != nil {
			return
		}
		if payload, err := e.Verify(typeOne, credential); err == nil {
			require.Equal(t, "{}", string(payload))
		}
	})
}
