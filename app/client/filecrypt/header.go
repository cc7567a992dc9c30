// Package filecrypt is envelope encryption of files and streams of any size in constant memory: one
// data key from the service a file, and authenticated chunks under a key derived from it. The format,
// "CVF1", is written down in docs/file-format.md with a test vector.
package filecrypt

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// What is wrong with a file; callers decide by them.
var (
	ErrFormat    = errors.New("not a file of this format")
	ErrVersion   = errors.New("file is of a format version that this build does not read")
	ErrWrongKey  = errors.New("data key is not this file's")
	ErrAltered   = errors.New("file is altered")
	ErrTruncated = errors.New("file is truncated")
	ErrAppended  = errors.New("file has data after its end")
	ErrTooLong   = errors.New("too much data for one file")
)

// Bounds of the format.
const (
	MinChunk     = 64 << 10 // plaintext bytes a chunk
	MaxChunk     = 1 << 20
	DefaultChunk = 256 << 10
	// MaxWrapped bounds the wrapped data key; the service's ciphertexts of data keys take a few hundred bytes.
	MaxWrapped = 4 << 10
	// MaxContext bounds the encoded encryption context.
	MaxContext = 8 << 10
	// MaxContextFields bounds the encryption context's fields.
	MaxContextFields = 64

	magic         = "CVF1"
	formatVersion = 1
	saltBytes     = 32
	commitBytes   = 32
	minChunkLog   = 16
	maxChunkLog   = 20
)

// fixed is the part of the header that never changes, rewrapping included, and to which every chunk is
// bound: magic, version, chunk size, salt, key commitment.
const fixed = len(magic) + 1 + 1 + saltBytes + commitBytes

// Header stands at the front of a file.
type Header struct {
	ChunkSize int // plaintext bytes of every chunk but the last; a power of two
	Salt      [saltBytes]byte
	// Commitment is derived from the data key: it tells the right one, and rules out a file that opens to
	// two texts under two keys.
	Commitment [commitBytes]byte
	// Wrapped is the data key as the service wrapped it, bound to Context.
	Wrapped []byte
	// Context is the encryption context; it is readable in the file, as it is no secret.
	Context map[string]string
}

// Encode returns the header's bytes.
func (h *Header) Encode() ([]byte, error) {
	exponent := 0
	for e := minChunkLog; e <= maxChunkLog; e++ {
		if h.ChunkSize == 1<<e {
			exponent = e
		}
	}
	if exponent == 0 {
		return nil, fmt.Errorf("chunk size: %d bytes; allowed: a power of two from %d to %d", h.ChunkSize, MinChunk, MaxChunk)
	}
	if len(h.Wrapped) == 0 || len(h.Wrapped) > MaxWrapped {
		return nil, fmt.Errorf("wrapped data key: %d bytes; allowed: 1 to %d", len(h.Wrapped), MaxWrapped)
	}
	encodedContext, err := encodeContext(h.Context)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, fixed+4+len(h.Wrapped)+len(encodedContext))
	b = append(b, magic...)
	b = append(b, formatVersion, byte(exponent))
	b = append(b, h.Salt[:]...)
	b = append(b, h.Commitment[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Wrapped)))
	b = append(b, h.Wrapped...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(encodedContext)))
	return append(b, encodedContext...), nil
}

// binding is what every chunk authenticates of the header.
func (h *Header) binding() ([sha256.Size]byte, error) {
	b, err := h.Encode()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(b[:fixed]), nil
}

// ReadHeader reads a header and leaves r at the first chunk. It reads no byte more than the header and
// accepts only what Encode writes.
func ReadHeader(r io.Reader) (*Header, error) {
	var start [fixed]byte
	if n, err := io.ReadFull(r, start[:]); err != nil {
		if !isEnd(err) {
			return nil, fmt.Errorf("reading file header: %w", err)
		}
		if n < len(magic) || string(start[:len(magic)]) != magic {
			return nil, fmt.Errorf("reading file header: %w", ErrFormat)
		}
		return nil, fmt.Errorf("reading file header: %w inside its header", ErrTruncated)
	}
	if string(start[:len(magic)]) != magic {
		return nil, fmt.Errorf("reading file header: %w", ErrFormat)
	}
	rest := start[len(magic):]
	if rest[0] != formatVersion {
		return nil, fmt.Errorf("reading file header: %w: version %d, allowed: %d", ErrVersion, rest[0], formatVersion)
	}
	if rest[1] < minChunkLog || rest[1] > maxChunkLog {
		return nil, fmt.Errorf("reading file header: %w: chunk size exponent %d, allowed: %d to %d", ErrFormat, rest[1], minChunkLog, maxChunkLog)
	}
	h := &Header{ChunkSize: 1 << rest[1]}
	copy(h.Salt[:], rest[2:])
	copy(h.Commitment[:], rest[2+saltBytes:])
	var err error
	if h.Wrapped, err = readSized(r, "wrapped data key", 1, MaxWrapped); err != nil {
		return nil, err
	}
	encodedContext, err := readSized(r, "encryption context", 0, MaxContext)
	if err != nil {
		return nil, err
	}
	if h.Context, err = decodeContext(encodedContext); err != nil {
		return nil, fmt.Errorf("reading file header: %w", err)
	}
	return h, nil
}

func readSized(r io.Reader, field string, least, most int) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, headerEnd(err)
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n < least || n > most {
		return nil, fmt.Errorf("reading file header: %w: %s of %d bytes, allowed: %d to %d", ErrFormat, field, n, least, most)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, headerEnd(err)
	}
	return b, nil
}

func headerEnd(err error) error {
	if isEnd(err) {
		return fmt.Errorf("reading file header: %w inside its header", ErrTruncated)
	}
	return fmt.Errorf("reading file header: %w", err)
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// encodeContext writes a context as canonical JSON (RFC 8785), and none as no bytes.
func encodeContext(c map[string]string) ([]byte, error) {
	if len(c) == 0 {
		return nil, nil
	}
	if len(c) > MaxContextFields {
		return nil, fmt.Errorf("encryption context: %d fields; allowed: at most %d", len(c), MaxContextFields)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encryption context: %w; allowed: UTF-8 text", err)
	}
	v := jsontext.Value(b)
	if err := v.Canonicalize(); err != nil {
		return nil, fmt.Errorf("encryption context: %w", err)
	}
	if len(v) > MaxContext {
		return nil, fmt.Errorf("encryption context: %d bytes encoded; allowed: at most %d", len(v), MaxContext)
	}
	return v, nil
}

func decodeContext(b []byte) (map[string]string, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var c map[string]string
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%w: encryption context: %w", ErrFormat, err)
	}
	again, err := encodeContext(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.Equal(again, b) {
		return nil, fmt.Errorf("%w: encryption context is not in canonical form", ErrFormat)
	}
	return c, nil
}
