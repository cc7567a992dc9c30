//go:build cgo

package pkcs11_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/pkcs11"
	"conclave/hsm/secret"
)

// patience is how long a test waits for what comes by itself, on a machine that is ten times too slow.
const patience = 2 * time.Minute

// comes waits for a call to work again.
func comes(t *testing.T, what string, works func() error) {
	t.Helper()
	var last error
	require.Eventually(t, func() bool { last = works(); return last == nil }, patience, 20*time.Millisecond, "%s: %v", what, &last)
}

func sealOnce(t *testing.T, h hsm.Sealer) error {
	body, err := h.Seal(t.Context(), nil, []byte("text"), []byte("aad"))
	if err != nil {
		return err
	}
	got, err := h.Open(t.Context(), nil, body, []byte("aad"))
	if err == nil && string(got) != "text" {
		err = errors.New("opened something else than was sealed")
	}
	return err
}

// TestTokenIsRemovedUnderLoad pulls a token out and puts it back while it is used: no answer is wrong, every error is one
// that asks to try again, and nobody has to activate anything.
func TestTokenIsRemovedUnderLoad(t *testing.T) {
	r := theRig(t)
	k, activation := r.keystore(t, "pulled")
	other, otherActivation := r.keystore(t, "stays")
	require.NoError(t, k.Activate(t.Context(), activation))
	require.NoError(t, other.Activate(t.Context(), otherActivation))
	_, h := sealing(t, k, "key-a")
	_, second := sealing(t, k, "key-b")
	_, beside := sealing(t, other, "key-a")
	kept, err := h.Seal(t.Context(), nil, []byte("kept"), nil)
	require.NoError(t, err)

	stop := make(chan struct{})
	var group sync.WaitGroup
	var right, gone atomic.Int64
	for worker := range 6 {
		group.Go(func() {
			mine := []hsm.Sealer{h, second, beside}[worker%3]
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := sealOnce(t, mine); {
				case err == nil:
					right.Add(1)
				case errors.Is(err, hsm.ErrUnavailable):
					gone.Add(1)
				default:
					t.Errorf("a wrong answer: %v", err)
					return
				}
				if got, err := h.Open(t.Context(), nil, kept, nil); err == nil && string(got) != "kept" || err != nil && !errors.Is(err, hsm.ErrUnavailable) {
					t.Errorf("a wrong answer: %q, %v", got, err)
					return
				}
			}
		})
	}
	dir := r.dir(k.Device().Label)
	elsewhere := filepath.Join(t.TempDir(), "pulled-out")
	for range 2 {
		before := right.Load()
		comes(t, "work", func() error { return later(right.Load() > before+20) })
		missed := gone.Load()
		require.NoError(t, os.Rename(dir, elsewhere))
		comes(t, "the loss shows", func() error { return later(gone.Load() > missed) })
		require.NoError(t, os.Rename(elsewhere, dir))
		comes(t, "the token is found again", func() error { return sealOnce(t, h) })
	}
	close(stop)
	group.Wait()
	require.True(t, k.Active())
	comes(t, "its neighbour works", func() error { return sealOnce(t, beside) })
}

func later(now bool) error {
	if now {
		return nil
	}
	return errors.New("not yet")
}

func TestWhatIsLostIsFoundAgain(t *testing.T) {
	r := theRig(t)
	k, activation := r.keystore(t, "found-again")
	require.NoError(t, k.Activate(t.Context(), activation))
	m, h := sealing(t, k, "key-a")
	slot := r.slot(t, k.Device().Label)

	require.NoError(t, r.lib.CloseAllSessions(slot))
	require.NoError(t, sealOnce(t, h), "sessions dropped, which logs out")
	require.NoError(t, r.lib.Finalize())
	comes(t, "a module that was ended", func() error { return sealOnce(t, h) })
	require.NoError(t, r.lib.Finalize())
	require.NoError(t, r.lib.Initialize())
	comes(t, "a module that was restarted", func() error { return sealOnce(t, h) })
	_, err := k.Open(t.Context(), m)
	require.NoError(t, err)

	_, doomed := sealing(t, k, "key-b")
	s, err := r.lib.OpenSession(r.slot(t, k.Device().Label), binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, r.lib.FindObjectsInit(s, []*binding.Attribute{binding.NewAttribute(binding.CKA_LABEL, "key-b:1:aes-256")}))
	found, _, err := r.lib.FindObjects(s, 2)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, r.lib.FindObjectsFinal(s))
	require.NoError(t, r.lib.DestroyObject(s, found[0]))
	require.NoError(t, r.lib.CloseSession(s))
	require.ErrorIs(t, sealOnce(t, doomed), hsm.ErrNotFound, "a key deleted behind our back")
	require.ErrorIs(t, sealOnce(t, doomed), hsm.ErrNotFound)
	require.NoError(t, sealOnce(t, h), "the others stay")
}

