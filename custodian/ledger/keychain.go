package ledger

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/note"
)

const (
	// RotationType is the type of the entry that announces a new log key.
	RotationType = "logkey.rotate"
	// maxHandovers bounds how often an instance's log key can have been replaced.
	maxHandovers = maxTrustKeys - 1
)

var (
	// ErrLogKeyReplaced: a checkpoint signed by a log key that had been replaced by then. It is an [ErrSignature].
	ErrLogKeyReplaced = fmt.Errorf("signed by a log key that was replaced before: %w", ErrSignature)
	// ErrHandover: a checkpoint that does not hand the log over as it is offered to.
	ErrHandover = errors.New("not a handover of this log")
)

// KeyChain is the log keys of an instance, each trusted for the heads that it may sign and no others. The first is
// pinned; every further one is named by a **handover**: a checkpoint, signed by the key before it and by itself, whose
// head says so ([Head].Next). Up to a handover's size the old key signs, from it on the new one. A chain never changes.
type KeyChain struct {
	origin    string
	keys      []*spanVerifier
	handovers []string
}

// spanVerifier is a log key that is good for heads of some sizes only.
type spanVerifier struct {
	note.Verifier
	text        string // note verifier key
	first, last uint64 // sizes of the heads that it may sign
}

// Verify implements [note.Verifier].
func (s *spanVerifier) Verify(message, signature []byte) bool {
	size, ok := sizeOf(message)
	return ok && size >= s.first && size <= s.last && s.Verifier.Verify(message, signature)
}

