package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

const (
	maxTold = 50 // alerts of one rule told one by one in a step; the others are told together
	// maxReplay bounds how far back counts are made anew (ours): some ten seconds of reading.
	maxReplay = 2_000_000
)

// Alert is what a rule found.
type Alert struct {
	Rule     Rule
	Subject  string
	Count    int
	From     time.Time // of the first use that it counts
	At       time.Time // of the last
	FirstSeq uint64
	LastSeq  uint64
	More     bool // so many alerts as Count, together: there were too many to be told one by one
}

// words are what the subject of an alert reads like.
func (a *Alert) words() string {
	switch {
	case a.More:
		return fmt.Sprintf("%d more of other actors or keys", a.Count)
	case a.Rule.FirstUse:
		return "actor " + a.actor() + ", key " + a.key()
	}
	return ledger.CleanText(a.Subject)
}

// gather tells what is too much to be told one by one together, by rule.
func gather(found []Alert, most func(Rule) int) []Alert {
	var out []Alert
	told, more := map[string]int{}, map[string]int{} // more: place of the one that stands for the others
	for _, a := range found {
		if told[a.Rule.ID]++; told[a.Rule.ID] <= most(a.Rule) {
			out = append(out, a)
			continue
		}
		at, known := more[a.Rule.ID]
		if !known {
			a.More, a.Count = true, 1
			more[a.Rule.ID] = len(out)
			out = append(out, a)
			continue
		}
		together := &out[at]
		together.Count, together.At, together.LastSeq = together.Count+1, a.At, a.LastSeq
	}
	return out
}

// errElsewhere: another replica has looked at these entries meanwhile.
var errElsewhere = errors.New("looked at already")

// record makes what a step found entries, and notes with them in one commit up to where was looked: so that none is
// recorded twice, whatever ends this process in between, and whoever else looks at the same entries.
func (w *Watch) record(ctx context.Context, found []Alert, from, to uint64) error {
	if len(found) == 0 {
		return nil
	}
	_, err := w.store.Control(ctx, func(tx *store.Tx) error {
		row, err := watched(tx.View())
		if err != nil {
			return err
		}
		if row.To > from {
			return errElsewhere
		}
		next := row.Clone()
		next.To = to
		for i := range found {
			if a := &found[i]; !a.Rule.Notice {
				next.Add(oversight.OpenAlert{Rule: a.Rule.ID, Title: a.Rule.Title, Subject: a.words(), Count: a.Count, From: a.From.UTC(), At: tx.Now().UTC(),
					FirstSeq: a.FirstSeq, LastSeq: a.LastSeq})
			}
		}
		if err := tx.Put(custodian.KindWatched, oversight.WatchedRow, next); err != nil {
			return err
		}
		for i := range found {
			if err := tx.Append(w.entry(&found[i])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording alerts: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range found {
		w.found[a.Rule.ID]++
		w.log.Warn("the monitor found something", "rule", a.Rule.ID, "subject", a.words(), "count", a.Count, "entries", fmt.Sprintf("%d to %d", a.FirstSeq, a.LastSeq))
	}
	return nil
}

func watched(view *store.View) (*oversight.Watched, error) {
	row, _, err := store.Get[oversight.Watched](view, custodian.KindWatched, oversight.WatchedRow)
	if errors.Is(err, store.ErrNotFound) {
		return &oversight.Watched{}, nil
	}
	return row, err
}

// entry is what the ledger keeps of an alert.
func (w *Watch) entry(a *Alert) ledger.Entry {
	outcome := ledger.Failed
	if a.Rule.Notice {
		outcome = ledger.Done
	}
	e := ledger.Entry{Type: "monitor.alert", Actor: identity.Principal{Kind: identity.Node, ID: w.node}, Target: ledger.Target{Type: "rule", ID: a.Rule.ID},
		Outcome: outcome, Reason: a.Rule.ID, Policy: w.mark(),
		Detail: custodian.Detail(map[string]any{"title": a.Rule.Title, "subject": a.words(), "count": a.Count, "from": a.From, "first_seq": a.FirstSeq, "last_seq": a.LastSeq})}
	ledger.ShrinkDetail(&e)
	return e
}

// rebuild makes the counts what they would be, had this process looked at everything before an entry: after a start, and
// where another replica has looked meanwhile. It reads twice the longest window, since what was told in the first half
// keeps quiet in the second, and heeds the alerts that are recorded.
func (w *Watch) rebuild(ctx context.Context, at uint64) error {
	if w.next == at {
		return nil
	}
	w.windows.clear()
	clear(w.known)
	longest := 0
	for _, r := range w.rules {
		longest = max(longest, r.Seconds)
	}
	if longest == 0 || at == 0 {
		w.next = at
		return nil
	}
	_, last, err := w.store.EntryAt(ctx, at-1)
	if err != nil {
		return err
	}
	begin, err := w.store.FirstAt(ctx, last.At.Add(-2*time.Duration(longest)*time.Second))
	if err != nil {
		return err
	}
	if at-min(begin, at) > maxReplay {
		begin = at - maxReplay
		w.log.Warn("the ledger grew fast: of the monitor's windows only the newest entries are counted anew", "entries", maxReplay)
	}
	told, err := w.toldSince(ctx, begin)
	if err != nil {
		return err
	}
	err = w.store.Entries(ctx, begin, at, func(e *ledger.Entry, _ []byte) error {
		w.counted(e, told, func(Alert) {}) // told at the time
		return ctx.Err()
	})
	if err == nil {
		w.next = at
	}
	return err
}

// toldSince are the entries with which recorded alerts were reached, by window.
func (w *Watch) toldSince(ctx context.Context, begin uint64) (map[string][]uint64, error) {
	told := map[string][]uint64{}
	err := w.store.ControlEntries(ctx, begin, func(e *ledger.Entry, _ []byte) error {
		if e.Type != "monitor.alert" {
			return nil
		}
		var d struct {
			Subject string `json:"subject"`
			LastSeq uint64 `json:"last_seq"`
		}
		if json.Unmarshal(e.Detail, &d) == nil {
			id := windowID(e.Target.ID, d.Subject)
			told[id] = append(told[id], d.LastSeq)
		}
		return nil
	})
	return told, err
}
