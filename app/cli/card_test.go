package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/api"
	"conclave/ceremony/card"
	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

// text is what a person types from the card of a share.
func text(t *testing.T, share *shamir.Share, phrase string) string {
	t.Helper()
	var p *secret.Bytes
	if phrase != "" {
		p = secret.New([]byte(phrase))
	}
	c, err := card.New(share, p, false)
	require.NoError(t, err)
	printed, err := c.Text()
	require.NoError(t, err)
	var out string
	require.NoError(t, printed.Use(func(b []byte) error { out = string(b); return nil }))
	return out
}

// A card is printed from a key file and read again; without any key that opens the share it is brought, drilled and
// checked. Nothing of it is sent.
func TestShareCards(t *testing.T) {
	o := newOffice(t)
	share := o.issue()
	o.shares[0].InUse = true
	phrase := o.path("card-phrase")
	require.NoError(t, os.WriteFile(phrase, []byte("only for this card\n"), 0o600))

	printed := o.run("share", "card", "-o", o.path("card.pdf"), "--new-passphrase-file", phrase, "--form", "alice-1")
	require.Zero(t, printed.code, printed.err)
	info, err := os.Stat(o.path("card.pdf"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Contains(t, printed.out, card.Fingerprint(o.shares[0].Commitment))
	require.Contains(t, printed.err, "conclave custody register alice-1 --kind paper-protected --set soft --epoch 1 --new-serial")
	again := o.run("share", "card", "-o", o.path("card.pdf"), "--bare")
	require.NotZero(t, again.code)
	require.Contains(t, again.err, "exists and is left alone")
	piped := o.run("share", "card", "-o", "-", "--bare", "--paper", "Letter")
	require.Zero(t, piped.code, piped.err)
	require.True(t, strings.HasPrefix(piped.out, "%PDF-"))
	require.Contains(t, piped.err, "--kind paper --set")
	weak := o.path("weak")
	require.NoError(t, os.WriteFile(weak, []byte("short"), 0o600))
	require.Contains(t, o.run("share", "card", "-o", o.path("none.pdf"), "--new-passphrase-file", weak).err, "at least 12")
	require.NoFileExists(t, o.path("none.pdf"))

	typed := o.path("typed")
	require.NoError(t, os.WriteFile(typed, []byte(text(t, share, "only for this card")), 0o600))
	o.shares[0].Sealed = "" // nothing but the card opens it from here on
	checked := o.run("share", "check-card", "--card", typed, "--card-passphrase-file", phrase)
	require.Zero(t, checked.code, checked.err)
	require.Contains(t, checked.out, "share 1 of soft epoch 1, held by alice, confirmed")
	require.Contains(t, o.run("share", "check-card", "--card", typed, "--card-passphrase-file", weak).err, "does not open with this passphrase")
	require.Empty(t, o.asked)

	o.shares[0].Challenge = base64.StdEncoding.EncodeToString([]byte("a challenge of the service"))
	drilled := o.run("share", "drill", "--card", typed, "--card-passphrase-file", phrase)
	require.Zero(t, drilled.code, drilled.err)
	require.Len(t, o.asked, 1)
	var proof struct{ Challenge, Signature []byte }
	require.NoError(t, json.Unmarshal(o.asked[0].Params, &proof))
	require.NoError(t, shamir.VerifyChallenge(o.shares[0].Commitment, share.Set(), 1, proof.Challenge, proof.Signature))

	o.open("keystore.activate", api.Target{Type: "keystore", ID: "soft"}, `{"keystore":"soft"}`)
	o.ceremony.Takes.Shares, o.ceremony.ShareSet, o.ceremony.ShareEpoch, o.st.Requester = true, "soft", 1, "node:node-1"
	o.ceremony.Requester = api.Requester{Kind: "node", ID: "node-1"}
	require.NoError(t, os.WriteFile(typed, []byte(text(t, share, "")), 0o600))
	bring := []string{"ceremony", "bring", "c1", "--yes", "--card", typed}
	brought := o.run(bring...)
	require.Zero(t, brought.code, brought.err)
	require.Len(t, o.given, 1)
	got, err := o.opening.Open(o.given[0].Sealed)
	require.NoError(t, err)
	require.NoError(t, shamir.CheckShare(got, shamir.Register{Set: share.Set(), Commitments: map[int][]byte{1: o.shares[0].Commitment}}))
	o.ceremony.ShareEpoch = 2
	require.Contains(t, o.run(bring...).err, "it is of soft epoch 1, the ceremony takes shares of soft epoch 2")
}

func TestCardsThatDoNotRead(t *testing.T) {
	o := newOffice(t)
	share := o.issue()
	lines := strings.Split(text(t, share, ""), "\n")
	check := func(mode os.FileMode, lines ...string) result {
		path := o.path("typed")
		_ = os.Remove(path)
		require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")), mode))
		return o.run("share", "check-card", "--card", path)
	}
	wrong := append([]string{}, lines...)
	wrong[2] = strings.Replace(wrong[2], wrong[2][4:5], map[bool]string{true: "3", false: "7"}[wrong[2][4] == '7'], 1)
	require.Contains(t, check(0o600, wrong...).err, "line 3 of the card")
	require.Contains(t, check(0o600, lines[:2]...).err, "not a whole card")
	require.Contains(t, check(0o644, lines...).err, "others may read the share")
	require.Contains(t, o.run("share", "check-card", "--card", "-").err, "not a whole card")

	// The share of another split reads well and is not the register's: a forged card, or a register that lies.
	other, err := shamir.Split(secret.Random(32), 2, 3, share.Set())
	require.NoError(t, err)
	require.Contains(t, check(0o600, text(t, other[0], "")).err, "wrong share")
	require.Contains(t, check(0o600, text(t, other[2], "")).err, "never issued")

	// Without the service the tag is compared by eye.
	offline := run(t, "share", "check-card", "--offline", "--card", o.path("typed"))
	require.Zero(t, offline.code, offline.err)
	commitment, err := other[2].Commitment()
	require.NoError(t, err)
	require.Contains(t, offline.out, card.Fingerprint(commitment))
}

func TestShareEnvelope(t *testing.T) {
	o := newOffice(t)
	o.issue()
	o.shares[0].InUse = true
	printed := o.run("share", "envelope", "-o", o.path("envelope.pdf"), "--form", "alice-1")
	require.Zero(t, printed.code, printed.err)
	require.Contains(t, printed.out, "envelope for share 1 of set soft, epoch 1")
	pdf, err := os.ReadFile(o.path("envelope.pdf"))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(pdf), "%PDF-"))
	require.Contains(t, o.run("share", "envelope", "-o", o.path("e2.pdf"), "--form", "bob-1").err, "form: bob-1 is of share 2")
}
