package oversight

import (
	"slices"
	"time"
)

// Monitored is what the daily run found of one framework. Row id: Framework.
type Monitored struct {
	Framework string                    `json:"framework"`
	RunAt     time.Time                 `json:"run_at"`
	Verdicts  map[string]ControlVerdict `json:"verdicts"` // by control
}

// ControlVerdict is one control's verdict, and since which run it is so.
type ControlVerdict struct {
	Verdict string    `json:"verdict"`
	Since   time.Time `json:"since"`
}

// WatchedRow is the id of the one row of [Watched].
const WatchedRow = "rules"

// Watched is up to where the rules had looked when they last found something, and the alarms that wait for somebody.
type Watched struct {
	To     uint64      `json:"to"`   // entries before it were looked at
	Open   []OpenAlert `json:"open"` // until the log of the day of their entry is reviewed, oldest first, at most MaxOpen
	More   int         `json:"more,omitempty"`
	MoreOn string      `json:"more_on,omitempty"` // day of the newest that is not listed any more
}

// MaxOpen is how many alarms are listed (ours); the oldest give way.
const MaxOpen = 100

// OpenAlert is an alarm of the rules that nobody has reviewed.
type OpenAlert struct {
	Rule     string    `json:"rule"`
	Title    string    `json:"title"`
	Subject  string    `json:"subject"`
	Count    int       `json:"count"`
	From     time.Time `json:"from"`
	At       time.Time `json:"at"` // when it was recorded
	FirstSeq uint64    `json:"first_seq"`
	LastSeq  uint64    `json:"last_seq"`
}

// Clone is a copy to change.
func (w *Watched) Clone() *Watched {
	out := *w
	out.Open = append([]OpenAlert{}, w.Open...)
	return &out
}

// Add lists an alarm.
func (w *Watched) Add(a OpenAlert) {
	w.Open = append(w.Open, a)
	if over := len(w.Open) - MaxOpen; over > 0 {
		w.MoreOn = day(w.Open[over-1].At)
		w.Open, w.More = w.Open[over:], w.More+over
	}
}

// Review takes off the list what was recorded on a day, and says whether there was anything.
func (w *Watched) Review(reviewed string) bool {
	before := len(w.Open)
	w.Open = slices.DeleteFunc(w.Open, func(a OpenAlert) bool { return day(a.At) == reviewed })
	if w.More > 0 && w.MoreOn <= reviewed {
		w.More, w.MoreOn = 0, ""
		return true
	}
	return len(w.Open) < before
}

func day(at time.Time) string { return at.UTC().Format(time.DateOnly) }
