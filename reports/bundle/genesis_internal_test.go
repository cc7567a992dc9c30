package bundle

import (
	"testing"

	"github.com/stretchr/testify/require"
)

const oneKey = `{crv: Ed25519, kty: OKP, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}`

func TestGenesisKeysAreReadStrictly(t *testing.T) {
	t.Parallel()
	const good = "mode: production\npeople:\n  - {id: ada, approval_key: " + oneKey + "}\n"
	keys, err := genesisKeys([]byte(good), "production")
	require.NoError(t, err)
	require.Equal(t, "ada", keys["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"].person)
	for name, bad := range map[string]string{
		"another mode": "mode: development\npeople:\n  - {id: ada, approval_key: " + oneKey + "}\n",
		"no people":    "mode: production\n",
		"no key":       "mode: production\npeople:\n  - {id: ada}\n",
		"no name":      "mode: production\npeople:\n  - {approval_key: " + oneKey + "}\n",
		"key twice":    good + "  - {id: ben, approval_key: " + oneKey + "}\n",
		"too long":     good + "# " + string(make([]byte, maxGenesis)),
		"not YAML":     "{",
		"said twice":   "mode: production\n" + good,
	} {
		_, err := genesisKeys([]byte(bad), "production")
		require.Error(t, err, name)
	}
}

func FuzzGenesisKeys(f *testing.F) {
	f.Add([]byte("mode: production\npeople:\n  - {id: ada, approval_key: " + oneKey + "}\n"))
	f.Add([]byte("a: &a [*a]\npeople: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := genesisKeys(data, "production")
		for id, k := range keys {
			if err != nil || k.key.ID != id || k.person == "" {
				t.Fatal("a key without a person, or under another id")
			}
		}
	})
}
