// Package hsm is the contract between Conclave and the places where keys live.
//
// A [Keystore] is one driver instance: the software keystore, one PKCS#11 token, one cloud KMS. Its
// key material never crosses this interface: callers hold a [Material] (what the caller must store to
// find the key again) and a [Handle] (the key, ready for use, inside the keystore's boundary).
package hsm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"conclave/hsm/secret"
)

// Errors a caller decides by. Drivers wrap them with what was being done.
var (
	// ErrInactive: the keystore has not been given its activation secret. Retry later.
	ErrInactive = errors.New("keystore is inactive")
	// ErrUnavailable: the keystore, or what it takes to reach it, does not answer as it should just now. Nothing is said of
	// the key or of what was asked. Retry later.
	ErrUnavailable = errors.New("keystore is unavailable")
	// ErrActivationSecret: the activation secret offered does not open this keystore.
	ErrActivationSecret = errors.New("activation secret does not open this keystore")
	// ErrCorrupt: stored material or a ciphertext body failed authentication.
	ErrCorrupt = errors.New("authentication failed")
	// ErrUnsupported: the keystore lacks the capability asked for.
	ErrUnsupported = errors.New("keystore does not support this")
	// ErrNotFound: the keystore holds no key for this material.
	ErrNotFound = errors.New("key material not found in keystore")
	// ErrClosed: the handle was closed, or its key destroyed. Open the key again.
	ErrClosed = errors.New("key handle is closed")
	// ErrTooLarge: the plaintext is longer than Capabilities.MaxMessage.
	ErrTooLarge = errors.New("message too large for direct encryption")
	// ErrInvalid: an argument is out of range; the message names the field and what is allowed.
	ErrInvalid = errors.New("invalid argument")
)

// Waits reports whether an error says only that the keystore can not serve now: what was asked may be asked again. Of an
// effect it does not say that it did not happen.
func Waits(err error) bool { return errors.Is(err, ErrInactive) || errors.Is(err, ErrUnavailable) }

// Algorithm names how a message key arises and how the payload is protected. It is part of every
// ciphertext header, so a number, once given, keeps its meaning for ever.
type Algorithm uint8

const (
	// AlgorithmDerivedAES256GCM: HKDF-SHA-256 (SP 800-56C, RFC 5869) of the version key with a random
	// 32-byte salt gives a fresh AES-256-GCM key a message; random 96-bit nonce (SP 800-38D 8.2.2).
	AlgorithmDerivedAES256GCM Algorithm = 1
	// AlgorithmWrappedAES256GCM: a fresh AES-256 key a message, made inside a token, under the version key by AES-KW
	// (SP 800-38F, 6.2); AES-256-GCM under it, inside the token too, with a random 96-bit nonce (SP 800-38D 8.2.2). A key
	// that seals one message leaves no nonce bound to count.
	AlgorithmWrappedAES256GCM Algorithm = 2
)

// Known reports whether this program has the algorithm. An unknown one is refused, never guessed.
func (a Algorithm) Known() bool { return a.Overhead() > 0 }

// Overhead is by how many bytes a sealed body is longer than its plaintext; 0 for an unknown algorithm.
func (a Algorithm) Overhead() int {
	switch a {
	case AlgorithmDerivedAES256GCM:
		return 32 + 12 + 16 // salt, nonce, tag
	case AlgorithmWrappedAES256GCM:
		return 40 + 12 + 16 // wrapped message key, nonce, tag
	}
	return 0
}

// String is the algorithm's name in records and reports.
func (a Algorithm) String() string {
	switch a {
	case AlgorithmDerivedAES256GCM:
		return "HKDF-SHA-256+AES-256-GCM"
	case AlgorithmWrappedAES256GCM:
		return "AES-256-KW+AES-256-GCM"
	}
	return "unknown algorithm " + strconv.Itoa(int(a))
}

// CustodyModel says who can reach the key: the cloud provider's own keys, keys brought to it, keys held outside.
type CustodyModel string

const (
	CustodySelf        CustodyModel = "self-hosted"
	CustodyCloudNative CustodyModel = "cloud-native"
	CustodyBYOK        CustodyModel = "byok"
	CustodyHYOK        CustodyModel = "hyok"
)

// Readers says who can read a key: at rest, and while it is used.
type Readers struct {
	AtRest string `json:"at_rest"`
	InUse  string `json:"in_use"`
}

