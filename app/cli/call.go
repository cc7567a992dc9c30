package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/custodian/amount"
)

func ceremonyCall() *cobra.Command {
	c := &cobra.Command{
		Use: "call CEREMONY", Short: "Call people to attend a ceremony; backups of those who do not come are called by themselves", Args: exactly("CEREMONY"),
		Long: "Calls the people named, or everybody who could still take part. Each says with `conclave ceremony answer`\n" +
			"whether they come. Whoever declines, or gives no answer in time, is replaced by their named backup.\n" +
			"Calling again moves the meeting, and everybody answers anew.",
	}
	var in api.CallRequest
	f := c.Flags()
	f.StringSliceVar(&in.People, "person", nil, "who is called; repeat for more; none: everybody who could still take part")
	at := f.String("at", "", "when: 2006-01-02T15:04:05Z")
	f.IntVar(&in.Minutes, "minutes", 0, "how long it takes; 60 where not given")
	f.StringVar(&in.Place, "place", "", "where")
	within := f.Duration("answer-within", 0, "time to answer, as 90m; four hours where not given")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		var err error
		if in.At, err = time.Parse(time.RFC3339, *at); err != nil {
			return usagef("at: %q; allowed: an instant as 2006-01-02T15:04:05Z", *at)
		}
		in.AnswerWithinSeconds = int64(within.Seconds())
		if err := s.connectPerson(); err != nil {
			return err
		}
		after, err := s.client.CallPeople(s.ctx, args[0], in)
		if err != nil {
			return err
		}
		return s.show(after, func(w io.Writer) { writeCall(w, &after) })
	})
	return must(c, "at", "place")
}

func ceremonyAnswer() *cobra.Command {
	c := &cobra.Command{
		Use: "answer CEREMONY", Short: "Say whether you come to a ceremony that you were called to", Args: exactly("CEREMONY"),
	}
	f := c.Flags()
	accept := f.Bool("accept", false, "you come")
	decline := f.Bool("decline", false, "you do not; your named backup is called at once")
	reason := f.String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if *accept == *decline {
			return usagef("answer: give either --accept or --decline")
		}
		in := api.AnswerRequest{Answer: "accepted", Reason: *reason}
		if *decline {
			in.Answer = "declined"
		}
		if err := s.connectPerson(); err != nil {
			return err
		}
		after, err := s.client.AnswerCall(s.ctx, args[0], in)
		if err != nil {
			return err
		}
		return s.show(after, func(w io.Writer) { writeCall(w, &after) })
	})
	return c
}

func ceremonyCalendar() *cobra.Command {
	c := &cobra.Command{
		Use: "calendar CEREMONY", Short: "Fetch the meeting of a ceremony as a calendar file (RFC 5545)", Args: exactly("CEREMONY"),
	}
	out := c.Flags().StringP("out", "o", "", "file to write, as ceremony.ics; must not exist; without one it is shown")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		event, err := s.client.Calendar(s.ctx, args[0])
		if err != nil {
			return err
		}
		if *out != "" {
			return writeNewFile(*out, event)
		}
		fmt.Fprintf(s.out, "%s", clean(strings.ReplaceAll(string(event), "\r\n", "\n")))
		return nil
	})
	return c
}

// writeCall says who was called, and who comes.
func writeCall(w io.Writer, c *api.Ceremony) {
	if c.Call == nil {
		return
	}
	fmt.Fprintf(w, "Called to %s at %s for %s: %s\n", clean(c.ID), when(c.Call.At), amount.Of(c.Call.Minutes, "minute"), clean(c.Call.Place))
	var rows [][]string
	for _, p := range c.Call.People {
		rows = append(rows, []string{p.Person, orDash(p.BackupFor), answerWords(p), orDash(maybe(p.AttendedAt)), orDash(remarks(p.Reason, p.Note))})
	}
	table(w, []string{"PERSON", "IN PLACE OF", "ANSWER", "TOOK PART", "REMARK"}, rows)
}

func remarks(texts ...string) string {
	return strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "; ")
}

func answerWords(p api.Invitation) string {
	if p.Answer == "" {
		return "awaited until " + when(p.AnswerBy)
	}
	return p.Answer
}
