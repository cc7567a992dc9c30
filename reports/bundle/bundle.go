// Package bundle packs a report with everything that proves it into one signed archive, and checks such an
// archive offline: it needs the archive and a trust file, and nothing of the service. The format is written
// down in docs/evidence.md, so that a stranger can write another verifier.
package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"conclave/custodian/ledger"
)

// Format names the layout of the archive; it changes when a file changes its meaning.
const Format = "conclave-evidence-3"

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

	filePeriod       = "ledger/period.json"
	fileStart        = "ledger/start"
	fileEnd          = "ledger/end"
	fileStartProof   = "ledger/start.hashes"
	fileEndProof     = "ledger/end.hashes"
	fileControlCover = "ledger/control.hashes"
	filePeriodCover  = "ledger/period.hashes"
	fileStamped      = "ledger/stamped"
	fileStampedProof = "ledger/stamped.hashes"
	fileStamp        = "ledger/stamped.tsr"
	folderWitnessed  = "ledger/witnessed/"
	folderHandovers  = "ledger/handovers/"
	folderControl    = "ledger/control/"
	folderPeriod     = "ledger/period/"
)

// What the files of the period hold of its entries.
const (
	formEntries  = "entries"  // the entries themselves
	formLeaves   = "leaves"   // the hash of each
	formSubtrees = "subtrees" // the hash of each complete subtree of 256, and of each entry before and after those
)

// subtreeHeight is that of a full C2SP tile.
const subtreeHeight = ledger.TileHeight

// Period says which entries of the ledger are the report's period, and how the bundle accounts for them.
type Period struct {
	First uint64 `json:"first"` // first ≤ seq < end are the entries whose time is in the period
	End   uint64 `json:"end"`
	Form  string `json:"form"`
	// ControlFrom is the link number of the first control-plane entry in the bundle: 0, or what the start
	// checkpoint says where an instance has too many.
	ControlFrom uint64 `json:"control_from"`
	// Start is the size of the checkpoint kept last before the period, After that of the one kept first at its end
	// or later; 0: none but the bundle's own.
	Start uint64 `json:"start"`
	After uint64 `json:"after"`
}

// holds says whether an entry is of the period.
func (p Period) holds(seq uint64) bool { return p.First <= seq && seq < p.End }

// ofTheFormat says whether a bundle may hold a file of this name: what nobody checks has no place beside what was checked.
func ofTheFormat(name string) bool {
	switch name {
	case fileCheckpoint, fileKeys, fileCatalogue, fileReport, filePage, filePeriod, fileStart, fileEnd, fileStartProof, fileEndProof,
		fileControlCover, filePeriodCover, fileStamped, fileStampedProof, fileStamp:
		return true
	}
	return slices.ContainsFunc([]string{"entries/", "proofs/", "rows/", folderWitnessed, folderHandovers, folderControl, folderPeriod},
		func(folder string) bool { return strings.HasPrefix(name, folder) })
}

func packed(folder string, n int, ending string) string {
	return fmt.Sprintf("%s%06d.%s", folder, n, ending)
}

func entryFile(seq uint64) string { return fmt.Sprintf("entries/%012d.json", seq) }
func proofFile(seq uint64) string { return fmt.Sprintf("proofs/%012d.tlog-proof", seq) }

// Bounds of an archive. Build keeps within them and Verify refuses what is not, before reading it.
const (
	maxArchive  = 1 << 30 // bytes of the archive
	maxFiles    = 200_000
	maxFile     = 256 << 20 // bytes of one file, unpacked
	maxUnpacked = 2 << 30   // bytes of all files, unpacked
	maxName     = 512
)

// bounds say when a bundle carries less of the ledger than all of it.
type bounds struct {
	control int    // control-plane entries from the beginning; with more, only those since the period's start checkpoint
	entries uint64 // of the period, themselves
	bytes   int64  // of these
	leaves  uint64 // of the period, by their hashes
}

// theBounds keep the largest bundle within what Verify reads.
func theBounds() bounds {
	return bounds{control: 200_000, entries: 250_000, bytes: 256 << 20, leaves: 1 << 20}
}

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
	ErrLeftOut         = errors.New("bundle does not account for every entry of the period")
	ErrRollback        = errors.New("older than a checkpoint that is known")
	ErrFork            = errors.New("checkpoints are of different logs")
	ErrWitness         = errors.New("witness or time-stamp does not hold")
	ErrRow             = errors.New("row is not the one that the ledger binds")
	ErrTranscript      = errors.New("ceremony is not signed as it says")
	ErrProvenance      = errors.New("approval key is not traced to the genesis file")
	ErrAcknowledgement = errors.New("acknowledgement of duty is not signed as its row says")
	ErrCustody         = errors.New("custody log is not signed as it says")
	ErrPolicy          = errors.New("policy bundle is not the one of its digest")
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
	LogKeys []string `json:"log_keys"` // note verifier keys
	// Handovers show who succeeded the first log key: see [ledger.KeyChain]. Unlike the keys they prove themselves.
	Handovers []string       `json:"handovers,omitempty"`
	NodeKey   ledger.NodeKey `json:"node_key"` // JWK (RFC 7517)
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
