package oversight

import (
	"time"

	"conclave/custodian/key"
)

// MaxExceptionDays is the longest life of an accepted risk: a year, so that each is decided anew.
const MaxExceptionDays = 365

// Exception is a risk that a quorum accepted for a time: a rule, on what it does not count, what is done instead,
// and who answers for it. Row id: ID.
type Exception struct {
	ID           string     `json:"id"`
	Rule         string     `json:"rule"`               // id of a rule that lets exceptions be, e.g. "place.module_validated"
	Key          string     `json:"key,omitempty"`      // narrows it to a key,
	Keystore     string     `json:"keystore,omitempty"` // to a keystore, or both
	Control      string     `json:"control,omitempty"`  // "framework:id" of the control that it bears on
	Risk         string     `json:"risk"`
	Compensating string     `json:"compensating"` // measures instead
	Owner        string     `json:"owner"`
	GrantedAt    time.Time  `json:"granted_at"`
	ExpiresAt    time.Time  `json:"expires_at"`
	Ceremony     string     `json:"ceremony"`
	RevokedAt    *time.Time `json:"revoked_at,omitempty"`
	RevokedBy    string     `json:"revoked_by,omitempty"` // person id
}

// InForce reports whether it counts at an instant. Its end comes by date alone.
func (e *Exception) InForce(now time.Time) bool {
	return e.RevokedAt == nil && !now.Before(e.GrantedAt) && now.Before(e.ExpiresAt)
}

// Validate names the first field that is wrong (*key.FieldError).
func (e *Exception) Validate() error {
	checks := []error{
		key.CheckID("id", e.ID),
		key.CheckID("rule", e.Rule),
		key.CheckText("risk", e.Risk, maxText, false),
		key.CheckText("compensating", e.Compensating, maxText, false),
		key.CheckText("control", e.Control, 64, true),
		key.CheckID("owner", e.Owner),
	}
	for _, scope := range []struct{ field, id string }{{"key", e.Key}, {"keystore", e.Keystore}} {
		if scope.id != "" {
			checks = append(checks, key.CheckID(scope.field, scope.id))
		}
	}
	if e.Key == "" && e.Keystore == "" {
		checks = append(checks, &key.FieldError{Field: "keystore", Problem: "neither key nor keystore is named", Allowed: "one of them, or both"})
	}
	if !e.ExpiresAt.After(e.GrantedAt) || e.ExpiresAt.Sub(e.GrantedAt) > MaxExceptionDays*key.Day {
		checks = append(checks, &key.FieldError{Field: "expires_at", Problem: e.ExpiresAt.Format(time.RFC3339), Allowed: "within a year"})
	}
	return key.First(checks)
}
