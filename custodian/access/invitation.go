package access

import (
	"crypto/subtle"

	"conclave/hsm/secret"
)

// InvitationPrefix marks the secrets of invitations.
const InvitationPrefix = "cvi_"

// NewInvitation draws an invitation's id and secret. The cleartext, "cvi_<id>.<secret>", exists in the returned value
// only; hash, its SHA-256, is what is kept.
func NewInvitation() (id string, hash []byte, once *secret.Bytes) { return newBearer(InvitationPrefix) }

// ParseInvitation reads an invitation's secret of exactly the form NewInvitation gives; anything else is
// ErrTokenMalformed. The string is never part of an error.
func ParseInvitation(s string) (Presented, error) { return parseBearer(InvitationPrefix, s) }

// Matches compares what was presented with a kept hash, in constant time.
func (p Presented) Matches(hash []byte) bool { return subtle.ConstantTimeCompare(hash, p.hash[:]) == 1 }
