package custodian_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/access"
	"conclave/custodian/key"
	"conclave/hsm"
)

// The tables of policy and the rules in Go say the same: which type a key of an algorithm has, and what it does.
func TestUsageTablesAgree(t *testing.T) {
	read := func(name string, into any) {
		raw, err := os.ReadFile("../policies/data/" + name)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(raw, into))
	}
	var authorisation struct {
		Types map[key.Type]struct {
			Operations []access.Operation `json:"operations"`
		} `json:"key_types"`
	}
	read("authorisation.json", &authorisation)
	require.Len(t, authorisation.Types, len(key.Made()))
	for typ, row := range authorisation.Types {
		require.ElementsMatch(t, access.OperationsOf(typ), row.Operations, typ)
	}
	var algorithms map[hsm.Spec]struct {
		Kind  string     `json:"kind"`
		Types []key.Type `json:"types"`
	}
	read("algorithms.json", &algorithms)
	require.Len(t, algorithms, len(hsm.Specs()))
	for spec, row := range algorithms {
		require.Equal(t, spec.Pair(), row.Kind == "asymmetric", spec)
		for _, typ := range key.Made() {
			fits := false
			for _, s := range typ.Specs() {
				fits = fits || s == spec
			}
			listed := false
			for _, l := range row.Types {
				listed = listed || l == typ
			}
			require.Equal(t, fits, listed, "%s as %s", spec, typ)
		}
	}
}
