package hsm

import (
	"context"
	"errors"
	"strings"

	"conclave/hsm/secret"
)

// Reasons why a key that was made elsewhere is not taken. Drivers wrap them with what was being done; none of them
// leaves anything behind.
var (
	// ErrUnwrap: what came wrapped does not open under the wrapping key: it was wrapped for another, or altered.
	ErrUnwrap = errors.New("wrapped key does not open under this wrapping key: it was wrapped for another, or altered")
	// ErrKeyForm: what was brought is no key of the specification: wrong length or encoding, or no key at all.
	ErrKeyForm = errors.New("not a key of this specification")
	// ErrComponent: one of the components can not be part of a key. The message names which.
	ErrComponent = errors.New("component refused")
)

// Bounds of a key that comes in components (ours): split knowledge takes two, and nine people are enough.
const (
	LeastComponents = 2
	MostComponents  = 9
)

// ImportForm is a way in which a key that was made elsewhere comes in.
type ImportForm string

const (
	// ImportComponents: full-length components, one a person, whose XOR is the key (PCI PIN, annex B; ANSI X9.24-1).
	ImportComponents ImportForm = "components"
	// ImportWrapped: CKM_RSA_AES_KEY_WRAP (PKCS #11 3.0, section 2.1.21): an AES-256 key by RSA-OAEP with SHA-256 for
	// hash and MGF1 and no label, then the key by AES-KWP (SP 800-38F 6.3, RFC 5649) under it. Private halves of pairs
	// are PKCS #8 in it. AWS calls it RSA_AES_KEY_WRAP_SHA_256, Google RSA_OAEP_4096_SHA256_AES_256.
	ImportWrapped ImportForm = "wrapped"
)

// ImportForms returns both.
func ImportForms() []ImportForm { return []ImportForm{ImportComponents, ImportWrapped} }

// ImportCapability says which keys a keystore takes in one form.
type ImportCapability struct {
	Form  ImportForm `json:"form"`
	Specs []Spec     `json:"specs"`
	// WrappingSpecs are the pairs that can be made to wrap for, the preferred one first.
	WrappingSpecs []Spec `json:"wrapping_specs,omitempty"`
	// Inside: the whole key exists nowhere but inside the module. false: it is put together, or unwrapped, in the
	// memory of this process, and handed to the module from there.
	Inside bool `json:"inside"`
}

// ImportsBy returns the capability of one form, or false.
func (c Capabilities) ImportsBy(form ImportForm) (ImportCapability, bool) {
	for _, i := range c.Imports {
		if i.Form == form {
			return i, true
		}
	}
	return ImportCapability{}, false
}

// wrappingPrefix sets the names of wrapping pairs apart from those of keys, which hold no slash.
const wrappingPrefix = "import/"

// WrappingName is Material.Key of the wrapping pair with an id.
func WrappingName(id string) string { return wrappingPrefix + id }

// IsWrapping reports whether material is a wrapping pair.
func (m Material) IsWrapping() bool { return strings.HasPrefix(m.Key, wrappingPrefix) }

// Importer is a keystore that takes keys made elsewhere; which and how, Capabilities.Imports says. What is not among
// them is ErrUnsupported. The key is whole inside the boundary only, and nothing is kept of what was refused. Effect
// ids and Find work as for Create. Safe for concurrent use with everything else.
type Importer interface {
	Keystore
	// CreateWrapping makes a pair to wrap one key for, of one of the WrappingSpecs, version 1 of WrappingName(id). It
	// unwraps and does nothing else: Open refuses it. Destroy ends it, as it ends a key.
	CreateWrapping(ctx context.Context, id string, spec Spec, effectID string) (Material, error)
	// Examine opens what came wrapped, returns the check value and the public half of a pair, and keeps nothing.
	// ErrUnwrap and ErrKeyForm as for ImportWrapped.
	Examine(ctx context.Context, wrapping Material, spec Spec, wrapped []byte) (checkValue string, public []byte, err error)
	// ImportWrapped keeps the key in wrapped as a version of a key. The wrapping pair stays: that it is used once is
	// the caller's to see to.
	ImportWrapped(ctx context.Context, key string, version uint32, spec Spec, effectID string, wrapping Material, wrapped []byte) (Material, error)
	// ImportComponents keeps the XOR of components as a version of a key. A component of another length than the
	// key, of zeros only, or one that repeats, is ErrComponent; components that make a key of zeros are ErrKeyForm.
	// They stay the caller's to wipe.
	ImportComponents(ctx context.Context, key string, version uint32, spec Spec, effectID string, components []*secret.Bytes) (Material, error)
}
