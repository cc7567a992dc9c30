package custodian_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// Items fail alone and are recorded together.
func TestBatchWithMixedItems(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	c.AddKey(t, "other", key.Internal)
	c.AddGrant(t, "other-grant", c.App.ID, "other")
	in := func(u custodian.Use, encryption map[string]string) custodian.Use { u.Context = encryption; return u }
	sealed := mustUse(t, c, in(encrypt(custodiantest.KeyID, "one"), map[string]string{"row": "1"})).Ciphertext
	other := mustUse(t, c, encrypt("other", "two")).Ciphertext
	recovery := in(decrypt(sealed), map[string]string{"row": "1"})
	recovery.ReasonCode = "recovery"
	oversized := decrypt(other)
	oversized.Context = map[string]string{"a": strings.Repeat("v", 300)}

	size := c.View().Head().Size
	items, err := c.UseBatch(ctx, c.App, []custodian.Use{
		in(decrypt(sealed), map[string]string{"row": "1"}),
		decrypt(other),
		in(decrypt(sealed), map[string]string{"row": "2"}),
		decrypt([]byte("nothing of ours")),
		oversized,
		recovery,
	})
	require.NoError(t, err)
	require.Equal(t, "one", string(items[0].Plaintext))
	require.Equal(t, "two", string(items[1].Plaintext))
	require.ErrorIs(t, items[2].Err, custodian.ErrBadCiphertext)
	require.ErrorIs(t, items[3].Err, custodian.ErrBadCiphertext)
	var input *custodian.InputError
	require.ErrorAs(t, items[4].Err, &input)
	require.Equal(t, "one", string(items[5].Plaintext))
	for _, i := range []int{2, 3, 4} {
		require.Zero(t, items[i].Used)
	}
	require.Equal(t, items[0].Decision, items[1].Decision, "one record")

	require.Equal(t, size+1, c.View().Head().Size)
	e := last(t, c)
	require.Equal(t, "key.use.decrypt", e.Type)
	require.Equal(t, ledger.Allow, e.Outcome)
	require.Equal(t, ledger.Target{Type: "key"}, e.Target)
	detail := detailOf(t, e)
	require.Equal(t, 6.0, detail["count"])
	require.Equal(t, []any{custodiantest.KeyID, "other"}, detail["keys"])
	listed := detail["items"].([]any)
	single := recordedContext(t, c, in(dataKey(custodiantest.KeyID), map[string]string{"row": "1"}))
	require.Equal(t, map[string]any{"c": single[:22], "k": 0.0, "v": 1.0}, listed[0])
	require.Equal(t, map[string]any{"k": 1.0, "v": 1.0}, listed[1])
	require.Equal(t, "failed", listed[2].(map[string]any)["o"])
	require.Equal(t, map[string]any{"o": "failed", "r": "bad_ciphertext"}, listed[3])
	require.Equal(t, map[string]any{"o": "failed", "r": "invalid_field"}, listed[4])
	require.Equal(t, map[string]any{"c": single[:22], "k": 0.0, "rc": "recovery", "v": 1.0}, listed[5])
}

// What all items share is said once, in the fields of the entry.
func TestBatchOfOneKey(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	uses := make([]custodian.Use, custodian.MaxBatch)
	for i := range uses {
		uses[i] = dataKey(custodiantest.KeyID)
	}
	items, err := c.UseBatch(ctx, c.App, uses)
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, item := range items {
		require.NoError(t, item.Err)
		require.Len(t, item.Plaintext, 32)
		require.False(t, seen[string(item.Plaintext)], "every data key is its own")
		seen[string(item.Plaintext)] = true
	}
	e := last(t, c)
	require.Equal(t, ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}, e.Target)
	require.NotContains(t, detailOf(t, e), "keys")
	require.Equal(t, map[string]any{}, detailOf(t, e)["items"].([]any)[99])

	u := rewrap(items[0].Ciphertext)
	u.AcceptRisk = true
	_, err = c.UseBatch(ctx, c.App, []custodian.Use{u})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"a": true, "f": 1.0}, detailOf(t, last(t, c))["items"].([]any)[0])
}

