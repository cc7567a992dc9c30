package backup

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
)

// The journal carries what happened on the control plane since a backup: every entry, in blocks that the node signs,
// and of each changed row what restricts. It is a file of lines beside the backups, one segment a backup.

const (
	// JournalSuffix ends the names of journal segments.
	JournalSuffix = ".journal"
	// BackupSuffix ends the names of backups.
	BackupSuffix = ".cvb"
	// maxBlock bounds the payload of one block.
	maxBlock = 2 << 20
	// MaxBlockEntries bounds the entries of one block, so that a block stays below maxBlock.
	MaxBlockEntries = 64
)

// Block is a run of control-plane entries without a gap.
type Block struct {
	Version    int      `json:"v"`
	Instance   string   `json:"instance"`
	Backup     string   `json:"backup"` // whose segment it is in
	From       uint64   `json:"from"`   // number of the first entry on the control plane (its link.n)
	Entries    [][]byte `json:"entries"`
	Facts      []Fact   `json:"facts"`
	Checkpoint string   `json:"checkpoint"` // signed, of a ledger that holds them
	Previous   string   `json:"previous"`   // SHA-256 of the line before, hex; "" for the first of a segment
	// Handovers show who succeeded the instance's first log key.
	Handovers []string `json:"handovers,omitempty"`
}

// Next is the number of the control entry after the block.
func (b *Block) Next() uint64 { return b.From + uint64(len(b.Entries)) }

// ErrJournal: a journal that is not what the node wrote.
var ErrJournal = errors.New("journal is altered")

// JournalFile is the path of a backup's segment. After a recovery that went on from the backup, the id of which is given,
// it is another file: what was left behind then is in the first.
func JournalFile(backupFile, recovery string) string {
	if recovery != "" {
		recovery = "." + recovery
	}
	return strings.TrimSuffix(backupFile, BackupSuffix) + recovery + JournalSuffix
}

// JournalFiles are the segments of a backup that are there.
func JournalFiles(backupFile string) ([]string, error) {
	found, err := os.ReadDir(filepath.Dir(backupFile))
	if err != nil {
		return nil, fmt.Errorf("looking for journals: %w", err)
	}
	base := strings.TrimSuffix(filepath.Base(backupFile), BackupSuffix) + "."
	var out []string
	for _, e := range found {
		if strings.HasPrefix(e.Name(), base) && strings.HasSuffix(e.Name(), JournalSuffix) && e.Type().IsRegular() {
			out = append(out, filepath.Join(filepath.Dir(backupFile), e.Name()))
		}
	}
	return out, nil
}

// Journal appends to one segment.
type Journal struct {
	path     string
	instance string
	backup   string
	signer   dsse.Signer
	previous string
	next     uint64
	seq      uint64
}

// OpenJournal goes on with a segment, or begins it at a control entry's number and the Seq from which to look for it: the
// last entry of the backup, which links the segment to it. A line that a crash cut short is taken off: what it would have
// said is written again.
func OpenJournal(path, instance, backup string, begin, seq uint64, signer dsse.Signer, nodes []ledger.NodeKey) (*Journal, error) {
	j := &Journal{path: path, instance: instance, backup: backup, signer: signer, next: begin, seq: seq}
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	defer f.Close()
	whole := int64(0)
	err = eachLine(f, func(line []byte, complete bool) error {
		if !complete {
			return nil
		}
		b, err := readBlock(line, nodes)
		if err != nil {
			return err
		}
		if j.previous == "" && b.From == begin+1 {
			j.next = b.From // begun by a program that wrote no link
		}
		if b.From != j.next || b.Previous != j.previous || b.Backup != backup || b.Instance != instance {
			return fmt.Errorf("%w: a block at control entry %d where %d is due", ErrJournal, b.From, j.next)
		}
		whole += int64(len(line)) + 1
		j.took(line, b)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading journal %s: %w", path, err)
	}
	if err := f.Truncate(whole); err != nil {
		return nil, fmt.Errorf("mending journal: %w", err)
	}
	return j, nil
}

// took moves on past a block that is on disk.
func (j *Journal) took(line []byte, b *Block) {
	j.previous, j.next = lineHash(line), b.Next()
	if e, err := ledger.Decode(b.Entries[len(b.Entries)-1]); err == nil {
		j.seq = e.Seq + 1
	}
}

// Next is the number of the control entry that the segment lacks.
func (j *Journal) Next() uint64 { return j.next }

// Seq is from where on that entry is to be looked for.
func (j *Journal) Seq() uint64 { return j.seq }

// Append writes the next block, durably.
func (j *Journal) Append(b Block) error {
	b.Version, b.Instance, b.Backup, b.From, b.Previous = Version, j.instance, j.backup, j.next, j.previous
	line, err := sign(j.signer, TypeJournal, b, maxBlock)
	if err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	_, missing := os.Lstat(j.path)
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		// What is half written must not stand before the next block.
		return fmt.Errorf("writing journal: %w", errors.Join(err, f.Truncate(size), f.Close()))
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing journal: %w", err)
	}
	if errors.Is(missing, fs.ErrNotExist) {
		if err := syncDir(filepath.Dir(j.path)); err != nil {
			return fmt.Errorf("writing journal: %w", err)
		}
	}
	j.took(line, &b)
	return nil
}

