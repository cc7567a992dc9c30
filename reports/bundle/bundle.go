// Package bundle packs a report with everything that proves it into one signed archive, and checks such an
// archive offline: it needs the archive and a trust file, and nothing of the service. The format is written
// down in docs/evidence.md, so that a stranger can write another verifier.
package bundle

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/ledger"
)

// Format names the layout of the archive; it changes when a file changes its meaning.
const Format = "conclave-evidence-1"

// PayloadType is the DSSE payload type of the signature over the manifest.
const PayloadType = "application/vnd.conclave.evidence-manifest+json"

// Names of the files of a bundle. Entries and proofs are named by sequence number, rows by kind and id.
const (
	fileManifest   = "MANIFEST.json"
	fileSignature  = "MANIFEST.dsse.json"
	fileCheckpoint = "checkpoint"
	fileKeys       = "keys.json"
	fileCatalogue  = "catalogue.json"
	fileReport     = "report.json"
	filePage       = "report.html"
	fileRows       = "rows/index.json"
)

func entryFile(seq uint64) string { return fmt.Sprintf("entries/%012d.json", seq) }
func proofFile(seq uint64) string { return fmt.Sprintf("proofs/%012d.tlog-proof", seq) }

// Bounds of an archive. Build keeps within them and Verify refuses what is not, before reading it.
const (
	maxArchive  = 256 << 20 // bytes of the archive
	maxFiles    = 60_000
	maxFile     = 64 << 20  // bytes of one file, unpacked
	maxUnpacked = 512 << 20 // bytes of all files, unpacked
	maxName     = 512
	// maxControl is how many control-plane entries a bundle carries at most; an instance with more is proven by
	// the cited entries only.
	maxControl = 20_000
)

// What can be wrong with a bundle. The error that Verify returns wraps one of them, and a [*FileError] where
// one file is at fault.
var (
	ErrFormat          = errors.New("not an evidence bundle of this format")
	ErrTooLarge        = errors.New("larger than a bundle may be")
	ErrMissing         = errors.New("file is missing")
	ErrExtra           = errors.New("file does not belong to the bundle")
	ErrAltered         = errors.New("file was altered")
	ErrSignature       = errors.New("not signed by a trusted key")
	ErrForeignInstance = errors.New("belongs to another instance")
	ErrCheckpoint      = errors.New("checkpoint does not hold")
	ErrProof           = errors.New("entry is not proven to be in the ledger")
	ErrRow             = errors.New("row is not the one that the ledger binds")
	ErrCitation        = errors.New("report cites what the bundle does not hold")
)

// FileError names the file of a bundle that is at fault.
type FileError struct {
	File string
	Err  error
}

func (e *FileError) Error() string { return e.File + ": " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

func fault(file string, err error) error { return &FileError{File: file, Err: err} }

func faultf(file string, err error, format string, args ...any) error {
	return &FileError{File: file, Err: fmt.Errorf("%w: %s", err, fmt.Sprintf(format, args...))}
}

// Manifest lists every file of a bundle but itself and its signature.
type Manifest struct {
	Format      string     `json:"format"`
	Instance    string     `json:"instance"` // hex SHA-256 of the genesis file
	Mode        string     `json:"mode"`
	Node        string     `json:"node"` // node whose key signs
	Framework   string     `json:"framework"`
	From        time.Time  `json:"from"`
	To          time.Time  `json:"to"`
	GeneratedAt time.Time  `json:"generated_at"`
	Size        uint64     `json:"size"` // of the checkpoint
	Root        string     `json:"root"` // of the checkpoint, base64
	Files       []FileHash `json:"files"`
}

// FileHash is one line of a manifest.
type FileHash struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // lower-case hex
}

// Keys are the keys that the bundle itself says sign it. They prove nothing; without a trust file they show
// at least that the bundle agrees with itself.
type Keys struct {
	LogKeys []string       `json:"log_keys"` // note verifier keys
	NodeKey ledger.NodeKey `json:"node_key"` // JWK (RFC 7517)
}

// RowIndex lists the authority rows that the report was read from.
type RowIndex struct {
	Rows []RowFile `json:"rows"`
}

// RowFile is one authority row: its content is in File, or withheld.
type RowFile struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Revision uint64 `json:"revision"`
	Hash     string `json:"hash"` // lower-case hex SHA-256 of the canonical body
	Seq      uint64 `json:"seq"`  // ledger entry that wrote this revision
	File     string `json:"file,omitempty"`
	Withheld string `json:"withheld,omitempty"` // why there is no file
}

// withheld says why the bodies of a kind do not travel: evidence must not become another place where keys
// live (PCI DSS 4.0.1, 3.6.1.4).
func withheld(kind string) string {
	switch kind {
	case "key_version":
		return "holds a wrapped key"
	case "share":
		return "holds a sealed share"
	case "token":
		return "holds a credential's hash"
	}
	return ""
}
