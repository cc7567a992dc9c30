package backup

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/custodian/people"
)

// Act is who applies restrictions again, and when.
type Act struct {
	Actor    string // as histories name it
	Ceremony string // the recovery
	At       time.Time
}

// Applied is what a fact does to a row of the backup.
type Applied struct {
	Next any    // the row as it must stand; nil where nothing changes
	What string // in words what changed
	Note string // what of the fact is not applied, and must be looked at by people
}

func changed(next any, what string) Applied { return Applied{Next: next, What: what} }

// Restrict applies a fact to the row as the backup has it. It releases nothing.
func Restrict(value any, f Fact, act Act) (Applied, error) {
	switch v := value.(type) {
	case *people.Person:
		return restrictPerson(v, f, act), nil
	case *people.Share:
		if f.State == string(people.ShareLost) && v.Status != people.ShareLost && v.Status != people.ShareRetired {
			v.Status = people.ShareLost
			return changed(v, "reported lost"), nil
		}
	case *people.ShareSet:
		if f.Epoch > v.Epoch {
			return Applied{Note: fmt.Sprintf("share set %s was at epoch %d; the backup is at %d, and its shares of that epoch are needed again", v.ID, f.Epoch, v.Epoch)}, nil
		}
	case *people.Invitation:
		if pending := v.Status == people.InvitationOpen || v.Status == people.InvitationAnswered; pending && f.State != "" {
			v.Status, v.EndedAt, v.EndedBy = people.InvitationStatus(f.State), &act.At, act.Ceremony
			return changed(v, f.State), nil
		}
	case *access.Application:
		if f.State != "" && v.Status != "suspended" {
			v.Status, v.SuspendedAt = "suspended", &act.At
			return changed(v, "suspended (it was "+f.State+")"), nil
		}
	case revocable:
		if f.State != "" && v.Revoke(act.At, act.Ceremony, "revoked before the recovery "+act.Ceremony) {
			return changed(v, factRevoked), nil
		}
	case *access.Token:
		return restrictUntil(v, f, act, &v.RevokedAt, &v.ExpiresAt), nil
	case *access.Grant:
		return restrictGrant(v, f, act), nil
	default:
		return restrictThing(value, f, act)
	}
	return Applied{}, nil
}

// restrictThing applies facts about keys and what is decided about them.
func restrictThing(value any, f Fact, act Act) (Applied, error) {
	switch v := value.(type) {
	case *key.Version:
		return restrictVersion(v, f, act)
	case *key.Key:
		return restrictKey(v, f), nil
	case *key.Keystore:
		return restrictKeystore(v, f), nil
	case *key.Template:
		if f.State != "" && v.Status == key.StatusActive {
			v.Status, v.At = f.State, act.At
			v.GovRevision++
			return changed(v, f.State), nil
		}
	case *oversight.Exception:
		return restrictUntil(v, f, act, &v.RevokedAt, &v.ExpiresAt), nil
	case *oversight.BreakGlass:
		if f.State != "" && v.ClosedAt == nil {
			v.ClosedAt, v.ClosedBy = &act.At, act.Actor
			return changed(v, factClosed), nil
		}
	case *Schedule:
		if f.State != "" && v.Status != f.State {
			v.Status = f.State
			v.GovRevision++
			return changed(v, f.State), nil
		}
	case *Copy:
		return restrictCopy(v, f, act), nil
	case inForce:
		if f.Digest != "" && f.Digest != v.BundleInForce() {
			return Applied{Note: fmt.Sprintf("policy bundle %s was in force; the backup has %s, which counts again until another is put in force (policy.recover, policy.activate)", f.Digest, v.BundleInForce())}, nil
		}
	case *oversight.Hold, *oversight.Finding, *people.Duty: // what stands in the backup stands
	default:
		if f.State == factDeleted {
			return Applied{Note: fmt.Sprintf("%s %s was removed after the backup, and is there again", f.Kind, f.ID)}, nil
		}
	}
	return Applied{}, nil
}

