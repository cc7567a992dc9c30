package oversight

import "time"

// LogDay sums up the entries of one day (UTC): what whoever reviews the log goes over. Row id: the day.
type LogDay struct {
	Day      string         `json:"day"`  // 2006-01-02
	From     uint64         `json:"from"` // its entries: From ≤ seq < To
	To       uint64         `json:"to"`
	Leaf     string         `json:"leaf,omitempty"` // leaf hash of its last entry, hex; none: a day without entries
	Entries  map[string]int `json:"entries"`        // by type
	Refused  int            `json:"refused"`        // entries with outcome deny
	Failed   int            `json:"failed"`
	Notable  []NotableEntry `json:"notable"` // what is to be looked at one by one, at most MaxNotable
	More     int            `json:"more"`    // notable entries that are not in the list
	MadeAt   time.Time      `json:"made_at"`
	Reviewed *LogReview     `json:"reviewed,omitempty"`
}

// MaxNotable is how many entries the summary of a day lists (ours): more than anybody goes over one by one.
const MaxNotable = 100

// NotableEntry is an entry of a day that somebody must look at.
type NotableEntry struct {
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Type   string    `json:"type"`
	Target string    `json:"target"`
	Reason string    `json:"reason,omitempty"`
}

// LogReview is one person's word that they went over a day's log (PCI DSS 4.0.1, 10.4.1). The signature is that of the
// request, in Ceremony.
type LogReview struct {
	By       string    `json:"by"` // person id
	At       time.Time `json:"at"`
	Outcome  Outcome   `json:"outcome"` // Confirmed, or Found
	Note     string    `json:"note"`
	Finding  string    `json:"finding,omitempty"`
	Ceremony string    `json:"ceremony"`
}

// LogReviewWithin is how long after a day's end its log is to have been reviewed: "at least once daily" (PCI DSS 4.0.1,
// 10.4.1).
const LogReviewWithin = 24 * time.Hour

// Start is the first instant of the day, zero where the id is no day.
func (d *LogDay) Start() time.Time {
	at, err := time.Parse(time.DateOnly, d.Day)
	if err != nil {
		return time.Time{}
	}
	return at
}

// DueAt is until when the day is to be reviewed.
func (d *LogDay) DueAt() time.Time { return d.Start().Add(24*time.Hour + LogReviewWithin) }

// Late reports whether the review came, or is, after its time.
func (d *LogDay) Late(now time.Time) bool {
	if d.Reviewed != nil {
		return d.Reviewed.At.After(d.DueAt())
	}
	return now.After(d.DueAt())
}

// DayReview is as much of a day as says whether it is reviewed.
type DayReview struct {
	Reviewed *struct{} `json:"reviewed"`
}

// ReviewedDay says of a stored day whether anything is still to happen to it; its mark is nothing.
func ReviewedDay(d *DayReview) (mark uint64, reviewed bool) { return 0, d.Reviewed != nil }
