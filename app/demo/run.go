package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"conclave/app/boot"
	"conclave/app/config"
	"conclave/app/demo/cast"
	"conclave/app/demo/year"
	"conclave/ceremony"
	"conclave/custodian"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Command is `conclave demo`.
func Command() *cobra.Command {
	var dir, listen string
	var reset, once, noYear bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Make a demonstration instance, tell its story, and stay up",
		Long: "Makes an instance in development mode with made-up people, walks through what the product does step by\n" +
			"step over the public API, and then keeps serving. A second run finds what the first one left and goes on.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return Run(cmd.Context(), cmd.OutOrStdout(), Options{Dir: dir, Listen: listen, Reset: reset, Once: once, WithoutYear: noYear})
		},
	}
	c.AddCommand(year.Command())
	c.Flags().StringVar(&dir, "data-dir", "var", "folder of the demonstration")
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8443", "address to serve on; a taken port is replaced by a free one")
	c.Flags().BoolVar(&reset, "reset", false, "start over: removes what an earlier demonstration made in the folder")
	c.Flags().BoolVar(&once, "once", false, "end after the story instead of staying up")
	c.Flags().BoolVar(&noYear, "without-year", false, "leave out the last chapter, a year in little; conclave demo year tells it whole")
	return c
}

// Options of Run.
type Options struct {
	Dir    string
	Listen string
	Reset  bool
	Once   bool
	// WithoutYear leaves out the last chapter.
	WithoutYear bool
}

// Run makes or finds the demonstration, tells its story where it has not been told, and serves until ctx ends.
func Run(ctx context.Context, out io.Writer, o Options) (err error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return err
	}
	d := &demo{dir: dir, data: filepath.Join(dir, "instance"), out: out}
	release, err := d.hold()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	address, err := freeAddress(o.Listen)
	if err != nil {
		return err
	}
	flags, err := d.findHSM()
	if err != nil {
		return err
	}
	maps.Copy(flags, map[string]string{"data_dir": d.data, "listen": address, "mode": string(custodian.Development)})
	cfg, err := config.Load(config.Sources{Flags: flags})
	if err != nil {
		return err
	}
	if err := d.find(o.Reset); err != nil {
		return err
	}
	if d.state == nil {
		return d.first(ctx, cfg, o)
	}
	return d.again(ctx, cfg, o)
}

// find looks for what an earlier run left, and starts over where that is asked for or there is no going on.
func (d *demo) find(reset bool) error {
	state, damaged := loadState(d.dir)
	d.state = state
	unfinished, err := d.check()
	if err != nil {
		return err
	}
	if !reset && damaged != nil {
		return damaged
	}
	if !reset && unfinished {
		fmt.Fprintf(d.out, "An earlier demonstration in %s was ended before its story was told: starting over.\n", d.dir)
	}
	if reset || unfinished {
		if err := d.reset(); err != nil {
			return err
		}
		d.state = nil
	}
	return d.mark()
}

// first makes the instance and tells the whole story.
func (d *demo) first(ctx context.Context, cfg *config.Config, o Options) error {
	fmt.Fprintf(d.out, "Conclave demonstration. Everything is made up and marked as development; it all lives in %s.\n", d.dir)
	now := time.Now()
	file, signatures, err := d.newState(now)
	if err != nil {
		return err
	}
	made, err := boot.Init(ctx, boot.InitOptions{Config: cfg, Genesis: file, Signatures: signatures})
	if err != nil {
		return fmt.Errorf("making the instance: %w", err)
	}
	return d.serve(ctx, cfg, o, func(ctx context.Context) error {
		d.state.TrustFile = made.TrustFile
		if err := d.story(ctx, o.WithoutYear); err != nil {
			return fmt.Errorf("the story broke off: %w", err)
		}
		d.state.Told = true
		fmt.Fprintf(d.out, "\nTold in %s.\n", time.Since(now).Round(100*time.Millisecond))
		return nil
	})
}

// again goes on where an earlier run ended.
func (d *demo) again(ctx context.Context, cfg *config.Config, o Options) error {
	if d.state.Token && d.module == "" {
		return fmt.Errorf("the demonstration in %s has a keystore in SoftHSM, which is gone: apt-get install softhsm2, or start over with --reset", d.dir)
	}
	fmt.Fprintf(d.out, "Conclave demonstration, found in %s (make reset, or --reset, starts over).\n", d.dir)
	if err := cast.OpenKeys(d.state.everybody()); err != nil {
		return err
	}
	return d.serve(ctx, cfg, o, func(ctx context.Context) error {
		d.tell("The process was new, so its keystores were inactive: three of five brought their shares again.")
		keystores := []string{vault, lab}
		if d.state.Token {
			keystores = append(keystores, hsmKeystore)
		}
		for _, keystore := range keystores {
			if err := d.Activate(ctx, keystore, nil, holders()[:threshold]...); err != nil {
				return err
			}
		}
		version, err := d.decryptFile(ctx, false)
		if err != nil {
			return fmt.Errorf("reading the file of the first run: %w", err)
		}
		d.say("The file of the first run was read again, with version %d of its key.", version)
		return nil
	})
}

// serve starts the service, lets work run against it, saves where things are, and stays up.
func (d *demo) serve(ctx context.Context, cfg *config.Config, o Options, work func(context.Context) error) (err error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	running, err := boot.Start(ctx, cfg, logger)
	if err != nil {
		return fmt.Errorf("starting the service: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		defer cancel()
		err = errors.Join(err, running.Close(closing))
	}()
	d.state.URL, d.state.CA, d.state.TrustFile = running.URL, running.CAFile, running.TrustFile
	if err := d.meet(); err != nil {
		return err
	}
	if err := errors.Join(work(ctx), d.state.save(d.dir)); err != nil {
		return err
	}
	if o.Once {
		fmt.Fprintf(d.out, "\nWithout --once the service stays up, to be tried by hand. The auditor's report is %s.\n", d.shown(reportPage))
		return nil
	}
	if err := d.farewell(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.out, "\nStopping.")
		return nil
	case err := <-running.Failed():
		return err
	}
}

// freeAddress is the address asked for, or the same host with a free port where its port is taken.
func freeAddress(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return address, l.Close()
	}
	host, _, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		return "", splitErr
	}
	if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	free := l.Addr().String()
	return free, l.Close()
}

// openCopy opens a copy of the instance's database, as this node would at its next start.
func (d *demo) openCopy(ctx context.Context, path string) (*store.Store, error) {
	logKey, err := ledger.LoadLogKey(filepath.Join(d.data, "keys", "log.key"))
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, store.Config{Driver: store.SQLite, DSN: path, Schema: ceremony.Schema(custodian.Schema()), LogKey: logKey,
		Clock: clock.NewSystem(), Node: "demo-reader"})
}
