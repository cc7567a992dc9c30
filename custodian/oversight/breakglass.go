package oversight

import (
	"fmt"
	"slices"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
)

// Bounds of emergency access. Four hours are the longest of the operations table.
const (
	MinBreakGlass     = 5 * time.Minute
	MaxBreakGlass     = 4 * time.Hour
	MaxBreakGlassKeys = 16
)

// BreakGlass is emergency access: what one person or application may do beyond its grants, with which keys, until
// when (45 CFR 164.312(a)(2)(ii)). It stands in for a grant and for nothing else: states, dates, keystores, reason
// codes and the record are as ever. Row id: ID.
type BreakGlass struct {
	ID         string             `json:"id"`
	Kind       identity.Kind      `json:"kind"` // human or application
	Principal  string             `json:"principal"`
	Keys       []string           `json:"keys"`
	Operations []access.Operation `json:"operations"`
	Context    map[string]string  `json:"context,omitempty"` // fields that the encryption context must have
	Reason     string             `json:"reason"`
	OpenedAt   time.Time          `json:"opened_at"`
	ExpiresAt  time.Time          `json:"expires_at"`
	Ceremony   string             `json:"ceremony"`
	ClosedAt   *time.Time         `json:"closed_at,omitempty"`
	ClosedBy   string             `json:"closed_by,omitempty"` // person id
}

// Open reports whether it counts at an instant. Its end comes by date alone.
func (b *BreakGlass) Open(now time.Time) bool {
	return b.ClosedAt == nil && !now.Before(b.OpenedAt) && now.Before(b.ExpiresAt)
}

// EndedAt is when it ended or will.
func (b *BreakGlass) EndedAt() time.Time {
	if b.ClosedAt != nil && b.ClosedAt.Before(b.ExpiresAt) {
		return *b.ClosedAt
	}
	return b.ExpiresAt
}

// Grant is the grant that it stands in for, on one of its keys.
func (b *BreakGlass) Grant(keyID string) *access.Grant {
	return &access.Grant{ID: b.ID, Application: b.Principal, Key: keyID, Operations: b.Operations, Context: b.Context,
		CreatedAt: b.OpenedAt, ExpiresAt: b.ExpiresAt, CreatedBy: b.Ceremony, RevokedAt: b.ClosedAt}
}

// Validate names the first field that is wrong (*key.FieldError).
func (b *BreakGlass) Validate() error {
	checks := []error{
		key.CheckID("id", b.ID),
		key.CheckOneOf("kind", b.Kind, identity.Human, identity.Application),
		key.CheckID("principal", b.Principal),
		key.CheckRange("keys", len(b.Keys), 1, MaxBreakGlassKeys, "keys"),
		key.CheckText("reason", b.Reason, maxText, false),
	}
	for i, id := range b.Keys {
		field := fmt.Sprintf("keys[%d]", i)
		checks = append(checks, key.CheckID(field, id))
		if slices.Contains(b.Keys[:i], id) {
			checks = append(checks, &key.FieldError{Field: field, Problem: "repeats", Allowed: "each key once"})
		}
	}
	if life := b.ExpiresAt.Sub(b.OpenedAt); life < MinBreakGlass || life > MaxBreakGlass {
		checks = append(checks, &key.FieldError{Field: "expires_at", Problem: life.String(), Allowed: "5 minutes to 4 hours"})
	}
	if len(b.Keys) > 0 {
		checks = append(checks, b.Grant(b.Keys[0]).Validate())
	}
	return key.First(checks)
}