// Readers of a key under this custody model. storesKeys tells a keystore that holds its keys in a device from one that
// keeps them wrapped outside.
func (m CustodyModel) Readers(storesKeys bool) Readers {
	switch {
	case m == CustodyCloudNative:
		return Readers{"the cloud provider, who made the key and keeps it", "the cloud provider, and whom it must obey by law"}
	case m == CustodyBYOK:
		return Readers{"the cloud provider, who was given a copy, and whoever holds the original", "the cloud provider, and whom it must obey by law"}
	case m == CustodyHYOK && storesKeys:
		return Readers{"nobody: it stays in your own device, outside the cloud", "nobody; who has root on your hosts can use it while the keystore is active"}
	case m == CustodyHYOK:
		return Readers{"a quorum of your share holders who have the stored keys too; no cloud provider", "who has root on your hosts; no cloud provider"}
	case m == CustodySelf && storesKeys:
		return Readers{"nobody: it stays in the device", "nobody; who has root on the service's hosts can use it while the keystore is active"}
	case m == CustodySelf:
		return Readers{"a quorum of the share holders who have a copy of the database too", "who has root on the service's hosts while the keystore is active"}
	}
	return Readers{"unknown", "unknown"}
}

// CustodyModels returns the known models.
func CustodyModels() []CustodyModel {
	return []CustodyModel{CustodySelf, CustodyCloudNative, CustodyBYOK, CustodyHYOK}
}

// Facts are what placement rules may rely on. A driver reports what it can prove at run time; the
// governed record of a keystore may claim less, never more.
type Facts struct {
	Driver       string       `json:"driver"`        // "software", "pkcs11", …
	Module       string       `json:"module"`        // cryptographic module and version, as it reports itself
	FIPSStandard string       `json:"fips_standard"` // "140-3", "140-2" or "" for no claim
	FIPSLevel    int          `json:"fips_level"`    // 0 for no claim
	Certificate  string       `json:"certificate"`   // CMVP certificate number, "" for none
	Custody      CustodyModel `json:"custody"`
	RNG          string       `json:"rng"` // generator of the keys made here
	// Declared: a device that cannot prove at run time what it was validated for. The governed record claims that, with
	// the certificate's number, by ceremony; what stands here of it is empty.
	Declared bool `json:"declared,omitempty"`
}

// Capabilities are known at registration, not discovered at use.
type Capabilities struct {
	Algorithms  []Algorithm `json:"algorithms"`      // how messages are sealed here
	Specs       []Spec      `json:"specs,omitempty"` // keys that can be made here; see Makes
	Export      bool        `json:"export"`          // wrapped export possible
	Destroy     bool        `json:"destroy"`         // material can be destroyed here (false: only by forgetting the blob)
	StoresKeys  bool        `json:"stores_keys"`     // true: the keystore holds keys; false: Material.Blob is the key, wrapped
	MaxMessage  int         `json:"max_message"`     // bytes of one Seal, MAC, or message signed as it is
	KeyStrength int         `json:"key_strength"`    // bits of security of what protects the keys held here, and of symmetric ones
	// Imports says which keys made elsewhere are taken, and how; see Importer.
	Imports []ImportCapability `json:"imports,omitempty"`
}

// Makes lists the specifications of the keys that can be made. A record from before there was more than one
// names none and means AES256.
func (c Capabilities) Makes() []Spec {
	if len(c.Specs) == 0 {
		return []Spec{AES256}
	}
	return c.Specs
}

// Material is what the caller stores to find one key version again. Blob is opaque, bound to Key, Version and
// Spec by the driver (opening it for another is ErrCorrupt), and safe to store in the clear.
type Material struct {
	Key     string `json:"key"`
	Version uint32 `json:"version"`
	Spec    Spec   `json:"spec,omitempty"` // see Specification
	Blob    []byte `json:"blob"`
	// CheckValue is at most 5 bytes in hex. AES: CMAC-based (ANSI X9.24-1). HMAC: of the MAC of CheckLabel
	// (ours; the label is no message anybody else has a use for). Pairs: of the SHA-256 of the public half
	// (the key identifier of RFC 7093, section 2, method 4, cut to the length of the others).
	CheckValue string `json:"check_value"`
	EffectID   string `json:"effect_id"` // id under which Create can be found again
	// Public is the public half of a pair, as a DER SubjectPublicKeyInfo (RFC 5280): given out by Create and
	// Find for the caller to keep, not needed to Open.
	Public []byte `json:"public,omitempty"`
	// Wrapping names the secret that Blob is wrapped under, where the keystore wraps by its activation secret and
	// that can be replaced; opaque. "" in material that is older than this name, and in other keystores.
	Wrapping string `json:"wrapping,omitempty"`
	// Group is the keystore group that the key was made for, "" for a key that never leaves its keystore; see Member.
	Group string `json:"group,omitempty"`
	// Copies are the members of the group that hold the key: set where the keystore is the group itself.
	Copies []Copy `json:"copies,omitempty"`
}

