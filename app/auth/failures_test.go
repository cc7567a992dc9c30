package auth

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/custodiantest"
	"conclave/custodian/ledger"
)

// recorded sums the attempts that the ledger holds, and how many entries they took.
func recorded(t *testing.T, c *custodiantest.Custodian) (attempts, entries int) {
	t.Helper()
	err := c.Store.Entries(context.Background(), 0, c.View().Head().Size, func(e *ledger.Entry, _ []byte) error {
		if e.Type != "auth.failure" {
			return nil
		}
		n := 0
		_, err := fmt.Sscanf(string(e.Detail), `{"attempts":%d}`, &n)
		attempts, entries = attempts+n, entries+1
		return err
	})
	require.NoError(t, err)
	return attempts, entries
}

func TestManySourcesTakeFewEntriesAndLoseNoCount(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	f := newFailures(c.Service, c.Clock, slog.New(slog.DiscardHandler))
	const sources = maxSources + 500
	for i := range sources {
		f.count(t.Context(), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "token_unknown")
	}
	_, entries := recorded(t, c)
	require.LessOrEqual(t, entries, entriesPerSecond, "no time has passed")
	require.LessOrEqual(t, len(f.sources), maxSources)
	f.close()
	attempts, entries := recorded(t, c)
	require.Equal(t, sources, attempts, "what makes way is counted together")
	require.LessOrEqual(t, entries, entriesPerSecond+1)
	f.close() // a second time is nothing
}

func TestASourceIsRecordedAtMostOnceASecond(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	f := newFailures(c.Service, c.Clock, slog.New(slog.DiscardHandler))
	defer f.close()
	for range 10 {
		f.count(t.Context(), "192.0.2.1", "token_unknown")
	}
	attempts, entries := recorded(t, c)
	require.Equal(t, [2]int{1, 1}, [2]int{attempts, entries}, "the first is recorded before it is answered")
	c.Clock.Advance(entryInterval)
	f.flush(false)
	attempts, entries = recorded(t, c)
	require.Equal(t, [2]int{10, 2}, [2]int{attempts, entries})
}

func TestNetworkIsWhatCountsAsOneSource(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "@": "@", "": "",
	} {
		require.Equal(t, want, network(in), in)
	}
}

func TestReplayCache(t *testing.T) {
	c, now := newReplayCache(), custodiantest.Start()
	end := now.Add(time.Minute)
	require.Equal(t, fresh, c.use("ada", "n", end, now))
	require.Equal(t, replayed, c.use("ada", "n", end, now))
	require.Equal(t, fresh, c.use("ben", "n", end, now), "nonces are a person's own")
	for i := 1; i < maxNonces; i++ {
		require.Equal(t, fresh, c.use("ada", fmt.Sprint(i), end, now))
	}
	require.Equal(t, tooMany, c.use("ada", "one more", end, now), "bounded; nothing unexpired is forgotten")
	require.Equal(t, fresh, c.use("ben", "m", end, now), "and nobody crowds out somebody else")
	later := end.Add(graceAfterExpiry + time.Second)
	require.Equal(t, fresh, c.use("ada", "one more", later.Add(time.Minute), later))
}
