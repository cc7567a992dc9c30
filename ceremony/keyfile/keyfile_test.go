package keyfile_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian/dsse"
	"conclave/hsm/secret"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

const phrase = "correct horse battery"

func passphrase(text string) *secret.Bytes { return secret.New([]byte(text)) }

func generate(t testing.TB, alg string) *keyfile.Signer {
	t.Helper()
	s, err := keyfile.Generate("alice", alg)
	require.NoError(t, err)
	return s
}

func saved(t testing.TB, s *keyfile.Signer) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "alice.key")
	require.NoError(t, s.Save(path, passphrase(phrase), keyfile.SaveOptions{}))
	return path
}

func TestSaveAndOpen(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			s := generate(t, alg)
			path := saved(t, s)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			entries, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			require.Len(t, entries, 1, "nothing is left beside the file")

			owner, development, err := keyfile.Owner(path)
			require.NoError(t, err)
			require.Equal(t, "alice", owner)
			require.False(t, development)

			opened, err := keyfile.Open(path, passphrase(phrase))
			require.NoError(t, err)
			require.Equal(t, s.Public(), opened.Public())
			require.Equal(t, "alice", opened.ID())

			credential, err := s.Public().Credential(time.Unix(0, 0))
			require.NoError(t, err)
			envelope, err := opened.Sign(statement.TypeStatement, []byte(`{}`))
			require.NoError(t, err)
			payload, err := dsse.Verify(envelope, statement.TypeStatement, credential)
			require.NoError(t, err)
			require.Equal(t, `{}`, string(payload))

			raw, err := s.Public().ShareKey.JSON()
			require.NoError(t, err)
			shares, err := shamir.Split(secret.Random(32), 2, 3, shamir.Set{ID: "root", Epoch: 1})
			require.NoError(t, err)
			sealed, err := shamir.Seal(shares[2], shamir.Recipient{KeyID: s.Public().ShareKey.Kid, Key: raw})
			require.NoError(t, err)
			share, err := opened.OpenShare(sealed)
			require.NoError(t, err)
			require.Equal(t, 3, share.Index())

			opened.Wipe()
			_, err = opened.Sign(statement.TypeStatement, []byte(`{}`))
			require.ErrorIs(t, err, secret.ErrWiped)
			_, err = opened.OpenShare(sealed)
			require.ErrorIs(t, err, secret.ErrWiped)
		})
	}
}

// Any JOSE tool reads the file: here a library, with nothing of ours.
func TestFileIsPlainJOSE(t *testing.T) {
	s := generate(t, "ES256")
	raw, err := os.ReadFile(saved(t, s))
	require.NoError(t, err)
	object, err := jose.ParseEncryptedCompact(strings.TrimSpace(string(raw)),
		[]jose.KeyAlgorithm{jose.PBES2_HS512_A256KW}, []jose.ContentEncryption{jose.A256CBC_HS512})
	require.NoError(t, err)
	plain, err := object.Decrypt(phrase)
	require.NoError(t, err)
	var set jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(plain, &set))
	require.Len(t, set.Keys, 2)
	require.True(t, set.Keys[0].Valid() && !set.Keys[0].IsPublic())
	require.Equal(t, s.Public().ApprovalKey.Kid, set.Keys[0].KeyID)
	require.Equal(t, s.Public().ShareKey.Kid, set.Keys[1].KeyID)
}

