package oversight

import (
	"time"

	"conclave/custodian/key"
)

// Source says what a finding came from.
type Source string

const (
	FromReview    Source = "review"         // a review found something
	FromUndo      Source = "undo"           // a review wants something undone
	FromOverdue   Source = "review-overdue" // nobody reviewed in time
	FromDrill     Source = "drill"          // a drill failed
	FromDeparture Source = "departure"      // something that must follow a departure is late
	FromIncident  Source = "incident"       // suspicion or event
	FromLapse     Source = "lapse"          // a date on a register passed without what was to be done
	FromPerson    Source = "person"         // somebody saw something
)

// Sources returns all sources.
func Sources() []Source {
	return []Source{FromReview, FromUndo, FromOverdue, FromDrill, FromDeparture, FromIncident, FromLapse, FromPerson}
}

// Longest time to mend a finding, and the time that one opened by the service gets (ours).
const (
	MaxFindingDays     = 90
	DefaultFindingDays = 7
)

// Finding is something that somebody must put right by a date. Row id: ID.
type Finding struct {
	ID       string     `json:"id"`
	Title    string     `json:"title"`
	Source   Source     `json:"source"`
	About    Ref        `json:"about"`
	Owner    string     `json:"owner"` // person who answers for it
	OpenedAt time.Time  `json:"opened_at"`
	OpenedBy string     `json:"opened_by"` // principal
	DueAt    time.Time  `json:"due_at"`
	Ceremony string     `json:"ceremony,omitempty"` // that it came from
	Changes  int        `json:"changes,omitempty"`  // how often owner or date were changed
	ClosedAt *time.Time `json:"closed_at,omitempty"`
	ClosedBy string     `json:"closed_by,omitempty"` // person id, never the owner
	Evidence string     `json:"evidence,omitempty"`  // what shows that it is mended
}

// Open reports whether it is not closed.
func (f *Finding) Open() bool { return f.ClosedAt == nil }

// Overdue reports whether it is open past its date.
func (f *Finding) Overdue(now time.Time) bool { return f.Open() && now.After(f.DueAt) }

// Blocks reports whether the finding stands against releasing what it is about: it is open, and about the thing
// itself. One that asks for the release, or for a review of it, does not.
func (f *Finding) Blocks(r Ref) bool {
	return f.Open() && f.About == r && f.Source != FromUndo && f.Source != FromOverdue
}

// Validate names the first field that is wrong (*key.FieldError).
func (f *Finding) Validate() error {
	checks := []error{
		key.CheckID("id", f.ID),
		key.CheckText("title", f.Title, maxTitle, false),
		key.CheckOneOf("source", f.Source, Sources()...),
		f.About.validate("about"),
		key.CheckID("owner", f.Owner),
		key.CheckText("evidence", f.Evidence, maxText, f.Open()),
	}
	if !f.DueAt.After(f.OpenedAt) || f.DueAt.Sub(f.OpenedAt) > MaxFindingDays*key.Day*time.Duration(1+f.Changes) {
		checks = append(checks, &key.FieldError{Field: "due_at", Problem: f.DueAt.Format(time.RFC3339), Allowed: "within 90 days"})
	}
	return key.First(checks)
}
