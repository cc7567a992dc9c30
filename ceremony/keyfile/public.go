package keyfile

import (
	"encoding/json"
	"fmt"
	"time"

	"conclave/custodian/jwk"
	"conclave/custodian/people"
)

// Public is what a custodian hands in for the register: nothing in it is secret. The fingerprints are
// compared in person or by voice before the keys are believed.
type Public struct {
	ID                  string  `json:"id" yaml:"id"`
	ApprovalKey         jwk.Key `json:"approval_key" yaml:"approval_key"`
	ApprovalFingerprint string  `json:"approval_fingerprint" yaml:"approval_fingerprint"`
	ShareKey            jwk.Key `json:"share_key" yaml:"share_key"`
	ShareFingerprint    string  `json:"share_fingerprint" yaml:"share_fingerprint"`
	Development         bool    `json:"development,omitempty" yaml:"development,omitempty"`
}

// Public returns the public part.
func (s *Signer) Public() Public {
	share := s.opening.Public()
	return Public{
		ID:          s.id,
		ApprovalKey: s.approval, ApprovalFingerprint: s.approval.Fingerprint(),
		ShareKey: share, ShareFingerprint: share.Fingerprint(),
		Development: s.development,
	}
}

// Check tells whether the keys are acceptable and the fingerprints theirs; the error names the field.
func (p Public) Check() error {
	if err := checkID(p.ID); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	if _, err := p.ApprovalKey.Public(); err != nil {
		return fmt.Errorf("approval_key: %w", err)
	}
	if p.ApprovalKey.Alg != jwk.ES256 && p.ApprovalKey.Alg != jwk.EdDSA {
		return fmt.Errorf("approval_key: %w: %q, allowed are %s, %s", ErrAlgorithm, p.ApprovalKey.Alg, jwk.ES256, jwk.EdDSA)
	}
	if p.ApprovalKey.Use == "enc" {
		return fmt.Errorf("approval_key: %w: use is enc, wanted is sig", jwk.ErrKey)
	}
	if _, err := p.ShareKey.ECDSA(); err != nil {
		return fmt.Errorf("share_key: %w", err)
	}
	if p.ShareKey.Use == "sig" || p.ShareKey.Alg != jwk.ECDHA256K {
		return fmt.Errorf("share_key: %w: alg %q, use %q: wanted are %s, enc", jwk.ErrKey, p.ShareKey.Alg, p.ShareKey.Use, jwk.ECDHA256K)
	}
	if p.ApprovalKey.Thumbprint() == p.ShareKey.Thumbprint() {
		return fmt.Errorf("share_key: %w: one key must not serve two purposes (NIST SP 800-57 part 1, section 5.2)", jwk.ErrKey)
	}
	if p.ApprovalFingerprint != p.ApprovalKey.Fingerprint() {
		return fmt.Errorf("approval_fingerprint: %w: does not belong to approval_key", jwk.ErrKey)
	}
	if p.ShareFingerprint != p.ShareKey.Fingerprint() {
		return fmt.Errorf("share_fingerprint: %w: does not belong to share_key", jwk.ErrKey)
	}
	return nil
}

// Credential is the approval key as the register keeps it.
func (p Public) Credential(addedAt time.Time) (people.Credential, error) {
	raw, err := p.ApprovalKey.JSON()
	if err != nil {
		return people.Credential{}, err
	}
	return people.Credential{
		ID: p.ApprovalKey.Thumbprint(), Alg: p.ApprovalKey.Alg, Key: json.RawMessage(raw), AddedAt: addedAt,
	}, nil
}
