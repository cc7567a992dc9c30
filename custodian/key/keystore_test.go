package key_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/hsm"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

// claims is a driver that reports what a test wants it to.
type claims struct {
	hsm.Keystore
	facts hsm.Facts
	can   hsm.Capabilities
}

func (c claims) Facts() hsm.Facts               { return c.facts }
func (c claims) Capabilities() hsm.Capabilities { return c.can }

func validated() (*key.Keystore, claims) {
	can := hsm.Capabilities{Specs: []hsm.Spec{hsm.AES256, hsm.ECDSAP256}, KeyStrength: 256, Export: true}
	return &key.Keystore{ID: "vault", FIPSStandard: "140-3", FIPSLevel: 1, Certificate: "5247", CertificateStatus: key.CertActive, Custody: hsm.CustodySelf,
			Capabilities: can},
		claims{facts: hsm.Facts{FIPSStandard: "140-3", FIPSLevel: 1, Certificate: "5247", Custody: hsm.CustodySelf}, can: can}
}

func TestCertificateLapsesByDate(t *testing.T) {
	s, _ := validated()
	require.Equal(t, key.CertActive, s.StatusAt(day(30)), "no sunset recorded")
	s.CertificateUntil = day(10)
	require.Equal(t, key.CertActive, s.StatusAt(day(10).Add(-1)))
	require.Equal(t, key.CertHistorical, s.StatusAt(day(10)))
	s.CertificateStatus = key.CertRevoked
	require.Equal(t, key.CertRevoked, s.StatusAt(day(20)), "a date makes nothing of a revoked one")
}

func TestTenantsWhereTheRecordIsSilent(t *testing.T) {
	for _, model := range hsm.CustodyModels() {
		s := &key.Keystore{Custody: model}
		want := key.MultiTenant
		if model == hsm.CustodySelf || model == hsm.CustodyHYOK {
			want = key.SingleTenant
		}
		require.Equal(t, want, s.Tenants(), model)
		s.Tenancy = key.MultiTenant
		require.Equal(t, key.MultiTenant, s.Tenants(), model)
		for _, stores := range []bool{false, true} {
			require.NotContains(t, model.Readers(stores).AtRest+model.Readers(stores).InUse, "unknown")
		}
	}
	require.Equal(t, "unknown", hsm.CustodyModel("else").Readers(true).AtRest)
}

func TestRecordStaysWithinWhatTheDriverProves(t *testing.T) {
	for name, c := range map[string]struct {
		change func(s *key.Keystore, d *claims)
		level  int
		beyond int
		specs  []hsm.Spec
	}{
		"as proved":              {func(*key.Keystore, *claims) {}, 1, 0, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
		"record claims less":     {func(s *key.Keystore, _ *claims) { s.FIPSLevel = 0 }, 0, 0, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
		"driver proves nothing":  {func(_ *key.Keystore, d *claims) { d.facts = hsm.Facts{Custody: hsm.CustodySelf} }, 0, 1, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
		"another certificate":    {func(_ *key.Keystore, d *claims) { d.facts.Certificate = "1" }, 1, 1, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
		"another custody":        {func(_ *key.Keystore, d *claims) { d.facts.Custody = hsm.CustodyBYOK }, 1, 1, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
		"makes less":             {func(_ *key.Keystore, d *claims) { d.can.Specs = []hsm.Spec{hsm.ECDSAP256} }, 1, 1, []hsm.Spec{hsm.ECDSAP256}},
		"makes nothing recorded": {func(_ *key.Keystore, d *claims) { d.can.Specs = []hsm.Spec{hsm.Ed25519} }, 1, 1, nil},
		"protects less":          {func(_ *key.Keystore, d *claims) { d.can.KeyStrength = 128 }, 1, 1, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
		"declared": {func(s *key.Keystore, d *claims) {
			s.FIPSLevel, s.Certificate, s.Custody, d.facts = 3, "4321", hsm.CustodyHYOK, hsm.Facts{Declared: true}
		}, 3, 0, []hsm.Spec{hsm.AES256, hsm.ECDSAP256}},
	} {
		t.Run(name, func(t *testing.T) {
			s, d := validated()
			c.change(s, &d)
			before := *s
			got, beyond := s.Within(d)
			require.Equal(t, before, *s, "the record is left alone")
			require.Equal(t, c.level, got.FIPSLevel)
			require.Len(t, beyond, c.beyond, beyond)
			require.Equal(t, c.specs, got.Capabilities.Specs)
			require.LessOrEqual(t, got.Capabilities.KeyStrength, d.can.KeyStrength)
			if c.specs == nil {
				require.Zero(t, got.Capabilities.KeyStrength, "an empty list alone would read as AES-256")
			}
			if name == "another certificate" {
				require.Empty(t, got.CertificateStatus, "the status recorded is that of another certificate")
			}
		})
	}
}

func TestSetFactsLeavesDeclaredClaims(t *testing.T) {
	s, d := validated()
	s.FIPSLevel, s.Certificate, s.Custody, d.facts = 3, "4321", hsm.CustodyHYOK, hsm.Facts{Declared: true, Custody: hsm.CustodySelf}
	s.SetFacts(d)
	require.Equal(t, 3, s.FIPSLevel)
	require.Equal(t, hsm.CustodyHYOK, s.Custody)
	require.False(t, s.Capabilities.Export, "no export from level 3 up")
	require.Equal(t, d.can.Specs, s.Capabilities.Specs)
}
