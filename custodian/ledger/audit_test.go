package ledger_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/ledger"
)

// audit gives a log's entries as a stream, those that leaf picks by their hash only.
func audit(t *testing.T, l *testLog, known []ledger.Head, leaf func(e *ledger.Entry) bool) (*ledger.VerifyReport, error) {
	t.Helper()
	a, err := ledger.NewAudit(l.trust(), known)
	require.NoError(t, err)
	for i, raw := range l.raws {
		if leaf(l.entries[i]) {
			a.AddLeaf(ledger.LeafHash(raw))
			continue
		}
		if _, err := a.Add(raw); err != nil {
			return nil, err
		}
	}
	return a.Finish(l.head())
}

func TestAuditTakesEntriesByTheirHash(t *testing.T) {
	l := newTestLog(t, 300)
	var known []ledger.Head
	for _, n := range []int{100, 256} {
		f := l.fork(n)
		known = append(known, f.head())
	}
	l.grow(testSize)
	gone := func(e *ledger.Entry) bool { return e.Seq < 512 && e.Link == nil }
	report, err := audit(t, l, known, gone)
	require.NoError(t, err)
	require.Equal(t, []uint64{testSize, 100, 256}, report.Contains, "known heads among what is gone are found")

	_, err = audit(t, l, nil, func(e *ledger.Entry) bool { return gone(e) || e.Seq == 17 })
	require.ErrorIs(t, err, ledger.ErrRules, "a control entry was passed over")
	_, err = audit(t, l, nil, func(e *ledger.Entry) bool { return gone(e) || e.Seq == l.last })
	require.ErrorIs(t, err, ledger.ErrRules, "the last control entry was passed over")

	forked, err := ledger.NewAudit(l.trust(), nil)
	require.NoError(t, err)
	for i, raw := range l.raws {
		if i == 20 {
			raw = l.raws[21]
		}
		forked.AddLeaf(ledger.LeafHash(raw))
	}
	_, err = forked.Finish(l.head())
	require.ErrorIs(t, err, ledger.ErrEdited)
}
