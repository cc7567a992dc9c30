package key_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
)

// stateTable is table 1 of the life cycle, written down independently of the code: state, protect, process,
// confirmation, export, rotate from, material exists.
const stateTable = `
pre-activation never     never          free  dual  no  yes
active         in-period in-period      free  dual  yes yes
suspended      never     limited        never never no  yes
deactivated    never     in-period      never dual  no  yes
compromised    never     controlled-use never never no  yes
destroyed      never     never          never never no  no`

func TestStateTable(t *testing.T) {
	require.Len(t, key.Operations(), 12)
	rows := strings.Split(strings.TrimSpace(stateTable), "\n")
	require.Len(t, rows, len(key.States()))
	for i, row := range rows {
		c := strings.Fields(row)
		s := key.State(c[0])
		require.Equal(t, key.States()[i], s)
		for _, op := range key.Operations() {
			want := map[bool]string{op.Protects(): c[1], op.Processes(): c[2], op == key.Confirm: c[3], op == key.ExportWrapped: c[4]}[true]
			require.Equal(t, key.Permission(want), key.Permitted(s, op), "%s %s", s, op)
		}
		require.Equal(t, c[5] == "yes", s.RotatesFrom(), s)
		require.Equal(t, c[6] == "yes", s.HasMaterial(), s)
	}
	require.Equal(t, key.Never, key.Permitted("unheard-of", key.Decrypt))
	require.Equal(t, key.Never, key.Permitted(key.Active, "unheard-of"))
}

// TestInvariantState03_EveryStateAndOperation asks a version in each state for each operation: 6 × 12.
func TestInvariantState03_EveryStateAndOperation(t *testing.T) {
	refusal := map[key.State]string{
		key.PreActivation: key.CodeKeyPreActivation, key.Suspended: key.CodeKeySuspended, key.Deactivated: key.CodeKeyDeactivated,
		key.Compromised: key.CodeKeyCompromised, key.Destroyed: key.CodeKeyDestroyed,
	}
	for _, s := range key.States() {
		v := inState(t, s)
		before := start.Add(time.Hour)
		for _, op := range key.Operations() {
			u := key.Use{Now: start.Add(10 * time.Hour), ProtectedAt: before, AcceptRisk: true, Ceremony: "c1"}
			err := v.Allows(op, u)
			if !v.Type.Permits(op) {
				require.Equal(t, key.CodeKeyType, useCode(err), "%s %s", s, op)
				continue
			}
			switch key.Permitted(s, op) {
			case key.Free, key.InPeriod, key.Limited:
				require.NoError(t, err, "%s %s", s, op)
			case key.Dual:
				require.NoError(t, err, "%s %s", s, op)
				u.Ceremony = ""
				require.Equal(t, key.CodeKeyGoverned, useCode(v.Allows(op, u)), "%s %s", s, op)
			case key.Never, key.ControlledUse:
				require.Equal(t, refusal[s], useCode(err), "%s %s", s, op)
			}
		}
		require.Equal(t, key.CodeOperation, useCode(v.Allows("unheard-of", key.Use{})))
	}
}

// TestTypesPermit: each operation fits some type, and no type both signs and encrypts.
func TestTypesPermit(t *testing.T) {
	types := []key.Type{key.PrivateSignature, key.PublicVerification, key.SymmetricAuth, key.PrivateAuth, key.PublicAuth,
		key.DataEncryption, key.KeyWrapping, key.RandomGeneration, key.Master, key.PrivateTransport, key.PublicTransport,
		key.SymmetricAgreement, key.PrivateStaticAgreement, key.PublicStaticAgreement, key.PrivateEphemeral,
		key.PublicEphemeral, key.SymmetricAuthorisation, key.PrivateAuthorisation, key.PublicAuthorisation}
	setD := map[key.Type]bool{key.PrivateSignature: true, key.PrivateAuth: true, key.RandomGeneration: true, key.Master: true,
		key.SymmetricAuthorisation: true, key.PrivateEphemeral: true, key.PublicEphemeral: true, key.PrivateAuthorisation: true}
	used := map[key.Operation]bool{}
	for _, typ := range types {
		if setD[typ] {
			require.Equal(t, key.SetD, typ.AtEnd(), typ)
		} else {
			require.Equal(t, key.SetK, typ.AtEnd(), typ)
		}
		half := strings.HasPrefix(string(typ), "private-") || strings.HasPrefix(string(typ), "public-")
		require.Equal(t, half, typ.Pair(), typ)
		require.False(t, typ.Permits(key.Sign) && typ.Permits(key.Encrypt), typ)
		for _, op := range key.Operations() {
			used[op] = used[op] || typ.Permits(op)
		}
	}
	require.Len(t, used, 12)
	require.NotContains(t, used, false)
	require.False(t, key.Type("unheard-of").Permits(key.Confirm))
	require.Equal(t, 730, key.KeyWrapping.MaxOUPDays())
	require.Equal(t, 730+1095, key.KeyWrapping.MaxRUPDays(730))
}