// Recreate makes a row again that the backup lacks and whose absence would release something.
func Recreate(f Fact, act Act) (Applied, error) {
	if len(f.Body) == 0 || f.State == "" || f.State == factDeleted {
		return Applied{}, nil
	}
	switch f.Kind {
	case kindHold:
		h := new(oversight.Hold)
		err := f.read(h, h.Validate)
		return changed(h, "set again"), notOf(err, h.ID == f.ID && h.InForce())
	case kindFinding:
		v := new(oversight.Finding)
		err := f.read(v, v.Validate)
		return changed(v, "open again"), notOf(err, v.ID == f.ID && v.Open())
	case kindDuty:
		d := new(people.Duty)
		err := f.read(d, d.Validate)
		return changed(d, "open again"), notOf(err, d.ID == f.ID && d.Open())
	case kindBackup:
		c := new(Copy)
		err := f.read(c, func() error { return key.CheckID("id", c.ID) })
		c.LeftBy = act.Ceremony
		return changed(c, "a copy that was made of what was lost: on register again"), notOf(err, c.ID == f.ID)
	}
	return Applied{}, nil
}

func (f *Fact) read(into any, validate func() error) error {
	if err := json.Unmarshal(f.Body, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrJournal, f.Kind, f.ID, err)
	}
	if err := validate(); err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrJournal, f.Kind, f.ID, err)
	}
	return nil
}

func notOf(err error, fits bool) error {
	if err == nil && !fits {
		err = fmt.Errorf("%w: a row that is not the one its fact names", ErrJournal)
	}
	return err
}

func restrictUntil(v any, f Fact, act Act, revoked **time.Time, until *time.Time) Applied {
	switch {
	case *revoked != nil:
	case f.State != "":
		*revoked = &act.At
		return changed(v, factRevoked)
	case f.Until != nil && f.Until.Before(*until):
		*until = *f.Until
		return changed(v, "ends "+f.Until.Format(time.RFC3339))
	}
	return Applied{}
}

func restrictGrant(g *access.Grant, f Fact, act Act) Applied {
	out := restrictUntil(g, f, act, &g.RevokedAt, &g.ExpiresAt)
	if g.RevokedAt != nil || f.State != "" {
		return out
	}
	what := []string{out.What}
	kept := slices.DeleteFunc(slices.Clone(g.Operations), func(op access.Operation) bool { return !slices.Contains(f.Operations, string(op)) })
	context, fits := both(g.Context, f.Context)
	if len(kept) == 0 || !fits {
		g.RevokedAt = &act.At
		return changed(g, factRevoked)
	}
	if len(kept) != len(g.Operations) {
		g.Operations = kept
		what = append(what, "operations withdrawn")
	}
	if !maps.Equal(context, g.Context) && len(context) > 0 {
		g.Context = context
		what = append(what, "only in the contexts that it was narrowed to")
	}
	what = slices.DeleteFunc(what, func(s string) bool { return s == "" })
	if len(what) == 0 {
		return Applied{}
	}
	return changed(g, strings.Join(what, ", "))
}

func restrictPerson(p *people.Person, f Fact, act Act) Applied {
	var what []string
	status := people.Status(f.State)
	if f.State == factDeleted {
		status = people.StatusLeft
	}
	switch {
	case status == people.StatusLeft && p.Status != people.StatusLeft:
		p.Status, p.LeftAt, p.LeftBy, p.LeftReason = people.StatusLeft, &act.At, act.Ceremony, "left before the recovery "+act.Ceremony
		what = append(what, "left")
	case status == people.StatusSuspended && p.Status == people.StatusActive:
		p.Status, p.SuspendedAt, p.SuspendedReason = people.StatusSuspended, &act.At, "suspended before the recovery "+act.Ceremony
		what = append(what, "suspended")
	}
	if f.State != factDeleted {
		what = append(what, withdraw(p, f, act)...)
		what = append(what, giveUp(p, f)...)
	}
	if len(what) == 0 {
		return Applied{}
	}
	return changed(p, strings.Join(what, ", "))
}

