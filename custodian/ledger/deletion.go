package ledger

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
)

// Data-plane entries of old groups may be deleted for good under retention, by a ceremony that the log records. Their
// leaf hashes stay, and so does every control-plane entry among them.
const (
	// DeletionType is the type of the entry that records a deletion.
	DeletionType = "ledger.delete-archived"
	// SegmentTarget is the type of its target.
	SegmentTarget = "ledger_segment"
)

// DeletedError says that entries asked for are gone: whole groups of [TileWidth] entries, From ≤ seq < To, of which
// hashes and control-plane entries remain. By is the ceremony that deleted them, "" where whoever answers does not say.
type DeletedError struct {
	From, To uint64
	By       string
	// FirstAt and LastAt are the times of the first and last of them; zero where whoever answers does not say.
	FirstAt, LastAt time.Time
}

// before says that all of them were before an instant, from that none was.
func (e *DeletedError) before(at time.Time) bool { return !e.LastAt.IsZero() && e.LastAt.Before(at) }
func (e *DeletedError) from(at time.Time) bool   { return !e.FirstAt.IsZero() && !e.FirstAt.Before(at) }

// Outside says that none of them was in a period, from ≤ at < to.
func (e *DeletedError) Outside(from, to time.Time) bool { return e.before(from) || e.from(to) }

// Error implements error.
func (e *DeletedError) Error() string {
	s := "ledger " + entryRun(e.From, e.To) + " were deleted under retention"
	if e.By != "" {
		s += " by ceremony " + e.By
	}
	return s
}

// entryRun is how the entries from ≤ seq < to are called.
func entryRun(from, to uint64) string { return fmt.Sprintf("entries %d to %d", from, to-1) }

// Deletion is what an entry of [DeletionType] records.
type Deletion struct {
	Seq      uint64 `json:"seq"` // where it stands
	Segment  string `json:"segment"`
	Ceremony string `json:"ceremony"`
	From     uint64 `json:"from"` // data-plane entries from ≤ seq < to are gone
	To       uint64 `json:"to"`
	// FirstAt and LastAt are the times of the first and last of these entries, as whoever recorded the deletion says; zero
	// where it does not.
	FirstAt time.Time `json:"first_at,omitzero"`
	LastAt  time.Time `json:"last_at,omitzero"`
}

type deletionDetail struct {
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
	FirstAt any    `json:"first_at"`
	LastAt  any    `json:"last_at"`
}

// instant reads a time of a deletion's detail; what is none is the zero time.
func instant(value any) time.Time {
	text, _ := value.(string)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// Covers says whether an entry is in the run.
func (d Deletion) Covers(seq uint64) bool { return d.From <= seq && seq < d.To }

// ReadDeletion reads an entry that records a deletion that was done; false for any other entry. An entry that claims to
// be one and names no whole groups before it is an error.
func ReadDeletion(e *Entry) (Deletion, bool, error) {
	if e.Type != DeletionType || e.Link == nil || e.Outcome != Done {
		return Deletion{}, false, nil
	}
	var d deletionDetail
	if err := json.Unmarshal(e.Detail, &d); err != nil || e.Target.Type != SegmentTarget || e.Target.ID == "" || e.Ceremony == "" {
		return Deletion{}, true, fmt.Errorf("entry %d deletes entries and does not say which, or by which ceremony", e.Seq)
	}
	if d.From >= d.To || d.To > e.Seq || d.From%TileWidth != 0 || d.To%TileWidth != 0 {
		return Deletion{}, true, fmt.Errorf("entry %d deletes entries from %d up to %d: allowed: whole groups of %d before it", e.Seq, d.From, d.To, TileWidth)
	}
	return Deletion{Seq: e.Seq, Segment: e.Target.ID, Ceremony: e.Ceremony, From: d.From, To: d.To, FirstAt: instant(d.FirstAt), LastAt: instant(d.LastAt)}, true, nil
}
