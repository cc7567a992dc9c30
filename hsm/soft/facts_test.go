package soft

import (
	"crypto/fips140"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

func TestFIPSClaimNeedsModeAndValidatedVersion(t *testing.T) {
	for _, c := range []struct {
		name    string
		enabled bool
		version string
		claim   bool
	}{
		{"certified build", true, "v1.0.0", true},
		{"certified build, mode switched off", false, "v1.0.0", false},
		{"plain build, mode switched on", true, "latest", false},
		{"plain build", false, "latest", false},
		{"module in process", true, "v1.26.0", false},
		{"look-alike version", true, "v1.0.0-x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := facts(c.enabled, c.version)
			require.Equal(t, "software", f.Driver)
			require.Equal(t, hsm.CustodySelf, f.Custody)
			require.Contains(t, f.Module, c.version)
			if c.claim {
				require.Equal(t, []any{"140-3", 1, "5247"}, []any{f.FIPSStandard, f.FIPSLevel, f.Certificate})
			} else {
				require.Equal(t, []any{"", 0, ""}, []any{f.FIPSStandard, f.FIPSLevel, f.Certificate})
			}
		})
	}
}

func TestFactsFollowTheRunningBinary(t *testing.T) {
	require.Equal(t, facts(fips140.Enabled(), fips140.Version()), (&Keystore{}).Facts())
}
