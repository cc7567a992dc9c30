// Package storetest gives tests real databases: SQLite files and a PostgreSQL server of their own.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

const (
	postgresBin = "/usr/lib/postgresql/15/bin"
	// serverVariable names a PostgreSQL server's socket directory that tests may make databases on. Run sets it.
	serverVariable = "CONCLAVE_TEST_POSTGRES_HOST"
	superuser      = "conclave"
)

// Run runs a package's tests with one PostgreSQL server for all of them and returns the exit code:
//
//	func TestMain(m *testing.M) { os.Exit(storetest.Run(m)) }
//
// Without it each call of [Postgres] starts a server.
func Run(m *testing.M) int {
	if os.Getenv(serverVariable) != "" {
		return m.Run()
	}
	host, stop, err := startPostgres()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	if err := os.Setenv(serverVariable, host); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Postgres makes an empty database and returns its DSN. The database is dropped when the test ends. A missing
// PostgreSQL fails the test and says how to install it.
func Postgres(tb testing.TB) string {
	tb.Helper()
	host := os.Getenv(serverVariable)
	if host == "" {
		started, stop, err := startPostgres()
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(stop)
		host = started
	}
	admin, err := sql.Open("pgx", dsn(host, "postgres"))
	if err != nil {
		tb.Fatalf("connecting to test postgres: %v", err)
	}
	name := "t" + strings.ToLower(rand.Text())
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		tb.Fatalf("making test database: %v", err)
	}
	tb.Cleanup(func() {
		if _, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Errorf("dropping test database: %v", err)
		}
		admin.Close()
	})
	return dsn(host, name)
}

func dsn(host, database string) string {
	return fmt.Sprintf("host=%s user=%s dbname=%s", host, superuser, database)
}

// startPostgres runs a server on a socket in a directory of its own. It returns that directory.
func startPostgres() (host string, stop func(), err error) {
	if _, err := os.Stat(filepath.Join(postgresBin, "postgres")); err != nil {
		return "", nil, fmt.Errorf("PostgreSQL 15 is missing (%w): install the package postgresql-15 (apt-get install postgresql-15)", err)
	}
	dir, err := os.MkdirTemp("", "conclave-pg-")
	if err != nil {
		return "", nil, fmt.Errorf("making test postgres directory: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	attr, err := unprivileged(dir)
	if err != nil {
		return "", nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(postgresBin, "initdb"), "-D", data, "-U", superuser, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("initialising test postgres: %w: %s", err, out)
	}
	server := exec.Command(filepath.Join(postgresBin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "max_connections=200")
	server.SysProcAttr, server.Dir = attr, dir
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", nil, fmt.Errorf("making test postgres log: %w", err)
	}
	defer log.Close()
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		return "", nil, fmt.Errorf("starting test postgres: %w", err)
	}
	stop = func() {
		// Immediate shutdown: the data is thrown away.
		_ = server.Process.Signal(syscall.SIGQUIT)
		_ = server.Wait()
		os.RemoveAll(dir)
	}
	if err := awaitServer(dir); err != nil {
		text, _ := os.ReadFile(log.Name())
		stop()
		return "", nil, fmt.Errorf("waiting for test postgres: %w: %s", err, text)
	}
	return dir, stop, nil
}

// unprivileged hands dir to the user whom the server runs as: PostgreSQL refuses root. The server ends with
// this process, however that ends.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("tests run as root and need the user postgres, which the package postgresql-15 makes: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user postgres: %w", err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		return nil, fmt.Errorf("handing over test postgres directory: %w", err)
	}
	return attr, nil
}

func awaitServer(host string) error {
	db, err := sql.Open("pgx", dsn(host, "postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		if err = db.PingContext(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}
