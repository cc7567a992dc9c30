// Package dsse signs and verifies envelopes (Dead Simple Signing Envelope v1) with the credentials of people and
// nodes. The payload type is part of what is signed, so that a signature made for one purpose is worth nothing
// for another. docs/statement-format.md, section 3.
package dsse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"conclave/custodian/people"
	"conclave/custodian/strictjson"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	spec "github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// MaxPayload is how many bytes a payload has at most where nothing else is said.
const MaxPayload = strictjson.MaxBytes

// envelopeBytes holds a payload of so many bytes in base64, its signature and names.
func envelopeBytes(payload int) int { return payload/3*4 + 4096 }

// Reasons why an envelope or its signature is refused.
var (
	ErrEnvelope          = errors.New("malformed envelope")
	ErrPayloadType       = errors.New("envelope is of another payload type")
	ErrOtherCredential   = errors.New("envelope is signed by another credential")
	ErrRevokedCredential = errors.New("credential is revoked")
	ErrSignature         = errors.New("signature does not verify")
)

// Envelope is a parsed DSSE envelope (Dead Simple Signing Envelope v1) with exactly one signature. Its
// payload is not to be believed before Verify.
type Envelope struct {
	payloadType string
	keyID       string
	payload     []byte
	signature   []byte
}

// Parse reads an envelope strictly, with a payload of at most MaxPayload bytes. It checks form, not the signature.
func Parse(data []byte) (*Envelope, error) { return ParseUpTo(data, MaxPayload) }

// ParseUpTo is Parse for payloads of at most so many bytes.
func ParseUpTo(data []byte, most int) (*Envelope, error) {
	if err := strictjson.Check(data, envelopeBytes(most)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	var raw spec.Envelope
	if err := json.Unmarshal(data, &raw, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if len(raw.Signatures) != 1 {
		return nil, fmt.Errorf("%w: signatures: %d given, exactly one is allowed", ErrEnvelope, len(raw.Signatures))
	}
	if raw.PayloadType == "" {
		return nil, fmt.Errorf("%w: payloadType: missing", ErrEnvelope)
	}
	e := &Envelope{payloadType: raw.PayloadType, keyID: raw.Signatures[0].KeyID}
	if e.keyID == "" {
		return nil, fmt.Errorf("%w: keyid: missing", ErrEnvelope)
	}
	var err error
	if e.payload, err = decode64("payload", raw.Payload); err != nil {
		return nil, err
	}
	if len(e.payload) > most {
		return nil, fmt.Errorf("%w: payload: %w: %d bytes, at most %d are allowed", ErrEnvelope, strictjson.ErrTooLarge, len(e.payload), most)
	}
	if e.signature, err = decode64("sig", raw.Signatures[0].Sig); err != nil {
		return nil, err
	}
	return e, nil
}

// KeyID names the credential that claims to have signed: use it to find the credential, nothing more.
func (e *Envelope) KeyID() string { return e.keyID }

// PayloadType is the type the envelope claims.
func (e *Envelope) PayloadType() string { return e.payloadType }

// UnverifiedPayload is the payload before any check of the signature: for finding the credential to
// check with and for showing a refused document, never for acting on it.
func (e *Envelope) UnverifiedPayload() []byte { return bytes.Clone(e.payload) }

// Verify checks type, credential and signature and returns the exact bytes that were signed.
func (e *Envelope) Verify(payloadType string, credential people.Credential) ([]byte, error) {
	if e.payloadType != payloadType {
		return nil, fmt.Errorf("%w: %.40q, wanted %q", ErrPayloadType, e.payloadType, payloadType)
	}
	if e.keyID != credential.ID {
		return nil, fmt.Errorf("%w: %.40q, wanted %q", ErrOtherCredential, e.keyID, credential.ID)
	}
	if credential.Revoked {
		return nil, fmt.Errorf("%w: %s", ErrRevokedCredential, credential.ID)
	}
	if err := VerifyMessage(credential, spec.PAE(e.payloadType, e.payload), e.signature); err != nil {
		return nil, err
	}
	return bytes.Clone(e.payload), nil
}

// Verify parses an envelope and checks it against a credential: see Envelope.Verify.
func Verify(envelope []byte, payloadType string, credential people.Credential) ([]byte, error) {
	e, err := Parse(envelope)
	if err != nil {
		return nil, err
	}
	return e.Verify(payloadType, credential)
}

// Sign wraps payload in an envelope with one signature over its pre-authentication encoding (PAE), which
// covers the payload type. The envelope is canonical JSON. payload has at most MaxPayload bytes.
func Sign(signer Signer, payloadType string, payload []byte) ([]byte, error) {
	return SignUpTo(signer, payloadType, payload, MaxPayload)
}

// SignUpTo is Sign for payloads of at most so many bytes.
func SignUpTo(signer Signer, payloadType string, payload []byte, most int) ([]byte, error) {
	if payloadType == "" {
		return nil, fmt.Errorf("%w: payloadType: missing", ErrEnvelope)
	}
	if len(payload) > most {
		return nil, fmt.Errorf("signing %s: %w: %d bytes, at most %d are allowed", payloadType, strictjson.ErrTooLarge, len(payload), most)
	}
	signature, err := signer.SignMessage(spec.PAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("signing %s: %w", payloadType, err)
	}
	raw, err := json.Marshal(spec.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []spec.Signature{{KeyID: signer.KeyID(), Sig: base64.StdEncoding.EncodeToString(signature)}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding envelope: %w", err)
	}
	v := jsontext.Value(raw)
	if err := v.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encoding envelope: %w", err)
	}
	return v, nil
}

func decode64(field, text string) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not standard base64: %w", ErrEnvelope, field, err)
	}
	// The decoder skips line breaks; one document has one spelling.
	if base64.StdEncoding.EncodedLen(len(b)) != len(text) {
		return nil, fmt.Errorf("%w: %s: line breaks in base64", ErrEnvelope, field)
	}
	return b, nil
}
