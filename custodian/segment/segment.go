// Package segment is how entries of the ledger leave its database and stay what they were: a segment is a file of a run of
// entries that proves by itself, against a signed checkpoint, that it holds these entries and all of them. The package
// writes, opens and verifies segments, and finds them in a directory or an object store. docs/ledger-format.md has the form.
package segment

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// Format names the form of the file.
const Format = "conclave-ledger-segment-1"

// MaxEntries bounds a segment (ours): 4,096 groups of 256 entries, some hundred megabytes packed. A longer run becomes several.
const MaxEntries = 1 << 20

var (
	// ErrFormat: a file that is no segment, or is out of bounds.
	ErrFormat = errors.New("not a ledger segment")
	// ErrAltered: a segment whose entries are not those of the ledger.
	ErrAltered = errors.New("ledger segment is not what was archived")
	// ErrUnreachable: the place of a segment can not be read from here.
	ErrUnreachable = errors.New("ledger archive can not be reached")
)

// Status of a segment.
type Status string

const (
	// Kept: the file holds the entries.
	Kept Status = "kept"
	// Deleted: the file was deleted by ceremony. Of the entries their hashes are left, and what is of the control plane.
	Deleted Status = "deleted"
)

// Segment is the register's record of a run of entries that were moved out of the database. Row id: ID.
type Segment struct {
	ID         string     `json:"id"`   // see [ID]
	From       uint64     `json:"from"` // its entries: From ≤ seq < To, both multiples of 256
	To         uint64     `json:"to"`
	FirstAt    time.Time  `json:"first_at"` // time of its first entry
	LastAt     time.Time  `json:"last_at"`
	Control    uint64     `json:"control_entries"` // of the control plane among them, which stay in the database as well
	Directory  string     `json:"directory"`       // where the file is: an absolute path, or s3://BUCKET/PREFIX
	File       string     `json:"file"`            // its name there
	Bytes      int64      `json:"bytes"`
	SHA256     string     `json:"sha256"` // of the file, hex
	Node       string     `json:"node"`   // that wrote it
	ArchivedAt time.Time  `json:"archived_at"`
	ArchivedBy string     `json:"archived_by"` // ceremony id
	Status     Status     `json:"status"`
	DeletedAt  *time.Time `json:"deleted_at,omitempty"`
	DeletedBy  string     `json:"deleted_by,omitempty"` // ceremony id
}

// ID of the segment of a run; ids sort as their entries do.
func ID(from, to uint64) string { return fmt.Sprintf("%016d-%016d", from, to) }

// FileName of the segment of a run, in the directory of an instance's archive.
func FileName(instance string, from, to uint64) string {
	return fmt.Sprintf("conclave-%.12s-%s.segment.zip", instance, ID(from, to))
}

// Runs divides the entries from ≤ seq < to into runs of at most MaxEntries. Both are multiples of 256.
func Runs(from, to uint64) [][2]uint64 {
	var out [][2]uint64
	for from < to {
		end := min(to, from+MaxEntries)
		out = append(out, [2]uint64{from, end})
		from = end
	}
	return out
}

// checkRun: a run is whole groups, not empty and within bounds.
func checkRun(from, to uint64) error {
	if from%ledger.TileWidth != 0 || to%ledger.TileWidth != 0 || from >= to || to-from > MaxEntries || to > ledger.MaxInteger {
		return fmt.Errorf("%w: entries %d to %d; allowed: multiples of %d, ascending, at most %d", ErrFormat, from, to, ledger.TileWidth, MaxEntries)
	}
	return nil
}