func TestTokensAreTheOnesNamed(t *testing.T) {
	r := theRig(t)
	cfg, activation := r.config(t, "named")
	r.mu.Lock()
	require.NoError(t, r.lib.InitToken(r.freeSlot(t), firstSOPIN, cfg.Token.Label)) // another of the same label
	r.mu.Unlock()
	byLabel := cfg
	byLabel.Token.Serial = ""
	_, err := pkcs11.New(byLabel)
	require.ErrorIs(t, err, hsm.ErrInvalid)
	require.ErrorContains(t, err, "2 tokens fit; name the serial number")
	k := r.taken(t, cfg, activation)
	require.Equal(t, cfg.Token.Serial, k.Device().Serial)

	missing := cfg
	missing.Token = hsm.Device{Label: "no such token"}
	_, err = pkcs11.New(missing)
	require.ErrorIs(t, err, hsm.ErrUnavailable)

	second := cfg
	second.ID = "second"
	again, err := pkcs11.New(second)
	require.NoError(t, err)
	require.NoError(t, k.Activate(t.Context(), activation))
	require.ErrorIs(t, again.Activate(t.Context(), activation), hsm.ErrInvalid, "one token, one keystore")
	require.NoError(t, k.Deactivate(t.Context()))
	require.NoError(t, again.Activate(t.Context(), activation))
	require.NoError(t, again.Deactivate(t.Context()))

	require.NotContains(t, k.Capabilities().Specs, hsm.RSAOAEP3072, "what the token lacks is known at registration")
	require.Contains(t, k.Capabilities().Specs, hsm.RSAPSS3072)
}

func TestModulesOfOthersAreRefused(t *testing.T) {
	r := theRig(t)
	cfg, _ := r.config(t, "modules")
	for name, mode := range map[string]os.FileMode{"group": 0o664, "others": 0o646} {
		cfg.Module = filepath.Join(t.TempDir(), "module.so")
		data, err := os.ReadFile(softHSM)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(cfg.Module, data, 0o600))
		require.NoError(t, os.Chmod(cfg.Module, mode))
		_, err = pkcs11.New(cfg)
		require.ErrorIs(t, err, hsm.ErrInvalid, name)
		require.ErrorContains(t, err, "may write")
	}
	for _, path := range []string{"", "libsofthsm2.so", "/usr/lib/../lib/x.so", "/no/such/module.so", "/etc/passwd"} {
		cfg.Module = path
		_, err := pkcs11.New(cfg)
		require.Error(t, err, path)
	}
}

// pinOf is a PIN as the token has it, by the description of docs/wire-formats.md.
func pinOf(t *testing.T, activation *secret.Bytes, label string) string {
	t.Helper()
	var out string
	require.NoError(t, activation.Use(func(b []byte) error { out = b64(derived(t, bytes.Clone(b), label)); return nil }))
	return out
}

// TestPINIsTriedOnce: a token whose PIN others changed is asked once, and never again until it locks.
func TestPINIsTriedOnce(t *testing.T) {
	r := theRig(t)
	k, activation := r.keystore(t, "changed-pin")
	require.NoError(t, k.Activate(t.Context(), activation))
	_, h := sealing(t, k, "key-a")
	require.NoError(t, k.Deactivate(t.Context()))
	slot := r.slot(t, k.Device().Label)
	s, err := r.lib.OpenSession(slot, binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
	require.NoError(t, err)
	defer func() { _ = r.lib.CloseSession(s) }()
	require.NoError(t, r.lib.Login(s, binding.CKU_SO, pinOf(t, activation, "conclave token so pin v1")))
	require.NoError(t, r.lib.InitPIN(s, "somebody else's"))
	require.NoError(t, r.lib.Logout(s))
	tried := func() bool {
		info, err := r.lib.GetTokenInfo(slot)
		require.NoError(t, err)
		return info.Flags&binding.CKF_USER_PIN_COUNT_LOW != 0
	}
	require.ErrorIs(t, k.Activate(t.Context(), activation), hsm.ErrActivationSecret)
	require.True(t, tried())
	require.NoError(t, r.lib.Login(s, binding.CKU_USER, "somebody else's"))
	require.NoError(t, r.lib.Logout(s))
	require.False(t, tried(), "SoftHSM forgets wrong tries with a right one")
	for range 3 {
		require.ErrorIs(t, k.Activate(t.Context(), activation), hsm.ErrActivationSecret)
	}
	require.False(t, tried(), "the token was asked once")
	require.ErrorIs(t, sealOnce(t, h), hsm.ErrInactive)

	// The same while it is in use: it shows when the login is lost.
	k, activation = r.keystore(t, "changed-in-use")
	require.NoError(t, k.Activate(t.Context(), activation))
	_, h = sealing(t, k, "key-a")
	used, err := r.lib.OpenSession(r.slot(t, k.Device().Label), binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, r.lib.SetPIN(used, pinOf(t, activation, "conclave token user pin v1"), "somebody else's"))
	require.NoError(t, sealOnce(t, h), "a login outlasts its PIN")
	require.NoError(t, r.lib.CloseAllSessions(r.slot(t, k.Device().Label)))
	require.ErrorIs(t, sealOnce(t, h), hsm.ErrInactive)
	require.False(t, k.Active())
	require.ErrorIs(t, k.Activate(t.Context(), activation), hsm.ErrActivationSecret)
}

// TestAnotherFirstPIN: what the file of the first PIN says is wrong costs one try, and nothing of what follows.
func TestAnotherFirstPIN(t *testing.T) {
	r := theRig(t)
	cfg, activation := r.config(t, "first-pin")
	k, err := pkcs11.New(cfg)
	require.NoError(t, err)
	require.NoError(t, k.CheckInitialise(t.Context()))
	cfg.SOPINFile = filepath.Join(t.TempDir(), "so-pin")
	k, err = pkcs11.New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, k.CheckInitialise(t.Context()), "pkcs11.so_pin_file")
	require.NoError(t, os.WriteFile(cfg.SOPINFile, []byte("somebody else's\n"), 0o600))
	require.NoError(t, k.CheckInitialise(t.Context()), "whether it is right is not tried")
	err = k.Initialise(t.Context(), activation)
	require.ErrorIs(t, err, hsm.ErrInvalid)
	require.ErrorContains(t, err, "another PIN than the one in pkcs11.so_pin_file")
	require.NoError(t, os.WriteFile(cfg.SOPINFile, []byte(firstSOPIN+"\n"), 0o600))
	require.NoError(t, k.Initialise(t.Context(), activation))
	require.NoError(t, k.Deactivate(t.Context()))
	require.NoError(t, k.Activate(t.Context(), activation), "no PIN of these shares was ever refused")
	require.NoError(t, k.Deactivate(t.Context()))

	cfg.Token = hsm.Device{Label: "nowhere"}
	_, err = pkcs11.New(cfg)
	require.ErrorIs(t, err, hsm.ErrUnavailable)
	require.ErrorContains(t, err, k.Device().Serial, "what is there instead is named")
}