// withdraw takes roles and approval keys that the person no longer had. Who would be left without a role has none
// that counts.
func withdraw(p *people.Person, f Fact, act Act) []string {
	var what []string
	roles := slices.DeleteFunc(slices.Clone(p.Roles), func(r people.Role) bool { return !slices.Contains(f.Roles, string(r)) })
	switch {
	case len(roles) == len(p.Roles):
	case len(roles) == 0:
		if p.Status != people.StatusLeft {
			p.Status, p.LeftAt, p.LeftBy, p.LeftReason = people.StatusLeft, &act.At, act.Ceremony, "no role remained before the recovery "+act.Ceremony
			what = append(what, "left: no role of theirs remains")
		}
	default:
		p.Roles = roles
		what = append(what, "roles withdrawn")
	}
	keys := slices.Clone(p.ApprovalKeys)
	for i := range keys {
		if !keys[i].Revoked && !slices.Contains(f.Keys, keys[i].ID) {
			keys[i].Revoked, keys[i].RevokedAt, keys[i].RevokedReason = true, &act.At, "revoked before the recovery "+act.Ceremony
			what = append(what, "approval key revoked")
		}
	}
	p.ApprovalKeys = keys
	return what
}

// giveUp marks share keys that the person had given up: nothing is sealed to them any more. The daily one stays in the
// record, since the shares in the backup open with it, until the person moves them or gets another.
func giveUp(p *people.Person, f Fact) []string {
	if f.ShareKeys == nil {
		return nil
	}
	var what []string
	for _, id := range p.ShareKeyIDs() {
		if id == "" || slices.Contains(f.ShareKeys, id) || slices.Contains(p.FormerShareKeys, id) {
			continue
		}
		p.FormerShareKeys = append(slices.Clone(p.FormerShareKeys), id)
		what = append(what, "share key "+id+" given up: nothing is sealed to it")
		if id == p.BackupShareKeyID {
			p.BackupShareKey, p.BackupShareKeyID = nil, ""
		}
	}
	return what
}

func restrictKey(k *key.Key, f Fact) Applied {
	if f.Class == nil {
		return Applied{}
	}
	next := *k
	c := f.Class
	next.Classification, next.Impact, next.Frameworks = c.Classification, c.Impact, c.Frameworks
	if next.Classification == k.Classification && next.Impact == k.Impact && slices.Equal(next.Frameworks, k.Frameworks) {
		return Applied{}
	}
	next.OUPDays, next.RUPDays, next.RotateDays = min(k.OUPDays, c.OUPDays), min(k.RUPDays, c.RUPDays), min(k.RotateDays, c.RotateDays)
	next.GovRevision++
	if err := next.Validate(); err != nil || !k.Raises(&next) {
		return Applied{Note: fmt.Sprintf("key %s was %s, impact %s; the backup has %s, impact %s, which counts again", k.ID, c.Classification, c.Impact, k.Classification, k.Impact)}
	}
	return changed(&next, fmt.Sprintf("%s, impact %s", next.Classification, next.Impact))
}

func restrictKeystore(s *key.Keystore, f Fact) Applied {
	var what []string
	if (f.State == key.KeystoreRetired || f.State == key.KeystoreZeroised) && s.Status != f.State {
		s.Status = f.State
		what = append(what, f.State)
	}
	// The backup is sealed with the secret of its time: that it was replaced later does not help what is in it.
	if x := f.Exposed; x != nil && (s.SecretExposed == nil || x.At.After(s.SecretExposed.At)) {
		again := *x
		again.Until = nil
		s.SecretExposed = &again
		what = append(what, "its activation secret counts as known to others")
	}
	for _, id := range f.Drained {
		if m := s.Group.Member(id); m != nil && m.State == key.MemberServing {
			m.State = key.MemberDrained
			what = append(what, "member "+id+" is drained")
		}
	}
	if len(what) == 0 {
		return Applied{}
	}
	s.GovRevision++
	return changed(s, strings.Join(what, ", "))
}

func restrictCopy(c *Copy, f Fact, act Act) Applied {
	switch to := CopyStatus(f.State); {
	case to == CopyDeleted && c.Status != CopyDeleted:
		said := new(Copy)
		if err := f.read(said, func() error { return nil }); err != nil || said.GoneAt == nil {
			said.GoneAt, said.GoneBy = &act.At, act.Ceremony
		}
		c.Status, c.GoneAt, c.GoneBy = CopyDeleted, said.GoneAt, said.GoneBy
	case to == CopyExpired && c.Status == CopyPresent:
		c.Status = CopyExpired
	default:
		return Applied{}
	}
	return changed(c, string(c.Status))
}
