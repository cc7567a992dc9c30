package boot_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/app/config"
	"conclave/ceremony/genesis"
	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

func TestInitMakesAWholeInstance(t *testing.T) {
	cfg, b, result := made(t)
	require.Equal(t, genesis.Digest(b.file), result.Instance)
	require.Equal(t, custodian.Development, result.Mode)
	for _, path := range []string{cfg.DSN(), cfg.LogKeyFile(), cfg.AuditKeyFile(), cfg.ChallengeKeyFile(), cfg.NodeKeyFile(), cfg.HighWaterFile()} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), path)
	}
	for _, dir := range []string{cfg.DataDir, cfg.KeyDir()} {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), dir)
	}
	trust, err := ledger.LoadTrustFile(result.TrustFile)
	require.NoError(t, err)
	require.Equal(t, result.Instance, trust.Instance)
	require.Equal(t, "development", trust.Mode)
	require.Equal(t, "node-1", trust.NodeKeys[0].Kid)
	least, pinned, err := trust.LeastHead()
	require.NoError(t, err)
	require.True(t, pinned)
	require.Positive(t, least.Size)
	beside, err := os.ReadDir(filepath.Dir(cfg.DataDir))
	require.NoError(t, err)
	require.Len(t, beside, 1, "nothing is left beside the data directory")
}

