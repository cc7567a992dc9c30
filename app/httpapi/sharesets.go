package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// listShareSets gives every share set with its epochs: in force, pending, and those that still open old copies.
func (s *server) listShareSets(x *exchange) error {
	if err := x.authorise(readPeople, "share_set", ""); err != nil {
		return err
	}
	if bad := s.door.View().Tampered(custodian.KindShare); len(bad) > 0 { // what is missing would be counted as gone
		return &store.TamperedError{Kind: custodian.KindShare, ID: bad[0].ID}
	}
	var copies *custodian.CopyRegister // once for all sets
	return page(x, custodian.KindShareSet, func(view *store.View, set *people.ShareSet) (api.ShareSet, bool) {
		if copies == nil {
			copies = custodian.Copies(view)
		}
		return shareSetOf(view, set, copies), true
	})
}

func shareSetOf(view *store.View, set *people.ShareSet, copies *custodian.CopyRegister) api.ShareSet {
	shares := sharesOf(view, set.ID)
	out := api.ShareSet{ID: set.ID, Keystore: set.Keystore, Epoch: set.Epoch, Threshold: set.Threshold, Total: set.Total,
		Confirmed: set.Confirmed(shares), IssuedAt: set.IssuedAt, ReplacedBy: set.ReplacedBy,
		Status: set.Status(shares, func(epoch uint32) people.Copies { return copies.Of(set, epoch) })}
	for _, share := range shares {
		if share.Epoch == set.Epoch && share.Status == people.ShareLost {
			out.Lost++
		}
	}
	if p := set.Pending; p != nil {
		at, _ := set.At(p.Epoch)
		out.Pending = &api.PendingEpoch{Epoch: p.Epoch, Threshold: p.Threshold, Total: p.Total, Confirmed: at.Confirmed(shares),
			Needed: at.Quorate(), IssuedAt: p.IssuedAt, IssuedBy: p.IssuedBy}
	}
	for _, o := range set.OldEpochs(shares) {
		out.Old = append(out.Old, api.OldEpoch{Epoch: o.Epoch, Threshold: o.Threshold, Unproven: o.Unproven, Opens: o.Opens(), SupersededAt: o.SupersededAt, Backups: copies.Of(set, o.Epoch).Count})
	}
	return out
}

// sharesOf are the lines of the custody register about one set, of all epochs.
func sharesOf(view *store.View, set string) []*people.Share {
	var out []*people.Share
	for _, share := range store.All[people.Share](view, custodian.KindShare) {
		if share.Set == set {
			out = append(out, share)
		}
	}
	return out
}