// sizeOf reads the size from a checkpoint's text.
func sizeOf(text []byte) (uint64, bool) {
	lines := strings.SplitN(string(text[:min(len(text), 512)]), "\n", 3)
	if len(lines) < 3 {
		return 0, false
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	return size, err == nil
}

// NewKeyChain is the chain that begins with a pinned key.
func NewKeyChain(origin, pinned string) (*KeyChain, error) {
	v, err := parseVerifiers(origin, []string{pinned})
	if err != nil {
		return nil, err
	}
	return &KeyChain{origin: origin, keys: []*spanVerifier{{Verifier: v[0], text: pinned, last: math.MaxUint64}}}, nil
}

// Follow is the chain with what these handovers add, given oldest first. Those that the chain has, or that lead up to
// its pinned key, are passed over. Errors: [ErrHandover], [ErrSignature] for one that the newest key of the chain has not
// signed, [ErrFork] for another one than the chain has at that place.
func (c *KeyChain) Follow(handovers ...string) (*KeyChain, error) {
	next := &KeyChain{origin: c.origin, keys: slices.Clone(c.keys), handovers: slices.Clone(c.handovers)}
	// What comes before the pinned key is the past of somebody else's chain.
	for i, text := range handovers {
		if named, err := handoverNames(text, c.origin); err == nil && named == c.keys[0].text {
			handovers = handovers[i+1:]
			break
		}
	}
	for i, text := range handovers {
		if i < len(next.handovers) {
			if err := next.same(i, text); err != nil {
				return nil, err
			}
			continue
		}
		if err := next.add(text); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// same holds a handover against the one that the chain has at its place. Signatures may differ, what is signed may not.
func (c *KeyChain) same(i int, text string) error {
	mine, _, _ := strings.Cut(c.handovers[i], "\n\n")
	if other, _, _ := strings.Cut(text, "\n\n"); other != mine {
		return fmt.Errorf("handover %d of the log key is not the one known before: %w", i+1, ErrFork)
	}
	return nil
}

func (c *KeyChain) add(text string) error {
	if len(c.handovers) == maxHandovers {
		return fmt.Errorf("%w: more than %d", ErrHandover, maxHandovers)
	}
	last := c.keys[len(c.keys)-1]
	head, err := OpenHead([]byte(text), c.origin, last)
	if err != nil {
		return fmt.Errorf("handover of the log key: %w", err)
	}
	if head.Next == "" {
		return fmt.Errorf("%w: the checkpoint of %d entries names no new key", ErrHandover, head.Size)
	}
	v, err := parseVerifiers(c.origin, []string{head.Next})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrHandover, err)
	}
	if slices.ContainsFunc(c.keys, func(k *spanVerifier) bool { return k.text == head.Next || k.KeyHash() == v[0].KeyHash() }) {
		return fmt.Errorf("%w: the key that it names was in force before", ErrHandover)
	}
	if _, err := OpenHead([]byte(text), c.origin, v[0]); err != nil {
		return fmt.Errorf("%w: the new key has not signed it: %w", ErrHandover, err)
	}
	ended := *last
	ended.last = head.Size
	c.keys[len(c.keys)-1] = &ended
	c.keys = append(c.keys, &spanVerifier{Verifier: v[0], text: head.Next, first: head.Size, last: math.MaxUint64})
	c.handovers = append(c.handovers, text)
	return nil
}

// handoverNames reads the key that a handover names, from its unverified text.
func handoverNames(text, origin string) (string, error) {
	signed, _, found := strings.Cut(text, "\n\n")
	if !found {
		return "", ErrHandover
	}
	named, head, err := parseCheckpoint(signed + "\n")
	if err != nil || named != origin || head.Next == "" {
		return "", errors.Join(ErrHandover, err)
	}
	return head.Next, nil
}

// Origin is the log's.
func (c *KeyChain) Origin() string { return c.origin }

// Keys are the note verifier keys, oldest first.
func (c *KeyChain) Keys() []string {
	out := make([]string, len(c.keys))
	for i, k := range c.keys {
		out[i] = k.text
	}
	return out
}

// Newest is the key in force.
func (c *KeyChain) Newest() string { return c.keys[len(c.keys)-1].text }

// Handovers are the checkpoints by which each key after the first was put in force, oldest first.
func (c *KeyChain) Handovers() []string { return append([]string{}, c.handovers...) }

// Verifiers check signatures of checkpoints, each key's of the sizes for which it is good.
func (c *KeyChain) Verifiers() []note.Verifier {
	out := make([]note.Verifier, len(c.keys))
	for i, k := range c.keys {
		out[i] = k
	}
	return out
}

// Open opens a checkpoint of the log: see [OpenHead].
func (c *KeyChain) Open(checkpoint []byte) (Head, error) {
	return OpenHead(checkpoint, c.origin, c.Verifiers()...)
}

// SignedBy is the key of the chain that signed a message other than a checkpoint, and false where none did.
func (c *KeyChain) SignedBy(message, signature []byte) (string, bool) {
	for _, k := range c.keys {
		if k.Verifier.Verify(message, signature) {
			return k.text, true
		}
	}
	return "", false
}

// heads are what the handovers say of the log: it must contain them.
func (c *KeyChain) heads() ([]Head, error) {
	out := make([]Head, len(c.handovers))
	for i, text := range c.handovers {
		var err error
		if out[i], err = c.Open([]byte(text)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Before is the chain as it stood when the log had a size: without the handovers beyond it.
func (c *KeyChain) Before(size uint64) (*KeyChain, error) {
	first, err := NewKeyChain(c.origin, c.keys[0].text)
	if err != nil {
		return nil, err
	}
	heads, err := c.heads()
	if err != nil {
		return nil, err
	}
	for i, h := range heads {
		if h.Size > size {
			break
		}
		if first, err = first.Follow(c.handovers[:i+1]...); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// EncodeHandovers writes handovers, oldest first, as a file: a JSON array of the signed notes.
func EncodeHandovers(handovers []string) ([]byte, error) {
	data, err := json.Marshal(handovers, jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("encoding handovers: %w", err)
	}
	return append(data, '\n'), nil
}

// ParseHandovers reads them. Nothing in them is verified: see [KeyChain.Follow].
func ParseHandovers(data []byte) ([]string, error) {
	var out []string
	if len(data) > maxTrustFile {
		return nil, fmt.Errorf("%w: %d bytes, at most %d allowed", ErrHandover, len(data), maxTrustFile)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHandover, err)
	}
	if len(out) > maxHandovers {
		return nil, fmt.Errorf("%w: %d, at most %d allowed", ErrHandover, len(out), maxHandovers)
	}
	return out, nil
}

// Rotation is what an entry of [RotationType] says: the key that signs what comes after the handover to it.
type Rotation struct {
	Seq uint64 `json:"seq"`
	Old string `json:"old"` // note verifier keys
	New string `json:"new"`
}

// RotationDetail is the detail of the entry that announces a new log key, besides what the caller adds.
func RotationDetail(from, to string) map[string]any { return map[string]any{"old": from, "new": to} }

// ReadRotation reads an entry that announces a new log key; false for any other entry.
func ReadRotation(e *Entry) (*Rotation, bool, error) {
	if e.Type != RotationType || e.Link == nil || e.Outcome != Done {
		return nil, false, nil
	}
	r := Rotation{}
	if err := json.Unmarshal(e.Detail, &r); err != nil || r.Old == "" || r.New == "" || r.Old == r.New {
		return nil, true, fmt.Errorf("entry %d replaces the log key and does not say by which", e.Seq)
	}
	r.Seq = e.Seq
	return &r, true, nil
}

// CheckRotations holds the rotations that a whole log records against the chain by which its head was accepted: each
// handover has its entry before it, and after the last rotation nobody but its new key signs.
func (c *KeyChain) CheckRotations(found []*Rotation, head Head) error {
	for i := 1; i < len(found); i++ {
		if found[i].Old != found[i-1].New {
			return at(ErrRules, found[i].Seq, "it replaces another log key than the one that entry %d put in force", found[i-1].Seq)
		}
	}
	heads, err := c.heads()
	if err != nil {
		return err
	}
	inForce := c.keys[0].text
	for i, h := range heads {
		if h.Size > head.Size {
			break
		}
		inForce = c.keys[i+1].text
		if !slices.ContainsFunc(found, func(r *Rotation) bool { return r.Seq < h.Size && r.New == h.Next }) {
			return somewhere(ErrRules, "the log key was handed over at %d entries, and no entry before says so", h.Size)
		}
	}
	if n := len(found); n > 0 && found[n-1].New != inForce && found[n-1].New != head.Next {
		return at(ErrSignature, found[n-1].Seq, "it replaces the log key, and the checkpoint of %d entries is signed by another key than the one put in force", head.Size)
	}
	return nil
}
