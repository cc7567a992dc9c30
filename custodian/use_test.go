package custodian_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/custodiantest"
)

func TestUseRoundTrip(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	encryption := map[string]string{"order": "4711", "tenant": "demo"}

	made, err := c.Use(ctx, c.App, custodian.Use{Operation: access.DataKey, Key: custodiantest.KeyID, Bytes: 32, WithPlain: true, Context: encryption})
	require.NoError(t, err)
	require.Len(t, made.Plaintext, 32)
	require.NotEmpty(t, made.Decision)

	opened, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Decrypt, Ciphertext: made.Ciphertext, Context: encryption})
	require.NoError(t, err)
	require.Equal(t, made.Plaintext, opened.Plaintext)
	require.Equal(t, custodiantest.KeyID, opened.Key)

	sealed, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Encrypt, Key: custodiantest.KeyID, Plaintext: []byte("four words of text"), Context: encryption})
	require.NoError(t, err)
	rewrapped, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Rewrap, Ciphertext: sealed.Ciphertext, Context: encryption, NewContext: map[string]string{"order": "4712"}})
	require.NoError(t, err)
	require.Empty(t, rewrapped.Plaintext, "rewrap shows no plaintext")
	back, err := c.Use(ctx, c.App, custodian.Use{Operation: access.Decrypt, Ciphertext: rewrapped.Ciphertext, Context: map[string]string{"order": "4712"}})
	require.NoError(t, err)
	require.Equal(t, "four words of text", string(back.Plaintext))
}
