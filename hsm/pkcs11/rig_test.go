//go:build cgo

package pkcs11_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/hsm/secret"
)

// softHSM is where Debian's package softhsm2 puts its module. Tests that miss it fail: .ci/preflight installs it.
const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// firstSOPIN is what the maker's tools set before the service takes a token over.
const firstSOPIN = "first-so-pin"

// rig is SoftHSM with tokens of its own. A module is initialised once a process, and reads its configuration then, so
// that the tests of this package share one rig; each has its own tokens.
type rig struct {
	modules *pkcs11.Modules
	path    string
	tokens  string // directory of the tokens
	soPIN   string // file
	lib     *binding.Ctx

	mu   sync.Mutex
	made int
	dirs map[string]string // of tokens, by label
}

// dir is where SoftHSM keeps a token.
func (r *rig) dir(label string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dirs[label]
}

func (r *rig) entries(t testing.TB) map[string]bool {
	t.Helper()
	list, err := os.ReadDir(r.tokens)
	require.NoError(t, err)
	out := map[string]bool{}
	for _, e := range list {
		out[filepath.Join(r.tokens, e.Name())] = true
	}
	return out
}

var shared = sync.OnceValues(func() (*rig, error) { return newRig(softHSM) })

func TestMain(m *testing.M) {
	code := m.Run()
	if r, err := shared(); err == nil {
		_ = os.RemoveAll(filepath.Dir(r.tokens))
	}
	os.Exit(code)
}

func newRig(module string) (*rig, error) {
	dir, err := os.MkdirTemp("", "conclave-pkcs11-")
	if err != nil {
		return nil, err
	}
	r := &rig{dirs: map[string]string{}, modules: pkcs11.NewModules(), path: module, tokens: filepath.Join(dir, "tokens"), soPIN: filepath.Join(dir, "so-pin")}
	config := filepath.Join(dir, "softhsm2.conf")
	for _, err := range []error{
		os.Mkdir(r.tokens, 0o700),
		os.WriteFile(r.soPIN, []byte(firstSOPIN+"\n"), 0o600),
		os.WriteFile(config, []byte("directories.tokendir = "+r.tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600),
		os.Setenv("SOFTHSM2_CONF", config),
	} {
		if err != nil {
			return nil, err
		}
	}
	if r.lib = binding.New(module); r.lib == nil {
		return nil, fmt.Errorf("%s: not to be loaded; apt-get install softhsm2", module)
	}
	return r, r.lib.Initialize()
}

func theRig(t testing.TB) *rig {
	t.Helper()
	r, err := shared()
	require.NoError(t, err)
	return r
}

// blank makes a token as the maker's tools leave it: a label, and a PIN of its security officer.
func (r *rig) blank(t testing.TB) hsm.Device {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	label := fmt.Sprintf("token %d", r.made)
	before := r.entries(t)
	require.NoError(t, r.lib.InitToken(r.freeSlot(t), firstSOPIN, label))
	for dir := range r.entries(t) {
		if !before[dir] {
			r.dirs[label] = dir
		}
	}
	slot := r.slot(t, label)
	info, err := r.lib.GetTokenInfo(slot)
	require.NoError(t, err)
	return hsm.Device{Label: label, Serial: strings.TrimSpace(info.SerialNumber)}
}

func (r *rig) freeSlot(t testing.TB) uint {
	t.Helper()
	slots, err := r.lib.GetSlotList(true)
	require.NoError(t, err)
	for _, s := range slots {
		if info, err := r.lib.GetTokenInfo(s); err == nil && info.Flags&binding.CKF_TOKEN_INITIALIZED == 0 {
			return s
		}
	}
	require.Fail(t, "SoftHSM offers no free slot")
	return 0
}

func (r *rig) slot(t testing.TB, label string) uint {
	t.Helper()
	slots, err := r.lib.GetSlotList(true)
	require.NoError(t, err)
	for _, s := range slots {
		if info, err := r.lib.GetTokenInfo(s); err == nil && info.Label == label {
			return s
		}
	}
	require.Fail(t, "no token", label)
	return 0
}

// config is a keystore in a blank token.
func (r *rig) config(t testing.TB, id string) (pkcs11.Config, *secret.Bytes) {
	t.Helper()
	activation, verifier, err := pkcs11.NewActivation()
	require.NoError(t, err)
	t.Cleanup(activation.Wipe)
	return pkcs11.Config{ID: id, Verifier: verifier, Modules: r.modules, Module: r.path, Token: r.blank(t), Sessions: 4, SOPINFile: r.soPIN}, activation
}

// keystore is an initialised token's, inactive.
func (r *rig) keystore(t testing.TB, id string) (*pkcs11.Keystore, *secret.Bytes) {
	t.Helper()
	cfg, activation := r.config(t, id)
	return r.taken(t, cfg, activation), activation
}

func (r *rig) taken(t testing.TB, cfg pkcs11.Config, activation *secret.Bytes) *pkcs11.Keystore {
	t.Helper()
	k, err := pkcs11.New(cfg)
	require.NoError(t, err)
	require.NoError(t, k.Initialise(t.Context(), activation))
	require.NoError(t, k.Deactivate(t.Context()))
	t.Cleanup(func() { _ = k.Deactivate(t.Context()) })
	return k
}

// sealing makes and opens a key.
func sealing(t testing.TB, k *pkcs11.Keystore, key string) (hsm.Material, hsm.Sealer) {
	t.Helper()
	m, err := k.Create(t.Context(), key, 1, hsm.AES256, "effect-"+key)
	require.NoError(t, err)
	h, err := k.Open(t.Context(), m)
	require.NoError(t, err)
	s, err := hsm.As[hsm.Sealer](h)
	require.NoError(t, err)
	return m, s
}
