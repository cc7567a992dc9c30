package shamir_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var production = shamir.Set{ID: "root", Epoch: 3}

type failer interface {
	require.TestingT
	Helper()
}

// issue splits a fresh secret and returns everything a register would know.
func issue(t failer, length, m, n int, set shamir.Set) (*secret.Bytes, []*shamir.Share, shamir.Register) {
	t.Helper()
	value := secret.Random(length)
	shares, err := shamir.Split(value, m, n, set)
	require.NoError(t, err)
	require.Len(t, shares, n)
	register := shamir.Register{Set: set, Threshold: m, Commitments: map[int][]byte{}}
	for _, s := range shares {
		c, err := s.Commitment()
		require.NoError(t, err)
		register.Commitments[s.Index()] = c
	}
	return value, shares, register
}

// rebind gives a share another name by editing its encoding, as a liar would.
func rebind(t failer, share *shamir.Share, edit func(b []byte)) *shamir.Share {
	t.Helper()
	encoded, err := share.Encode()
	require.NoError(t, err)
	var out *shamir.Share
	require.NoError(t, encoded.Use(func(b []byte) error {
		c := append([]byte(nil), b...)
		edit(c)
		retag(c)
		out, err = shamir.ParseShare(secret.New(c))
		return err
	}))
	return out
}

func TestInvariant04_AnyQuorumCombinesFewerDoNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 12).Draw(t, "n")
		m := rapid.IntRange(2, n-1).Draw(t, "m")
		length := rapid.IntRange(shamir.MinSecret, 64).Draw(t, "length")
		value, shares, register := issue(t, length, m, n, production)
		order := rapid.Permutation(shares).Draw(t, "order")

		collector, err := shamir.NewCollector(register)
		require.NoError(t, err)
		for i, s := range order {
			require.Equal(t, max(0, m-i), collector.Missing())
			_, err := collector.Combine()
			if i < m {
				require.ErrorIs(t, err, shamir.ErrTooFew)
			}
			require.NoError(t, collector.Add(s))
			if i+1 >= m {
				got, err := collector.Combine()
				require.NoError(t, err)
				require.True(t, got.Equal(value), "%d of %d", i+1, n)
			}
		}
	})
}

// With the threshold forged to m-1, fewer shares combine to something, never to the secret.
func TestInvariant04_FewerSharesRevealNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(4, 9).Draw(t, "n")
		m := rapid.IntRange(3, n-1).Draw(t, "m")
		value, shares, register := issue(t, 32, m, n, production)
		register.Threshold = m - 1
		got, err := shamir.Combine(register, rapid.Permutation(shares).Draw(t, "order")[:m-1])
		require.NoError(t, err)
		require.False(t, got.Equal(value))
	})
}

func TestInvariant04_WrongShareIsNamed(t *testing.T) {
	value, shares, register := issue(t, 32, 3, 5, production)
	_, twin, _ := issue(t, 32, 3, 5, production)
	_, foreign, _ := issue(t, 32, 3, 5, shamir.Set{ID: "other", Epoch: 3})
	_, stale, _ := issue(t, 32, 3, 5, shamir.Set{ID: "root", Epoch: 2})
	_, future, _ := issue(t, 32, 3, 5, shamir.Set{ID: "root", Epoch: 4})
	_, more, _ := issue(t, 32, 3, 7, production)
	const epochAt, indexAt = 4 + 1 + 1 + len("root") + 3, 4 + 1 + 1 + len("root") + 4

	collector, err := shamir.NewCollector(register)
	require.NoError(t, err)
	require.NoError(t, collector.Add(shares[0]))
	for name, c := range map[string]struct {
		share *shamir.Share
		want  error
	}{
		"same name, other secret": {twin[1], shamir.ErrWrongShare},
		"other set":               {foreign[1], shamir.ErrForeignSet},
		"earlier epoch":           {stale[1], shamir.ErrStaleEpoch},
		"later epoch":             {future[1], shamir.ErrNotIssued},
		"unknown index":           {more[6], shamir.ErrNotIssued},
		"repeated":                {shares[0], shamir.ErrRepeated},
		"one bit altered":         {rebind(t, shares[1], func(b []byte) { b[20] ^= 1 }), shamir.ErrWrongShare},
		"coordinate altered":      {rebind(t, shares[1], func(b []byte) { b[len(b)-5] = b[len(b)-5]%255 + 1 }), shamir.ErrWrongShare}, // never 0: that is no coordinate
		"under another index":     {rebind(t, shares[1], func(b []byte) { b[indexAt] = 3 }), shamir.ErrWrongShare},
		"old under new epoch":     {rebind(t, stale[1], func(b []byte) { b[epochAt] = 3 }), shamir.ErrWrongShare},
		"repeated in disguise":    {rebind(t, shares[0], func(b []byte) { b[indexAt] = 4 }), shamir.ErrWrongShare},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, collector.Add(c.share), c.want)
			require.Equal(t, 1, collector.Count(), "a refused share costs nothing")
		})
	}
	require.NoError(t, collector.Add(shares[4]))
	require.NoError(t, collector.Add(shares[2]))
	got, err := collector.Combine()
	require.NoError(t, err)
	require.True(t, got.Equal(value))

	collector.Wipe()
	require.Equal(t, 0, collector.Count())
	_, err = shares[0].Encode()
	require.ErrorIs(t, err, secret.ErrWiped)
}

