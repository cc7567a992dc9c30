//go:build !cgo

package pkcs11

import (
	"errors"
	"fmt"

	"conclave/hsm"
)

// ErrAbsent says that this program can speak to no token.
var ErrAbsent = errors.New("driver pkcs11 is not in this program: it was built without cgo")

// Modules are the modules that this process has loaded: none, here.
type Modules struct{}

// NewModules returns a set of no modules.
func NewModules() *Modules { return &Modules{} }

// Keystore exists in programs with cgo only; there is no value of this one.
type Keystore struct{ hsm.Rekeyer }

// Stats are never asked for.
func (*Keystore) Stats() Stats { return Stats{} }

// New returns ErrAbsent.
func New(cfg Config) (*Keystore, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("keystore %q: %w", cfg.ID, ErrAbsent)
}
