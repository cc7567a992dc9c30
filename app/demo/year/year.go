// Package year rehearses a year of custody in development mode: the same program and the same API as in production,
// on a clock that moves only when the story says so. Everything in it is made up.
package year

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/boot"
	"conclave/app/config"
	"conclave/app/demo/cast"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
)

// begin is when the year begins: a Monday morning.
func begin() time.Time { return time.Date(2027, time.January, 4, 8, 0, 0, 0, time.UTC) }

// Command is `conclave demo year`.
func Command() *cobra.Command {
	var o Options
	c := &cobra.Command{
		Use:   "year",
		Short: "Rehearse a year of custody: departures, losses, mistakes, and what undoes them",
		Long: "Makes an instance in development mode with three teams of made-up people, and goes through a year of custody\n" +
			"over the public API, on a clock that the story moves. It ends by itself; the folder keeps what it made.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return Run(cmd.Context(), cmd.OutOrStdout(), o) },
	}
	c.Flags().StringVar(&o.Dir, "data-dir", filepath.Join("var", "year"), "folder of the rehearsal; must not exist")
	c.Flags().BoolVar(&o.Short, "short", false, "fewer keys, and none of the waits that take minutes")
	return c
}

// Options of Run.
type Options struct {
	Dir   string // made by Run; must not exist
	Short bool   // fewer keys
}

// story is one rehearsal.
type story struct {
	cast.Cast
	dir, data string
	out       io.Writer
	clock     *clock.Manual
	cfg       *config.Config
	service   *boot.Rehearsal
	short     bool
	cards     int // keys for card numbers
	step      int
	left      []string          // who has left
	tokens    map[string]string // of applications and the auditor
}

// Run rehearses the year in a new folder.
func Run(ctx context.Context, out io.Writer, o Options) (err error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("making %s: %w", filepath.Dir(dir), err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil { // never over another
		return fmt.Errorf("making the rehearsal's folder: %w", err)
	}
	s := &story{dir: dir, data: filepath.Join(dir, "instance"), out: out, clock: clock.NewManual(begin()), cards: 40, tokens: map[string]string{}}
	if s.short = o.Short; s.short {
		s.cards = 4
	}
	fmt.Fprintf(out, "A year of custody, rehearsed. Everybody in it is made up, all of it is marked as development, and it lives in %s.\n", dir)
	started := time.Now()
	if err := s.found(ctx); err != nil {
		return fmt.Errorf("founding the instance: %w", err)
	}
	defer func() { err = errors.Join(err, s.stop(ctx)) }()
	for _, chapter := range s.chapters() {
		if err := chapter(ctx); err != nil {
			return fmt.Errorf("%s: the year broke off: %w", s.clock.Now().Format(time.DateOnly), err)
		}
	}
	fmt.Fprintf(out, "\nA year in %s.\n", time.Since(started).Round(100*time.Millisecond))
	return nil
}

func (s *story) chapters() []func(context.Context) error {
	return []func(context.Context) error{
		s.duties, s.opening, s.cardKeys, s.shop,
		s.departure, s.joining, s.reissue, s.lostShare, s.largerQuorum,
		s.quarterly(time.June), s.policyMistakes, s.nightAlarm, s.quarterly(time.September), s.copies, s.disaster, s.yearlyRotation, s.yearsEnd,
	}
}

// found makes the instance and starts it.
func (s *story) found(ctx context.Context) (err error) {
	s.Members = troupe()
	if err := cast.MakeKeys(filepath.Join(s.dir, "people"), s.Members...); err != nil {
		return err
	}
	file, signatures, err := cast.GenesisFile(s.dir, stage(), s.Members, s.clock.Now())
	if err != nil {
		return err
	}
	s.cfg, err = config.Load(config.Sources{Flags: map[string]string{"data_dir": s.data, "listen": "127.0.0.1:0", "mode": string(custodian.Development)}})
	if err != nil {
		return err
	}
	if _, err := boot.Init(ctx, boot.InitOptions{Config: s.cfg, Genesis: file, Signatures: signatures, Clock: s.clock}); err != nil {
		return err
	}
	return s.start(ctx)
}

// start serves the instance; the keystores are inactive then.
func (s *story) start(ctx context.Context) error { return s.startAt(ctx, "seen") }

// startAt is start for people who keep what they have seen of the ledger in a folder.
func (s *story) startAt(ctx context.Context, seen string) (err error) {
	logger := slog.New(slog.NewTextHandler(s.out, &slog.HandlerOptions{Level: slog.LevelError}))
	if s.service, err = boot.Rehearse(ctx, s.cfg, s.clock, logger); err != nil {
		return err
	}
	s.URL, s.CA, s.Seen, s.Clock = s.service.URL, s.service.CAFile, filepath.Join(s.dir, seen), s.clock
	s.Trust, err = ledger.LoadTrustFile(s.service.TrustFile)
	return err
}

func (s *story) stop(ctx context.Context) error {
	if s.service == nil {
		return nil
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	err := s.service.Close(closing)
	s.service = nil
	return err
}

// until lets time pass up to a day of the year, 8 o'clock.
func (s *story) until(ctx context.Context, month time.Month, day int) error {
	return s.pass(ctx, time.Date(begin().Year(), month, day, 8, 0, 0, 0, time.UTC).Sub(s.clock.Now()))
}

func (s *story) pass(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("the story would go back by %s", -d)
	}
	return s.service.Pass(ctx, d)
}

// tell opens a chapter.
func (s *story) tell(title string) {
	s.step++
	fmt.Fprintf(s.out, "\n%2d. %s: %s\n", s.step, s.clock.Now().Format("2 January"), title)
}

// say adds a line to the chapter.
func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "      "+format+"\n", args...) }

// refused checks that something was refused under a code, and tells why.
func (s *story) refused(err error, code, what string) error {
	p, err := cast.Refusal(err)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if p.Code != code {
		return fmt.Errorf("%s: refused as %s (%s), expected was %s", what, p.Code, p.Detail, code)
	}
	s.say("%s: refused, %s.", what, p.Code)
	for _, r := range p.Reasons {
		s.say("   - %s", r.Message)
	}
	return nil
}