// CheckLabel is the message whose MAC gives the check value of an HMAC key.
const CheckLabel = "conclave check value v1"

// Specification is what the key is. Material from before there was more than one kind names none and is AES256.
func (m Material) Specification() Spec {
	if m.Spec == "" {
		return AES256
	}
	return m.Spec
}

// Keystore is one place where keys live. All methods are safe for concurrent use. Methods that need
// the activation secret return ErrInactive without it.
type Keystore interface {
	Facts() Facts
	Capabilities() Capabilities
	// Active reports whether the keystore can serve.
	Active() bool
	// Activate gives the keystore its activation secret. It keeps its own copy; the caller wipes theirs.
	// A wrong secret is ErrActivationSecret and changes nothing.
	Activate(ctx context.Context, activation *secret.Bytes) error
	// Deactivate wipes the activation secret and every open handle; handles then return ErrInactive.
	Deactivate(ctx context.Context) error
	// Create makes a key of a specification inside the boundary; ErrUnsupported for one that is not among
	// Capabilities. effectID is the caller's unique id for this effect: calling Create again with it, or Find,
	// returns the same key where StoresKeys, so that a crash between effect and record is recoverable.
	Create(ctx context.Context, key string, version uint32, spec Spec, effectID string) (Material, error)
	// Find returns the key made under effectID, or ErrNotFound. Keystores that store nothing always
	// return ErrNotFound: an effect that was not recorded did not happen.
	Find(ctx context.Context, effectID string) (Material, error)
	// Destroy removes the key from the keystore; idempotent.
	Destroy(ctx context.Context, m Material) error
	// Open prepares a key for use. The handle stays valid until Close or Deactivate.
	Open(ctx context.Context, m Material) (Handle, error)
}

// Rekeyer is a keystore whose activation secret can be replaced while it serves: a secret is staged, every stored
// material is wrapped under it by Rewrap, the caller makes all of that durable at once together with the new
// verifier, and Follow goes over to it. Handles that are open live through it: the keys are the same. Safe for
// concurrent use with everything else.
type Rekeyer interface {
	Keystore
	// NewActivation makes a secret for a keystore of this driver, and the verifier that its record will hold. The
	// secret is the caller's to wipe.
	NewActivation() (activation *secret.Bytes, verifier []byte, err error)
	// CheckActivation returns ErrActivationSecret unless activation is the secret of the keystore's present
	// verifier. It needs no activation and changes nothing.
	CheckActivation(activation *secret.Bytes) error
	// Stage takes the secret that is to follow, checked against its verifier (ErrActivationSecret), and keeps its
	// own copy. From then on material under either secret opens; Create goes on under the present one. Staging again
	// replaces what was staged. recorded is what the keystore's record is to hold as its verifier from then on: the
	// verifier, and whatever the keystore needs besides to finish going over after a process that ended too early.
	Stage(ctx context.Context, activation *secret.Bytes, verifier []byte) (recorded []byte, err error)
	// Rewrap returns the same key, with the same check value, wrapped under the staged secret. Material under the
	// present secret and under the staged one is taken. Without a staged secret it is ErrUnsupported, and so it is in a
	// keystore that StoresKeys: nothing is wrapped there, and Wraps is true.
	Rewrap(ctx context.Context, m Material) (Material, error)
	// Unstage forgets what was staged; idempotent.
	Unstage()
	// Follow makes the keystore one of the record that holds this verifier. Where it is the one staged, the keystore
	// goes over to it and forgets the secret before. Where it is another than it knows, as on a node that took no part
	// in the replacement, the keystore becomes inactive, to be activated with the new secret. The present verifier and
	// those that were left behind change nothing: whoever calls may hold an older record.
	Follow(verifier []byte)
	// Wraps reports whether m is wrapped under the secret of this verifier.
	Wraps(m Material, verifier []byte) bool
}

// Conveyor is a keystore that can give the activation secret on which it works, so that another node's can work on it too.
type Conveyor interface {
	Keystore
	// Convey returns the secret, the caller's to wipe: ErrInactive without one, ErrUnsupported where it was not told to
	// keep it.
	Convey() (*secret.Bytes, error)
}

