package boot

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"conclave/ceremony/genesis"
)

// Signatures of a genesis file stand in one directory, as `conclave genesis sign` writes them.
const (
	signatureSuffix   = ".sig"
	maxSignatures     = 1024
	maxSignatureBytes = 128 << 10
)

// readSignatures reads every signature of a directory; other files are left alone.
func readSignatures(dir string) ([][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading signatures: %w", err)
	}
	var envelopes [][]byte
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), signatureSuffix) {
			continue
		}
		if len(envelopes) == maxSignatures {
			return nil, fmt.Errorf("%w: more than %d files *%s in %s", genesis.ErrUnsigned, maxSignatures, signatureSuffix, dir)
		}
		envelope, err := readBounded(filepath.Join(dir, entry.Name()), maxSignatureBytes)
		if err != nil {
			return nil, fmt.Errorf("reading signature: %w", err)
		}
		envelopes = append(envelopes, envelope)
	}
	if len(envelopes) == 0 {
		return nil, fmt.Errorf("%w: no file *%s in %s", genesis.ErrUnsigned, signatureSuffix, dir)
	}
	return envelopes, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return data, nil
}
