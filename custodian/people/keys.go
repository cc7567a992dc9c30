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
	if err := checkOpeningKey(p, "share_key", p.ShareKey, p.ShareKeyID); err != nil {
		return err
	}
	switch {
	case len(p.BackupShareKey) == 0 && p.BackupShareKeyID == "":
		return nil
	case p.BackupShareKeyID == p.ShareKeyID:
		return &key.FieldError{Field: "backup_share_key", Problem: "the share key itself", Allowed: "another key, kept elsewhere"}
	}
	return checkOpeningKey(p, "backup_share_key", p.BackupShareKey, p.BackupShareKeyID)
}

// checkOpeningKey checks one key that shares are sealed to.
func checkOpeningKey(p *Person, field string, raw []byte, id string) error {
	k, err := jwk.Parse(raw)
	switch {
	case err != nil:
		return &key.FieldError{Field: field, Problem: err.Error(), Allowed: "a public JWK on P-256"}
	case k.Crv != "P-256" || k.Use == "sig" || k.Alg == jwk.ES256:
		return &key.FieldError{Field: field, Problem: "not an encryption key on P-256", Allowed: `kty "EC", crv "P-256", use "enc" or none, no signature algorithm`}
	case id != k.Thumbprint():
		return &key.FieldError{Field: field + "_id", Problem: "not the key's thumbprint", Allowed: k.Thumbprint()}
	}
	for i := range p.ApprovalKeys {
		if p.ApprovalKeys[i].ID == k.Thumbprint() {
			return &key.FieldError{Field: field, Problem: "also an approval key", Allowed: "a key of its own: one key, one use (SP 800-57 Part 1, 5.2)"}
		}
	}
	return nil
}

// ShareKeyIDs are the keys that shares of this person are sealed to: the daily one, and the backup where there is one.
func (p *Person) ShareKeyIDs() []string {
	ids := []string{p.ShareKeyID}
	if p.BackupShareKeyID != "" {
		ids = append(ids, p.BackupShareKeyID)
	}
	return ids
}
