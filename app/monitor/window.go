package monitor

import (
	"log/slog"
	"slices"
	"time"

	"conclave/custodian/ledger"
)

// Bounds of what is counted.
const (
	// slices of a window: what lies together in one is counted as one, so that a burst may be longer than its window by
	// that much and still count; a burst that fits into the window always does.
	windowSlots = 60
	maxSubjects = 100_000   // counted at once
	maxSlots    = 1_000_000 // of all subjects: some 32 MiB
)

// windows counts, of each rule and subject, the uses within the rule's time up to the newest. They slide: there is no
// boundary that a burst could lie across.
type windows struct {
	log   *slog.Logger
	by    map[string]*sliding
	slots int // of all subjects
}

func newWindows(log *slog.Logger) *windows { return &windows{log: log, by: map[string]*sliding{}} }

type sliding struct {
	seconds int
	slots   []slot    // oldest first; those that no alert has told of
	told    time.Time // of the alert before
}

type slot struct {
	index uint64 // time in slots since 1970
	at    int64  // of its first use, nanoseconds since 1970
	count int
	first uint64 // sequence number
}

func windowID(rule, subject string) string { return rule + "\x00" + subject }

// add counts a use, and gives an alert when the rule's count is reached: the uses of which it tells count no more, and
// another follows after the rule's time at the earliest. told are the sequence numbers with which alerts that are recorded
// already were reached, by id; they overrule the counts.
func (w *windows) add(r Rule, e *ledger.Entry, subject string, told map[string][]uint64) *Alert {
	w.makeRoom(e.At)
	id := windowID(r.ID, subject)
	s := w.by[id]
	if s == nil {
		s = &sliding{seconds: r.Seconds}
		w.by[id] = s
	}
	index := uint64(e.At.UnixNano()) / (uint64(r.Seconds) * uint64(time.Second) / windowSlots)
	w.slots -= len(s.slots)
	s.drop(index)
	if n := len(s.slots); n > 0 && s.slots[n-1].index == index {
		s.slots[n-1].count++
	} else {
		s.slots = append(s.slots, slot{index: index, at: e.At.UnixNano(), count: 1, first: e.Seq})
	}
	defer func() { w.slots += len(s.slots) }()
	count := 0
	for _, one := range s.slots {
		count += one.count
	}
	quiet := !s.told.IsZero() && e.At.Before(s.told.Add(time.Duration(r.Seconds)*time.Second))
	if !slices.Contains(told[id], e.Seq) && (quiet || count < r.Count) {
		return nil
	}
	a := &Alert{Rule: r, Subject: subject, Count: count, From: time.Unix(0, s.slots[0].at), FirstSeq: s.slots[0].first, At: e.At, LastSeq: e.Seq}
	s.slots, s.told = nil, e.At
	return a
}

// drop forgets what has left the window that ends in a slot.
func (s *sliding) drop(newest uint64) {
	gone := 0
	for gone < len(s.slots) && s.slots[gone].index+windowSlots < newest {
		gone++
	}
	if gone > 0 {
		s.slots = append(s.slots[:0:0], s.slots[gone:]...)
	}
}

// makeRoom keeps the whole in bounds: subjects whose windows are over go, and where that is not enough counting begins
// anew.
func (w *windows) makeRoom(now time.Time) {
	if len(w.by) < maxSubjects && w.slots < maxSlots {
		return
	}
	for id, s := range w.by {
		since := s.told
		if n := len(s.slots); n > 0 {
			since = time.Unix(0, s.slots[n-1].at)
		}
		if now.Sub(since) > time.Duration(s.seconds)*time.Second*(windowSlots+1)/windowSlots {
			w.slots -= len(s.slots)
			delete(w.by, id)
		}
	}
	if len(w.by) < maxSubjects*3/4 && w.slots < maxSlots*3/4 {
		return
	}
	w.log.Warn("the monitor counts too many subjects at once and begins anew", "subjects", len(w.by))
	w.clear()
}

func (w *windows) clear() {
	clear(w.by)
	w.slots = 0
}
