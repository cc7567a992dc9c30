package bundle

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// Lengths of a zip archive's records, in bytes (APPNOTE 4.3.7, 4.3.9, 4.3.12, 4.3.14, 4.3.15), and from how many files on its
// end has the two records of zip64 before it.
const (
	localHeader     = 30
	dataDescriptor  = 16
	directoryHeader = 46
	zip64End        = 56 + 20
	zip64From       = 0xffff

	describedLater = 0x8 // flag: checksum and sizes follow the data
	// maxExtra bounds what a file's header may hold beside its name (ours): a time takes 9 bytes.
	maxExtra = 32
)

// seamless refuses an archive that holds anything but its files: what stands before or between them, or in a header that the
// directory does not know, another reader could find and show. Files stand one behind the other, each header says what the
// directory says, and directory and end follow.
func seamless(f io.ReaderAt, size int64, files []*zip.File) error {
	hidden := func(what string) error { return fmt.Errorf("%w: something is hidden in it: %s", ErrFormat, what) }
	type placed struct {
		*zip.File
		data int64
	}
	order := make([]placed, len(files))
	directory := int64(0)
	for i, entry := range files {
		data, err := entry.DataOffset()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if entry.Comment != "" || len(entry.Extra) > maxExtra {
			return hidden("a header with more than a file takes")
		}
		order[i] = placed{entry, data}
		directory += directoryHeader + int64(len(entry.Name)+len(entry.Extra))
	}
	slices.SortFunc(order, func(a, b placed) int { return cmp.Compare(a.data, b.data) })
	at := int64(0)
	for _, entry := range order {
		want := headerOf(entry.File)
		if at+int64(len(want)) != entry.data || !stands(f, at, want, entry.File) {
			return hidden("a file is not where the one before it ends, or its header is another than the directory's")
		}
		at = entry.data + int64(entry.CompressedSize64)
		if entry.Flags&describedLater != 0 {
			if !descriptorAt(f, at, entry.File) {
				return hidden("what follows a file's data is not its sizes")
			}
			at += dataDescriptor
		}
	}
	end := at + directory + directoryEnd
	if len(files) >= zip64From {
		end += zip64End
	}
	if end != size {
		return hidden(fmt.Sprintf("it has %d bytes, its files and their directory take %d", size, end))
	}
	return nil
}

// headerOf is what of a file's local header the directory fixes: its length, and name and extra fields at its end.
func headerOf(f *zip.File) []byte {
	out := make([]byte, localHeader, localHeader+len(f.Name)+len(f.Extra))
	return append(append(out, f.Name...), f.Extra...)
}

// stands reports whether a file's local header is there and says what the directory says.
func stands(f io.ReaderAt, at int64, want []byte, entry *zip.File) bool {
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, at); err != nil {
		return false
	}
	return bytes.HasPrefix(got, []byte("PK\x03\x04")) && binary.LittleEndian.Uint16(got[6:]) == entry.Flags &&
		int(binary.LittleEndian.Uint16(got[26:])) == len(entry.Name) && int(binary.LittleEndian.Uint16(got[28:])) == len(entry.Extra) &&
		bytes.Equal(got[localHeader:], want[localHeader:])
}

func descriptorAt(f io.ReaderAt, at int64, entry *zip.File) bool {
	got := make([]byte, dataDescriptor)
	if _, err := f.ReadAt(got, at); err != nil {
		return false
	}
	return bytes.HasPrefix(got, []byte("PK\x07\x08")) && binary.LittleEndian.Uint32(got[4:]) == entry.CRC32 &&
		uint64(binary.LittleEndian.Uint32(got[8:])) == entry.CompressedSize64 && uint64(binary.LittleEndian.Uint32(got[12:])) == entry.UncompressedSize64
}
