package jwk

import (
	"encoding/hex"
	"slices"
)

// weakEd25519 tells whether an Ed25519 public key is a point of small order. Such a key has no owner:
// signatures that verify under it can be made without any private key, and for many messages at once,
// so an approval would bind nobody. FIPS 186-5 makes keys that are never of this kind; RFC 8032 leaves
// the check to the application. Points are told by their y coordinate, in canonical and in non-canonical
// spelling; the sign bit does not matter.
func weakEd25519(point []byte) bool {
	smallOrder := []string{
		"0100000000000000000000000000000000000000000000000000000000000000", // order 1
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // order 2
		"0000000000000000000000000000000000000000000000000000000000000000", // order 4
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", // order 8
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", // order 8
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p, the same as 0
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // p + 1, the same as 1
	}
	y := slices.Clone(point)
	y[len(y)-1] &= 0x7f
	return slices.Contains(smallOrder, hex.EncodeToString(y))
}
