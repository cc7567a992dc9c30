//go:build cgo

package pkcs11_test

import (
	"testing"

	binding "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"conclave/hsm"
)

// TestInvariant05_GroupKeysLeaveUnderTrustedKeysOnly: with the login that the service has, and the module's own calls, a
// key of a group can be read in no way, and wrapped under nothing but a member that the security officer marked.
func TestInvariant05_GroupKeysLeaveUnderTrustedKeysOnly(t *testing.T) {
	r := theRig(t)
	k, activation := r.keystore(t, "guarded")
	require.NoError(t, k.Activate(t.Context(), activation))
	other, otherActivation := r.keystore(t, "guarded-too")
	require.NoError(t, other.Activate(t.Context(), otherActivation))
	own, err := k.Introduce(t.Context(), "pair")
	require.NoError(t, err)
	peer, err := other.Introduce(t.Context(), "pair")
	require.NoError(t, err)
	m, err := k.CreateShared(t.Context(), "pair", "orders", 1, hsm.AES256, "effect")
	require.NoError(t, err)
	stays, err := k.Create(t.Context(), "alone", 1, hsm.AES256, "effect of alone")
	require.NoError(t, err)
	_, err = k.Send(t.Context(), m, hsm.Peer{Member: "other", Public: peer.Public})
	require.ErrorIs(t, err, hsm.ErrUnsupported, "before its ceremony nobody is trusted")
	require.NoError(t, k.Trust(t.Context(), "pair", hsm.Peer{Member: "other", Public: peer.Public}))
	_, err = k.Send(t.Context(), m, hsm.Peer{Member: "other", Public: own.Public})
	require.ErrorIs(t, err, hsm.ErrUnsupported, "another key under a trusted name")
	_, err = k.Send(t.Context(), stays, hsm.Peer{Member: "other", Public: peer.Public})
	require.ErrorIs(t, err, hsm.ErrNotShared)

	s, err := r.lib.OpenSession(r.slot(t, k.Device().Label), binding.CKF_SERIAL_SESSION|binding.CKF_RW_SESSION)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.lib.CloseSession(s)) }()
	find := func(class uint, blob []byte) binding.ObjectHandle {
		require.NoError(t, r.lib.FindObjectsInit(s, []*binding.Attribute{binding.NewAttribute(binding.CKA_CLASS, class), binding.NewAttribute(binding.CKA_ID, blob[1:])}))
		found, _, err := r.lib.FindObjects(s, 2)
		require.NoError(t, err)
		require.NoError(t, r.lib.FindObjectsFinal(s))
		require.Len(t, found, 1)
		return found[0]
	}
	shared, alone := find(binding.CKO_SECRET_KEY, m.Blob), find(binding.CKO_SECRET_KEY, stays.Blob)
	private, public := find(binding.CKO_PRIVATE_KEY, own.Blob), find(binding.CKO_PUBLIC_KEY, own.Blob)
	_, err = r.lib.GetAttributeValue(s, shared, []*binding.Attribute{binding.NewAttribute(binding.CKA_VALUE, nil)})
	require.Error(t, err)
	for attribute, loosened := range map[uint]bool{binding.CKA_SENSITIVE: false, binding.CKA_WRAP_WITH_TRUSTED: false} {
		require.Error(t, r.lib.SetAttributeValue(s, shared, []*binding.Attribute{binding.NewAttribute(attribute, loosened)}))
		_, err := r.lib.CopyObject(s, shared, []*binding.Attribute{binding.NewAttribute(attribute, loosened)})
		require.Error(t, err)
	}
	require.Error(t, r.lib.SetAttributeValue(s, alone, []*binding.Attribute{binding.NewAttribute(binding.CKA_EXTRACTABLE, true)}))

	oaep := []*binding.Mechanism{binding.NewMechanism(binding.CKM_RSA_PKCS_OAEP, binding.NewOAEPParams(binding.CKM_SHA_1, binding.CKG_MGF1_SHA1, binding.CKZ_DATA_SPECIFIED, nil))}
	mine, err := r.lib.GenerateKey(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_KEY_GEN, nil)}, []*binding.Attribute{binding.NewAttribute(binding.CKA_TOKEN, false),
		binding.NewAttribute(binding.CKA_VALUE_LEN, 32), binding.NewAttribute(binding.CKA_WRAP, true), binding.NewAttribute(binding.CKA_SENSITIVE, false),
		binding.NewAttribute(binding.CKA_EXTRACTABLE, true)})
	require.NoError(t, err)
	_, err = r.lib.WrapKey(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_KEY_WRAP, nil)}, mine, shared)
	require.ErrorIs(t, err, binding.Error(binding.CKR_KEY_NOT_WRAPPABLE), "under a key that somebody made for it")
	_, err = r.lib.WrapKey(s, oaep, public, shared)
	require.Error(t, err, "under its own pair")
	_, err = r.lib.WrapKey(s, []*binding.Mechanism{binding.NewMechanism(binding.CKM_AES_KEY_WRAP, nil)}, mine, alone)
	require.ErrorIs(t, err, binding.Error(binding.CKR_KEY_UNEXTRACTABLE), "a key outside of groups under nothing at all")
	_, err = r.lib.CreateObject(s, []*binding.Attribute{binding.NewAttribute(binding.CKA_CLASS, binding.CKO_SECRET_KEY), binding.NewAttribute(binding.CKA_KEY_TYPE, binding.CKK_AES),
		binding.NewAttribute(binding.CKA_TOKEN, false), binding.NewAttribute(binding.CKA_VALUE, make([]byte, 32)), binding.NewAttribute(binding.CKA_WRAP, true),
		binding.NewAttribute(binding.CKA_TRUSTED, true)})
	require.Error(t, err, "trusted is what the security officer says only")

	// What the other member would be sent opens here into nothing that can be read.
	require.NoError(t, other.Trust(t.Context(), "pair", hsm.Peer{Member: "guarded", Public: own.Public}))
	back, err := other.CreateShared(t.Context(), "pair", "orders", 2, hsm.AES256, "effect 2")
	require.NoError(t, err)
	sealed, err := other.Send(t.Context(), back, hsm.Peer{Member: "guarded", Public: own.Public})
	require.NoError(t, err)
	for _, loosened := range []uint{binding.CKA_SENSITIVE, binding.CKA_WRAP_WITH_TRUSTED} {
		template := []*binding.Attribute{binding.NewAttribute(binding.CKA_CLASS, binding.CKO_SECRET_KEY), binding.NewAttribute(binding.CKA_KEY_TYPE, binding.CKK_AES),
			binding.NewAttribute(binding.CKA_TOKEN, false), binding.NewAttribute(binding.CKA_EXTRACTABLE, true)}
		for _, a := range []uint{binding.CKA_SENSITIVE, binding.CKA_WRAP_WITH_TRUSTED} {
			template = append(template, binding.NewAttribute(a, a != loosened))
		}
		_, err := r.lib.UnwrapKey(s, oaep, private, sealed[1:], template)
		require.ErrorIs(t, err, binding.Error(binding.CKR_TEMPLATE_INCONSISTENT))
	}
	got, err := k.Receive(t.Context(), own, hsm.Material{Key: "orders", Version: 2, Spec: hsm.AES256, EffectID: "effect 2", CheckValue: back.CheckValue, Group: "pair"}, sealed)
	require.NoError(t, err)
	require.Equal(t, back.CheckValue, got.CheckValue)

	require.NoError(t, k.Leave(t.Context(), "pair"))
	require.NoError(t, k.Distrust(t.Context(), "pair", "other"))
	_, err = k.Send(t.Context(), m, hsm.Peer{Member: "other", Public: peer.Public})
	require.ErrorIs(t, err, hsm.ErrUnsupported)
}
