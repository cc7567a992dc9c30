package reports_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/oversight"
	"conclave/reports"
	"conclave/reports/control"
	"conclave/reports/internal/fixture"
)

func registerOf(t *testing.T, src reports.Source, name string) *reports.Register {
	t.Helper()
	r, err := reports.MakeRegister(t.Context(), src, name, fixture.Start().AddDate(0, 0, -1), fixture.Now(), fixture.Now(), nil)
	require.NoError(t, err)
	return r
}

func cellsOf(r *reports.Register) map[string]bool {
	out := map[string]bool{}
	for _, p := range r.Parts {
		for _, table := range p.Tables {
			for _, row := range table.Rows {
				for _, c := range row.Cells {
					out[c] = true
				}
			}
		}
	}
	return out
}

func TestRegistersListWhatIsThere(t *testing.T) {
	t.Parallel()
	src := fixture.New(t, custodian.Production, func(h *history) {
		h.Attestations = append(h.Attestations, fixture.Attest("a-elsewhere", oversight.DeclaredKey, "", 300), fixture.Attest("a-over", oversight.DeclaredForm, "", 3))
	}).Source(t)
	for name, want := range map[string][]string{
		reports.RegisterArchitecture: {"cards/1", "AES-256-GCM, derived message keys", "2 of 3 custodians (soft-set)", "room 12, north site", "a-elsewhere"},
		reports.RegisterCryptography: {"Ed25519", "AES-256-GCM, derived message keys"},
		reports.RegisterCustodians:   {"ada", "soft-set/1/1"},
		reports.RegisterAccess:       {"ada", "shop", "t1", "datakey, decrypt"},
		reports.RegisterCeremonies:   {"dana", "brought share 1 of soft-set"},
		reports.RegisterDeclared:     {"a-elsewhere"},
	} {
		r := registerOf(t, src, name)
		have := cellsOf(r)
		for _, c := range want {
			require.True(t, have[c], "%s: %s", name, c)
		}
		require.False(t, have["a-over"], "what has ended is declared no more")
		require.Len(t, r.Digest, 64)
		require.Equal(t, r.Digest, registerOf(t, src, name).Digest, "%s: the same state gives the same list", name)
	}
	_, err := reports.MakeRegister(t.Context(), src, "all", fixture.Start(), fixture.Now(), fixture.Now(), nil)
	var input *custodian.InputError
	require.ErrorAs(t, err, &input)
	require.Equal(t, "register", input.Field)
	_, err = reports.MakeRegister(t.Context(), src, reports.RegisterAccess, fixture.Now(), fixture.Start(), fixture.Now().Add(time.Hour), nil)
	require.ErrorAs(t, err, &input)
}

func TestWhatIsSignedIsWhatIsListed(t *testing.T) {
	t.Parallel()
	first := registerOf(t, fixture.New(t, custodian.Production).Source(t), reports.RegisterAccess)
	second := registerOf(t, fixture.New(t, custodian.Production, func(h *history) { h.People[0].Name = "Ada Other" }).Source(t), reports.RegisterAccess)
	require.NotEqual(t, first.Digest, second.Digest)
	require.Equal(t, control.Info, first.Parts[0].Tables[0].Rows[0].State)
}
