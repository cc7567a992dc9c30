package hsmtest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
	"conclave/hsm/keypair"
)

// testSpecs holds every specification that the keystore makes to the contract. Keys are made once: RSA is slow.
func testSpecs(t *testing.T, f Fixture) {
	activate(t, f)
	made := make(map[hsm.Spec]hsm.Material)
	for i, spec := range f.Keystore.Capabilities().Makes() {
		m, err := f.Keystore.Create(t.Context(), keyID, uint32(i+1), spec, fmt.Sprintf("suite-effect-%d", i))
		require.NoError(t, err, spec)
		made[spec] = m
	}
	for spec, m := range made {
		t.Run(string(spec), func(t *testing.T) {
			testSpecMaterial(t, f, spec, m)
			h := openAs[hsm.Handle](t, f.Keystore, m)
			require.Equal(t, spec, h.Spec())
			testOneUse(t, h)
			use := useOf(t, h, m)
			require.NoError(t, use(t.Context()))
			testForeignBinding(t, f, m, made)
			testRewraps(t, f, m)
			h.Close()
			require.ErrorIs(t, use(t.Context()), hsm.ErrClosed)

			use = useOf(t, openAs[hsm.Handle](t, f.Keystore, m), m)
			require.NoError(t, f.Keystore.Deactivate(t.Context()))
			require.ErrorIs(t, use(t.Context()), hsm.ErrInactive)
			activate(t, f)
			use = useOf(t, openAs[hsm.Handle](t, f.Keystore, m), m)
			require.NoError(t, use(t.Context()), "the same key again")
			requireClean(t, openAs[hsm.Handle](t, f.Keystore, m), secretForms(t, f.Activation))
			require.NoError(t, f.Keystore.Destroy(t.Context(), m))
			require.ErrorIs(t, use(t.Context()), hsm.ErrClosed)
		})
	}
}

func testSpecMaterial(t *testing.T, f Fixture, spec hsm.Spec, m hsm.Material) {
	require.Equal(t, spec, m.Specification())
	require.Regexp(t, `^([0-9A-F]{2}){1,5}$`, m.CheckValue)
	if !spec.Pair() {
		require.Empty(t, m.Public, "only pairs have a public half")
		return
	}
	_, err := keypair.ParsePublic(spec, m.Public)
	require.NoError(t, err, "the public half is readable")
	require.Equal(t, keypair.CheckValue(m.Public), m.CheckValue)
	bare := m
	bare.Public = nil
	openAs[hsm.Handle](t, f.Keystore, bare) // nobody needs the public half to open
}

// testOneUse: a key of one kind can not be put to the use of another.
func testOneUse(t *testing.T, h hsm.Handle) {
	_, seals := h.(hsm.Sealer)
	_, macs := h.(hsm.MACer)
	_, signs := h.(hsm.Signer)
	_, deciphers := h.(hsm.Decrypter)
	kind := h.Spec().Kind()
	require.Equal(t, []bool{kind == hsm.Seals, kind == hsm.MACs, kind == hsm.Signs, kind == hsm.Deciphers}, []bool{seals, macs, signs, deciphers})
	if kind != hsm.Signs {
		_, err := hsm.As[hsm.Signer](h)
		require.ErrorIs(t, err, hsm.ErrUnsupported)
		require.ErrorContains(t, err, string(kind))
	}
}

// testForeignBinding: material says which specification it is of, and no other opens it.
func testForeignBinding(t *testing.T, f Fixture, m hsm.Material, made map[hsm.Spec]hsm.Material) {
	for _, other := range hsm.Specs() {
		swapped := m
		swapped.Spec = other
		if other != m.Specification() {
			refuseMaterial(t, f.Keystore, swapped, "read as "+string(other))
		}
	}
	for _, other := range made {
		if other.Specification() != m.Specification() {
			swapped := m
			swapped.Blob = other.Blob
			refuseMaterial(t, f.Keystore, swapped, "blob of "+string(other.Spec))
		}
	}
	for _, bit := range []int{0, 8, 8 * 20, 8*len(m.Blob) - 1} {
		altered := m
		altered.Blob = flip(m.Blob, bit)
		refuseMaterial(t, f.Keystore, altered, "altered bit")
	}
}

// useOf is the one use of a key, done and checked in full: right things work, wrong ones do not.
func useOf(t *testing.T, h hsm.Handle, m hsm.Material) func(ctx context.Context) error {
	t.Helper()
	message := []byte("what is to be protected")
	switch use := h.(type) {
	case hsm.Sealer:
		return func(ctx context.Context) error {
			body, err := use.Seal(ctx, nil, message, []byte("aad"))
			if err != nil {
				return err
			}
			got, err := use.Open(ctx, nil, body, []byte("aad"))
			require.Equal(t, message, got)
			return err
		}
	case hsm.MACer:
		return func(ctx context.Context) error { return macOnce(ctx, t, use, message) }
	case hsm.Signer:
		return func(ctx context.Context) error { return signOnce(ctx, t, use, m, message) }
	case hsm.Decrypter:
		return func(ctx context.Context) error { return decryptOnce(ctx, t, use, m, message) }
	}
	require.Fail(t, "a handle without a use", "%T", h)
	return nil
}

