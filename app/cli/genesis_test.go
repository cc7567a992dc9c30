package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/app/cli"
	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/custodian/jwk"
	"conclave/hsm/secret"
)

// TestGenesisFromTheTemplate goes the way of the template: keys made and pasted, the file signed by everybody
// named in it, and checked.
func TestGenesisFromTheTemplate(t *testing.T) {
	dir := t.TempDir()
	phrase, file := filepath.Join(dir, "phrase"), filepath.Join(dir, "genesis.yaml")
	require.NoError(t, os.WriteFile(phrase, []byte("correct horse battery"), 0o600))
	r := run(t, "genesis", "template")
	require.Zero(t, r.code, r.err)

	signers := map[string]*keyfile.Signer{}
	text := regexp.MustCompile(`(APPROVAL|SHARE)-KEY-OF-([a-z]+)`).ReplaceAllStringFunc(r.out, func(found string) string {
		parts := regexp.MustCompile(`(APPROVAL|SHARE)-KEY-OF-([a-z]+)`).FindStringSubmatch(found)
		if signers[parts[2]] == nil {
			s, err := keyfile.Generate(parts[2], jwk.ES256)
			require.NoError(t, err)
			signers[parts[2]] = s
		}
		key := signers[parts[2]].Public().ApprovalKey
		if parts[1] == "SHARE" {
			key = signers[parts[2]].Public().ShareKey
		}
		raw, err := json.Marshal(key) // JSON is YAML
		require.NoError(t, err)
		return string(raw)
	})
	require.Len(t, signers, 6)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))

	check := func() result { return run(t, "genesis", "check", file, "--signatures", dir) }
	require.Equal(t, 2, check().code, "no signature yet")
	for id, s := range signers {
		key := filepath.Join(dir, id+".key")
		require.NoError(t, s.Save(key, secret.New([]byte("correct horse battery")), keyfile.SaveOptions{}))
		if id == "fatima" {
			continue
		}
		r := run(t, "genesis", "sign", file, "--key-file", key, "--passphrase-file", phrase, "--yes")
		require.Zero(t, r.code, r.err)
		require.Contains(t, r.err, "SHA-256")
	}
	require.Contains(t, check().err, "missing: fatima")
	sign := []string{"genesis", "sign", file, "--key-file", filepath.Join(dir, "fatima.key"), "--passphrase-file", phrase}
	require.Contains(t, run(t, sign...).err, "add --yes", "nobody signs unasked")
	require.Zero(t, run(t, append(sign, "--yes")...).code)
	r = check()
	require.Zero(t, r.code, r.err)
	require.Contains(t, r.out, "everybody named signed")
	require.NotZero(t, run(t, append(sign, "--yes")...).code, "a signature is never overwritten")

	require.NoError(t, os.WriteFile(file, append([]byte(text), "# one more word\n"...), 0o644))
	require.NotZero(t, check().code, "signatures cover the exact bytes")
}

// The template, filled with everybody's public keys, is a genesis file; unfilled it is not signed.
func TestGenesisFill(t *testing.T) {
	dir := t.TempDir()
	phrase, file := filepath.Join(dir, "phrase"), filepath.Join(dir, "genesis.yaml")
	require.NoError(t, os.WriteFile(phrase, []byte("correct horse battery"), 0o600))
	template := run(t, "genesis", "template")
	require.Zero(t, template.code)
	require.NoError(t, os.WriteFile(file, []byte(template.out), 0o600))

	fill := []string{"genesis", "fill", file}
	var key string
	for _, id := range []string{"alice", "bruno", "chen", "dana", "emil", "fatima"} {
		key = filepath.Join(dir, id+".key")
		made := run(t, "custodian", "keygen", "--id", id, "--out", key, "--output", "json", "--passphrase-file", phrase)
		require.Zero(t, made.code, made.err)
		public := filepath.Join(dir, id+".json")
		require.NoError(t, os.WriteFile(public, []byte(made.out), 0o600))
		fill = append(fill, public)
	}
	early := run(t, "genesis", "sign", "--yes", "--key-file", key, "--passphrase-file", phrase, file)
	require.Equal(t, cli.ExitUsage, early.code)
	require.Contains(t, early.err, "genesis fill")

	filled := run(t, fill...)
	require.Zero(t, filled.code, filled.err)
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	parsed, err := genesis.Load(data)
	require.NoError(t, err)
	require.Len(t, parsed.People, 6)
	require.NotNil(t, parsed.People[0].ShareKey)
	require.Nil(t, parsed.People[5].ShareKey, "who holds no share has no share key")

	again := run(t, fill...)
	require.Equal(t, cli.ExitUsage, again.code)
	require.Contains(t, again.err, "no place for alice")
	signed := run(t, "genesis", "sign", "--yes", "--key-file", key, "--passphrase-file", phrase, file)
	require.Zero(t, signed.code, signed.err)
}
