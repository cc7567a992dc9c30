//go:build cgo

package pkcs11_test

import (
	"encoding/base64"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/pkcs11"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Functions of a module by their place in CK_FUNCTION_LIST.
const (
	initPIN     = 10
	setPIN      = 11
	login       = 18
	encryptInit = 29
	generateKey = 58
	wrapKey     = 60
	unwrapKey   = 61
	deriveKey   = 62
)

// shim is a module that fails and hangs on demand, and is SoftHSM otherwise (testdata/shim.c).
type shim struct {
	path    string
	control *os.File
}

var theShim = sync.OnceValues(func() (*shim, error) {
	r, err := shared()
	if err != nil {
		return nil, err
	}
	s := &shim{path: filepath.Join(filepath.Dir(r.tokens), "shim.so")}
	if out, err := exec.Command("cc", "-shared", "-fPIC", "-O1", "-o", s.path, "testdata/shim.c", "-ldl").CombinedOutput(); err != nil {
		return nil, &exec.Error{Name: string(out), Err: err}
	}
	control := filepath.Join(filepath.Dir(r.tokens), "control")
	if s.control, err = os.Create(control); err != nil {
		return nil, err
	}
	for _, err := range []error{s.control.Truncate(4096), os.Setenv("SHIM_MODULE", softHSM), os.Setenv("SHIM_CONTROL", control)} {
		if err != nil {
			return nil, err
		}
	}
	return s, nil
})

func (s *shim) set(t testing.TB, function int, action, times int32, value uint64) {
	t.Helper()
	entry := binary.NativeEndian.AppendUint32(nil, uint32(action))
	entry = binary.NativeEndian.AppendUint32(entry, uint32(times))
	entry = binary.NativeEndian.AppendUint64(entry, value)
	_, err := s.control.WriteAt(entry, int64(16*function))
	require.NoError(t, err)
}

// fails has a function fail so often; less than 0: until pass.
func (s *shim) fails(t testing.TB, function int, times int32, value uint64) {
	s.set(t, function, 1, times, value)
}
func (s *shim) hangs(t testing.TB, function int) { s.set(t, function, 2, 0, 0) }
func (s *shim) pass(t testing.TB, function int)  { s.set(t, function, 0, 0, 0) }

// shimmed is a keystore behind the shim, which passes everything on again when the test ends.
func shimmed(t *testing.T, id string, change func(*pkcs11.Config)) (*shim, pkcs11.Config) {
	t.Helper()
	r := theRig(t)
	s, err := theShim()
	require.NoError(t, err)
	cfg, _ := r.config(t, id)
	cfg.Module = s.path
	if change != nil {
		change(&cfg)
	}
	t.Cleanup(func() {
		for function := range 68 {
			s.pass(t, function)
		}
	})
	return s, cfg
}

// TestModuleHangs: a call that hangs is given up at its deadline, tokens of other modules notice nothing, and the token is
// used again when its module comes back.
func TestModuleHangs(t *testing.T) {
	r := theRig(t)
	s, cfg := shimmed(t, "hangs", func(c *pkcs11.Config) { c.Sessions, c.Deadline = 1, 3*time.Second })
	activation, verifier, err := pkcs11.NewActivation()
	require.NoError(t, err)
	cfg.Verifier = verifier
	k := r.taken(t, cfg, activation)
	other, otherActivation := r.keystore(t, "unharmed")
	require.NoError(t, k.Activate(t.Context(), activation))
	require.NoError(t, other.Activate(t.Context(), otherActivation))
	_, h := sealing(t, k, "key-a")
	_, beside := sealing(t, other, "key-a")

	s.hangs(t, wrapKey)
	for range 2 {
		require.ErrorIs(t, sealOnce(t, h), hsm.ErrUnavailable)
	}
	require.Equal(t, 2, k.Stats().Stuck)
	require.EqualValues(t, 2, k.Stats().Abandoned)
	require.ErrorContains(t, sealOnce(t, h), "2 calls hang in the module", "no more threads than that")
	require.NoError(t, sealOnce(t, beside), "others are unharmed")
	require.True(t, k.Active())
	s.pass(t, wrapKey)
	comes(t, "the module comes back", func() error { return sealOnce(t, h) })
	comes(t, "nothing hangs", func() error { return later(k.Stats().Stuck == 0) })

	s.hangs(t, wrapKey)
	require.ErrorIs(t, sealOnce(t, h), hsm.ErrUnavailable)
	require.NoError(t, k.Deactivate(t.Context()), "closing waits for nobody that hangs")
	require.False(t, k.Active())
	require.ErrorIs(t, sealOnce(t, h), hsm.ErrInactive)
	s.pass(t, wrapKey)
}

// TestModuleRefuses: what a token says at a bad moment is told for what it is.
func TestModuleRefuses(t *testing.T) {
	s, cfg := shimmed(t, "refuses", nil)
	activation, verifier, err := pkcs11.NewActivation()
	require.NoError(t, err)
	cfg.Verifier = verifier

	// Taking it over is cut short at every step, and comes to the same end all the same.
	k, err := pkcs11.New(cfg)
	require.NoError(t, err)
	for _, function := range []int{initPIN, setPIN} {
		s.fails(t, function, 1, binding.CKR_FUNCTION_CANCELED)
		require.ErrorIs(t, k.Initialise(t.Context(), activation), hsm.ErrUnavailable)
		require.False(t, k.Active())
	}
	require.NoError(t, k.Initialise(t.Context(), activation))
	require.NoError(t, k.Deactivate(t.Context()))
	require.NoError(t, k.Initialise(t.Context(), activation), "its security officer has the PIN of the shares: again, to the same end")
	m, h := sealing(t, k, "key-a")
	require.NoError(t, sealOnce(t, h))

	s.fails(t, encryptInit, 1, binding.CKR_MECHANISM_INVALID)
	require.ErrorIs(t, sealOnce(t, h), hsm.ErrUnsupported, "a mechanism refused at use")
	for problem, code := range map[string]uint64{"full": binding.CKR_DEVICE_MEMORY, "write-protected": binding.CKR_TOKEN_WRITE_PROTECTED} {
		s.fails(t, generateKey, 3, code)
		_, err := k.Create(t.Context(), "key-b", 1, hsm.AES256, "effect-"+problem)
		require.ErrorIs(t, err, hsm.ErrUnavailable)
		require.ErrorContains(t, err, problem)
		_, err = k.Find(t.Context(), "effect-"+problem)
		require.ErrorIs(t, err, hsm.ErrNotFound)
	}
	s.fails(t, generateKey, 1, binding.CKR_TEMPLATE_INCONSISTENT)
	made, err := k.Create(t.Context(), "key-b", 1, hsm.AES256, "effect-again")
	require.NoError(t, err)
	require.NoError(t, k.Destroy(t.Context(), made))

	s.fails(t, wrapKey, 1, binding.CKR_DEVICE_ERROR)
	require.NoError(t, sealOnce(t, h), "a passing error is tried again")
	s.fails(t, wrapKey, -1, binding.CKR_DEVICE_ERROR)
	for range 8 {
		require.ErrorIs(t, sealOnce(t, h), hsm.ErrUnavailable)
	}
	require.Positive(t, k.Stats().Refused, "the circuit breaker refuses at once")
	s.pass(t, wrapKey)
	comes(t, "the breaker closes", func() error { return sealOnce(t, h) })

	require.NoError(t, k.Deactivate(t.Context()))
	s.fails(t, login, 1, binding.CKR_PIN_LOCKED)
	require.NoError(t, k.Activate(t.Context(), activation), "a PIN that others locked is set anew by the security officer")
	_, err = k.Open(t.Context(), m)
	require.NoError(t, err)
}
