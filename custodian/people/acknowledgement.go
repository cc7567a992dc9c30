package people

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"conclave/custodian/key"
)

// AcknowledgementPeriod is how long an acknowledgement lasts. PCI DSS 4.0.1, 3.7.8 sets no interval; yearly
// renewal, and renewal with each version of the form, is ours.
const AcknowledgementPeriod = 365 * 24 * time.Hour

// Form is the text a custodian signs.
type Form struct {
	Version string
	Title   string
	Opening string
	Duties  []string
	Closing string
}

// CurrentForm is the form in force. Any change of its words takes a new version, and everybody signs again.
func CurrentForm() Form {
	return Form{
		Version: "1",
		Title:   "Acknowledgement of key custodian duties",
		Opening: "I hold a position of trust over cryptographic keys. I have been told what it means, I understand it, and I accept these duties:",
		Duties: []string{
			"I hold at most one share of a share set, and I am not the backup of another share of the same set.",
			"I do not copy my share or my keys, I do not write them down outside their protected form, and I show them to nobody, my managers included.",
			"I keep my key file and its passphrase apart, under my sole control.",
			"I report the loss, theft or possible exposure of my share, my keys or my device at once, day or night.",
			"I approve only what I have read and understood. I refuse what I doubt, and I say why.",
			"I never approve my own request and never sign on behalf of another person, nor let another sign for me.",
			"I confirm my share when it is issued, and I take part in drills and ceremonies when I am called.",
			"I declare conflicts of interest, and a change of my role, team or manager, before I act again.",
			"When I leave my position I hand back my share and stop using my keys; what I learned stays confidential.",
		},
		Closing: "I know that everything I sign is recorded for good and shown to auditors. " +
			"This acknowledgement ends after one year, or earlier when the form changes or I leave my position.",
	}
}

// Text is the whole form as it is shown and hashed: UTF-8, lines ended by a line feed.
func (f Form) Text() string {
	var b strings.Builder
	b.WriteString(f.Title + "\nVersion " + f.Version + "\n\n" + f.Opening + "\n")
	for _, d := range f.Duties {
		b.WriteString("- " + d + "\n")
	}
	b.WriteString("\n" + f.Closing + "\n")
	return b.String()
}

// Digest is the SHA-256 of Text in hex.
func (f Form) Digest() string {
	sum := sha256.Sum256([]byte(f.Text()))
	return hex.EncodeToString(sum[:])
}

// Terms are the particulars of one acknowledgement: the parameters of the statement that its signer signs.
type Terms struct {
	// Instance is the one that the duty is accepted in; "" in what was signed before acknowledgements named it.
	Instance    string   `json:"instance,omitempty"`
	Person      string   `json:"person"`
	Name        string   `json:"name"`
	StaffNumber string   `json:"staff_number,omitempty"`
	Roles       []Role   `json:"roles"`
	ShareSets   []string `json:"share_sets,omitempty"`
	FormVersion string   `json:"form_version"`
	FormSHA256  string   `json:"form_sha256"`         // Form.Digest
	Conflicts   string   `json:"conflicts,omitempty"` // declared conflicts of interest, "" for none
	Backup      string   `json:"backup,omitempty"`    // name of who stands in
	TrainedOn   string   `json:"trained_on,omitempty"`
	EffectiveAt string   `json:"effective_at"` // RFC 3339, whole seconds, UTC
	ExpiresAt   string   `json:"expires_at"`   // RFC 3339, whole seconds, UTC
}

// NewTerms fills in the terms of the current form for a person of an instance, from now on for AcknowledgementPeriod.
func NewTerms(instance string, p *Person, sets []string, now time.Time) Terms {
	from := now.UTC().Truncate(time.Second)
	return Terms{
		Instance: instance, Person: p.ID, Name: p.Name, StaffNumber: p.StaffNumber, Roles: p.Roles, ShareSets: sets,
		FormVersion: CurrentForm().Version, FormSHA256: CurrentForm().Digest(),
		EffectiveAt: from.Format(time.RFC3339), ExpiresAt: from.Add(AcknowledgementPeriod).Format(time.RFC3339),
	}
}

// Validate checks the terms against the instance, the person who signs and the current form, at the time of signing, and
// returns when they begin and end. An error names the field (*key.FieldError).
func (t Terms) Validate(instance string, p *Person, now time.Time) (from, until time.Time, err error) {
	form := CurrentForm()
	from, errFrom := time.Parse(time.RFC3339, t.EffectiveAt)
	until, errUntil := time.Parse(time.RFC3339, t.ExpiresAt)
	exact := func(s string, at time.Time) bool { return s == at.UTC().Format(time.RFC3339) } // whole seconds, UTC
	bad := func(field, problem, allowed string) error {
		return &key.FieldError{Field: field, Problem: problem, Allowed: allowed}
	}
	checks := []error{
		key.CheckText("conflicts", t.Conflicts, 1000, true),
		key.CheckText("backup", t.Backup, 128, true),
	}
	if t.TrainedOn != "" {
		if _, err := time.Parse(time.DateOnly, t.TrainedOn); err != nil {
			checks = append(checks, bad("trained_on", "not a date", "a date as 2006-01-02, or nothing"))
		}
	}
	switch {
	case t.Instance != instance:
		err = bad("instance", "not this one, or none", instance)
	case t.Person != p.ID:
		err = bad("person", "not who signs", p.ID)
	case t.Name != p.Name:
		err = bad("name", "not the name in the register", p.Name)
	case t.StaffNumber != p.StaffNumber:
		err = bad("staff_number", "not the number in the register", "the number in the register")
	case !slices.Equal(t.Roles, p.Roles):
		err = bad("roles", "not the roles in the register", "the roles in the register, in its order")
	case t.FormVersion != form.Version:
		err = bad("form_version", "not in force", form.Version)
	case t.FormSHA256 != form.Digest():
		err = bad("form_sha256", "not the digest of the form", form.Digest())
	case errFrom != nil || !exact(t.EffectiveAt, from) || from.After(now) || now.Sub(from) > 24*time.Hour:
		err = bad("effective_at", "not a time of the last 24 hours", "the time of signing, RFC 3339, whole seconds, UTC")
	case errUntil != nil || !exact(t.ExpiresAt, until) || !until.After(now) || until.Sub(from) > AcknowledgementPeriod:
		err = bad("expires_at", "not within a year", "at most 365 days after effective_at, RFC 3339, whole seconds, UTC")
	}
	return from.UTC(), until.UTC(), key.First(append(checks, err))
}