func TestInitRefusesAndLeavesNothing(t *testing.T) {
	whole := begin(t, nil)
	other := begin(t, func(f *genesis.File) { f.PolicyDigest = strings.Repeat("ab", 32) })
	for name, c := range map[string]struct {
		begin    beginning
		unsigned bool
		settings map[string]string
		want     error
		text     string
	}{
		"nobody signed":           {begin: beginning{file: whole.file}, want: genesis.ErrUnsigned},
		"one signature missing":   {begin: beginning{file: whole.file, signatures: whole.signatures[1:]}, want: genesis.ErrUnsigned, text: "demo-ada"},
		"signatures of another":   {begin: beginning{file: whole.file, signatures: other.signatures}, want: genesis.ErrUnsigned},
		"a byte changed":          {begin: beginning{file: append([]byte("# \n"), whole.file...), signatures: whole.signatures}, want: genesis.ErrUnsigned},
		"not a genesis file":      {begin: beginning{file: []byte("people: none\n")}, want: genesis.ErrFile},
		"another policy bundle":   {begin: other, text: strings.Repeat("ab", 32)},
		"another mode configured": {begin: whole, settings: map[string]string{"mode": "production"}, want: boot.ErrMode},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := boot.Init(t.Context(), boot.InitOptions{Config: settings(t, filepath.Join(dir, "data"), c.settings), Genesis: c.begin.file, Signatures: c.begin.signatures})
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.text)
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestInitLeavesAnOccupiedDirectoryAlone(t *testing.T) {
	cfg, b, _ := made(t)
	before, err := os.ReadFile(cfg.LogKeyFile())
	require.NoError(t, err)
	_, err = boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
	require.ErrorIs(t, err, boot.ErrNotEmpty)
	after, err := os.ReadFile(cfg.LogKeyFile())
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestInitUsesAnEmptyDirectory(t *testing.T) {
	b := begin(t, nil)
	cfg := settings(t, t.TempDir(), nil)
	_, err := boot.Init(t.Context(), boot.InitOptions{Config: cfg, Genesis: b.file, Signatures: b.signatures})
	require.NoError(t, err)
}

func TestStartServesAndSaysWhatIsMissing(t *testing.T) {
	cfg, _, _ := made(t)
	cfg.Metrics.Listen = "127.0.0.1:0"
	r := started(t, cfg)
	require.True(t, strings.HasPrefix(r.URL, "https://127.0.0.1:"), r.URL)
	c := browser(t, r.CAFile, 0)
	code, _ := get(t, c, r.URL+"/healthz")
	require.Equal(t, http.StatusOK, code)
	code, body := get(t, c, r.URL+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "1 of 1 keystores inactive")
	code, body = get(t, c, r.URL+"/v1/ledger/checkpoint")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "conclave/")

	code, body = get(t, http.DefaultClient, r.MetricsURL+"/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "go_goroutines")
	code, _ = get(t, http.DefaultClient, r.MetricsURL+"/v1/status")
	require.Equal(t, http.StatusNotFound, code, "the plain listener has nothing but monitoring")
}

func TestStartSpeaksTLS13Only(t *testing.T) {
	cfg, _, _ := made(t)
	r := started(t, cfg)
	_, err := browser(t, r.CAFile, tls.VersionTLS12).Get(r.URL + "/healthz")
	require.ErrorContains(t, err, "protocol version")
}

func TestRestartGoesOn(t *testing.T) {
	cfg, _, _ := made(t)
	r := started(t, cfg)
	ca, err := os.ReadFile(r.CAFile)
	require.NoError(t, err)
	size := r.Custodian.View().Head().Size
	stop(t, r)
	again := started(t, cfg)
	require.Greater(t, again.Custodian.View().Head().Size, size, "node.stop and node.start are recorded")
	same, err := os.ReadFile(again.CAFile)
	require.NoError(t, err)
	require.Equal(t, ca, same, "clients need no new authority")
	code, _ := get(t, browser(t, again.CAFile, 0), again.URL+"/healthz")
	require.Equal(t, http.StatusOK, code)
}

func TestCloseIsQuietTheSecondTime(t *testing.T) {
	cfg, _, _ := made(t)
	r := started(t, cfg)
	stop(t, r)
	stop(t, r)
	require.Contains(t, r.Ready(), "the node is shutting down")
}

func TestStartRefusesWhatDoesNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, cfg *config.Config)
		want  error
		text  string
	}{
		"no instance":         {func(t *testing.T, cfg *config.Config) { cfg.DataDir = t.TempDir() }, boot.ErrNoInstance, "conclave init"},
		"other mode":          {func(_ *testing.T, cfg *config.Config) { cfg.Mode = "production" }, boot.ErrMode, "development mode since genesis"},
		"unknown node":        {func(_ *testing.T, cfg *config.Config) { cfg.Node.ID = "node-9" }, boot.ErrNotEnrolled, "node-9"},
		"open node key":       {func(t *testing.T, cfg *config.Config) { require.NoError(t, os.Chmod(cfg.NodeKeyFile(), 0o640)) }, boot.ErrKeyFile, "0640"},
		"open log key":        {func(t *testing.T, cfg *config.Config) { require.NoError(t, os.Chmod(cfg.LogKeyFile(), 0o604)) }, ledger.ErrLogKey, "0604"},
		"linked audit key":    {linkAway, nil, "audit.key"},
		"damaged audit key":   {func(t *testing.T, cfg *config.Config) { overwrite(t, cfg.AuditKeyFile(), "x\n") }, boot.ErrKeyFile, "audit.key"},
		"oversized node key":  {func(t *testing.T, cfg *config.Config) { overwrite(t, cfg.NodeKeyFile(), strings.Repeat("x", 8192)) }, boot.ErrKeyFile, "over"},
		"foreign node key":    {foreignNodeKey, boot.ErrNotEnrolled, "another key"},
		"foreign log key":     {foreignLogKey, nil, ""},
		"missing database":    {func(t *testing.T, cfg *config.Config) { require.NoError(t, os.Remove(cfg.DSN())) }, store.ErrNotInitialised, ""},
		"port taken":          {func(_ *testing.T, cfg *config.Config) { cfg.Listen = "256.0.0.1:1" }, nil, "listen"},
		"missing certificate": {func(_ *testing.T, cfg *config.Config) { cfg.TLS.Cert, cfg.TLS.Key = "/absent.pem", "/absent.key" }, fs.ErrNotExist, "tls.key"},
		"empty client CA":     {func(_ *testing.T, cfg *config.Config) { cfg.TLS.ClientCA = os.DevNull }, nil, "tls.client_ca"},
		"invalid settings":    {func(_ *testing.T, cfg *config.Config) { cfg.Log.Level = "loud" }, nil, "log.level"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, _, _ := made(t)
			good := *cfg
			c.spoil(t, cfg)
			r, err := boot.Start(t.Context(), cfg, nil)
			require.Nil(t, r)
			require.Error(t, err)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
			}
			require.ErrorContains(t, err, c.text)
			// Nothing is held back: where the files are whole, the next start succeeds.
			if name == "other mode" || name == "port taken" {
				started(t, &good)
			}
		})
	}
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

func linkAway(t *testing.T, cfg *config.Config) {
	t.Helper()
	require.NoError(t, os.Rename(cfg.AuditKeyFile(), cfg.AuditKeyFile()+".moved"))
	require.NoError(t, os.Symlink(cfg.AuditKeyFile()+".moved", cfg.AuditKeyFile()))
}

func foreignNodeKey(t *testing.T, cfg *config.Config) {
	t.Helper()
	other, _, _ := made(t)
	require.NoError(t, os.Rename(other.NodeKeyFile(), cfg.NodeKeyFile()))
}

func foreignLogKey(t *testing.T, cfg *config.Config) {
	t.Helper()
	other, _, _ := made(t)
	require.NoError(t, os.Rename(other.LogKeyFile(), cfg.LogKeyFile()))
}

