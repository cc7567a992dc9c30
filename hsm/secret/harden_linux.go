//go:build linux

package secret

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden makes the process undumpable (no core file, no ptrace and no /proc/PID/mem for other processes
// of the same user). It attempts everything and returns what could not be done, joined; nil is success.
func Harden() error {
	var failed []error
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		failed = append(failed, fmt.Errorf("making the process undumpable: %w", err))
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		failed = append(failed, fmt.Errorf("setting the core file limit to 0: %w", err))
	}
	return errors.Join(failed...)
}
