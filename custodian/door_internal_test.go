package custodian

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/access"
	"conclave/custodian/dek"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/secret"
	"conclave/policies"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func allow(from, until time.Time, most int) policies.Decision {
	return policies.Decision{Allow: true, ValidFrom: from, ValidUntil: until, MaxPayload: most, Reads: []string{"now"}}
}

func TestMemoHoldsWithinItsBounds(t *testing.T) {
	d := &derived{seed: maphash.MakeSeed()}
	d.keep([]byte("k"), allow(noon, noon.Add(time.Minute), 64))
	for name, tc := range map[string]struct {
		key     string
		now     time.Time
		payload int
		kept    bool
	}{
		"first moment":   {"k", noon, 64, true},
		"last moment":    {"k", noon.Add(time.Minute - 1), 64, true},
		"end":            {"k", noon.Add(time.Minute), 64, false},
		"before":         {"k", noon.Add(-1), 64, false},
		"larger payload": {"k", noon, 65, false},
		"another key":    {"l", noon, 64, false},
	} {
		require.Equal(t, tc.kept, d.lookup([]byte(tc.key), tc.now, tc.payload) != nil, name)
	}
	d.keep([]byte("k"), allow(noon.Add(time.Minute), noon.Add(time.Hour), 64))
	require.NotNil(t, d.lookup([]byte("k"), noon.Add(time.Minute), 64), "a later decision takes the place")
}

// A memo key is the caller's buffer, used again for the next call.
func TestMemoKeepsItsOwnKey(t *testing.T) {
	d := &derived{seed: maphash.MakeSeed()}
	buffer := []byte("first")
	d.keep(buffer, allow(noon, noon.Add(time.Minute), 1))
	copy(buffer, "other")
	require.Nil(t, d.lookup(buffer, noon, 1))
	require.NotNil(t, d.lookup([]byte("first"), noon, 1))
}

func TestMemoIsBounded(t *testing.T) {
	d := &derived{seed: maphash.MakeSeed()}
	for i := range 3 * memoShards * memoPerPart {
		d.keep(fmt.Appendf(nil, "key %d", i), allow(noon, noon.Add(time.Minute), 1))
	}
	total := 0
	for i := range d.shards {
		require.LessOrEqual(t, len(d.shards[i].m), memoPerPart)
		total += len(d.shards[i].m)
	}
	require.Positive(t, total)
}

func TestGrantChoice(t *testing.T) {
	grant := func(id string, edit func(*access.Grant)) heldGrant {
		g := &access.Grant{ID: id, Application: "shop", Key: "k", Operations: []access.Operation{access.Encrypt},
			CreatedAt: noon.Add(-time.Hour), ExpiresAt: noon.Add(time.Hour)}
		edit(g)
		return held(g, "")
	}
	revoked := grant("revoked", func(g *access.Grant) { g.RevokedAt = &noon })
	expired := grant("expired", func(g *access.Grant) { g.ExpiresAt = noon })
	other := grant("other-operation", func(g *access.Grant) { g.Operations = []access.Operation{access.Decrypt} })
	bound := grant("bound", func(g *access.Grant) { g.Context = map[string]string{"tenant": "north"} })
	whole := grant("whole", func(*access.Grant) {})
	for name, tc := range map[string]struct {
		grants []heldGrant
		want   string
		covers bool
	}{
		"none":                       {nil, "", true},
		"revoked only":               {[]heldGrant{revoked}, "revoked", false},
		"expired before other":       {[]heldGrant{expired, other}, "other-operation", false},
		"operation before in force":  {[]heldGrant{other, bound, expired}, "bound", false},
		"covering before everything": {[]heldGrant{revoked, expired, other, bound, whole}, "whole", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := &derived{grants: map[grantKey][]heldGrant{{identity.Application, "shop", "k"}: tc.grants}}
			g, lacks := d.grant(identity.Principal{Kind: identity.Application, ID: "shop"}, "k", access.Encrypt, map[string]string{"tenant": "south"}, noon)
			require.Equal(t, tc.covers, lacks == nil)
			if tc.want == "" {
				require.Nil(t, g)
				return
			}
			require.Equal(t, tc.want, g.row.ID)
			require.Equal(t, tc.want, g.facts.ID)
		})
	}
	d := &derived{grants: map[grantKey][]heldGrant{{identity.Application, "shop", "k"}: {whole}}}
	for _, pair := range [][2]string{{"shop", "l"}, {"shop2", "k"}, {"", "shopk"}, {"sho", "pk"}} {
		g, _ := d.grant(identity.Principal{Kind: identity.Application, ID: pair[0]}, pair[1], access.Encrypt, nil, noon)
		require.Nil(t, g, pair)
	}
	g, _ := d.grant(identity.Principal{Kind: identity.Human, ID: "shop"}, "k", access.Encrypt, nil, noon)
	require.Nil(t, g, "a person of the same id")
}

