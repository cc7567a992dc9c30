package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrFile says that a file is not one to keep a secret in.
var ErrFile = errors.New("not a private file")

// ReadFile reads a file of at most limit bytes that belongs to who runs this and that nobody else may touch; wipe
// what it returns. Errors wrap ErrFile where the file is there and refused.
func ReadFile(path string, limit int64) ([]byte, error) {
	// NONBLOCK: opening a named pipe must not wait for its other end; NOFOLLOW: a link is no key file.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := onlyOwner(info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		Wipe(data)
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		Wipe(data)
		return nil, fmt.Errorf("%w: over %d bytes", ErrFile, limit)
	}
	return data, nil
}

func onlyOwner(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file", ErrFile)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%w: mode %04o lets others in; allowed: 0600 or 0400", ErrFile, perm)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: owned by user %d, not by %d who runs this", ErrFile, stat.Uid, os.Geteuid())
	}
	return nil
}
