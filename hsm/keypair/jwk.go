package keypair

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"

	"conclave/hsm"
)

// JWK is a public JSON Web Key (RFC 7517) of one use. Which algorithm it is for stands in it where JOSE names exactly
// one that fits; an RSA key goes with three hashes, and the first is not the only one.
type JWK struct {
	Alg string `json:"alg,omitempty"`
	Crv string `json:"crv,omitempty"`
	E   string `json:"e,omitempty"`
	Kid string `json:"kid"` // thumbprint, RFC 7638
	Kty string `json:"kty"`
	N   string `json:"n,omitempty"`
	Use string `json:"use"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// JWK is the key in the form of RFC 7518 (EC, RSA) and RFC 8037 (Ed25519).
func (p *Public) JWK() JWK {
	j := JWK{Use: "sig"}
	switch p.spec {
	case hsm.ECDSAP256:
		j.Alg, j.Crv = "ES256", "P-256"
	case hsm.ECDSAP384:
		j.Alg, j.Crv = "ES384", "P-384"
	case hsm.Ed25519:
		j.Alg, j.Crv = "EdDSA", "Ed25519"
	case hsm.RSAOAEP3072, hsm.RSAOAEP4096:
		j.Alg, j.Use = "RSA-OAEP-256", "enc"
	}
	switch k := p.key.(type) {
	case *ecdsa.PublicKey:
		j.Kty = "EC"
		if point, err := k.Bytes(); err == nil { // 0x04, x, y; a parsed key always has its point
			half := (len(point) - 1) / 2
			j.X, j.Y = encode(point[1:1+half]), encode(point[1+half:])
		}
	case ed25519.PublicKey:
		j.Kty, j.X = "OKP", encode(k)
	case *rsa.PublicKey:
		var e [4]byte
		binary.BigEndian.PutUint32(e[:], uint32(k.E))
		j.Kty, j.N, j.E = "RSA", encode(k.N.Bytes()), encode(e[1:]) // 65537 takes three bytes
	}
	j.Kid = j.thumbprint()
	return j
}

// thumbprint hashes the required members in the order of their names (RFC 7638, section 3; RFC 8037, appendix A.3).
func (j JWK) thumbprint() string {
	text, err := json.Marshal(struct {
		Crv string `json:"crv,omitempty"`
		E   string `json:"e,omitempty"`
		Kty string `json:"kty"`
		N   string `json:"n,omitempty"`
		X   string `json:"x,omitempty"`
		Y   string `json:"y,omitempty"`
	}{j.Crv, j.E, j.Kty, j.N, j.X, j.Y})
	if err != nil { // strings always encode
		return ""
	}
	sum := sha256.Sum256(text)
	return encode(sum[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
