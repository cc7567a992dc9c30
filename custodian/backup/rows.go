// Package backup is what there is to know about copies of an instance: when they are made and who can open them, the
// register of those that exist, the encrypted file that each is, the journal of restrictions beside them, and the
// record of a recovery. Values and formats; nothing here knows the database. docs/backup-format.md.
package backup

import (
	"encoding/json"
	"time"

	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/location"
	"conclave/custodian/people"
)

// Status of a schedule.
const (
	ScheduleActive  = "active"
	ScheduleStopped = "stopped"
)

// Bounds of a schedule (ours).
const (
	MinInterval = 1 // minutes
	MaxInterval = 90 * 24 * 60
	MaxKeep     = 1000
)

// Schedule says where copies go, how often, how many stay, and which key they are encrypted to. Row kind
// "backup_schedule", id ID. Anybody can encrypt to the key; its private half exists only as the shares of ShareSet.
type Schedule struct {
	ID           string          `json:"id"`
	Directory    string          `json:"directory"` // absolute, and must exist, so that an absent mount is noticed; or s3://BUCKET/PREFIX
	EveryMinutes int             `json:"every_minutes"`
	Keep         int             `json:"keep"` // copies that stay; older ones are deleted
	ShareSet     string          `json:"share_set"`
	Epoch        uint32          `json:"epoch"` // of the share set that holds Key's private half
	Key          json.RawMessage `json:"key"`   // public P-256 JWK
	KeyID        string          `json:"key_id"`
	Status       string          `json:"status"`
	GovRevision  uint64          `json:"gov_revision"`
	CreatedAt    time.Time       `json:"created_at"`
	DecidedBy    string          `json:"decided_by"` // ceremony that decided what stands here: what each run cites
}

// Interval is the time between two copies.
func (s *Schedule) Interval() time.Duration { return time.Duration(s.EveryMinutes) * time.Minute }

// Retention is how far back the copies reach that stay.
func (s *Schedule) Retention() time.Duration { return time.Duration(s.Keep) * s.Interval() }

// Validate checks the record and names the first field that is wrong (*key.FieldError).
func (s *Schedule) Validate() error {
	checks := []error{
		key.CheckID("id", s.ID),
		location.Check("directory", s.Directory),
		key.CheckRange("every_minutes", s.EveryMinutes, MinInterval, MaxInterval, "minutes"),
		key.CheckRange("keep", s.Keep, 1, MaxKeep, "copies"),
		key.CheckID("share_set", s.ShareSet),
		key.CheckOneOf("status", s.Status, ScheduleActive, ScheduleStopped),
	}
	return key.First(checks)
}

// PublicKey is the backup key.
func (s *Schedule) PublicKey() (jwk.Key, error) { return jwk.Parse(s.Key) }

// CopyStatus of a registered copy.
type CopyStatus string

const (
	CopyPresent CopyStatus = "present" // where the register says, as far as is known
	CopyExpired CopyStatus = "expired" // more recent ones are enough: to be deleted
	CopyDeleted CopyStatus = "deleted" // deleted by the service, or attested to be
)

// Copy is one backup. Row kind "backup", id ID. As long as it is not deleted, what was in the database at Size can be
// opened by a quorum of the shares of that time.
type Copy struct {
	ID        string            `json:"id"`
	Schedule  string            `json:"schedule"`
	File      string            `json:"file"` // absolute path on the node that wrote it, or its place in an object store: see [Object]
	Bytes     int64             `json:"bytes"`
	SHA256    string            `json:"sha256"` // of the whole file, hex
	Size      uint64            `json:"size"`   // ledger entries in it
	Root      string            `json:"root"`   // of their tree, base64
	Rows      uint64            `json:"rows"`
	ShareSet  string            `json:"share_set"` // whose shares open it
	Epoch     uint32            `json:"epoch"`
	Threshold int               `json:"threshold"`
	Control   uint64            `json:"control"` // control-plane entries in it: the journal goes on from there
	KeyID     string            `json:"key_id"`
	Sets      map[string]uint32 `json:"sets"` // epoch of every share set whose secrets protect what is in it
	// ControlLast is the Seq of the last of them: the journal begins with it, which links the two.
	ControlLast uint64 `json:"control_last,omitempty"`
	Node        string `json:"node"`
	// AskedBy is the person who asked for it beside the schedule; "" for what the schedule brought.
	AskedBy string `json:"asked_by,omitempty"`
	// LeftBy is the recovery that left the ledger behind of which this is a copy; "" for the instance's own.
	LeftBy    string     `json:"left_by,omitempty"`
	StartedAt time.Time  `json:"started_at"`
	At        time.Time  `json:"at"` // written, read back and verified
	Status    CopyStatus `json:"status"`
	GoneAt    *time.Time `json:"gone_at,omitempty"`
	GoneBy    string     `json:"gone_by,omitempty"` // ceremony id, or "retention"
	Drills    []Drill    `json:"drills,omitempty"`
}

// Outstanding says whether the copy may still exist.
func (c *Copy) Outstanding() bool { return c.Status != CopyDeleted }

// Under says whether one epoch of a share set opens something of the copy: what a keystore's secret of that time
// protects in it, or, for a set of backups, the copy itself. A set that was replaced is in later copies too, but opens
// nothing in them.
func (c *Copy) Under(set *people.ShareSet, epoch uint32) bool {
	if set.Purpose == people.PurposeBackup {
		return c.ShareSet == set.ID && c.Epoch == epoch
	}
	until := set.SupersededAt(epoch)
	return c.Sets[set.ID] == epoch && (until.IsZero() || !c.StartedAt.After(until))
}

// Holds says whether the material of a version may be in the copy: made before the copy was finished, and not destroyed
// before it was begun.
func (c *Copy) Holds(v *key.Version) bool {
	return !v.GeneratedAt.After(c.At) && (v.DestroyedAt == nil || !c.StartedAt.After(*v.DestroyedAt))
}

// MaxDrills bounds the drills that a copy's row keeps; the ledger keeps all of them.
const MaxDrills = 8

// Drill is one restore test: the copy was opened by a quorum and restored whole into a scratch instance.
type Drill struct {
	At       time.Time `json:"at"`
	Record   string    `json:"record"` // SHA-256 of the signed record, hex
	People   []string  `json:"people"`
	Witness  string    `json:"witness"`
	Entries  uint64    `json:"entries"`
	Rows     int       `json:"rows"`
	Ceremony string    `json:"ceremony"`
}

// PrefixRow is an authority row as it stood in the backup: whoever reads the ledger can hold its hash against the
// entry that bound it.
type PrefixRow struct {
	Kind string `json:"kind"`
	ID   string `json:"id"`
	Body []byte `json:"body"` // canonical JSON
}

// Recovery is what a recovery epoch rests on. Row kind "recovery", id ID: everything that somebody who saw the lost
// ledger needs to judge it by.
type Recovery struct {
	ID           string            `json:"id"`        // of the session
	Session      []byte            `json:"session"`   // the exact bytes that were approved
	Envelopes    []json.RawMessage `json:"envelopes"` // the signed approvals and the witness's attendance
	Rows         []PrefixRow       `json:"rows"`      // signers, share set and shares, as the backup has them
	Size         uint64            `json:"size"`      // entries of the backup: the recovery stands behind them
	People       []string          `json:"people"`
	Witnesses    []string          `json:"witnesses"`
	Restrictions []string          `json:"restrictions,omitempty"` // what of the lost range was applied again
	Deviations   []string          `json:"deviations,omitempty"`   // what could not be known or applied
	At           time.Time         `json:"at"`
}
