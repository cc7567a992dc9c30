package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// VerifyInput is a log to verify and what to hold it against.
type VerifyInput struct {
	Source LogSource
	// Trust is the pinned trust file. Without one the log can only be checked against itself.
	Trust *TrustFile
	// Known are heads of this log seen before (a high-water mark): the log must contain them too.
	Known []Head
	// Accepted are recoveries that somebody has judged and accepted: heads that they explain are held to have been
	// lost, and are not missed. Only their Seq, ID and Document count; the rest is read from the log.
	Accepted []Recovery
	// Observe is given every entry that was found good, in order; may be nil. An error of it ends the verification. Of
	// entries that were deleted it is given the control entries only.
	Observe func(e *Entry) error
	// Progress is called now and then with entries done and in all; may be nil.
	Progress func(done, total uint64)
}

// VerifyReport is what verification established.
type VerifyReport struct {
	Instance     string    `json:"instance"` // from entry 0
	Origin       string    `json:"origin"`
	Size         uint64    `json:"size"`
	Root         string    `json:"root"` // base64, as in the checkpoint
	Epoch        uint64    `json:"epoch"`
	ControlCount uint64    `json:"control_entries"`
	First        time.Time `json:"first"` // time of the first entry
	Last         time.Time `json:"last"`  // time of the last entry
	// Signed: the checkpoint carries a valid signature by a key of the trust file or, without one, by
	// a key that the log itself names.
	Signed bool `json:"signed"`
	// Anchored: held against a trust file. Otherwise whoever made the copy may have made all of it.
	Anchored bool `json:"anchored"`
	// Contains are the sizes of the known checkpoints that the log was shown to contain.
	Contains []uint64 `json:"contains"`
	// Lost are the sizes of the known checkpoints that an accepted recovery says were lost.
	Lost []uint64 `json:"lost,omitempty"`
	// Recoveries are those that the log itself tells of, accepted or not.
	Recoveries []*Recovery `json:"recoveries,omitempty"`
	// Deleted are the deletions, recorded in the log itself, for which entries were not missed. HashOnly is how many
	// entries that concerns: of them nothing was checked but that the root covers their hash.
	Deleted  []Deletion `json:"deleted,omitempty"`
	HashOnly uint64     `json:"hash_only,omitempty"`
	// Rotations are the replacements of the log key that the log records.
	Rotations []*Rotation `json:"rotations,omitempty"`
}

// Verdict says in words how far the log may be relied on.
func (r *VerifyReport) Verdict() string {
	s := "self-consistent, unanchored"
	switch {
	case r.Anchored:
		s = "verified against the trust file"
	case !r.Signed:
		s += ", signature not checked"
	}
	if len(r.Deleted) > 0 {
		s += fmt.Sprintf("; %d entries were deleted under retention, as the ledger records, and are known by their hash only", r.HashOnly)
	}
	return s
}

// Verify reads a whole log and checks all that can be checked without the service: the signature, every
// entry's form, sequence, time, epoch and control chain, every hash up to the signed root, the genesis
// entry, and that the log contains each checkpoint known before. Groups of entries may be missing where the log records
// that a ceremony deleted them: they are taken by their hashes. Memory does not grow with the log.
// What is wrong comes back as a [VerifyError]; other errors mean that the log could not be read.
func Verify(ctx context.Context, in VerifyInput) (*VerifyReport, error) {
	v := &verifier{in: in, report: &VerifyReport{Contains: []uint64{}}}
	if err := v.open(ctx); err != nil {
		return nil, fmt.Errorf("verifying ledger: %w", err)
	}
	if err := v.checkLeaves(ctx); err != nil {
		return nil, fmt.Errorf("verifying ledger: %w", err)
	}
	if err := v.checkEntries(ctx); err != nil {
		return nil, fmt.Errorf("verifying ledger: %w", err)
	}
	return v.report, nil
}

// VerifyDir verifies a tlog-tiles directory; in.Source is not used.
func VerifyDir(ctx context.Context, dir string, in VerifyInput) (*VerifyReport, error) {
	d, err := OpenDir(dir)
	if err != nil {
		return nil, fmt.Errorf("verifying ledger: %w", err)
	}
	defer d.Close()
	in.Source = d
	return Verify(ctx, in)
}

type verifier struct {
	in     VerifyInput
	report *VerifyReport
	head   Head
	files  logFiles
	pins   []*pin
	chain  *KeyChain // nil where there is no key at all

	// leavesGenuine: the level-0 tiles hash to the signed root, so that they tell which entry is wrong.
	leavesGenuine bool
	// tileFlaw is the first flaw of the tiles, nil for none.
	tileFlaw *VerifyError
}

