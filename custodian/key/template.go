package key

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/hsm"
)

// Template is what a quorum approved beforehand for keys of lower classes: a key that stays within its bounds is
// made without another decision, and cites the ceremony that approved the template. Row kind "template", id ID.
type Template struct {
	ID             string         `json:"id"`
	Label          string         `json:"label"`
	Type           Type           `json:"type"`
	Algorithms     []hsm.Spec     `json:"algorithms,omitempty"` // that a key may be of; none: all of its type
	Classification Classification `json:"classification"`
	MaxImpact      Impact         `json:"max_impact"`
	Frameworks     []string       `json:"frameworks,omitempty"` // a key may fall under these and no others
	Jurisdictions  []string       `json:"jurisdictions"`
	Environment    string         `json:"environment"`
	Keystores      []string       `json:"keystores"`
	Owners         []string       `json:"owners"`      // who may own such a key
	NamePrefix     string         `json:"name_prefix"` // every key's id begins with it
	MaxOUPDays     int            `json:"max_oup_days"`
	MaxRUPDays     int            `json:"max_rup_days"`
	MaxRotateDays  int            `json:"max_rotate_days"`
	MaxKeys        int            `json:"max_keys"`
	Made           int            `json:"made"` // keys made so far
	Status         string         `json:"status"`
	ApprovedBy     string         `json:"approved_by"` // ceremony that fixed the bounds in force
	GovRevision    uint64         `json:"gov_revision"`
	At             time.Time      `json:"at"` // of the last governed change
}

// Statuses of a template and of an asset.
const (
	StatusActive  = "active"
	StatusRetired = "retired"
)

// maxListed bounds the lists of a template.
const maxListed = 32

// Validate checks the record and names the first field that is wrong (*FieldError).
func (t *Template) Validate() error {
	checks := []error{
		CheckID("id", t.ID), CheckText("label", t.Label, 128, false),
		CheckOneOf("type", t.Type, Made()...),
		CheckOneOf("classification", t.Classification, Classifications()...),
		CheckOneOf("max_impact", t.MaxImpact, Low, Moderate, High), checkFrameworks(t.Frameworks),
		CheckOneOf("environment", t.Environment, Production, Test),
		CheckID("name_prefix", t.NamePrefix),
		CheckRange("max_oup_days", t.MaxOUPDays, 1, t.Type.MaxOUPDays(), "days for this key type (SP 800-57 Part 1, Table 1)"),
		CheckRange("max_rup_days", t.MaxRUPDays, 1, t.Type.MaxRUPDays(t.MaxOUPDays), "days (SP 800-57 Part 1, Table 1)"),
		CheckRange("max_rotate_days", t.MaxRotateDays, 1, t.MaxOUPDays, "days, within the originator usage period"),
		CheckRange("max_keys", t.MaxKeys, 1, 10000, "keys"),
		CheckRange("jurisdictions", len(t.Jurisdictions), 1, maxListed, "jurisdictions"),
		CheckRange("keystores", len(t.Keystores), 1, maxListed, "keystores"),
		CheckRange("owners", len(t.Owners), 1, maxListed, "people"),
	}
	for i, s := range t.Algorithms {
		checks = append(checks, CheckOneOf(fmt.Sprintf("algorithms[%d]", i), s, t.Type.Specs()...))
	}
	for i, j := range t.Jurisdictions {
		checks = append(checks, checkJurisdiction(fmt.Sprintf("jurisdictions[%d]", i), j))
	}
	return First(checks)
}

// Against lists in words where a key leaves the bounds; nothing when it keeps to them.
func (t *Template) Against(k *Key) []string {
	var out []string
	check := func(holds bool, format string, args ...any) {
		if !holds {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	check(t.Status == StatusActive, "template %s is %s", t.ID, t.Status)
	check(t.Made < t.MaxKeys, "all %d keys of template %s are made", t.MaxKeys, t.ID)
	check(k.Type == t.Type, "its type is %s, the template's %s", k.Type, t.Type)
	check(len(t.Algorithms) == 0 || slices.Contains(t.Algorithms, k.Specification()), "its algorithm is %s, which the template does not name", k.Specification())
	check(k.Classification == t.Classification, "its class is %s, the template's %s", k.Classification, t.Classification)
	check(impactRank(k.Impact) <= impactRank(t.MaxImpact), "its impact is %s, the template's most is %s", k.Impact, t.MaxImpact)
	check(k.Environment == t.Environment, "its environment is %s, the template's %s", k.Environment, t.Environment)
	check(slices.Contains(t.Jurisdictions, k.Jurisdiction), "its jurisdiction is %s, the template's are %s", k.Jurisdiction, strings.Join(t.Jurisdictions, ", "))
	check(slices.Contains(t.Keystores, k.Keystore), "its keystore is %s, the template's are %s", k.Keystore, strings.Join(t.Keystores, ", "))
	check(slices.Contains(t.Owners, k.Owner), "its owner is %s, the template's are %s", k.Owner, strings.Join(t.Owners, ", "))
	check(strings.HasPrefix(k.ID, t.NamePrefix), "its id does not begin with %s", t.NamePrefix)
	check(k.OUPDays <= t.MaxOUPDays, "it protects %d days, the template's most are %d", k.OUPDays, t.MaxOUPDays)
	check(k.RUPDays <= t.MaxRUPDays, "it processes %d days, the template's most are %d", k.RUPDays, t.MaxRUPDays)
	check(k.RotateDays <= t.MaxRotateDays, "it is rotated after %d days, the template's most are %d", k.RotateDays, t.MaxRotateDays)
	for _, f := range k.Frameworks {
		check(slices.Contains(t.Frameworks, f), "it falls under %s, which the template does not name", f)
	}
	return out
}

func impactRank(i Impact) int { return slices.Index([]Impact{Low, Moderate, High}, i) }

// Raises reports whether a key governed as next is is governed at least as strictly as now: its class is the same
// or of a higher step, its impact no lower, no framework is left, and no custody model comes in. The three protected
// classes are one step: from one of them to another is no raise.
func (k *Key) Raises(next *Key) bool {
	step := func(c Classification) int { return min(slices.Index(Classifications(), c), 3) }
	class := next.Classification == k.Classification || step(next.Classification) > step(k.Classification)
	kept := !slices.ContainsFunc(k.Frameworks, func(f string) bool { return !slices.Contains(next.Frameworks, f) })
	return class && impactRank(next.Impact) >= impactRank(k.Impact) && kept && Narrows(k.Custody, next.Custody)
}

// Narrows reports whether a demand for custody models lets no more be than the one before. No demand lets all be.
func Narrows(before, after []hsm.CustodyModel) bool {
	if len(before) == 0 {
		return true
	}
	return len(after) > 0 && !slices.ContainsFunc(after, func(m hsm.CustodyModel) bool { return !slices.Contains(before, m) })
}
