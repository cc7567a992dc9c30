package soft

import (
	"crypto/aes"
	"encoding/hex"
	"fmt"
	"strings"

	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

// checkValueBytes is the length of a check value: the leftmost 5 bytes of the CMAC, as ANSI X9.24-1
// has it for AES keys, and the same of what stands for it with other keys.
const checkValueBytes = 5

// checkValue is the check value that hsm.Material describes, in upper-case hexadecimal: for AES the CMAC
// (SP 800-38B) of one block of zeros, for HMAC the MAC of a label, for pairs the hash of the public half.
func checkValue(spec hsm.Spec, key *secret.Bytes) (string, error) {
	var value string
	err := key.Use(func(k []byte) (err error) {
		value, err = checkValueOf(spec, k)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("computing the check value: %w", err)
	}
	return value, nil
}

func checkValueOf(spec hsm.Spec, key []byte) (string, error) {
	var full []byte
	switch spec.Kind() {
	case hsm.Seals:
		tag, err := cmac(key, make([]byte, aes.BlockSize))
		if err != nil {
			return "", err
		}
		full = tag[:]
	case hsm.MACs:
		full = appendHMAC(nil, spec, key, []byte(hsm.CheckLabel))
	default:
		private, err := keypair.ParsePrivate(spec, key)
		if err != nil {
			return "", err
		}
		public, err := private.Public()
		if err != nil {
			return "", err
		}
		return keypair.CheckValue(public), nil
	}
	return strings.ToUpper(hex.EncodeToString(full[:checkValueBytes])), nil
}
