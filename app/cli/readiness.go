package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/reports"
	"conclave/reports/control"
)

func auditReadiness() *cobra.Command {
	c := &cobra.Command{
		Use: "readiness", Short: "What is red now, and what will be on a day if nobody does anything", Args: exactly(),
		Long: "Judges a framework as of now and as of a day ahead, lists what falls due until then, and the findings that are\n" +
			"open. Whatever turns red can be given an owner and a date: conclave finding open.",
	}
	framework := c.Flags().String("framework", "pci-dss-4.0.1", "framework")
	on := c.Flags().String("on", "", "day to look ahead to; default: in 30 days")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		day := s.clock.Now().Add(30 * 24 * time.Hour)
		if *on != "" {
			var err error
			if day, err = parseTime("on", *on); err != nil {
				return err
			}
		}
		r, err := assess[reports.Readiness](s, "readiness", api.AuditRequest{Framework: *framework, On: day})
		if err != nil {
			return err
		}
		return s.show(r, func(w io.Writer) { writeReadiness(w, r) })
	})
	return c
}

func writeReadiness(w io.Writer, r *reports.Readiness) {
	writeCheckpoint(w, r.Checkpoint)
	fmt.Fprintf(w, "%s, now and on %s:\n", clean(r.Framework), when(r.On))
	for _, v := range control.Verdicts() {
		fmt.Fprintf(w, "  %-16s %3d -> %3d\n", v, r.Counts[string(v)], r.CountsOn[string(v)])
	}
	section := func(title string, head []string, rows [][]string) {
		fmt.Fprintf(w, "\n%s\n", title)
		if len(rows) == 0 {
			fmt.Fprintln(w, "  nothing")
			return
		}
		table(w, head, rows)
	}
	var red, turning, dues, open [][]string
	for _, c := range r.Controls {
		row := []string{c.ID, c.Title, string(c.Verdict), string(c.VerdictOn), strings.Join(c.Why, "; ")}
		if c.Verdict == control.Violated {
			red = append(red, row)
		} else {
			turning = append(turning, row)
		}
	}
	for _, d := range r.Due {
		dues = append(dues, []string{when(d.At), lateness(d.Late), d.What, d.About, orDash(d.Owner)})
	}
	for _, f := range r.Findings {
		open = append(open, []string{f.ID, f.Title, f.About, f.Owner, when(f.DueAt), lateness(f.Late)})
	}
	head := []string{"CONTROL", "DEMANDS", "NOW", "THEN", "WHY"}
	section("Red now", head, red)
	section("Turns worse until then", head, turning)
	section("Falls due until then", []string{"AT", "LATE", "WHAT", "ABOUT", "OWNER"}, dues)
	section("Open findings", []string{"FINDING", "TITLE", "ABOUT", "OWNER", "DUE", "LATE"}, open)
}

func lateness(late bool) string {
	if late {
		return "late"
	}
	return "-"
}
