package genesis_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm/soft"
)

// cast is the demo people with their key files.
type cast struct {
	file    *genesis.File
	signers map[string]*keyfile.Signer
}

func newCast(t *testing.T) *cast {
	t.Helper()
	c := &cast{signers: map[string]*keyfile.Signer{}, file: &genesis.File{Version: 1, Name: "Demo", Mode: custodian.Development,
		PolicyDigest: strings.Repeat("ab", 32), Attestation: genesis.Attestation{FingerprintsCompared: "not-compared", By: "demo-a", At: custodiantest.Start()}}}
	var holders []string
	for i, id := range []string{"demo-a", "demo-b", "demo-c", "demo-d", "demo-e"} {
		alg := []string{"ES256", "EdDSA"}[i%2]
		s, err := keyfile.Generate(id, alg)
		require.NoError(t, err)
		c.signers[id] = s
		public := s.Public()
		roles := []people.Role{people.RoleCustodian, people.RoleKeyManager}
		if i < 2 {
			roles = append(roles, people.RoleSecurityOfficer)
		}
		c.file.People = append(c.file.People, genesis.Person{ID: id, Name: "Demo " + id, Roles: roles, Team: "red", Site: "north",
			ApprovalKey: public.ApprovalKey, ShareKey: &public.ShareKey})
		holders = append(holders, id)
	}
	c.file.Keystores = []genesis.Keystore{{ID: "soft", Driver: "software", Jurisdiction: "EU", Environment: "production", Location: "rack 1",
		Controller: "demo-a", ShareSet: genesis.ShareSet{ID: "soft-shares", Threshold: 3, Holders: holders}}}
	return c
}

func (c *cast) sign(t *testing.T, file []byte) [][]byte {
	t.Helper()
	var envelopes [][]byte
	for _, s := range c.signers {
		envelope, err := genesis.Sign(s, file)
		require.NoError(t, err)
		envelopes = append(envelopes, envelope)
	}
	return envelopes
}

func TestGenesisFromFileToShares(t *testing.T) {
	c := newCast(t)
	file, err := c.file.Encode()
	require.NoError(t, err)
	begin, err := genesis.Prepare(file, c.sign(t, file), custodian.Node{ID: "node-1", PublicKey: []byte("{}")}, custodiantest.Start())
	require.NoError(t, err)
	require.Equal(t, genesis.Digest(file), begin.Instance().ID)

	dir := t.TempDir()
	origin, err := ledger.Origin(begin.Instance().ID)
	require.NoError(t, err)
	logKey, err := ledger.GenerateLogKey(filepath.Join(dir, "log.key"), origin)
	require.NoError(t, err)
	cfg := store.Config{Driver: store.SQLite, DSN: filepath.Join(dir, "db"), Schema: custodian.Schema(), LogKey: logKey,
		Clock: custodiantest.NewClock(), Node: "node-1"}
	ctx := context.Background()
	require.NoError(t, store.Initialise(ctx, cfg, begin.Apply))
	require.ErrorIs(t, store.Initialise(ctx, cfg, begin.Apply), store.ErrInitialised)
	s, err := store.Open(ctx, cfg)
	require.NoError(t, err)
	defer s.Close()
	view := s.View()

	ks, _, err := store.Get[struct{}](view, custodian.KindKeystore, "soft")
	require.Nil(t, ks)
	require.Error(t, err, "another type than stored is refused")
	_, first, err := s.EntryAt(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, "genesis", first.Type)
	require.Equal(t, begin.Instance().ID, first.Target.ID)

	// Three holders open their shares with their own keys; together they open the keystore.
	set, _, err := store.Get[people.ShareSet](view, custodian.KindShareSet, "soft-shares")
	require.NoError(t, err)
	register := shamir.Register{Set: shamir.Set{ID: set.ID, Epoch: set.Epoch}, Threshold: set.Threshold, Commitments: map[int][]byte{}}
	var shares []*shamir.Share
	for _, row := range store.All[people.Share](view, custodian.KindShare) {
		register.Commitments[row.Index] = row.Commitment
		share, err := c.signers[row.Custodian].OpenShare(row.Sealed)
		require.NoError(t, err)
		shares = append(shares, share)
	}
	require.Len(t, shares, 5)
	activation, err := shamir.Combine(register, shares[1:4])
	require.NoError(t, err)
	var verifier []byte
	for _, row := range store.All[key.Keystore](view, custodian.KindKeystore) {
		verifier = row.Verifier
	}
	driver, err := soft.New(soft.Config{ID: "soft", Verifier: verifier})
	require.NoError(t, err)
	require.NoError(t, driver.Activate(ctx, activation))
}

