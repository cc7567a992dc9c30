//go:build cgo

package pkcs11

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
)

// blobFormat is the format of what a record keeps of a key in a token: where it is, not what it is.
const (
	blobFormat = 1
	blobBytes  = 1 + sha256.Size
	idLabel    = "conclave token object v1"
)

// mostFound bounds a search for objects: more than the two halves of a pair is too many already.
const mostFound = 4

// objectID is the CKA_ID of what an effect makes in a keystore: lengths (at most maxID) precede strings.
func objectID(keystore, effectID string) []byte {
	h := sha256.New()
	h.Write([]byte(idLabel))
	for _, s := range []string{keystore, effectID} {
		h.Write(append([]byte{byte(len(s))}, s...))
	}
	return h.Sum(nil)
}

// objectLabel is the CKA_LABEL of a key: its name for people with the token's own tools, and what it is bound to.
func objectLabel(key string, version uint32, spec hsm.Spec) string {
	return key + ":" + strconv.FormatUint(uint64(version), 10) + ":" + string(spec)
}

// labelOf is the label of a key: of one that was made for a group with that behind it.
func labelOf(m hsm.Material) string {
	label := objectLabel(m.Key, m.Version, m.Specification())
	if m.Group != "" {
		label += sharedMark + m.Group
	}
	return label
}

// readLabel takes a label apart. Key ids may hold colons, the rest can not.
func readLabel(label string) (m hsm.Material, ok bool) {
	rest, s, _ := cutLast(label)
	spec, group, _ := strings.Cut(s, sharedMark)
	key, n, found := cutLast(rest)
	v, err := strconv.ParseUint(n, 10, 32)
	m = hsm.Material{Key: key, Version: uint32(v), Spec: hsm.Spec(spec), Group: group}
	return m, found && err == nil && v > 0 && m.Spec.Known() && labelOf(m) == label
}

func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// blobOf is the blob of an object.
func blobOf(id []byte) []byte { return append([]byte{blobFormat}, id...) }

// readBlob is the id in a blob of this format.
func readBlob(m hsm.Material) ([]byte, error) {
	if len(m.Blob) != blobBytes || m.Blob[0] != blobFormat || !m.Specification().Known() || m.Key == "" || len(m.Key) > maxID {
		return nil, fmt.Errorf("not a format %d blob of this keystore: %w", blobFormat, hsm.ErrCorrupt)
	}
	return m.Blob[1:], nil
}

// reference is one key of the token: how it is found, and where it was in the generation that it was last found in.
type reference struct {
	id    []byte
	label string
	class uint
	spec  hsm.Spec
	last  atomic.Pointer[place]
}

type place struct {
	generation uint64
	handle     pkcs11.ObjectHandle
}

func referenceTo(id []byte, label string, spec hsm.Spec) *reference {
	class := uint(pkcs11.CKO_SECRET_KEY)
	if spec.Pair() {
		class = pkcs11.CKO_PRIVATE_KEY
	}
	return &reference{id: id, label: label, class: class, spec: spec}
}

// handle is the key in a session, looked for where its place is not known.
func (r *reference) handle(s *session) (pkcs11.ObjectHandle, error) {
	if p := r.last.Load(); p != nil && p.generation == s.generation {
		return p.handle, nil
	}
	o, err := s.one(r.class, r.id)
	if err != nil {
		return 0, err
	}
	r.last.Store(&place{s.generation, o})
	return o, nil
}

// with does something with the key. A handle that means nothing any more is forgotten, so that the next attempt looks
// for the key.
func with[T any](s *session, r *reference, do func(o pkcs11.ObjectHandle) (T, error)) (T, error) {
	o, err := r.handle(s)
	if err != nil {
		var none T
		return none, err
	}
	out, err := do(o)
	if err != nil && objectGone(err) {
		r.last.Store(nil)
	}
	return out, err
}

// one is the object of a class and id: errNoObject for none, an error for several.
func (s *session) one(class uint, id []byte) (pkcs11.ObjectHandle, error) {
	found, err := s.all(class, id)
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, errNoObject
	case len(found) > 1:
		return 0, fmt.Errorf("%d objects of one id in the token: %w", len(found), hsm.ErrCorrupt)
	}
	return found[0], nil
}

func (s *session) all(class uint, id []byte) ([]pkcs11.ObjectHandle, error) {
	err := s.lib.FindObjectsInit(s.handle, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true)})
	if err != nil {
		return nil, err
	}
	found, _, err := s.lib.FindObjects(s.handle, mostFound)
	if final := s.lib.FindObjectsFinal(s.handle); err == nil {
		err = final
	}
	return found, err
}

// value reads one attribute.
func (s *session) value(o pkcs11.ObjectHandle, attribute uint) ([]byte, error) {
	got, err := s.lib.GetAttributeValue(s.handle, o, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
	if err != nil {
		return nil, err
	}
	if len(got) != 1 {
		return nil, errNoObject
	}
	return got[0].Value, nil
}

// checkKept refuses a key that is not what it was made as: under another name, readable or extractable; one of a group if
// it can be taken out under anything but what is trusted.
func (s *session) checkKept(o pkcs11.ObjectHandle, label string, shared bool) error {
	got, err := s.value(o, pkcs11.CKA_LABEL)
	if err != nil {
		return err
	}
	if string(got) != label {
		return fmt.Errorf("the object is labelled %.300q, not %q: %w", got, label, hsm.ErrCorrupt)
	}
	wants := map[uint]bool{pkcs11.CKA_SENSITIVE: true, pkcs11.CKA_EXTRACTABLE: shared}
	if shared {
		wants[pkcs11.CKA_WRAP_WITH_TRUSTED] = true
	}
	for attribute, want := range wants {
		value, err := s.value(o, attribute)
		if err != nil {
			return err
		}
		if got := len(value) == 1 && value[0] != 0; got != want {
			return fmt.Errorf("the key in the token can be read or taken out of it: %w", hsm.ErrCorrupt)
		}
	}
	return nil
}

// mechanisms is the value of CKA_ALLOWED_MECHANISMS: numbers as the machine has them.
func mechanisms(allowed ...uint) []byte {
	var out []byte
	for _, m := range allowed {
		if strconv.IntSize == 64 {
			out = binary.NativeEndian.AppendUint64(out, uint64(m))
		} else {
			out = binary.NativeEndian.AppendUint32(out, uint32(m))
		}
	}
	return out
}

// number is the value of an attribute that is a CK_ULONG, as the machine has it; the most there is for what is none.
func number(value []byte) uint64 {
	switch len(value) {
	case 8:
		return binary.NativeEndian.Uint64(value)
	case 4:
		return uint64(binary.NativeEndian.Uint32(value))
	}
	return math.MaxUint64
}
