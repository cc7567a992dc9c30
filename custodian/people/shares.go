package people

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"conclave/custodian/key"
)

// MaxShares is the most shares a set can have: the points of GF(256) without zero.
const MaxShares = 255

// ShareID is the row id of a share: "root/3/1".
func ShareID(set string, epoch uint32, index int) string {
	return set + "/" + strconv.FormatUint(uint64(epoch), 10) + "/" + strconv.Itoa(index)
}

// ParseShareID is the inverse of ShareID. It accepts the one canonical spelling only.
func ParseShareID(id string) (set string, epoch uint32, index int, err error) {
	parts := strings.Split(clip(id), "/")
	if len(parts) == 3 {
		e, errEpoch := strconv.ParseUint(parts[1], 10, 32)
		i, errIndex := strconv.Atoi(parts[2])
		good := errEpoch == nil && errIndex == nil && e > 0 && i >= 1 && i <= MaxShares &&
			key.CheckID("set", parts[0]) == nil && ShareID(parts[0], uint32(e), i) == id
		if good {
			return parts[0], uint32(e), i, nil
		}
	}
	return "", 0, 0, &key.FieldError{Field: "share", Problem: fmt.Sprintf("%q is not a share id", clip(id)), Allowed: "set/epoch/index, numbers from 1"}
}

// Validate checks a share set and its size: 2 ≤ m < n, so that nobody acts alone and one share may be lost,
// and m > n/2, so that two disjoint groups can not both act (ours). The error names the field.
func (s *ShareSet) Validate() error {
	checks := []error{
		key.CheckID("id", s.ID),
		s.checkPurpose(),
		key.CheckRange("total", s.Total, 3, MaxShares, "shares"),
		key.CheckRange("threshold", s.Threshold, max(2, s.Total/2+1), s.Total-1,
			fmt.Sprintf("of %d shares: at least 2, more than half, fewer than all", s.Total)),
		key.CheckText("scheme", s.Scheme, 64, true),
		key.CheckText("rng", s.RNG, 128, true),
		key.CheckText("module", s.Module, 128, true),
	}
	return key.First(checks)
}

// checkPurpose: a set opens one keystore, or it has another purpose.
func (s *ShareSet) checkPurpose() error {
	if s.Purpose == PurposeKeystore {
		return key.CheckID("keystore", s.Keystore)
	}
	if s.Keystore != "" {
		return &key.FieldError{Field: "keystore", Problem: "given for a set of another purpose", Allowed: "nothing"}
	}
	return key.CheckOneOf("purpose", s.Purpose, PurposeBackup)
}

// Opens says in words what the set's secret opens.
func (s *ShareSet) Opens() string {
	if s.Purpose == PurposeBackup {
		return "backups"
	}
	return "keystore " + s.Keystore
}

// Validate checks one line of the custody register.
func (s *Share) Validate() error {
	checks := []error{
		key.CheckID("set", s.Set),
		key.CheckRange("epoch", int(s.Epoch), 1, 1<<31-1, "(epochs count from 1)"),
		key.CheckRange("index", s.Index, 1, MaxShares, "(shares count from 1)"),
		key.CheckID("custodian", s.Custodian),
		key.CheckOneOf("status", s.Status, ShareIssued, ShareConfirmed, ShareLost, ShareRetired, ShareSuperseded, ShareDestroyed),
		key.CheckRange("commitment", len(s.Commitment), 1, 256, "bytes"),
		key.CheckRange("sealed", len(s.Sealed), 0, 16<<10, "bytes"),
	}
	if s.Sealed == "" && s.Status != ShareDestroyed {
		checks = append(checks, &key.FieldError{Field: "sealed", Problem: "missing", Allowed: "the sealed share, of every share that is not destroyed"})
	}
	return key.First(checks)
}

// Usable reports whether the share can still be brought: issued or confirmed, of the set's current epoch.
func (s *Share) Usable(set *ShareSet) bool {
	return s.Set == set.ID && s.Epoch == set.Epoch && (s.Status == ShareIssued || s.Status == ShareConfirmed)
}

// Assigned is the register of an epoch as it would be once its holders have confirmed, holders[i] the id of who gets share
// i+1: for judging an assignment beforehand.
func Assigned(set *ShareSet, holders []string, at time.Time) (out []*Share) {
	for i, id := range holders {
		out = append(out, &Share{Set: set.ID, Epoch: set.Epoch, Index: i + 1, Custodian: id, Status: ShareConfirmed, ConfirmedAt: &at})
	}
	return out
}

// CheckAssignment checks who is to hold the shares of one epoch of a set, holders[i] the id of who gets share
// i+1: as many as the set has shares, each a different registered and active custodian, none of them a
// ceremony administrator, each with a key to seal to. The error names the line (*key.FieldError).
func CheckAssignment(set *ShareSet, holders []string, find Lookup) error {
	if len(holders) != set.Total {
		return &key.FieldError{Field: "holders", Problem: fmt.Sprintf("%d people for %d shares", len(holders), set.Total), Allowed: "one custodian a share"}
	}
	seen := make(map[string]int, len(holders))
	for i, id := range holders {
		field := fmt.Sprintf("holders[%d]", i)
		p := find(id)
		before, twice := seen[id]
		seen[id] = i
		problem, allowed := "", ""
		switch {
		case twice:
			problem, allowed = fmt.Sprintf("%s holds share %d already", clip(id), before+1), "one share a person and set"
		case p == nil:
			problem, allowed = fmt.Sprintf("%q is not in the register", clip(id)), "a registered custodian"
		case absent(p) != nil:
			problem, allowed = absent(p).Error(), "an active custodian"
		case p.Has(RoleAdministrator):
			problem, allowed = fmt.Sprintf("%s is a ceremony administrator", id), "somebody who leads no ceremonies"
		case !p.Has(RoleCustodian):
			problem, allowed = fmt.Sprintf("%s is not a custodian", id), "somebody with the role custodian"
		case slices.Contains(p.FormerShareKeys, p.ShareKeyID):
			problem, allowed = id+" gave up the share key on record, before a recovery that brought it back", "a custodian with a key in use: they move their shares to another (share.move) or get one (credential.recover)"
		case checkShareKey(p) != nil:
			problem, allowed = fmt.Sprintf("%s: %v", id, checkShareKey(p)), "a custodian with a share-opening key"
		}
		if problem != "" {
			return &key.FieldError{Field: field, Problem: problem, Allowed: allowed}
		}
	}
	return nil
}
