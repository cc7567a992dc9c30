package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"

	"conclave/migrations"
)

// sqliteOptions: write-ahead log with a sync at every commit, so that what is acknowledged survives power loss
// (sqlite.org/pragma.html#pragma_synchronous); a bounded wait for locks; the write lock at BEGIN.
const (
	// What is deleted or replaced is overwritten with zeros: the wrapped material of a destroyed key does not stay in
	// the file (sqlite.org/pragma.html#pragma_secure_delete).
	sqliteOptions = "?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=5000&_foreign_keys=on&_txlock=immediate&_secure_delete=on"
	// Readers never write: a reader's connection is set to refuse it.
	sqliteReadOptions = "?_busy_timeout=5000&_foreign_keys=on&_query_only=on"
	sqliteReaders     = 4
)

// openSQLite opens the database file for this process alone.
func openSQLite(ctx context.Context, path string, create bool) (*database, error) {
	if strings.ContainsAny(path, "?#") || strings.HasPrefix(path, ":") || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("sqlite DSN is %q, allowed is the plain path of a file", path)
	}
	if err := ensureFile(path, create); err != nil {
		return nil, err
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	d := &database{driver: SQLite, unlock: unlock}
	if err := d.connectSQLite(ctx, path); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *database) connectSQLite(ctx context.Context, path string) error {
	var err error
	if d.write, err = sql.Open(sqlite.DriverName, path+sqliteOptions); err != nil {
		return unavailable("opening sqlite", err)
	}
	d.write.SetMaxOpenConns(1)
	d.write.SetMaxIdleConns(1)
	d.write.SetConnMaxLifetime(0)
	if err := d.write.PingContext(ctx); err != nil {
		return unavailable("opening sqlite", err)
	}
	if d.read, err = sql.Open(sqlite.DriverName, path+sqliteReadOptions); err != nil {
		return unavailable("opening sqlite", err)
	}
	d.read.SetMaxOpenConns(sqliteReaders)
	d.read.SetMaxIdleConns(sqliteReaders)
	if d.gorm, err = gorm.Open(sqlite.New(sqlite.Config{Conn: d.write}), gormConfig()); err != nil {
		return unavailable("opening sqlite", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, d.write, migrations.SQLite(), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("loading migrations: %w", err)
	}
	if err := d.upgrade(ctx, provider); err != nil {
		return err
	}
	return d.prepare(ctx)
}

// ensureFile makes the database file readable by its owner alone; SQLite gives its side files the same mode.
func ensureFile(path string, create bool) error {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if errors.Is(err, fs.ErrNotExist) && !create {
		return fmt.Errorf("%w: no file %s", ErrNotInitialised, path)
	}
	if err != nil {
		return fmt.Errorf("opening database file: %w", err)
	}
	return f.Close()
}

// lockFile takes an exclusive lock that the kernel releases when the process ends, however it ends.
func lockFile(path string) (func() error, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		closeErr := f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("%w: %s", ErrLocked, path), closeErr)
		}
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), closeErr)
	}
	return f.Close, nil
}
