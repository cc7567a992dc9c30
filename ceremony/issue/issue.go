// Package issue hands out a fresh secret, of a keystore or of a backup key: split, seal to the holders, forget the
// shares. What it returns is safe to store; no share leaves it in the clear.
package issue

import (
	"fmt"
	"time"

	"conclave/ceremony/shamir"
	"conclave/custodian/people"
	"conclave/hsm/secret"
)

// Issued is what the register keeps of a fresh share set.
type Issued struct {
	Set    people.ShareSet
	Shares []people.Share // one a holder, in the order of the holders
}

// Order says how a secret is to be handed out.
type Order struct {
	Set       string // share set id
	Purpose   people.Purpose
	Keystore  string // for purposes that have one
	Epoch     uint32 // from 1
	Threshold int    // m
	Holders   []*people.Person
	RNG       string // generator that the keystore's driver names
	At        time.Time
}

// recipients are the keys that a holder opens shares with: the daily one, and the backup where they keep one.
func recipients(holder *people.Person) []shamir.Recipient {
	to := []shamir.Recipient{{KeyID: holder.ShareKeyID, Key: holder.ShareKey}}
	if holder.BackupShareKeyID != "" {
		to = append(to, shamir.Recipient{KeyID: holder.BackupShareKeyID, Key: holder.BackupShareKey})
	}
	return to
}

// Shares splits the activation secret among the holders, seals each share to its holder's share-opening keys
// and wipes the shares. The secret stays the caller's to wipe. The holders and the size of the set must have
// been checked (people.CheckAssignment, ShareSet.Validate).
func Shares(activation *secret.Bytes, o Order) (*Issued, error) {
	set := shamir.Set{ID: o.Set, Epoch: o.Epoch}
	shares, err := shamir.Split(activation, o.Threshold, len(o.Holders), set)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, s := range shares {
			s.Wipe()
		}
	}()
	issued := &Issued{Set: people.ShareSet{ID: o.Set, Purpose: o.Purpose, Keystore: o.Keystore, Threshold: o.Threshold, Total: len(o.Holders),
		Epoch: o.Epoch, Scheme: shamir.Scheme, RNG: o.RNG, Module: shamir.Module, IssuedAt: o.At}}
	for i, share := range shares {
		holder := o.Holders[i]
		commitment, err := share.Commitment()
		if err != nil {
			return nil, fmt.Errorf("committing to %s: %w", share, err)
		}
		sealed, err := shamir.Seal(share, recipients(holder)...)
		if err != nil {
			return nil, err
		}
		issued.Shares = append(issued.Shares, people.Share{Set: o.Set, Epoch: o.Epoch, Index: share.Index(), Custodian: holder.ID,
			Commitment: commitment, Sealed: sealed, Status: people.ShareIssued, IssuedAt: o.At})
	}
	return issued, nil
}
