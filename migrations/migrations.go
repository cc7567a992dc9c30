// Package migrations holds the database schema as numbered SQL, one folder a dialect, in goose format.
// Migrations only expand; a contraction follows one release later, so that replicas of two versions run
// side by side during an upgrade.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite returns the migrations for SQLite.
func SQLite() fs.FS { return dialect("sqlite") }

// Postgres returns the migrations for PostgreSQL 15 and later.
func Postgres() fs.FS { return dialect("postgres") }

// dialect cannot fail: the folder names are fixed by the embed directive above, which the compiler checks.
func dialect(name string) fs.FS {
	sub, err := fs.Sub(files, name)
	if err != nil {
		panic(fmt.Sprintf("migrations: embedded folder %s: %v", name, err))
	}
	return sub
}
