package ledger

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Errors of checkpoints; callers decide by them.
var (
	// ErrCheckpoint: not a checkpoint of this log's form.
	ErrCheckpoint = errors.New("malformed checkpoint")
	// ErrSignature: no signature by a key that is trusted for this log.
	ErrSignature = errors.New("checkpoint is not signed by a trusted log key")
	// ErrForeign: a checkpoint, export or trust file of another instance.
	ErrForeign = errors.New("belongs to another instance")
)

const (
	originPrefix  = "conclave/"
	authorityWord = "authority"
	nextKeyWord   = "next-log-key"
	// maxNote bounds a checkpoint with its signatures, in bytes: room for some hundred witnesses.
	maxNote = 64 << 10
)

// Head is what a checkpoint says of the log.
type Head struct {
	Size uint64    // entries in the log
	Root tlog.Hash // root of their tree
	// Epoch is the authority epoch in force after the last entry.
	Epoch uint64
	// ControlCount is the number of control-plane entries, ControlLast the Seq of the last of them:
	// with [Link] they let a reader follow the whole control plane and miss nothing.
	ControlCount uint64
	ControlLast  uint64
	// Next is the note verifier key that signs every later head, in the head that hands the log over to it; "" in all others.
	Next string
}

// Origin is the first line of an instance's checkpoints and the name of its log keys: "conclave/" and
// the first 32 hex digits of the instance id (the SHA-256 of the genesis file in lower-case hex).
func Origin(instance string) (string, error) {
	if raw, err := hex.DecodeString(instance); err != nil || len(raw) != 32 || instance != strings.ToLower(instance) {
		return "", fmt.Errorf("instance id %q: allowed: 64 lower-case hex digits", instance)
	}
	return originPrefix + instance[:32], nil
}

// validOrigin holds an origin to what [Origin] makes.
func validOrigin(origin string) error {
	digits, found := strings.CutPrefix(origin, originPrefix)
	if raw, err := hex.DecodeString(digits); !found || err != nil || len(raw) != 16 || digits != strings.ToLower(digits) {
		return fmt.Errorf("origin %q: allowed: %q and 32 lower-case hex digits", origin, originPrefix)
	}
	return nil
}

// checkpointText is the signed part: the three lines of C2SP tlog-checkpoint and one extension line,
// "authority <epoch> <control entries> <seq of the last control entry>". A handover has another one:
// "next-log-key <note verifier key>".
func checkpointText(origin string, h Head) string {
	b := make([]byte, 0, 192)
	b = append(b, origin...)
	b = append(b, '\n')
	b = strconv.AppendUint(b, h.Size, 10)
	b = append(b, '\n')
	b = base64.StdEncoding.AppendEncode(b, h.Root[:])
	b = append(b, '\n')
	b = append(b, authorityWord...)
	for _, n := range [...]uint64{h.Epoch, h.ControlCount, h.ControlLast} {
		b = append(b, ' ')
		b = strconv.AppendUint(b, n, 10)
	}
	b = append(b, '\n')
	if h.Next != "" {
		b = append(b, nextKeyWord...)
		b = append(b, ' ')
		b = append(b, h.Next...)
		b = append(b, '\n')
	}
	return string(b)
}

// SignHead makes the checkpoint of a head, a C2SP signed note. A handover is signed by the old key and the
// new one.
func SignHead(signer note.Signer, origin string, h Head, also ...note.Signer) ([]byte, error) {
	if err := validOrigin(origin); err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	signed, err := note.Sign(&note.Note{Text: checkpointText(origin, h)}, append([]note.Signer{signer}, also...)...)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	return signed, nil
}

