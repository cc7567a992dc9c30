package key

import (
	"fmt"
	"slices"
	"time"

	"conclave/hsm"
)

// Asset is data that a key protects, as the key's owner answers for it: ciphertexts are unseen by the service.
// Row kind "asset", id ID.
type Asset struct {
	ID       string `json:"id"`
	Label    string `json:"label"`    // what data
	Location string `json:"location"` // where it is kept
	Key      string `json:"key"`
	Owner    string `json:"owner"` // person who answers for the counts
	// Custody models that this data lets its key be under, e.g. hyok alone; none: it asks for nothing.
	Custody []hsm.CustodyModel `json:"custody,omitempty"`
	// None declares that nothing is under the versions counted here, with a count of zero each.
	None        bool         `json:"none,omitempty"`
	Counts      []AssetCount `json:"counts"` // by version, ascending
	Status      string       `json:"status"`
	GovRevision uint64       `json:"gov_revision"`
	At          time.Time    `json:"at"`      // of the last statement about it
	Signed      string       `json:"signed"`  // ceremony of that statement
	Deleted     bool         `json:"deleted"` // retired because the data is gone
}

// AssetCount is how many records stand under one version of the key.
type AssetCount struct {
	Version   uint32 `json:"version"`
	Records   int64  `json:"records"`
	Rewrapped int64  `json:"rewrapped"` // taken from it so far, over all statements
}

// MaxRecords bounds a count: JSON's whole numbers.
const MaxRecords = 1 << 53

// maxCounts bounds the versions that one asset lists.
const maxCounts = 64

// Validate checks the record and names the first field that is wrong (*FieldError).
func (a *Asset) Validate() error {
	checks := []error{CheckID("id", a.ID), CheckText("label", a.Label, 200, false), CheckText("location", a.Location, 200, false),
		CheckID("key", a.Key), CheckID("owner", a.Owner), checkCustody("custody", a.Custody), CheckRange("counts", len(a.Counts), 1, maxCounts, "versions")}
	for i, c := range a.Counts {
		field := fmt.Sprintf("counts[%d]", i)
		switch {
		case c.Version == 0 || (i > 0 && c.Version <= a.Counts[i-1].Version):
			return &FieldError{field + ".version", fmt.Sprintf("%d", c.Version), "versions of the key, each once, ascending"}
		case c.Records < 0 || c.Records > MaxRecords || (a.None && c.Records != 0):
			return &FieldError{field + ".records", fmt.Sprintf("%d", c.Records), "a whole number, not negative; 0 where none are declared"}
		}
	}
	return First(checks)
}

// Count is what is said of a version; false where nothing is.
func (a *Asset) Count(version uint32) (AssetCount, bool) {
	i := slices.IndexFunc(a.Counts, func(c AssetCount) bool { return c.Version == version })
	if i < 0 {
		return AssetCount{Version: version}, false
	}
	return a.Counts[i], true
}

// set puts a count in its place.
func (a *Asset) set(c AssetCount) {
	a.Counts = slices.DeleteFunc(slices.Clone(a.Counts), func(old AssetCount) bool { return old.Version == c.Version })
	i := slices.IndexFunc(a.Counts, func(old AssetCount) bool { return old.Version > c.Version })
	if i < 0 {
		i = len(a.Counts)
	}
	a.Counts = slices.Insert(a.Counts, i, c)
}

// Rewrap takes in a signed count: rewrapped records went from one version to another and left remain. The two
// must account for all that were there before.
func (a *Asset) Rewrap(from, to uint32, rewrapped, left int64) error {
	before, known := a.Count(from)
	switch {
	case !known:
		return &FieldError{"from", fmt.Sprintf("nothing of asset %s is under version %d", a.ID, from), "a version that the asset counts records under"}
	case from == to:
		return &FieldError{"to", "the same version", "another version than from"}
	case rewrapped < 0 || rewrapped > before.Records:
		return &FieldError{"rewrapped", fmt.Sprintf("%d of %d records", rewrapped, before.Records), fmt.Sprintf("0 to %d", before.Records)}
	case left != before.Records-rewrapped:
		return &FieldError{"left", fmt.Sprintf("%d", left), fmt.Sprintf("%d: %d were there and %d are rewrapped; correct the count first where it was wrong (asset.alter)", before.Records-rewrapped, before.Records, rewrapped)}
	}
	after, _ := a.Count(to)
	before.Records, before.Rewrapped = left, before.Rewrapped+rewrapped
	after.Records += rewrapped
	a.set(before)
	a.set(after)
	return nil
}

// Grow replaces the counts by ones that are nowhere smaller: data is added without ceremony, and leaves only by a
// signed rewrap or with the asset.
func (a *Asset) Grow(counts []AssetCount) error {
	for i, c := range counts {
		old, _ := a.Count(c.Version)
		if c.Records < old.Records {
			return &FieldError{fmt.Sprintf("counts[%d].records", i), fmt.Sprintf("%d, before it was %d", c.Records, old.Records), "no fewer than before; report what was rewrapped (asset.rewrap)"}
		}
		c.Rewrapped = old.Rewrapped
		a.set(c)
	}
	return nil
}

// Outstanding is how many records still stand under a version.
func (a *Asset) Outstanding(version uint32) int64 {
	if a.Status != StatusActive {
		return 0
	}
	c, _ := a.Count(version)
	return c.Records
}
