package operation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"conclave/custodian/backup"
	"conclave/custodian/location"
)

// Objects is an object store. Buckets and keys are those of [location.Object]. Safe for concurrent use.
type Objects interface {
	// Create streams what write gives to a new object, in bounded memory: it is there whole or not at all, and never in
	// place of another, by the store's own doing (fs.ErrExist).
	Create(ctx context.Context, bucket, name string, write func(io.Writer) error) error
	// Replace stores a file of the file system as an object, also in place of another.
	Replace(ctx context.Context, bucket, name, file string) error
	// Open reads an object; fs.ErrNotExist where there is none.
	Open(ctx context.Context, bucket, name string) (io.ReadCloser, error)
	// List gives the keys that begin with a prefix.
	List(ctx context.Context, bucket, prefix string) ([]string, error)
	// Remove deletes an object. One that is not there is no error.
	Remove(ctx context.Context, bucket, name string) error
	// Discard gives up what was begun and not finished of objects whose key has this prefix and suffix.
	Discard(ctx context.Context, bucket, prefix, suffix string) error
}

// errNoObjects: a place in an object store, and a process that is configured for none.
var errNoObjects = errors.New("this process is configured for no object store (s3.region)")

// object is the object of a place, with the store that has it.
func (k *Copier) object(place string) (store Objects, bucket, name string, err error) {
	bucket, name, _ = location.Object(place)
	if k == nil || k.Objects == nil {
		return nil, "", "", fmt.Errorf("%s: %w", place, errNoObjects)
	}
	return k.Objects, bucket, name, nil
}

// open reads a file or an object.
func (k *Copier) open(ctx context.Context, place string) (io.ReadCloser, error) {
	if _, _, object := location.Object(place); !object {
		return os.Open(place)
	}
	objects, bucket, name, err := k.object(place)
	if err != nil {
		return nil, err
	}
	return objects.Open(ctx, bucket, name)
}

func (k *Copier) remove(ctx context.Context, place string) error {
	if _, _, object := location.Object(place); !object {
		return remove(place)
	}
	objects, bucket, name, err := k.object(place)
	if err != nil {
		return err
	}
	return objects.Remove(ctx, bucket, name)
}

// markName is the object by which a writer knows the place that it writes to.
const markName = ".conclave-backups"

// marked: copies were written to where a copy stands, so that one that is not there is gone.
func (k *Copier) marked(ctx context.Context, place string) bool {
	objects, bucket, name, err := k.object(place)
	if err != nil {
		return false
	}
	r, err := objects.Open(ctx, bucket, path.Join(path.Dir(name), markName))
	if err != nil {
		return false
	}
	return r.Close() == nil
}

// suffix ends the name of this backup, whenever it was begun.
func (c *copying) suffix() string { return "-" + c.id + backup.BackupSuffix }

// findObject looks for the whole object of this backup; "" where there is none.
func (c *copying) findObject(ctx context.Context) (string, error) {
	objects, bucket, prefix, err := c.copier.object(c.schedule.Directory)
	if err != nil {
		return "", err
	}
	found, err := objects.List(ctx, bucket, prefix+"/"+c.schedule.ID+"-")
	if err != nil {
		return "", fmt.Errorf("looking for the backup: %w", err)
	}
	for _, name := range found {
		if strings.HasSuffix(name, c.suffix()) {
			return location.Within(c.schedule.Directory, path.Base(name)), nil
		}
	}
	return "", nil
}

// makeObject streams the backup to its place, where it appears whole or not at all, and reads it back before it counts.
// Another process that makes the same one does not get past the name.
func (c *copying) makeObject(ctx context.Context) (*backup.Copy, error) {
	objects, bucket, prefix, err := c.copier.object(c.schedule.Directory)
	if err != nil {
		return nil, err
	}
	if whole, err := c.find(ctx); err != nil || whole != "" { // made before a crash
		if err != nil {
			return nil, err
		}
		return c.describe(ctx, whole)
	}
	if err := c.discard(ctx); err != nil {
		return nil, err
	}
	err = objects.Create(ctx, bucket, prefix+"/"+markName, func(w io.Writer) error {
		_, err := io.WriteString(w, "backups of conclave instance "+c.in.Instance.ID+"\n")
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("marking the place of the backups: %w", err)
	}
	named := backup.Manifest{ID: c.id, Schedule: c.schedule.ID, CreatedAt: c.in.Now}
	final := location.Within(c.schedule.Directory, named.FileName())
	_, name, _ := location.Object(final)
	err = objects.Create(ctx, bucket, name, func(w io.Writer) error { return c.stream(ctx, w) })
	if errors.Is(err, fs.ErrExist) { // what stands there was finished by somebody: it is judged, not taken away
		return c.describe(ctx, final)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the backup: %w", err)
	}
	made, err := c.describe(ctx, final)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the backup back: %w", err), objects.Remove(context.WithoutCancel(ctx), bucket, name))
	}
	return made, nil
}

// discard takes away what was begun of this backup and not finished.
func (c *copying) discard(ctx context.Context) error {
	if _, _, object := location.Object(c.schedule.Directory); !object {
		return remove(c.partial())
	}
	objects, bucket, prefix, err := c.copier.object(c.schedule.Directory)
	if err != nil {
		return err
	}
	return objects.Discard(ctx, bucket, prefix+"/"+c.schedule.ID+"-", c.suffix())
}

// removeObject is RemoveCopy of a copy in an object store.
func (k *Copier) removeObject(ctx context.Context, c *backup.Copy, journals bool) (gone bool, err error) {
	objects, bucket, name, err := k.object(c.File)
	if err != nil {
		return false, err
	}
	f, err := objects.Open(ctx, bucket, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("deleting backup %s: %w", c.ID, err)
	}
	ours := isBackup(f)
	if err := f.Close(); err != nil || !ours || !strings.HasSuffix(name, "-"+c.ID+backup.BackupSuffix) {
		return false, errors.Join(fmt.Errorf("deleting backup %s: %s is not a backup, and is left alone", c.ID, c.File), err)
	}
	if err := objects.Remove(ctx, bucket, name); err != nil {
		return false, fmt.Errorf("deleting backup %s: %w", c.ID, err)
	}
	if !journals {
		return true, nil
	}
	found, err := objects.List(ctx, bucket, strings.TrimSuffix(name, backup.BackupSuffix)+".")
	if err != nil {
		return true, fmt.Errorf("looking for journals: %w", err)
	}
	for _, name := range found {
		if strings.HasSuffix(name, backup.JournalSuffix) {
			err = errors.Join(err, objects.Remove(ctx, bucket, name), remove(filepath.Join(k.Journals, path.Base(name))))
		}
	}
	return true, err
}

// JournalPath is the file in which the journal of a copy is written: its place itself, or the file that an object in its
// place is made from.
func (k *Copier) JournalPath(place string) string {
	if _, name, object := location.Object(place); object {
		return filepath.Join(k.Journals, path.Base(name))
	}
	return place
}

// PublishJournal brings the object of a journal up to its file. A journal that is a file where it stands is left alone.
func (k *Copier) PublishJournal(ctx context.Context, place string) error {
	if _, _, object := location.Object(place); !object {
		return nil
	}
	objects, bucket, name, err := k.object(place)
	if err != nil {
		return err
	}
	file := k.JournalPath(place)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing has happened yet
	}
	return objects.Replace(ctx, bucket, name, file)
}
