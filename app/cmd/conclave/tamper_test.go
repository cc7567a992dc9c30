package main_test

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/boot"
	"conclave/custodian/ledger"
)

// edit runs SQL on an instance's database, as somebody with access to its file might. It must change something.
func edit(t *testing.T, dir, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "conclave.db")+"?_busy_timeout=10000")
	require.NoError(t, err)
	defer db.Close()
	result, err := db.Exec(statement, args...)
	require.NoError(t, err)
	changed, err := result.RowsAffected()
	require.NoError(t, err)
	require.NotZero(t, changed, "the edit found nothing to change")
}

const rewrite = "UPDATE authority_rows SET body = CAST(replace(CAST(body AS TEXT), ?, ?) AS BLOB) WHERE kind = ? AND id = ? AND instr(CAST(body AS TEXT), ?) > 0"

// raise makes a row say something else.
func raise(t *testing.T, dir, kind, id, from, to string) {
	t.Helper()
	edit(t, dir, rewrite, from, to, kind, id, from)
}

// ready asks /readyz.
func ready(t *testing.T, n *node) (status int, problems string) {
	t.Helper()
	pem, err := os.ReadFile(n.ca())
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Get(n.url + "/readyz")
	require.NoError(t, err)
	defer resp.Body.Close()
	var body struct{ Problems []string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&body))
	return resp.StatusCode, strings.Join(body.Problems, "; ")
}

// violated counts the entries that say which rows contradicted the ledger.
func violated(t *testing.T, n *node) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, e := range exported(t, n) {
		if e.Type == "integrity.violation" {
			require.Equal(t, ledger.Failed, e.Outcome)
			found[e.Target.Type+" "+e.Target.ID]++
		}
	}
	return found
}

func TestInvariant08_RowEditedWhileStoppedGainsNothing(t *testing.T) {
	t.Parallel()
	dir := working(t)
	raise(t, dir, "person", "eve", `"roles":["custodian"]`, `"roles":["custodian","security-officer"]`)
	raise(t, dir, "key", cards, `"jurisdiction":"EU"`, `"jurisdiction":"US"`)
	n := serve(t, dir)
	require.NoError(t, n.activate(t.Context()))

	status, problems := ready(t, n)
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Contains(t, problems, "2 authority rows contradict the ledger")

	eve, err := n.as("eve")
	require.NoError(t, err)
	_, err = eve.api.Propose(t.Context(), "key.rotate", map[string]any{"key": cards}, "a test")
	require.Error(t, err, "whose row was edited does nothing")
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	_, err = app.DataKey(t.Context(), cards, 32, nil)
	p := problem(t, err)
	require.Equal(t, "integrity", p.Code)
	require.Equal(t, http.StatusServiceUnavailable, p.Status)
	require.False(t, p.Retryable)
	_, err = n.token(t.Context(), "ada", map[string]any{"auditor": "audrey", "days": 1})
	require.NoError(t, err, "everything else goes on")

	eventually(t, "the record of the violations", func() (bool, error) {
		found := violated(t, n)
		return found["person eve"] > 0 && found["key "+cards] > 0, nil
	})
}

func TestInvariant08_RowEditedWhileRunningIsFound(t *testing.T) {
	t.Parallel()
	n := atWork(t)
	app, err := n.bearer(shared.appToken)
	require.NoError(t, err)
	dk, err := app.DataKey(t.Context(), cards, 32, nil)
	require.NoError(t, err)
	dk.Plaintext.Wipe()
	status, problems := ready(t, n)
	require.Equal(t, http.StatusOK, status, problems)

	raise(t, n.dir, "key", cards, `"jurisdiction":"EU"`, `"jurisdiction":"US"`)
	eventually(t, "the sweep", func() (bool, error) {
		status, problems = ready(t, n)
		return status != http.StatusOK, nil
	})
	require.Contains(t, problems, "1 authority rows contradict the ledger")
	_, err = app.DataKey(t.Context(), cards, 32, nil)
	require.Equal(t, "integrity", problem(t, err).Code)
	eventually(t, "the record of the violation", func() (bool, error) { return violated(t, n)["key "+cards] == 1, nil })
}

func TestInvariant09_EditedLedgerIsRefusedAtStart(t *testing.T) {
	for name, statement := range map[string]string{
		"control batch": "UPDATE ledger_batches SET body = CAST(replace(CAST(body AS TEXT), 'a test', 'A TEST') AS BLOB) WHERE control = 1 AND instr(CAST(body AS TEXT), 'a test') > 0",
		"data batch":    "UPDATE ledger_batches SET body = CAST(replace(CAST(body AS TEXT), 'nobodys-key', 'NOBODYS-KEY') AS BLOB) WHERE control = 0 AND instr(CAST(body AS TEXT), 'nobodys-key') > 0",
		"batch removed": "DELETE FROM ledger_batches WHERE first_seq = (SELECT max(first_seq) FROM ledger_batches)",
		"head":          "UPDATE ledger_head SET size = size - 1",
		"head removed":  "DELETE FROM ledger_head",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := atWork(t)
			app, err := n.bearer(shared.appToken)
			require.NoError(t, err)
			require.NoError(t, newLoad().refused(t.Context(), app))
			require.NoError(t, n.stop())
			edit(t, n.dir, statement)
			said := refuses(t, boot.ExitData, n.dir)
			require.Contains(t, said, "edited")
		})
	}
}

func TestInvariant09_RestoredOlderDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	dir := working(t)
	older, err := os.ReadFile(filepath.Join(dir, "conclave.db"))
	require.NoError(t, err)
	n := serve(t, dir)
	require.NoError(t, n.activate(t.Context()))
	require.NoError(t, n.stop())
	newer, err := os.ReadFile(filepath.Join(dir, "conclave.db"))
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "conclave.db"), older, 0o600))
	said := refuses(t, boot.ExitData, dir)
	require.Contains(t, said, "rolled back")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "conclave.db"), newer, 0o600))
	serve(t, dir)
}
