package httpapi

import (
	"net/http"
	"time"

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
		return logDayOf(d, s.clock.Now()), true
	})
}

func (s *server) getLogDay(x *exchange) error {
	day := x.c.Param("day")
	if err := x.authorise(readOversight, "log_day", day); err != nil {
		return err
	}
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return &custodian.InputError{Field: "day", Problem: "not a day", Allowed: "a day such as 2026-11-27"}
	}
	d, _, err := store.Get[oversight.LogDay](s.door.View(), custodian.KindLogDay, day)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, logDayOf(d, s.clock.Now()))
}

func logDayOf(d *oversight.LogDay, now time.Time) api.LogDay {
	out := api.LogDay{Day: d.Day, From: d.From, To: d.To, Leaf: d.Leaf, Entries: d.Entries, Refused: d.Refused, Failed: d.Failed, Notable: []api.NotableEntry{},
		More: d.More, MadeAt: d.MadeAt, DueAt: d.DueAt(), Late: d.Late(now)}
	for _, n := range d.Notable {
		out.Notable = append(out.Notable, api.NotableEntry(n))
	}
	if r := d.Reviewed; r != nil {
		out.Outcome, out.Note, out.ReviewedBy, out.ReviewedAt, out.Finding, out.Ceremony = string(r.Outcome), r.Note, r.By, &r.At, r.Finding, r.Ceremony
	}
	return out
}
