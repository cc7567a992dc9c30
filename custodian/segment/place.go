package segment

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"conclave/custodian/location"
)

// Objects is what of an object store segments need. Safe for concurrent use.
type Objects interface {
	// Create streams a new object: whole or not at all, and never in place of another (fs.ErrExist).
	Create(ctx context.Context, bucket, name string, write func(io.Writer) error) error
	// Size of an object, in bytes; fs.ErrNotExist where there is none.
	Size(ctx context.Context, bucket, name string) (int64, error)
	// ReadAt reads len(p) bytes of an object from off on.
	ReadAt(ctx context.Context, bucket, name string, p []byte, off int64) (int, error)
	// Remove deletes an object. One that is not there is no error.
	Remove(ctx context.Context, bucket, name string) error
}

// markName is the file by which an archive is known: where it is missing, something else is mounted, or nothing.
const markName = ".conclave-archive"

// Archive is where segments are: a directory that exists, or a prefix in an object store.
type Archive struct {
	Directory string
	Objects   Objects // nil where this process is configured for no object store
	// Writer is who writes there: see [Writer]. Whoever only reads needs none.
	Writer string
}

// Writer names a node of an instance in what it has not finished writing, so that it knows its own again among those of
// others in the same directory. No name is the beginning of another.
func Writer(instance, node string) string {
	sum := sha256.Sum256([]byte(instance + "/" + node))
	return hex.EncodeToString(sum[:8])
}

const (
	partialPrefix, partialSuffix = ".segment-", ".partial"
	// leftAfter is how long nothing was written to a file that its writer has left behind (ours): far longer than a
	// writer at work takes from one group of entries to the next.
	leftAfter = time.Hour
)

// Tidy removes what this writer began to write and, killed, left behind; nothing of others, and nothing that may still be
// written. It says how many files that were. In an object store there are none: what is not whole does not appear.
func (a Archive) Tidy(now time.Time) (removed int, err error) {
	if _, _, is := location.Object(a.Directory); is || a.Writer == "" {
		return 0, nil
	}
	entries, err := os.ReadDir(a.Directory)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrUnreachable, a.Directory, err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), partialPrefix+a.Writer+"-") || !strings.HasSuffix(e.Name(), partialSuffix) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) < leftAfter {
			continue
		}
		if err == nil {
			err = os.Remove(filepath.Join(a.Directory, e.Name()))
		}
		switch {
		case err == nil:
			removed++
		case !errors.Is(err, fs.ErrNotExist): // else it was finished meanwhile
			errs = append(errs, fmt.Errorf("removing what was left behind: %w", err))
		}
	}
	return removed, errors.Join(errs...)
}

func (a Archive) object() (bucket, prefix string, is bool, err error) {
	bucket, prefix, is = location.Object(a.Directory)
	if is && a.Objects == nil {
		err = fmt.Errorf("%w: %s: this process is configured for no object store (s3.region)", ErrUnreachable, a.Directory)
	}
	return bucket, prefix, is, err
}

// Mark makes a place an archive of segments. A directory must exist: an absent mount is not made up for.
func (a Archive) Mark(ctx context.Context, instance string) error {
	err := a.create(ctx, markName, func(w io.Writer) error {
		_, err := io.WriteString(w, "ledger archive of conclave instance "+instance+"\n")
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Marked reports whether the place is an archive, so that a file that is not there is gone.
func (a Archive) Marked(ctx context.Context) bool {
	_, _, closer, err := a.open(ctx, markName)
	if err != nil {
		return false
	}
	return closer.Close() == nil
}

// Create writes a segment's file: it is there whole and durably, or not at all, and never in place of another
// (fs.ErrExist).
func (a Archive) Create(ctx context.Context, name string, write func(io.Writer) error) error {
	if err := a.create(ctx, name, write); err != nil {
		return fmt.Errorf("writing segment to %s: %w", a.Directory, err)
	}
	return nil
}

func (a Archive) create(ctx context.Context, name string, write func(io.Writer) error) error {
	bucket, prefix, is, err := a.object()
	if err != nil {
		return err
	}
	if is {
		return a.Objects.Create(ctx, bucket, prefix+"/"+name, write)
	}
	final := filepath.Join(a.Directory, name)
	if _, err := os.Lstat(final); err == nil {
		return fs.ErrExist
	}
	f, err := os.CreateTemp(a.Directory, partialPrefix+a.Writer+"-*"+partialSuffix) // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, final, unix.RENAME_NOREPLACE); err != nil {
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) { // a file system without it: what was not there before is not there now but for a race with nobody
			return err
		}
		if err := os.Rename(f.Name(), final); err != nil {
			return err
		}
	}
	d, err := os.Open(a.Directory)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open opens a segment's file; close it after use. What can not be read is [ErrUnreachable], wrapped with fs.ErrNotExist
// where the file is not there.
func (a Archive) Open(ctx context.Context, name string) (*File, io.Closer, error) {
	r, size, closer, err := a.open(ctx, name)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, location.Within(a.Directory, name), err)
	}
	f, err := Open(r, size)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("opening %s: %w", location.Within(a.Directory, name), err), closer.Close())
	}
	return f, closer, nil
}

func (a Archive) open(ctx context.Context, name string) (io.ReaderAt, int64, io.Closer, error) {
	bucket, prefix, is, err := a.object()
	if err != nil {
		return nil, 0, nil, err
	}
	if is {
		key := prefix + "/" + name
		size, err := a.Objects.Size(ctx, bucket, key)
		if err != nil {
			return nil, 0, nil, err
		}
		// The segment outlives the call that opened it, and so must its reader.
		return newBlocks(&object{ctx: context.WithoutCancel(ctx), from: a.Objects, bucket: bucket, name: key}, size), size, io.NopCloser(nil), nil
	}
	f, err := os.OpenFile(filepath.Join(a.Directory, name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) { // who asks says which file
			err = path.Err
		}
		return nil, 0, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, f.Close())
	}
	return f, info.Size(), f, nil
}

// Size of a segment's file, in bytes. What can not be opened is [ErrUnreachable].
func (a Archive) Size(ctx context.Context, name string) (int64, error) {
	_, size, closer, err := a.open(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrUnreachable, location.Within(a.Directory, name), err)
	}
	return size, closer.Close()
}

// Sum is the SHA-256 of a file and its length.
func (a Archive) Sum(ctx context.Context, name string) (sum string, size int64, err error) {
	r, size, closer, err := a.open(ctx, name)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %s: %w", ErrUnreachable, location.Within(a.Directory, name), err)
	}
	defer closer.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(r, 0, size), make([]byte, blockBytes)); err != nil {
		return "", 0, fmt.Errorf("%w: %s: %w", ErrUnreachable, location.Within(a.Directory, name), err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// Remove deletes a segment's file. gone is false where there was none, which alone says nothing: see [Archive.Marked].
func (a Archive) Remove(ctx context.Context, name string) (gone bool, err error) {
	bucket, prefix, is, err := a.object()
	if err != nil {
		return false, err
	}
	if is {
		key := prefix + "/" + name
		if _, err := a.Objects.Size(ctx, bucket, key); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("deleting segment: %w", err)
		}
		return true, a.Objects.Remove(ctx, bucket, path.Clean(key))
	}
	err = os.Remove(filepath.Join(a.Directory, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("deleting segment: %w", err)
	}
	return true, nil
}
