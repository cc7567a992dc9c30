package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"conclave/migrations"
)

const (
	postgresWriters = 4 // the committer, and short writes beside the ledger
	postgresReaders = 8
)

// openPostgres connects to a PostgreSQL database, which any number of replicas share.
func openPostgres(ctx context.Context, dsn string) (*database, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		// pgx blanks the password in its own message.
		return nil, fmt.Errorf("%w: postgres DSN: %w", ErrUnfit, err)
	}
	// A replica that stalls while it holds the head's lock is cut off, so that the others go on; nobody waits
	// for that lock without end. Milliseconds.
	setDefault(cfg, "idle_in_transaction_session_timeout", "15000")
	setDefault(cfg, "lock_timeout", "20000")
	setDefault(cfg, "application_name", "conclave")
	d := &database{driver: Postgres}
	if err := d.connectPostgres(ctx, cfg); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func setDefault(cfg *pgx.ConnConfig, name, value string) {
	if _, set := cfg.RuntimeParams[name]; !set {
		cfg.RuntimeParams[name] = value
	}
}

func (d *database) connectPostgres(ctx context.Context, cfg *pgx.ConnConfig) error {
	d.write = stdlib.OpenDB(*cfg)
	d.write.SetMaxOpenConns(postgresWriters)
	d.write.SetMaxIdleConns(postgresWriters)
	d.read = stdlib.OpenDB(*cfg)
	d.read.SetMaxOpenConns(postgresReaders)
	d.read.SetMaxIdleConns(postgresReaders)
	if err := d.write.PingContext(ctx); err != nil {
		return unavailable("connecting to postgres", err)
	}
	if err := checkDurable(ctx, d.write); err != nil {
		return err
	}
	var err error
	if d.gorm, err = gorm.Open(postgres.New(postgres.Config{Conn: d.write}), gormConfig()); err != nil {
		return unavailable("connecting to postgres", err)
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("loading migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, d.write, migrations.Postgres(),
		goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("loading migrations: %w", err)
	}
	if err := d.upgrade(ctx, provider); err != nil {
		return err
	}
	return d.prepare(ctx)
}

// checkDurable refuses a server whose commits may be lost after they were acknowledged (PostgreSQL 15
// documentation, section 20.5 Write Ahead Log).
func checkDurable(ctx context.Context, db *sql.DB) error {
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var value string
		if err := db.QueryRowContext(ctx, "SELECT current_setting($1)", setting).Scan(&value); err != nil {
			return unavailable("reading server settings", err)
		}
		if value == "off" {
			return fmt.Errorf("%w: postgres setting %s is off, allowed is on: acknowledged entries must survive power loss", ErrUnfit, setting)
		}
	}
	return nil
}
