package policies_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

func keystore(id string, level int) policies.PlacementKeystore {
	return policies.PlacementKeystore{
		ID: id, Status: "registered", FIPSStandard: "140-3", FIPSLevel: level, Certificate: "5247",
		CertificateStatus: "active", Custody: "self-hosted", Jurisdiction: "DE", Environment: "production", KeyStrength: 256,
		Algorithms: []string{"aes-256"}, Tenancy: "single",
	}
}

func place(class, impact string, stores ...policies.PlacementKeystore) policies.PlacementInput {
	return policies.PlacementInput{
		Now: now(), Mode: policies.Production, Keystores: stores,
		Key: policies.PlacementKey{
			ID: "k", Type: "symmetric-data-encryption", Classification: class, Impact: impact,
			Jurisdiction: "EU", Environment: "production", Algorithm: "aes-256", StrengthBits: 256,
		},
	}
}

func TestInvariant06_PlacementLevels(t *testing.T) {
	e := engine(t)
	want := map[string][3]int{
		"public": {0, 0, 1}, "internal": {0, 0, 1}, "confidential": {1, 1, 2},
		"restricted": {2, 2, 3}, "cardholder-data": {1, 1, 3}, "ephi": {1, 1, 3},
	}
	for class, levels := range want {
		for i, impact := range []string{"low", "moderate", "high"} {
			var stores []policies.PlacementKeystore
			for level := range 5 {
				stores = append(stores, keystore("level-"+string(rune('0'+level)), level))
			}
			d, err := e.Place(context.Background(), place(class, impact, stores...))
			require.NoError(t, err)
			require.Equal(t, levels[i], d.LeastLevel, "%s, %s", class, impact)
			for _, v := range d.Keystores {
				require.Equal(t, v.EffectiveLevel >= levels[i], v.Allow, "%s, %s in %s", class, impact, v.Keystore)
			}
			// The least sufficient level comes first.
			require.Equal(t, levels[i], d.Keystores[0].EffectiveLevel)
		}
	}
}

func TestInvariant06_PlacementRefusals(t *testing.T) {
	e := engine(t)
	for name, c := range map[string]struct {
		change func(*policies.PlacementInput, *policies.PlacementKeystore)
		want   []string
	}{
		"fits":             {func(*policies.PlacementInput, *policies.PlacementKeystore) {}, []string{}},
		"no certificate":   {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Certificate = "" }, []string{"fips_level_low", "module_not_validated"}},
		"revoked":          {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.CertificateStatus = "revoked" }, []string{"fips_level_low", "module_not_validated"}},
		"140-2 now":        {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.FIPSStandard = "140-2" }, []string{"fips_level_low", "module_not_validated"}},
		"simulated":        {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Simulated = true }, []string{"fips_level_low", "module_not_validated"}},
		"test keystore":    {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Environment = "test" }, []string{"environment_mismatch"}},
		"outside the EU":   {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Jurisdiction = "US" }, []string{"residency"}},
		"retired":          {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Status = "retired" }, []string{"keystore_not_registered"}},
		"weak":             {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.KeyStrength = 128 }, []string{"strength_low"}},
		"origin":           {func(in *policies.PlacementInput, _ *policies.PlacementKeystore) { in.Key.Origin = "found" }, []string{"origin_class"}},
		"custody":          {func(in *policies.PlacementInput, _ *policies.PlacementKeystore) { in.Key.Custody = []string{"hyok"} }, []string{"custody_demanded"}},
		"framework":        {func(in *policies.PlacementInput, _ *policies.PlacementKeystore) { in.Key.Frameworks = []string{"x"} }, []string{"framework_unknown"}},
		"impact":           {func(in *policies.PlacementInput, _ *policies.PlacementKeystore) { in.Key.Impact = "" }, []string{"class_unknown", "fips_level_low"}},
		"class":            {func(in *policies.PlacementInput, _ *policies.PlacementKeystore) { in.Key.Classification = "x" }, []string{"class_unknown", "custody_class", "fips_level_low"}},
		"shared, low risk": {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Tenancy = "multi" }, []string{}},
		"shared": {func(in *policies.PlacementInput, s *policies.PlacementKeystore) {
			in.Key.Classification, s.FIPSLevel, s.Tenancy = "restricted", 2, ""
		}, []string{"tenancy_shared"}},
		"exporting": {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.FIPSLevel, s.Export = 3, true }, []string{"export_possible"}},
		"full":      {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.MaxKeys, s.Keys = 5, 5 }, []string{"keystore_full"}},
		"data set": {func(in *policies.PlacementInput, _ *policies.PlacementKeystore) {
			in.Key.Demands = []policies.CustodyDemand{{By: "archive", Custody: []string{"self-hosted"}}, {By: "vault", Custody: []string{"hyok"}}}
		}, []string{"custody_data_set"}},
		"140-2, a public key": {func(in *policies.PlacementInput, s *policies.PlacementKeystore) {
			in.Key.Classification, s.FIPSStandard = "public", "140-2"
		}, []string{"certificate_ended"}},
		"simulated, developing": {func(in *policies.PlacementInput, s *policies.PlacementKeystore) {
			in.Mode, s.Simulated = policies.Development, true
		}, []string{}},
		"several at once": {func(_ *policies.PlacementInput, s *policies.PlacementKeystore) { s.Environment, s.Status = "test", "" }, []string{"environment_mismatch", "keystore_not_registered"}},
		"140-2 in 2026-09": {func(in *policies.PlacementInput, s *policies.PlacementKeystore) {
			in.Now, s.FIPSStandard = time.Date(2026, 9, 21, 23, 59, 59, 0, time.UTC), "140-2"
		}, []string{}},
		"existing stays": {func(in *policies.PlacementInput, s *policies.PlacementKeystore) {
			in.Existing, s.FIPSStandard, s.CertificateStatus = true, "140-2", "historical"
		}, []string{}},
	} {
		in := place("cardholder-data", "moderate", keystore("main", 1))
		c.change(&in, &in.Keystores[0])
		d, err := e.Place(context.Background(), in)
		require.NoError(t, err, name)
		v, judged := d.Verdict("main")
		require.True(t, judged)
		require.Equal(t, c.want, codes(v.Reasons), name)
		require.Equal(t, len(c.want) == 0, v.Allow, name)
	}
}

