package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/config"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "conclave.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestDefaultsAreComplete(t *testing.T) {
	c, err := config.Load(config.Sources{Flags: map[string]string{"data_dir": "/srv/demo"}})
	require.NoError(t, err)
	require.Equal(t, &config.Config{
		DataDir: "/srv/demo", Listen: "127.0.0.1:8443", TLS: config.TLS{DevCA: true},
		Database: config.Database{Driver: "sqlite"}, Node: config.Node{ID: "node-1"},
		Log:    config.Log{Level: "info", Format: "text"},
		Limits: config.Limits{Connections: 4096, ShutdownGrace: 15 * time.Second},
		PKCS11: config.PKCS11{Sessions: 4}, Export: config.Export{SyslogRepeat: 16384},
	}, c)
	require.Equal(t, "/srv/demo/conclave.db", c.DSN())
	require.True(t, c.DatabaseInside())
}

func TestLayersOverrideEachOther(t *testing.T) {
	file := write(t, "data_dir: /from/file\nlisten: 127.0.0.1:1001\nlog:\n  level: warn\nnode:\n  id: file-node\nlimits:\n  shutdown_grace: 30s\n  connections: 10\n")
	environ := []string{"PATH=/bin", "CONCLAVE_URL=client's own", "CONCLAVE_SERVER_LISTEN=127.0.0.1:1002", "CONCLAVE_SERVER_LOG_LEVEL=error",
		"CONCLAVE_SERVER_TLS_DEV_CA=true", "CONCLAVE_SERVER_LIMITS_CONNECTIONS=11"}
	c, err := config.Load(config.Sources{File: file, Environ: environ, Flags: map[string]string{"listen": "127.0.0.1:1003"}})
	require.NoError(t, err)
	require.Equal(t, "/from/file", c.DataDir)
	require.Equal(t, "127.0.0.1:1003", c.Listen)
	require.Equal(t, "error", c.Log.Level)
	require.Equal(t, "file-node", c.Node.ID)
	require.Equal(t, 30*time.Second, c.Limits.ShutdownGrace)
	require.Equal(t, 11, c.Limits.Connections)
}

func TestEverySettingIsReachedByFileEnvironmentAndFlag(t *testing.T) {
	values := map[config.Kind]string{config.Text: "x", config.Boolean: "true", config.Number: "7", config.Duration: "7s"}
	for _, s := range config.Settings() {
		t.Run(s.Key, func(t *testing.T) {
			text := values[s.Kind]
			parts := strings.Split(s.Key, ".")
			yaml := parts[len(parts)-1] + ": " + text + "\n"
			if len(parts) == 2 {
				yaml = parts[0] + ":\n  " + yaml
			}
			got, err := config.Parse([]byte(yaml), "test.yaml")
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.Contains(t, got, s.Key)
			// Whether the value makes sense is another matter; that the key is known is this one.
			for _, src := range []config.Sources{{Environ: []string{s.Env() + "=" + text}}, {Flags: map[string]string{s.Key: text}}} {
				if _, err := config.Load(src); err != nil {
					require.NotContains(t, err.Error(), "unknown")
				}
			}
		})
	}
}

