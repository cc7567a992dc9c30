package operation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/operation"
	"conclave/custodian/custodiantest"
)

func TestChallenges(t *testing.T) {
	secretKey := make([]byte, 32)
	c, err := operation.NewChallenger(secretKey)
	require.NoError(t, err)
	_, err = operation.NewChallenger(secretKey[:31])
	require.Error(t, err)
	at := custodiantest.Start()
	challenge := c.New("ada", "root", 2, 3, at)
	require.NotEqual(t, challenge, c.New("ada", "root", 2, 3, at))
	require.NoError(t, c.Check(challenge, "ada", "root", 2, 3, at))
	require.NoError(t, c.Check(challenge, "ada", "root", 2, 3, at.Add(operation.ChallengeLife-time.Millisecond)))

	replica, err := operation.NewChallenger(secretKey)
	require.NoError(t, err)
	require.NoError(t, replica.Check(challenge, "ada", "root", 2, 3, at), "any replica recognises it")
	foreign, err := operation.NewChallenger(append(secretKey[1:], 1))
	require.NoError(t, err)
	for name, err := range map[string]error{
		"another key":    foreign.Check(challenge, "ada", "root", 2, 3, at),
		"another person": c.Check(challenge, "ben", "root", 2, 3, at),
		"another set":    c.Check(challenge, "ada", "roots", 2, 3, at),
		"another epoch":  c.Check(challenge, "ada", "root", 1, 3, at),
		"another index":  c.Check(challenge, "ada", "root", 2, 4, at),
		"too late":       c.Check(challenge, "ada", "root", 2, 3, at.Add(operation.ChallengeLife)),
		"from later":     c.Check(challenge, "ada", "root", 2, 3, at.Add(-time.Second)),
		"too short":      c.Check(challenge[1:], "ada", "root", 2, 3, at),
		"nothing":        c.Check(nil, "ada", "root", 2, 3, at),
	} {
		require.ErrorIs(t, err, operation.ErrChallenge, name)
	}
	for i := range challenge {
		altered := append([]byte(nil), challenge...)
		altered[i] ^= 1
		require.ErrorIs(t, c.Check(altered, "ada", "root", 2, 3, at), operation.ErrChallenge)
	}
}