func macOnce(ctx context.Context, t *testing.T, h hsm.MACer, message []byte) error {
	mac, err := h.MAC(ctx, []byte("before"), message)
	if err != nil {
		return err
	}
	require.True(t, bytes.HasPrefix(mac, []byte("before")), "appends")
	mac = mac[len("before"):]
	require.Len(t, mac, h.Spec().Hashes()[0].Size(), "full length")
	for _, c := range []struct {
		message, mac []byte
		valid        bool
	}{{message, mac, true}, {message, flip(mac, 9), false}, {message, mac[:16], false}, {message, nil, false},
		{message[1:], mac, false}, {message, append(bytes.Clone(mac), 0), false}} {
		valid, err := h.VerifyMAC(ctx, c.message, c.mac)
		require.NoError(t, err)
		require.Equal(t, c.valid, valid)
	}
	_, err = h.MAC(ctx, nil, make([]byte, 1<<20))
	require.ErrorIs(t, err, hsm.ErrTooLarge)
	_, err = h.VerifyMAC(ctx, make([]byte, 1<<20), mac)
	require.ErrorIs(t, err, hsm.ErrTooLarge)
	return nil
}

func signOnce(ctx context.Context, t *testing.T, h hsm.Signer, m hsm.Material, message []byte) error {
	public, err := keypair.ParsePublic(m.Specification(), m.Public)
	require.NoError(t, err)
	hashes := h.Spec().Hashes()
	if len(hashes) == 0 {
		hashes = []hsm.Hash{hsm.NoHash}
	}
	for _, hash := range hashes {
		input := hash.Sum(nil, message)
		signature, err := h.Sign(ctx, []byte("before"), hash, input)
		if err != nil {
			return err
		}
		signature = bytes.TrimPrefix(signature, []byte("before"))
		valid, err := public.Verify(hash, input, signature)
		require.NoError(t, err)
		require.True(t, valid)
		for _, wrong := range [][]byte{flip(signature, 100), signature[1:], nil} {
			valid, err = public.Verify(hash, input, wrong)
			require.NoError(t, err)
			require.False(t, valid)
		}
		valid, err = public.Verify(hash, hash.Sum(nil, message[1:]), signature)
		require.NoError(t, err)
		require.False(t, valid, "of another message")
	}
	for _, hash := range []hsm.Hash{hsm.NoHash, hsm.SHA256, hsm.SHA384, hsm.SHA512, "sha-1", "md5"} {
		if !h.Spec().Takes(hash) {
			_, err := h.Sign(ctx, nil, hash, hash.Sum(nil, message))
			require.ErrorIs(t, err, hsm.ErrInvalid, "%s by %s", hash, h.Spec())
		}
	}
	if hashes[0] != hsm.NoHash {
		_, err = h.Sign(ctx, nil, hashes[0], message)
		require.ErrorIs(t, err, hsm.ErrInvalid, "a message is no digest")
	}
	return nil
}

func decryptOnce(ctx context.Context, t *testing.T, h hsm.Decrypter, m hsm.Material, message []byte) error {
	public, err := keypair.ParsePublic(m.Specification(), m.Public)
	require.NoError(t, err)
	ciphertext, err := public.Encrypt(message, []byte("label"))
	require.NoError(t, err)
	got, err := h.Decrypt(ctx, []byte("text: "), ciphertext, []byte("label"))
	if err != nil {
		return err
	}
	require.Equal(t, "text: "+string(message), string(got), "appends")
	for _, c := range []struct{ ciphertext, label []byte }{{ciphertext, nil}, {ciphertext, []byte("other")},
		{flip(ciphertext, 70), []byte("label")}, {ciphertext[1:], []byte("label")}, {nil, nil}, {make([]byte, 1<<16), nil}} {
		got, err := h.Decrypt(ctx, nil, c.ciphertext, c.label)
		require.ErrorIs(t, err, hsm.ErrCorrupt)
		require.Empty(t, got)
	}
	longest := bytes.Repeat([]byte{7}, keypair.MaxPlaintext(m.Specification()))
	ciphertext, err = public.Encrypt(longest, nil)
	require.NoError(t, err)
	got, err = h.Decrypt(ctx, nil, ciphertext, nil)
	require.NoError(t, err)
	require.Equal(t, longest, got)
	_, err = public.Encrypt(append(longest, 7), nil)
	require.ErrorIs(t, err, hsm.ErrTooLarge)
	return nil
}
