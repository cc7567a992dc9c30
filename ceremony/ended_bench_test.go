package ceremony_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony"
	"conclave/ceremony/operation"
	"conclave/custodian/custodiantest"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// endedOnes is how many ceremonies have ended before the process that is measured starts.
const endedOnes = 50_000

// BenchmarkEndedCeremonies opens a ledger with many ended ceremonies and says what they cost: memory in use, and time of the
// process's CPU for start-up, one integrity sweep, and reading one of them.
func BenchmarkEndedCeremonies(b *testing.B) {
	c := custodiantest.New(b, custodiantest.Options{Schema: ceremony.Schema(store.Schema{})})
	for from := 0; from < endedOnes; from += 100 {
		fillEnded(b, c.Store, from, from+100)
	}
	require.NoError(b, c.Store.Close())
	before := heap() // with all that made the ledger, closed, still in it
	var open, sweep, get time.Duration
	var used uint64
	for b.Loop() {
		began := cpuTime(b)
		s, err := store.Open(context.Background(), c.Config)
		require.NoError(b, err)
		open += cpuTime(b) - began
		used = heap() - before
		began = cpuTime(b)
		found, err := s.Integrity(context.Background())
		require.NoError(b, err)
		require.Empty(b, found)
		sweep += cpuTime(b) - began
		began = cpuTime(b)
		for i := range 1000 {
			_, _, err := store.Get[ceremony.Ceremony](s.View(), ceremony.Kind, endedID(i*endedOnes/1000))
			require.NoError(b, err)
		}
		get += cpuTime(b) - began
		require.NoError(b, s.Close())
	}
	b.ReportMetric(float64(used)/(1<<20), "MiB")
	b.ReportMetric(open.Seconds()/float64(b.N), "s/open")
	b.ReportMetric(sweep.Seconds()/float64(b.N), "s/sweep")
	b.ReportMetric(get.Seconds()*1000/float64(b.N), "µs/read")
}

// cpuTime is what this process has used so far, user and system.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is what is in use after a collection, in bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func endedID(i int) string { return fmt.Sprintf("c-%016d", i) }

// fillEnded records ceremonies as the engine does, in fewer commits: proposed, then completed with two votes.
func fillEnded(b *testing.B, s *store.Store, from, to int) {
	b.Helper()
	_, err := s.Control(context.Background(), func(tx *store.Tx) error {
		for i := from; i < to; i++ {
			c := endedCeremony(i, tx.Now())
			for _, state := range []ceremony.State{ceremony.Proposed, ceremony.Completed} {
				c.State = state
				if err := tx.Put(ceremony.Kind, c.ID, c); err != nil {
					return err
				}
				if err := tx.Append(ledger.Entry{Type: "ceremony." + string(state), Actor: identity.Principal{Kind: identity.Human, ID: "demo-ada"},
					Target: ledger.Target{Type: "key", ID: "demo-key"}, Outcome: ledger.Done, Ceremony: c.ID}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	require.NoError(b, err)
}

// endedCeremony is of the size of one that rotates a key: some 4 KiB.
func endedCeremony(i int, at time.Time) *ceremony.Ceremony {
	envelope := func(n int) json.RawMessage {
		part := make([]byte, n)
		_, _ = rand.Read(part)
		raw, _ := json.Marshal(map[string]any{"payload": part, "payloadType": "application/vnd.conclave.statement+json",
			"signatures": []map[string]any{{"keyid": rand.Text(), "sig": rand.Text() + rand.Text() + rand.Text()}}})
		return raw
	}
	c := &ceremony.Ceremony{ID: endedID(i), Operation: "key.rotate", Class: "G", State: ceremony.Completed, Title: "Rotate key demo-key",
		Params: json.RawMessage(`{"key":"demo-key","reason":"yearly"}`), Reason: "the yearly rotation", Target: operation.Target{Type: "key", ID: "demo-key", GovRevision: 1},
		Requester: ceremony.Requester{Kind: identity.Human, ID: "demo-ada", Credential: rand.Text()}, Proposal: envelope(400), PolicyDigest: rand.Text(),
		Checkpoint: "1 " + rand.Text(), Nonce: rand.Text(), Takes: policies.QuorumDecision{Allow: true, Class: policies.Governed}, ProposedAt: at, ExpiresAt: at.Add(time.Hour),
		ApprovedAt: &at, EndedAt: &at, Outcome: "completed", Approvers: []string{"demo-ben", "demo-cleo"}}
	for _, label := range []string{"key", "keystore", "version", "state", "until", "reason"} {
		c.Lines = append(c.Lines, operation.Line{Label: label, Before: rand.Text(), After: rand.Text()})
	}
	for _, who := range c.Approvers {
		c.Votes = append(c.Votes, ceremony.Vote{Person: who, Credential: rand.Text(), Decision: "approve", At: at, Envelope: envelope(900)})
	}
	return c
}
