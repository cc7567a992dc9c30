package people

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

// Quorate is how many shares must be confirmed before anything rests on an epoch: one more than the threshold, so
// that the loss of a share between confirmation and use costs nothing (DESIGN invariant 4).
func (s *ShareSet) Quorate() int { return min(s.Total, s.Threshold+1) }
