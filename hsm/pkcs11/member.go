//go:build cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/miekg/pkcs11"

	"conclave/hsm"
	"conclave/hsm/keypair"
)

// Keys of a group leave a token by C_WrapKey under the public halves of the other members, and no other way: the token
// wraps them under nothing that its security officer did not mark as trusted (CKA_WRAP_WITH_TRUSTED, CKA_TRUSTED), and the
// private halves unwrap into nothing that could be read (CKA_UNWRAP_TEMPLATE). Both are tried when a token is introduced.

// sharedMark separates the group in the label of a key that was made for one.
const sharedMark = "@"

// Names from which the ids of objects follow that are no keys of the service.
const (
	transportObject = "transport/" // and the group
	peerObject      = "peer/"      // and the group, a slash, and the member
)

// What a sealed key begins with: the hash of RSA-OAEP that it was wrapped with. SHA-256 where the token has it.
const (
	sealedSHA256 = 1
	sealedSHA1   = 2 // SoftHSM has no other; SP 800-131A Rev 2, section 9, lets SHA-1 be where no collision matters
)

var _ hsm.Member = (*Keystore)(nil)

// TransportBits implements hsm.Member.
func (*Keystore) TransportBits() int { return transportSpec.StrengthBits() }

// Shares implements hsm.Member. RSA-OAEP wraps secret keys only.
func (k *Keystore) Shares() []hsm.Spec {
	var out []hsm.Spec
	for _, s := range k.can.Specs {
		if !s.Pair() {
			out = append(out, s)
		}
	}
	return out
}

// Introduce implements hsm.Member.
func (k *Keystore) Introduce(ctx context.Context, group string) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("making the transport pair of keystore %q for group %q: %w", k.cfg.ID, group, err)
	}
	name := hsm.TransportName(group)
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	if group == "" || len(name) > maxID {
		return fail(fmt.Errorf("group: %d bytes long, allowed are 1 to %d: %w", len(group), maxID-len(name)+len(group), hsm.ErrInvalid))
	}
	id := objectID(k.cfg.ID, transportObject+group)
	public, err := askWithin(ctx, k, makingTime*k.token.cfg.Deadline, func(s *session) ([]byte, error) {
		public, err := s.transportPublic(id, name)
		if errors.Is(err, errNoObject) {
			if err = s.makeTransport(id, name); err == nil {
				public, err = s.transportPublic(id, name)
			}
		}
		if err == nil {
			err = s.proveTerms(id)
		}
		return public, err
	})
	if err != nil {
		return fail(err)
	}
	return hsm.Material{Key: name, Version: 1, Spec: transportSpec, Blob: blobOf(id), CheckValue: keypair.CheckValue(public), EffectID: name, Public: public}, nil
}

// Trust implements hsm.Member: the security officer, whose PIN follows from the activation secret too, puts the peer's
// public half into the token. Calls wait meanwhile, some milliseconds.
func (k *Keystore) Trust(ctx context.Context, group string, peer hsm.Peer) error {
	fail := func(err error) error {
		return fmt.Errorf("trusting member %q of group %q in keystore %q: %w", peer.Member, group, k.cfg.ID, err)
	}
	public, err := modulusOf(peer.Public)
	if err != nil {
		return fail(err)
	}
	id := objectID(k.cfg.ID, peerObject+group+"/"+peer.Member)
	there, err := ask(ctx, k, func(s *session) (bool, error) {
		_, err := s.trusted(id, public)
		if err == nil {
			return true, nil
		}
		if errors.Is(err, hsm.ErrUnsupported) {
			return false, s.remove(id) // another key of this peer
		}
		if errors.Is(err, errNoObject) {
			err = nil
		}
		return false, err
	})
	if err == nil && !there {
		err = k.asOfficer(ctx, func(lib *pkcs11.Ctx, s pkcs11.SessionHandle) error {
			t := append(publicTemplate(id, peerObject+group+"/"+peer.Member, public.N.Bytes(), big.NewInt(int64(public.E)).Bytes()),
				pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_TRUSTED, true), pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false))
			_, err := lib.CreateObject(s, t)
			return err
		})
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

// asOfficer has the security officer do something, and the user log in again. Everybody else waits.
func (k *Keystore) asOfficer(ctx context.Context, do func(lib *pkcs11.Ctx, s pkcs11.SessionHandle) error) error {
	return k.token.alone(ctx, func(ctx context.Context) error {
		own, err := k.credentials()
		if err != nil {
			return err
		}
		defer own.Wipe()
		var refused error
		l, err := k.token.establish(ctx, func(lib *pkcs11.Ctx, s pkcs11.SessionHandle, info pkcs11.TokenInfo) error {
			_ = lib.Logout(s) // nobody may be logged in
			err := loginAs(lib, s, pkcs11.CKU_SO, soPINLabel, own)
			if err == nil {
				refused = do(lib, s)
				_ = lib.Logout(s)
			}
			if again := k.token.login(lib, s, info, own); again != nil {
				return errors.Join(err, again)
			}
			return err
		})
		if err != nil {
			return err
		}
		k.token.adopt(l)
		return translate(refused)
	})
}

// Distrust implements hsm.Member.
func (k *Keystore) Distrust(ctx context.Context, group, member string) error {
	return k.takeBack(ctx, group, peerObject+group+"/"+member)
}

