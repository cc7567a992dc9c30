package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"conclave/app/config"
	"conclave/ceremony"
	"conclave/ceremony/recovery"
	"conclave/custodian/backup"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// RecoveryFile is what a restore leaves beside the trust file: the document by which whoever saw the lost ledger
// judges the recovery.
const RecoveryFile = "recovery.json"

// Restore makes a data directory from a backup as a session says, whole or not at all: everything is made beside it
// and renamed. A session of a drill restores into a directory that is thrown away again.
func Restore(ctx context.Context, in recovery.Input) (recovery.Done, error) {
	done, err := restore(ctx, clock.NewSystem(), in)
	return done, coded(err)
}

func restore(ctx context.Context, clk clock.Clock, in recovery.Input) (recovery.Done, error) {
	cfg, err := restoreConfig(in.Session)
	if err != nil {
		return recovery.Done{}, err
	}
	parent := filepath.Dir(cfg.DataDir)
	if !in.Session.Scratch {
		if err := emptyDir(cfg.DataDir); err != nil {
			return recovery.Done{}, err
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return recovery.Done{}, fmt.Errorf("making %s: %w", parent, err)
		}
	}
	made, err := os.MkdirTemp(parent, "."+filepath.Base(cfg.DataDir)+".restore-*")
	if err != nil {
		return recovery.Done{}, fmt.Errorf("making a directory beside the data directory: %w", err)
	}
	building := *cfg
	building.DataDir = made
	done, err := restoreInto(ctx, clk, &building, in)
	if errors.Is(err, store.ErrInitialised) && !cfg.DatabaseInside() {
		err = fmt.Errorf("%w: where that is what an earlier finish left that was cut off, give an empty database and finish again, since session and backup hold everything", err)
	}
	if err != nil || in.Session.Scratch {
		return done, errors.Join(err, os.RemoveAll(made))
	}
	if err := place(made, cfg.DataDir); err != nil {
		if cfg.DatabaseInside() {
			return recovery.Done{}, errors.Join(err, os.RemoveAll(made))
		}
		return recovery.Done{}, fmt.Errorf("the instance is restored, its files are in %s and must be moved to %s by hand: %w", made, cfg.DataDir, err)
	}
	done.DataDir, done.TrustFile = cfg.DataDir, cfg.TrustFile()
	return done, nil
}

// restoreConfig is the configuration of what is restored. A drill touches no database but a file of its own.
func restoreConfig(session *recovery.Opened) (*config.Config, error) {
	flags := map[string]string{"data_dir": session.Target, "database.driver": session.Driver, "node.id": session.Manifest.Node}
	environ := os.Environ()
	if session.Scratch {
		flags["data_dir"], flags["database.driver"], environ = filepath.Join(os.TempDir(), "conclave-drill"), config.DriverSQLite, nil
	}
	return config.Load(config.Sources{Environ: environ, Flags: flags})
}

func restoreInto(ctx context.Context, clk clock.Clock, cfg *config.Config, in recovery.Input) (recovery.Done, error) {
	in.Now = clk.Now()
	in.Keys = func(keys *backup.Keys) (store.Config, error) {
		loaded, err := writeKeyFiles(cfg, keys)
		if err != nil {
			return store.Config{}, fmt.Errorf("the node's keys in the backup: %w", err)
		}
		defer loaded.wipe()
		return storeConfig(cfg, loaded.log, clk, slog.New(slog.DiscardHandler)), nil
	}
	in.Void = func(tx *store.Tx, id string) (int, error) { return ceremony.VoidOpen(tx, id, cfg.Node.ID) }
	result, err := recovery.Run(ctx, in)
	if err != nil {
		return recovery.Done{}, err
	}
	done := recovery.Done{Result: result}
	if in.Session.Scratch {
		return done, nil
	}
	note, err := os.ReadFile(cfg.HighWaterFile())
	if err != nil {
		return done, fmt.Errorf("reading the restored checkpoint: %w", err)
	}
	trust := *result.Trust
	trust.Least, trust.CreatedAt = string(note), clk.Now()
	if err := trust.Save(cfg.TrustFile()); err != nil {
		return done, fmt.Errorf("saving the trust file: %w", err)
	}
	return done, ledger.WriteFileAtomic(filepath.Join(cfg.DataDir, RecoveryFile), result.Document, 0o644)
}
