package custodiantest

import (
	"context"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/custodian"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// Bundle is the program's bundle, without its tests, with some files replaced; an empty text removes a file.
func Bundle(t testing.TB, replace map[string]string) policies.Files {
	t.Helper()
	carried, err := policies.FilesOf(policies.Bundle())
	require.NoError(t, err)
	files := maps.Clone(carried.Deciding())
	for name, text := range replace {
		delete(files, name)
		if text != "" {
			files[name] = []byte(text)
		}
	}
	return files
}

// DenyAll is a bundle that compiles, answers every question, and says no to each.
func DenyAll(t testing.TB) policies.Files {
	t.Helper()
	const denies = "# METADATA\n# title: No\npackage conclave.rules.%POINT%.no\n\nimport data.conclave.lib.reason\n\n" +
		"# METADATA\n# scope: rule\n# title: No\n# description: Nothing is allowed.\n# custom:\n#   id: %POINT%.no\n#   code: no\n#   controls:\n#     - pci-dss-4.0.1:3.7.6\n" +
		"deny contains reason.new(rego.metadata.rule(), \"nothing is allowed\", \"nothing\")\n"
	replace := map[string]string{}
	for _, point := range []string{"authorise", "quorum"} {
		replace["rules/"+point+"_no/no.rego"] = strings.ReplaceAll(denies, "%POINT%", point)
	}
	return Bundle(t, replace)
}

// PutBundle stores a bundle, as handing it in does.
func (c *Custodian) PutBundle(t testing.TB, files policies.Files) {
	t.Helper()
	_, err := c.Store.Control(context.Background(), func(tx *store.Tx) error {
		record := custodian.PolicyBundle{Digest: files.Digest(), Name: "demo", AddedBy: "demo-ada", AddedAt: tx.Now()}
		if err := custodian.PutPolicyBundle(tx, record, files); err != nil {
			return err
		}
		return tx.Append(entry("demo.put", ledger.Target{Type: "policy", ID: record.Digest}))
	})
	require.NoError(t, err)
}

// PutInForce makes a stored bundle the one in force, in a change of its own.
func (c *Custodian) PutInForce(t testing.TB, digest string) store.Receipt {
	t.Helper()
	before := c.Service.Policies()
	receipt, err := c.Store.Control(context.Background(), func(tx *store.Tx) error { return InForce(tx, digest, before) })
	require.NoError(t, err)
	return receipt
}

// InForce is PutInForce inside a change.
func InForce(tx *store.Tx, digest string, before *policies.Engine) error {
	if err := custodian.PutInForce(tx, digest, "demo", "policy.activate", before); err != nil {
		return err
	}
	return tx.Append(entry("policy.activate", ledger.Target{Type: "policy", ID: digest}))
}
