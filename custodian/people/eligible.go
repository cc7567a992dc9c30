package people

import (
	"fmt"
	"slices"
	"time"
)

// Stable codes of persons who do not count.
const (
	CodeUnknown           = "person-unknown"
	CodeSuspended         = "person-suspended"
	CodeLeft              = "person-left"
	CodeEnded             = "engagement-ended"
	CodeWrongRole         = "wrong-role"
	CodeUnacknowledged    = "unacknowledged"
	CodeAckExpired        = "acknowledgement-expired"
	CodeAckVersion        = "acknowledgement-outdated"
	CodeCredentialUnknown = "credential-unknown"
	CodeCredentialRevoked = "credential-revoked"
	CodeCounted           = "counted-already"
	CodeExcludedRequester = "requester"
	CodeExcludedSubject   = "subject"
)

// IneligibleError says why a person's voice does not count. Callers decide by Code.
type IneligibleError struct {
	Code   string
	Person string
	Role   Role // the role asked for, "" for none in particular
	Detail string
}

func (e *IneligibleError) Error() string {
	return fmt.Sprintf("%s does not count (%s): %s", clip(e.Person), e.Code, e.Detail)
}

// NeedsAcknowledgement reports whether acting in a role takes a signed acceptance of duty (PCI DSS 4.0.1,
// 3.7.8: every key custodian). Witnesses and auditors never touch keys. No role in particular takes it too.
func NeedsAcknowledgement(role Role) bool { return role != RoleWitness && role != RoleAuditor }

// Eligible reports whether a person counts in a role now: active, holding the role ("" for any), and, where
// the role takes it, with an acknowledgement of the current form that has not expired. A refusal is an
// *IneligibleError. It is asked when a signature is given and again at execution.
func Eligible(p *Person, role Role, now time.Time) error {
	if err := ineligible(p, role, now); err != nil {
		return err
	}
	return nil
}

func ineligible(p *Person, role Role, now time.Time) *IneligibleError {
	err := absent(p)
	switch {
	case err != nil:
	case p.Ended(now):
		err = &IneligibleError{CodeEnded, p.ID, "", "the engagement ended " + p.Until.UTC().Format(time.RFC3339)}
	case role != "" && !p.Has(role):
		err = &IneligibleError{CodeWrongRole, p.ID, role, fmt.Sprintf("does not hold the role %s", role)}
	case NeedsAcknowledgement(role):
		err = unacknowledged(p, now)
	}
	if err != nil {
		err.Role = role
	}
	return err
}

// Ended reports whether an engagement is over.
func (p *Person) Ended(now time.Time) bool { return p.Until != nil && !now.Before(*p.Until) }

// Present reports whether a person is active, whatever they signed: an acknowledgement is given, a share
// reported lost, by people who do not yet or no longer count. A refusal is an *IneligibleError.
func Present(p *Person) error {
	if err := absent(p); err != nil {
		return err
	}
	return nil
}

func absent(p *Person) *IneligibleError {
	switch {
	case p == nil:
		return &IneligibleError{CodeUnknown, "", "", "not in the register"}
	case p.Status == StatusLeft:
		return &IneligibleError{CodeLeft, p.ID, "", "left"}
	case p.Status != StatusActive || p.SuspendedAt != nil:
		return &IneligibleError{CodeSuspended, p.ID, "", "suspended"}
	}
	return nil
}

// Acknowledged reports whether a person has accepted the duties of the current form and is bound by
// them at now.
func Acknowledged(p *Person, now time.Time) error {
	if err := unacknowledged(p, now); err != nil {
		return err
	}
	return nil
}

func unacknowledged(p *Person, now time.Time) *IneligibleError {
	a := p.Acknowledgement
	switch {
	case a == nil || len(a.Envelope) == 0 || a.SignedAt.IsZero():
		return &IneligibleError{CodeUnacknowledged, p.ID, "", "has not signed the acknowledgement of duties"}
	case a.FormVersion != CurrentForm().Version:
		return &IneligibleError{CodeAckVersion, p.ID, "",
			fmt.Sprintf("signed version %s of the form, %s is current", clip(a.FormVersion), CurrentForm().Version)}
	case now.Before(a.SignedAt):
		return &IneligibleError{CodeUnacknowledged, p.ID, "", "the acknowledgement is dated in the future"}
	case !now.Before(end(a)):
		return &IneligibleError{CodeAckExpired, p.ID, "", fmt.Sprintf("acknowledgement ended %s", end(a).Format(time.DateOnly))}
	}
	return nil
}

// end is when an acknowledgement ends: its own date, never later than a period after its signature.
func end(a *Acknowledgement) time.Time {
	if latest := a.SignedAt.Add(AcknowledgementPeriod); latest.Before(a.ExpiresAt) {
		return latest
	}
	return a.ExpiresAt
}

// Voice is one verified signature: who gave it and with which credential.
type Voice struct {
	Person     *Person
	Credential string // id of the approval key
}

// Tally is the outcome of counting voices.
type Tally struct {
	Counted []*Person          // each person once, in the order of the voices
	Refused []*IneligibleError // voices that do not count, in their order
}

// Count counts voices for a role ("" for any), one a human: two credentials of one person are one voice;
// whoever is excluded (person id to code, such as CodeExcludedRequester), is not Eligible, or signed with a
// revoked or foreign credential is refused.
func Count(voices []Voice, role Role, excluded map[string]string, now time.Time) Tally {
	var t Tally
	for _, v := range voices {
		if err := uncountable(v, role, excluded, now); err != nil {
			t.Refused = append(t.Refused, err)
			continue
		}
		if slices.ContainsFunc(t.Counted, func(p *Person) bool { return p.ID == v.Person.ID }) {
			t.Refused = append(t.Refused, &IneligibleError{CodeCounted, v.Person.ID, role, "one human, one voice"})
			continue
		}
		t.Counted = append(t.Counted, v.Person)
	}
	return t
}

// InRole is how many of the counted are Eligible in a role now.
func (t Tally) InRole(role Role, now time.Time) int {
	n := 0
	for _, p := range t.Counted {
		if Eligible(p, role, now) == nil {
			n++
		}
	}
	return n
}

// Teams is how many different teams the counted come from.
func (t Tally) Teams() int { return distinct(t.Counted, func(p *Person) string { return p.Team }) }

// Sites is how many different sites the counted come from.
func (t Tally) Sites() int { return distinct(t.Counted, func(p *Person) string { return p.Site }) }

func distinct(people []*Person, of func(*Person) string) int {
	seen := make(map[string]bool)
	for _, p := range people {
		seen[of(p)] = true
	}
	return len(seen)
}

func uncountable(v Voice, role Role, excluded map[string]string, now time.Time) *IneligibleError {
	if err := absent(v.Person); err != nil {
		return err
	}
	if code, out := excluded[v.Person.ID]; out {
		return &IneligibleError{code, v.Person.ID, role, "takes no part in this decision"}
	}
	i := slices.IndexFunc(v.Person.ApprovalKeys, func(c Credential) bool { return c.ID == v.Credential })
	if i < 0 {
		return &IneligibleError{CodeCredentialUnknown, v.Person.ID, role, "the credential is not theirs"}
	}
	if v.Person.ApprovalKeys[i].Revoked {
		return &IneligibleError{CodeCredentialRevoked, v.Person.ID, role, "the credential is revoked"}
	}
	return ineligible(v.Person, role, now)
}
