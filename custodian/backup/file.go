package backup

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"

	"conclave/custodian/dsse"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm/secret"
)

// Magic begins a backup file.
const Magic = "CVB1"

// Trailer ends a backup: it says what the whole is, so that a file cut at any place is no backup.
type Trailer struct {
	Version int    `json:"v"`
	ID      string `json:"id"`
	Bytes   int64  `json:"bytes"`  // before the trailer
	SHA256  string `json:"sha256"` // of those bytes, hex
	Entries uint64 `json:"entries"`
	Rows    uint64 `json:"rows"`
	// Sets is the epoch of every share set in the backup: whose secrets protect what is in it.
	Sets map[string]uint32 `json:"sets"`
}

const maxTrailer = 64 << 10

// Writer writes a backup as a stream: manifest, encrypted records, trailer. Memory does not grow with it.
type Writer struct {
	dst     *bufio.Writer
	count   *counter // everything before the trailer
	whole   *counter // everything
	out     io.Writer
	signer  dsse.Signer
	id      string
	sealer  *sealer
	entries uint64
	rows    uint64
	sets    map[string]uint32
}

// NewWriter begins a backup. m says everything but the content key, which is made here, used and forgotten.
func NewWriter(dst io.Writer, m Manifest, keys *Keys, signer dsse.Signer) (*Writer, error) {
	content := secret.Random(contentKeyBytes)
	defer content.Wipe()
	aead, commitment, err := derive(content)
	if err != nil {
		return nil, err
	}
	m.Version, m.Commitment = Version, commitment
	if m.ContentKey, err = sealContentKey(content, m.Key); err != nil {
		return nil, err
	}
	envelope, err := m.Sign(signer)
	if err != nil {
		return nil, fmt.Errorf("signing the manifest: %w", err)
	}
	w := &Writer{dst: bufio.NewWriterSize(dst, chunkBytes), count: newCounter(), whole: newCounter(), signer: signer, id: m.ID, sets: map[string]uint32{}}
	w.out = io.MultiWriter(w.dst, w.count, w.whole)
	if _, err := w.out.Write(append([]byte(Magic), Version)); err != nil {
		return nil, fmt.Errorf("writing backup: %w", err)
	}
	if err := writeFrame(w.out, envelope); err != nil {
		return nil, fmt.Errorf("writing backup: %w", err)
	}
	w.sealer = &sealer{dst: w.out, aead: aead, manifest: sha256.Sum256(envelope), buf: make([]byte, 0, chunkBytes)}
	encoded := keys.Encode()
	defer secret.Wipe(encoded)
	if err := writeRecord(w.sealer, recordKeys, encoded); err != nil {
		return nil, fmt.Errorf("writing backup: %w", err)
	}
	return w, nil
}

// Record writes one exported record.
func (w *Writer) Record(r store.Record) error {
	switch r.Type {
	case store.RecordBatch, store.RecordLeaves:
		w.entries += r.Count
	case store.RecordRow:
		w.rows++
		if err := w.note(r); err != nil {
			return err
		}
	}
	if err := writeRecord(w.sealer, byte(r.Type), encodeRecord(r), r.Body); err != nil {
		return fmt.Errorf("writing backup: %w", err)
	}
	return nil
}

// note keeps the epoch of a share set that passes.
func (w *Writer) note(r store.Record) error {
	if r.Kind != kindShareSet {
		return nil
	}
	var set struct {
		Epoch uint32 `json:"epoch"`
	}
	if err := json.Unmarshal(r.Body, &set); err != nil {
		return fmt.Errorf("reading share set %q: %w", r.ID, err)
	}
	w.sets[r.ID] = set.Epoch
	return nil
}

// Written says what was written.
type Written struct {
	Bytes   int64
	SHA256  string // of the whole file, hex
	Entries uint64
	Rows    uint64
	Sets    map[string]uint32
}

// Close writes the end and the trailer. Until it has returned nil there is no backup.
func (w *Writer) Close() (Written, error) {
	fail := func(err error) (Written, error) { return Written{}, fmt.Errorf("writing backup: %w", err) }
	if err := writeRecord(w.sealer, recordEnd); err != nil {
		return fail(err)
	}
	if err := w.sealer.close(); err != nil {
		return fail(err)
	}
	t := Trailer{Version: Version, ID: w.id, Bytes: w.count.n, SHA256: hex.EncodeToString(w.count.sum.Sum(nil)), Entries: w.entries, Rows: w.rows, Sets: w.sets}
	envelope, err := sign(w.signer, TypeTrailer, t, maxTrailer)
	if err != nil {
		return fail(err)
	}
	if err := writeFrame(io.MultiWriter(w.dst, w.whole), envelope); err != nil {
		return fail(err)
	}
	if err := w.dst.Flush(); err != nil {
		return fail(err)
	}
	return Written{Bytes: w.whole.n, SHA256: hex.EncodeToString(w.whole.sum.Sum(nil)), Entries: w.entries, Rows: w.rows, Sets: w.sets}, nil
}

