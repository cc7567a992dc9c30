package people

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"conclave/custodian/amount"
)

// At is the set as it is for one epoch: the one in force, or the pending one with its own numbers. Everything that
// is asked of the current epoch can so be asked of the pending one. false: the set has no such epoch now.
func (s *ShareSet) At(epoch uint32) (*ShareSet, bool) {
	switch p := s.Pending; {
	case epoch == 0:
		return nil, false
	case epoch == s.Epoch && s.ReplacedBy == "":
		return s, true
	case p != nil && epoch == p.Epoch:
		at := *s
		at.Epoch, at.Threshold, at.Total, at.IssuedAt = p.Epoch, p.Threshold, p.Total, p.IssuedAt
		at.Scheme, at.RNG, at.Module = p.Scheme, p.RNG, p.Module
		return &at, true
	}
	return nil, false
}

// Epochs are the set as it is for the epoch in force and for the pending one, as far as there are.
func (s *ShareSet) Epochs() (out []*ShareSet) {
	if s.InForce() {
		out = append(out, s)
	}
	if s.Pending != nil {
		at, _ := s.At(s.Pending.Epoch)
		out = append(out, at)
	}
	return out
}

// InForce reports whether the set opens its keystore now: not a set whose first epoch is pending or was abandoned,
// nor one that another set has replaced.
func (s *ShareSet) InForce() bool { return s.Epoch > 0 && s.ReplacedBy == "" }

// NextEpoch is the number for an epoch to be issued now.
func (s *ShareSet) NextEpoch() uint32 { return max(s.Epoch, s.LastEpoch) + 1 }

// Confirmed is how many shares of the set's epoch their holders have proved to open.
func (s *ShareSet) Confirmed(shares []*Share) int {
	n := 0
	for _, share := range shares {
		if share.Usable(s) && share.Status == ShareConfirmed {
			n++
		}
	}
	return n
}

// Released reports whether the set's epoch may be relied on: enough holders proved that they can open their share. For
// an epoch in force it is enough that they once did, so that losses stop nothing that the rest can do; a pending epoch
// takes shares that are good now.
func (s *ShareSet) Released(shares []*Share, pending bool) (confirmed int, released bool) {
	for _, share := range shares {
		if share.Set != s.ID || share.Epoch != s.Epoch {
			continue
		}
		if share.Status == ShareConfirmed || (!pending && share.ConfirmedAt != nil) {
			confirmed++
		}
	}
	return confirmed, confirmed >= s.Quorate()
}

// Quorate is how many shares must be confirmed before anything rests on an epoch: one more than the threshold, so
// that the loss of a share between confirmation and use costs nothing (DESIGN invariant 4).
func (s *ShareSet) Quorate() int { return min(s.Total, s.Threshold+1) }

// Outstanding reports whether a share belongs to an epoch that is no longer in force and may still be somewhere: until
// its destruction is proven. A lost share is outstanding.
func (s *ShareSet) Outstanding(share *Share) bool {
	old := share.Epoch < s.Epoch || (s.ReplacedBy != "" && share.Epoch <= s.Epoch)
	return share.Set == s.ID && old && share.Status != ShareRetired && share.Status != ShareDestroyed
}

// OldEpoch is what is left of an epoch that is no longer in force.
type OldEpoch struct {
	Epoch     uint32 `json:"epoch"`
	Threshold int    `json:"threshold"`
	Unproven  int    `json:"unproven"` // shares whose destruction is not proven
	// SupersededAt is from when on copies of the database hold nothing that the epoch opens; zero where not on record.
	SupersededAt time.Time `json:"superseded_at,omitzero"`
}

// SupersededAt is when an epoch of the set went out of force; zero for one that did not, or where it is not on record.
func (s *ShareSet) SupersededAt(epoch uint32) time.Time {
	for _, p := range s.Past {
		if p.Epoch == epoch {
			return p.SupersededAt
		}
	}
	return time.Time{}
}

// Opens reports whether enough shares may still be somewhere to open a copy of the database of that time.
func (o OldEpoch) Opens() bool { return o.Unproven >= o.Threshold }

// OldEpochs are the epochs no longer in force of which shares are outstanding, oldest first.
func (s *ShareSet) OldEpochs(shares []*Share) []OldEpoch {
	count := map[uint32]int{}
	for _, share := range shares {
		if s.Outstanding(share) {
			count[share.Epoch]++
		}
	}
	var out []OldEpoch
	for epoch, n := range count {
		o := OldEpoch{Epoch: epoch, Threshold: s.Threshold, Unproven: n}
		for _, p := range s.Past {
			if p.Epoch == epoch {
				o.Threshold, o.SupersededAt = p.Threshold, p.SupersededAt
			}
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b OldEpoch) int { return cmp.Compare(a.Epoch, b.Epoch) })
	return out
}

// Copies is what is known about registered backups that hold what one epoch opens.
type Copies struct {
	Known bool // false: rows of the register contradict the ledger, so that there may be more
	Count int
}

// Status says in a few words how a set stands with regard to re-issue: "in force", "pending", "abandoned", or how many
// old shares are unproven. It says so until fewer than a quorum of each old epoch remain and no registered backup
// of it does (DESIGN invariant 4). copies answers for one epoch.
func (s *ShareSet) Status(shares []*Share, copies func(epoch uint32) Copies) string {
	word := "in force"
	switch {
	case s.ReplacedBy != "":
		word = "replaced by " + s.ReplacedBy
	case s.Epoch == 0 && s.Pending != nil:
		return "pending"
	case s.Epoch == 0:
		return "abandoned"
	}
	unproven, backups, known, opens := 0, 0, true, false
	for _, old := range s.OldEpochs(shares) {
		c := copies(old.Epoch)
		unproven, backups, known, opens = unproven+old.Unproven, backups+c.Count, known && c.Known, opens || old.Opens()
	}
	if !opens && backups == 0 {
		return word
	}
	if s.ReplacedBy == "" {
		word = "re-issued"
	}
	word += fmt.Sprintf(", %d old shares unproven", unproven)
	switch {
	case !known:
		word += fmt.Sprintf(", %d or more backups of that time: rows of their register are damaged", backups)
	case backups == 1:
		word += ", 1 backup of that time"
	case backups > 1:
		word += ", " + amount.Of(backups, "backup") + " of that time"
	}
	return word
}
