package checkvalue

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/secret"
)

// The examples of SP 800-38B appendix D (as republished with the AES-CMAC examples of NIST's
// cryptographic toolkit): one message, four lengths of it, three key sizes.
func TestCMACExamplesOfSP80038B(t *testing.T) {
	message := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"+
		"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710")
	for _, example := range []struct {
		name, key string
		tags      map[int]string // by message length in bytes
	}{
		{"AES-128", "2b7e151628aed2a6abf7158809cf4f3c", map[int]string{
			0:  "bb1d6929e95937287fa37d129b756746",
			16: "070a16b46b4d4144f79bdd9dd04a287c",
			40: "dfa66747de9ae63030ca32611497c827",
			64: "51f0bebf7e3b9d92fc49741779363cfe",
		}},
		{"AES-192", "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b", map[int]string{
			0:  "d17ddf46adaacde531cac483de7a9367",
			16: "9e99a7bf31e710900662f65e617c5184",
			40: "8a1de5be2eb31aad089a82e6ee908b0e",
			64: "a1d5df0eed790f794d77589659f39a11",
		}},
		{"AES-256", "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", map[int]string{
			0:  "028962f61b7bf89efc6b551f4667d983",
			16: "28a7023f452e8f82bd4bf28d8c37c35c",
			40: "aaf3d8f1de5640c232f5b169b9c911e6",
			64: "e1992190549f6ed5696a2c056c315410",
		}},
	} {
		t.Run(example.name, func(t *testing.T) {
			for length, want := range example.tags {
				tag, err := cmac(unhex(t, example.key), message[:length])
				require.NoError(t, err)
				require.Equal(t, want, hex.EncodeToString(tag[:]), "message of %d bytes", length)
			}
		})
	}
}

func TestCMACRefusesKeyOfWrongLength(t *testing.T) {
	_, err := cmac(make([]byte, 15), nil)
	require.Error(t, err)
}

func TestCheckValueIsLeftmostFiveBytes(t *testing.T) {
	key := secret.New(unhex(t, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"))
	value, err := Of(hsm.AES256, key)
	require.NoError(t, err)
	tag, err := cmac(unhex(t, "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"), make([]byte, 16))
	require.NoError(t, err)
	require.Regexp(t, `^[0-9A-F]{10}$`, value)
	require.Equal(t, unhex(t, value), tag[:5])

	key.Wipe()
	_, err = Of(hsm.AES256, key)
	require.ErrorIs(t, err, secret.ErrWiped)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	require.NoError(t, err)
	return b
}

func TestParseAndMatch(t *testing.T) {
	for text, want := range map[string]string{"ab12cd": "AB12CD", " AB 12 cd 34 EF ": "AB12CD34EF"} {
		got, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "ab12", "ab12c", "ab12cd34ef01", "xy12cd", "ab-12-cd"} {
		_, err := Parse(text)
		require.ErrorIs(t, err, hsm.ErrInvalid, text)
	}
	require.True(t, Match("AB12CD34EF", "AB12CD34EF"))
	require.True(t, Match("AB12CD34EF", "AB12CD"))
	for _, other := range []string{"", "AB12", "AB12CE", "12CD34EF", "AB12CD34EF00"} {
		require.False(t, Match("AB12CD34EF", other), other)
	}
}
