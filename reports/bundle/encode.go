package bundle

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// canonical encodes a value as RFC 8785 JSON.
func canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("canonicalising: %w", err)
	}
	return value, nil
}

// decode reads JSON strictly: unknown and repeated members, invalid UTF-8 and trailing data are errors.
func decode(file string, data []byte, into any) error {
	if err := json.Unmarshal(data, into, json.RejectUnknownMembers(true)); err != nil {
		return fault(file, fmt.Errorf("%w: %w", ErrFormat, err))
	}
	return nil
}

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// formatProof writes an inclusion proof as a C2SP tlog-proof, which carries its checkpoint.
func formatProof(seq uint64, hashes [][32]byte, checkpoint []byte) []byte {
	var b bytes.Buffer
	b.WriteString(proofHeader)
	b.WriteString("index " + strconv.FormatUint(seq, 10) + "\n")
	for _, h := range hashes {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	b.WriteString("\n")
	b.Write(checkpoint)
	return b.Bytes()
}

// maxHashes bounds a proof: a log of 2^53 entries has proofs of 53 hashes.
const maxHashes = 64

// parseProof reads what formatProof writes, and nothing else.
func parseProof(data []byte) (seq uint64, hashes [][32]byte, checkpoint []byte, err error) {
	bad := func(what string) (uint64, [][32]byte, []byte, error) {
		return 0, nil, nil, fmt.Errorf("%w: %s", ErrProof, what)
	}
	rest, found := bytes.CutPrefix(data, []byte(proofHeader))
	if !found {
		return bad("not a C2SP tlog-proof")
	}
	head, checkpoint, found := bytes.Cut(rest, []byte("\n\n"))
	if !found {
		return bad("no checkpoint")
	}
	lines := bytes.Split(head, []byte("\n"))
	number, found := bytes.CutPrefix(lines[0], []byte("index "))
	if !found || len(lines)-1 > maxHashes {
		return bad("no index, or too many hashes")
	}
	if seq, err = strconv.ParseUint(string(number), 10, 53); err != nil {
		return bad("index is not a number below 2^53")
	}
	for _, line := range lines[1:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(string(line))
		if err != nil || len(raw) != 32 {
			return bad("a line is not a hash")
		}
		hashes = append(hashes, [32]byte(raw))
	}
	if !bytes.Equal(formatProof(seq, hashes, checkpoint), data) {
		return bad("not in the one form that it has")
	}
	return seq, hashes, checkpoint, nil
}