// Device is the device that a keystore is. Label and Serial find it, and whichever is not empty must fit; the rest is what
// it says of itself.
type Device struct {
	Label        string `json:"label,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Firmware     string `json:"firmware,omitempty"`
}

// String names a device for people.
func (d Device) String() string {
	switch {
	case d.Serial == "":
		return fmt.Sprintf("token with label %q", d.Label)
	case d.Label == "":
		return fmt.Sprintf("token with serial number %q", d.Serial)
	}
	return fmt.Sprintf("token with label %q and serial number %q", d.Label, d.Serial)
}

// Initialiser is a keystore in a device that has to be taken over before its first activation.
type Initialiser interface {
	Keystore
	// Device says which device it is.
	Device() Device
	// CheckInitialise says what is missing for Initialise, before people bring shares for it. It changes nothing and tries
	// no PIN.
	CheckInitialise(ctx context.Context) error
	// Initialise erases the device and lets nothing but the activation secret open it, which is checked against the
	// verifier (ErrActivationSecret). Whoever set it up loses their way in. Done again after it was cut short at any point
	// it comes to the same end. The keystore is active afterwards.
	Initialise(ctx context.Context, activation *secret.Bytes) error
}

// Eraser is a keystore in a device that can be emptied for good.
type Eraser interface {
	Keystore
	// Erase destroys everything in the device, and its user's way in. It takes an active keystore, which is inactive
	// afterwards. Nothing undoes it.
	Erase(ctx context.Context) error
	// Erased reports whether the device is as Erase leaves it. It takes no activation.
	Erased(ctx context.Context) (bool, error)
}

// Handle is one key version ready for use, and what it can do follows from its specification: it is a Sealer, a
// MACer, a Signer or a Decrypter, and none of the others, so that no caller can put a key to a second use; see
// [As]. Safe for concurrent use. After Close, or Destroy of its key, calls return ErrClosed; after Deactivate
// ErrInactive, also when the keystore is active again: open the key anew. Calls in progress at that moment
// finish. dst must not overlap the other arguments. The public half of a pair needs no keystore: package keypair.
type Handle interface {
	Spec() Spec
	// Close releases and wipes; idempotent.
	Close()
}

// Sealer is a key that encrypts (Kind Seals).
type Sealer interface {
	Handle
	Algorithm() Algorithm
	// Seal appends the protected form of plaintext to dst, binding aad. More than Capabilities.MaxMessage
	// bytes are ErrTooLarge.
	Seal(ctx context.Context, dst, plaintext, aad []byte) ([]byte, error)
	// Open appends the plaintext of body to dst; any altered bit of body or aad is ErrCorrupt.
	Open(ctx context.Context, dst, body, aad []byte) ([]byte, error)
}

// MACer is a key that authenticates messages (Kind MACs). Messages over Capabilities.MaxMessage bytes are
// ErrTooLarge.
type MACer interface {
	Handle
	// MAC appends the full-length MAC of message to dst.
	MAC(ctx context.Context, dst, message []byte) ([]byte, error)
	// VerifyMAC reports whether mac is the full-length MAC of message, in time that tells nothing of it.
	VerifyMAC(ctx context.Context, message, mac []byte) (bool, error)
}

// Signer is the private half of a signature pair (Kind Signs).
type Signer interface {
	Handle
	// Sign appends a signature to dst: ECDSA as the DER sequence of RFC 3279, the others as RFC 8017 and RFC 8032
	// have them. input is the digest that hash made of the message; with NoHash, where the scheme takes the
	// message itself, the message. A hash that does not fit the specification, or a digest of another length,
	// is ErrInvalid.
	Sign(ctx context.Context, dst []byte, hash Hash, input []byte) ([]byte, error)
}

// Decrypter is the private half of a key-transport pair (Kind Deciphers).
type Decrypter interface {
	Handle
	// Decrypt appends the plaintext of an OAEP ciphertext under this label to dst; whatever is wrong with it is
	// ErrCorrupt, always the same.
	Decrypt(ctx context.Context, dst, ciphertext, label []byte) ([]byte, error)
}

// As is the handle for one kind of use, or ErrUnsupported for a key that is for another.
func As[H Handle](h Handle) (H, error) {
	if use, ok := h.(H); ok {
		return use, nil
	}
	var none H
	return none, fmt.Errorf("a key of specification %q is for %s: %w", h.Spec(), h.Spec().Kind(), ErrUnsupported)
}

// Deadline bounds one call to a keystore that leaves the process.
const Deadline = 10 * time.Second
