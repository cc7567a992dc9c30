package custodian_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Who tries a bundle again takes nothing from a proposal that rests on an earlier trial.
func TestInvariant12_ABacktestIsNoVeto(t *testing.T) {
	r := custodiantest.New(t, custodiantest.Options{})
	try := func(report string, open ...string) {
		t.Helper()
		_, err := r.Store.Control(t.Context(), func(tx *store.Tx) error {
			row := custodian.PolicyBacktest{Bundle: "b", Report: []byte(`{}`), BacktestSummary: custodian.BacktestSummary{ReportSHA256: report}}
			err := custodian.PutBacktest(tx, row, func(d string) bool { return len(open) > 0 && d == open[0] })
			if err != nil {
				return err
			}
			return tx.Append(ledger.Entry{Type: "policy.backtest", Actor: identity.Principal{Kind: identity.Node, ID: custodiantest.NodeID}, Outcome: ledger.Done})
		})
		require.NoError(t, err)
	}
	kept := func(report string) string {
		row, err := custodian.BacktestOf(r.View(), "b", report)
		require.NoError(t, err)
		return row.ReportSHA256
	}
	try("first")
	try("second", "first")
	require.Equal(t, "first", kept("first"), "a proposal rests on it")
	require.Equal(t, "second", kept("second"))
	try("third", "first")
	require.Equal(t, "first", kept("first"))
	require.Equal(t, "third", kept("second"), "nobody rests on it: the newest")
	try("fourth")
	require.Equal(t, "fourth", kept("first"), "no longer than the proposal is open")
}
