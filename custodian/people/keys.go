package people

import (
	"fmt"

	"conclave/custodian/jwk"
	"conclave/custodian/key"
)

// checkCredential checks one approval key of a record.
func checkCredential(field string, c *Credential) error {
	p, err := jwk.Parse(c.Key)
	switch {
	case err != nil:
		return &key.FieldError{Field: field + ".key", Problem: err.Error(), Allowed: "a public JWK: EC P-256 or OKP Ed25519"}
	case p.Use == "enc" || p.Alg == jwk.ECDHA256K:
		return &key.FieldError{Field: field + ".key", Problem: "an encryption key", Allowed: `use "sig" or none, and a signature algorithm`}
	case c.Alg != p.SignatureAlg():
		return &key.FieldError{Field: field + ".alg", Problem: fmt.Sprintf("%.16q does not fit the key", c.Alg), Allowed: p.SignatureAlg()}
	case c.ID != p.Thumbprint():
		return &key.FieldError{Field: field + ".id", Problem: "not the key's thumbprint", Allowed: p.Thumbprint()}
	}
	return nil
}

// checkShareKey checks the key that opens sealed shares.
func checkShareKey(p *Person) error {
	if len(p.ShareKey) == 0 {
		return &key.FieldError{Field: "share_key", Problem: "missing", Allowed: "a public JWK on P-256: custodians receive sealed shares"}
	}
	k, err := jwk.Parse(p.ShareKey)
	switch {
	case err != nil:
		return &key.FieldError{Field: "share_key", Problem: err.Error(), Allowed: "a public JWK on P-256"}
	case k.Crv != "P-256" || k.Use == "sig" || k.Alg == jwk.ES256:
		return &key.FieldError{Field: "share_key", Problem: "not an encryption key on P-256", Allowed: `kty "EC", crv "P-256", use "enc" or none, no signature algorithm`}
	case p.ShareKeyID != k.Thumbprint():
		return &key.FieldError{Field: "share_key_id", Problem: "not the key's thumbprint", Allowed: k.Thumbprint()}
	}
	for i := range p.ApprovalKeys {
		if p.ApprovalKeys[i].ID == k.Thumbprint() {
			return &key.FieldError{Field: "share_key", Problem: "also an approval key", Allowed: "a key of its own: one key, one use (SP 800-57 Part 1, 5.2)"}
		}
	}
	return nil
}