func TestBadConfigurationIsRefusedByName(t *testing.T) {
	const base = "data_dir: /srv/demo\n"
	for name, c := range map[string]struct {
		file    string
		environ []string
		flags   map[string]string
		want    []string // each in the message
	}{
		"unknown key":                 {file: base + "listne: x\n", want: []string{"listne: unknown key", "line 2", "listen"}},
		"unknown nested key":          {file: base + "tls:\n  crt: x\n", want: []string{"tls.crt: unknown key", "line 3", "cert, key, client_ca, require_client_cert, dev_ca"}},
		"dotted key":                  {file: base + "tls.cert: x\n", want: []string{"tls.cert: unknown key"}},
		"duplicate key":               {file: base + "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", want: []string{"listen", "twice"}},
		"duplicate section":           {file: base + "log:\n  level: info\nlog:\n  format: json\n", want: []string{"log", "twice"}},
		"second document":             {file: base + "---\nlisten: x\n", want: []string{"more than one document"}},
		"not a mapping":               {file: "- a\n", want: []string{"not a mapping"}},
		"section without content":     {file: base + "tls:\n", want: []string{"tls", "not a mapping"}},
		"not yaml":                    {file: "a: [\n", want: []string{"not YAML"}},
		"number where text belongs":   {file: base + "listen: 8443\n", want: []string{"listen: not a text", "line 2"}},
		"text where a number belongs": {file: base + "limits:\n  connections: many\n", want: []string{"limits.connections", "whole number"}},
		"list where text belongs":     {file: base + "listen: [a]\n", want: []string{"listen: not a text"}},
		"null":                        {file: base + "listen:\n", want: []string{"listen: not a text"}},
		"alias":                       {file: "node: &n\n  id: a\nlog: *n\n", want: []string{"log"}},
		"bad duration":                {file: base + "limits:\n  shutdown_grace: 10\n", want: []string{"limits.shutdown_grace"}},
		"oversized":                   {file: "# " + strings.Repeat("x", config.MaxFile), want: []string{"more than"}},
		"unknown variable":            {file: base, environ: []string{"CONCLAVE_SERVER_LISTNE=x"}, want: []string{"CONCLAVE_SERVER_LISTNE: unknown variable"}},
		"bad variable":                {file: base, environ: []string{"CONCLAVE_SERVER_TLS_DEV_CA=yes"}, want: []string{"tls.dev_ca", "CONCLAVE_SERVER_TLS_DEV_CA"}},
		"bad flag":                    {file: base, flags: map[string]string{"limits.connections": "1e3"}, want: []string{"limits.connections", "--limits-connections"}},
		"no data directory":           {file: "listen: 127.0.0.1:1\n", want: []string{"data_dir: missing"}},
		"mode":                        {file: base + "mode: staging\n", want: []string{`mode: "staging"`, "production, development"}},
		"address":                     {file: base + "listen: localhost\n", want: []string{"listen", "host:port"}},
		"port":                        {file: base + "listen: localhost:http2\n", want: []string{"listen", "host:port"}},
		"certificate without key":     {file: base + "tls:\n  cert: c.pem\n", want: []string{"tls.cert", "both"}},
		"clients of nobody":           {file: base + "tls:\n  require_client_cert: true\n", want: []string{"tls.require_client_cert", "tls.client_ca"}},
		"no certificate at all":       {file: base + "tls:\n  dev_ca: false\n", want: []string{"tls.dev_ca"}},
		"driver":                      {file: base + "database:\n  driver: mysql\n", want: []string{"database.driver", "sqlite, postgres"}},
		"postgres without address":    {file: base + "database:\n  driver: postgres\n", want: []string{"database.dsn: missing"}},
		"node":                        {file: base + "node:\n  id: Node One\n", want: []string{"node.id"}},
		"level":                       {file: base + "log:\n  level: loud\n", want: []string{"log.level"}},
		"format":                      {file: base + "log:\n  format: xml\n", want: []string{"log.format"}},
		"same listener":               {file: base + "listen: 127.0.0.1:9\nmetrics:\n  listen: 127.0.0.1:9\n", want: []string{"metrics.listen"}},
		"repeats":                     {file: base + "export:\n  syslog_repeat: 1000001\n", want: []string{"export.syslog_repeat", "0 to 1000000"}},
		"connections":                 {file: base + "limits:\n  connections: 0\n", want: []string{"limits.connections: 0", "1 to"}},
		"burst":                       {file: base + "limits:\n  application_per_second: 5\n", want: []string{"limits.application_burst"}},
		"grace":                       {file: base + "limits:\n  shutdown_grace: 0s\n", want: []string{"limits.shutdown_grace"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(config.Sources{File: write(t, c.file), Environ: c.environ, Flags: c.flags})
			require.Error(t, err)
			var bad *config.Error
			require.ErrorAs(t, err, &bad)
			for _, want := range c.want {
				require.Contains(t, err.Error(), want)
			}
		})
	}
}

func TestSecretSettingIsNotRepeatedInErrors(t *testing.T) {
	_, err := config.Load(config.Sources{Flags: map[string]string{"data_dir": "d"},
		Environ: []string{"CONCLAVE_SERVER_DATABASE_DSN=postgres://u:hunter2@h/db", "CONCLAVE_SERVER_DATABASE_DRIVER=nosuch"}})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestMissingFileIsAnError(t *testing.T) {
	_, err := config.Load(config.Sources{File: filepath.Join(t.TempDir(), "absent.yaml")})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRelativeDataDirectoryBecomesAbsolute(t *testing.T) {
	c, err := config.Load(config.Sources{Flags: map[string]string{"data_dir": "here"}})
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(c.DataDir))
}

func TestDocumentationNamesEverySetting(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	for _, s := range config.Settings() {
		require.Contains(t, string(text), "`"+s.Key+"`", "setting in docs/operations.md")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("data_dir: /srv/demo\nlog:\n  level: info\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("tls:\n  cert: |\n    x\n"))
	f.Add([]byte("? {a: b}\n: c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		values, err := config.Parse(data, "fuzz.yaml")
		if err != nil {
			return
		}
		known := map[string]bool{}
		for _, s := range config.Settings() {
			known[s.Key] = true
		}
		for key := range values {
			require.True(t, known[key], key)
		}
	})
}
