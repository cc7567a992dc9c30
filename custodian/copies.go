package custodian

import (
	"slices"

	"conclave/custodian/backup"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Answers to what is left of a destroyed key version.
const (
	CopiesOutstanding = "copies outstanding"             // a registered backup holds it, and enough shares are about to open that
	CopiesNoneKnown   = "no copies known"                // no registered backup could be opened that holds it
	CopiesUnknown     = "copies not known: rows damaged" // a row of the registers contradicts the ledger: nothing can be said
)

// CopyRegister is what is on record of backups of the database and of the shares that open what is in them. What
// somebody copied without the service's knowledge is not in it.
type CopyRegister struct {
	Sets      []*people.ShareSet
	Shares    []*people.Share
	Backups   []*backup.Copy
	Keystores []*key.Keystore
	Damaged   bool // a row of these contradicts the ledger and is missing here
}

// CopyKinds are the kinds of rows that it is read from.
func CopyKinds() []store.Kind { return []store.Kind{KindShareSet, KindShare, KindBackup, KindKeystore} }

// Copies reads the register of copies.
func Copies(view *store.View) *CopyRegister {
	r := &CopyRegister{Sets: values[people.ShareSet](view, KindShareSet), Shares: values[people.Share](view, KindShare),
		Backups: values[backup.Copy](view, KindBackup), Keystores: values[key.Keystore](view, KindKeystore)}
	for _, kind := range CopyKinds() {
		r.Damaged = r.Damaged || len(view.Tampered(kind)) > 0
	}
	return r
}

func values[T any](view *store.View, kind store.Kind) (out []*T) {
	for _, v := range store.All[T](view, kind) {
		out = append(out, v)
	}
	return out
}

// Of is what is known of backups that may still exist and hold what one epoch of a share set opens: the material of the
// set's keystore, or, for a set of that purpose, the backups themselves.
func (r *CopyRegister) Of(set *people.ShareSet, epoch uint32) people.Copies {
	out := people.Copies{Known: !r.Damaged}
	for _, c := range r.Backups {
		if c.Outstanding() && c.Under(set, epoch) {
			out.Count++
		}
	}
	return out
}

// Left says of a destroyed version whether copies of it may still be opened: a backup of the database from before its
// destruction, under an epoch of which a quorum of shares is about (DESIGN invariant 4). The shares in force always are.
func (r *CopyRegister) Left(v *key.Version) string {
	for _, ks := range r.Keystores {
		if ks.ID == v.Keystore && ks.Capabilities.StoresKeys { // the database never held it
			return CopiesNoneKnown
		}
	}
	for _, set := range r.Sets {
		if !r.held(v.Keystore, set.Keystore) {
			continue
		}
		for _, epoch := range r.opening(set) {
			for _, c := range r.Backups {
				if c.Outstanding() && c.Under(set, epoch) && c.Holds(v) {
					return CopiesOutstanding
				}
			}
		}
	}
	if r.Damaged {
		return CopiesUnknown
	}
	return CopiesNoneKnown
}

// held reports whether what is in one keystore was wrapped by another: itself, or one that is or was a member of it.
func (r *CopyRegister) held(keystore, by string) bool {
	for _, ks := range r.Keystores {
		if ks.ID == keystore && ks.Group != nil && (ks.Group.Member(by) != nil || slices.Contains(ks.Group.Former, by)) {
			return true
		}
	}
	return keystore == by
}

// opening are the epochs of a set of which a quorum of shares may be about.
func (r *CopyRegister) opening(set *people.ShareSet) []uint32 {
	var shares []*people.Share
	for _, s := range r.Shares {
		if s.Set == set.ID {
			shares = append(shares, s)
		}
	}
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
