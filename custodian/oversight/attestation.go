package oversight

import (
	"fmt"
	"regexp"
	"slices"
	"time"

	"conclave/custodian/key"
)

// AttestationKind says what somebody signed about a control.
type AttestationKind string

const (
	// AttestAnswer answers the question that a control asks of a person.
	AttestAnswer AttestationKind = "answer"
	// AttestReview says that somebody went over a set of rows: accesses, a day's log, an inventory.
	AttestReview AttestationKind = "review"
	// AttestDocument says that a document is in force, by its title, version and digest.
	AttestDocument AttestationKind = "document"
	// AttestCompensating says that something else is done in place of what a control demands. A quorum decides it.
	AttestCompensating AttestationKind = "compensating"
	// AttestOverride puts a quorum's judgement in place of the program's verdict.
	AttestOverride AttestationKind = "override"
	// DeclaredKey, DeclaredForm and DeclaredHistory register what this service can not prove: a key that lives
	// elsewhere, a paper form, history from before this instance.
	DeclaredKey     AttestationKind = "declared-key"
	DeclaredForm    AttestationKind = "declared-form"
	DeclaredHistory AttestationKind = "declared-history"
)

// AttestedAlone are the kinds that one person signs, AttestedTogether those that take a quorum.
func AttestedAlone() []AttestationKind {
	return []AttestationKind{AttestAnswer, AttestReview, AttestDocument, DeclaredKey, DeclaredForm, DeclaredHistory}
}

// AttestedTogether are the kinds that take a quorum.
func AttestedTogether() []AttestationKind {
	return []AttestationKind{AttestCompensating, AttestOverride}
}

// Declared reports whether the kind registers something that this service can not prove.
func (k AttestationKind) Declared() bool {
	return k == DeclaredKey || k == DeclaredForm || k == DeclaredHistory
}

// AttestedOutcome is what somebody says of a control.
type AttestedOutcome string

const (
	Met           AttestedOutcome = "met"
	NotMet        AttestedOutcome = "not-met"
	NotApplicable AttestedOutcome = "not-applicable"
)

// Bounds of attestations.
const (
	// MaxAttestationDays is the longest life: a year, so that what people say is said anew for each assessment (PCI DSS
	// 4.0.1 has compensating controls reviewed each year, Appendix B).
	MaxAttestationDays = 365
	maxStatement       = 2000
	maxControls        = 32
)

// Attestation is a signed statement of people about controls. It is evidence of what they said, and of nothing else. Row
// id: ID. The signature is that of the signed request, or of the approvals, in Ceremony.
type Attestation struct {
	ID        string          `json:"id"`
	Kind      AttestationKind `json:"kind"`
	Controls  []string        `json:"controls,omitempty"` // "framework:id", as "pci-dss-4.0.1:12.3.1"
	Outcome   AttestedOutcome `json:"outcome,omitempty"`
	Statement string          `json:"statement"`
	// Reference is where what it rests on is found: a document with its version, a ticket, a safe.
	Reference string `json:"reference,omitempty"`
	SHA256    string `json:"sha256,omitempty"` // of what was reviewed or of the document, lower-case hex
	// CoversFrom and CoversTo are the period that a review is about.
	CoversFrom  *time.Time `json:"covers_from,omitempty"`
	CoversTo    *time.Time `json:"covers_to,omitempty"`
	Signer      string     `json:"signer"` // person id; who asked, where a quorum decided
	SignedAt    time.Time  `json:"signed_at"`
	ExpiresAt   time.Time  `json:"expires_at"`
	Ceremony    string     `json:"ceremony"`
	WithdrawnAt *time.Time `json:"withdrawn_at,omitempty"`
	WithdrawnBy string     `json:"withdrawn_by,omitempty"` // person id
}

// InForce reports whether it counts at an instant. Its end comes by date alone.
func (a *Attestation) InForce(at time.Time) bool {
	return !at.Before(a.SignedAt) && at.Before(a.ExpiresAt) && (a.WithdrawnAt == nil || at.Before(*a.WithdrawnAt))
}

// Serves reports whether it is about a control.
func (a *Attestation) Serves(framework, id string) bool {
	return slices.Contains(a.Controls, framework+":"+id)
}

var (
	controlName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,39}:[A-Za-z0-9][A-Za-z0-9 .()/&,+-]{0,63}$`)
	hexDigest   = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Validate names the first field that is wrong (*key.FieldError).
func (a *Attestation) Validate() error {
	checks := []error{
		key.CheckID("id", a.ID),
		key.CheckOneOf("kind", a.Kind, append(AttestedAlone(), AttestedTogether()...)...),
		key.CheckText("statement", a.Statement, maxStatement, false),
		key.CheckText("reference", a.Reference, maxText, true),
		key.CheckID("signer", a.Signer),
		a.checkControls(), a.checkOutcome(), a.checkCovers(),
	}
	if a.SHA256 != "" && !hexDigest.MatchString(a.SHA256) {
		checks = append(checks, &key.FieldError{Field: "sha256", Problem: "no SHA-256", Allowed: "64 lower-case hex digits"})
	}
	if !a.ExpiresAt.After(a.SignedAt) || a.ExpiresAt.Sub(a.SignedAt) > MaxAttestationDays*key.Day {
		checks = append(checks, &key.FieldError{Field: "days", Problem: a.ExpiresAt.Format(time.RFC3339), Allowed: "1 to 365 days"})
	}
	return key.First(checks)
}

func (a *Attestation) checkControls() error {
	least := 1
	if a.Kind.Declared() {
		least = 0
	}
	if err := key.CheckRange("controls", len(a.Controls), least, maxControls, "controls"); err != nil {
		return err
	}
	for i, c := range a.Controls {
		field := fmt.Sprintf("controls[%d]", i)
		if !controlName.MatchString(c) {
			return &key.FieldError{Field: field, Problem: "no name of a control", Allowed: `"framework:id", as "pci-dss-4.0.1:12.3.1"`}
		}
		if slices.Contains(a.Controls[:i], c) {
			return &key.FieldError{Field: field, Problem: "repeats", Allowed: "each control once"}
		}
	}
	return nil
}

// checkOutcome: who answers or overrides says how it stands; a compensating control is met otherwise.
func (a *Attestation) checkOutcome() error {
	switch a.Kind {
	case AttestAnswer, AttestOverride:
		return key.CheckOneOf("outcome", a.Outcome, Met, NotMet, NotApplicable)
	}
	if a.Outcome != "" {
		return &key.FieldError{Field: "outcome", Problem: "given for kind " + string(a.Kind), Allowed: "an outcome of kinds answer and override only"}
	}
	return nil
}

func (a *Attestation) checkCovers() error {
	if (a.CoversFrom == nil) != (a.CoversTo == nil) {
		return &key.FieldError{Field: "covers_to", Problem: "one end of the period is missing", Allowed: "both ends, or neither"}
	}
	if a.CoversFrom == nil {
		return nil
	}
	if !a.CoversTo.After(*a.CoversFrom) || a.CoversTo.After(a.SignedAt) {
		return &key.FieldError{Field: "covers_to", Problem: a.CoversTo.Format(time.RFC3339), Allowed: "after covers_from, and not in the future"}
	}
	return nil
}
