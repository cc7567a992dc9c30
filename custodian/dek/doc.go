// Package dek is the hot path: generate, wrap, unwrap, rewrap, sign, MAC and verify. It also owns the self-describing
// ciphertext that applications store; docs/wire-formats.md gives its bytes.
package dek
