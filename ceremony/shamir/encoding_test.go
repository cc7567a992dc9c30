package shamir_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"conclave/ceremony/shamir"
	"conclave/hsm/secret"

	"github.com/stretchr/testify/require"
)

// retag recomputes the tag that finds damage by accident.
func retag(b []byte) {
	sum := sha256.Sum256(b[:len(b)-4])
	copy(b[len(b)-4:], sum[:])
}

// The vector of docs/statement-format.md: the share's bytes, its commitment and a signature (Ed25519 is
// deterministic) over the challenge 00 01 … 1f.
const (
	vectorShare = "637673680104726f6f7400000003020021" +
		"101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f" + "07"
	vectorTag        = "5b557d96"
	vectorCommitment = "de5adf71bc05667e516ece0785c6c937cf52337677c75ee2a79fd3534674fc89"
	vectorSignature  = "1cbd44a1d78437c9d84107a06fc74fb415cf1910eee49c4627d277ed4236a79b" +
		"bd738cf24456c1d440c14bd019c1d20e6b6e305eacf2f96e32053e0d5d3bac09"
)

func vector(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(vectorShare)
	require.NoError(t, err)
	b = append(b, 0, 0, 0, 0)
	retag(b)
	return b
}

func TestShareVector(t *testing.T) {
	b := vector(t)
	require.Equal(t, vectorTag, hex.EncodeToString(b[len(b)-4:]))
	share, err := shamir.ParseShare(secret.New(append([]byte(nil), b...)))
	require.NoError(t, err)
	require.Equal(t, shamir.Set{ID: "root", Epoch: 3}, share.Set())
	require.Equal(t, 2, share.Index())
	again, err := share.Encode()
	require.NoError(t, err)
	require.True(t, again.Equal(secret.New(b)))
	commitment, err := share.Commitment()
	require.NoError(t, err)
	require.Equal(t, vectorCommitment, hex.EncodeToString(commitment))
	challenge := make([]byte, 32)
	for i := range challenge {
		challenge[i] = byte(i)
	}
	signature, err := share.Sign(challenge)
	require.NoError(t, err)
	require.Equal(t, vectorSignature, hex.EncodeToString(signature))
}

func TestParseShareRefuses(t *testing.T) {
	edited := func(edit func(b []byte) []byte) []byte {
		b := edit(vector(t))
		if len(b) > 4 {
			retag(b)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty":           {},
		"text":            []byte("not a share at all, but long enough to be one, is it not?"),
		"other magic":     edited(func(b []byte) []byte { b[0] = 'x'; return b }),
		"other version":   edited(func(b []byte) []byte { b[4] = 2; return b }),
		"long id":         edited(func(b []byte) []byte { b[5] = 255; return b }),
		"empty id":        edited(func(b []byte) []byte { b[5] = 0; return b }),
		"bad id":          edited(func(b []byte) []byte { b[6] = 'R'; return b }),
		"epoch zero":      edited(func(b []byte) []byte { b[13] = 0; return b }),
		"index zero":      edited(func(b []byte) []byte { b[14] = 0; return b }),
		"length beyond":   edited(func(b []byte) []byte { b[16]++; return b }),
		"length short":    edited(func(b []byte) []byte { b[16]--; return b }),
		"coordinate zero": edited(func(b []byte) []byte { b[len(b)-5] = 0; return b }),
		"truncated":       edited(func(b []byte) []byte { return b[:len(b)-1] }),
		"extended":        edited(func(b []byte) []byte { return append(b, 0) }),
		"huge":            edited(func(b []byte) []byte { return append(b, make([]byte, 4096)...) }),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := shamir.ParseShare(secret.New(b))
			require.ErrorIs(t, err, shamir.ErrDamaged)
		})
	}
	t.Run("every byte by accident", func(t *testing.T) {
		for i := range vector(t) {
			b := vector(t)
			b[i] ^= 0x10
			_, err := shamir.ParseShare(secret.New(b))
			require.ErrorIs(t, err, shamir.ErrDamaged)
		}
	})
}

func FuzzParseShare(f *testing.F) {
	f.Add(vector(f))
	f.Add([]byte("cvsh"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4 {
			retag(data)
		}
		share, err := shamir.ParseShare(secret.New(append([]byte(nil), data...)))
		if err != nil {
			return
		}
		again, err := share.Encode()
		require.NoError(t, err)
		require.True(t, again.Equal(secret.New(data)))
		_, err = share.Commitment()
		require.NoError(t, err)
	})
}
