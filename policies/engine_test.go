package policies_test

import (
	"context"
	"io/fs"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"conclave/policies"
)

// now is the fixed time of these tests.
func now() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

// embedded is the program's bundle, compiled once: an engine is immutable but for the answers that it keeps.
var embedded = sync.OnceValues(func() (*policies.Engine, error) {
	return policies.New(context.Background(), policies.Options{Timeout: 10 * time.Second})
})

func engine(t testing.TB) *policies.Engine {
	t.Helper()
	e, err := embedded()
	require.NoError(t, err)
	return e
}

// bundleWith is the embedded bundle with some files replaced; an empty text removes the file.
func bundleWith(t testing.TB, replace map[string]string) fs.FS {
	t.Helper()
	out := fstest.MapFS{}
	require.NoError(t, fs.WalkDir(policies.Bundle(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(policies.Bundle(), name)
		out[name] = &fstest.MapFile{Data: content}
		return err
	}))
	for name, text := range replace {
		delete(out, name)
		if text != "" {
			out[name] = &fstest.MapFile{Data: []byte(text)}
		}
	}
	return out
}

func codes(reasons []policies.Reason) []string {
	out := make([]string, 0, len(reasons))
	for _, r := range reasons {
		out = append(out, r.Code)
	}
	return out
}

// call is an input that is allowed.
func call(operation string) policies.AuthoriseInput {
	version := policies.VersionFacts{
		Number: 3, State: "active", ActivationAt: now().AddDate(0, 0, -10),
		OUPEnd: now().AddDate(0, 6, 0), RUPEnd: now().AddDate(3, 0, 0),
	}
	in := policies.AuthoriseInput{
		Now: now(), Mode: policies.Production, Operation: operation,
		Principal: policies.Principal{
			Kind: "application", ID: "billing", Status: "active", Environment: "production",
			CredentialExpiresAt: now().Add(24 * time.Hour),
		},
		Key: &policies.KeyFacts{
			ID: "cards", Type: "symmetric-data-encryption", Classification: "cardholder-data", Impact: "moderate",
			Jurisdiction: "EU", Environment: "production", Owner: "ada", Keystore: "main",
		},
		Version:  &version,
		Keystore: &policies.KeystoreState{ID: "main", Environment: "production", Active: true},
		Grant: &policies.GrantFacts{
			ID: "g1", Operations: []string{"datakey", "encrypt", "decrypt", "rewrap"},
			Context: map[string]string{"tenant": "north"}, ExpiresAt: now().AddDate(0, 1, 0),
		},
		Context:      map[string]string{"tenant": "north", "file": "a"},
		ProtectedAt:  now().AddDate(0, 0, -5),
		PayloadBytes: 32,
	}
	if operation == "rewrap" {
		onto := version
		onto.Number = 4
		in.Onto = &onto
	}
	return in
}
