package soft

import (
	"crypto/subtle"
	"encoding/binary"
	"fmt"

	"conclave/hsm"
	"conclave/hsm/activate"
	"conclave/hsm/checkvalue"
	"conclave/hsm/secret"
)

// Labels separate the uses of the activation secret. They are part of the formats: never change one.
const (
	wrappingLabel = "conclave software keystore wrapping key v1"
	verifierLabel = "conclave software keystore verifier key v1"
	verifierText  = "conclave software keystore verifier v1"
	blobLabel     = "conclave software keystore blob v1"
	specBlobLabel = "conclave software keystore blob v2"
	sharedLabel   = "conclave software keystore blob v3"
)

const (
	// blobFormat holds an AES-256 key, specBlobFormat a key of any other specification, which it binds too, sharedFormat a
	// key that was made for a group, which it binds besides.
	blobFormat     = 1
	specBlobFormat = 2
	sharedFormat   = 3
	blobOverhead   = 1 + nonceBytes + tagBytes
	// maxKeyBytes is more than any key takes: an encoded RSA-4096 private key has under 2,400 bytes.
	maxKeyBytes = 4096
)

// commitment is how a software keystore commits to its activation secret.
func commitment() activate.Commitment {
	return activate.Commitment{Label: verifierLabel, Text: verifierText}
}

// NewActivation makes the activation secret of a new software keystore and the verifier that its record holds.
func NewActivation() (activation *secret.Bytes, verifier []byte, err error) {
	return commitment().New()
}

// wrap protects a version key for storage under the identity in m: format(1) ‖ nonce(12) ‖ wrapped key ‖ tag(16).
// What the key is matters for the format and its binding only: the bytes are wrapped as they are.
func wrap(wrapping *secret.Bytes, keystore string, m hsm.Material, versionKey *secret.Bytes) ([]byte, error) {
	format, aad := binding(keystore, m)
	blob := append(make([]byte, 0, blobOverhead+versionKey.Len()), format)
	err := wrapping.Use(func(w []byte) error {
		aead, err := newGCM(w)
		if err != nil {
			return err
		}
		return versionKey.Use(func(v []byte) error {
			blob = aead.Seal(blob, nil, v, aad)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("wrapping the version key: %w", err)
	}
	return blob, nil
}

func unwrap(wrapping *secret.Bytes, keystore string, m hsm.Material) (*secret.Bytes, error) {
	spec := m.Specification()
	format, aad := binding(keystore, m)
	if !spec.Known() || len(m.Key) > maxID || len(m.Group) > maxID || len(m.Blob) < blobOverhead || len(m.Blob) > blobOverhead+maxKeyBytes || m.Blob[0] != format {
		return nil, fmt.Errorf("not a format %d blob of this keystore: %w", format, hsm.ErrCorrupt)
	}
	var versionKey *secret.Bytes
	err := wrapping.Use(func(w []byte) error {
		aead, err := newGCM(w)
		if err != nil {
			return err
		}
		key, err := aead.Open(nil, nil, m.Blob[1:], aad)
		if err != nil {
			return hsm.ErrCorrupt
		}
		versionKey = secret.New(key)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("unwrapping the version key: %w", err)
	}
	check, err := checkvalue.Of(spec, versionKey)
	if err == nil && subtle.ConstantTimeCompare([]byte(check), []byte(m.CheckValue)) != 1 {
		err = fmt.Errorf("check value %q does not belong to the blob: %w", m.CheckValue, hsm.ErrCorrupt)
	}
	if err != nil {
		versionKey.Wipe()
		return nil, err
	}
	return versionKey, nil
}

// binding is the blob's format and what it is bound to: its format, keystore, key, version and, where there is a
// choice, specification. Lengths (at most maxID) precede strings, so that no two identities share an encoding.
func binding(keystore string, m hsm.Material) (format byte, aad []byte) {
	format, label, spec := byte(blobFormat), blobLabel, m.Specification()
	switch {
	case m.Group != "":
		format, label = sharedFormat, sharedLabel
	case spec != hsm.AES256:
		format, label = specBlobFormat, specBlobLabel
	}
	aad = make([]byte, 0, len(label)+4+len(keystore)+len(m.Key)+4+len(spec)+len(m.Group))
	aad = append(aad, label...)
	aad = append(aad, byte(len(keystore)))
	aad = append(aad, keystore...)
	aad = append(aad, byte(len(m.Key)))
	aad = append(aad, m.Key...)
	aad = binary.BigEndian.AppendUint32(aad, m.Version)
	if format != blobFormat {
		aad = append(append(aad, byte(len(spec))), spec...)
	}
	if format == sharedFormat {
		aad = append(append(aad, byte(len(m.Group))), m.Group...)
	}
	return format, aad
}
