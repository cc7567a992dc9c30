package people

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"conclave/custodian/key"
)

// How it was made sure that a key is the person's whose it is said to be.
const (
	ComparedInPerson = "in-person"
	ComparedByVoice  = "by-voice"
	NotCompared      = "not-compared" // development only
)

// Attestation is somebody's word that they compared the fingerprints of a key with its holder. Who attests is who
// asked for the ceremony that brings the key, so that the signed proposal carries it.
type Attestation struct {
	Compared   string    `json:"compared"`
	By         string    `json:"by"` // person id
	At         time.Time `json:"at"`
	Invitation string    `json:"invitation,omitempty"` // by which the key came; "" for one that was brought directly
}

// CheckCompared checks how fingerprints were compared. Not at all is for demonstration data.
func CheckCompared(field, compared string, development bool) error {
	allowed := []string{ComparedInPerson, ComparedByVoice}
	if development {
		allowed = append(allowed, NotCompared)
	}
	return key.CheckOneOf(field, compared, allowed...)
}

// Live are the approval keys that may sign.
func (p *Person) Live() []Credential {
	return slices.DeleteFunc(slices.Clone(p.ApprovalKeys), func(c Credential) bool { return c.Revoked })
}

// CanSign reports whether the person has an approval key left. Without one they are present in name only.
func (p *Person) CanSign() bool {
	return slices.ContainsFunc(p.ApprovalKeys, func(c Credential) bool { return !c.Revoked })
}

// Credential finds an approval key, revoked or not; nil where the id is none of theirs.
func (p *Person) Credential(id string) *Credential {
	for i := range p.ApprovalKeys {
		if p.ApprovalKeys[i].ID == id {
			return &p.ApprovalKeys[i]
		}
	}
	return nil
}

// Revoke returns the person's approval keys with those that pick names revoked. The list is the caller's own.
func (p *Person) Revoke(pick func(Credential) bool, at time.Time, by, reason string) []Credential {
	out := slices.Clone(p.ApprovalKeys)
	for i := range out {
		if !out[i].Revoked && pick(out[i]) {
			out[i].Revoked, out[i].RevokedAt, out[i].RevokedBy, out[i].RevokedReason = true, &at, by, reason
		}
	}
	return out
}

// CheckKeysUnused refuses keys (thumbprints, "" for none) that are or were anybody's, be it to sign or to open
// shares, by whoever holds them now: one key of two people would be two voices of one hand.
func CheckKeysUnused(register []*Person, thumbprints map[string]string) error {
	for _, field := range slices.Sorted(maps.Keys(thumbprints)) {
		id := thumbprints[field]
		for _, p := range register {
			if id != "" && (p.ShareKeyID == id || p.BackupShareKeyID == id || p.Credential(id) != nil || slices.Contains(p.FormerShareKeys, id)) {
				return &key.FieldError{Field: field, Problem: fmt.Sprintf("the key is or was %s's", p.ID), Allowed: "a key that nobody has or had"}
			}
		}
	}
	return nil
}
