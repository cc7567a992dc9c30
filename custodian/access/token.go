package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/hsm/secret"
)

// TokenPrefix marks tokens, so that scanners find leaked ones.
const TokenPrefix = "cvt_"

const (
	idBytes     = 10 // 80 random bits, 16 characters of base32
	idLen       = 16
	secretBytes = 32
	secretLen   = 43 // base64url without padding
	tokenLen    = len(TokenPrefix) + idLen + 1 + secretLen
)

// MaxTokenLife is the longest life of a token (ours): a year, so that every credential of an application is
// renewed (PCI DSS 4.0.1, 8.6.3 leaves the period to a risk analysis).
const MaxTokenLife = 365 * 24 * time.Hour

// Errors of tokens. Towards a caller they are one answer; the record tells them apart.
var (
	ErrTokenMalformed = errors.New("token is malformed")
	ErrTokenSecret    = errors.New("token secret does not match")
	ErrTokenRevoked   = errors.New("token is revoked")
	ErrTokenExpired   = errors.New("token is expired")
	ErrTokenNotYet    = errors.New("token is not valid yet")
)

// Presented is a token as somebody presents it. The secret itself is not kept.
type Presented struct {
	ID   string
	hash [sha256.Size]byte
}

// NewToken makes a token for a subject ("application" or "auditor"). The cleartext, "cvt_<id>.<secret>",
// exists in the returned value only: the caller hands it over once and wipes it.
func NewToken(kind, subject, createdBy string, now time.Time, life time.Duration) (Token, *secret.Bytes, error) {
	t := Token{Kind: kind, Subject: subject, CreatedBy: createdBy, CreatedAt: recorded(now), ExpiresAt: recorded(now.Add(life))}
	id, hash, once := newBearer(TokenPrefix)
	t.ID, t.SecretHash = id, hash
	if err := t.Validate(); err != nil {
		once.Wipe()
		return Token{}, nil, fmt.Errorf("making token: %w", err)
	}
	return t, once, nil
}

// newBearer draws an id and a secret; cleartext is "<prefix><id>.<secret>".
func newBearer(prefix string) (id string, hash []byte, once *secret.Bytes) {
	var raw [idBytes]byte
	_, _ = rand.Read(raw[:]) // since Go 1.24 it does not return an error: it ends the process if the system's source fails
	id = strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
	cleartext := make([]byte, 0, tokenLen)
	cleartext = append(cleartext, prefix+id+"."...)
	part := make([]byte, secretBytes)
	defer secret.Wipe(part)
	_, _ = rand.Read(part)
	sum := sha256.Sum256(part)
	return id, sum[:], secret.New(base64.RawURLEncoding.AppendEncode(cleartext, part))
}

// ParseToken reads a presented token of exactly the form NewToken gives; anything else is ErrTokenMalformed.
// The string is never part of an error.
func ParseToken(s string) (Presented, error) { return parseBearer(TokenPrefix, s) }

// parseBearer reads what newBearer gave. All prefixes are of one length.
func parseBearer(prefix, s string) (Presented, error) {
	if len(s) != tokenLen || !strings.HasPrefix(s, prefix) || s[len(TokenPrefix)+idLen] != '.' {
		return Presented{}, ErrTokenMalformed
	}
	p := Presented{ID: s[len(TokenPrefix) : len(TokenPrefix)+idLen]}
	if !isTokenID(p.ID) {
		return Presented{}, ErrTokenMalformed
	}
	var text [secretLen]byte
	var part [secretBytes]byte
	defer secret.Wipe(text[:])
	defer secret.Wipe(part[:])
	copy(text[:], s[len(TokenPrefix)+idLen+1:])
	n, err := base64.RawURLEncoding.Strict().Decode(part[:], text[:])
	if err != nil || n != secretBytes { // n differs where line breaks, which base64 skips, stand in the text
		return Presented{}, ErrTokenMalformed
	}
	p.hash = sha256.Sum256(part[:])
	return p, nil
}

// isTokenID accepts lower-case base32.
func isTokenID(id string) bool {
	if len(id) != idLen {
		return false
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// Verify checks a presented token against its row. The secret is compared first and in constant time, so
// that who only knows an id learns nothing of the token's state.
func Verify(t *Token, p Presented, now time.Time) error {
	same := subtle.ConstantTimeCompare(t.SecretHash, p.hash[:]) == 1
	switch {
	case !same || t.ID != p.ID:
		return ErrTokenSecret
	case t.RevokedAt != nil:
		return ErrTokenRevoked
	case now.Before(t.CreatedAt):
		return ErrTokenNotYet
	case !now.Before(t.ExpiresAt):
		return ErrTokenExpired
	}
	return nil
}

// Validate checks the row and names the first field that is wrong (*key.FieldError).
func (t *Token) Validate() error {
	checks := []error{
		key.CheckOneOf("kind", t.Kind, string(identity.Application), string(identity.Auditor)),
		key.CheckID("subject", t.Subject),
		key.CheckText("created_by", t.CreatedBy, 128, false),
		checkLife(t.CreatedAt, t.ExpiresAt, MaxTokenLife),
	}
	if !isTokenID(t.ID) {
		checks = append(checks, &key.FieldError{Field: "id", Problem: "not a token id", Allowed: "16 of a-z 2-7"})
	}
	if len(t.SecretHash) != sha256.Size {
		checks = append(checks, &key.FieldError{Field: "secret_hash", Problem: fmt.Sprintf("%d bytes", len(t.SecretHash)), Allowed: "32 bytes, SHA-256"})
	}
	return key.First(checks)
}
