package oversight

import (
	"fmt"
	"time"

	"conclave/custodian/key"
)

// Class of records whose retention is governed.
type Class string

const (
	// ClassLedger is the ledger: control-plane and data-plane entries with what proves them.
	ClassLedger Class = "ledger"
	// ClassRecords are documents: ceremonies that have ended, reviews, findings, holds lifted, exceptions, acknowledgements.
	ClassRecords Class = "records"
)

// Classes returns all classes.
func Classes() []Class { return []Class{ClassLedger, ClassRecords} }

// Least periods, in days.
const (
	// LeastDays: PCI DSS 4.0.1, 10.5.1 keeps audit logs for at least 12 months.
	LeastDays = 366
	// LeastImmediate: of these the newest three months are at hand at once (10.5.1).
	LeastImmediate = 92
	// LeastHIPAA: 45 CFR 164.316(b)(2)(i) keeps documentation for six years.
	LeastHIPAA = 2192
	// MostDays bounds what anybody asks for (ours): a hundred years.
	MostDays = 36525
)

// Retention is how long records of a class are kept. Row id: the class.
type Retention struct {
	Class         Class     `json:"class"`
	Days          int       `json:"days"`
	ImmediateDays int       `json:"immediate_days"` // of these, readable without a restore
	ChangedAt     time.Time `json:"changed_at"`
	ChangedBy     string    `json:"changed_by"` // ceremony id
}

// DefaultRetention is what holds where no ceremony has changed it: six years, so that one record serves PCI DSS
// and HIPAA, all of it at hand (the catalogue's default).
func DefaultRetention(c Class) Retention {
	return Retention{Class: c, Days: LeastHIPAA, ImmediateDays: LeastHIPAA}
}

// Least is the shortest period that may be asked for; hipaa where any key is for ePHI or falls under HIPAA.
func Least(hipaa bool) int {
	if hipaa {
		return LeastHIPAA
	}
	return LeastDays
}

// Effective is the period that holds now: the governed one, never under the least. What was governed before a key
// for ePHI was made does not lower what that key demands.
func (r Retention) Effective(hipaa bool) Retention {
	r.Days = max(r.Days, Least(hipaa))
	r.ImmediateDays = max(r.ImmediateDays, LeastImmediate)
	return r
}

// Validate names the first field that is wrong (*key.FieldError).
func (r *Retention) Validate(hipaa bool) error {
	source := "PCI DSS 4.0.1, 10.5.1"
	if hipaa {
		source = "45 CFR 164.316(b)(2)(i)"
	}
	return key.First([]error{
		key.CheckOneOf("class", r.Class, Classes()...),
		key.CheckRange("days", r.Days, Least(hipaa), MostDays, fmt.Sprintf("days (least by %s)", source)),
		key.CheckRange("immediate_days", r.ImmediateDays, LeastImmediate, r.Days, "days, at most all of them (least by PCI DSS 4.0.1, 10.5.1)"),
	})
}

// HIPAA reports whether a key puts the record under the six years of 164.316.
func HIPAA(k *key.Key) bool {
	if k.Classification == key.EPHI {
		return true
	}
	for _, f := range k.Frameworks {
		if f == "hipaa" {
			return true
		}
	}
	return false
}
