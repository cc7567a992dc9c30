package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/mattn/go-sqlite3"
	"github.com/pressly/goose/v3"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// database is one dialect's connections. Statements use $1, $2 … in ascending order, which both dialects read.
type database struct {
	driver string
	write  *sql.DB // SQLite: exactly one connection; begins take the write lock at once
	read   *sql.DB
	gorm   *gorm.DB // over write
	stmt   statements
	unlock func() error // releases the process lock
}

// statements are the ones of the hot path, prepared once.
type statements struct {
	lockHead, insertBatch, updateHead, insertTile, insertCheckpoint *sql.Stmt
}

func openDatabase(ctx context.Context, driver, dsn string, create bool) (*database, error) {
	if driver == Postgres {
		return openPostgres(ctx, dsn)
	}
	return openSQLite(ctx, dsn, create)
}

// gormConfig: no implicit transactions (the committer has its own), no logging of statements or values.
func gormConfig() *gorm.Config {
	return &gorm.Config{SkipDefaultTransaction: true, Logger: logger.Discard, DisableAutomaticPing: true}
}

// prepare compiles the hot statements; the schema must stand.
func (d *database) prepare(ctx context.Context) error {
	lock := ""
	if d.driver == Postgres {
		lock = " FOR UPDATE"
	}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&d.stmt.lockHead, "SELECT size, root, epoch, control_count, control_last, note FROM ledger_head WHERE id = 1" + lock},
		{&d.stmt.insertBatch, "INSERT INTO ledger_batches (first_seq, count, control, body) VALUES ($1, $2, $3, $4)"},
		{&d.stmt.updateHead, "UPDATE ledger_head SET size = $1, root = $2, epoch = $3, control_count = $4, control_last = $5, note = $6" +
			" WHERE id = 1 AND size = $7 AND note = $8"},
		{&d.stmt.insertTile, "INSERT INTO ledger_tiles (level, idx, body) VALUES ($1, $2, $3)"},
		{&d.stmt.insertCheckpoint, "INSERT INTO ledger_checkpoints (size, at, note) VALUES ($1, $2, $3) ON CONFLICT (size) DO NOTHING"},
	} {
		stmt, err := d.write.PrepareContext(ctx, p.text)
		if err != nil {
			return fmt.Errorf("preparing statement: %w", err)
		}
		*p.stmt = stmt
	}
	return nil
}

// upgrade applies the migrations that are missing; a schema newer than this program is refused untouched.
func (d *database) upgrade(ctx context.Context, provider *goose.Provider) error {
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	if current > target {
		return fmt.Errorf("%w: database has version %d, this program knows up to %d", ErrNewerSchema, current, target)
	}
	if current == target {
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("upgrading schema from version %d to %d: %w", current, target, err)
	}
	return nil
}

func (d *database) close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{d.stmt.lockHead, d.stmt.insertBatch, d.stmt.updateHead, d.stmt.insertTile, d.stmt.insertCheckpoint} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	if d.read != nil {
		errs = append(errs, d.read.Close())
	}
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	if d.unlock != nil {
		errs = append(errs, d.unlock())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing database: %w", err)
	}
	return nil
}

// snapshotTx begins a read-only transaction that sees one state of the database throughout.
func (d *database) snapshotTx(ctx context.Context) (*sql.Tx, error) {
	opts := &sql.TxOptions{ReadOnly: true}
	if d.driver == Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := d.read.BeginTx(ctx, opts)
	if err != nil {
		return nil, unavailable("beginning to read", err)
	}
	return tx, nil
}

// damaged says whether a driver found pages that hold something else than they must (SQLite's result codes; PostgreSQL 15
// documentation, appendix A, class XX).
func damaged(err error) bool {
	if lite := (sqlite3.Error{}); errors.As(err, &lite) {
		return lite.Code == sqlite3.ErrCorrupt || lite.Code == sqlite3.ErrNotADB
	}
	pg := new(pgconn.PgError)
	return errors.As(err, &pg) && (pg.Code == "XX001" || pg.Code == "XX002")
}

// session runs gorm over a transaction or pool.
func (d *database) session(ctx context.Context, pool gorm.ConnPool) *gorm.DB {
	// A context makes gorm copy the statement; without one the next line would change d.gorm for everybody.
	g := d.gorm.Session(&gorm.Session{NewDB: true, Context: ctx})
	g.Statement.ConnPool = pool
	return g
}

// unavailable wraps what a driver says about a refused, lost or damaged database.
func unavailable(doing string, err error) error {
	if damaged(err) {
		return fmt.Errorf("%w: %w: %s: %w", ErrUnavailable, ErrDamaged, doing, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
}
