package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/client"
	"conclave/ceremony/script"
)

// pollEvery is how often the walk looks whether others have done their part.
const pollEvery = 2 * time.Second

// ceremonyRun walks the administrator through a ceremony's script at a terminal. It keeps nothing itself: ended at any
// point and called again it goes on where the record stands.
func ceremonyRun() *cobra.Command {
	c := &cobra.Command{
		Use: "run CEREMONY", Short: "As its administrator: hold a ceremony by its script, step by step", Args: exactly("CEREMONY"),
		Long: "Begins to hold the ceremony by the script that policy names for it, and walks you through it: each step is\n" +
			"shown with what is expected; you say what came of it. Others take part from where they are (conclave script …,\n" +
			"conclave ceremony approve). What does not go by the script is written down as a deviation; the ceremony is then\n" +
			"completed with exceptions until an auditor has closed them. Answers are read line by line from standard input.",
	}
	place := c.Flags().String("place", "", "where it is held; to begin")
	site := c.Flags().String("site", "", "the site you are at; to begin")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		run, err := s.beginRun(args[0], *place, *site)
		if err != nil {
			return err
		}
		if run.Administrator != s.signer.ID() {
			return fmt.Errorf("%s is led by %s; take part with: conclave script", run.Ceremony, run.Administrator)
		}
		return (&walk{s: s, run: run, lines: bufio.NewScanner(io.LimitReader(s.in, 1<<20))}).hold()
	})
	return c
}

// walk is one sitting of the administrator.
type walk struct {
	s     *session
	run   script.Run
	lines *bufio.Scanner
}

func (w *walk) hold() error {
	writeRun(w.s.err, &w.run)
	for {
		number, line, more := w.run.Next()
		if !more || w.run.State != script.Running {
			break
		}
		var err error
		if line.Phase == script.PhasePerform {
			err = w.perform(number, line)
		} else {
			err = w.step(number, line)
		}
		if err != nil {
			return err
		}
	}
	if w.run.State == script.Performed {
		w.s.say("\nEvery step is done. Everybody on the roll signs now: conclave script sign %s --statement …", w.run.Ceremony)
	}
	return w.s.show(w.run, func(out io.Writer) { writeRun(out, &w.run) })
}

// ask reads a line; the end of input ends the sitting, not the ceremony.
func (w *walk) ask(question string) (string, error) {
	fmt.Fprintf(w.s.err, "%s ", question)
	if !w.lines.Scan() {
		if err := w.lines.Err(); err != nil {
			return "", fmt.Errorf("reading an answer: %w", err)
		}
		return "", errors.New("no answer: the record stays as it is; call again to go on")
	}
	return strings.TrimSpace(w.lines.Text()), nil
}

// step asks what came of a step, and what deviated.
func (w *walk) step(number int, line script.Line) error {
	w.s.say("\nStep %d. %s\n  expected: %s", number, line.Text, line.Expected)
	answer, err := w.ask("  As expected? [yes / no / refresh]")
	if err != nil {
		return err
	}
	act := script.Act{Kind: script.DoStep, Number: number}
	switch answer {
	case "yes":
		act.AsExpected, act.Actual = true, line.Expected
	case "no":
		if err := w.deviation(&act); err != nil {
			return err
		}
	default:
		return w.refresh()
	}
	run, err := w.s.client.ActInScript(w.s.ctx, w.run.Ceremony, act)
	if p := problemOf(err); p != nil && p.Status < 500 { // what was refused can be put right and answered again
		w.s.say("  refused: %s", p.Detail)
		return w.refresh()
	}
	if err == nil {
		w.run = run
	}
	return err
}

func (w *walk) deviation(act *script.Act) error {
	for _, q := range []struct {
		question string
		into     *string
	}{
		{"  What happened?", &act.Actual}, {"  What deviates from the script?", &act.What}, {"  Why?", &act.Why},
		{"  Who decided to go on? (id)", &act.DecidedBy}, {"  What does it mean for the outcome?", &act.Impact},
	} {
		answer, err := w.ask(q.question)
		if err != nil {
			return err
		}
		*q.into = answer
	}
	return nil
}

// perform waits for the ceremony itself.
func (w *walk) perform(number int, line script.Line) error {
	w.s.say("\nStep %d. %s\n  expected: %s", number, line.Text, line.Expected)
	told := ""
	for {
		c, err := w.s.client.Ceremony(w.s.ctx, w.run.Ceremony)
		if err != nil {
			return err
		}
		if words := stateWords(&c) + "; missing: " + orDash(strings.Join(missing(&c), "; ")); words != told {
			w.s.say("  the ceremony is %s", words)
			told = words
		}
		if err := w.refresh(); err != nil {
			return err
		}
		if next, _, more := w.run.Next(); !more || next != number {
			return nil
		}
		select {
		case <-w.s.ctx.Done():
			return w.s.ctx.Err()
		case <-time.After(pollEvery):
		}
	}
}

func (w *walk) refresh() error {
	run, err := w.s.client.Script(w.s.ctx, w.run.Ceremony)
	if err == nil {
		w.run = run
	}
	return err
}

func problemOf(err error) *client.Problem {
	var p *client.Problem
	if errors.As(err, &p) {
		return p
	}
	return nil
}

func isCode(err error, code string) bool {
	p := problemOf(err)
	return p != nil && p.Code == code
}