// Every error that a call can meet has one recorded code and one answer.
func TestOutcomeOfErrors(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("doing something: %w", err) }
	for name, tc := range map[string]struct {
		err    error
		result ledgerOutcome
		code   string
		want   error // answered; nil: *Denied
		logged bool
	}{
		"missing row":      {wrap(store.ErrNotFound), denied, "grant_missing", nil, false},
		"tampered row":     {wrap(&store.TamperedError{Kind: KindKey, ID: "k"}), denied, "integrity", nil, true},
		"state":            {wrap(&key.UseError{Code: key.CodeKeySuspended, Detail: "on hold"}), denied, key.CodeKeySuspended, nil, false},
		"grant":            {wrap(&access.GrantError{Code: access.CodeGrantExpired, Detail: "over"}), denied, access.CodeGrantExpired, nil, false},
		"policy":           {wrap(policies.ErrTimeout), denied, "policy_error", nil, true},
		"policy input":     {wrap(policies.ErrInput), denied, "policy_error", nil, true},
		"policy mismatch":  {&PolicyMismatch{}, denied, "policy_error", nil, true},
		"bad ciphertext":   {wrap(hsm.ErrCorrupt), failed, "bad_ciphertext", ErrBadCiphertext, false},
		"malformed":        {wrap(ErrBadCiphertext), failed, "bad_ciphertext", ErrBadCiphertext, false},
		"wrong key":        {ErrNotThisKey, failed, "wrong_key", ErrNotThisKey, false},
		"foreign":          {ErrForeign, failed, "foreign_ciphertext", ErrForeign, false},
		"inactive":         {wrap(hsm.ErrInactive), failed, CodeKeystoreInactive, hsm.ErrInactive, false},
		"corrupt material": {fmt.Errorf("%w: %w", dek.ErrMaterial, hsm.ErrCorrupt), failed, "keystore_error", ErrKeystore, true},
		"closed handle":    {wrap(hsm.ErrClosed), failed, "keystore_error", ErrKeystore, true},
		"anything else":    {errors.New("token removed"), failed, "keystore_error", ErrKeystore, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome{target: ledger.Target{Type: "key", ID: "k"}}
			o.fail(tc.err)
			require.Equal(t, tc.result, o.result)
			require.Equal(t, tc.code, o.reason())
			require.Equal(t, tc.logged, o.cause != nil)
			var refusal *Denied
			if tc.want != nil {
				require.ErrorIs(t, o.err, tc.want)
				require.NotErrorAs(t, o.err, &refusal)
				return
			}
			require.ErrorAs(t, o.err, &refusal)
			require.Len(t, refusal.Reasons, 1)
			require.NotEmpty(t, refusal.Reasons[0].Message)
			require.NotEmpty(t, refusal.Reasons[0].Remedy)
		})
	}
	input := outcome{}
	input.fail(invalid("plaintext", "5 bytes", "at most 4"))
	require.Equal(t, failed, input.result)
	require.Equal(t, "invalid_field", input.reason())
}

