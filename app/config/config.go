// Package config is the server's one configuration: strict, typed, layered. Defaults are overridden by the
// file, the file by the environment, the environment by flags. A key that nobody knows, a key given twice and
// a value that cannot be are errors that name the key, where it stands, and what is allowed.
package config

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the whole configuration of a server. Field meanings, units and bounds are in [Settings].
type Config struct {
	DataDir  string   `koanf:"data_dir"`
	Mode     string   `koanf:"mode"` // "", "production" or "development"; what the instance must be
	Listen   string   `koanf:"listen"`
	TLS      TLS      `koanf:"tls"`
	Database Database `koanf:"database"`
	Node     Node     `koanf:"node"`
	Log      Log      `koanf:"log"`
	Metrics  Metrics  `koanf:"metrics"`
	Limits   Limits   `koanf:"limits"`
	PKCS11   PKCS11   `koanf:"pkcs11"`
	Export   Export   `koanf:"export"`
	Witness  Witness  `koanf:"witness"`
	Monitor  Monitor  `koanf:"monitor"`
	S3       S3       `koanf:"s3"`
}

// TLS says with which certificate the server answers and whose clients it talks to.
type TLS struct {
	Cert     string `koanf:"cert"`
	Key      string `koanf:"key"`
	ClientCA string `koanf:"client_ca"`
	// RequireClientCert: whoever shows no certificate of ClientCA is not talked to; else one that is shown is checked.
	RequireClientCert bool `koanf:"require_client_cert"`
	DevCA             bool `koanf:"dev_ca"`
}

// Database says where the ledger is.
type Database struct {
	Driver string `koanf:"driver"`
	DSN    string `koanf:"dsn"`
}

// Node is this process's name among the replicas.
type Node struct {
	ID       string `koanf:"id"`
	HandOver bool   `koanf:"hand_over"`
}

// Log says what is written to standard error.
type Log struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// Metrics is a second, plain listener for monitoring.
type Metrics struct {
	Listen string `koanf:"listen"`
}

// Limits bound what callers can take.
type Limits struct {
	Connections          int           `koanf:"connections"`
	ApplicationPerSecond int           `koanf:"application_per_second"`
	ApplicationBurst     int           `koanf:"application_burst"`
	ShutdownGrace        time.Duration `koanf:"shutdown_grace"`
}

// Error is one setting that cannot be used.
type Error struct {
	Key     string // e.g. "tls.cert"
	Source  string // "file conclave.yaml, line 3", "environment CONCLAVE_SERVER_LISTEN", "flag --listen"; "" for the whole
	Problem string
	Allowed string
	Cause   error // why what it names cannot be used; nil where the value itself is wrong
}

