package statement_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"conclave/ceremony/statement"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/stretchr/testify/require"
)

func TestEnvelopeRoundTrip(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			signer, credential := party(t, alg)
			payload, err := example().Marshal()
			require.NoError(t, err)
			envelope, err := statement.Sign(signer, statement.TypeStatement, payload)
			require.NoError(t, err)
			got, err := statement.Verify(envelope, statement.TypeStatement, credential)
			require.NoError(t, err)
			require.Equal(t, payload, got)

			parsed, err := statement.ParseEnvelope(envelope)
			require.NoError(t, err)
			require.Equal(t, credential.ID, parsed.KeyID())
			require.Equal(t, statement.TypeStatement, parsed.PayloadType())
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
		envelope, err := statement.Sign(signer, statement.TypeStatement, []byte(`{"a":1}`))
		require.NoError(t, err)

		t.Run(alg+" other type", func(t *testing.T) {
			_, err := statement.Verify(envelope, statement.TypeRequest, credential)
			require.ErrorIs(t, err, statement.ErrPayloadType)
		})
		t.Run(alg+" type swapped", func(t *testing.T) {
			swapped := strings.Replace(string(envelope), statement.TypeStatement, statement.TypeRequest, 1)
			_, err := statement.Verify([]byte(swapped), statement.TypeRequest, credential)
			require.ErrorIs(t, err, statement.ErrSignature)
		})
		t.Run(alg+" other credential", func(t *testing.T) {
			_, err := statement.Verify(envelope, statement.TypeStatement, otherCredential)
			require.ErrorIs(t, err, statement.ErrOtherCredential)
		})
		t.Run(alg+" keyid forged", func(t *testing.T) {
			forged := strings.Replace(string(envelope), credential.ID, otherCredential.ID, 1)
			_, err := statement.Verify([]byte(forged), statement.TypeStatement, otherCredential)
			require.ErrorIs(t, err, statement.ErrSignature)
		})
		t.Run(alg+" credential id forged", func(t *testing.T) {
			forged := otherCredential
			forged.ID = credential.ID
			_, err := statement.Verify(envelope, statement.TypeStatement, forged)
			require.ErrorIs(t, err, statement.ErrSignature)
		})
		t.Run(alg+" revoked", func(t *testing.T) {
			revoked := credential
			revoked.Revoked = true
			_, err := statement.Verify(envelope, statement.TypeStatement, revoked)
			require.ErrorIs(t, err, statement.ErrRevokedCredential)
		})
		t.Run(alg+" algorithm confused", func(t *testing.T) {
			confused := credential
			confused.Alg = map[string]string{"ES256": "EdDSA", "EdDSA": "ES256"}[alg]
			_, err := statement.Verify(envelope, statement.TypeStatement, confused)
			require.Error(t, err)
		})
		t.Run(alg+" every bit of the signature", func(t *testing.T) {
			var raw dsse.Envelope
			require.NoError(t, json.Unmarshal(envelope, &raw))
			signature, err := base64.StdEncoding.DecodeString(raw.Signatures[0].Sig)
			require.NoError(t, err)
			for bit := range len(signature) * 8 {
				signature[bit/8] ^= 1 << (bit % 8)
				raw.Signatures[0].Sig = base64.StdEncoding.EncodeToString(signature)
				altered, err := json.Marshal(raw)
				require.NoError(t, err)
				_, err = statement.Verify(altered, statement.TypeStatement, credential)
				require.ErrorIs(t, err, statement.ErrSignature)
				signature[bit/8] ^= 1 << (bit % 8)
			}
		})
		t.Run(alg+" wrong length", func(t *testing.T) {
			require.ErrorIs(t, statement.VerifyMessage(credential, []byte("m"), make([]byte, 63)), statement.ErrSignature)
			require.ErrorIs(t, statement.VerifyMessage(credential, []byte("m"), make([]byte, 64)), statement.ErrSignature)
			require.ErrorIs(t, statement.VerifyMessage(credential, []byte("m"), nil), statement.ErrSignature)
		})
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
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
		"huge":           `{"payloadType":"t","payload":"` + strings.Repeat("A", 2*statement.MaxBytes) + `","signatures":[` + sig + `]}`,
		"large payload":  `{"payloadType":"t","payload":"` + strings.Repeat("AAAA", statement.MaxBytes/3+1) + `","signatures":[` + sig + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := statement.ParseEnvelope([]byte(text))
			require.ErrorIs(t, err, statement.ErrEnvelope)
		})
	}
}

func TestSignBounds(t *testing.T) {
	signer, _ := party(t, "EdDSA")
	_, err := statement.Sign(signer, statement.TypeStatement, make([]byte, statement.MaxBytes+1))
	require.ErrorIs(t, err, statement.ErrTooLarge)
	_, err = statement.Sign(signer, "", []byte("{}"))
	require.ErrorIs(t, err, statement.ErrEnvelope)
	envelope, err := statement.Sign(signer, statement.TypeStatement, make([]byte, statement.MaxBytes))
	require.NoError(t, err)
	_, err = statement.ParseEnvelope(envelope)
	require.NoError(t, err)
}

func FuzzParseEnvelope(f *testing.F) {
	signer, credential := party(f, "EdDSA")
	good, err := statement.Sign(signer, statement.TypeStatement, []byte(`{}`))
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte(`{"payloadType":"t","payload":"e30=","signatures":[{"keyid":"k","sig":"AA=="}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := statement.ParseEnvelope(data)
		if err != nil {
			return
		}
		if payload, err := e.Verify(statement.TypeStatement, credential); err == nil {
			require.Equal(t, "{}", string(payload))
		}
	})
}
