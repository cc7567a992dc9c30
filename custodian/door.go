// Package custodian is the one guarded door: every use of a key is authorised, done, and recorded here,
// in that order, and nothing is answered before its record is durable.
package custodian

import (
	"errors"
	"log/slog"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/clock"
	"conclave/custodian/key"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// Config wires a Service. All fields are required but Logger.
type Config struct {
	Store     *store.Store
	Policies  *policies.Engine        // the bundle that the program carries; in force only where the instance says so
	Keystores map[string]hsm.Keystore // by keystore id; drivers for rows registered later are added with AddKeystore
	Node      string
	AuditKey  []byte // 32 bytes; derives the monthly keys under which encryption contexts are recorded
	Clock     clock.Clock
	Logger    *slog.Logger
}

// Denied is a recorded refusal. A caller outside development sees Code, Retryable and Decision only.
type Denied struct {
	Code      string            // stable code of the first reason
	Reasons   []policies.Reason // every reason, and what would make it pass
	Retryable bool
	Decision  string // id of the ledger entry that records it; `conclave why` opens it
}

func (d *Denied) Error() string { return "denied: " + d.Code }

// Bad input and state errors of the data plane.
var (
	ErrBadCiphertext = errors.New("ciphertext is malformed, altered, or not for this context")
	ErrNotThisKey    = errors.New("ciphertext belongs to another key")
	ErrForeign       = errors.New("ciphertext belongs to another instance")
	// ErrBusy: as many do the same as may, and as many wait; the same is possible a little later.
	ErrBusy = errors.New("too many key pairs are being made at once")
	// ErrKeystore: the keystore failed, or the key's material does not open. Nothing the caller can mend.
	ErrKeystore = errors.New("keystore could not use the key")
)

// InputError names the field of a request that is wrong, and what is allowed: the one type for it, from records
// to requests. Field is a path as in JSON, e.g. "bytes", "context.patient".
type InputError = key.FieldError

func invalid(field, problem, allowed string) *InputError {
	return &InputError{Field: field, Problem: problem, Allowed: allowed}
}

// Use is one data-plane request on one key. Which fields matter depends on Operation.
type Use struct {
	Operation  access.Operation
	Key        string            // key id; for Decrypt and Rewrap may be "" (found from the ciphertext)
	Context    map[string]string // encryption context, authenticated with the ciphertext
	Bytes      int               // DataKey: length of the data key, 16…64
	Plaintext  []byte            // Encrypt: the payload, ≤ 64 KiB; the caller keeps ownership
	WithPlain  bool              // DataKey, DataKeyPair: also return the plaintext
	Ciphertext []byte            // Decrypt, Rewrap
	NewContext map[string]string // Rewrap: context of the result, nil to keep Context
	AcceptRisk bool              // process data of a suspended key, protected before the suspension; recorded
	Message    []byte            // Sign, VerifySignature, MAC, VerifyMAC: what is signed, ≤ 64 KiB; the caller keeps ownership
	Digest     []byte            // Sign, VerifySignature: the message's digest instead, made by Hash
	Hash       hsm.Hash          // Sign, VerifySignature: NoHash for the one that goes with the key
	Signature  []byte            // VerifySignature, VerifyMAC: what is verified
	Version    uint32            // VerifySignature, VerifyMAC, Decrypt of an OAEP ciphertext: the version it is of
	Spec       hsm.Spec          // DataKeyPair: what pair
	ReasonCode string            // why, from policy's table of reason codes; recorded. "" for none
}

// Used is the result of one Use.
type Used struct {
	Key        string
	Version    uint32
	Plaintext  []byte   // DataKey and DataKeyPair (PKCS #8) with WithPlain, Decrypt; the receiver wipes it
	Ciphertext []byte   // DataKey, DataKeyPair, Encrypt, Rewrap
	Public     []byte   // DataKeyPair: the public half, SubjectPublicKeyInfo
	Signature  []byte   // Sign, MAC
	Hash       hsm.Hash // Sign: what made the digest that was signed
	Spec       hsm.Spec // of the key (Sign, MAC, OAEP) or the pair (DataKeyPair)
	Valid      bool     // VerifySignature, VerifyMAC: the answer
	Warning    string   // e.g. "key version ends its cryptoperiod in 7 days"
	Decision   string
	// Cache bounds for clients, from policy: how long a data key may be reused.
	CacheFor time.Duration
}