// Unusable is a setting whose value is in order but names what cannot be used: a file that is missing, or holds something else.
func Unusable(key string, err error) *Error {
	return &Error{Key: key, Problem: err.Error(), Cause: err}
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("configuration: ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Problem)
	if e.Allowed != "" {
		b.WriteString("; allowed: " + e.Allowed)
	}
	if e.Source != "" {
		b.WriteString(" (" + e.Source + ")")
	}
	return b.String()
}

// Paths below the data directory.
func (c *Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}

// KeyDir holds this node's key files.
func (c *Config) KeyDir() string { return c.path("keys") }

// LogKeyFile holds the key that signs checkpoints.
func (c *Config) LogKeyFile() string { return c.path("keys", "log.key") }

// AuditKeyFile holds the key under which encryption contexts are recorded.
func (c *Config) AuditKeyFile() string { return c.path("keys", "audit.key") }

// ChallengeKeyFile holds the key that authenticates challenges to shareholders.
func (c *Config) ChallengeKeyFile() string { return c.path("keys", "challenge.key") }

// NodeKeyFile holds this node's signing key.
func (c *Config) NodeKeyFile() string { return c.path("keys", "node.key") }

// TrustFile is what auditors and clients pin.
func (c *Config) TrustFile() string { return c.path("trust.json") }

// HighWaterFile keeps the highest checkpoint that this node has seen.
func (c *Config) HighWaterFile() string { return c.path("checkpoint") }

// TLSDir holds the development authority and the certificate that it gave.
func (c *Config) TLSDir() string { return c.path("tls") }

// CAFile is the development authority's certificate, which clients name as --ca.
func (c *Config) CAFile() string { return filepath.Join(c.TLSDir(), "ca.pem") }

// DSN is the database's address: the configured one, or conclave.db in the data directory.
func (c *Config) DSN() string {
	if c.Database.DSN == "" && c.Database.Driver == DriverSQLite {
		return c.path("conclave.db")
	}
	return c.Database.DSN
}

// DatabaseInside reports whether the database is part of the data directory, so that both are made together.
func (c *Config) DatabaseInside() bool {
	return c.Database.Driver == DriverSQLite && c.Database.DSN == ""
}

// Database drivers.
const (
	DriverSQLite   = "sqlite"
	DriverPostgres = "postgres"
)

// Bounds. Limits far above use and far below what hurts.
const (
	maxConnections = 65536
	maxPerSecond   = 1_000_000
	maxGrace       = 10 * time.Minute
)

var nodeID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Validate checks the whole. The error is a *[Error].
func (c *Config) Validate() error {
	checks := []*Error{
		c.checkDataDir(),
		oneOf("mode", c.Mode, "", "production", "development"),
		address("listen", c.Listen, false),
		c.checkTLS(),
		c.checkDatabase(),
		c.checkNode(),
		oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error"),
		oneOf("log.format", c.Log.Format, "text", "json"),
		address("metrics.listen", c.Metrics.Listen, true),
		c.checkMetrics(),
		between("limits.connections", c.Limits.Connections, 1, maxConnections),
		between("limits.application_per_second", c.Limits.ApplicationPerSecond, 0, maxPerSecond),
		between("limits.application_burst", c.Limits.ApplicationBurst, 0, maxPerSecond),
		c.checkLimits(),
		c.checkPKCS11(),
		c.checkExport(),
		c.checkWitness(),
		c.checkMonitor(),
		c.checkS3(),
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkDataDir() *Error {
	if c.DataDir == "" {
		return &Error{Key: "data_dir", Problem: "missing", Allowed: "the directory that `conclave init` made"}
	}
	if strings.ContainsAny(c.DataDir, "?#\x00") {
		return &Error{Key: "data_dir", Problem: fmt.Sprintf("%q has a character that cannot be in a database path", c.DataDir), Allowed: "a path without ? and #"}
	}
	return nil
}

func (c *Config) checkTLS() *Error {
	switch {
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return &Error{Key: "tls.cert", Problem: "certificate and key come together, one is missing", Allowed: "both tls.cert and tls.key, or neither"}
	case c.TLS.RequireClientCert && c.TLS.ClientCA == "":
		return &Error{Key: "tls.require_client_cert", Problem: "true, and no authority of clients is named", Allowed: "with tls.client_ca, or false"}
	case c.TLS.Cert == "" && !c.TLS.DevCA:
		return &Error{Key: "tls.dev_ca", Problem: "off, and there is no certificate", Allowed: "tls.cert and tls.key, or tls.dev_ca: true"}
	}
	return nil
}

func (c *Config) checkDatabase() *Error {
	if err := oneOf("database.driver", c.Database.Driver, DriverSQLite, DriverPostgres); err != nil {
		return err
	}
	if c.Database.Driver == DriverPostgres && c.Database.DSN == "" {
		return &Error{Key: "database.dsn", Problem: "missing", Allowed: "for postgres a connection URL, best by environment or file, not by flag"}
	}
	return nil
}

func (c *Config) checkNode() *Error {
	if !nodeID.MatchString(c.Node.ID) {
		return &Error{Key: "node.id", Problem: fmt.Sprintf("%q", clip(c.Node.ID)), Allowed: "1 to 63 characters a-z 0-9 . _ -, a letter or digit first"}
	}
	return nil
}

func (c *Config) checkMetrics() *Error {
	if c.Metrics.Listen != "" && c.Metrics.Listen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		return &Error{Key: "metrics.listen", Problem: "the same address as listen", Allowed: "another port, or nothing: /metrics is on the main listener too"}
	}
	return nil
}

func (c *Config) checkLimits() *Error {
	l := c.Limits
	if l.ShutdownGrace < time.Second || l.ShutdownGrace > maxGrace {
		return &Error{Key: "limits.shutdown_grace", Problem: l.ShutdownGrace.String(), Allowed: "1s to " + maxGrace.String()}
	}
	if l.ApplicationPerSecond > 0 && l.ApplicationBurst == 0 {
		return &Error{Key: "limits.application_burst", Problem: "0 would refuse every call", Allowed: "at least 1 where limits.application_per_second is set"}
	}
	return nil
}

func oneOf(key, value string, allowed ...string) *Error {
	if slices.Contains(allowed, value) {
		return nil
	}
	named := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
	return &Error{Key: key, Problem: fmt.Sprintf("%q", clip(value)), Allowed: strings.Join(named, ", ")}
}

func between(key string, value, low, high int) *Error {
	if value >= low && value <= high {
		return nil
	}
	return &Error{Key: key, Problem: strconv.Itoa(value), Allowed: fmt.Sprintf("%d to %d", low, high)}
}

func address(key, value string, optional bool) *Error {
	if value == "" && optional {
		return nil
	}
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return &Error{Key: key, Problem: fmt.Sprintf("%q is no address", clip(value)), Allowed: "host:port, e.g. 127.0.0.1:8443; port 0 takes a free one"}
	}
	return nil
}

// clip bounds a value that is repeated in an error.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
