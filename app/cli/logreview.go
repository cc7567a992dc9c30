package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
)

func auditLogDays() *cobra.Command {
	c := register("List the days of the log, with the review each got or is to get", (*client.Client).LogDays,
		[]string{"DAY", "ENTRIES", "REFUSED", "FAILED", "TO LOOK AT", "REVIEW"}, func(d api.LogDay) []string {
			return []string{d.Day, number(d.To - d.From), number(d.Refused), number(d.Failed), number(len(d.Notable) + d.More), logReviewWords(&d)}
		})
	c.Use = "log-days"
	return c
}

// logReviewWords says what became of the review of a day.
func logReviewWords(d *api.LogDay) string {
	return reviewWords(&api.Review{Outcome: d.Outcome, Overdue: d.Late, DueAt: d.DueAt, Reviewer: d.ReviewedBy, SignedAt: d.ReviewedAt, Finding: d.Finding})
}

func auditReviewLog() *cobra.Command {
	c := &cobra.Command{Use: "review-log DAY", Short: "Sign that you went over a day's log", Args: exactly("DAY"),
		Long: "Shows what the service summed up of a day, asks, and signs. Without --outcome it only shows. Outcome finding opens a finding, with an\n" +
			"owner and a date. `conclave ledger entries` and `ledger search` show single entries."}
	f := c.Flags()
	outcome := f.String("outcome", "", "confirmed or finding")
	note := f.String("note", "", "what you looked at and concluded")
	owner := f.String("owner", "", "finding: person who puts it right")
	within := f.Int("days", 0, "finding: days to put it right")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		d, err := s.client.LogDay(s.ctx, args[0])
		if isCode(err, "not_found") {
			return usagef("day: the log of %q is not summed up; `conclave audit log-days` lists those that are", clean(args[0]))
		}
		if err != nil {
			return err
		}
		if *outcome == "" {
			return s.show(d, func(w io.Writer) { writeLogDay(w, &d) })
		}
		writeLogDay(s.err, &d)
		params := map[string]any{"day": d.Day, "to": d.To, "leaf": d.Leaf, "outcome": *outcome, "note": *note}
		if *owner != "" {
			params["owner"] = *owner
		}
		if *within != 0 {
			params["days"] = *within
		}
		return s.propose("log.review", params, *note)
	})
	return c
}

func writeLogDay(w io.Writer, d *api.LogDay) {
	facts(w, "day", d.Day, "entries", fmt.Sprintf("%d to %d", d.From, max(d.From+1, d.To)-1), "refused", number(d.Refused), "failed", number(d.Failed),
		"leaf of the last", d.Leaf, "review", logReviewWords(d), "note", d.Note)
	var counts [][]string
	for _, kind := range slices.Sorted(maps.Keys(d.Entries)) {
		counts = append(counts, []string{clean(kind), number(d.Entries[kind])})
	}
	io.WriteString(w, "\n")
	table(w, []string{"TYPE", "ENTRIES"}, counts)
	if len(d.Notable) == 0 {
		io.WriteString(w, "\nNothing that must be looked at one by one.\n")
		return
	}
	var rows [][]string
	for _, n := range d.Notable {
		rows = append(rows, []string{fmt.Sprintf("#%d", n.Seq), when(n.At), clean(n.Type), clean(n.Target), clean(n.Reason)})
	}
	io.WriteString(w, "\n")
	table(w, []string{"TO BE LOOKED AT", "AT", "TYPE", "TARGET", "REASON"}, rows)
	if d.More > 0 {
		fmt.Fprintf(w, "and %d more: conclave ledger entries --from %d\n", d.More, d.Notable[len(d.Notable)-1].Seq+1)
	}
}