func TestGenesisNeedsEverySignature(t *testing.T) {
	c := newCast(t)
	file, err := c.file.Encode()
	require.NoError(t, err)
	all := c.sign(t, file)

	_, err = genesis.Check(file, all[:4])
	require.ErrorIs(t, err, genesis.ErrUnsigned)

	changed := []byte(strings.Replace(string(file), "threshold: 3", "threshold: 4", 1))
	_, err = genesis.Check(changed, all)
	require.ErrorIs(t, err, genesis.ErrUnsigned, "a signature covers these bytes and no others")

	stranger, err := keyfile.Generate("demo-x", "ES256")
	require.NoError(t, err)
	_, err = genesis.Sign(stranger, file)
	require.ErrorContains(t, err, "not named")
	impostor, err := keyfile.Generate("demo-a", "ES256")
	require.NoError(t, err)
	_, err = genesis.Sign(impostor, file)
	require.ErrorContains(t, err, "approval_key")
}

func TestGenesisNamesTheBadField(t *testing.T) {
	cases := map[string]struct {
		change func(f *genesis.File)
		names  string
	}{
		"mode":                    {func(f *genesis.File) { f.Mode = "test" }, "mode"},
		"digest":                  {func(f *genesis.File) { f.PolicyDigest = "ab" }, "policy_digest"},
		"production not compared": {func(f *genesis.File) { f.Mode = custodian.Production }, "fingerprints_compared"},
		"attested by nobody":      {func(f *genesis.File) { f.Attestation.By = "x" }, "attestation.by"},
		"person twice":            {func(f *genesis.File) { f.People[1].ID = f.People[0].ID }, "people[1].id"},
		"key twice":               {func(f *genesis.File) { f.People[1].ApprovalKey = f.People[0].ApprovalKey }, "people[1]"},
		"threshold all":           {func(f *genesis.File) { f.Keystores[0].ShareSet.Threshold = 5 }, "threshold"},
		"threshold one":           {func(f *genesis.File) { f.Keystores[0].ShareSet.Threshold = 1 }, "threshold"},
		"holder twice":            {func(f *genesis.File) { f.Keystores[0].ShareSet.Holders[1] = "demo-a" }, "holders[1]"},
		"a line that opens it": {func(f *genesis.File) {
			for i := range f.Keystores[0].ShareSet.Threshold {
				f.People[i].Manager = "the chief"
			}
		}, "the reporting line of the chief"},
		"unknown driver": {func(f *genesis.File) { f.Keystores[0].Driver = "magic" }, "driver"},
		"one officer": {func(f *genesis.File) {
			f.People[1].Roles = []people.Role{people.RoleCustodian}
		}, "security officers"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCast(t)
			tc.change(c.file)
			file, err := c.file.Encode()
			require.NoError(t, err)
			_, err = genesis.Load(file)
			require.ErrorIs(t, err, genesis.ErrFile)
			require.ErrorContains(t, err, tc.names)
		})
	}
	for name, text := range map[string]string{
		"unknown key": "version: 1\nsurprise: true\n", "repeated key": "version: 1\nversion: 1\n", "not yaml": "\t{", "empty": "",
		"two documents": "version: 1\n---\nversion: 1\n",
	} {
		_, err := genesis.Load([]byte(text))
		require.ErrorIs(t, err, genesis.ErrFile, name)
	}
	_, err := genesis.Load(make([]byte, genesis.MaxFile+1))
	require.ErrorIs(t, err, genesis.ErrFile)
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("version: 1\nname: x\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if file, err := genesis.Load(data); err == nil && file.Validate() != nil {
			t.Fatal("Load accepted what Validate refuses")
		}
	})
}
