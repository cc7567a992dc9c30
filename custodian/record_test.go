package custodian_test

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
	"conclave/custodian/dek"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// While the ledger cannot be written, nothing is answered; when it can, calls go on, and none is doubled.
func TestInvariant07_NothingIsAnsweredThatIsNotRecorded(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	sealed := mustUse(t, c, encrypt(custodiantest.KeyID, "text")).Ciphertext
	size := c.View().Head().Size
	mend := breakStorage(t, c)
	for _, u := range []custodian.Use{dataKey(custodiantest.KeyID), encrypt(custodiantest.KeyID, "x"), decrypt(sealed), rewrap(sealed), dataKey("none")} {
		used, err := c.Use(ctx, c.App, u)
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.Zero(t, used)
		var denied *custodian.Denied
		require.NotErrorAs(t, err, &denied, "a refusal is an answer too")
		items, err := c.UseBatch(ctx, c.App, []custodian.Use{u, u})
		require.ErrorIs(t, err, store.ErrUnavailable)
		require.Nil(t, items)
	}
	require.ErrorIs(t, c.Read(ctx, human("demo-ada"), "ledger.read", ledger.Target{}), store.ErrUnavailable)
	require.ErrorIs(t, c.RecordUnauthenticated(ctx, "192.0.2.1", "bad_token", 3), store.ErrUnavailable)
	require.Equal(t, size, c.View().Head().Size)
	mend()
	require.Equal(t, "text", string(mustUse(t, c, decrypt(sealed)).Plaintext))
	require.Equal(t, size+1, c.View().Head().Size)
}

// Every success has its own entry, which is still there after the process ends.
func TestInvariant07_EveryAnswerIsInTheLedger(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	size := c.View().Head().Size
	const callers, each = 16, 10
	decisions := make(chan string, callers*each)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
				if err != nil {
					t.Error(err)
					return
				}
				decisions <- used.Decision
			}
		})
	}
	wg.Wait()
	close(decisions)
	c.Restart(t)
	require.EqualValues(t, size+callers*each, c.View().Head().Size)
	seen := map[string]bool{}
	for id := range decisions {
		require.False(t, seen[id], "two answers share a record")
		seen[id] = true
		recorded, err := c.Why(ctx, id)
		require.NoError(t, err)
		require.Equal(t, ledger.Allow, recorded.Entry.Outcome)
		require.Equal(t, ledger.Target{Type: "key", ID: custodiantest.KeyID, Version: 1}, recorded.Entry.Target)
		require.Equal(t, custodian.PolicyMark(c.Policies.Digest()), recorded.Entry.Policy)
	}
}

func TestCancelledCallsAnswerNothing(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	size := c.View().Head().Size
	_, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.UseBatch(ctx, c.App, []custodian.Use{dataKey(custodiantest.KeyID)})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, size, c.View().Head().Size)

	// Cancelled at any later moment, the entry may have been written; an error never comes with an answer.
	for i := range 50 {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(i)*20*time.Microsecond, cancel)
		used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
		if err != nil {
			require.Zero(t, used)
		}
		cancel()
	}
}

