package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"

	"github.com/go-json-experiment/json"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// Signer signs with the node key.
type Signer interface {
	// KeyID is the RFC 7638 thumbprint of the public key.
	KeyID() string
	// SignMessage signs message (not a digest) and returns 64 raw bytes: r and s of ECDSA P-256 with SHA-256
	// (RFC 7518 section 3.4), or Ed25519 (RFC 8032).
	SignMessage(message []byte) ([]byte, error)
}

// signatureBytes is the length of both kinds of signature.
const signatureBytes = 64

// sign wraps a payload in a DSSE envelope with one signature.
func sign(signer Signer, payload []byte) ([]byte, error) {
	signature, err := signer.SignMessage(dsse.PAE(PayloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("signing manifest: %w", err)
	}
	return canonical(dsse.Envelope{
		PayloadType: PayloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []dsse.Signature{{KeyID: signer.KeyID(), Sig: base64.StdEncoding.EncodeToString(signature)}},
	})
}

// openEnvelope returns payload and signature of an envelope with exactly one signature. Nothing of it is to be
// believed before checkSignature.
func openEnvelope(data []byte) (payload, signature []byte, err error) {
	var e dsse.Envelope
	if err := json.Unmarshal(data, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if e.PayloadType != PayloadType {
		return nil, nil, fmt.Errorf("%w: payload type %q, must be %q", ErrSignature, e.PayloadType, PayloadType)
	}
	if len(e.Signatures) != 1 {
		return nil, nil, fmt.Errorf("%w: %d signatures, must be one", ErrSignature, len(e.Signatures))
	}
	if payload, err = base64.StdEncoding.Strict().DecodeString(e.Payload); err != nil {
		return nil, nil, fmt.Errorf("%w: payload is not base64", ErrSignature)
	}
	if signature, err = base64.StdEncoding.Strict().DecodeString(e.Signatures[0].Sig); err != nil {
		return nil, nil, fmt.Errorf("%w: signature is not base64", ErrSignature)
	}
	return payload, signature, nil
}

// verifies checks a signature over a payload with one public key.
func verifies(key crypto.PublicKey, payload, signature []byte) bool {
	if len(signature) != signatureBytes {
		return false
	}
	message := dsse.PAE(PayloadType, payload)
	switch k := key.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(k, message, signature)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		r := new(big.Int).SetBytes(signature[:signatureBytes/2])
		s := new(big.Int).SetBytes(signature[signatureBytes/2:])
		return ecdsa.Verify(k, digest[:], r, s)
	}
	return false
}
