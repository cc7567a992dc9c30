package access

import (
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"conclave/custodian/key"
)

// Bounds of an encryption context, the same as in a ciphertext's.
const (
	MaxContextFields = 16
	MaxContextName   = 64  // bytes
	MaxContextValue  = 256 // bytes
)

// MaxGrantLife is the longest life of a grant (ours): PCI DSS 4.0.1, 7.2.5.1 wants access of applications
// reviewed periodically, so none lasts for ever.
const MaxGrantLife = 2 * 365 * 24 * time.Hour

// Statuses of an application.
const (
	StatusActive    = "active"
	StatusSuspended = "suspended"
)

// Operations returns all data-plane operations.
func Operations() []Operation {
	return []Operation{DataKey, DataKeyPair, Encrypt, Decrypt, Rewrap, Sign, VerifySignature, MAC, VerifyMAC}
}

// OperationsOf returns the operations that keys of a type do: each key has one use (SP 800-57 Part 1 Rev 5,
// section 5.2). None for types that this service does not make.
func OperationsOf(t key.Type) []Operation {
	return slices.DeleteFunc(Operations(), func(o Operation) bool { return !o.Fits(t) })
}

// Fits reports whether keys of a type do the operation. Direct encryption under a key-wrapping key is for policy to
// allow.
func (o Operation) Fits(t key.Type) bool {
	switch t {
	case key.DataEncryption, key.KeyWrapping:
		return o == DataKey || o == DataKeyPair || o == Encrypt || o == Decrypt || o == Rewrap
	case key.SymmetricAuth:
		return o == MAC || o == VerifyMAC
	case key.PrivateSignature:
		return o == Sign || o == VerifySignature
	case key.PrivateTransport:
		return o == Encrypt || o == Decrypt
	}
	return false
}

// BindsContext reports whether the operation binds an encryption context to its result; signatures and MACs are
// in standard forms that have no room for one.
func (o Operation) BindsContext() bool {
	return o != Sign && o != VerifySignature && o != MAC && o != VerifyMAC
}

// Active reports whether the application may call.
func (a *Application) Active() bool { return a.Status == StatusActive && a.SuspendedAt == nil }

// Validate checks the row and names the first field that is wrong (*key.FieldError).
func (a *Application) Validate() error {
	return key.First([]error{
		key.CheckID("id", a.ID),
		key.CheckText("name", a.Name, 128, false),
		key.CheckID("owner", a.Owner),
		key.CheckOneOf("environment", a.Environment, key.Production, key.Test),
		key.CheckOneOf("status", a.Status, StatusActive, StatusSuspended),
	})
}

// Validate checks the row and names the first field that is wrong (*key.FieldError).
func (g *Grant) Validate() error {
	checks := []error{
		key.CheckID("id", g.ID),
		key.CheckID("application", g.Application),
		key.CheckID("key", g.Key),
	}
	if err := key.CheckRange("operations", len(g.Operations), 1, len(Operations()), "operations"); err != nil {
		return key.First(append(checks, err))
	}
	for i, op := range g.Operations {
		field := fmt.Sprintf("operations[%d]", i)
		checks = append(checks, key.CheckOneOf(field, op, Operations()...))
		if slices.Contains(g.Operations[:i], op) {
			checks = append(checks, &key.FieldError{Field: field, Problem: fmt.Sprintf("%q repeats", op), Allowed: "each operation once"})
		}
	}
	checks = append(checks, checkContext(g.Context), checkLife(g.CreatedAt, g.ExpiresAt, MaxGrantLife))
	return key.First(checks)
}

// checkContext checks the fields a grant demands, in a fixed order.
func checkContext(context map[string]string) error {
	if err := key.CheckRange("context", len(context), 0, MaxContextFields, "fields"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(context)) {
		value := context[name]
		if name == "" || len(name) > MaxContextName || !utf8.ValidString(name) {
			return &key.FieldError{Field: "context", Problem: fmt.Sprintf("name %.64q", name),
				Allowed: fmt.Sprintf("names of 1 to %d bytes of UTF-8", MaxContextName)}
		}
		if len(value) > MaxContextValue || !utf8.ValidString(value) {
			return &key.FieldError{Field: fmt.Sprintf("context[%q]", name), Problem: fmt.Sprintf("value of %d bytes", len(value)),
				Allowed: fmt.Sprintf("values of at most %d bytes of UTF-8", MaxContextValue)}
		}
	}
	return nil
}

// checkLife checks that something ends, after it began and not too late.
func checkLife(from, until time.Time, longest time.Duration) error {
	if from.IsZero() || !until.After(from) || until.Sub(from) > longest {
		return &key.FieldError{Field: "expires_at", Problem: fmt.Sprintf("%s after %s", until.Sub(from), from.Format(time.RFC3339)),
			Allowed: fmt.Sprintf("later than created_at, by at most %d days", longest/key.Day)}
	}
	return nil
}

// recorded is the form in which times are recorded: UTC, whole microseconds as in the ledger.
func recorded(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Microsecond) }