// Leave implements hsm.Member.
func (k *Keystore) Leave(ctx context.Context, group string) error {
	return k.takeBack(ctx, group, transportObject+group)
}

func (k *Keystore) takeBack(ctx context.Context, group, object string) error {
	_, err := ask(ctx, k, func(s *session) (struct{}, error) { return struct{}{}, s.remove(objectID(k.cfg.ID, object)) })
	if err != nil {
		return fmt.Errorf("taking back what keystore %q has of group %q: %w", k.cfg.ID, group, err)
	}
	return nil
}

// CreateShared implements hsm.Member.
func (k *Keystore) CreateShared(ctx context.Context, group, key string, version uint32, spec hsm.Spec, effectID string) (hsm.Material, error) {
	if spec.Pair() || group == "" || len(group) > maxID {
		return hsm.Material{}, fmt.Errorf("creating key %q version %d: specification: %.64q is none of %v: %w", key, version, string(spec), k.Shares(), hsm.ErrUnsupported)
	}
	return k.create(ctx, group, key, version, spec, effectID)
}

// Send implements hsm.Member.
func (k *Keystore) Send(ctx context.Context, m hsm.Material, peer hsm.Peer) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("sending key %q version %d to member %q: %w", m.Key, m.Version, peer.Member, err)
	}
	if m.Group == "" {
		return fail(hsm.ErrNotShared)
	}
	id, err := readBlob(m)
	if err != nil {
		return fail(err)
	}
	public, err := modulusOf(peer.Public)
	if err != nil {
		return fail(err)
	}
	label := labelOf(m)
	sealed, err := ask(ctx, k, func(s *session) ([]byte, error) {
		o, err := s.one(pkcs11.CKO_SECRET_KEY, id)
		if err != nil {
			return nil, err
		}
		if err := s.checkKept(o, label, true); err != nil {
			return nil, err
		}
		to, err := s.trusted(objectID(k.cfg.ID, peerObject+m.Group+"/"+peer.Member), public)
		if errors.Is(err, errNoObject) {
			err = fmt.Errorf("the token trusts no such member: %w", hsm.ErrUnsupported)
		}
		if err != nil {
			return nil, err
		}
		return s.wrapFor(to, o)
	})
	if err != nil {
		return fail(err)
	}
	return sealed, nil
}

// Receive implements hsm.Member.
func (k *Keystore) Receive(ctx context.Context, own, m hsm.Material, sealed []byte) (hsm.Material, error) {
	fail := func(err error) (hsm.Material, error) {
		return hsm.Material{}, fmt.Errorf("receiving key %q version %d: %w", m.Key, m.Version, err)
	}
	making, err := k.checkCreate(ctx, m.Key, m.Version, m.Specification(), m.EffectID)
	if err != nil {
		return fail(err)
	}
	if m.Group == "" || m.Specification().Pair() || own.Key != hsm.TransportName(m.Group) {
		return fail(fmt.Errorf("%q is not the transport pair of group %q: %w", own.Key, m.Group, hsm.ErrInvalid))
	}
	id, label := objectID(k.cfg.ID, m.EffectID), labelOf(m)
	got, err := ask(ctx, k, func(s *session) (hsm.Material, error) {
		found, err := k.read(s, m.EffectID)
		if err == nil && found.CheckValue == m.CheckValue && found.Group == m.Group && found.Key == m.Key && found.Version == m.Version {
			return found, nil
		}
		if err != nil && !errors.Is(err, errNoObject) && !errors.Is(err, hsm.ErrCorrupt) {
			return found, err
		}
		if err := s.remove(id); err != nil { // of an effect that was never recorded
			return found, err
		}
		private, err := s.one(pkcs11.CKO_PRIVATE_KEY, objectID(k.cfg.ID, transportObject+m.Group))
		if err != nil {
			return found, err
		}
		if _, err := s.unwrapFrom(private, sealed, making.sharedTemplate(id, label, m.Specification())); err != nil {
			if sessionGone(err) || linkGone(err) && !s.shows(private) || objectGone(err) {
				return found, err
			}
			return found, errors.Join(hsm.ErrUnwrap, s.remove(id))
		}
		found, err = k.read(s, m.EffectID)
		if err == nil && found.CheckValue != m.CheckValue {
			err = fmt.Errorf("check value %s, sent was %.16q: %w", found.CheckValue, m.CheckValue, hsm.ErrCorrupt)
		}
		if errors.Is(err, hsm.ErrCorrupt) {
			err = errors.Join(err, s.remove(id))
		}
		return found, err
	})
	if err != nil {
		return fail(err)
	}
	return got, nil
}

// sharedTemplate is template of a key of a group, as it is unwrapped: modifiable until all is said.
func (m making) sharedTemplate(id []byte, label string, spec hsm.Spec) []*pkcs11.Attribute {
	kind := uint(pkcs11.CKK_AES)
	if spec.Kind() == hsm.MACs {
		kind = pkcs11.CKK_GENERIC_SECRET
	}
	out := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, kind)}
	var last *pkcs11.Attribute
	for _, a := range m.keyTemplate(id, label, spec, true) {
		if a.Type == pkcs11.CKA_MODIFIABLE {
			last = a
		} else if a.Type != pkcs11.CKA_VALUE_LEN {
			out = append(out, a)
		}
	}
	return append(out, last)
}
