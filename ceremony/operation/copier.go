package operation

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"conclave/custodian"
	"conclave/custodian/backup"
	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/location"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// Copier is what a process that writes backups has: the node's keys, which go into each, and who signs.
type Copier struct {
	Keys    func() (*backup.Keys, error) // the node's key files; the caller wipes them
	Signer  dsse.Signer                  // the node's key
	NodeKey ledger.NodeKey               // its public half, as trust files pin it
	Program string                       // version of this program
	// Objects is the object store that this process is configured for, nil for none; Journals the directory in which it
	// keeps the journals of copies that are there, since they grow by lines.
	Objects  Objects
	Journals string
}

// ErrBusy: another process is writing to the directory.
var ErrBusy = errors.New("another backup is being written to this directory")

// Trust is what this instance's own backups are verified against when they are read back.
func (c *Copier) Trust(view *store.View, logKeys *ledger.KeyChain, in custodian.Instance, now time.Time) (*ledger.TrustFile, error) {
	nodes, err := custodian.NodeKeys(view, true) // any of them may have made it, also one that is revoked since
	if err != nil {
		return nil, err
	}
	origin, err := ledger.Origin(in.ID)
	if err != nil {
		return nil, err
	}
	return &ledger.TrustFile{Instance: in.ID, Origin: origin, Mode: string(in.Mode), LogKeys: logKeys.Keys(), Handovers: logKeys.Handovers(), NodeKeys: append(nodes, c.NodeKey), CreatedAt: now}, nil
}

// copying is one backup being made.
type copying struct {
	copier   *Copier
	env      Env
	in       Input
	id       string
	schedule *backup.Schedule
	set      *people.ShareSet
	shares   []*people.Share
}

// partial is the name under which a backup is written until it is whole.
func (c *copying) partial() string {
	return filepath.Join(c.schedule.Directory, "."+c.id+".partial")
}

// find looks for the whole file of this backup; "" where there is none.
func (c *copying) find(ctx context.Context) (string, error) {
	if _, _, object := location.Object(c.schedule.Directory); object {
		return c.findObject(ctx)
	}
	found, err := os.ReadDir(c.schedule.Directory)
	if err != nil {
		return "", fmt.Errorf("looking into the backup directory: %w", err)
	}
	for _, e := range found {
		if strings.HasSuffix(e.Name(), "-"+c.id+backup.BackupSuffix) && e.Type().IsRegular() {
			return filepath.Join(c.schedule.Directory, e.Name()), nil
		}
	}
	return "", nil
}

// lockName is the file by which a writer keeps others out, and by which it knows its directory.
const lockName = ".conclave-backup.lock"

// lock keeps a second writer out of the directory until unlock.
func (c *copying) lock() (unlock func() error, err error) {
	if _, _, object := location.Object(c.schedule.Directory); object { // there the name alone keeps a second one out
		return func() error { return nil }, nil
	}
	f, err := os.OpenFile(filepath.Join(c.schedule.Directory, lockName), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the backup directory cannot be written to (it must exist; an absent mount is not made up for): %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(ErrBusy, f.Close())
	}
	return f.Close, nil
}

// make writes the backup beside its name, reads it back and verifies it, and only then gives it its name.
func (c *copying) make(ctx context.Context) (_ *backup.Copy, err error) {
	if _, _, object := location.Object(c.schedule.Directory); object {
		return c.makeObject(ctx)
	}
	unlock, err := c.lock()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if whole, err := c.find(ctx); err != nil || whole != "" { // made before a crash
		if err != nil {
			return nil, err
		}
		return c.describe(ctx, whole)
	}
	temp := c.partial()
	if err := remove(temp); err != nil { // left by a process that died
		return nil, err
	}
	if err := c.write(ctx, temp); err != nil {
		return nil, errors.Join(err, remove(temp))
	}
	if _, err := c.describe(ctx, temp); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the backup back: %w", err), remove(temp))
	}
	named := backup.Manifest{ID: c.id, Schedule: c.schedule.ID, CreatedAt: c.in.Now}
	final := filepath.Join(c.schedule.Directory, named.FileName())
	if err := publish(temp, final); err != nil {
		return nil, errors.Join(err, remove(temp))
	}
	return c.describe(ctx, final)
}