func TestTwoServersOfOneDatabaseAreRefused(t *testing.T) {
	cfg, _, _ := made(t)
	started(t, cfg)
	copied := *cfg
	copied.DataDir, copied.Database.DSN = filepath.Join(t.TempDir(), "data"), cfg.DSN()
	require.NoError(t, exec.Command("cp", "-a", cfg.DataDir, copied.DataDir).Run())
	_, err := boot.Start(t.Context(), &copied, nil)
	require.ErrorIs(t, err, store.ErrLocked)
}

func TestInvariant01_ConfigurationThatDisagreesWithTheModeDoesNotStart(t *testing.T) {
	cfg, _, _ := made(t)
	cfg.Mode = "production"
	_, err := boot.Start(t.Context(), cfg, nil)
	require.ErrorIs(t, err, boot.ErrMode)
}

func TestInvariant08_RowEditedWhileStoppedIsQuarantinedAndRecorded(t *testing.T) {
	cfg, _, _ := made(t)
	edit(t, cfg.DSN(), `UPDATE authority_rows SET body = replace(body, 'north', 'south') WHERE kind = 'person' AND id = 'demo-ada'`)
	r := started(t, cfg)
	require.Eventually(t, func() bool { return recorded(t, r, "integrity.violation") }, 30*time.Second, 20*time.Millisecond)
	code, body := get(t, browser(t, r.CAFile, 0), r.URL+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "contradict the ledger")
}

func TestInvariant09_OlderDatabaseIsRefused(t *testing.T) {
	cfg, _, _ := made(t)
	old, err := os.ReadFile(cfg.DSN())
	require.NoError(t, err)
	stop(t, started(t, cfg))
	require.NoError(t, os.WriteFile(cfg.DSN(), old, 0o600))
	for _, tail := range []string{"-wal", "-shm"} {
		_ = os.Remove(cfg.DSN() + tail) // may not be there
	}
	_, err = boot.Start(t.Context(), cfg, nil)
	require.ErrorIs(t, err, store.ErrRollback)
}

func edit(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite3", path)
	require.NoError(t, err)
	defer db.Close()
	result, err := db.Exec(statement)
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	require.EqualValues(t, 1, n)
}

// recorded reports whether the ledger has an entry of a type.
func recorded(t *testing.T, r *boot.Running, event string) bool {
	t.Helper()
	found := false
	st := r.Custodian.Store()
	err := st.ReadEntries(t.Context(), 0, r.Custodian.View().Head().Size, func(_ uint64, raw []byte) error {
		e, err := ledger.Decode(raw)
		found = found || err == nil && e.Type == event
		return err
	})
	require.NoError(t, err)
	return found
}

func TestNodeRecordsItsStartAndStop(t *testing.T) {
	cfg, _, _ := made(t)
	r := started(t, cfg)
	require.True(t, recorded(t, r, "node.start"))
	stop(t, r)
	require.True(t, recorded(t, started(t, cfg), "node.stop"))
}

// A start without the checkpoint of an earlier run could be one on an older database: that is on record.
func TestInvariant09_AStartWithoutACheckpointIsRecorded(t *testing.T) {
	cfg, _, _ := made(t)
	for _, anchored := range []bool{true, false} {
		if !anchored {
			require.NoError(t, os.Remove(cfg.HighWaterFile()))
		}
		r := started(t, cfg)
		last := ""
		err := r.Custodian.Store().ControlEntries(t.Context(), 0, func(e *ledger.Entry, _ []byte) error {
			if e.Type == "node.start" {
				last = string(e.Detail)
			}
			return nil
		})
		require.NoError(t, err)
		require.Contains(t, last, fmt.Sprintf(`"anchored":%v`, anchored))
		stop(t, r)
	}
}

func TestRunStopsWhenTold(t *testing.T) {
	cfg, _, _ := made(t)
	ctx, cancel := context.WithCancel(t.Context())
	var log strings.Builder
	done := make(chan error, 1)
	ready := make(chan struct{})
	logger := slog.New(slog.NewTextHandler(&notify{out: &log, when: "serving", ready: ready}, nil))
	go func() { done <- boot.Run(ctx, cfg, logger, "test") }()
	<-ready
	cancel()
	require.NoError(t, <-done)
	require.Contains(t, log.String(), "development mode")
	require.NotContains(t, log.String(), "PRIVATE")
}

// notify tells when a line with a word was written. The logger calls it one line at a time.
type notify struct {
	out   *strings.Builder
	when  string
	ready chan struct{}
	told  bool
}

func (n *notify) Write(p []byte) (int, error) {
	if !n.told && strings.Contains(string(p), n.when) {
		n.told = true
		close(n.ready)
	}
	return n.out.Write(p)
}
