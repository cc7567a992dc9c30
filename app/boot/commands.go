package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"conclave/app/config"
	"conclave/ceremony/genesis"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Exit codes of the server's commands beside 0, after sysexits.h, so that a supervisor can tell what a restart
// may help: in systemd, RestartPreventExitStatus=65 78.
const (
	ExitData   = 65 // the database contradicts its ledger, or is damaged: somebody must look
	ExitBusy   = 75 // storage or address not available: trying again may help
	ExitConfig = 78 // configuration, key files, or a program that does not fit the instance
)

// Failure is an error of these commands with the code that the process should exit with. Whoever runs them
// finds it by errors.As with interface{ ExitCode() int }.
type Failure struct {
	Err  error
	code int
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error itself.
func (f *Failure) Unwrap() error { return f.Err }

// ExitCode is what the process should exit with.
func (f *Failure) ExitCode() int { return f.code }

// coded gives an error its exit code, where it has one of its own.
func coded(err error) error {
	if code := exitCode(err); code != 0 {
		return &Failure{Err: err, code: code}
	}
	return err
}

func exitCode(err error) int {
	var setting *config.Error
	var mismatch *custodian.PolicyMismatch
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(store.ErrEdited, store.ErrRollback, store.ErrFork, store.ErrDamaged):
		return ExitData
	case is(ErrInUse, ErrDuplicate, store.ErrLocked, store.ErrUnavailable, syscall.EADDRINUSE):
		return ExitBusy
	case errors.As(err, &setting), errors.As(err, &mismatch),
		is(ErrMode, ErrNoInstance, ErrNotJoined, ErrNotEnrolled, custodian.ErrNodeRevoked, ErrNotEmpty, ErrKeyFile, ledger.ErrLogKey, store.ErrNewerSchema, store.ErrUnfit, store.ErrInitialised, store.ErrNotInitialised, store.ErrLogKeyMissing,
			genesis.ErrFile, genesis.ErrUnsigned):
		return ExitConfig
	}
	return 0
}

// Commands are `conclave init`, `conclave server`, and what the service starts for itself.
func Commands(version string) []*cobra.Command {
	return []*cobra.Command{initCommand(), serverCommand(version), policyJudge()}
}

func initCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "init", Short: "Make an instance from a signed genesis file", Args: cobra.NoArgs,
		Long: "Checks the genesis file and the signature of everybody named in it, then makes the node's keys, the ledger with\n" +
			"entry 0, and the trust file, in a new data directory: whole or not at all.",
		Example: "  conclave init --genesis genesis.yaml --signatures signatures --data-dir /var/lib/conclave/data",
	}
	file := c.Flags().String("genesis", "", "the genesis file")
	dir := c.Flags().String("signatures", "", "directory with everybody's signature of it (*"+signatureSuffix+")")
	load := addConfigFlags(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		made, err := initFrom(cmd.Context(), load, *file, *dir)
		if err != nil {
			return coded(err)
		}
		return showInit(cmd, made)
	}
	for _, name := range []string{"genesis", "signatures"} {
		_ = c.MarkFlagRequired(name) // fails only for a flag that is not defined
	}
	return c
}

func initFrom(ctx context.Context, load func() (*config.Config, error), file, signatures string) (InitResult, error) {
	cfg, err := load()
	if err != nil {
		return InitResult{}, err
	}
	opts := InitOptions{Config: cfg}
	if opts.Genesis, err = readBounded(file, genesis.MaxFile); err != nil {
		return InitResult{}, fmt.Errorf("reading the genesis file: %w", err)
	}
	if opts.Signatures, err = readSignatures(signatures); err != nil {
		return InitResult{}, err
	}
	return Init(ctx, opts)
}

func showInit(cmd *cobra.Command, made InitResult) error {
	if f := cmd.Flag("output"); f != nil && f.Value.String() == "json" {
		text, err := json.Marshal(made, jsontext.WithIndent("  "))
		if err != nil {
			return fmt.Errorf("encoding the result: %w", err)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "Instance %s (%s mode) is made.\n"+
		"  instance    %s\n  data        %s\n  trust file  %s\n"+
		"Hand the trust file to everybody who verifies, by a way you trust. Next: conclave server --data-dir %s,\n"+
		"then every holder confirms their share (conclave share confirm).\n",
		made.Name, made.Mode, made.Instance, made.DataDir, made.TrustFile, made.DataDir)
	return err
}

func serverCommand(version string) *cobra.Command {
	c := &cobra.Command{
		Use: "server", Short: "Run the service", Args: cobra.NoArgs,
		Long: "Runs the service until SIGINT or SIGTERM, then drains and stops. Configuration: defaults, then the file, then the\n" +
			"environment (" + config.EnvPrefix + "…), then flags; an unknown key is an error.\n\n" +
			"Exit codes: 0 stopped; 65 the database contradicts its ledger; 75 storage, address or data directory not available;\n" +
			"78 configuration, key files or program do not fit the instance; 1 anything else.",
		Example: "  conclave server --data-dir /var/lib/conclave/data --listen 127.0.0.1:8443",
	}
	load := addConfigFlags(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load()
		if err == nil {
			err = Run(cmd.Context(), cfg, newLogger(cmd.ErrOrStderr(), cfg), version)
		}
		return coded(err)
	}
	return c
}

// Run runs the service until ctx ends or the process is told to stop, and drains it.
func Run(ctx context.Context, cfg *config.Config, logger *slog.Logger, version string) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	r, err := startAs(ctx, cfg, logger, version)
	if err != nil && ctx.Err() != nil {
		logger.Info("told to stop while starting")
		return nil
	}
	if err != nil {
		return err
	}
	instance := r.Custodian.Instance()
	logger.Info("serving", "url", r.URL, "metrics", r.MetricsURL, "instance", instance.ID, "name", instance.Name, "mode", instance.Mode,
		"node", cfg.Node.ID, "ca", r.CAFile, "trust_file", r.TrustFile, "version", version, "fips_140", fips())
	if instance.Mode == custodian.Development {
		logger.Warn("development mode: the floor of approvals is lowered and everything made here is marked; never for real data")
	} else if r.CAFile != "" {
		logger.Warn("serving with the development authority, for this machine alone; set tls.cert and tls.key", "ca", r.CAFile)
	}
	select {
	case <-ctx.Done():
		logger.Info("stopping", "grace", cfg.Limits.ShutdownGrace)
	case err = <-r.Failed():
		logger.Error("stopping", "error", err)
	}
	stop() // a second signal ends the process at once
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Limits.ShutdownGrace)
	defer cancel()
	return errors.Join(err, r.Close(grace))
}

// newLogger writes to w as configured. Secrets never reach it: they have a type that redacts itself.
func newLogger(w io.Writer, cfg *config.Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(cfg.Log.Level)) // validated; the zero value is info
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// addConfigFlags gives a command one flag a setting, and --config. The function loads what was given.
func addConfigFlags(flags *pflag.FlagSet) func() (*config.Config, error) {
	file := flags.String("config", "", "configuration file (YAML)")
	for _, s := range config.Settings() {
		if s.Secret {
			continue
		}
		help := s.Help
		if s.Default != "" && s.Default != "0" {
			help += " (default " + s.Default + ")"
		}
		flags.String(s.Flag(), "", help)
	}
	return func() (*config.Config, error) {
		given := map[string]string{}
		for _, s := range config.Settings() {
			if f := flags.Lookup(s.Flag()); f != nil && !s.Secret && f.Changed {
				given[s.Key] = f.Value.String()
			}
		}
		return config.Load(config.Sources{File: *file, Environ: os.Environ(), Flags: given})
	}
}
