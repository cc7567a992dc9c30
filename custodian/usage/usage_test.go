package usage_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/follow"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/custodian/usage"
)

// Every use is counted once, of single calls and of batches, whoever counts and however often, and counting anew
// from the ledger gives the same.
func TestCount(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := t.Context()
	use := custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32}
	made, err := c.Use(ctx, c.App, use)
	require.NoError(t, err)
	_, err = c.UseBatch(ctx, c.App, []custodian.Use{use, use, use})
	require.NoError(t, err)
	_, err = c.Use(ctx, c.App, custodian.Use{Operation: access.Decrypt, Ciphertext: made.Ciphertext})
	require.NoError(t, err)
	require.NoError(t, follow.CatchUp(ctx, c.Store))
	_, err = c.Use(ctx, c.App, custodian.Use{Operation: access.Rewrap, Ciphertext: made.Ciphertext})
	require.NoError(t, err)
	require.NoError(t, follow.CatchUp(ctx, c.Store))
	require.NoError(t, follow.CatchUp(ctx, c.Store))

	read := func(since time.Time) map[string]int64 {
		rows, err := c.Store.Usage(ctx, custodiantest.KeyID, 1, since)
		require.NoError(t, err)
		out := map[string]int64{}
		for _, r := range rows {
			out[r.Operation+" "+r.Outcome] += r.Uses
			require.Equal(t, c.App.String(), r.Actor)
		}
		return out
	}
	want := map[string]int64{"datakey allow": 4, "decrypt allow": 1, "rewrap allow": 1, usage.RewrappedFrom + " allow": 1}
	require.Equal(t, want, read(time.Time{}))
	require.Empty(t, read(c.Clock.Now().Add(48*time.Hour)))
	rows, err := c.Store.Usage(ctx, custodiantest.KeyID, 1, time.Time{})
	require.NoError(t, err)
	last, operation := usage.Last(rows)
	require.False(t, last.IsZero())
	require.NotEmpty(t, operation)

	require.NoError(t, c.Store.ResetUsage(ctx))
	require.NoError(t, follow.CatchUp(ctx, c.Store))
	require.Equal(t, want, read(time.Time{}))
	next, err := c.Store.UsageCursor(ctx)
	require.NoError(t, err)
	took, err := c.Store.AddDerived(ctx, store.Derived{From: next - 1, To: next, Counted: true, Usage: rows})
	require.NoError(t, err)
	require.False(t, took, "what was counted is not counted again")
	require.Equal(t, want, read(time.Time{}))
}

func TestItems(t *testing.T) {
	e := &ledger.Entry{Type: "key.use.rewrap", Target: ledger.Target{ID: "k", Version: 3}, Outcome: ledger.Allow, Detail: []byte(`{"from_version":2}`)}
	require.Equal(t, []usage.Item{{Key: "k", Version: 3, From: 2, Outcome: ledger.Allow}}, usage.Items(e))
	e.Detail = []byte(`{"count":2,"items":[{"f":1},{"k":1,"o":"deny","v":5}],"keys":["k","l"]}`)
	require.Equal(t, []usage.Item{{Key: "k", Version: 3, From: 1, Outcome: ledger.Allow}, {Key: "l", Version: 5, Outcome: ledger.Deny}}, usage.Items(e))
	e.Detail = []byte(`{"bytes":1}`)
	require.Equal(t, []usage.Item{{Key: "k", Version: 3, Outcome: ledger.Allow}}, usage.Items(e))
}