// File is a backup being read. Nothing that it gives is to be acted on before its end: [ErrTruncated], [ErrAltered].
type File struct {
	Manifest *Manifest
	Envelope []byte // the manifest's, as it stands in the file
	src      io.Reader
	trust    *ledger.TrustFile
	count    *counter
	whole    *counter
	trailer  *Trailer
	opener   *opener
}

// Open reads and checks the manifest of a backup.
func Open(src io.Reader, trust *ledger.TrustFile) (*File, error) {
	f := &File{trust: trust, count: newCounter(), whole: newCounter()}
	f.src = io.TeeReader(bufio.NewReaderSize(src, chunkBytes), io.MultiWriter(f.count, f.whole))
	var head [len(Magic) + 1]byte
	if _, err := io.ReadFull(f.src, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, cut(err))
	}
	if string(head[:len(Magic)]) != Magic {
		return nil, ErrFormat
	}
	if head[len(Magic)] != Version {
		return nil, fmt.Errorf("%w: version %d, this program reads %d", ErrVersion, head[len(Magic)], Version)
	}
	var err error
	if f.Envelope, err = readFrame(f.src, maxManifest/3*4+8192); err != nil {
		return nil, err
	}
	if f.Manifest, err = ReadManifest(f.Envelope, trust); err != nil {
		return nil, err
	}
	return f, nil
}

// frame gives the next chunk; after the last one it checks the trailer and gives nil.
func (f *File) frame() ([]byte, error) {
	if f.trailer != nil {
		return nil, nil
	}
	b, err := readFrame(f.src, chunkBytes+overhead)
	if err != nil || b != nil {
		return b, err
	}
	return nil, f.readTrailer()
}

func (f *File) readTrailer() error {
	bytes, sum := f.count.n, hex.EncodeToString(f.count.sum.Sum(nil))
	envelope, err := readFrame(f.src, maxTrailer/3*4+8192)
	if err != nil {
		return err
	}
	t := new(Trailer)
	if _, err := opened(envelope, TypeTrailer, f.trust, t, maxTrailer); err != nil {
		return fmt.Errorf("reading the end of the backup: %w", err)
	}
	switch {
	case t.Version != Version || t.ID != f.Manifest.ID:
		return fmt.Errorf("%w: its end is that of backup %q", ErrAltered, t.ID)
	case t.Bytes != bytes || t.SHA256 != sum:
		return fmt.Errorf("%w: %d bytes with SHA-256 %.16s…, its end says %d with %.16s…", ErrAltered, bytes, sum, t.Bytes, t.SHA256)
	}
	var one [1]byte
	if n, err := f.src.Read(one[:]); n > 0 || err == nil {
		return fmt.Errorf("%w: something follows its end", ErrAltered)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading backup: %w", err)
	}
	f.trailer = t
	return nil
}

// Verify reads a backup to its end without any key: signatures, completeness, every byte by its hash.
func (f *File) Verify() (Written, error) {
	for {
		b, err := f.frame()
		if err != nil {
			return Written{}, err
		}
		if b == nil {
			return f.sum(), nil
		}
	}
}

func (f *File) sum() Written {
	return Written{Bytes: f.whole.n, SHA256: hex.EncodeToString(f.whole.sum.Sum(nil)), Entries: f.trailer.Entries, Rows: f.trailer.Rows, Sets: f.trailer.Sets}
}

// Decrypt opens the content with the private backup key and gives the node's keys, which the caller wipes. The
// records follow by [File.Next].
func (f *File) Decrypt(private *ecdsa.PrivateKey) (*Keys, error) {
	content, err := f.Manifest.OpenContentKey(private)
	if err != nil {
		return nil, err
	}
	defer content.Wipe()
	aead, commitment, err := derive(content)
	if err != nil {
		return nil, err
	}
	if !sameCommitment(commitment, f.Manifest.Commitment) {
		return nil, ErrKey
	}
	f.opener = &opener{next: f.frame, aead: aead, manifest: sha256.Sum256(f.Envelope)}
	kind, payload, err := readRecord(f.opener)
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(payload)
	if kind != recordKeys {
		return nil, fmt.Errorf("%w: it does not begin with the node's keys", ErrAltered)
	}
	return DecodeKeys(payload)
}

// Next gives the next record, and io.EOF once everything was read and the file was found complete and genuine.
func (f *File) Next() (store.Record, error) {
	kind, payload, err := readRecord(f.opener)
	if err != nil {
		return store.Record{}, err
	}
	if kind != recordEnd {
		return decodeRecord(kind, payload)
	}
	if n, err := f.opener.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return store.Record{}, fmt.Errorf("%w: something follows its last record", ErrAltered)
	}
	f.opener.wipe()
	if f.trailer == nil {
		return store.Record{}, ErrTruncated
	}
	return store.Record{}, io.EOF
}

// Sum says what was read, after [File.Next] has given io.EOF.
func (f *File) Sum() Written { return f.sum() }

// Complete says whether everything was read and found genuine.
func (f *File) Complete() bool { return f.trailer != nil }
