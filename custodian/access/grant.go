package access

import (
	"fmt"
	"slices"
	"time"
)

// Stable codes of grants that do not cover a call.
const (
	CodeGrantKey       = "grant-other-key"
	CodeGrantOperation = "grant-other-operation"
	CodeGrantRevoked   = "grant-revoked"
	CodeGrantNotYet    = "grant-not-yet"
	CodeGrantExpired   = "grant-expired"
	CodeGrantContext   = "grant-context"
)

// GrantError says why a grant does not cover a call. Callers decide by Code.
type GrantError struct {
	Code   string
	Grant  string
	Detail string
}

func (e *GrantError) Error() string {
	return fmt.Sprintf("grant %s does not cover this (%s): %s", e.Grant, e.Code, e.Detail)
}

// Covers reports whether the grant lets its application do op with a key now, under an encryption context
// that carries every field the grant demands, with equal value. A refusal is a *GrantError. That the caller
// is the grant's application is the caller's to check: grants are looked up by application.
func (g *Grant) Covers(op Operation, keyID string, context map[string]string, now time.Time) error {
	switch {
	case g.Key != keyID:
		return &GrantError{CodeGrantKey, g.ID, "it is for another key"}
	case !slices.Contains(g.Operations, op):
		return &GrantError{CodeGrantOperation, g.ID, "it does not allow this operation"}
	case g.RevokedAt != nil:
		return &GrantError{CodeGrantRevoked, g.ID, "it is revoked"}
	case now.Before(g.CreatedAt):
		return &GrantError{CodeGrantNotYet, g.ID, "it is dated in the future"}
	case !now.Before(g.ExpiresAt):
		return &GrantError{CodeGrantExpired, g.ID, "it is expired"}
	}
	for name, want := range g.Context {
		if got, present := context[name]; !present || got != want {
			return &GrantError{CodeGrantContext, g.ID, fmt.Sprintf("the encryption context needs field %q as granted", name)}
		}
	}
	return nil
}
