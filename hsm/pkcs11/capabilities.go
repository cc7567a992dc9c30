//go:build cgo

package pkcs11

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
)

// discover asks the token what it is and what it can, for which nobody has to be logged in.
func (k *Keystore) discover(ctx context.Context) (can hsm.Capabilities, i hsm.Device, err error) {
	within, cancel := context.WithTimeout(ctx, k.token.cfg.Deadline)
	defer cancel()
	found := make(chan struct{})
	var c hsm.Capabilities
	var identity hsm.Device
	err = k.token.patient(within, ctx, func(ctx context.Context) (err error) {
		defer close(found)
		c, identity, err = k.token.ask(ctx)
		return err
	})
	if err != nil {
		return can, i, err
	}
	<-found
	return c, identity, nil
}

// ask is the token's own word on itself.
func (t *token) ask(ctx context.Context) (can hsm.Capabilities, i hsm.Device, err error) {
	lib, epoch, err := t.module.enter(ctx)
	if err != nil {
		return can, i, err
	}
	slot, info, err := t.find(lib)
	if err != nil { // it may have come after the module was initialised
		t.module.leave()
		if missing := t.module.missing(ctx, epoch); missing != nil {
			return can, i, err
		}
		if lib, _, err = t.module.enter(ctx); err != nil {
			return can, i, err
		}
		if slot, info, err = t.find(lib); err != nil {
			t.module.leave()
			return can, i, err
		}
	}
	defer t.module.leave()
	i = hsm.Device{Label: strings.TrimSpace(info.Label), Serial: strings.TrimSpace(info.SerialNumber), Manufacturer: strings.TrimSpace(info.ManufacturerID),
		Model: strings.TrimSpace(info.Model), Firmware: fmt.Sprintf("%d.%d", info.FirmwareVersion.Major, info.FirmwareVersion.Minor)}
	if info.MaxPinLen < uint(pinBytes) {
		return can, i, fmt.Errorf("the token takes PINs of at most %d characters, needed are %d: %w", info.MaxPinLen, pinBytes, hsm.ErrUnsupported)
	}
	specs, err := t.specs(lib, slot)
	if err != nil {
		return can, i, err
	}
	can = hsm.Capabilities{Specs: specs, Destroy: true, StoresKeys: true, MaxMessage: MaxMessage, KeyStrength: 8 * keyBytes,
		Algorithms: []hsm.Algorithm{hsm.AlgorithmWrappedAES256GCM}}
	if len(specs) == 0 || specs[0] != hsm.AES256 {
		return can, i, fmt.Errorf("the token lacks what it takes to seal (AES-256: key generation, key wrap, GCM, CMAC): %w", hsm.ErrUnsupported)
	}
	return can, i, nil
}

// specs are the specifications for which the token has every mechanism.
func (t *token) specs(lib *pkcs11.Ctx, slot uint) ([]hsm.Spec, error) {
	list, err := lib.GetMechanismList(slot)
	if err != nil {
		return nil, err
	}
	flags := make(map[uint]uint, len(list))
	for _, m := range list {
		info, err := lib.GetMechanismInfo(slot, []*pkcs11.Mechanism{m})
		if err == nil {
			flags[m.Mechanism] = info.Flags
		}
	}
	var out []hsm.Spec
	for _, spec := range hsm.Specs() {
		m, known := makingOf(spec)
		for mechanism, needs := range m.needs {
			known = known && flags[mechanism]&needs == needs
		}
		if known && len(m.hashes) > 0 {
			known = t.takesPSS(lib, slot, m)
		}
		if known {
			out = append(out, spec)
		}
	}
	return out, nil
}

// takesPSS tries whether the token takes the parameters of RSA-PSS, which its list of mechanisms does not say: with a
// public key that is made up, in a session without a login. A token that does not let that be tried is taken not to.
func (t *token) takesPSS(lib *pkcs11.Ctx, slot uint, m making) bool {
	modulus := make([]byte, 384)
	_, _ = rand.Read(modulus)
	modulus[0] |= 0x80
	modulus[len(modulus)-1] |= 1
	for hash, p := range m.hashes {
		s, err := lib.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
		if err != nil {
			return false
		}
		o, err := lib.CreateObject(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_RSA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, false), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS, modulus), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)})
		if err == nil {
			err = lib.VerifyInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.NewPSSParams(p[0], p[1], uint(hash.Size())))}, o)
		}
		_ = lib.CloseSession(s)
		if err != nil {
			return false
		}
	}
	return true
}
