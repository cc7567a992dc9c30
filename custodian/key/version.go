package key

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"conclave/hsm"
)

// VersionID is the row id of a version: "payroll/7".
func VersionID(key string, version uint32) string {
	return key + "/" + strconv.FormatUint(uint64(version), 10)
}

// ParseVersionID is the inverse of VersionID. It accepts the one canonical spelling only.
func ParseVersionID(id string) (key string, version uint32, err error) {
	key, digits, found := strings.Cut(id, "/")
	n, parseErr := strconv.ParseUint(digits, 10, 32)
	if !found || CheckID("version", key) != nil || parseErr != nil || n == 0 || VersionID(key, uint32(n)) != id {
		return "", 0, &FieldError{"version", fmt.Sprintf("%q is not a version id", clip(id)), "key/number, the number from 1"}
	}
	return key, uint32(n), nil
}

// Generation is what T1 records about material that was just made.
type Generation struct {
	Material     hsm.Material
	Algorithm    hsm.Algorithm
	StrengthBits int // bits of security
	Facts        hsm.Facts
	At           time.Time
	ActivationAt time.Time // zero: at once, At
	Actor        string
	Ceremony     string
	Reason       string
	Import       *Import // nil: generated in the keystore
}

// NewVersion makes the record of version n of a key in state pre-activation (T1), with the key's
// cryptoperiod counted from the activation date. Material of another key or version is refused. What was imported is
// as strong as what it travelled under.
func NewVersion(k *Key, n uint32, g Generation) (*Version, error) {
	if err := k.Validate(); err != nil {
		return nil, fmt.Errorf("making a version of key %q: %w", clip(k.ID), err)
	}
	at := normal(g.At)
	activation := normal(g.ActivationAt)
	if g.ActivationAt.IsZero() {
		activation = at
	}
	v := &Version{
		Key: k.ID, Version: n, Type: k.Type, Keystore: k.Keystore, Spec: k.Spec, Public: g.Material.Public,
		Material: g.Material, Algorithm: g.Algorithm, StrengthBits: g.StrengthBits,
		CheckValue: g.Material.CheckValue, Module: g.Facts.Module, RNG: g.Facts.RNG, FIPSClaim: FIPSClaim(g.Facts),
		GeneratedAt: at, ActivationAt: activation, Import: g.Import,
		OUPEnd: activation.Add(time.Duration(k.OUPDays) * Day), RUPEnd: activation.Add(time.Duration(k.RUPDays) * Day),
	}
	switch {
	case n == 0:
		return nil, &FieldError{"version", "0", "numbers from 1"}
	case g.At.IsZero():
		return nil, &FieldError{"at", "missing", "the time of generation"}
	case activation.Before(at):
		return nil, &FieldError{"activation_at", "before the material was generated", "the time of generation or later"}
	case g.Material.Key != k.ID || g.Material.Version != n:
		return nil, &FieldError{"material", "it belongs to " + VersionID(clip(g.Material.Key), g.Material.Version), VersionID(k.ID, n)}
	case g.Material.Specification() != k.Specification():
		return nil, &FieldError{"material", "it is of specification " + clip(string(g.Material.Specification())), string(k.Specification())}
	case (g.Algorithm == 0) == (k.Specification().Kind() == hsm.Seals):
		return nil, &FieldError{"algorithm", g.Algorithm.String(), "an algorithm of package hsm for keys that seal, 0 for others"}
	case (len(g.Material.Public) == 0) == k.Specification().Pair():
		return nil, &FieldError{"material", "public half missing, or one too many", "a public half for pairs, none for other keys"}
	case g.Material.CheckValue == "" || g.Facts.Module == "" || g.Facts.RNG == "":
		return nil, &FieldError{"material", "check value, module or generator missing", "what T1 records: time, module, generator, check value"}
	case strings.TrimSpace(g.Actor) == "":
		return nil, &FieldError{"actor", "missing", "who made it"}
	}
	if g.Import != nil {
		v.RNG, v.StrengthBits = ElsewhereRNG, g.Import.strength(g.StrengthBits)
	}
	if err := CheckStrength(v.StrengthBits, v.OUPEnd); err != nil {
		return nil, err
	}
	v = v.Clone() // own copies of blob and public half
	v.Material.Public = nil
	v.step(Transition{ID: "T1", To: PreActivation, At: at, Actor: g.Actor, Ceremony: g.Ceremony, Reason: g.Reason})
	return v, nil
}

