package policies_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func TestRegulatedDataKeysAreNotReused(t *testing.T) {
	e, err := policies.New(t.Context(), policies.Options{})
	require.NoError(t, err)
	for _, class := range []string{"public", "internal", "confidential"} {
		require.Equal(t, 5*time.Minute, e.CacheFor(class), class)
	}
	for _, class := range []string{"restricted", "cardholder-data", "ephi", "unheard-of"} {
		require.Zero(t, e.CacheFor(class), class)
	}
}