func TestOpenRefuses(t *testing.T) {
	path := saved(t, generate(t, "EdDSA"))
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	text := strings.TrimSpace(string(good))
	protected, rest, _ := strings.Cut(text, ".")
	header, err := base64.RawURLEncoding.DecodeString(protected)
	require.NoError(t, err)
	edit := func(old, replacement string) string {
		changed := strings.Replace(string(header), old, replacement, 1)
		require.NotEqual(t, string(header), changed)
		return base64.RawURLEncoding.EncodeToString([]byte(changed)) + "." + rest
	}
	flip := func(at int) string {
		c := byte('A')
		if text[at] == c {
			c = 'B'
		}
		return text[:at] + string(c) + text[at+1:]
	}
	for name, c := range map[string]struct {
		content string
		want    error
	}{
		"empty":           {"", keyfile.ErrFile},
		"text":            {"-----BEGIN PRIVATE KEY-----", keyfile.ErrFile},
		"huge":            {strings.Repeat("A", 1<<20), keyfile.ErrFile},
		"few iterations":  {edit("210000", "1000"), keyfile.ErrFile},
		"many iterations": {edit("210000", "2000000000"), keyfile.ErrFile},
		"other custodian": {edit("alice", "mallo"), keyfile.ErrPassphrase},
		"made a demo":     {edit(`"development":false`, `"development":true`), keyfile.ErrPassphrase},
		"other algorithm": {edit("PBES2-HS512+A256KW", "PBES2-HS256+A128KW"), keyfile.ErrFile},
		"other type":      {edit("conclave-key-file", "JOSE"), keyfile.ErrFile},
		"odd custodian":   {edit("alice", "../a"), keyfile.ErrFile},
		"key altered":     {flip(len(protected) + 5), keyfile.ErrPassphrase},
		"content altered": {flip(len(text) - 100), keyfile.ErrPassphrase},
		"tag altered":     {flip(len(text) - 10), keyfile.ErrPassphrase},
	} {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.key")
			require.NoError(t, os.WriteFile(bad, []byte(c.content), 0o600))
			_, err := keyfile.Open(bad, passphrase(phrase))
			require.ErrorIs(t, err, c.want)
		})
	}
	t.Run("wrong passphrase", func(t *testing.T) {
		_, err := keyfile.Open(path, passphrase("correct horse batterx"))
		require.ErrorIs(t, err, keyfile.ErrPassphrase)
		_, err = keyfile.Open(path, passphrase(""))
		require.ErrorIs(t, err, keyfile.ErrPassphrase)
	})
	t.Run("missing", func(t *testing.T) {
		_, err := keyfile.Open(path+"x", passphrase(phrase))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("directory", func(t *testing.T) {
		_, err := keyfile.Open(t.TempDir(), passphrase(phrase))
		require.ErrorIs(t, err, keyfile.ErrFile)
	})
	t.Run("open to others", func(t *testing.T) {
		require.NoError(t, os.Chmod(path, 0o640))
		_, err := keyfile.Open(path, passphrase(phrase))
		require.ErrorIs(t, err, keyfile.ErrFilePermissions)
		_, _, err = keyfile.Owner(path)
		require.ErrorIs(t, err, keyfile.ErrFilePermissions)
	})
}

func TestSaveNeverOverwrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alice.key")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	err := generate(t, "EdDSA").Save(path, passphrase(phrase), keyfile.SaveOptions{})
	require.ErrorIs(t, err, keyfile.ErrExists)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(content))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestPassphraseRule(t *testing.T) {
	s := generate(t, "EdDSA")
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text        string
		development bool
		allowed     bool
	}{
		"eleven":                {"elevenchars", false, false},
		"eleven wide":           {"ééééééééééé", false, false},
		"twelve":                {"twelve chars", false, true},
		"empty":                 {"", false, false},
		"short in development":  {"demo", true, true},
		"empty in development":  {"", true, false},
		"not UTF-8":             {"\xff\xfe\xfd\xfc\xfb\xfa\xff\xff\xff\xff\xff\xff", false, false},
		"longer than any typed": {strings.Repeat("a", 1025), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			err := s.Save(path, passphrase(c.text), keyfile.SaveOptions{Development: c.development})
			if !c.allowed {
				require.ErrorIs(t, err, keyfile.ErrWeakPassphrase)
				require.NoFileExists(t, path)
				return
			}
			require.NoError(t, err)
			opened, err := keyfile.Open(path, passphrase(c.text))
			require.NoError(t, err)
			require.Equal(t, c.development, opened.Development())
			require.Equal(t, c.development, opened.Public().Development)
		})
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, id := range []string{"", "Alice", "-a", ".", "a/b", "a b", "é", strings.Repeat("a", 65)} {
		_, err := keyfile.Generate(id, "ES256")
		require.ErrorIs(t, err, keyfile.ErrID, id)
	}
	_, err := keyfile.Generate("alice", "RS256")
	require.ErrorIs(t, err, keyfile.ErrAlgorithm)
}

func TestPublicRoundTrip(t *testing.T) {
	p := generate(t, "ES256").Public()
	require.NoError(t, p.Check())
	require.Len(t, strings.Fields(p.ShareFingerprint), 16)
	asJSON, err := json.Marshal(p)
	require.NoError(t, err)
	var fromJSON keyfile.Public
	require.NoError(t, json.Unmarshal(asJSON, &fromJSON))
	require.Equal(t, p, fromJSON)
	asYAML, err := yaml.Marshal(p)
	require.NoError(t, err)
	var fromYAML keyfile.Public
	require.NoError(t, yaml.Unmarshal(asYAML, &fromYAML))
	require.Equal(t, p, fromYAML)
	require.NotContains(t, string(asJSON), `"d"`)
}

func TestPublicCheckNamesTheField(t *testing.T) {
	other := generate(t, "EdDSA").Public()
	for field, change := range map[string]func(*keyfile.Public){
		"id":                   func(p *keyfile.Public) { p.ID = "A" },
		"approval_key":         func(p *keyfile.Public) { p.ApprovalKey = p.ShareKey },
		"share_key":            func(p *keyfile.Public) { p.ShareKey = other.ApprovalKey },
		"approval_fingerprint": func(p *keyfile.Public) { p.ApprovalFingerprint = other.ApprovalFingerprint },
		"share_fingerprint":    func(p *keyfile.Public) { p.ShareFingerprint = "" },
	} {
		t.Run(field, func(t *testing.T) {
			p := generate(t, "ES256").Public()
			change(&p)
			require.ErrorContains(t, p.Check(), field+":")
		})
	}
	t.Run("one key for both", func(t *testing.T) {
		p := generate(t, "ES256").Public()
		p.ShareKey = p.ApprovalKey
		require.ErrorContains(t, p.Check(), "share_key:")
	})
}

func TestInvariant13_SignerDoesNotPrint(t *testing.T) {
	s := generate(t, "EdDSA")
	for _, verb := range []string{"%v", "%+v", "%s"} {
		require.Equal(t, "signer alice", fmt.Sprintf(verb, s))
	}
	raw, err := json.Marshal(map[string]any{"signer": s})
	require.NoError(t, err)
	require.Equal(t, `{"signer":{}}`, string(raw))
}

func FuzzOwner(f *testing.F) {
	s := generate(f, "EdDSA")
	good, err := os.ReadFile(saved(f, s))
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte("e30.e30.."))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := os.CreateTemp(dir, "fuzz")
		require.NoError(t, err)
		defer os.Remove(file.Name())
		_, err = file.Write(data)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		if owner, _, err := keyfile.Owner(file.Name()); err == nil {
			require.NotEmpty(t, owner)
		}
	})
}