// FIPSClaim words what a keystore could claim when the material was made: "140-3 level 1 #5247", or "".
func FIPSClaim(f hsm.Facts) string {
	if f.FIPSStandard == "" || f.FIPSLevel == 0 {
		return ""
	}
	s := fmt.Sprintf("%s level %d", f.FIPSStandard, f.FIPSLevel)
	if f.Certificate != "" {
		s += " #" + f.Certificate
	}
	return s
}

// CheckStrength refuses security strengths that SP 800-57 Part 1 Rev 5, Table 4 no longer allows for
// protection during the whole originator usage period: at least 112 bits to the end of 2030, 128 from 2031.
func CheckStrength(bits int, oupEnd time.Time) error {
	least := 112
	if oupEnd.After(time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)) {
		least = 128
	}
	if bits < least {
		return &FieldError{"strength_bits", fmt.Sprintf("%d", bits), fmt.Sprintf("at least %d until %s", least, oupEnd.Format(time.DateOnly))}
	}
	return nil
}

// heldAtEnd reports whether the end of the originator usage period deactivates the version: types of set K, and
// (ours) two of set D. A master key is held so until its children are re-wrapped or retired; a signature pair, in
// one record, because its public half is of set K, and so that the private half stops by state and not by date
// alone until a quorum destroys it.
func (v *Version) heldAtEnd() bool {
	return v.Type.AtEnd() == SetK || v.Type == Master || len(v.Public) > 0
}

// Due is the transition that a job makes now without asking: T4 at the activation date, T8 at the end of
// the originator usage period. A set D type is not destroyed by a job: its T5 is governed.
func (v *Version) Due(now time.Time) (id string, due bool) {
	switch {
	case v.State == PreActivation && !v.Unconfirmed() && !v.ActivationAt.IsZero() && !now.Before(v.ActivationAt) && now.Before(v.OUPEnd):
		return "T4", true
	case v.State == Active && !now.Before(v.OUPEnd) && v.heldAtEnd():
		return "T8", true
	}
	return "", false
}

// Proposal is the governed destruction that is due now, for a job to propose: T5 for set D at the end of the
// originator usage period, T13 at the end of the recipient usage period.
func (v *Version) Proposal(now time.Time) (id string, due bool) {
	switch {
	case v.State == Active && !v.heldAtEnd() && !now.Before(v.OUPEnd):
		return "T5", true
	case v.State == Deactivated && (!now.Before(v.RUPEnd) || v.Type.AtEnd() == SetD && len(v.Public) > 0):
		return "T13", true
	}
	return "", false
}

// RotationDue reports whether the key's schedule asks for a new version: the one that protects is active
// and older than RotateDays.
func (v *Version) RotationDue(k *Key, now time.Time) bool {
	return v.State.RotatesFrom() && k.RotateDays > 0 && !now.Before(v.ActivationAt.Add(time.Duration(k.RotateDays)*Day))
}

// Warning is the warning step reached before the end of the originator usage period: 90, 30 or 7 days
// (ours); 0 for none, or when the period is over.
func (v *Version) Warning(now time.Time) int {
	if v.State != Active || !now.Before(v.OUPEnd) {
		return 0
	}
	left := v.OUPEnd.Sub(now)
	for _, days := range []int{7, 30, 90} {
		if left <= time.Duration(days)*Day {
			return days
		}
	}
	return 0
}

// ReviewOverdue reports whether a suspension is past its review date.
func (v *Version) ReviewOverdue(now time.Time) bool {
	return v.State == Suspended && (v.ReviewBy == nil || now.After(*v.ReviewBy))
}
