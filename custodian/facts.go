package custodian

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian/access"
	"conclave/custodian/dek"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

// facts is everything one data-plane call is judged and done by, gathered from one authority state. The parts
// that policy sees stand inside it, so that a call costs no allocation for them.
type facts struct {
	in       policies.AuthoriseInput
	keyFacts policies.KeyFacts
	version  policies.VersionFacts
	onto     policies.VersionFacts
	keystore policies.KeystoreState

	key     *key.Key
	protect *key.Version // datakey, encrypt, rewrap
	process *key.Version // decrypt, rewrap
	// The keystores of these versions: versions of one key may live in different ones.
	protectIn, processIn hsm.Keystore
	controlled           *key.ControlledApproval // approval to process with a compromised version; nil for none
	notCovered           error                   // why the grant in in.Grant does not cover the call; nil when it does
}

// gather reads the rows that this use is about. Keys and versions that do not exist, or contradict the
// ledger, are errors; who may do what is left to policy.
func (s *Service) gather(d *derived, c *call, keyID string, now time.Time) error {
	f, u := &c.facts, &c.use
	*f = facts{in: policies.AuthoriseInput{
		Now: now, Mode: policies.Mode(s.instance.Mode), Operation: string(u.Operation),
		Context: u.Context, ReasonCode: u.ReasonCode, AcceptRisk: u.AcceptRisk,
	}}
	if err := s.principalFacts(d.view, c.principal, &f.in.Principal); err != nil {
		return err
	}
	g, lacks := d.grant(c.principal, keyID, u.Operation, u.Context, now)
	if f.notCovered = lacks; g != nil {
		f.in.Grant = &g.facts
	}
	err := s.keyFacts(d.view, c, keyID)
	if err == nil && d.unsure[keyID] {
		err = &store.TamperedError{Kind: KindDrift, ID: keyID}
	}
	if err == nil && d.drift != nil {
		f.keystore.Drift = d.drift[driftKey{keyID, f.keystore.ID}]
	}
	if v := f.process; err == nil && v != nil && v.State == key.Compromised && (u.Operation == access.Decrypt || u.Operation == access.Rewrap) {
		if f.controlled = d.controlledUse(c.principal, v, u.Context, now); f.controlled != nil {
			f.version.ControlledUse, f.version.ControlledUntil = f.controlled.ID, f.controlled.Until
		}
	}
	if err != nil && f.in.Grant == nil {
		return noGrant(keyID)
	}
	return err
}

// keyFacts reads the key, the versions that the call uses, and their keystores.
func (s *Service) keyFacts(view *store.View, c *call, keyID string) error {
	f := &c.facts
	k, err := store.Peek[key.Key](view, KindKey, keyID)
	if err != nil {
		return err
	}
	f.key = k
	f.keyFacts = policies.KeyFacts{ID: k.ID, Type: string(k.Type), Classification: string(k.Classification),
		Impact: string(k.Impact), Jurisdiction: k.Jurisdiction, Environment: k.Environment, Owner: k.Owner, Keystore: k.Keystore}
	f.in.Key = &f.keyFacts
	if err := f.versions(view, c); err != nil {
		return err
	}
	return s.keystoreFacts(view, c)
}

// versions reads the versions that protect and process in this use.
func (f *facts) versions(view *store.View, c *call) error {
	u := &c.use
	err := f.fits(u)
	if err != nil {
		return err
	}
	if u.namesVersion() {
		if f.process, err = f.named(view, u.Version); err != nil {
			return err
		}
		f.version = factsOfVersion(f.process)
		if u.Operation == access.VerifySignature {
			f.version.State = string(f.process.PublicState())
		}
		f.in.Version, f.in.PayloadBytes = &f.version, len(u.Message)+len(u.Digest)
		return nil
	}
	if u.sealed() {
		f.in.ProtectedAt = c.ct.ProtectedAt
		f.in.PayloadBytes = dek.PayloadBytes(c.ct.Algorithm, c.ct.body)
		if f.process, err = peekVersion(view, f.key.ID, c.ct.Version); err != nil {
			return err
		}
		if f.process.Algorithm != c.ct.Algorithm {
			return fmt.Errorf("%w: it names another algorithm than its key version", ErrBadCiphertext)
		}
		f.version = factsOfVersion(f.process)
		f.in.Version = &f.version
	}
	if u.Operation == access.Decrypt {
		return nil
	}
	if f.protect, err = peekVersion(view, f.key.ID, f.key.Current); err != nil {
		return err
	}
	switch u.Operation {
	case access.Rewrap:
		f.onto = factsOfVersion(f.protect)
		f.in.Onto = &f.onto
	default:
		f.version = factsOfVersion(f.protect)
		f.in.Version, f.in.PayloadBytes = &f.version, u.Bytes+len(u.Plaintext)+len(u.Message)+len(u.Digest)
	}
	return nil
}

