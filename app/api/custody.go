package api

import "time"

// Physical forms of shares, and the custody log.
type (
	ShareForm struct {
		ID           string     `json:"id"`
		Set          string     `json:"set"`
		Epoch        uint32     `json:"epoch"`
		Index        int        `json:"index"`
		Custodian    string     `json:"custodian"`
		Kind         string     `json:"kind"`
		State        string     `json:"state"`
		Site         string     `json:"site,omitempty"` // where it is, or is going to
		Container    string     `json:"container,omitempty"`
		Serial       string     `json:"serial,omitempty"` // of the bag
		Carrier      string     `json:"carrier,omitempty"`
		RegisteredAt time.Time  `json:"registered_at"`
		ChangedAt    time.Time  `json:"changed_at"`
		CheckedAt    *time.Time `json:"checked_at,omitempty"` // when two people last saw the seal intact
		Pending      string     `json:"pending,omitempty"`    // entry that awaits its second signature
	}
	// CustodyFacts is what both people sign, by its digest.
	CustodyFacts struct {
		Form      string     `json:"form"`
		Kind      string     `json:"kind"`
		Set       string     `json:"set"`
		Epoch     uint32     `json:"epoch"`
		Index     int        `json:"index"`
		Action    string     `json:"action"`
		Who       string     `json:"who"`
		Witness   string     `json:"witness"`
		At        time.Time  `json:"at"`
		OutAt     *time.Time `json:"out_at,omitempty"`
		InAt      *time.Time `json:"in_at,omitempty"`
		Purpose   string     `json:"purpose"`
		Ceremony  string     `json:"ceremony,omitempty"`
		OldSerial string     `json:"old_serial,omitempty"`
		Read      string     `json:"read_serial,omitempty"`
		NewSerial string     `json:"new_serial,omitempty"`
		Seal      string     `json:"seal,omitempty"`
		Site      string     `json:"site,omitempty"`
		Container string     `json:"container,omitempty"`
		Carrier   string     `json:"carrier,omitempty"`
	}
	CustodyEntry struct {
		ID         string       `json:"id"`
		Facts      CustodyFacts `json:"facts"`
		Digest     string       `json:"digest"` // hex SHA-256 of the canonical JSON of Facts
		State      string       `json:"state"`  // pending, effective, disputed, replaced
		Suspicion  string       `json:"suspicion,omitempty"`
		Late       bool         `json:"late,omitempty"` // the second signature is overdue
		Recorded   string       `json:"recorded"`       // ceremony with the signature of who
		RecordedAt time.Time    `json:"recorded_at"`
		Signed     string       `json:"signed,omitempty"` // ceremony with the signature of the witness
		SignedAt   *time.Time   `json:"signed_at,omitempty"`
		Remark     string       `json:"remark,omitempty"`
		Finding    string       `json:"finding,omitempty"`
	}
)

// Drills of share sets.
type (
	// Drill is the record of one that was held together.
	Drill struct {
		ID         string    `json:"id"`
		Set        string    `json:"set"`
		Epoch      uint32    `json:"epoch"`
		Kinds      []string  `json:"kinds"`
		Result     string    `json:"result"` // passed, failed
		StartedAt  time.Time `json:"started_at"`
		FinishedAt time.Time `json:"finished_at"`
		RTOMinutes int       `json:"rto_minutes,omitempty"`
		Attendance []string  `json:"attendance"`
		Witnesses  []string  `json:"witnesses,omitempty"`
		SignedBy   []string  `json:"signed_by"`
		Steps      string    `json:"steps,omitempty"`
		Deviations []string  `json:"deviations,omitempty"`
		Site       string    `json:"missing_site,omitempty"`
		Evidence   string    `json:"evidence,omitempty"`
		Shares     []int     `json:"shares,omitempty"` // indices
		Keys       int       `json:"keys,omitempty"`   // whose check values were compared
		Problem    string    `json:"problem,omitempty"`
		Finding    string    `json:"finding,omitempty"`
		Ceremony   string    `json:"ceremony"`
	}
	// DrillDue is where one drill of a set stands.
	DrillDue struct {
		Set    string     `json:"share_set"`
		Kind   string     `json:"kind"`
		Person string     `json:"person,omitempty"` // holder, or who answers for it
		Days   int        `json:"days"`             // period
		Last   *time.Time `json:"last,omitempty"`
		Due    time.Time  `json:"due"`
		Late   bool       `json:"late"`
		What   string     `json:"what"`
	}
)
