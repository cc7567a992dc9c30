package jwk_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"conclave/custodian/jwk"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// The key and thumbprint of RFC 8037 appendix A.3.
const (
	rfc8037Key        = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)

func TestThumbprintKnownAnswer(t *testing.T) {
	k, err := jwk.Parse([]byte(rfc8037Key))
	require.NoError(t, err)
	require.Equal(t, rfc8037Thumbprint, k.Thumbprint())
	require.Equal(t, "90fa cafe a9b1 5566 9854 0f70 c011 7a22 ea37 bd5c f3ed 3c47 093c 1707 282b 4b89", k.Fingerprint())
}

func TestRoundTripAgreesWithJOSE(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, public := range map[string]any{"P-256": &ec.PublicKey, "Ed25519": ed} {
		t.Run(name, func(t *testing.T) {
			k, err := jwk.New(public, "", "sig")
			require.NoError(t, err)
			raw, err := k.JSON()
			require.NoError(t, err)
			again, err := jwk.Parse(raw)
			require.NoError(t, err)
			require.Equal(t, k, again)
			back, err := again.Public()
			require.NoError(t, err)
			require.Equal(t, public, back)

			var other jose.JSONWebKey
			require.NoError(t, other.UnmarshalJSON(raw))
			require.Equal(t, public, other.Key)
		})
	}
}

func TestNewRefusesOtherKeys(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	for name, public := range map[string]any{
		"P-384": &p384.PublicKey, "text": "key", "nil": nil, "short": ed25519.PublicKey("x"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jwk.New(public, "", "")
			require.ErrorIs(t, err, jwk.ErrKey)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
	for name, text := range map[string]string{
		"empty":          ``,
		"not an object":  `"x"`,
		"private":        `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`,
		"duplicate":      `{"kty":"OKP","kty":"OKP","crv":"Ed25519","x":"` + x + `"}`,
		"wrong case":     `{"KTY":"OKP","crv":"Ed25519","x":"` + x + `"}`,
		"other curve":    `{"kty":"OKP","crv":"X25519","x":"` + x + `"}`,
		"RSA":            `{"kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"Ed25519 with y": `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","y":"` + x + `"}`,
		"off the curve":  `{"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + x + `"}`,
		"no y":           `{"kty":"EC","crv":"P-256","x":"` + x + `"}`,
		"padded":         `{"kty":"OKP","crv":"Ed25519","x":"` + x + `="}`,
		"line break":     `{"kty":"OKP","crv":"Ed25519","x":"` + x[:5] + `\n` + x[5:] + `"}`,
		"spare bits":     `{"kty":"OKP","crv":"Ed25519","x":"` + x[:42] + `p"}`,
		"short":          `{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`,
		"wrong kid":      `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","kid":"me"}`,
		"wrong alg":      `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","alg":"ES256"}`,
		"wrong use":      `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","use":"both"}`,
		"key_ops":        `{"kty":"OKP","crv":"Ed25519","x":"` + x + `","key_ops":["verify"]}`,
		"huge":           `{"kty":"` + strings.Repeat("a", 4096) + `"}`,
		"trailing":       rfc8037Key + `1`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jwk.Parse([]byte(text))
			require.ErrorIs(t, err, jwk.ErrKey)
		})
	}
}

// Under a key of small order, R = identity and S = 0 verify for whole classes of messages.
func TestParseRefusesSmallOrder(t *testing.T) {
	for _, y := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		point, err := hex.DecodeString(y)
		require.NoError(t, err)
		for _, sign := range []byte{0, 0x80} {
			p := append([]byte(nil), point...)
			p[31] |= sign
			_, err := jwk.New(ed25519.PublicKey(p), "EdDSA", "sig")
			require.ErrorIs(t, err, jwk.ErrKey)
			_, err = jwk.Parse([]byte(`{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(p) + `"}`))
			require.ErrorIs(t, err, jwk.ErrKey)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(rfc8037Key))
	f.Add([]byte(`{"kty":"EC","crv":"P-256","x":"","y":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := jwk.Parse(data)
		if err != nil {
			return
		}
		raw, err := k.JSON()
		require.NoError(t, err)
		again, err := jwk.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, k, again)
	})
}
