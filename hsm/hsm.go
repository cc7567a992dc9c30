// Package hsm is the contract between Conclave and the places where keys live.
//
// A [Keystore] is one driver instance: the software keystore, one PKCS#11 token, one cloud KMS. Its
// key material never crosses this interface: callers hold a [Material] (what the caller must store to
// find the key again) and a [Handle] (the key, ready for use, inside the keystore's boundary).
package hsm

import (
	"context"
	"errors"
	"strconv"
	"time"

	"conclave/hsm/secret"
)

// Errors a caller decides by. Drivers wrap them with what was being done.
var (
	// ErrInactive: the keystore has not been given its activation secret. Retry later.
	ErrInactive = errors.New("keystore is inactive")
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

// Algorithm names how a message key arises and how the payload is protected. It is part of every
// ciphertext header, so a number, once given, keeps its meaning for ever.
type Algorithm uint8

const (
	// AlgorithmDerivedAES256GCM: HKDF-SHA-256 (SP 800-56C, RFC 5869) of the version key with a random
	// 32-byte salt gives a fresh AES-256-GCM key a message; random 96-bit nonce (SP 800-38D 8.2.2).
	AlgorithmDerivedAES256GCM Algorithm = 1
)

// Known reports whether this program has the algorithm. An unknown one is refused, never guessed.
func (a Algorithm) Known() bool { return a == AlgorithmDerivedAES256GCM }

// String is the algorithm's name in records and reports.
func (a Algorithm) String() string {
	if a == AlgorithmDerivedAES256GCM {
		return "HKDF-SHA-256+AES-256-GCM"
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
}

// Capabilities are known at registration, not discovered at use.
type Capabilities struct {
	Algorithms  []Algorithm `json:"algorithms"`
	Export      bool        `json:"export"`       // wrapped export possible
	Destroy     bool        `json:"destroy"`      // material can be destroyed here (false: only by forgetting the blob)
	StoresKeys  bool        `json:"stores_keys"`  // true: the keystore holds keys; false: Material.Blob is the key, wrapped
	MaxMessage  int         `json:"max_message"`  // bytes of one Seal
	KeyStrength int         `json:"key_strength"` // bits of security of the keys made here
}

// Material is what the caller stores to find one key version again. Blob is opaque, bound to Key and
// Version by the driver (opening it for another is ErrCorrupt), and safe to store in the clear.
type Material struct {
	Key        string `json:"key"`
	Version    uint32 `json:"version"`
	Blob       []byte `json:"blob"`
	CheckValue string `json:"check_value"` // CMAC-based, ≤ 5 bytes in hex (ANSI X9.24-1)
	EffectID   string `json:"effect_id"`   // id under which Create can be found again
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
	// Create makes key material inside the boundary. effectID is the caller's unique id for this effect:
	// calling Create again with it, or Find, returns the same key where StoresKeys, so that a crash
	// between effect and record is recoverable.
	Create(ctx context.Context, key string, version uint32, effectID string) (Material, error)
	// Find returns the key made under effectID, or ErrNotFound. Keystores that store nothing always
	// return ErrNotFound: an effect that was not recorded did not happen.
	Find(ctx context.Context, effectID string) (Material, error)
	// Destroy removes the key from the keystore; idempotent.
	Destroy(ctx context.Context, m Material) error
	// Open prepares a key for use. The handle stays valid until Close or Deactivate.
	Open(ctx context.Context, m Material) (Handle, error)
}

// Handle is one key version ready for use. Safe for concurrent use. After Close, or Destroy of its key,
// calls return ErrClosed; after Deactivate ErrInactive, also when the keystore is active again: open
// the key anew. Calls in progress at that moment finish. dst must not overlap the other arguments.
type Handle interface {
	Algorithm() Algorithm
	// Seal appends the protected form of plaintext to dst, binding aad. More than Capabilities.MaxMessage
	// bytes are ErrTooLarge.
	Seal(ctx context.Context, dst, plaintext, aad []byte) ([]byte, error)
	// Open appends the plaintext of body to dst; any altered bit of body or aad is ErrCorrupt.
	Open(ctx context.Context, dst, body, aad []byte) ([]byte, error)
	// Close releases and wipes; idempotent.
	Close()
}

// Deadline bounds one call to a keystore that leaves the process.
const Deadline = 10 * time.Second
