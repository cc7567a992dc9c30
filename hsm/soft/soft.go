// Package soft is the software keystore: keys of every specification, made by the process's own cryptographic
// module, kept by the caller as blobs that only the activation secret opens.
//
// What it protects: a copy of the database without the activation secret opens nothing. What it does
// not: whoever is root on a host where it is active reads what it holds. Formats: docs/wire-formats.md.
package soft

import (
	"context"
	"fmt"
	"sync"

	"conclave/hsm"
	"conclave/hsm/activate"
	"conclave/hsm/checkvalue"
	"conclave/hsm/keypair"
	"conclave/hsm/secret"
)

const (
	// MaxMessage is the longest plaintext of one Seal, and the longest message of one MAC or Ed25519 signature,
	// in bytes.
	MaxMessage = 64 << 10
	// maxID bounds the ids that are bound into a blob, in bytes.
	maxID = 255
	// keyBytes is the length of wrapping, sealing and verifier keys: AES-256 and HMAC-SHA-256 at 256 bits of strength.
	keyBytes = 32
)

// Config is what identifies one software keystore.
type Config struct {
	ID       string // keystore id, bound into every blob
	Verifier []byte // from NewActivation, stored in the keystore's record
	// Conveys keeps the activation secret itself while the keystore is active, so that it can be handed to another node.
	// Without it only keys derived from the secret are kept.
	Conveys bool
}

// Keystore is one software keystore. It starts inactive.
type Keystore struct {
	id       string
	verifier []byte

	mu       sync.Mutex
	wrapping *secret.Bytes // nil while inactive
	conveys  bool
	secret   *secret.Bytes      // the activation secret of wrapping, nil unless conveys
	staged   *staged            // the secret that is to follow, nil for none
	past     [][]byte           // verifiers that were followed away from
	handles  map[*held]struct{} // open, so that Deactivate and Destroy reach them
}

var (
	_ hsm.Rekeyer  = (*Keystore)(nil)
	_ hsm.Importer = (*Keystore)(nil)
	_ hsm.Conveyor = (*Keystore)(nil)
	_ hsm.Member   = (*Keystore)(nil)
)

// New returns the inactive keystore that cfg describes, or an error that names the bad field.
func New(cfg Config) (*Keystore, error) {
	if err := checkID("keystore id", cfg.ID); err != nil {
		return nil, err
	}
	if err := activate.CheckForm(cfg.Verifier); err != nil {
		return nil, err
	}
	return &Keystore{
		id:       cfg.ID,
		verifier: append([]byte(nil), cfg.Verifier...),
		conveys:  cfg.Conveys,
		handles:  make(map[*held]struct{}),
	}, nil
}

func checkID(field, id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("%s: %d bytes long, allowed are 1 to %d: %w", field, len(id), maxID, hsm.ErrInvalid)
	}
	return nil
}

// Capabilities implements hsm.Keystore.
func (*Keystore) Capabilities() hsm.Capabilities {
	return hsm.Capabilities{
		Algorithms:  []hsm.Algorithm{hsm.AlgorithmDerivedAES256GCM},
		Specs:       hsm.Specs(),
		MaxMessage:  MaxMessage,
		KeyStrength: 8 * keyBytes,
		Imports:     imports(),
	}
}

// Active implements hsm.Keystore.
func (k *Keystore) Active() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.wrapping != nil
}

// Activate implements hsm.Keystore. It keeps keys derived from the activation secret, not the secret.
// Activating an active keystore with the right secret changes nothing.
func (k *Keystore) Activate(ctx context.Context, activation *secret.Bytes) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("activating keystore %q: %w", k.id, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := commitment().Verify(activation, k.verifier); err != nil {
		return fmt.Errorf("activating keystore %q: %w", k.id, err)
	}
	if k.wrapping != nil {
		return nil
	}
	wrapping, err := activate.Derive(activation, wrappingLabel)
	if err != nil {
		return fmt.Errorf("activating keystore %q: %w", k.id, err)
	}
	k.wrapping, k.secret = wrapping, k.kept(activation)
	return nil
}

// kept is the keystore's own copy of an activation secret, nil where it keeps none.
func (k *Keystore) kept(activation *secret.Bytes) *secret.Bytes {
	if !k.conveys {
		return nil
	}
	return activation.Clone()
}

// Convey implements hsm.Conveyor.
func (k *Keystore) Convey() (*secret.Bytes, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case !k.conveys:
		return nil, fmt.Errorf("conveying the activation secret of keystore %q: %w", k.id, hsm.ErrUnsupported)
	case k.wrapping == nil:
		return nil, fmt.Errorf("conveying the activation secret of keystore %q: %w", k.id, hsm.ErrInactive)
	}
	return k.secret.Clone(), nil
}

// Deactivate implements hsm.Keystore. It is never refused: it restricts, so a cancelled context is no obstacle.
func (k *Keystore) Deactivate(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.deactivate()
	return nil
}

// deactivate is Deactivate for whoever holds the lock.
func (k *Keystore) deactivate() {
	k.unstage()
	if k.wrapping == nil {
		return
	}
	k.wrapping.Wipe()
	k.secret.Wipe()
	k.wrapping, k.secret = nil, nil
	for h := range k.handles {
		h.end(hsm.ErrInactive)
	}
	clear(k.handles)
}