func TestPlacementPutsTheBestFirst(t *testing.T) {
	with := func(id string, level int, change func(*policies.PlacementKeystore)) policies.PlacementKeystore {
		s := keystore(id, level)
		change(&s)
		return s
	}
	same := func(*policies.PlacementKeystore) {}
	in := place("cardholder-data", "moderate",
		with("far", 1, func(s *policies.PlacementKeystore) { s.Jurisdiction, s.Environment = "US", "test" }),
		with("a-test", 1, func(s *policies.PlacementKeystore) { s.Environment = "test" }),
		with("accepted", 0, same),
		with("strong", 3, same),
		with("b-shared", 1, func(s *policies.PlacementKeystore) { s.Tenancy = "multi" }),
		with("cloud", 1, func(s *policies.PlacementKeystore) { s.Custody = "cloud-native" }),
		with("brought", 1, func(s *policies.PlacementKeystore) { s.Custody = "byok" }),
		with("c-alone", 1, same),
		with("d-held", 1, func(s *policies.PlacementKeystore) { s.Custody = "hyok" }))
	in.Exceptions = []policies.ExceptionFacts{{ID: "x", Rule: "place.fips_level", Keystore: "accepted", ExpiresAt: in.Now.Add(time.Hour)}}
	d, err := engine(t).Place(t.Context(), in)
	require.NoError(t, err)
	var got []string
	for _, v := range d.Keystores {
		got = append(got, v.Keystore)
	}
	require.Equal(t, []string{"c-alone", "d-held", "b-shared", "brought", "cloud", "strong", "accepted", "a-test", "far"}, got)
}

func TestPlacementBounds(t *testing.T) {
	e := engine(t)
	d, err := e.Place(context.Background(), place("ephi", "high"))
	require.NoError(t, err)
	require.Empty(t, d.Keystores)
	require.Equal(t, 3, d.LeastLevel)
	_, found := d.Verdict("main")
	require.False(t, found)
	for _, stores := range [][]policies.PlacementKeystore{
		{keystore("main", 1), keystore("main", 3)},
		{keystore("", 1)},
	} {
		_, err := e.Place(context.Background(), place("ephi", "high", stores...))
		require.ErrorIs(t, err, policies.ErrInput)
	}
}

func TestLifecycle(t *testing.T) {
	e := engine(t)
	base := policies.LifecycleInput{Now: now(), Mode: policies.Production, Type: "symmetric-key-wrapping", Classification: "cardholder-data"}
	d, err := e.Lifecycle(context.Background(), base)
	require.NoError(t, err)
	require.True(t, d.Allow)
	require.Equal(t, policies.LifecycleDecision{
		Allow: true, OUPDays: 365, RUPDays: 1460, RotateDays: 335, MaxOUPDays: 365, MaxRUPDays: 1460,
		WarnDays: []int{90, 30, 7}, DestroyWaitDays: 30, SuspensionReviewDays: 30, PolicyDigest: e.Digest(),
	}, d)
	for name, c := range map[string]struct {
		change func(*policies.LifecycleInput)
		want   []string
	}{
		"oup":    {func(in *policies.LifecycleInput) { in.OUPDays = 366 }, []string{"oup_too_long"}},
		"rup":    {func(in *policies.LifecycleInput) { in.OUPDays, in.RUPDays = 10, 1106 }, []string{"rup_too_long"}},
		"short":  {func(in *policies.LifecycleInput) { in.OUPDays, in.RUPDays = 10, 9 }, []string{"rup_too_short"}},
		"rotate": {func(in *policies.LifecycleInput) { in.OUPDays, in.RotateDays = 10, 11 }, []string{"rotation_too_late"}},
		"review": {func(in *policies.LifecycleInput) { in.ReviewDays = 31 }, []string{"review_too_late"}},
		"type":   {func(in *policies.LifecycleInput) { in.Type = "rsa" }, []string{"type_unknown"}},
		"class":  {func(in *policies.LifecycleInput) { in.Classification = "" }, []string{"class_unknown"}},
	} {
		in := base
		c.change(&in)
		d, err := e.Lifecycle(context.Background(), in)
		require.NoError(t, err, name)
		require.Equal(t, c.want, codes(d.Reasons), name)
		require.False(t, d.Allow, name)
	}
	in := base
	in.RotateDays = -1
	_, err = e.Lifecycle(context.Background(), in)
	require.ErrorIs(t, err, policies.ErrInput)
}
