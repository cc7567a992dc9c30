package demo

import (
	"errors"
	"fmt"
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

// marker is the first file of a demonstration: only what holds it is ever removed.
const marker = ".conclave-demonstration"

// check refuses a folder that holds something else, and says whether an earlier demonstration was ended
// before its story was told.
func (d *demo) check() (unfinished bool, err error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", d.dir, err)
	}
	if len(entries) == 0 {
		return false, nil
	}
	if _, err := os.Lstat(filepath.Join(d.dir, marker)); err != nil {
		return false, fmt.Errorf("%s holds something that is not a demonstration; it is left alone: give another --data-dir", d.dir)
	}
	return d.state == nil || !d.state.Told, nil
}

// reset empties the folder of an earlier demonstration.
func (d *demo) reset() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("reading %s: %w", d.dir, err)
	}
	for _, e := range entries {
		if e.Name() != marker { // last, so that what is half removed is still known for what it is
			err = errors.Join(err, os.RemoveAll(filepath.Join(d.dir, e.Name())))
		}
	}
	if err != nil || len(entries) == 0 {
		return err
	}
	return os.Remove(filepath.Join(d.dir, marker))
}

// mark makes the folder known as a demonstration's.
func (d *demo) mark() error {
	return os.WriteFile(filepath.Join(d.dir, marker), []byte("Made by `conclave demo`, which may empty this folder.\n"), 0o600)
}