// Create implements hsm.Keystore. Nothing is stored here: an effect whose blob was not recorded did not
// happen, so calling again with the same effectID makes another key.
func (k *Keystore) Create(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	if err := k.checkCreate(ctx, key, version, spec, effectID); err != nil {
		return hsm.Material{}, err
	}
	if !k.Active() { // nothing is made for nothing: RSA takes its time
		return hsm.Material{}, fmt.Errorf("creating key %q version %d: %w", key, version, hsm.ErrInactive)
	}
	return k.make(hsm.Material{Key: key, Version: version, Spec: spec, EffectID: effectID})
}

// make makes the key that m describes.
func (k *Keystore) make(m hsm.Material) (hsm.Material, error) {
	key, version := m.Key, m.Version
	versionKey, public, err := generate(m.Spec)
	if err != nil {
		return hsm.Material{}, fmt.Errorf("creating key %q version %d: %w", key, version, err)
	}
	defer versionKey.Wipe()
	m.Public = public
	m, err = k.keep(m, versionKey)
	if err != nil {
		return hsm.Material{}, fmt.Errorf("creating key %q version %d: %w", key, version, err)
	}
	return m, nil
}

// keep completes the material of a key: check value, and the blob under the present secret.
func (k *Keystore) keep(m hsm.Material, versionKey *secret.Bytes) (hsm.Material, error) {
	var err error
	if m.CheckValue, err = checkvalue.Of(m.Specification(), versionKey); err != nil {
		return hsm.Material{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrapping == nil {
		return hsm.Material{}, hsm.ErrInactive
	}
	m.Wrapping = wrappingID(k.verifier)
	if m.Blob, err = wrap(k.wrapping, k.id, m, versionKey); err != nil {
		return hsm.Material{}, err
	}
	return m, nil
}

// generate makes the secret bytes of a key, and the public half of a pair.
func generate(spec hsm.Spec) (versionKey *secret.Bytes, public []byte, err error) {
	switch spec.Kind() {
	case hsm.Seals:
		return secret.Random(keyBytes), nil, nil
	case hsm.MACs:
		return secret.Random(spec.Hashes()[0].Size()), nil, nil
	}
	return keypair.Generate(spec)
}

func (k *Keystore) checkCreate(ctx context.Context, key string, version uint32, spec hsm.Spec, effectID string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("creating key %q version %d: %w", key, version, err)
	}
	if err := checkID("key id", key); err != nil {
		return err
	}
	if name := (hsm.Material{Key: key}); name.IsWrapping() || name.IsTransport() {
		return fmt.Errorf("key id: %q names a pair that keys travel under: %w", key, hsm.ErrInvalid)
	}
	if version == 0 {
		return fmt.Errorf("key version: 0, allowed are 1 and above: %w", hsm.ErrInvalid)
	}
	if !spec.Known() {
		return fmt.Errorf("specification: %.64q is none of %v: %w", string(spec), hsm.Specs(), hsm.ErrUnsupported)
	}
	return checkID("effect id", effectID)
}

// Find implements hsm.Keystore: always hsm.ErrNotFound, because nothing is stored here.
func (*Keystore) Find(context.Context, string) (hsm.Material, error) {
	return hsm.Material{}, hsm.ErrNotFound
}

// Destroy implements hsm.Keystore: it closes the open handles of m. The key itself ends when the caller
// forgets the blob, every copy of it included (Capabilities().Destroy is false). Like Deactivate it
// restricts, so it needs no activation and ignores a cancelled context.
func (k *Keystore) Destroy(_ context.Context, m hsm.Material) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for h := range k.handles {
		if h.keyID == m.Key && h.version == m.Version && h.checkValue == m.CheckValue {
			h.end(hsm.ErrClosed)
			delete(k.handles, h)
		}
	}
	return nil
}

// Open implements hsm.Keystore. A blob of another keystore, key, version or specification, an altered blob, or a
// check value that does not fit it is hsm.ErrCorrupt. One under an activation secret that
// this keystore has not been given is hsm.ErrInactive.
func (k *Keystore) Open(ctx context.Context, m hsm.Material) (hsm.Handle, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("opening key %q version %d: %w", m.Key, m.Version, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wrapping == nil {
		return nil, fmt.Errorf("opening key %q version %d: %w", m.Key, m.Version, hsm.ErrInactive)
	}
	if m.IsWrapping() || m.IsTransport() {
		return nil, fmt.Errorf("opening %q: a pair that keys travel under opens those and does nothing else: %w", m.Key, hsm.ErrUnsupported)
	}
	versionKey, err := k.unwrapAny(m)
	if err != nil {
		return nil, fmt.Errorf("opening key %q version %d: %w", m.Key, m.Version, err)
	}
	h, common, err := k.handle(m, versionKey)
	if err != nil {
		versionKey.Wipe()
		return nil, fmt.Errorf("opening key %q version %d: %w", m.Key, m.Version, err)
	}
	k.handles[common] = struct{}{}
	return h, nil
}

// forget drops a handle that its owner closed.
func (k *Keystore) forget(h *held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.handles, h)
}
