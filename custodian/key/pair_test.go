package key_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/hsm"
)

// pair is a signature pair in pre-activation, both halves in one record.
func pair(t require.TestingT) (*key.Key, *key.Version) {
	k := demoPair()
	v, err := key.NewVersion(k, 1, key.Generation{
		Material:     hsm.Material{Key: k.ID, Version: 1, Spec: k.Spec, Blob: []byte{1}, CheckValue: "A1B2C3D4E5", EffectID: "e", Public: []byte{9}},
		StrengthBits: 128, Facts: hsm.Facts{Module: "m", RNG: "r"}, At: start, ActivationAt: start.Add(time.Hour), Actor: "human:ada", Ceremony: "c-1",
	})
	require.NoError(t, err)
	return k, v
}

func demoPair() *key.Key {
	return &key.Key{ID: "invoices", Label: "Invoices", Type: key.PrivateSignature, Spec: hsm.ECDSAP256, Classification: key.Internal, Impact: key.Low,
		Jurisdiction: "EU", Environment: key.Test, Owner: "ada", Keystore: "soft", Origin: key.OriginGenerated, OUPDays: 365, RUPDays: 1000, RotateDays: 300,
		Current: 1, Versions: 1}
}

func apply(t *testing.T, v *key.Version, id string, at time.Time) *key.Version {
	t.Helper()
	f := allFacts(at)
	f.PairMoves = false // the record holds both halves: nobody has to say so
	next, err := v.Apply(line(id, at), f)
	require.NoError(t, err, id)
	require.NoError(t, next.CheckHistory())
	return next
}

func TestPairIsOneRecord(t *testing.T) {
	_, v := pair(t)
	require.Equal(t, []byte{9}, v.Public)
	require.Empty(t, v.Material.Public, "kept once")
	require.Zero(t, v.Algorithm)
	v = apply(t, v, "T4", start.Add(time.Hour))
	require.NoError(t, v.Allows(key.Sign, key.Use{Now: start.Add(2 * time.Hour)}))
	require.NoError(t, v.Allows(key.Verify, key.Use{Now: start.Add(2 * time.Hour)}))
	for _, op := range []key.Operation{key.Encrypt, key.Decrypt, key.Wrap, key.Unwrap, key.MACCreate, key.MACVerify} {
		require.Equal(t, key.CodeKeyType, useCode(v.Allows(op, key.Use{Now: start.Add(2 * time.Hour)})), op)
	}
}

// Random walks of the table leave no half apart: suspended and compromised are states of the one record.
func TestInvariant05_HalvesOfAPairStayTogether(t *testing.T) {
	for _, path := range [][]string{{"T3"}, {"T4", "T6"}, {"T4", "T7"}, {"T4", "T7", "T10"}, {"T4", "T7", "T11"}, {"T4", "T8"}, {"T4", "T8", "T14"}, {"T4", "T7", "T12"}} {
		_, v := pair(t)
		at := start
		for _, id := range path {
			at = at.Add(time.Hour)
			v = apply(t, v, id, at)
			require.Equal(t, v.State, v.PublicState(), "%v", path)
		}
	}
}

// The end is the one thing halves do not share: the private one is destroyed, the public one verifies on.
func TestPublicHalfOutlivesThePrivate(t *testing.T) {
	k, v := pair(t)
	at := start.Add(time.Hour)
	v = apply(t, v, "T4", at)
	end := v.OUPEnd
	id, due := v.Due(end)
	require.True(t, due)
	require.Equal(t, "T8", id, "the private half stops by state when its period ends, without anybody's approval")
	v = apply(t, v, "T8", end)
	require.Error(t, v.Allows(key.Sign, key.Use{Now: end}))
	require.NoError(t, v.Allows(key.Verify, key.Use{Now: end}))
	proposal, due := v.Proposal(end)
	require.True(t, due, "and is to be destroyed at once (set D)")
	require.Equal(t, "T13", proposal)

	v = apply(t, v, "T13", end.Add(8*key.Day))
	require.Equal(t, key.Destroyed, v.State)
	require.Empty(t, v.Material.Blob)
	require.Equal(t, key.Deactivated, v.PublicState())
	require.Equal(t, []byte{9}, v.Public)
	require.NoError(t, v.AllowsVerify(v.RUPEnd.Add(-time.Second)))
	require.Equal(t, key.CodeKeyRUPEnded, useCode(v.AllowsVerify(v.RUPEnd)))

	annotated := apply(t, v, "A1", end.Add(9*key.Day))
	require.Equal(t, key.Compromised, annotated.PublicState())
	require.Equal(t, key.CodeKeyCompromised, useCode(annotated.AllowsVerify(end.Add(10*key.Day))))

	_, never := pair(t)
	never = apply(t, never, "T2", at)
	require.Equal(t, key.Destroyed, never.PublicState(), "a pair that was never in use verifies nothing")
	require.Equal(t, k.ID, never.Key)
}

func TestSpecificationsFitTypes(t *testing.T) {
	for _, typ := range key.Made() {
		for _, spec := range hsm.Specs() {
			k := demoPair()
			k.Type, k.Spec, k.RUPDays = typ, spec, k.OUPDays
			fits := false
			for _, s := range typ.Specs() {
				fits = fits || s == spec
			}
			if fits {
				require.NoError(t, k.Validate(), "%s as %s", spec, typ)
			} else {
				require.Equal(t, "algorithm", field(t, k.Validate()), "%s as %s", spec, typ)
			}
		}
		require.NotEmpty(t, typ.Specs(), typ)
		require.Contains(t, key.TypeFor(typ.Specs()[0]).Specs(), typ.Specs()[0])
	}
	k := demoPair()
	k.Type, k.Spec, k.RUPDays = key.DataEncryption, "", k.OUPDays
	require.NoError(t, k.Validate(), "a record from before there was a choice")
	require.Equal(t, hsm.AES256, k.Specification())
	k.Type = key.PrivateSignature
	require.Error(t, k.Validate())
}

func TestPairsNeedTheirPublicHalf(t *testing.T) {
	k := demoPair()
	g := key.Generation{Material: hsm.Material{Key: k.ID, Version: 1, Spec: k.Spec, Blob: []byte{1}, CheckValue: "A1", Public: []byte{9}},
		StrengthBits: 128, Facts: hsm.Facts{Module: "m", RNG: "r"}, At: start, Actor: "a"}
	for name, edit := range map[string]func(*key.Generation){
		"no public half": func(g *key.Generation) { g.Material.Public = nil },
		"another spec":   func(g *key.Generation) { g.Material.Spec = hsm.ECDSAP384 },
		"an algorithm":   func(g *key.Generation) { g.Algorithm = hsm.AlgorithmDerivedAES256GCM },
		"weak":           func(g *key.Generation) { g.StrengthBits = 80 },
	} {
		bad := g
		edit(&bad)
		_, err := key.NewVersion(k, 1, bad)
		require.Error(t, err, name)
	}
	_, err := key.NewVersion(k, 1, g)
	require.NoError(t, err)
}