// A decision is opened with a proof that leads to a signed checkpoint, while the log grows.
func TestWhyProves(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	used, err := c.Use(ctx, c.App, dataKey("none"))
	denied := requireDenied(t, "grant_missing", used, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seq, _, err := custodian.ParseDecisionID(denied.Decision)
	require.NoError(t, err)
	for range 50 {
		r, err := c.Why(ctx, denied.Decision)
		require.NoError(t, err)
		require.Equal(t, "grant_missing", r.Entry.Reason)
		require.Equal(t, seq, r.Entry.Seq)
		head, err := ledger.OpenHead(r.Checkpoint, c.Config.LogKey.Origin, c.Config.LogKey.Verifier)
		require.NoError(t, err)
		proof := make(tlog.RecordProof, len(r.Inclusion))
		for i, h := range r.Inclusion {
			copy(proof[i][:], h)
		}
		require.NoError(t, tlog.CheckRecord(proof, int64(head.Size), head.Root, int64(seq), ledger.LeafHash(r.Raw)))
	}
	wg.Wait()
}

func TestWhyRefuses(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	made := mustUse(t, c, dataKey(custodiantest.KeyID))
	wrong := []byte(made.Decision)
	if wrong[len(wrong)-1]++; wrong[len(wrong)-1] == ':' || wrong[len(wrong)-1] == 'g' {
		wrong[len(wrong)-1] = '0'
	}
	for _, id := range []string{string(wrong), "dzzzz-00000000"} {
		_, err := c.Why(ctx, id)
		require.ErrorIs(t, err, store.ErrNotFound, id)
	}
	for _, id := range []string{"", "d", "d-", "d1", "1k-00ff00ff", "d1k-00ff00f", "d1k-00FF00FF", "d01-00ff00ff", "dZ-00ff00ff",
		"d1k-00ff00ff ", "d+1-00ff00ff", "d1k-00ff00fg", "d" + strings.Repeat("z", 13) + "-00000000", strings.Repeat("d", 1<<16)} {
		_, err := c.Why(ctx, id)
		var input *custodian.InputError
		require.ErrorAs(t, err, &input, id)
		require.Less(t, len(err.Error()), 300)
	}
}

func TestDecisionIDNamesTheLastEntry(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	receipt, err := c.Store.Control(context.Background(), func(tx *store.Tx) error {
		for _, kind := range []string{"demo.first", "demo.second"} {
			if err := tx.Append(ledger.Entry{Type: kind, Actor: custodianNode(), Outcome: ledger.Done}); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	recorded, err := c.Why(context.Background(), custodian.DecisionID(receipt))
	require.NoError(t, err)
	require.Equal(t, "demo.second", recorded.Entry.Type)
}

func FuzzParseDecisionID(f *testing.F) {
	for _, s := range []string{"d1k-00ff00ff", "d-", "d1k-00FF00FF", "dzzzzzzzzzzzzz-00000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		seq, leaf, err := custodian.ParseDecisionID(id)
		if err != nil {
			return
		}
		r := store.Receipt{LastSeq: seq}
		copy(r.Leaf[:], leaf[:])
		require.Equal(t, id, custodian.DecisionID(r), "one spelling a decision")
	})
}

// The ledger shows of a context what somebody with the audit key can match, and nobody can read.
func TestContextsAreRecordedAsHMAC(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	encryption := map[string]string{"patient": "Jane Roe 1970", "ward": "seven"}
	u := dataKey(custodiantest.KeyID)
	require.Empty(t, recordedContext(t, c, u))
	u.Context = encryption
	first := recordedContext(t, c, u)

	key, err := hkdf.Key(sha256.New, c.AuditKey, nil, "conclave encryption context 2026-11", 32)
	require.NoError(t, err)
	mac := hmac.New(sha256.New, key)
	hash := dek.HashContext(encryption)
	mac.Write(hash[:])
	require.Equal(t, base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), first)

	require.Equal(t, first, recordedContext(t, c, u), "equal contexts match within a month")
	u.Context = map[string]string{"patient": "Jane Roe 1970", "ward": "eight"}
	require.NotEqual(t, first, recordedContext(t, c, u))
	u.Context = encryption
	c.Clock.Advance(8 * 24 * time.Hour)
	require.NotEqual(t, first, recordedContext(t, c, u), "another month, another key")
	used, err := c.Use(ctx, c.App, custodian.Use{Operation: access.DataKey, Key: "none", Bytes: 32, Context: encryption})
	requireDenied(t, "grant_missing", used, err)
	_, err = c.UseBatch(ctx, c.App, []custodian.Use{u, u})
	require.NoError(t, err)

	require.NoError(t, c.Store.ReadEntries(ctx, 0, c.View().Head().Size, func(_ uint64, raw []byte) error {
		for _, word := range []string{"patient", "Jane", "Roe", "seven", "ward"} {
			require.NotContains(t, string(raw), word)
		}
		return nil
	}))
}

func recordedContext(t *testing.T, c *custodiantest.Custodian, u custodian.Use) string {
	t.Helper()
	mustUse(t, c, u)
	return last(t, c).Context
}

// No secret is in the ledger: not the data key, not the payload, not the token.
func TestInvariant13_NoSecretInTheLedger(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	made := mustUse(t, c, dataKey(custodiantest.KeyID))
	mustUse(t, c, encrypt(custodiantest.KeyID, "card 4111 1111"))
	secrets := []string{"4111", string(made.Plaintext), hex.EncodeToString(made.Plaintext), base64.StdEncoding.EncodeToString(made.Plaintext),
		base64.RawURLEncoding.EncodeToString(made.Plaintext)}
	require.NoError(t, c.Token.Use(func(b []byte) error {
		secrets = append(secrets, string(b[strings.IndexByte(string(b), '.')+1:]))
		return nil
	}))
	require.NoError(t, c.Store.ReadEntries(context.Background(), 0, c.View().Head().Size, func(_ uint64, raw []byte) error {
		for _, s := range secrets {
			require.NotContains(t, string(raw), s)
		}
		return nil
	}))
}

func TestReadsAreJudgedAndRecorded(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	change(t, c, custodian.KindPerson, "demo-eve", func(p *people.Person) { p.Status = people.StatusSuspended })
	c.AddKey(t, "other", "internal")
	stranger := custodianNode()
	stranger.ID = "node-2"
	unknown := human("demo-ada")
	unknown.Kind = "robot"
	for name, tc := range map[string]struct {
		who       identity.Principal
		operation string
		target    ledger.Target
		code      string // "" for allowed
	}{
		"officer":                 {human("demo-ada"), "ledger.read", ledger.Target{Type: "ledger", ID: "all"}, ""},
		"without the role":        {human("demo-dan"), "ledger.read", ledger.Target{Type: "ledger", ID: "all"}, "role_missing"},
		"suspended person":        {human("demo-eve"), "key.read", ledger.Target{Type: "key", ID: custodiantest.KeyID}, "caller_not_active"},
		"nobody":                  {human("demo-zoe"), "ledger.read", ledger.Target{}, "caller_not_active"},
		"application":             {c.App, "ledger.read", ledger.Target{}, "caller_kind_forbidden"},
		"application, its key":    {c.App, "key.read", ledger.Target{Type: "key", ID: custodiantest.KeyID}, ""},
		"application, other key":  {c.App, "key.read", ledger.Target{Type: "key", ID: "other"}, "grant_missing"},
		"application, no key":     {c.App, "key.read", ledger.Target{Type: "key", ID: "none"}, "grant_missing"},
		"node":                    {custodianNode(), "status.read", ledger.Target{}, ""},
		"another node":            {stranger, "status.read", ledger.Target{}, "caller_not_active"},
		"unknown operation":       {human("demo-ada"), "ledger.burn", ledger.Target{}, "caller_kind_forbidden"},
		"unknown kind":            {unknown, "ledger.read", ledger.Target{}, "caller_kind_forbidden"},
		"target not fit to print": {human("demo-ada"), "key.read", ledger.Target{Type: "key", ID: "\xff\n" + strings.Repeat("x", 500)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			size := c.View().Head().Size
			err := c.Read(context.Background(), tc.who, tc.operation, tc.target)
			if tc.code == "" {
				require.NoError(t, err)
			} else {
				requireDenied(t, tc.code, custodian.Used{}, err)
			}
			require.Equal(t, size+1, c.View().Head().Size)
			e := last(t, c)
			require.Equal(t, tc.operation, e.Type)
			require.Equal(t, tc.who, e.Actor)
			require.Equal(t, tc.code, e.Reason)
			require.Equal(t, tc.code == "", e.Outcome == ledger.Allow)
		})
	}
}

func TestUnauthenticatedAttemptsAreRecorded(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	require.NoError(t, c.RecordUnauthenticated(context.Background(), "192.0.2.7\xff"+strings.Repeat("x", 400), "bad_token", 41))
	e := last(t, c)
	require.Equal(t, "auth.failure", e.Type)
	require.Equal(t, ledger.Deny, e.Outcome)
	require.True(t, strings.HasPrefix(e.Actor.Origin, "192.0.2.7"))
	require.Equal(t, map[string]any{"attempts": 41.0}, detailOf(t, e))
}

func TestPlacementSeesEveryKeystore(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	decision, err := c.Place(context.Background(), c.View(), placementKey())
	require.NoError(t, err)
	verdict, judged := decision.Verdict(custodiantest.KeystoreID)
	require.True(t, judged)
	require.True(t, verdict.Allow, "%+v", verdict.Reasons)
}
