package keyfile

import (
	"encoding/base64"
	"fmt"

	"conclave/ceremony/shamir"
	"conclave/custodian/jwk"
	"conclave/custodian/strictjson"
	"conclave/hsm/secret"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// privateJWK is a private key as RFC 7518 section 6.2.2 and RFC 8037 section 2 write it. D stays bytes
// from end to end, so that it can be overwritten.
type privateJWK struct {
	Alg string         `json:"alg"`
	Crv string         `json:"crv"`
	D   jsontext.Value `json:"d"`
	Kid string         `json:"kid"`
	Kty string         `json:"kty"`
	Use string         `json:"use"`
	X   string         `json:"x"`
	Y   string         `json:"y,omitempty"`
}

type privateSet struct {
	Keys []privateJWK `json:"keys"`
}

// encodeSet writes both private keys as a JWK Set.
func (s *Signer) encodeSet() (*secret.Bytes, error) {
	share := s.opening.Public()
	var set privateSet
	defer wipeSet(&set)
	for _, k := range []struct {
		public  jwk.Key
		private *secret.Bytes
	}{{s.approval, s.private}, {share, s.opening.Scalar()}} {
		p := k.public
		err := k.private.Use(func(b []byte) error {
			d := make([]byte, 0, base64.RawURLEncoding.EncodedLen(len(b))+2)
			d = base64.RawURLEncoding.AppendEncode(append(d, '"'), b)
			set.Keys = append(set.Keys, privateJWK{
				Alg: p.Alg, Crv: p.Crv, D: append(d, '"'), Kid: p.Kid, Kty: p.Kty, Use: p.Use, X: p.X, Y: p.Y,
			})
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("encoding keys of %s: %w", s.id, err)
		}
	}
	raw, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encoding keys of %s: %w", s.id, err)
	}
	return secret.New(raw), nil
}

// decodeSet reads what encodeSet wrote, strictly, and checks that private and public parts fit.
func decodeSet(id string, plain []byte) (*Signer, error) {
	if err := strictjson.Check(plain, maxFile); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	var set privateSet
	defer func() { wipeSet(&set) }()
	if err := json.Unmarshal(plain, &set, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: key set: not strict JSON of two keys", ErrFile)
	}
	if len(set.Keys) != 2 || set.Keys[0].Use != "sig" || set.Keys[1].Use != "enc" {
		return nil, fmt.Errorf("%w: key set: wanted are a signature key and then an encryption key", ErrFile)
	}
	approval, share := set.Keys[0], set.Keys[1]
	if approval.Alg != jwk.ES256 && approval.Alg != jwk.EdDSA {
		return nil, fmt.Errorf("%w: %w: %q", ErrFile, ErrAlgorithm, approval.Alg)
	}
	scalar, err := decodePrivate(share.D)
	if err != nil {
		return nil, err
	}
	opening, err := shamir.ImportOpeningKey(scalar)
	if err != nil {
		scalar.Wipe()
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	private, err := decodePrivate(approval.D)
	if err != nil {
		opening.Wipe()
		return nil, err
	}
	s, err := newSigner(id, approval.Alg, private, opening)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if !approval.fits(s.approval) || !share.fits(opening.Public()) {
		s.Wipe()
		return nil, fmt.Errorf("%w: key set: a private key does not fit its public part", ErrFile)
	}
	return s, nil
}

func (p privateJWK) fits(k jwk.Key) bool {
	return jwk.Key{Alg: p.Alg, Crv: p.Crv, Kid: p.Kid, Kty: p.Kty, Use: p.Use, X: p.X, Y: p.Y} == k
}

func decodePrivate(quoted jsontext.Value) (*secret.Bytes, error) {
	const want = 2 + (keyBytes*8+5)/6 // quotes and base64url without padding
	if len(quoted) != want || quoted.Kind() != '"' {
		return nil, fmt.Errorf("%w: key set: a private key is not %d bytes of base64url", ErrFile, keyBytes)
	}
	b := make([]byte, keyBytes)
	if n, err := base64.RawURLEncoding.Strict().Decode(b, quoted[1:len(quoted)-1]); err != nil || n != keyBytes {
		secret.Wipe(b)
		return nil, fmt.Errorf("%w: key set: a private key is not %d bytes of base64url", ErrFile, keyBytes)
	}
	return secret.New(b), nil
}

func wipeSet(set *privateSet) {
	for i := range set.Keys {
		secret.Wipe(set.Keys[i].D)
	}
}
