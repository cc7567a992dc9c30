package hsmtest

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

const groupID = "suite-group"

// sharing runs tests of the optional capability hsm.Member with two members of one group that trust each other. Their
// transport pairs, slow to make, serve all of them.
func sharing(tests ...func(t *testing.T, a, b member)) func(t *testing.T, f Fixture) {
	return func(t *testing.T, f Fixture) {
		one, ok := f.Keystore.(hsm.Member)
		if !ok {
			return
		}
		_, err := one.Introduce(t.Context(), groupID)
		require.ErrorIs(t, err, hsm.ErrInactive)
		activate(t, f)
		require.NoError(t, f.Other.Activate(t.Context(), f.OtherActivation))
		a, b := member{Member: one, id: "a"}, member{Member: f.Other.(hsm.Member), id: "b"}
		for _, m := range []*member{&a, &b} {
			m.own, err = m.Introduce(t.Context(), groupID)
			require.NoError(t, err)
			require.NotEmpty(t, m.own.Public)
			again, err := m.Introduce(t.Context(), groupID)
			require.NoError(t, err)
			if m.Capabilities().StoresKeys {
				require.Equal(t, m.own, again, "a second call finds the pair")
			}
		}
		for range 2 {
			require.NoError(t, a.Trust(t.Context(), groupID, b.peer()))
			require.NoError(t, b.Trust(t.Context(), groupID, a.peer()))
		}
		for _, test := range tests {
			test(t, a, b)
		}
	}
}

// member is one side of a transfer.
type member struct {
	hsm.Member
	id  string
	own hsm.Material
}

func (m member) peer() hsm.Peer { return hsm.Peer{Member: m.id, Public: m.own.Public} }

// bare is what is known of a key before a member has it.
func bare(m hsm.Material) hsm.Material {
	m.Blob, m.Wrapping = nil, ""
	return m
}

func testTransfer(t *testing.T, a, b member) {
	require.Contains(t, a.Shares(), hsm.AES256)
	for i, spec := range a.Shares() {
		if spec.ModulusBits() > 3072 { // as the smaller ones, and slow to make
			continue
		}
		effect := "suite-shared-" + string(spec)
		m, err := a.CreateShared(t.Context(), groupID, keyID, uint32(i+1), spec, effect)
		require.NoError(t, err, spec)
		require.Equal(t, groupID, m.Group)
		sealed, err := a.Send(t.Context(), m, b.peer())
		require.NoError(t, err, spec)
		got, err := b.Receive(t.Context(), b.own, bare(m), sealed)
		require.NoError(t, err, spec)
		require.Equal(t, m.CheckValue, got.CheckValue, "computed by the other member")
		require.Equal(t, m.Public, got.Public)
		again, err := b.Receive(t.Context(), b.own, bare(m), sealed)
		require.NoError(t, err, "what is there stays")
		require.Equal(t, got.CheckValue, again.CheckValue)
		if spec == hsm.AES256 {
			body := seal(t, open(t, a, m), []byte("text"), []byte("aad"))
			text, err := open(t, b, got).Open(t.Context(), nil, body, []byte("aad"))
			require.NoError(t, err)
			require.Equal(t, []byte("text"), text)
			back, err := b.Send(t.Context(), got, a.peer())
			require.NoError(t, err)
			require.NoError(t, a.Destroy(t.Context(), m), "a member that lost it")
			healed, err := a.Receive(t.Context(), a.own, bare(m), back)
			require.NoError(t, err)
			text, err = open(t, a, healed).Open(t.Context(), nil, body, []byte("aad"))
			require.NoError(t, err)
			require.Equal(t, []byte("text"), text)
		}
		if a.Capabilities().StoresKeys {
			found, err := b.Find(t.Context(), effect)
			require.NoError(t, err)
			require.Equal(t, got, found)
		}
	}
}

func testTransferRefused(t *testing.T, a, b member) {
	const key = "suite-refused"
	m, err := a.CreateShared(t.Context(), groupID, key, 1, hsm.AES256, effectID)
	require.NoError(t, err)
	sealed, err := a.Send(t.Context(), m, b.peer())
	require.NoError(t, err)

	plain := create(t, a, key, 2, "suite-plain")
	for name, not := range map[string]func(*hsm.Material){
		"as it is":          func(*hsm.Material) {},
		"said to be shared": func(m *hsm.Material) { m.Group = groupID },
	} {
		alone := plain
		not(&alone)
		_, err := a.Send(t.Context(), alone, b.peer())
		require.Error(t, err, "a key outside of groups, %s", name)
	}
	other := m
	other.Group = "another-group"
	_, err = a.Send(t.Context(), other, b.peer())
	require.Error(t, err, "a key of another group")
	_, err = a.Open(t.Context(), other)
	require.Error(t, err)
	_, err = a.Open(t.Context(), b.own)
	require.Error(t, err, "a transport pair is for nothing else")

	for name, sent := range map[string][]byte{"nothing": nil, "cut": sealed[:len(sealed)-1], "longer": append(bytes.Clone(sealed), 0), "altered": flipLast(sealed)} {
		_, err := b.Receive(t.Context(), b.own, bare(m), sent)
		require.Error(t, err, name)
	}
	_, err = a.Receive(t.Context(), a.own, func() hsm.Material { x := bare(m); x.EffectID = "suite-self"; return x }(), sealed)
	require.Error(t, err, "sent to another member")
	swapped := bare(m)
	swapped.CheckValue = "0123456789"
	_, err = b.Receive(t.Context(), b.own, swapped, sealed)
	require.True(t, errors.Is(err, hsm.ErrCorrupt) || errors.Is(err, hsm.ErrUnwrap), "another key than the one that was announced: %v", err)
	if b.Capabilities().StoresKeys {
		_, err = b.Find(t.Context(), effectID)
		require.ErrorIs(t, err, hsm.ErrNotFound, "nothing is kept of what was refused")
	}
	_, err = b.Receive(t.Context(), b.own, bare(m), sealed)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, a.Distrust(t.Context(), groupID, b.id))
		require.NoError(t, a.Leave(t.Context(), groupID))
	}
}

func flipLast(in []byte) []byte {
	out := bytes.Clone(in)
	out[len(out)-1] ^= 1
	return out
}
