package amount_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/amount"
)

func TestNounsAgreeWithTheirNumber(t *testing.T) {
	for noun, many := range map[string]string{"share": "shares", "ceremony": "ceremonies", "key": "keys", "day": "days", "person": "people",
		"other person": "other people", "access": "accesses", "stretch": "stretches", "archived segment": "archived segments"} {
		require.Equal(t, "1 "+noun, amount.Of(1, noun))
		require.Equal(t, "2 "+many, amount.Of(uint64(2), noun))
		require.Equal(t, "0 "+many, amount.Of(0, noun))
	}
	require.Equal(t, "The one key", amount.Each(1, "key"))
	require.Equal(t, "Each of 3 keys", amount.Each(3, "key"))
	require.Equal(t, "is", amount.Verb(1, "is", "are"))
	require.Equal(t, "are", amount.Verb(0, "is", "are"))
}
