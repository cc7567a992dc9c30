package operation

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/policies"
)

// A bundle that demands keys that were generated here is asked with the origin of the version that is to be made.
func TestInvariant06_GeneratedOriginIsDemanded(t *testing.T) {
	o := newOffice(t)
	files, err := policies.FilesOf(policies.Bundle())
	require.NoError(t, err)
	files, err = files.Set("classifications.internal.origins", json.RawMessage(`["generated"]`))
	require.NoError(t, err)
	engine, err := policies.New(t.Context(), policies.Options{Timeout: time.Minute, Files: files})
	require.NoError(t, err)
	k, _, err := store.Get[key.Key](o.View(), custodian.KindKey, custodiantest.KeyID)
	require.NoError(t, err)
	for origin, refused := range map[string]bool{key.OriginGenerated: false, key.OriginComponents: true, key.OriginWrapped: true} {
		k.Origin = origin
		asks, err := placementKey(o.View(), k)
		require.NoError(t, err)
		for _, existing := range []bool{false, true} {
			facts, err := o.PlacementInput(o.View(), asks)
			require.NoError(t, err)
			facts.Existing = existing
			decision, err := engine.Place(t.Context(), facts)
			require.NoError(t, err)
			verdict, known := decision.Verdict(custodiantest.KeystoreID)
			require.True(t, known)
			codes := []string{}
			for _, r := range verdict.Reasons {
				codes = append(codes, r.Code)
			}
			require.Equal(t, refused && !existing, len(codes) == 1 && codes[0] == "origin_class", "%s, there already %t: %v", origin, existing, codes)
		}
	}
}
