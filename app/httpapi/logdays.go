package httpapi

import (
	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/custodian/store"
)

func (s *server) listLogDays(x *exchange) error {
	if err := x.authorise(readOversight, "log_day", ""); err != nil {
		return err
	}
	return page(x, custodian.KindLogDay, func(_ *store.View, d *oversight.LogDay) (api.LogDay, bool) {
		out := api.LogDay{Day: d.Day, From: d.From, To: d.To, Leaf: d.Leaf, Entries: d.Entries, Refused: d.Refused, Failed: d.Failed, Notable: []api.NotableEntry{},
			More: d.More, MadeAt: d.MadeAt, DueAt: d.DueAt(), Late: d.Late(s.clock.Now())}
		for _, n := range d.Notable {
			out.Notable = append(out.Notable, api.NotableEntry(n))
		}
		if r := d.Reviewed; r != nil {
			out.Outcome, out.Note, out.ReviewedBy, out.ReviewedAt, out.Finding, out.Ceremony = string(r.Outcome), r.Note, r.By, &r.At, r.Finding, r.Ceremony
		}
		return out, true
	})
}