// peekVersion reads a version whose record says that it is that version.
func peekVersion(view *store.View, keyID string, number uint32) (*key.Version, error) {
	id := key.VersionID(keyID, number)
	v, err := store.Peek[key.Version](view, KindKeyVersion, id)
	if err == nil && (v.Key != keyID || v.Version != number) {
		return nil, &store.TamperedError{Kind: KindKeyVersion, ID: id}
	}
	return v, err
}

func factsOfVersion(v *key.Version) policies.VersionFacts {
	f := policies.VersionFacts{Number: v.Version, State: string(v.State), ActivationAt: v.ActivationAt,
		OUPEnd: v.OUPEnd, RUPEnd: v.RUPEnd, Suspected: v.Suspected}
	if v.SuspendedAt != nil {
		f.SuspendedAt = *v.SuspendedAt
	}
	return f
}

// keystoreFacts reads the keystores of the versions in use. Policy judges the one that protects, or processes
// where nothing is protected; it counts as active only when every keystore of the call is. One that this node
// has no driver of is inactive here. What the public half of a pair does needs none.
func (s *Service) keystoreFacts(view *store.View, c *call) error {
	f, needed := &c.facts, !c.byPublicHalf()
	active := true
	for _, use := range [...]struct {
		version *key.Version
		driver  *hsm.Keystore
	}{{f.process, &f.processIn}, {f.protect, &f.protectIn}} {
		if use.version == nil {
			continue
		}
		record, err := store.Peek[key.Keystore](view, KindKeystore, use.version.Keystore)
		if err != nil {
			return err
		}
		driver, err := s.Keystore(record.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		*use.driver = driver
		active = active && (!needed || err == nil && driver.Active())
		f.keystore = policies.KeystoreState{ID: record.ID, Environment: record.Environment, Active: active}
	}
	f.in.Keystore = &f.keystore
	return nil
}

// principalFacts reads who is calling. A caller whose own row is gone is nobody, and denied by policy.
func (s *Service) principalFacts(view *store.View, p identity.Principal, out *policies.Principal) error {
	*out = policies.Principal{Kind: string(p.Kind), ID: p.ID, Status: string(people.StatusLeft)}
	switch p.Kind {
	case identity.Application:
		app, err := store.Peek[access.Application](view, KindApplication, p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		out.Status, out.Environment = app.Status, app.Environment
	case identity.Human, identity.Auditor:
		person, err := store.Peek[people.Person](view, KindPerson, p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		out.Status = string(person.Status)
		for _, r := range person.Roles {
			out.Roles = append(out.Roles, string(r))
		}
	case identity.Node:
		if p.ID == s.node { // nodes act for themselves only
			out.Status = string(people.StatusActive)
		}
	}
	return s.credentialFacts(view, p, out)
}

// credentialFacts reads the token that proved the caller; signatures of people are checked by auth and end
// with their request.
func (s *Service) credentialFacts(view *store.View, p identity.Principal, out *policies.Principal) error {
	if p.Kind != identity.Application && p.Kind != identity.Auditor {
		return nil
	}
	token, err := store.Peek[access.Token](view, KindToken, p.Credential)
	if errors.Is(err, store.ErrNotFound) {
		out.CredentialRevoked = true
		return nil
	}
	if err != nil {
		return err
	}
	out.CredentialExpiresAt = token.ExpiresAt
	out.CredentialRevoked = token.RevokedAt != nil || token.Subject != p.ID || token.Kind != string(p.Kind)
	return nil
}
