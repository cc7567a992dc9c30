package judge

import (
	"fmt"
	"slices"
	"time"

	"conclave/custodian/key"
	"conclave/custodian/oversight"
	"conclave/reports/control"
)

// segments judges what was moved out of the database, and what was deleted of it: nothing too soon, nothing between, and
// each by a ceremony.
func segments(ev *control.Evidence) *control.Table {
	t := table("Archived segments of the ledger", "segment|id", "entries|integer", "first entry|time", "last entry|time", "archived|time", "archived by|id",
		"deleted|time", "deleted by|id")
	next := uint64(0)
	for _, x := range ev.Segments {
		g := x.Value
		if g.ArchivedAt.After(ev.Now) {
			continue
		}
		var f control.Faults
		f.Check(g.From == next, fmt.Sprintf("entries from %d on are in no segment before it", next))
		next = g.To
		f.Check(g.ArchivedAt.Sub(g.LastAt) >= oversight.LeastImmediate*day, fmt.Sprintf("archived within the %d days that stay at hand", oversight.LeastImmediate))
		f.Check(ev.Ceremony(g.ArchivedBy) != nil, "no ceremony stands behind the archiving")
		deleted, by := time.Time{}, ""
		if g.DeletedAt != nil && !g.DeletedAt.After(ev.Now) {
			deleted, by = *g.DeletedAt, g.DeletedBy
			least := oversight.Least(slices.ContainsFunc(ev.Keys, func(k control.Record[key.Key]) bool {
				return oversight.HIPAA(&k.Value) && !k.Value.CreatedAt.After(deleted)
			}))
			f.Check(deleted.Sub(g.LastAt) >= time.Duration(least)*day, fmt.Sprintf("deleted before %d days were over", least))
			f.Check(ev.Ceremony(by) != nil, "no ceremony stands behind the deletion")
		}
		t.Add(control.OK, f, control.Proves(x.Ref), g.ID, control.Int(int(g.To-g.From)), control.Time(g.FirstAt), control.Time(g.LastAt), control.Time(g.ArchivedAt), g.ArchivedBy,
			control.Time(deleted), by)
	}
	return t
}