// OpenHead checks a checkpoint's signature by one of the verifiers, that it is this origin's, and its
// form to the letter, and returns what it says. Signatures by other keys (witnesses) are ignored.
func OpenHead(checkpoint []byte, origin string, verifiers ...note.Verifier) (Head, error) {
	if len(checkpoint) > maxNote {
		return Head{}, fmt.Errorf("%w: %d bytes, at most %d allowed", ErrCheckpoint, len(checkpoint), maxNote)
	}
	n, err := note.Open(checkpoint, note.VerifierList(verifiers...))
	if err != nil {
		var unverified *note.UnverifiedNoteError
		var invalid *note.InvalidSignatureError
		if errors.As(err, &invalid) && replaced(invalid, checkpoint, verifiers) {
			return Head{}, fmt.Errorf("%w (key hash %08x)", ErrLogKeyReplaced, invalid.Hash)
		}
		if errors.As(err, &unverified) || errors.As(err, &invalid) {
			return Head{}, fmt.Errorf("%w: %w", ErrSignature, err)
		}
		return Head{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	found, head, err := parseCheckpoint(n.Text)
	if err != nil {
		return Head{}, err
	}
	if found != origin {
		return Head{}, fmt.Errorf("checkpoint of %s, want %s: %w", found, origin, ErrForeign)
	}
	return head, nil
}

// replaced says whether a signature does not count because its key was replaced at a smaller size.
func replaced(by *note.InvalidSignatureError, checkpoint []byte, verifiers []note.Verifier) bool {
	size, ok := sizeOf(checkpoint)
	return ok && slices.ContainsFunc(verifiers, func(v note.Verifier) bool {
		k, spanned := v.(*spanVerifier)
		return spanned && k.KeyHash() == by.Hash && size > k.last
	})
}

// parseCheckpoint reads a checkpoint's signed text. What it accepts is exactly what checkpointText writes.
func parseCheckpoint(text string) (origin string, h Head, err error) {
	lines := strings.Split(text, "\n")
	if n := len(lines); n < 5 || n > 6 || lines[n-1] != "" {
		return "", Head{}, fmt.Errorf("%w: %d lines, want 4, or 5 in a handover", ErrCheckpoint, n-1)
	}
	origin = lines[0]
	if err := validOrigin(origin); err != nil {
		return "", Head{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if h.Size, err = strconv.ParseUint(lines[1], 10, 64); err != nil {
		return "", Head{}, fmt.Errorf("%w: size %q", ErrCheckpoint, lines[1])
	}
	if h.Root, err = tlog.ParseHash(lines[2]); err != nil {
		return "", Head{}, fmt.Errorf("%w: root %q", ErrCheckpoint, lines[2])
	}
	words := strings.Split(lines[3], " ")
	if len(words) != 4 || words[0] != authorityWord {
		return "", Head{}, fmt.Errorf("%w: line 4 is %q, want %q and three numbers", ErrCheckpoint, lines[3], authorityWord)
	}
	for i, n := range []*uint64{&h.Epoch, &h.ControlCount, &h.ControlLast} {
		if *n, err = strconv.ParseUint(words[i+1], 10, 64); err != nil {
			return "", Head{}, fmt.Errorf("%w: line 4 is %q, want %q and three numbers", ErrCheckpoint, lines[3], authorityWord)
		}
	}
	if err := h.validate(); err != nil {
		return "", Head{}, err
	}
	if len(lines) == 6 {
		if h.Next, err = parseNextKey(origin, lines[4]); err != nil {
			return "", Head{}, err
		}
	}
	if checkpointText(origin, h) != text {
		return "", Head{}, fmt.Errorf("%w: not in the one form it has", ErrCheckpoint)
	}
	return origin, h, nil
}

// parseNextKey reads the line of a handover.
func parseNextKey(origin, line string) (string, error) {
	key, found := strings.CutPrefix(line, nextKeyWord+" ")
	if !found {
		return "", fmt.Errorf("%w: line 5 is %.80q, want %q and a note verifier key", ErrCheckpoint, line, nextKeyWord)
	}
	if _, err := parseVerifiers(origin, []string{key}); err != nil {
		return "", fmt.Errorf("%w: line 5: %w", ErrCheckpoint, err)
	}
	return key, nil
}

func (h Head) validate() error {
	if h.Size > MaxInteger || h.Epoch > MaxInteger {
		return fmt.Errorf("%w: size or epoch over 2^53", ErrCheckpoint)
	}
	if h.ControlCount > h.Size || (h.ControlCount > 0 && h.ControlLast >= h.Size) || (h.ControlCount == 0 && h.ControlLast != 0) {
		return fmt.Errorf("%w: %d control entries, the last at %d, in a log of %d", ErrCheckpoint, h.ControlCount, h.ControlLast, h.Size)
	}
	return nil
}
