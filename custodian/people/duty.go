package people

import (
	"time"

	"conclave/custodian/key"
)

// DutyKind is what has to follow from a departure or a lost device. Its own facts say when it is done.
type DutyKind string

const (
	// DutyShare: a share that the person holds is re-issued to others.
	DutyShare DutyKind = "share"
	// DutyShareKey: a share sealed to a lost key is proven readable again, moved or re-issued.
	DutyShareKey DutyKind = "share-key"
	// DutyCleartext: a key whose cleartext the person saw is replaced (PCI DSS 4.0.1, 3.7.5).
	DutyCleartext DutyKind = "cleartext"
	// DutyTokens: tokens whose secrets the person was shown are revoked; with a subject, those made with that key.
	DutyTokens DutyKind = "tokens"
	// DutyInvitations: invitations that the person opened and that may still bring keys in are withdrawn; with a subject,
	// those opened with that key.
	DutyInvitations DutyKind = "invitations"
	// DutyGrants: grants that the person asked for are looked through; with a subject, those asked for with that key.
	DutyGrants DutyKind = "grants"
	// DutyEnrolments: applications that were enrolled at the request of the key that is its subject are looked through.
	DutyEnrolments DutyKind = "enrolments"
	// DutyKeys, DutyApplications, DutyKeystores: what the person is answerable for goes to somebody else.
	DutyKeys         DutyKind = "keys"
	DutyApplications DutyKind = "applications"
	DutyKeystores    DutyKind = "keystores"
	// DutyBackups: those whom the person stands in for name somebody else.
	DutyBackups DutyKind = "backups"
	// DutyReports: those who report to the person get another manager in the register.
	DutyReports DutyKind = "reports"
)

// Why duties were opened.
const (
	CauseDeparture = "departure"
	CauseLeaving   = "leaving" // suspended, since they are about to leave; ends where they come back
	CauseRole      = "role"    // no custodian any more
	CauseDevice    = "device"  // lost, or replaced
	// CauseCredential: an approval key was taken back, and whoever had it may have left something behind.
	CauseCredential = "credential"
)

// Clocks of duties (ceremony practice, loss, compromise, leaving; all ours but 3.7.5's cause).
const (
	ClockAccess   = time.Hour           // what still opens a door for somebody who left
	ClockTogether = 24 * time.Hour      // two or more holders of one set left together
	ClockLeaving  = 30 * 24 * time.Hour // shares never seen in the clear, keys that were, ownership
	ClockDevice   = 5 * 24 * time.Hour  // a share that is lost without a sign of exposure
	ClockAsked    = 24 * time.Hour      // grants and applications that a key taken back asked for
)

// Duty is one line of what must follow. Row id: ID.
type Duty struct {
	ID     string   `json:"id"`
	Kind   DutyKind `json:"kind"`
	Person string   `json:"person"` // because of whom
	Cause  string   `json:"cause"`
	// Subject is the share (its register id), the key or the approval key that it is about; "" where it is about all of a
	// kind.
	Subject string `json:"subject,omitempty"`
	// Version is the newest version of the key when its cleartext was declared seen.
	Version  uint32     `json:"version,omitempty"`
	Task     string     `json:"task"` // what is to be done, in words
	Control  string     `json:"control,omitempty"`
	OpenedAt time.Time  `json:"opened_at"`
	OpenedBy string     `json:"opened_by"` // ceremony id
	DueAt    time.Time  `json:"due_at"`
	ClosedAt *time.Time `json:"closed_at,omitempty"`
	ClosedBy string     `json:"closed_by,omitempty"` // person id, "node:id" where the facts closed it
	Finding  string     `json:"finding,omitempty"`   // how it was done
}

// Open says whether the duty still stands.
func (d *Duty) Open() bool { return d.ClosedAt == nil }

// Overdue says whether its time is over.
func (d *Duty) Overdue(now time.Time) bool { return d.Open() && !now.Before(d.DueAt) }

// Same says whether two duties are about the same thing.
func (d *Duty) Same(o *Duty) bool {
	return d.Kind == o.Kind && d.Person == o.Person && d.Subject == o.Subject
}

// Validate checks the row and names the first field that is wrong (*key.FieldError).
func (d *Duty) Validate() error {
	return key.First([]error{
		key.CheckID("id", d.ID),
		key.CheckID("person", d.Person),
		key.CheckOneOf("kind", d.Kind, DutyShare, DutyShareKey, DutyCleartext, DutyTokens, DutyInvitations, DutyGrants, DutyEnrolments,
			DutyKeys, DutyApplications, DutyKeystores, DutyBackups, DutyReports),
		key.CheckOneOf("cause", d.Cause, CauseDeparture, CauseLeaving, CauseRole, CauseDevice, CauseCredential),
		key.CheckText("task", d.Task, 300, false),
		key.CheckText("finding", d.Finding, 500, true),
	})
}
