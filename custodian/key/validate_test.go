package key_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian/key"
	"conclave/hsm"
)

func TestValidateKey(t *testing.T) {
	require.NoError(t, payroll().Validate())
	cases := map[string]func(k *key.Key){
		"id":             func(k *key.Key) { k.ID = "Payroll" },
		"label":          func(k *key.Key) { k.Label = "pay\u202eroll" },
		"type":           func(k *key.Key) { k.Type = key.Master },
		"classification": func(k *key.Key) { k.Classification = "secret" },
		"impact":         func(k *key.Key) { k.Impact = "" },
		"frameworks[1]":  func(k *key.Key) { k.Frameworks = []string{"hipaa", "hipaa"} },
		"frameworks[0]":  func(k *key.Key) { k.Frameworks = []string{"gdpr"} },
		"jurisdiction":   func(k *key.Key) { k.Jurisdiction = "europe" },
		"environment":    func(k *key.Key) { k.Environment = "prod" },
		"owner":          func(k *key.Key) { k.Owner = "" },
		"purpose":        func(k *key.Key) { k.Purpose = "two\nlines" },
		"keystore":       func(k *key.Key) { k.Keystore = strings.Repeat("a", 65) },
		"origin":         func(k *key.Key) { k.Origin = "imported" },
		"oup_days":       func(k *key.Key) { k.OUPDays = 731 },
		"rup_days":       func(k *key.Key) { k.RUPDays = k.OUPDays + 1096 },
		"rotate_days":    func(k *key.Key) { k.RotateDays = k.OUPDays + 1 },
		"current":        func(k *key.Key) { k.Current = 1 },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			k := payroll()
			change(k)
			require.Equal(t, name, field(t, k.Validate()))
		})
	}
	short := payroll()
	short.RUPDays = short.OUPDays - 1
	require.Equal(t, "rup_days", field(t, short.Validate()))
	never := payroll()
	never.RotateDays = 0
	require.Equal(t, "rotate_days", field(t, never.Validate()))
}

func TestValidateKeystore(t *testing.T) {
	good := func() *key.Keystore {
		return &key.Keystore{ID: "vault-1", Driver: "software", FIPSStandard: "140-3", FIPSLevel: 1, Certificate: "5247",
			CertificateStatus: key.CertActive, Custody: hsm.CustodySelf, Jurisdiction: "EU", Environment: key.Production,
			Location: "rack 4", Controller: "ada", ShareSet: "root", Status: key.KeystoreRegistered}
	}
	require.NoError(t, good().Validate())
	cases := map[string]func(s *key.Keystore){
		"id":                 func(s *key.Keystore) { s.ID = "" },
		"driver":             func(s *key.Keystore) { s.Driver = "Soft" },
		"fips_standard":      func(s *key.Keystore) { s.FIPSStandard = "140-4" },
		"fips_level":         func(s *key.Keystore) { s.FIPSLevel = 5 },
		"certificate_status": func(s *key.Keystore) { s.CertificateStatus = "fine" },
		"custody":            func(s *key.Keystore) { s.Custody = "" },
		"jurisdiction":       func(s *key.Keystore) { s.Jurisdiction = "" },
		"environment":        func(s *key.Keystore) { s.Environment = "" },
		"location":           func(s *key.Keystore) { s.Location = "" },
		"controller":         func(s *key.Keystore) { s.Controller = "" },
		"status":             func(s *key.Keystore) { s.Status = "" },
		"share_set":          func(s *key.Keystore) { s.ShareSet = "Root" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			s := good()
			change(s)
			require.Equal(t, name, field(t, s.Validate()))
		})
	}
	for name, c := range map[string]struct {
		change func(s *key.Keystore)
		want   string
	}{
		"claim without certificate":  {func(s *key.Keystore) { s.Certificate = "" }, "fips_level"},
		"simulator with a number":    {func(s *key.Keystore) { s.Simulated = true }, "certificate"},
		"simulated and not a number": {func(s *key.Keystore) { s.Certificate = key.CertSimulated }, "certificate"},
		"status without certificate": {func(s *key.Keystore) { s.FIPSLevel, s.Certificate = 0, "" }, "certificate_status"},
		"sunset before validation":   {func(s *key.Keystore) { s.CertificateFrom, s.CertificateUntil = day(2), day(1) }, "certificate_until"},
		"level 3 that exports":       {func(s *key.Keystore) { s.FIPSLevel, s.Capabilities.Export = 3, true }, "capabilities"},
		"tenancy":                    {func(s *key.Keystore) { s.Tenancy = "shared" }, "tenancy"},
		"max_keys":                   {func(s *key.Keystore) { s.MaxKeys = -1 }, "max_keys"},
		"simulator, said so":         {func(s *key.Keystore) { s.Simulated, s.FIPSLevel, s.Certificate = true, 3, key.CertSimulated }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.change(s)
			if c.want == "" {
				require.NoError(t, s.Validate())
				return
			}
			require.Equal(t, c.want, field(t, s.Validate()))
		})
	}
}

func TestCheckText(t *testing.T) {
	require.NoError(t, key.CheckText("label", "Gehälter, Zürich – 給与", 40, false))
	require.NoError(t, key.CheckText("label", "", 40, true))
	for _, bad := range []string{"", "  ", "a\tb", "a\x00", "a\xff", "\u202aa", "\u2066a", "a\u200f", "a\u061c", "a\u2028b", "a\u0085b", strings.Repeat("ü", 41)} {
		err := key.CheckText("label", bad, 40, false)
		require.Equal(t, "label", field(t, err), "%q", bad)
		for _, r := range err.Error() {
			require.False(t, r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069, "the refusal does not repeat the character")
		}
	}
	long := key.CheckID("id", strings.Repeat("ä", 5000))
	require.Less(t, len(long.Error()), 600)
}
