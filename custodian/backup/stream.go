package backup

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"conclave/hsm/secret"
)

// Sizes of the encrypted stream.
const (
	contentKeyBytes = 32
	commitBytes     = 32
	chunkBytes      = 256 << 10 // plaintext of every chunk but the last
	overhead        = 12 + 16   // nonce and tag
	// maxChunks keeps random 96-bit nonces under one key below 2^32 (NIST SP 800-38D section 8.3).
	maxChunks = 1 << 32

	keyLabel = "conclave backup CVB1 chunk key and commitment"
)

// derive makes the key of the chunks and the commitment to it from the content key: HKDF-SHA-256 (RFC 5869,
// SP 800-56C Rev. 2).
func derive(content *secret.Bytes) (aead cipher.AEAD, commitment []byte, err error) {
	err = content.Use(func(b []byte) error {
		okm, err := hkdf.Key(sha256.New, b, nil, keyLabel, contentKeyBytes+commitBytes)
		if err != nil {
			return err
		}
		defer secret.Wipe(okm)
		commitment = append([]byte(nil), okm[contentKeyBytes:]...)
		block, err := aes.NewCipher(okm[:contentKeyBytes])
		if err != nil {
			return err
		}
		// The module draws the nonce itself: a caller's own is not approved for AES-GCM.
		aead, err = cipher.NewGCMWithRandomNonce(block)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("deriving the file key: %w", err)
	}
	return aead, commitment, nil
}

// associated is what a chunk authenticates besides its content: the manifest, its place, and whether it is the last
// (the STREAM construction, as in docs/file-format.md).
func associated(manifest [sha256.Size]byte, index uint64, final bool) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, sha256.Size+9), manifest[:]...), index)
	if final {
		return append(b, 1)
	}
	return append(b, 0)
}

// counter hashes and counts everything that passes.
type counter struct {
	sum hash.Hash
	n   int64
}

func newCounter() *counter { return &counter{sum: sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.sum.Write(p)
}

// sealer cuts a plaintext into chunks and writes each as a frame: its length, then nonce, ciphertext and tag.
type sealer struct {
	dst      io.Writer
	aead     cipher.AEAD
	manifest [sha256.Size]byte
	buf      []byte
	sealed   []byte
	index    uint64
}

func (s *sealer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(s.buf) == chunkBytes { // full, and something follows: not the last
			if err := s.flush(false); err != nil {
				return 0, err
			}
		}
		take := min(len(p), chunkBytes-len(s.buf))
		s.buf, p = append(s.buf, p[:take]...), p[take:]
	}
	return n, nil
}

func (s *sealer) flush(final bool) error {
	if s.index >= maxChunks {
		return fmt.Errorf("backup has more than %d chunks", uint64(maxChunks))
	}
	s.sealed = s.aead.Seal(s.sealed[:0], nil, s.buf, associated(s.manifest, s.index, final))
	secret.Wipe(s.buf)
	s.buf = s.buf[:0]
	s.index++
	return writeFrame(s.dst, s.sealed)
}

// close writes the last chunk and the mark that ends the chunks.
func (s *sealer) close() error {
	if err := s.flush(true); err != nil {
		return err
	}
	return writeFrame(s.dst, nil)
}

func writeFrame(w io.Writer, b []byte) error {
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// readFrame reads one frame of at most so many bytes; nil for an empty one.
func readFrame(r io.Reader, most int) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, cut(err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n == 0 {
		return nil, nil
	}
	if int64(n) > int64(most) {
		return nil, fmt.Errorf("%w: a part of %d bytes, at most %d are possible", ErrAltered, n, most)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, cut(err)
	}
	return b, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return fmt.Errorf("reading backup: %w", err)
}

// opener gives the plaintext of the chunks one after the other.
type opener struct {
	next     func() ([]byte, error) // the next chunk's frame; nil after the last
	aead     cipher.AEAD
	manifest [sha256.Size]byte
	index    uint64
	ahead    []byte
	begun    bool
	plain    []byte
	rest     []byte
	done     bool
}

func (o *opener) Read(p []byte) (int, error) {
	for len(o.rest) == 0 {
		if o.done {
			return 0, io.EOF
		}
		if err := o.advance(); err != nil {
			return 0, err
		}
	}
	n := copy(p, o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

func (o *opener) advance() error {
	if !o.begun {
		o.begun = true
		first, err := o.next()
		if err != nil {
			return err
		}
		o.ahead = first
	}
	frame := o.ahead
	if frame == nil {
		return fmt.Errorf("%w: it has no content", ErrTruncated)
	}
	var err error
	if o.ahead, err = o.next(); err != nil {
		return err
	}
	final := o.ahead == nil
	if o.plain, err = o.aead.Open(o.plain[:0], nil, frame, associated(o.manifest, o.index, final)); err != nil {
		return fmt.Errorf("%w: chunk %d does not open where it stands", ErrAltered, o.index)
	}
	o.rest, o.done = o.plain, final
	o.index++
	return nil
}

func (o *opener) wipe() { secret.Wipe(o.plain[:cap(o.plain)]) }

func sameCommitment(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
