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