// pin is a head that the log must contain.
type pin struct {
	head  Head
	match bool // the tree had its root at its size
	// handed: the head of a handover. One beyond the log is no loss: the copy is of an earlier time.
	handed bool
}

// missed says that a log neither contains a known head nor may be excused for it.
func (v *verifier) missed(p *pin) error {
	found := v.report.Recoveries
	if p.head.Size == 0 || excused(v.in.Accepted, found, p.head) {
		if p.head.Size > 0 {
			v.report.Lost = append(v.report.Lost, p.head.Size)
		}
		return nil
	}
	if v.head.Size < p.head.Size {
		return somewhere(ErrRollback, "%d entries at epoch %d, known before: %d entries at epoch %d%s", v.head.Size, v.head.Epoch, p.head.Size, p.head.Epoch, hint(found, p.head))
	}
	return somewhere(ErrFork, "its first %d entries are not those of the checkpoint known before%s", p.head.Size, hint(found, p.head))
}

// open reads the checkpoint and everything that can be said before any entry is read.
func (v *verifier) open(ctx context.Context) error {
	data, err := logFiles{src: v.in.Source}.read(ctx, CheckpointFile, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return somewhere(ErrTruncated, "there is no checkpoint")
	}
	if err != nil {
		return err
	}
	if v.in.Trust != nil {
		err = v.openTrusted(ctx, data)
	} else {
		err = v.openUntrusted(ctx, data)
	}
	if err != nil {
		return err
	}
	for _, h := range v.in.Known {
		v.pins = append(v.pins, &pin{head: h})
	}
	for _, p := range v.pins {
		if err := behind(p.head, v.head); err != nil && len(v.in.Accepted) == 0 {
			return somewhere(err, "%d entries at epoch %d, known before: %d entries at epoch %d", v.head.Size, v.head.Epoch, p.head.Size, p.head.Epoch)
		}
	}
	if v.head.Size == 0 {
		return somewhere(ErrTruncated, "the checkpoint covers no entries, not even the genesis entry")
	}
	v.files = logFiles{src: v.in.Source, size: v.head.Size}
	v.report.Size, v.report.Root = v.head.Size, v.head.Root.String()
	v.report.Epoch, v.report.ControlCount = v.head.Epoch, v.head.ControlCount
	return nil
}

func (v *verifier) openTrusted(ctx context.Context, data []byte) error {
	handovers, err := v.handovers(ctx)
	if err != nil {
		return err
	}
	trust, err := v.in.Trust.Follow(handovers...)
	if err != nil {
		return named(err)
	}
	if v.chain, err = trust.Chain(); err != nil {
		return fmt.Errorf("reading trust file: %w", err)
	}
	least, pinned, err := v.in.Trust.LeastHead() // by its own keys: what a copy brings takes nothing from it
	if err != nil {
		return fmt.Errorf("reading trust file: %w", err)
	}
	if pinned {
		v.pins = append(v.pins, &pin{head: least})
	}
	v.report.Origin, v.report.Signed, v.report.Anchored = trust.Origin, true, true
	return v.openWith(data)
}

// openWith opens the checkpoint with the chain, whose handovers the log must contain.
func (v *verifier) openWith(data []byte) (err error) {
	if v.head, err = openNamed(data, v.chain.Origin(), v.chain.Verifiers()); err != nil {
		return err
	}
	handed, err := v.chain.heads()
	for _, h := range handed {
		if h.Size <= v.head.Size {
			v.pins = append(v.pins, &pin{head: h, handed: true})
		}
	}
	return err
}

