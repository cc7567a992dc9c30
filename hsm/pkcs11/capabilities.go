//go:build cgo

package pkcs11

import (
	"context"
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
	has, err := mechanismsOf(lib, slot)
	if err != nil {
		return can, i, err
	}
	specs := t.specs(lib, slot, has)
	can = hsm.Capabilities{Specs: specs, Destroy: true, StoresKeys: true, MaxMessage: MaxMessage, KeyStrength: 8 * keyBytes,
		Algorithms: []hsm.Algorithm{hsm.AlgorithmWrappedAES256GCM}, Imports: t.imports(lib, slot, has, specs)}
	if len(specs) == 0 || specs[0] != hsm.AES256 {
		return can, i, fmt.Errorf("the token lacks what it takes to seal (AES-256: key generation, key wrap, GCM, CMAC): %w", hsm.ErrUnsupported)
	}
	return can, i, nil
}

// specs are the specifications for which the token has every mechanism.
func (t *token) specs(lib *pkcs11.Ctx, slot uint, has abilities) []hsm.Spec {
	var out []hsm.Spec
	for _, spec := range hsm.Specs() {
		m, known := makingOf(spec)
		for mechanism, needs := range m.needs {
			known = known && has.can(mechanism, needs)
		}
		if known && len(m.hashes) > 0 {
			known = t.takesPSS(lib, slot, m)
		}
		if known {
			out = append(out, spec)
		}
	}
	return out
}

// takesPSS tries whether the token takes the parameters of RSA-PSS, which its list of mechanisms does not say. A token
// that does not let that be tried is taken not to.
func (t *token) takesPSS(lib *pkcs11.Ctx, slot uint, m making) bool {
	for hash, p := range m.hashes {
		takes := t.withMadeUpKey(lib, slot, pkcs11.CKA_VERIFY, func(s pkcs11.SessionHandle, o pkcs11.ObjectHandle) error {
			return lib.VerifyInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_RSA_PKCS_PSS, pkcs11.NewPSSParams(p[0], p[1], uint(hash.Size())))}, o)
		})
		if !takes {
			return false
		}
	}
	return true
}
