package key

import (
	"slices"
	"time"

	"conclave/hsm"
)

// Origins of key material: where it was made, and how it came in.
const (
	OriginGenerated  = "generated"           // inside its keystore
	OriginComponents = "imported-components" // elsewhere; components under split knowledge
	OriginWrapped    = "imported-wrapped"    // elsewhere; wrapped for a one-time pair
)

// Origins returns the three.
func Origins() []string { return []string{OriginGenerated, OriginComponents, OriginWrapped} }

// ElsewhereRNG is what is on record as the generator of imported material: nobody here saw it.
const ElsewhereRNG = "made elsewhere"

// Component is one component of an imported key: who entered it, and its own check value.
type Component struct {
	Custodian  string `json:"custodian"`
	CheckValue string `json:"check_value"`
}

// Import is what is on record about material that was made elsewhere.
type Import struct {
	Form       hsm.ImportForm `json:"form"`
	By         string         `json:"by"`                   // who asked for it
	Ceremony   string         `json:"ceremony"`             // that brought it in
	Inside     bool           `json:"inside"`               // see hsm.ImportCapability
	Components []Component    `json:"components,omitempty"` // of form components
	// WrappingKey is the one-time pair that it was wrapped for, and TransportBits that pair's strength.
	WrappingKey   string `json:"wrapping_key,omitempty"`
	TransportBits int    `json:"transport_bits,omitempty"`
	// ConfirmedBy a second person, who compared the check value; until then the version is not activated.
	ConfirmedBy string     `json:"confirmed_by,omitempty"`
	ConfirmedAt *time.Time `json:"confirmed_at,omitempty"`
	ConfirmedIn string     `json:"confirmed_in,omitempty"` // ceremony
}

// Origin is the word for how it came in.
func (i *Import) Origin() string {
	switch {
	case i == nil:
		return OriginGenerated
	case i.Form == hsm.ImportComponents:
		return OriginComponents
	}
	return OriginWrapped
}

// strength is what an imported key of a specification is worth: no more than what it travelled under (SP 800-57 Part 1
// Rev 5, section 5.6.2). Components are as long as the key and as secret as it is.
func (i *Import) strength(bits int) int {
	if i != nil && i.TransportBits > 0 {
		return min(bits, i.TransportBits)
	}
	return bits
}

func (i *Import) clone() *Import {
	if i == nil {
		return nil
	}
	c := *i
	c.Components, c.ConfirmedAt = slices.Clone(i.Components), clone(i.ConfirmedAt)
	return &c
}

// Origin of the material.
func (v *Version) Origin() string { return v.Import.Origin() }

// Unconfirmed reports whether a second person has yet to compare the check value of imported material.
func (v *Version) Unconfirmed() bool { return v.Import != nil && v.Import.ConfirmedAt == nil }

// Confirmed returns the version with the confirmation on record; the receiver is never changed.
func (v *Version) Confirmed(by, ceremony string, at time.Time) *Version {
	next := v.Clone()
	at = normal(at)
	next.Import.ConfirmedBy, next.Import.ConfirmedIn, next.Import.ConfirmedAt = by, ceremony, &at
	return next
}

// States of a wrapping key.
const (
	WrappingOpen      = "open"
	WrappingUsed      = "used"
	WrappingExpired   = "expired"
	WrappingWithdrawn = "withdrawn"
)

// WrappingKey is a one-time pair that lives in a keystore, for one key to be wrapped for. Row kind "wrapping_key",
// id ID.
type WrappingKey struct {
	ID           string       `json:"id"`
	Keystore     string       `json:"keystore"`
	Spec         hsm.Spec     `json:"spec"`
	Material     hsm.Material `json:"material"` // zero once it is destroyed
	Public       []byte       `json:"public"`   // SubjectPublicKeyInfo
	CheckValue   string       `json:"check_value"`
	StrengthBits int          `json:"strength_bits"`
	Status       string       `json:"status"`
	CreatedAt    time.Time    `json:"created_at"`
	CreatedBy    string       `json:"created_by"` // person
	Ceremony     string       `json:"ceremony"`
	ExpiresAt    time.Time    `json:"expires_at"`
	UsedBy       string       `json:"used_by,omitempty"` // ceremony of the import
	EndedAt      *time.Time   `json:"ended_at,omitempty"`
	DestroyedAt  *time.Time   `json:"destroyed_at,omitempty"` // the private half
	Development  bool         `json:"development,omitempty"`
}

// Usable reports whether a key can be imported under it now.
func (w *WrappingKey) Usable(now time.Time) bool {
	return w.Status == WrappingOpen && now.Before(w.ExpiresAt)
}

// End returns the pair as it stands after its one use, or without any. Where the keystore holds nothing but the blob,
// forgetting it is the destruction; otherwise Destroyed follows.
func (w *WrappingKey) End(status, ceremony string, at time.Time, stored bool) *WrappingKey {
	next := *w
	at = normal(at)
	next.Status, next.UsedBy, next.EndedAt = status, ceremony, &at
	if !stored {
		return next.Destroyed(at)
	}
	return &next
}

// Destroyed returns the pair without its private half.
func (w *WrappingKey) Destroyed(at time.Time) *WrappingKey {
	next := *w
	at = normal(at)
	next.Material, next.DestroyedAt = hsm.Material{}, &at
	return &next
}
