package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// hold makes the demonstration's folder and holds it for this process, so that no second demonstration, nor
// one that starts over, pulls it from under a running one. The kernel lets go when the process ends.
func (d *demo) hold() (release func() error, err error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making %s: %w", d.dir, err)
	}
	f, err := os.Open(d.dir)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", d.dir, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f.Close, nil
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("a demonstration is running from it: use that one, end it with Ctrl-C where it runs, or give another --data-dir")
	}
	return nil, errors.Join(fmt.Errorf("holding %s: %w", d.dir, err), f.Close())
}

// unfinished says that an earlier demonstration was ended before its story was told.
func (d *demo) unfinished() bool {
	if d.state != nil {
		return !d.state.Told
	}
	_, err := os.Lstat(filepath.Join(d.dir, "people"))
	return err == nil
}

// reset empties the folder of what an earlier demonstration made, and of nothing that does not look like one.
func (d *demo) reset() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", d.dir, err)
	}
	if len(entries) == 0 {
		return nil
	}
	for _, made := range []string{"people", "genesis.yaml"} {
		_, err := os.Lstat(filepath.Join(d.dir, made))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking into %s: %w", d.dir, err)
		}
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
		}
		return err
	}
	return fmt.Errorf("%s holds something that is not a demonstration; it is left alone: give another --data-dir", d.dir)
}
