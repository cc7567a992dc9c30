package soft

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

// RFC 4231, test cases 1 and 2: HMAC with SHA-256, SHA-384 and SHA-512.
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
		{hex.EncodeToString([]byte("Jefe")), hex.EncodeToString([]byte("what do ya want for nothing?")), map[hsm.Spec]string{
			hsm.HMACSHA256: "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
			hsm.HMACSHA384: "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
			hsm.HMACSHA512: "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		}},
	} {
		for spec, want := range example.macs {
			require.Equal(t, want, hex.EncodeToString(appendHMAC(nil, spec, unhex(t, example.key), unhex(t, example.message))), spec)
		}
	}
}
