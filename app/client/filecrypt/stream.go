package filecrypt

import (
	"bufio"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"conclave/hsm/secret"
)

const (
	// DataKeyBytes is the length of the data key that a file asks for.
	DataKeyBytes = 32

	nonceBytes = 12
	tagBytes   = 16
	overhead   = nonceBytes + tagBytes
	keyBytes   = 32
	// maxChunks keeps random 96-bit nonces under one key below 2^32 (NIST SP 800-38D section 8.3).
	maxChunks = 1 << 32

	keyLabel = "conclave file CVF1 chunk key and commitment"
)

// NewHeader makes the header of a new file under a data key.
func NewHeader(dataKey *secret.Bytes, wrapped []byte, encryptionContext map[string]string, chunkSize int) (*Header, error) {
	h := &Header{ChunkSize: chunkSize, Wrapped: wrapped, Context: encryptionContext}
	rand.Read(h.Salt[:]) // never fails: crypto/rand ends the process instead
	derived, err := derive(dataKey, h.Salt[:])
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(derived)
	copy(h.Commitment[:], derived[keyBytes:])
	return h, nil
}

// derive makes the file's own key and its commitment from the data key: HKDF-SHA-256 (RFC 5869; an
// approved derivation by SP 800-56C Rev. 2) with the file's salt.
func derive(dataKey *secret.Bytes, salt []byte) ([]byte, error) {
	if dataKey.Len() != DataKeyBytes {
		return nil, fmt.Errorf("data key: %d bytes; allowed: %d", dataKey.Len(), DataKeyBytes)
	}
	var out []byte
	err := dataKey.Use(func(b []byte) (err error) {
		out, err = hkdf.Key(sha256.New, b, salt, keyLabel, keyBytes+commitBytes)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("deriving file key: %w", err)
	}
	return out, nil
}

// chunks seals or opens the chunks of one file.
type chunks struct {
	aead    cipher.AEAD
	binding [sha256.Size]byte
	size    int
}

// open checks that the data key is the header's and readies its chunks.
func (h *Header) open(dataKey *secret.Bytes) (*chunks, error) {
	binding, err := h.binding()
	if err != nil {
		return nil, err
	}
	derived, err := derive(dataKey, h.Salt[:])
	if err != nil {
		return nil, err
	}
	defer secret.Wipe(derived)
	if subtle.ConstantTimeCompare(derived[keyBytes:], h.Commitment[:]) != 1 {
		return nil, ErrWrongKey
	}
	block, err := aes.NewCipher(derived[:keyBytes])
	if err != nil {
		return nil, fmt.Errorf("making cipher: %w", err)
	}
	// In FIPS mode the module itself draws the nonce; a caller's own is not approved for AES-GCM.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making cipher: %w", err)
	}
	return &chunks{aead: aead, binding: binding, size: h.ChunkSize}, nil
}

// associated is what a chunk authenticates besides its content: the file, its place, and whether it is
// the last. So chunks can neither be moved, dropped, repeated nor taken from another file.
func (c *chunks) associated(index uint64, final bool) []byte {
	b := binary.BigEndian.AppendUint64(append(make([]byte, 0, sha256.Size+9), c.binding[:]...), index)
	if final {
		return append(b, 1)
	}
	return append(b, 0)
}

// Encrypt writes header and chunks of everything in src. It returns the number of plaintext bytes.
func Encrypt(ctx context.Context, dst io.Writer, src io.Reader, dataKey *secret.Bytes, h *Header) (int64, error) {
	c, err := h.open(dataKey)
	if err != nil {
		return 0, fmt.Errorf("encrypting: %w", err)
	}
	head, err := h.Encode()
	if err != nil {
		return 0, fmt.Errorf("encrypting: %w", err)
	}
	if _, err := dst.Write(head); err != nil {
		return 0, fmt.Errorf("encrypting: writing header: %w", err)
	}
	plain := make([]byte, c.size)
	defer secret.Wipe(plain)
	sealed := make([]byte, 0, c.size+overhead)
	total := int64(0)
	err = eachChunk(ctx, src, plain, func(index uint64, b []byte, final bool) error {
		sealed = c.aead.Seal(sealed[:0], nil, b, c.associated(index, final))
		total += int64(len(b))
		if _, err := dst.Write(sealed); err != nil {
			return fmt.Errorf("writing chunk %d: %w", index, err)
		}
		return nil
	})
	if err != nil {
		return total, fmt.Errorf("encrypting: %w", err)
	}
	return total, nil
}

// Decrypt opens the chunks that follow a header read from src. Every chunk that reaches dst is
// authentic and in its place; only a nil error says that the last of them was the file's last. It
// returns the number of plaintext bytes written.
func Decrypt(ctx context.Context, dst io.Writer, src io.Reader, dataKey *secret.Bytes, h *Header) (int64, error) {
	c, err := h.open(dataKey)
	if err != nil {
		return 0, fmt.Errorf("decrypting: %w", err)
	}
	sealed := make([]byte, c.size+overhead)
	plain := make([]byte, 0, c.size)
	defer func() { secret.Wipe(plain[:cap(plain)]) }()
	total := int64(0)
	err = eachChunk(ctx, src, sealed, func(index uint64, b []byte, final bool) error {
		if len(b) < overhead || (final && index > 0 && len(b) == overhead) {
			// Only an empty file has an empty chunk.
			return fmt.Errorf("%w at chunk %d", ErrTruncated, index)
		}
		var err error
		if plain, err = c.aead.Open(plain[:0], nil, b, c.associated(index, final)); err != nil {
			return c.diagnose(index, b, final)
		}
		n, err := dst.Write(plain)
		total += int64(n)
		if err != nil {
			return fmt.Errorf("writing plaintext: %w", err)
		}
		return nil
	})
	if err != nil {
		return total, fmt.Errorf("decrypting: %w", err)
	}
	return total, nil
}

// diagnose says what is wrong with a chunk that does not open where it stands.
func (c *chunks) diagnose(index uint64, b []byte, final bool) error {
	plain, err := c.aead.Open(nil, nil, b, c.associated(index, !final))
	secret.Wipe(plain)
	switch {
	case err == nil && final:
		return fmt.Errorf("%w: it ends after chunk %d, which is not its last", ErrTruncated, index)
	case err == nil:
		return fmt.Errorf("%w: it goes on after chunk %d, which is its last", ErrAppended, index)
	case final && len(b) < c.size+overhead:
		return fmt.Errorf("%w or cut off at chunk %d", ErrAltered, index)
	}
	return fmt.Errorf("%w at chunk %d, or the chunk is out of place", ErrAltered, index)
}

// eachChunk fills buf from src again and again and says which fill is the last. A source that is a
// multiple of len(buf) ends with a full last chunk; an empty one has one empty chunk.
func eachChunk(ctx context.Context, src io.Reader, buf []byte, f func(index uint64, b []byte, final bool) error) error {
	r := bufio.NewReaderSize(src, 1) // bufio's least buffer: it only looks one byte ahead
	for index := uint64(0); ; index++ {
		if index >= maxChunks {
			return fmt.Errorf("%w: over %d chunks of %d bytes", ErrTooLong, uint64(maxChunks), len(buf))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf)
		final := isEnd(err)
		if err != nil && !final {
			return fmt.Errorf("reading: %w", err)
		}
		if !final {
			if _, err := r.Peek(1); errors.Is(err, io.EOF) {
				final = true
			} else if err != nil {
				return fmt.Errorf("reading: %w", err)
			}
		}
		if err := f(index, buf[:n], final); err != nil || final {
			return err
		}
	}
}
