// Package pkcs11 is the keystore driver for hardware security modules, and whatever else speaks PKCS #11 (OASIS, 2.40):
// one token is one keystore. Keys are made inside the token and are never extractable; what is done with them is done
// inside the token too. Formats: docs/wire-formats.md.
//
// The module is a shared library that the maker of the token provides. It runs in this process: one that crashes takes
// the process with it. One that hangs costs a thread for each call that hangs, a bounded number of them, and the calls
// of its own tokens.
//
// A build without cgo has the configuration and formats, and a [New] that says that the driver is absent.
package pkcs11

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"conclave/hsm"
)

// Driver is the driver's name in records.
const Driver = "pkcs11"

const (
	// MaxMessage is the longest plaintext of one Seal, and the longest message of one MAC or Ed25519 signature,
	// in bytes.
	MaxMessage = 64 << 10
	// MaxSessions bounds the sessions of one token (ours: tokens are not made faster by more).
	MaxSessions = 64
	// maxID bounds ids, in bytes; with version and specification they are an object's label.
	maxID = 255
	// maxLabel and maxSerial are the lengths that PKCS #11 gives to a token's label and serial number, in bytes.
	maxLabel, maxSerial = 32, 16
	// keyBytes is the length of activation secrets, and of AES-256 keys.
	keyBytes = 32
)

// Config is one keystore in a token.
type Config struct {
	ID       string     // keystore id, bound into every object
	Verifier []byte     // from NewActivation or Stage, stored in the keystore's record
	Modules  *Modules   // this process's modules
	Module   string     // absolute path of the token's module
	Token    hsm.Device // which token: label, serial number, or both
	Sessions int        // calls at once, 1 to MaxSessions
	// Capabilities as the keystore's record has them; with none the token is asked, which takes its presence.
	Capabilities hsm.Capabilities
	// SOPINFile holds the PIN of the token's security officer until the token is initialised; "" for none.
	SOPINFile string
	// Deadline bounds one call; 0: hsm.Deadline.
	Deadline time.Duration
	Logger   *slog.Logger // nil: none
}

// check names the first field that is out of range.
func (c *Config) check() error {
	if c.ID == "" || len(c.ID) > maxID {
		return fmt.Errorf("keystore id: %d bytes long, allowed are 1 to %d: %w", len(c.ID), maxID, hsm.ErrInvalid)
	}
	if _, _, err := splitVerifier(c.Verifier); err != nil {
		return err
	}
	if err := CheckModule(c.Module); err != nil {
		return err
	}
	if err := CheckDevice(c.Token); err != nil {
		return err
	}
	if c.Sessions < 1 || c.Sessions > MaxSessions {
		return fmt.Errorf("sessions: %d, allowed are 1 to %d: %w", c.Sessions, MaxSessions, hsm.ErrInvalid)
	}
	if c.Modules == nil || c.Deadline < 0 {
		return fmt.Errorf("modules and deadline: missing or negative: %w", hsm.ErrInvalid)
	}
	return nil
}

// CheckModule refuses what can not be the path of a module. The file itself is looked at when it is loaded.
func CheckModule(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.ContainsRune(path, 0) {
		return fmt.Errorf("module: %.64q is no absolute path without detours: %w", path, hsm.ErrInvalid)
	}
	return nil
}

// CheckDevice refuses what finds no token.
func CheckDevice(d hsm.Device) error {
	switch {
	case d.Label == "" && d.Serial == "":
		return fmt.Errorf("token: neither label nor serial number, allowed are either or both: %w", hsm.ErrInvalid)
	case len(d.Label) > maxLabel || strings.TrimSpace(d.Label) != d.Label:
		return fmt.Errorf("token label: %.64q, allowed are at most %d bytes without blanks around them: %w", d.Label, maxLabel, hsm.ErrInvalid)
	case len(d.Serial) > maxSerial || strings.TrimSpace(d.Serial) != d.Serial:
		return fmt.Errorf("token serial number: %.64q, allowed are at most %d bytes without blanks around them: %w", d.Serial, maxSerial, hsm.ErrInvalid)
	}
	return nil
}
