package key_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/hsm"
)

var start = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func payroll() *key.Key {
	return &key.Key{
		ID: "payroll", Label: "Payroll records", Type: key.KeyWrapping, Classification: key.Restricted,
		Impact: key.Moderate, Frameworks: []string{key.PCIDSS}, Jurisdiction: "EU", Environment: key.Production,
		Owner: "ada", Keystore: "vault-1", Origin: key.OriginGenerated,
		OUPDays: 365, RUPDays: 365 + 1095, RotateDays: 335,
	}
}

func generation(at time.Time) key.Generation {
	return key.Generation{
		Material:  hsm.Material{Key: "payroll", Version: 1, Blob: []byte{1, 2, 3}, CheckValue: "A1B2C3D4E5", EffectID: "e1"},
		Algorithm: hsm.AlgorithmDerivedAES256GCM, StrengthBits: 256,
		Facts: hsm.Facts{Driver: "software", Module: "module", RNG: "CTR_DRBG", FIPSStandard: "140-3", FIPSLevel: 1, Certificate: "5247"},
		At:    at, Actor: "node:n1", Ceremony: "c1",
	}
}

func fresh(t require.TestingT, typ key.Type) *key.Version {
	v, err := key.NewVersion(payroll(), 1, generation(start))
	require.NoError(t, err)
	v.Type = typ
	return v
}

// allFacts lets every guard pass for a change at a time.
func allFacts(at time.Time) key.Facts {
	return key.Facts{PlacementFits: true, CustodiansAcknowledged: true, NeverUsed: true, NoDependents: true,
		ReplacementActive: true, FindingClosed: true, NoLegalHold: true, Reprotected: true, PairMoves: true,
		ApprovedAt: at.Add(-key.MinDestroyWait)}
}

func line(id string, at time.Time) key.Transition {
	return key.Transition{ID: id, At: at, Actor: "human:ada", Ceremony: "c9", Reason: "planned"}
}

// path is how a version comes to a state.
func path(to key.State) []string {
	switch to {
	case key.Active:
		return []string{"T4"}
	case key.Suspended:
		return []string{"T4", "T7"}
	case key.Deactivated:
		return []string{"T4", "T8"}
	case key.Compromised:
		return []string{"T4", "T6"}
	case key.Destroyed:
		return []string{"T4", "T8", "T13"}
	}
	return nil
}

// inState makes a key-wrapping version in a state; each step takes an hour.
func inState(t require.TestingT, s key.State) *key.Version {
	v := fresh(t, key.KeyWrapping)
	for i, id := range path(s) {
		at := start.Add(time.Duration(i+1) * time.Hour)
		next, err := v.Apply(line(id, at), allFacts(at))
		require.NoError(t, err)
		v = next
	}
	require.Equal(t, s, v.State)
	return v
}

func transitionCode(t *testing.T, err error) string {
	t.Helper()
	var e *key.TransitionError
	require.True(t, errors.As(err, &e), "%v", err)
	require.NotEmpty(t, e.Error())
	return e.Code
}

func useCode(err error) string {
	var e *key.UseError
	if !errors.As(err, &e) || !strings.Contains(e.Error(), e.Code) {
		return ""
	}
	return e.Code
}

func field(t *testing.T, err error) string {
	t.Helper()
	var e *key.FieldError
	require.True(t, errors.As(err, &e), "%v", err)
	require.NotEmpty(t, e.Problem)
	require.NotEmpty(t, e.Allowed)
	return e.Field
}
