package checkvalue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// cmac is AES-CMAC (SP 800-38B section 6.2) of msg with a tag of one block.
func cmac(key, msg []byte) (tag [aes.BlockSize]byte, err error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return tag, err
	}
	k1, k2 := cmacSubkeys(block)
	for len(msg) > aes.BlockSize {
		subtle.XORBytes(tag[:], tag[:], msg[:aes.BlockSize])
		block.Encrypt(tag[:], tag[:])
		msg = msg[aes.BlockSize:]
	}
	var last [aes.BlockSize]byte
	copy(last[:], msg)
	if len(msg) == aes.BlockSize {
		subtle.XORBytes(last[:], last[:], k1[:])
	} else {
		last[len(msg)] = 0x80
		subtle.XORBytes(last[:], last[:], k2[:])
	}
	subtle.XORBytes(tag[:], tag[:], last[:])
	block.Encrypt(tag[:], tag[:])
	return tag, nil
}

// cmacSubkeys are K1 and K2 of SP 800-38B section 6.1.
func cmacSubkeys(block cipher.Block) (k1, k2 [aes.BlockSize]byte) {
	var zero [aes.BlockSize]byte
	block.Encrypt(k1[:], zero[:])
	k1 = double(k1)
	return k1, double(k1)
}

// double multiplies by x in GF(2^128); 0x87 is R_128 of SP 800-38B section 5.3. Constant time.
func double(b [aes.BlockSize]byte) (out [aes.BlockSize]byte) {
	var carry byte
	for i := aes.BlockSize - 1; i >= 0; i-- {
		out[i] = b[i]<<1 | carry
		carry = b[i] >> 7
	}
	out[aes.BlockSize-1] ^= 0x87 & -carry
	return out
}
