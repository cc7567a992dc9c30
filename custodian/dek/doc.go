// Package dek is the hot path: generate, wrap, unwrap, rewrap. It also owns the self-describing
// ciphertext that applications store; docs/wire-formats.md gives its bytes.
package dek
