//go:build !linux

package secret

import "errors"

// Harden makes the process undumpable. Outside Linux it cannot and says so.
func Harden() error {
	return errors.New("making the process undumpable: supported on linux only")
}