func TestInvariant04_DrillWithoutTheShareTravelling(t *testing.T) {
	_, shares, register := issue(t, 32, 2, 3, production)
	challenge := newChallenge()
	signature, err := shares[1].Sign(challenge)
	require.NoError(t, err)
	verify := func(set shamir.Set, index int, challenge []byte) error {
		return shamir.VerifyChallenge(register.Commitments[index], set, index, challenge, signature)
	}
	require.NoError(t, verify(production, 2, challenge))
	require.ErrorIs(t, verify(production, 1, challenge), shamir.ErrWrongShare)
	require.ErrorIs(t, verify(production, 2, newChallenge()), shamir.ErrWrongShare)
	require.ErrorIs(t, verify(shamir.Set{ID: "root", Epoch: 4}, 2, challenge), shamir.ErrWrongShare)
	require.ErrorIs(t, verify(shamir.Set{ID: "other", Epoch: 3}, 2, challenge), shamir.ErrWrongShare)
	require.Error(t, verify(production, 9, challenge), "no commitment")
	require.Error(t, verify(production, 2, []byte("short")))
	_, err = shares[1].Sign([]byte("short"))
	require.Error(t, err)
	require.ErrorIs(t, shamir.VerifyChallenge(register.Commitments[2], production, 0, challenge, signature), shamir.ErrBinding)
	require.ErrorIs(t, shamir.VerifyChallenge(register.Commitments[2], production, 2, challenge, nil), shamir.ErrWrongShare)
}

func TestSplitRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		length, m, n int
		set          shamir.Set
		want         error
	}{
		"one is enough":  {32, 1, 3, production, shamir.ErrThreshold},
		"zero":           {32, 0, 0, production, shamir.ErrThreshold},
		"no spare":       {32, 3, 3, production, shamir.ErrThreshold},
		"more than all":  {32, 4, 3, production, shamir.ErrThreshold},
		"too many":       {32, 3, 256, production, shamir.ErrThreshold},
		"guessable":      {15, 2, 3, production, shamir.ErrSize},
		"too long":       {1025, 2, 3, production, shamir.ErrSize},
		"no epoch":       {32, 2, 3, shamir.Set{ID: "root"}, shamir.ErrBinding},
		"no set":         {32, 2, 3, shamir.Set{Epoch: 1}, shamir.ErrBinding},
		"odd set":        {32, 2, 3, shamir.Set{ID: "Root", Epoch: 1}, shamir.ErrBinding},
		"leading hyphen": {32, 2, 3, shamir.Set{ID: "-root", Epoch: 1}, shamir.ErrBinding},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := shamir.Split(secret.Random(c.length), c.m, c.n, c.set)
			require.ErrorIs(t, err, c.want)
		})
	}
	_, shares, _ := issue(t, shamir.MaxSecret, 2, shamir.MaxTotal, production)
	require.Equal(t, 255, shares[254].Index())
}

func TestCollectorRefusesBadRegister(t *testing.T) {
	_, _, good := issue(t, 32, 2, 3, production)
	for name, r := range map[string]shamir.Register{
		"zero":              {},
		"threshold zero":    {Set: production, Commitments: good.Commitments},
		"threshold one":     {Set: production, Threshold: 1, Commitments: good.Commitments},
		"not satisfiable":   {Set: production, Threshold: 4, Commitments: good.Commitments},
		"no commitments":    {Set: production, Threshold: 2},
		"epoch not defined": {Set: shamir.Set{ID: "root"}, Threshold: 2, Commitments: good.Commitments},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := shamir.NewCollector(r)
			require.Error(t, err)
		})
	}
}

func TestInvariant13_SharesDoNotPrint(t *testing.T) {
	_, shares, _ := issue(t, 32, 2, 3, production)
	encoded, err := shares[0].Encode()
	require.NoError(t, err)
	require.NoError(t, encoded.Use(func(b []byte) error {
		value := b[len(b)-4-33 : len(b)-4]
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			for _, operand := range []any{shares[0], *shares[0]} {
				text := fmt.Sprintf(verb, operand)
				require.NotContains(t, text, string(value))
				require.NotContains(t, text, fmt.Sprintf("%x", value))
				require.NotContains(t, text, fmt.Sprintf("%d", value))
			}
		}
		return nil
	}))
	require.Equal(t, "share 1 of root epoch 3", shares[0].String())
}

func newChallenge() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}