// TestPINChangeIsFinished: a process that ended after the record had changed, at whatever step of changing the token's
// PINs, leaves what the new shares finish; before the record has changed the old shares open the token.
func TestPINChangeIsFinished(t *testing.T) {
	r := theRig(t)
	for name, cut := range map[string]func(t *testing.T, s binding.SessionHandle, was, now *secret.Bytes){
		"nothing was done": func(*testing.T, binding.SessionHandle, *secret.Bytes, *secret.Bytes) {},
		"the security officer's was": func(t *testing.T, s binding.SessionHandle, was, now *secret.Bytes) {
			require.NoError(t, r.lib.Login(s, binding.CKU_SO, pinOf(t, was, "conclave token so pin v1")))
			require.NoError(t, r.lib.SetPIN(s, pinOf(t, was, "conclave token so pin v1"), pinOf(t, now, "conclave token so pin v1")))
			require.NoError(t, r.lib.Logout(s))
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, activation := r.config(t, "cut-short")
			k := r.taken(t, cfg, activation)
			require.NoError(t, k.Activate(t.Context(), activation))
			m, h := sealing(t, k, "key-a")
			body, err := h.Seal(t.Context(), nil, []byte("text"), nil)
			require.NoError(t, err)
			next, verifier, err := k.NewActivation()
			require.NoError(t, err)
			recorded, err := k.Stage(t.Context(), next, verifier)
			require.NoError(t, err)
			require.NoError(t, k.Deactivate(t.Context()), "the process ends")
			require.NoError(t, k.Activate(t.Context(), activation), "the record has not changed")
			require.NoError(t, k.Deactivate(t.Context()))
			s, err := r.lib.OpenSession(r.slot(t, k.Device().Label), binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
			require.NoError(t, err)
			cut(t, s, activation, next)
			require.NoError(t, r.lib.CloseSession(s))

			cfg.Verifier, cfg.Capabilities = recorded, k.Capabilities()
			again, err := pkcs11.New(cfg)
			require.NoError(t, err)
			require.ErrorIs(t, again.Activate(t.Context(), activation), hsm.ErrActivationSecret)
			require.NoError(t, again.Activate(t.Context(), next))
			o, err := again.Open(t.Context(), m)
			require.NoError(t, err)
			sealer, err := hsm.As[hsm.Sealer](o)
			require.NoError(t, err)
			got, err := sealer.Open(t.Context(), nil, body, nil)
			require.NoError(t, err)
			require.Equal(t, "text", string(got))
			require.NoError(t, again.Deactivate(t.Context()))

			s, err = r.lib.OpenSession(r.slot(t, k.Device().Label), binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
			require.NoError(t, err)
			for user, label := range map[uint]string{binding.CKU_SO: "conclave token so pin v1", binding.CKU_USER: "conclave token user pin v1"} {
				require.Error(t, r.lib.Login(s, user, pinOf(t, activation, label)), "the old PINs open nothing")
				require.NoError(t, r.lib.Login(s, user, pinOf(t, next, label)))
				require.NoError(t, r.lib.Logout(s))
			}
			require.NoError(t, r.lib.CloseSession(s))
		})
	}
}
