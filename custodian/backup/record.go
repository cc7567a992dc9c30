package backup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"golang.org/x/mod/sumdb/tlog"

	"conclave/custodian/store"
	"conclave/hsm/secret"
)

// The plaintext of a backup is a row of records: type (1 byte), length (4), payload. First come the node's keys, then
// what the store exports, then the end.
const (
	recordKeys byte = 'K'
	recordEnd  byte = 'E'
	// maxRecord bounds a record: control batches are the largest.
	maxRecord = 128 << 20
	// maxKey bounds one key file.
	maxKey = 4 << 10
)

// Keys are the node's key files, byte for byte, as a restore elsewhere needs them. Wipe them.
type Keys struct {
	Log, Node, Audit, Challenge []byte
}

// Wipe overwrites the keys.
func (k *Keys) Wipe() {
	for _, b := range k.parts() {
		secret.Wipe(*b)
	}
}

func (k *Keys) parts() []*[]byte { return []*[]byte{&k.Log, &k.Node, &k.Audit, &k.Challenge} }

// Encode writes the keys one after the other. The caller wipes the result.
func (k *Keys) Encode() []byte {
	var out []byte
	for _, b := range k.parts() {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(*b))), *b...)
	}
	return out
}

// DecodeKeys reads what Encode wrote.
func DecodeKeys(b []byte) (*Keys, error) {
	k := new(Keys)
	for _, part := range k.parts() {
		text, rest, err := sized16(b, maxKey)
		if err != nil {
			return nil, err
		}
		*part, b = append([]byte(nil), text...), rest
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: bytes after the keys", ErrAltered)
	}
	return k, nil
}

func sized16(b []byte, most int) (part, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, fmt.Errorf("%w: a record ends early", ErrAltered)
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > most || n > len(b)-2 {
		return nil, nil, fmt.Errorf("%w: a record ends early", ErrAltered)
	}
	return b[2 : 2+n], b[2+n:], nil
}

func writeRecord(w io.Writer, kind byte, parts ...[]byte) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if size > maxRecord {
		return fmt.Errorf("a record of %d bytes, at most %d are possible", size, maxRecord)
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32([]byte{kind}, uint32(size))); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

func readRecord(r io.Reader) (kind byte, payload []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends without its end", ErrTruncated)
		}
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxRecord {
		return 0, nil, fmt.Errorf("%w: a record of %d bytes", ErrAltered, n)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: inside a record", ErrTruncated)
		}
		return 0, nil, err
	}
	return head[0], payload, nil
}

// encodeRecord is the fixed part of an exported record; its body follows.
func encodeRecord(r store.Record) []byte {
	var b []byte
	switch r.Type {
	case store.RecordBatch:
		b = binary.BigEndian.AppendUint64(b, r.First)
		b = binary.BigEndian.AppendUint64(b, r.Count)
		if r.Control {
			return append(b, 1)
		}
		return append(b, 0)
	case store.RecordLeaves:
		return binary.BigEndian.AppendUint64(b, r.First)
	case store.RecordCheckpoint:
		b = binary.BigEndian.AppendUint64(b, r.Size)
		return binary.BigEndian.AppendUint64(b, uint64(r.At))
	case store.RecordRow:
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(r.Kind))), r.Kind...)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(r.ID))), r.ID...)
		b = binary.BigEndian.AppendUint64(b, r.Revision)
		return binary.BigEndian.AppendUint64(b, r.Seq)
	}
	return nil
}

func decodeRecord(kind byte, b []byte) (store.Record, error) {
	r := store.Record{Type: store.RecordType(kind)}
	short := fmt.Errorf("%w: a record of type %q ends early", ErrAltered, kind)
	switch r.Type {
	case store.RecordHead:
	case store.RecordBatch:
		if len(b) < 17 || b[16] > 1 {
			return r, short
		}
		r.First, r.Count, r.Control, b = binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), b[16] == 1, b[17:]
	case store.RecordLeaves:
		if len(b) < 8 || (len(b)-8)%tlog.HashSize != 0 {
			return r, short
		}
		r.First, r.Count, b = binary.BigEndian.Uint64(b), uint64(len(b)-8)/tlog.HashSize, b[8:]
	case store.RecordCheckpoint:
		if len(b) < 16 {
			return r, short
		}
		r.Size, r.At, b = binary.BigEndian.Uint64(b), int64(binary.BigEndian.Uint64(b[8:])), b[16:]
	case store.RecordRow:
		kindName, rest, err := sized16(b, 256)
		if err != nil {
			return r, err
		}
		id, rest, err := sized16(rest, 256)
		if err != nil {
			return r, err
		}
		if len(rest) < 16 {
			return r, short
		}
		r.Kind, r.ID = string(kindName), string(id)
		r.Revision, r.Seq, b = binary.BigEndian.Uint64(rest), binary.BigEndian.Uint64(rest[8:]), rest[16:]
	default:
		return r, fmt.Errorf("%w: a record of type %q", ErrAltered, kind)
	}
	r.Body = b
	return r, nil
}
