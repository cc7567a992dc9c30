package card_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"conclave/ceremony/card"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

func sharesOf(t require.TestingT, size int, set shamir.Set) ([]*shamir.Share, *secret.Bytes) {
	value := secret.Random(size)
	shares, err := shamir.Split(value, 2, 3, set)
	require.NoError(t, err)
	return shares, value
}

func textOf(t require.TestingT, c *card.Card) []byte {
	text, err := c.Text()
	require.NoError(t, err)
	var out []byte
	require.NoError(t, text.Use(func(b []byte) error { out = bytes.Clone(b); return nil }))
	return out
}

func phrase() *secret.Bytes { return secret.New([]byte("a passphrase for paper")) }

// What is printed reads back, with and without a passphrase, for every length of secret and set id, however it is
// typed.
func TestCardReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := shamir.Set{ID: rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,63}`).Draw(t, "set"), Epoch: rapid.Uint32Range(1, 1<<32-1).Draw(t, "epoch")}
		shares, _ := sharesOf(t, rapid.IntRange(shamir.MinSecret, shamir.MaxSecret).Draw(t, "size"), set)
		c, err := card.New(shares[1], nil, false)
		require.NoError(t, err)
		text := string(textOf(t, c))
		if rapid.Bool().Draw(t, "scanned") {
			text = strings.ReplaceAll(text, "\n", string(card.LineBreak))
		} else {
			text = strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(text, "0", "o"), "\n", " \r\n\n "))
		}
		back, err := card.Read(secret.New([]byte(text)))
		require.NoError(t, err)
		require.Equal(t, set, back.Set())
		require.Equal(t, 2, back.Index())
		require.False(t, back.Protected())
		same(t, shares[1], back, nil)
	})
}

func same(t require.TestingT, want *shamir.Share, c *card.Card, passphrase *secret.Bytes) {
	share, err := c.Open(passphrase)
	require.NoError(t, err)
	a, err := want.Commitment()
	require.NoError(t, err)
	b, err := share.Commitment()
	require.NoError(t, err)
	require.Equal(t, a, b)
}

// The line in docs/statement-format.md.
func TestDocumentedLine(t *testing.T) {
	var r card.Reader
	require.NoError(t, r.Add([]byte("cdv7 6w01 0hs6 yvvm oooo 03")))
	require.Error(t, r.Add([]byte("CDV76W010HS6YVVM000003")), "it is line 1, not 2")
}

func TestProtectedCard(t *testing.T) {
	set := shamir.Set{ID: "root", Epoch: 3}
	shares, _ := sharesOf(t, 32, set)
	_, err := card.New(shares[0], secret.New([]byte("short")), false)
	require.ErrorIs(t, err, keyfile.ErrWeakPassphrase)
	c, err := card.New(shares[0], phrase(), false)
	require.NoError(t, err)
	text := textOf(t, c)
	bare, err := shares[0].Encode()
	require.NoError(t, err)
	require.NoError(t, bare.Use(func(b []byte) error {
		require.Greater(t, len(text), len(b)*8/5+80)
		return nil
	}))
	back, err := card.Read(secret.New(text))
	require.NoError(t, err)
	require.True(t, back.Protected())
	require.Equal(t, set, back.Set())
	_, err = back.Open(secret.New([]byte("another passphrase")))
	require.ErrorIs(t, err, card.ErrPassphrase)
	_, err = back.Open(nil)
	require.ErrorIs(t, err, card.ErrPassphrase)
	same(t, shares[0], back, phrase())

	// The same share twice is two different cards: nobody sees that two belong to one share by comparing.
	again, err := card.New(shares[0], phrase(), false)
	require.NoError(t, err)
	require.NotEqual(t, text, textOf(t, again))
	require.NotContains(t, c.String(), string(text[:8]))
}

// Every wrong character, and every two, in every line are noticed and the line is named; so are lines that changed
// places, left out, or are another card's.
func TestMistakesNameTheirLine(t *testing.T) {
	shares, _ := sharesOf(t, 32, shamir.Set{ID: "root", Epoch: 1})
	c, err := card.New(shares[2], nil, false)
	require.NoError(t, err)
	lines := strings.Split(string(textOf(t, c)), "\n")
	require.Greater(t, len(lines), 4)
	const symbols = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	try := func(lines []string) *card.LineError {
		_, err := card.Read(secret.New([]byte(strings.Join(lines, "\n"))))
		var wrong *card.LineError
		require.ErrorAs(t, err, &wrong)
		return wrong
	}
	with := func(n int, line string) []string {
		out := append([]string{}, lines...)
		out[n] = line
		return out
	}
	for n, line := range lines {
		for i := range line {
			for k := 1; k < 32; k += 6 {
				b := []byte(line)
				b[i] = symbols[(strings.IndexByte(symbols, b[i])+k)%32]
				wrong := try(with(n, string(b)))
				require.Equal(t, n+1, wrong.Line)
				require.Contains(t, wrong.Problem, "in place "+strconv.Itoa(i+1))
			}
			if i > 0 && line[i] != line[i-1] { // two changed places
				b := []byte(line)
				b[i], b[i-1] = b[i-1], b[i]
				require.Equal(t, n+1, try(with(n, string(b))).Line)
			}
		}
		require.Equal(t, n+1, try(with(n, line[1:])).Line)
		require.Equal(t, n+1, try(with(n, line+"7")).Line)
		require.Contains(t, try(with(n, "U"+line[1:])).Problem, "on no card")
	}
	require.Equal(t, 2, try(append(append([]string{lines[0]}, lines[2], lines[1]), lines[3:]...)).Line)
	require.Equal(t, len(lines)+1, try(append(append([]string{}, lines...), lines[0])).Line)

	_, err = card.Read(secret.New([]byte(strings.Join(lines[:3], "\n"))))
	require.ErrorIs(t, err, card.ErrDamaged)
	other, err := card.New(shares[1], nil, false)
	require.NoError(t, err)
	mixed := with(3, strings.Split(string(textOf(t, other)), "\n")[3])
	_, err = card.Read(secret.New([]byte(strings.Join(mixed, "\n"))))
	require.ErrorIs(t, err, card.ErrDamaged, "a line of another card is good in itself; the whole is not")
}

func FuzzRead(f *testing.F) {
	shares, _ := sharesOf(f, 32, shamir.Set{ID: "root", Epoch: 1})
	c, err := card.New(shares[0], nil, false)
	require.NoError(f, err)
	f.Add(textOf(f, c))
	f.Add([]byte("DDV76TBJ04W6YVVF1400000000000000000000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := card.Read(secret.New(bytes.Clone(text)))
		if err != nil {
			return
		}
		if !c.Protected() {
			_, _ = c.Open(nil)
		}
		again, err := card.Read(secret.New(textOf(t, c)))
		require.NoError(t, err)
		require.Equal(t, c.Set(), again.Set())
	})
}
