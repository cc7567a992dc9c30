package people

import (
	"fmt"
	"slices"

	"conclave/custodian/key"
)

// CheckBackups checks who stands in for the holders of one set's usable shares: somebody who holds no share of the set
// and stands in for no other share of it. Otherwise the loss of one person would be the loss of two shares, and one
// person could come to hold two. The error names the holder (*key.FieldError).
func CheckBackups(set *ShareSet, shares []*Share, find Lookup) error {
	for _, c := range BackupConflicts(set, shares, find) {
		return &c
	}
	return nil
}

// BackupConflicts are all that CheckBackups finds.
func BackupConflicts(set *ShareSet, shares []*Share, find Lookup) (out []key.FieldError) {
	holders := map[string]bool{}
	for _, s := range shares {
		if s.Usable(set) {
			holders[s.Custodian] = true
		}
	}
	standsIn := map[string]string{}
	for _, s := range shares {
		p := find(s.Custodian)
		if !s.Usable(set) || p == nil || p.Backup == "" || p.Status == StatusLeft {
			continue
		}
		bad := func(problem, allowed string) {
			out = append(out, key.FieldError{Field: "backup", Problem: problem, Allowed: allowed})
		}
		if holders[p.Backup] {
			bad(fmt.Sprintf("%s, backup of %s, holds a share of set %s too", p.Backup, p.ID, set.ID), "somebody who holds no share of the set")
		}
		if first, twice := standsIn[p.Backup]; twice && first != p.ID {
			bad(fmt.Sprintf("%s is backup of both %s and %s, who hold shares of set %s", p.Backup, first, p.ID, set.ID), "somebody who stands in for no other share of the set")
		} else {
			standsIn[p.Backup] = p.ID
		}
	}
	return out
}

// CheckBackup checks whom a person names to stand in for them.
func CheckBackup(p *Person, find Lookup) error {
	if p.Backup == "" {
		return nil
	}
	b := find(p.Backup)
	problem := ""
	switch {
	case b == nil:
		problem = fmt.Sprintf("%q is not in the register", clip(p.Backup))
	case absent(b) != nil:
		problem = absent(b).Error()
	case !b.Has(RoleCustodian):
		problem = b.ID + " is not a custodian"
	}
	if problem == "" {
		return nil
	}
	return &key.FieldError{Field: "backup", Problem: problem, Allowed: "an active custodian, or nothing"}
}

// StrongLines are the managers whose reporting lines hold a quorum of a set, the manager's own share counted, sorted.
// The fewer than m that ceremony practice allows in a line are met where there are none.
func StrongLines(set *ShareSet, shares []*Share, find Lookup) []string {
	count := map[string]int{}
	for _, s := range shares {
		p := find(s.Custodian)
		if !s.Usable(set) || p == nil || p.Status == StatusLeft {
			continue
		}
		for _, manager := range append(Line(p, find), p.ID) {
			count[manager]++
		}
	}
	var out []string
	for manager, n := range count {
		if n >= set.Threshold {
			out = append(out, manager)
		}
	}
	slices.Sort(out)
	return out
}