func (c *copying) write(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("creating the backup: %w", err)
	}
	err = c.stream(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// stream writes the whole backup, in bounded memory.
func (c *copying) stream(ctx context.Context, to io.Writer) error {
	logKey := c.env.Custodian.Store().LogKeys().Newest()
	keys, err := c.copier.Keys()
	if err != nil {
		return fmt.Errorf("reading the node's keys: %w", err)
	}
	defer keys.Wipe()
	var w *backup.Writer
	err = c.env.Custodian.Store().Export(ctx, func(r store.Record) error {
		if r.Type != store.RecordHead {
			return w.Record(r)
		}
		// The keys were read before the head: they must be those that signed it.
		if c.env.Custodian.Store().LogKeys().Newest() != logKey {
			return errors.New("the log key was replaced meanwhile")
		}
		m, err := c.manifest(r.Body)
		if err != nil {
			return err
		}
		if w, err = backup.NewWriter(to, m, keys, c.copier.Signer); err != nil {
			return err
		}
		return w.Record(r)
	})
	if err == nil {
		_, err = w.Close()
	}
	return err
}

func (c *copying) manifest(note []byte) (backup.Manifest, error) {
	public, err := c.schedule.PublicKey()
	if err != nil {
		return backup.Manifest{}, fmt.Errorf("backup key: %w", err)
	}
	m := backup.Manifest{ID: c.id, Schedule: c.schedule.ID, Instance: c.in.Instance.ID, Name: c.in.Instance.Name, Mode: string(c.in.Instance.Mode),
		Node: c.env.Custodian.Node(), Program: c.copier.Program, Policy: c.env.Policies.Digest(), Checkpoint: string(note),
		Handovers: c.env.Custodian.Store().LogKeys().Handovers(), ShareSet: c.set.ID, Epoch: c.schedule.Epoch, Threshold: c.set.Threshold, KeyID: c.schedule.KeyID, Key: public, CreatedAt: c.in.Now.UTC()}
	for _, s := range c.shares {
		m.Shares = append(m.Shares, backup.ShareOf(s))
	}
	return m, nil
}

// describe verifies a file of this backup to its end and says what the register keeps of it.
func (c *copying) describe(ctx context.Context, path string) (*backup.Copy, error) {
	trust, err := c.copier.Trust(c.env.Custodian.View(), c.env.Custodian.Store().LogKeys(), c.in.Instance, c.in.Now)
	if err != nil {
		return nil, err
	}
	f, err := c.copier.open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close()
	file, err := backup.Open(f, trust)
	if err != nil {
		return nil, err
	}
	m := file.Manifest
	head, err := m.Head(trust)
	if err != nil {
		return nil, err
	}
	sum, err := file.Verify()
	if err != nil {
		return nil, err
	}
	if m.ID != c.id || sum.Entries != head.Size {
		return nil, fmt.Errorf("%w: backup %s with %d entries of %d", backup.ErrAltered, m.ID, sum.Entries, head.Size)
	}
	return &backup.Copy{ID: c.id, Schedule: m.Schedule, File: path, Bytes: sum.Bytes, SHA256: sum.SHA256, Size: head.Size, Root: head.Root.String(),
		Rows: sum.Rows, ShareSet: m.ShareSet, Epoch: m.Epoch, Threshold: m.Threshold, KeyID: m.KeyID, Sets: sum.Sets, Control: head.ControlCount, ControlLast: head.ControlLast, Node: m.Node,
		StartedAt: m.CreatedAt, Status: backup.CopyPresent}, nil
}

// publish gives a finished file its name, durably, and never over another.
func publish(temp, final string) error {
	if err := os.Link(temp, final); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("giving the backup its name: %w", err)
		}
		// Some file systems have no links: what find did not see is not there but for a race with nobody.
		if err := os.Rename(temp, final); err != nil {
			return fmt.Errorf("giving the backup its name: %w", err)
		}
	} else if err := remove(temp); err != nil {
		return err
	}
	return syncDir(filepath.Dir(final))
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", filepath.Base(path), err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// RemoveCopy deletes a backup's file, and with it its journals where no older copy needs them. It refuses what is not a
// backup of this name. gone is false where there was no file, which alone says nothing: see [Copier.Writes].
func (k *Copier) RemoveCopy(ctx context.Context, c *backup.Copy, journals bool) (gone bool, err error) {
	if _, _, object := location.Object(c.File); object {
		return k.removeObject(ctx, c, journals)
	}
	f, err := os.Open(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("deleting backup %s: %w", c.ID, err)
	}
	ours := isBackup(f)
	if err := f.Close(); err != nil || !ours || !strings.HasSuffix(c.File, "-"+c.ID+backup.BackupSuffix) {
		return false, errors.Join(fmt.Errorf("deleting backup %s: %s is not a backup, and is left alone", c.ID, c.File), err)
	}
	if err := remove(c.File); err != nil {
		return false, err
	}
	if journals {
		if err := RemoveJournals(c); err != nil {
			return true, err
		}
	}
	return true, syncDir(filepath.Dir(c.File))
}

// Writes says whether this node writes backups to the directory of a copy, so that a file which is not there is gone: an
// absent mount, another node's disk, another bucket, or the disk of a machine that was left behind show no files either.
func (k *Copier) Writes(ctx context.Context, view *store.View, node string, c *backup.Copy) bool {
	if !k.Reaches(node, c) || c.LeftBy != "" {
		return false
	}
	for _, r := range store.All[backup.Recovery](view, custodian.KindRecovery) {
		if c.Size <= r.Size { // it was made before: the machine may be another one
			return false
		}
	}
	if _, _, object := location.Object(c.File); object {
		return k.marked(ctx, c.File)
	}
	_, err := os.Lstat(filepath.Join(filepath.Dir(c.File), lockName))
	return err == nil
}

// Reaches says whether this node can look after a copy's file: one that it wrote, or one in the object store.
func (k *Copier) Reaches(node string, c *backup.Copy) bool {
	if _, _, object := location.Object(c.File); object {
		return k != nil && k.Objects != nil
	}
	return c.Node == node
}

// RemoveJournals deletes the segments beside a copy that is gone.
func RemoveJournals(c *backup.Copy) error {
	found, err := backup.JournalFiles(c.File)
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range found {
		errs = append(errs, remove(path))
	}
	return errors.Join(errs...)
}

func isBackup(r io.Reader) bool {
	head, err := bufio.NewReader(r).Peek(len(backup.Magic))
	return err == nil && string(head) == backup.Magic
}

// noObjects refuses a place in an object store that this process can not reach.
func noObjects(env Env, place string) []policies.Reason {
	if _, _, object := location.Object(place); !object || env.Copier != nil && env.Copier.Objects != nil {
		return nil
	}
	return []policies.Reason{noObjectStore(place)}
}

func noObjectStore(place string) policies.Reason {
	return refusal("no_object_store", "this process is configured for no object store, and "+place+" is in one",
		"configure it (s3.region and the settings beside it) on every node, or ask another node")
}

// unable refuses what needs a process that writes backups to a place.
func unable(env Env, place string) []policies.Reason {
	if env.Copier != nil {
		return noObjects(env, place)
	}
	return []policies.Reason{refusal("no_copier", "this process writes no backups", "ask another node")}
}
