package bundle_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/reports"
	"conclave/reports/bundle"
	"conclave/reports/internal/fixture"
)

// aged is a source in which the data-plane entries before a place were deleted.
type aged struct {
	reports.Source
	before uint64
}

func (a aged) Entry(ctx context.Context, seq uint64) (*ledger.Entry, []byte, error) {
	e, raw, err := a.Source.Entry(ctx, seq)
	if err == nil && seq < a.before && e.Link == nil {
		return nil, nil, &ledger.DeletedError{To: a.before, By: "01DELETED"}
	}
	return e, raw, err
}

func (a aged) Entries(ctx context.Context, from, to uint64, fn func(e *ledger.Entry, raw []byte) error) error {
	if from < min(to, a.before) {
		return &ledger.DeletedError{To: a.before, By: "01DELETED"}
	}
	return a.Source.Entries(ctx, from, to, fn)
}

// Control entries stay and proofs come from tiles, so evidence of a later period does not miss what was deleted before it.
func TestBundleOfAPeriodAfterDeletedEntries(t *testing.T) {
	t.Parallel()
	w := fixture.New(t, custodian.Production)
	src, request := w.Source(t), fixture.Request()
	request.From = fixture.Days(10)
	first, end, err := reports.Range(t.Context(), src, request.From, request.To)
	require.NoError(t, err)
	require.Less(t, first, end)
	old := aged{src, first - 1}
	gone := 0
	require.NoError(t, src.Entries(t.Context(), 0, old.before, func(e *ledger.Entry, _ []byte) error {
		if e.Link == nil {
			gone++
		}
		return nil
	}))
	require.NotZero(t, gone)

	r, err := reports.Generate(t.Context(), old, request, fixture.Now())
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, bundle.Build(t.Context(), &b, old, r, w.Node))
	path := filepath.Join(t.TempDir(), "evidence.zip")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
	found, err := bundle.Verify(t.Context(), path, w.Trust(t))
	require.NoError(t, err)
	require.True(t, found.Complete)

	var refused *ledger.DeletedError
	_, err = reports.Generate(t.Context(), old, fixture.Request(), fixture.Now())
	require.ErrorAs(t, err, &refused, "a period that begins among them can not be judged")
}