func lineHash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// eachLine gives the lines of a file, the last of which a crash may have cut short.
func eachLine(r io.Reader, fn func(line []byte, complete bool) error) error {
	src := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for {
		part, err := src.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > 2*maxBlock {
				return fmt.Errorf("%w: a line of more than %d bytes", ErrJournal, 2*maxBlock)
			}
			continue
		case errors.Is(err, io.EOF):
			if len(line) == 0 {
				return nil
			}
			return fn(line, false)
		case err != nil:
			return err
		}
		if err := fn(bytes.TrimSuffix(line, []byte("\n")), true); err != nil {
			return err
		}
		line = line[:0]
	}
}

func readBlock(line []byte, nodes []ledger.NodeKey) (*Block, error) {
	b := new(Block)
	if _, err := opened(line, TypeJournal, &ledger.TrustFile{NodeKeys: nodes}, b, maxBlock); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	if b.Version != Version || len(b.Entries) == 0 || len(b.Entries) > MaxBlockEntries {
		return nil, fmt.Errorf("%w: a block of version %d with %d entries", ErrJournal, b.Version, len(b.Entries))
	}
	for i, raw := range b.Entries {
		e, err := ledger.Decode(raw)
		if err != nil || e.Link == nil || e.Link.Number != b.From+uint64(i) {
			return nil, fmt.Errorf("%w: entry %d of the block at control entry %d is not the one due", ErrJournal, i, b.From)
		}
	}
	return b, nil
}

// JournalPart is one segment as it was found: its place, what the file's bytes hash to, and the control entries in it.
type JournalPart struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Backup string `json:"backup"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"` // exclusive
}

// Lost is what journals know of the range after a backup.
type Lost struct {
	Parts []JournalPart
	Facts []Fact
	// Heads are the checkpoints that the journals carry: signed, so somebody had seen them.
	Heads []ledger.Head
	// To is the control entry up to which nothing is missing, counted from the backup's own.
	To uint64
	// Last is the Seq of the newest control entry known, LastAt its time.
	Last   uint64
	LastAt time.Time
	// Changed are the ids of the rows that the entries changed, by kind.
	Changed map[string][]string
	// Notes say what of the journals is not applied, or doubtful.
	Notes []string

	// Handovers show who succeeded the log key that the trust file pins, as far as the journals tell.
	Handovers []string

	segments []segment
	verify   func(note []byte) (ledger.Head, error)
}

// ReadJournals reads the segments of an instance from files and directories. What they know of everything after one
// backup says [Lost.After]; what stands in the result is about any that has so many control entries.
func ReadJournals(paths []string, trust *ledger.TrustFile, from uint64) (*Lost, error) {
	files, err := journalFiles(paths)
	if err != nil {
		return nil, err
	}
	chain, err := trust.Chain()
	if err != nil {
		return nil, err
	}
	all := &Lost{verify: func(note []byte) (ledger.Head, error) { return chain.Open(note) }}
	for _, path := range files {
		part, read, err := readSegment(path, trust)
		if err != nil {
			return nil, fmt.Errorf("journal %s: %w", path, err)
		}
		if part == nil {
			continue
		}
		all.segments = append(all.segments, segment{*part, read})
		for _, b := range read {
			if chain, err = chain.Follow(b.Handovers...); err != nil {
				return nil, fmt.Errorf("journal %s: %w: %w", path, ErrJournal, err)
			}
		}
	}
	all.Handovers = chain.Handovers()
	// The order is that of what they hold, wherever they lie.
	slices.SortFunc(all.segments, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.part.From, b.part.From), strings.Compare(a.part.SHA256, b.part.SHA256))
	})
	for _, g := range all.segments {
		all.Parts = append(all.Parts, g.part)
	}
	return all.after("", from, nil)
}

// readSegment reads one file; a last line that is cut short is left out.
func readSegment(path string, trust *ledger.TrustFile) (*JournalPart, []*Block, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	sum := sha256.New()
	var blocks []*Block
	previous := ""
	err = eachLine(io.TeeReader(f, sum), func(line []byte, complete bool) error {
		if !complete {
			return nil
		}
		b, err := readBlock(line, trust.NodeKeys)
		if err != nil {
			return err
		}
		if b.Instance != trust.Instance {
			return ErrForeign
		}
		if n := len(blocks); b.Previous != previous || (n > 0 && (b.From != blocks[n-1].Next() || b.Backup != blocks[0].Backup)) {
			return fmt.Errorf("%w: a block is missing before control entry %d", ErrJournal, b.From)
		}
		previous = lineHash(line)
		blocks = append(blocks, b)
		return nil
	})
	if err != nil || len(blocks) == 0 {
		return nil, nil, err
	}
	return &JournalPart{File: path, SHA256: hex.EncodeToString(sum.Sum(nil)), Backup: blocks[0].Backup, From: blocks[0].From,
		To: blocks[len(blocks)-1].Next()}, blocks, nil
}

// maxJournals bounds the segments that one restore reads.
const maxJournals = 4096

func journalFiles(paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("looking for journals: %w", err)
		}
		if !info.IsDir() {
			out = append(out, p)
			continue
		}
		found, err := os.ReadDir(p)
		if err != nil {
			return nil, fmt.Errorf("looking for journals: %w", err)
		}
		for _, e := range found {
			if strings.HasSuffix(e.Name(), JournalSuffix) && e.Type().IsRegular() {
				out = append(out, filepath.Join(p, e.Name()))
			}
		}
	}
	if len(out) > maxJournals {
		return nil, fmt.Errorf("%d journals are given, at most %d are read", len(out), maxJournals)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
