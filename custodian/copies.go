package custodian

import (
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Answers to what is left of a destroyed key version.
const (
	CopiesOutstanding = "copies outstanding"      // a registered backup holds it, and enough shares are about to open that
	CopiesNoneKnown   = "none known"              // no registered backup could be opened that holds it
	CopiesUnknown     = "backups not on register" // nobody keeps a register of backups here: nothing can be said
)

// BackupsOf is what is known of registered backups that hold what one epoch of a share set opens. This program keeps no
// register of backups: whoever copies the database does so without its knowledge, and nothing is claimed.
func BackupsOf(*store.View, *people.ShareSet, uint32) people.Copies { return people.Copies{} }

// CopiesOf says of a destroyed version whether copies of it may still be opened: a backup of the database from before
// its destruction, under an epoch of which a quorum of shares is about (DESIGN invariant 4). The shares in force always
// are.
func CopiesOf(view *store.View, v *key.Version) string {
	known := true
	for _, set := range store.All[people.ShareSet](view, KindShareSet) {
		if set.Keystore != v.Keystore {
			continue
		}
		var shares []*people.Share
		for _, s := range store.All[people.Share](view, KindShare) {
			if s.Set == set.ID {
				shares = append(shares, s)
			}
		}
		for _, epoch := range opening(set, shares) {
			c := BackupsOf(view, set, epoch)
			if c.Count > 0 {
				return CopiesOutstanding
			}
			known = known && c.Known
		}
	}
	if !known {
		return CopiesUnknown
	}
	return CopiesNoneKnown
}

// opening are the epochs of a set of which a quorum of shares may be about.
func opening(set *people.ShareSet, shares []*people.Share) []uint32 {
	var out []uint32
	if set.InForce() {
		out = append(out, set.Epoch)
	}
	for _, old := range set.OldEpochs(shares) {
		if old.Opens() {
			out = append(out, old.Epoch)
		}
	}
	return out
}
