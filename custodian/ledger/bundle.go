package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
)

// ErrBundle: bytes that are not an entry bundle.
var ErrBundle = errors.New("malformed entry bundle")

// AppendBundle appends one encoded entry to a bundle in the framing of C2SP tlog-tiles: its length as
// a big-endian uint16, then its bytes. An entry that is empty or over [MaxEntry] is refused.
func AppendBundle(dst, entry []byte) ([]byte, error) {
	if len(entry) == 0 || len(entry) > MaxEntry {
		return dst, fmt.Errorf("%w: entry of %d bytes, allowed 1 to %d", ErrBundle, len(entry), MaxEntry)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(entry)))
	return append(dst, entry...), nil
}

// ReadBundle walks a bundle's entries in order. Each slice shares b's memory and holds 1 to [MaxEntry]
// bytes. The first flaw ends the walk with an error that wraps [ErrBundle], and io.ErrUnexpectedEOF where the
// bundle is cut off.
func ReadBundle(b []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for at := 0; at < len(b); {
			if len(b)-at < 2 {
				yield(nil, fmt.Errorf("%w: %w inside a length at byte %d", ErrBundle, io.ErrUnexpectedEOF, at))
				return
			}
			n := int(binary.BigEndian.Uint16(b[at:]))
			at += 2
			if n == 0 || n > MaxEntry {
				yield(nil, fmt.Errorf("%w: entry of %d bytes at byte %d, allowed 1 to %d", ErrBundle, n, at, MaxEntry))
				return
			}
			if n > len(b)-at {
				yield(nil, fmt.Errorf("%w: %w inside an entry of %d bytes at byte %d", ErrBundle, io.ErrUnexpectedEOF, n, at))
				return
			}
			if !yield(b[at:at+n:at+n], nil) {
				return
			}
			at += n
		}
	}
}