// A plaintext that is not answered is wiped.
func TestUnansweredPlaintextIsWiped(t *testing.T) {
	plaintext := []byte("secret")
	o := outcome{used: Used{Plaintext: plaintext}, err: ErrKeystore}
	used, err := o.answer("d1-00000000")
	require.ErrorIs(t, err, ErrKeystore)
	require.Zero(t, used)
	require.Equal(t, make([]byte, 6), plaintext)

	plaintext = []byte("secret")
	o = outcome{used: Used{Plaintext: plaintext}}
	o.wipe()
	require.Equal(t, make([]byte, 6), plaintext)
}

// Nothing of one request is met by the next one that uses its call.
func TestReleasedCallsAreEmpty(t *testing.T) {
	s := &Service{}
	s.calls.New = func() any { return &call{} }
	c := &call{use: Use{Key: "k", Plaintext: []byte("p")}, memoKey: append(make([]byte, 0, 16), "used"...)}
	c.facts.in.Context = map[string]string{"a": "b"}
	s.release(c)
	require.Equal(t, cap(c.memoKey), 16)
	require.Empty(t, c.memoKey)
	c.memoKey = nil
	require.Equal(t, &call{}, c)
}

func TestContextKeysChangeWithTheMonthInUTC(t *testing.T) {
	h := newContextHasher(make([]byte, auditKeySize))
	hash := dek.HashContext(map[string]string{"a": "b"})
	sum := func(at time.Time) string {
		s, err := h.sum(hash, at)
		require.NoError(t, err)
		require.Len(t, s, 43)
		return s
	}
	endOfNovember := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	november := sum(noon)
	require.Equal(t, november, sum(endOfNovember))
	require.Equal(t, november, sum(endOfNovember.In(time.FixedZone("ahead", 3*3600))))
	require.NotEqual(t, november, sum(endOfNovember.Add(time.Second)))
	require.NotEqual(t, november, sum(noon.AddDate(1, 0, 0)), "the same month of another year")
	require.Equal(t, november, sum(noon), "and back")
	other := newContextHasher(append(make([]byte, auditKeySize-1), 1))
	s, err := other.sum(hash, noon)
	require.NoError(t, err)
	require.NotEqual(t, november, s)
	h.root.Wipe()
	_, err = h.sum(hash, noon.AddDate(0, 1, 0))
	require.ErrorIs(t, err, secret.ErrWiped)
}

// RSA pairs that are asked for beyond the places are refused at once; pairs on curves wait for nobody.
func TestPairsAreMadeWithinBounds(t *testing.T) {
	s := &Service{generations: make(chan struct{}, 1), generationsAsked: make(chan struct{}, 2)}
	release, err := s.generation(t.Context())
	require.NoError(t, err)
	waiting, granted := make(chan struct{}), make(chan error)
	go func() {
		close(waiting)
		second, err := s.generation(t.Context())
		if err == nil {
			second()
		}
		granted <- err
	}()
	<-waiting
	require.Eventually(t, func() bool { return len(s.generationsAsked) == 2 }, time.Minute, time.Millisecond)
	err = s.makePair(t.Context(), &call{use: Use{Spec: hsm.RSAPSS3072}})
	require.ErrorIs(t, err, ErrBusy)
	curve := &call{use: Use{Spec: hsm.ECDSAP256}}
	require.NoError(t, s.makePair(t.Context(), curve))
	curve.private.Wipe()
	release()
	require.NoError(t, <-granted)
	gone, cancel := context.WithCancel(t.Context())
	release, err = s.generation(gone)
	require.NoError(t, err)
	cancel()
	_, err = s.generation(gone)
	require.ErrorIs(t, err, context.Canceled)
	release()
	require.Empty(t, s.generationsAsked)
	require.Empty(t, s.generations)

	o := outcome{}
	o.fail(ErrBusy)
	require.ErrorIs(t, o.err, ErrBusy)
	require.Equal(t, CodeBusy, o.reason())
}
