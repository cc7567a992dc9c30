package key

import (
	"slices"
	"time"
)

// Drift says what is no longer as it was decided: a key lives where policy would not place it today, or a keystore is
// less than its record says. Row kind "drift", id the key's, or KeystoreDriftID. It is what the watch found last; when
// all fits again the row goes.
type Drift struct {
	Key   string      `json:"key,omitempty"`
	Homes []DriftHome `json:"homes,omitempty"` // in order of keystore

	Keystore string   `json:"keystore,omitempty"`
	Claims   []string `json:"claims,omitempty"` // what does not hold, in words

	Since time.Time `json:"since"` // found first, as it is now
}

// DriftHome is a keystore in which versions of a key are, and what is against that.
type DriftHome struct {
	Keystore string   `json:"keystore"`
	Stranded bool     `json:"stranded"` // it would not be let stay; else it stays and gets no new version
	Codes    []string `json:"codes"`    // of the reasons
	Message  string   `json:"message"`  // the first of them
}

// KeystoreDriftID is the id of the row about a keystore: no key has it, since it has a slash.
func KeystoreDriftID(keystore string) string { return "keystore/" + keystore }

// RowID is the id of the row.
func (d *Drift) RowID() string {
	if d.Key == "" {
		return KeystoreDriftID(d.Keystore)
	}
	return d.Key
}

// Same reports whether the same is found again.
func (d *Drift) Same(o *Drift) bool {
	return d.Key == o.Key && d.Keystore == o.Keystore && slices.Equal(d.Claims, o.Claims) &&
		slices.EqualFunc(d.Homes, o.Homes, func(a, b DriftHome) bool {
			return a.Keystore == b.Keystore && a.Stranded == b.Stranded && slices.Equal(a.Codes, b.Codes)
		})
}

// Lapsed says in words that the record's certificate has ended by date, "" while it has not.
func (s *Keystore) Lapsed(now time.Time) string {
	if s.StatusAt(now) == s.CertificateStatus {
		return ""
	}
	return "certificate " + s.Certificate + " is past its sunset of " + s.CertificateUntil.Format(time.DateOnly)
}