func TestInvariantState02_NoProtectAtOrAfterLeavingActive(t *testing.T) {
	v := inState(t, key.Active)
	require.NoError(t, v.AllowsProtect(v.OUPEnd.Add(-time.Nanosecond)))
	for _, id := range []string{"T6", "T7", "T8"} {
		at := start.Add(2 * time.Hour)
		left, err := v.Apply(line(id, at), allFacts(at))
		require.NoError(t, err)
		require.Error(t, left.AllowsProtect(at), id)
		require.Error(t, left.AllowsProtect(at.Add(-time.Hour)), "%s: a clock that lags opens nothing", id)
	}
}

func TestInvariantState06_PeriodsHoldWithoutJobs(t *testing.T) {
	v := inState(t, key.Active)
	require.Equal(t, key.CodeKeyOUPEnded, useCode(v.AllowsProtect(v.OUPEnd)))
	require.Equal(t, key.CodeKeyOUPEnded, useCode(v.AllowsProtect(v.OUPEnd.Add(time.Second))))
	require.Equal(t, key.CodeKeyNotYet, useCode(v.AllowsProtect(v.ActivationAt.Add(-time.Second))))
	require.NoError(t, v.AllowsProcess(v.OUPEnd.Add(time.Second), start, false))
	require.NoError(t, v.AllowsProcess(v.RUPEnd.Add(-time.Second), start, false))
	require.Equal(t, key.CodeKeyRUPEnded, useCode(v.AllowsProcess(v.RUPEnd, start, false)))
	require.Equal(t, key.CodeKeyNotYet, useCode(v.AllowsProcess(start.Add(-time.Hour), start, false)))

	undated := v.Clone()
	undated.OUPEnd, undated.RUPEnd = time.Time{}, time.Time{}
	require.Equal(t, key.CodeKeyDates, useCode(undated.AllowsProtect(start)))
	require.Equal(t, key.CodeKeyDates, useCode(undated.AllowsProcess(start, start, false)))
	undated.State = "unheard-of"
	require.Equal(t, key.CodeKeyState, useCode(undated.AllowsProtect(start)))
	require.Equal(t, key.CodeKeyState, useCode(undated.AllowsProcess(start, start, false)))
}

func TestInvariantState11_SuspendedProcessesOldDataOnly(t *testing.T) {
	active := inState(t, key.Active)
	at := start.Add(2*time.Hour + 700*time.Microsecond)
	now := at.Add(time.Hour)
	v, err := active.Apply(line("T7", at), key.Facts{})
	require.NoError(t, err)
	require.Equal(t, key.CodeKeySuspended, useCode(v.AllowsProtect(now)))
	require.NoError(t, v.AllowsProcess(now, at.Add(-time.Second), true))
	require.Equal(t, key.CodeKeyRiskAccept, useCode(v.AllowsProcess(now, at.Add(-time.Second), false)))
	for _, inside := range []time.Time{at, at.Add(time.Second), at.Truncate(time.Millisecond), {}} {
		require.Equal(t, key.CodeKeyDuringSuspend, useCode(v.AllowsProcess(now, inside, true)), inside)
	}

	suspicion := line("T7", at)
	suspicion.Suspected = true
	v, err = active.Apply(suspicion, key.Facts{})
	require.NoError(t, err)
	require.Equal(t, key.CodeKeySuspected, useCode(v.AllowsProcess(now, at.Add(-time.Second), true)))
	require.Equal(t, key.CodeKeySuspected, useCode(v.AllowsProcess(now, at, true)))
}