func TestBatchOutcome(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	c.AddKey(t, "other", key.Internal)
	broken := decrypt([]byte("x"))
	for _, tc := range []struct {
		uses []custodian.Use
		want ledger.Outcome
	}{
		{[]custodian.Use{broken, broken}, ledger.Failed},
		{[]custodian.Use{broken, decrypt(sealed)}, ledger.Allow},
		{[]custodian.Use{dataKey("none"), dataKey("other")}, ledger.Deny},
		{[]custodian.Use{dataKey("none"), dataKey(custodiantest.KeyID), dataKey("none")}, ledger.Allow},
	} {
		_, err := c.UseBatch(ctx, c.App, tc.uses)
		require.NoError(t, err)
		require.Equal(t, tc.want, last(t, c).Outcome)
	}
}

func TestBatchRefusals(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	size := c.View().Head().Size
	one := dataKey(custodiantest.KeyID)
	for name, uses := range map[string][]custodian.Use{
		"none":              {},
		"too many":          make([]custodian.Use, custodian.MaxBatch+1),
		"two operations":    {one, encrypt(custodiantest.KeyID, "x")},
		"unknown operation": {{Operation: "stir"}, {Operation: "stir"}},
	} {
		items, err := c.UseBatch(context.Background(), c.App, uses)
		var input *custodian.InputError
		require.ErrorAs(t, err, &input, name)
		require.Nil(t, items)
	}
	require.Equal(t, size, c.View().Head().Size)
}

// The widest batch still lists every item: a hundred keys with the longest names, each with a context.
func TestWidestBatchIsListed(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	uses := make([]custodian.Use, custodian.MaxBatch)
	for i := range uses {
		uses[i] = dataKey(fmt.Sprintf("%03d%s", i, strings.Repeat("k", key.MaxID-3)))
		uses[i].Context = map[string]string{"row": fmt.Sprint(i)}
		uses[i].ReasonCode = "incident-response"
	}
	items, err := c.UseBatch(context.Background(), c.App, uses)
	require.NoError(t, err)
	for _, item := range items {
		requireDenied(t, "grant_missing", item.Used, item.Err)
	}
	detail := detailOf(t, last(t, c))
	require.Len(t, detail["items"], custodian.MaxBatch)
	require.Len(t, detail["keys"], custodian.MaxBatch)
}

// A batch that authority changes under is judged anew as a whole: no item slips through.
func TestBatchesUnderRestriction(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	var latest, done atomic.Uint64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				items, err := c.UseBatch(ctx, c.App, []custodian.Use{dataKey(custodiantest.KeyID), dataKey(custodiantest.KeyID), dataKey("none")})
				if err != nil {
					t.Error(err)
					return
				}
				var denied *custodian.Denied
				if errors.As(items[0].Err, &denied) != errors.As(items[1].Err, &denied) {
					t.Error("items of one batch were judged under different authority")
				}
				if items[0].Err != nil {
					return
				}
				done.Add(1)
				raise(t, &latest, items[0].Decision)
			}
		})
	}
	for done.Load() < 20 && !t.Failed() {
		mustUse(t, c, dataKey(custodiantest.KeyID))
	}
	receipt, err := c.Store.Control(ctx, func(tx *store.Tx) error {
		g, _, err := store.Get[access.Grant](tx.View(), custodian.KindGrant, custodiantest.GrantID)
		if err != nil {
			return err
		}
		at := c.Clock.Now()
		g.RevokedAt = &at
		if err := tx.Put(custodian.KindGrant, g.ID, g); err != nil {
			return err
		}
		return tx.Append(ledger.Entry{Type: "demo.revoke", Actor: custodianNode(), Outcome: ledger.Done})
	})
	require.NoError(t, err)
	wg.Wait()
	require.Less(t, latest.Load(), receipt.Seq)
}
