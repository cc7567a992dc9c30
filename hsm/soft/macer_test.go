package soft

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

// RFC 4231, test cases 1 and 3 (the key of case 2 is shorter than approved): HMAC with SHA-256, SHA-384 and SHA-512.
func TestHMACExamplesOfRFC4231(t *testing.T) {
	for _, example := range []struct {
		key, message string
		macs         map[hsm.Spec]string
	}{
		{"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", hex.EncodeToString([]byte("Hi There")), map[hsm.Spec]string{
			hsm.HMACSHA256: "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
			hsm.HMACSHA384: "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
			hsm.HMACSHA512: "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
		}},
		{strings.Repeat("aa", 20), strings.Repeat("dd", 50), map[hsm.Spec]string{
			hsm.HMACSHA256: "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
			hsm.HMACSHA384: "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
			hsm.HMACSHA512: "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
		}},
	} {
		for spec, want := range example.macs {
			require.Equal(t, want, hex.EncodeToString(appendHMAC(nil, spec, decodeHex(t, example.key), decodeHex(t, example.message))), spec)
		}
	}
}

func decodeHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}