// handovers are what the copy brings to show who succeeded the first log key.
func (v *verifier) handovers(ctx context.Context) ([]string, error) {
	data, err := logFiles{src: v.in.Source}.read(ctx, HandoversFile, maxTrustFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out, err := ParseHandovers(data)
	if err != nil {
		return nil, somewhere(ErrSignature, "%s: %s", HandoversFile, err)
	}
	return out, nil
}

// named makes a finding of what is wrong with handovers.
func named(err error) error {
	for _, kind := range []error{ErrFork, ErrForeign, ErrSignature} {
		if errors.Is(err, kind) {
			return somewhere(kind, "%s", err)
		}
	}
	return somewhere(ErrSignature, "%s", err)
}

// openUntrusted takes the log's own word for its origin and keys.
func (v *verifier) openUntrusted(ctx context.Context, data []byte) error {
	origin, _, _ := strings.Cut(string(data), "\n")
	if err := validOrigin(origin); err != nil {
		return somewhere(ErrCheckpoint, "%s", err)
	}
	v.report.Origin = origin
	keys, err := logFiles{src: v.in.Source}.read(ctx, LogKeysFile, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		text, _, found := strings.Cut(string(data), "\n\n")
		if !found {
			return somewhere(ErrCheckpoint, "no signature")
		}
		if _, v.head, err = parseCheckpoint(text + "\n"); err != nil {
			return somewhere(ErrCheckpoint, "%s", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	handovers, err := v.handovers(ctx)
	if err != nil {
		return err
	}
	listed := strings.Fields(string(keys))
	if len(listed) == 0 {
		return somewhere(ErrSignature, "%s is empty", LogKeysFile)
	}
	first, err := NewKeyChain(origin, listed[0])
	if err != nil {
		return somewhere(ErrSignature, "%s: %s", LogKeysFile, err)
	}
	if v.chain, err = first.Follow(handovers...); err != nil {
		return named(err)
	}
	v.report.Signed = true
	return v.openWith(data)
}

// openNamed opens a checkpoint; failures become findings of their kind.
func openNamed(data []byte, origin string, verifiers []note.Verifier) (Head, error) {
	h, err := OpenHead(data, origin, verifiers...)
	if err == nil {
		return h, nil
	}
	// A checkpoint of another instance is signed by a key of another name, which says nothing: its
	// first line tells what it is.
	if first, _, _ := strings.Cut(string(data), "\n"); first != origin && validOrigin(first) == nil {
		return Head{}, somewhere(ErrForeign, "checkpoint of %s, want %s", first, origin)
	}
	for _, kind := range []error{ErrForeign, ErrSignature} {
		if errors.Is(err, kind) {
			return Head{}, somewhere(kind, "%s", err)
		}
	}
	return Head{}, somewhere(ErrCheckpoint, "%s", err)
}

// checkLeaves builds the tree from the level-0 tiles. When they hash to the signed root, each entry can
// be held against its own leaf, which locates what is wrong. It proves nothing by itself: the entries
// must build the same tree again. Otherwise tileFlaw says what is wrong with the tiles first.
func (v *verifier) checkLeaves(ctx context.Context) error {
	tree := NewTree()
	for index := uint64(0); index*TileWidth < v.head.Size; index++ {
		data, err := v.files.tile(ctx, 0, index, v.files.width(index))
		if err != nil {
			return v.unusable(index*TileWidth, err)
		}
		for ; len(data) > 0; data = data[tlog.HashSize:] {
			tree.Append(tlog.Hash(data[:tlog.HashSize]))
		}
		for _, t := range tree.TakeFullTiles() {
			if err := v.compareTile(ctx, t.Level, uint64(t.Index), t.Data); err != nil {
				return err
			}
		}
	}
	for level := range tileLevels {
		if data := tree.PartialTile(level); data != nil {
			if err := v.compareTile(ctx, level, v.head.Size>>(TileHeight*(level+1)), data); err != nil {
				return err
			}
		}
	}
	v.leavesGenuine = tree.Root() == v.head.Root
	if !v.leavesGenuine {
		v.flawed(0, "they hash to another root than the one signed")
	}
	return nil
}

// unusable notes a tile that is missing or malformed; other errors end the verification.
func (v *verifier) unusable(seq uint64, err error) error {
	var found *VerifyError
	if !errors.As(err, &found) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	v.flawed(seq, "%s", err)
	return nil
}

// append adds a leaf and notes the known heads that the tree passes through.
func (v *verifier) append(tree *Tree, leaf tlog.Hash) {
	tree.Append(leaf)
	for _, p := range v.pins {
		if p.head.Size == tree.Size() {
			p.match = tree.Root() == p.head.Root
		}
	}
}

// compareTile holds a stored upper tile against the one computed. The first hash that differs tells
// which entries are under it.
func (v *verifier) compareTile(ctx context.Context, level int, index uint64, want []byte) error {
	if level == 0 {
		return nil // it is what the others are computed from
	}
	span := uint64(1) << (TileHeight * level)
	first := index * TileWidth * span
	got, err := v.files.tile(ctx, level, index, len(want)/tlog.HashSize)
	if err != nil {
		return v.unusable(first, err)
	}
	for i := 0; i < len(want); i += tlog.HashSize {
		if string(got[i:i+tlog.HashSize]) != string(want[i:i+tlog.HashSize]) {
			seq := first + uint64(i/tlog.HashSize)*span
			v.flawed(seq, "tile %d/%d differs from what is below it at entries %d to %d", level, index, seq, seq+span-1)
			return nil
		}
	}
	return nil
}

func (v *verifier) flawed(seq uint64, format string, args ...any) {
	if v.tileFlaw == nil {
		v.tileFlaw = at(ErrTiles, seq, format, args...)
	}
}
