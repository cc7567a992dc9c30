package witness

import (
	"bytes"
	"strings"
	"testing"
)

// A request that is read keeps its checkpoint's bytes and has no more proof than allowed.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("old 0\n\nconclave/x\n1\nAAAA\n\n— a b\n"))
	f.Add([]byte("old 5\n" + strings.Repeat("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 3) + "\nnote\n"))
	f.Add([]byte("old 05\n\n"))
	f.Add([]byte("old 9007199254740992\n\nx"))
	f.Add([]byte("old 1\n" + strings.Repeat("A", 70_000) + "\n\nx"))
	f.Fuzz(func(t *testing.T, body []byte) {
		old, proof, checkpoint, err := parseRequest(body)
		if err != nil {
			return
		}
		if old >= 1<<53 || len(proof) > maxProofLines || !bytes.HasSuffix(body, checkpoint) || old == 0 && len(proof) > 0 {
			t.Fatal("not what was asked", old, len(proof))
		}
		if lines := bytes.Count(body[:len(body)-len(checkpoint)-2], []byte("\n")); lines != len(proof) {
			t.Fatal("a line of the proof was passed over", lines, len(proof))
		}
	})
}
