package control

import (
	"strings"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/usage"
)

// Rolled is how many uses of the period were taken from daily counts. Their entries were not read one by one.
func (ev *Events) Rolled() int { return ev.rolled }

// CountedByDay is the type under which entries of the data plane are counted that were not read one by one.
const CountedByDay = usePrefix + "*"

// CountUnread counts entries of the data plane of which only the daily counts are read.
func (ev *Events) CountUnread(n int) {
	if n > 0 {
		ev.counts[CountedByDay] += n
	}
}

// RollDay takes in what is counted of one key version on one day: all rows of that version and day. It returns false where
// a limit of the version (its end, a suspension) lies among the protecting uses: those are not taken in, and their entries
// must be read, see ObserveUses.
func (ev *Events) RollDay(rows []store.UsageRow) bool {
	clean := true
	for _, r := range rows {
		if !protecting(r) {
			continue
		}
		_, _, whole := ev.placed(r)
		clean = clean && whole
	}
	for _, r := range rows {
		if clean || !protecting(r) {
			ev.roll(r)
		}
	}
	return clean
}

func protecting(r store.UsageRow) bool {
	return r.Outcome == string(ledger.Allow) && protects(usePrefix+r.Operation)
}

// placed says whether all uses of a row were after the version's end, or while it was not active; whole is false where
// only some of them may have been.
func (ev *Events) placed(r store.UsageRow) (after, inactive, whole bool) {
	l, known := ev.limits[key.VersionID(r.Key, r.Version)]
	if !known {
		return false, false, true
	}
	first, last := time.UnixMicro(r.FirstAt).UTC(), time.UnixMicro(r.LastAt).UTC()
	if !l.end.IsZero() {
		after = !first.Before(l.end)
		if !after && !last.Before(l.end) {
			return false, false, false
		}
	}
	for _, span := range l.inactive {
		begins := !last.After(span.From)
		ended := !span.Until.IsZero() && !first.Before(span.Until)
		if begins || ended {
			continue
		}
		if !span.Holds(first) || !span.Holds(last) {
			return false, false, false
		}
		inactive = true
	}
	return after, inactive, true
}

func (ev *Events) roll(r store.UsageRow) {
	n, kind := int(r.Uses), usePrefix+r.Operation
	switch r.Operation {
	case usage.RewrappedFrom: // the rewrap is counted under the version that protects its result
		return
	}
	if r.Outcome == usage.UnreadOutcome {
		if protects(kind) {
			ev.unread += n
		}
		return
	}
	ev.rolled += n
	allowed := r.Outcome == string(ledger.Allow)
	ev.tallyRow(r, n, allowed)
	u := ev.useOf(key.VersionID(r.Key, r.Version), r.FirstSeq)
	u.First, u.Last = min(u.First, r.FirstSeq), max(u.Last, r.LastSeq)
	switch {
	case !allowed:
		u.Denied += n
	case !protects(kind):
		u.Processes += n
	default:
		u.Protects += n
		after, inactive, _ := ev.placed(r)
		if after {
			u.AfterEnd.addAll(n, r.FirstSeq, r.LastSeq)
		}
		if inactive {
			u.WhileInactive.addAll(n, r.FirstSeq, r.LastSeq)
		}
	}
}

func (ev *Events) tallyRow(r store.UsageRow, n int, allowed bool) {
	kind, id, _ := strings.Cut(r.Actor, ":")
	t := ev.tallyOf(usePrefix, Doer{Kind: kind, ID: id, What: r.Key}, r.FirstSeq, time.UnixMicro(r.FirstAt).UTC())
	if allowed {
		t.Allowed += n
	} else {
		t.Denied += n
	}
	t.saw(r.FirstSeq, time.UnixMicro(r.FirstAt).UTC(), r.LastSeq, time.UnixMicro(r.LastAt).UTC())
}

// addAll counts n uses and keeps the first and the last.
func (m *Misuse) addAll(n int, first, last uint64) {
	if first != last {
		m.add(first)
		n--
	}
	m.add(last)
	m.Count += n - 1
}

// ObserveUses takes in, of one entry, the allowed protecting uses of the key version given: what RollDay left out.
func (ev *Events) ObserveUses(e *ledger.Entry, version string) {
	if !protects(e.Type) {
		return
	}
	for _, item := range usage.Items(e) {
		if item.Outcome != ledger.Allow || key.VersionID(item.Key, item.Version) != version {
			continue
		}
		ev.rolled++
		ev.useOne(e, item)
		ev.count(usePrefix, Doer{Kind: string(e.Actor.Kind), ID: e.Actor.ID, What: item.Key}, e, true)
	}
}
