package custodian_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/custodiantest"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// A stored bundle decides from the commit that puts it in force, and after a restart; entries name it.
func TestBundleInForceDecides(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	mustUse(t, c, dataKey(custodiantest.KeyID))
	first := c.Service.Policies().Digest()
	no := custodiantest.DenyAll(t)
	c.PutBundle(t, no)
	mustUse(t, c, dataKey(custodiantest.KeyID)) // stored is not in force
	c.PutInForce(t, no.Digest())

	denied := func() {
		t.Helper()
		used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
		requireDenied(t, "no", used, err)
		require.Equal(t, custodian.PolicyMark(no.Digest()), last(t, c).Policy)
		require.Equal(t, no.Digest(), c.Service.Policies().Digest())
	}
	denied()
	c.Restart(t)
	c.Activate(t)
	denied()

	history := custodian.PolicyHistory(c.View())
	require.Len(t, history, 2)
	require.Equal(t, first, history[0].Digest, "the bundle before is kept, although genesis stored none")
	require.NotNil(t, history[0].Until)
	require.Nil(t, history[1].Until)
	require.Equal(t, first, custodian.PolicyOfMark(c.View(), custodian.PolicyMark(first)))
	c.PutInForce(t, first)
	mustUse(t, c, dataKey(custodiantest.KeyID))
	require.EqualValues(t, 3, custodian.PolicyHistory(c.View())[2].Number)
}

// A program that carries another bundle goes on with the stored one.
func TestUpgradeKeepsTheBundleInForce(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	before := c.Service.Policies()
	other, err := before.With(context.Background(), custodiantest.DenyAll(t))
	require.NoError(t, err)
	upgraded := func() (*custodian.Service, error) {
		return custodian.New(context.Background(), custodian.Config{Store: c.Store, Policies: other, Node: "n", AuditKey: c.AuditKey, Clock: c.Clock})
	}
	_, err = upgraded()
	var mismatch *custodian.PolicyMismatch
	require.ErrorAs(t, err, &mismatch, "an instance that stored no bundle needs a program that carries it")

	c.PutBundle(t, before.Files())
	s, err := upgraded()
	require.NoError(t, err)
	require.Equal(t, before.Digest(), s.Policies().Digest())
	require.NoError(t, s.Policies().Problem())
	require.Equal(t, other.Digest(), s.CarriedPolicies().Digest())
}

// Rows of the bundle in force that were edited by hand refuse everything but what restores an earlier policy.
func TestInvariant08_EditedBundleIsNotUsed(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	db := intruder(t, c)
	c.PutBundle(t, c.Service.Policies().Files())
	c.PutInForce(t, c.Service.Policies().Digest())
	mustUse(t, c, dataKey(custodiantest.KeyID))
	whole := t // what is opened again is open until its end
	for _, kind := range []store.Kind{custodian.KindPolicy, custodian.KindPolicyBundle, custodian.KindPolicyFiles} {
		t.Run(string(kind), func(t *testing.T) {
			var body []byte
			require.NoError(t, db.QueryRow(`SELECT body FROM authority_rows WHERE kind = ?`, string(kind)).Scan(&body))
			write := func(body []byte) {
				_, err := db.Exec(`UPDATE authority_rows SET body = ? WHERE kind = ?`, body, string(kind))
				require.NoError(t, err)
				_, err = c.Store.Integrity(ctx)
				require.NoError(t, err)
			}
			write(append([]byte(`{"digest":"x",`), body[1:]...))
			used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
			requireDenied(t, "integrity", used, err)
			err = c.Read(ctx, human("demo-ada"), "key.read", ledger.Target{Type: "key", ID: custodiantest.KeyID})
			requireDenied(t, "integrity", custodian.Used{}, err)
			require.ErrorIs(t, c.Service.Policies().Problem(), policies.ErrPolicy)
			for _, operation := range []string{"ceremony.read", "policy.read", "status.read"} {
				require.NoError(t, c.Read(ctx, human("demo-ada"), operation, ledger.Target{Type: "x", ID: "y"}), operation)
			}
			require.NoError(t, c.Read(ctx, human("demo-ada"), "people.read", ledger.Target{Type: "share", ID: "demo-ada"}))
			requireDenied(t, "integrity", custodian.Used{}, c.Read(ctx, human("demo-ada"), "people.read", ledger.Target{Type: "share", ID: "demo-ben"}))
			requireDenied(t, "integrity", custodian.Used{}, c.Read(ctx, c.App, "policy.read", ledger.Target{Type: "policy", ID: "all"}))

			// A process that starts now starts, refuses, and goes on when the row is put right.
			c.Restart(whole)
			c.Activate(t)
			used, err = c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
			requireDenied(t, "integrity", used, err)
			write(body)
			mustUse(t, c, dataKey(custodiantest.KeyID))
		})
	}
}

// A bundle that is stored by halves, or that this program cannot compile, is no bundle.
func TestStoredBundleThatCannotBeUsed(t *testing.T) {
	c := custodiantest.New(t, custodiantest.Options{})
	ctx := context.Background()
	broken := custodiantest.Bundle(t, map[string]string{"rules/x/x.rego": "package x\n\ndeny if nowhere.to_be(found)\n"})
	c.PutBundle(t, broken)
	c.PutInForce(t, broken.Digest())
	for range 2 {
		used, err := c.Use(ctx, c.App, dataKey(custodiantest.KeyID))
		requireDenied(t, "policy_error", used, err)
	}
	require.ErrorIs(t, c.Service.Policies().Problem(), policies.ErrBundle)
	c.Restart(t)
	require.ErrorIs(t, c.Service.Policies().Problem(), policies.ErrBundle)

	_, err := c.Store.Control(ctx, func(tx *store.Tx) error {
		err := custodian.PutPolicyBundle(tx, custodian.PolicyBundle{Digest: "abcd"}, broken)
		require.ErrorContains(t, err, "digest")
		return errors.New("nothing")
	})
	require.ErrorContains(t, err, "nothing")
}
