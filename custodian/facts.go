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

// facts is everything one data-plane call is judged and done by, gathered from one View. The parts that
// policy sees stand inside it, so that a call costs one allocation.
type facts struct {
	in       policies.AuthoriseInput
	keyFacts policies.KeyFacts
	version  policies.VersionFacts
	onto     policies.VersionFacts
	keystore policies.KeystoreState

	key     *key.Key
	protect *key.Version // datakey, encrypt, rewrap
	process *key.Version // decrypt, rewrap
	driver  hsm.Keystore
}

// ciphertext is a parsed input ciphertext; header and body point into the caller's bytes.
type ciphertext struct {
	dek.Header
	header, body []byte
}

// gather reads the rows that this use is about. Keys and versions that do not exist, or contradict the
// ledger, are errors; who may do what is left to policy.
func (s *Service) gather(view *store.View, d *derived, p identity.Principal, u *Use, keyID string, ct *ciphertext, now time.Time) (*facts, error) {
	f := &facts{}
	f.in = policies.AuthoriseInput{
		Now: now, Mode: policies.Mode(s.instance.Mode), Operation: string(u.Operation),
		Context: u.Context, ReasonCode: u.ReasonCode, AcceptRisk: u.AcceptRisk,
	}
	if err := s.principalFacts(view, p, &f.in.Principal); err != nil {
		return nil, err
	}
	var err error
	if f.key, err = peek[key.Key](view, KindKey, keyID); err != nil {
		return nil, err
	}
	k := f.key
	f.keyFacts = policies.KeyFacts{ID: k.ID, Type: string(k.Type), Classification: string(k.Classification),
		Impact: string(k.Impact), Jurisdiction: k.Jurisdiction, Environment: k.Environment, Owner: k.Owner, Keystore: k.Keystore}
	f.in.Key = &f.keyFacts
	if err := s.versionFacts(view, f, u, ct); err != nil {
		return nil, err
	}
	if p.Kind == identity.Application {
		f.in.Grant = d.grant(p.ID, k.ID, u.Operation, now)
	}
	return f, s.keystoreFacts(view, f)
}

// versionFacts reads the versions that protect and process in this use.
func (s *Service) versionFacts(view *store.View, f *facts, u *Use, ct *ciphertext) error {
	var err error
	if ct != nil {
		f.in.ProtectedAt = ct.ProtectedAt
		f.in.PayloadBytes = len(ct.body)
		if f.process, err = peek[key.Version](view, KindKeyVersion, key.VersionID(ct.Key, ct.Version)); err != nil {
			return err
		}
		if f.process.Algorithm != ct.Algorithm {
			return ErrBadCiphertext
		}
		f.version = factsOfVersion(f.process)
		f.in.Version = &f.version
	}
	if u.Operation == access.Decrypt {
		return nil
	}
	if f.protect, err = peek[key.Version](view, KindKeyVersion, key.VersionID(f.key.ID, f.key.Current)); err != nil {
		return err
	}
	switch u.Operation {
	case access.Rewrap:
		f.onto = factsOfVersion(f.protect)
		f.in.Onto = &f.onto
	case access.DataKey:
		f.version = factsOfVersion(f.protect)
		f.in.Version, f.in.PayloadBytes = &f.version, u.Bytes
	default:
		f.version = factsOfVersion(f.protect)
		f.in.Version, f.in.PayloadBytes = &f.version, len(u.Plaintext)
	}
	return nil
}

func factsOfVersion(v *key.Version) policies.VersionFacts {
	f := policies.VersionFacts{Number: v.Version, State: string(v.State), ActivationAt: v.ActivationAt,
		OUPEnd: v.OUPEnd, RUPEnd: v.RUPEnd, Suspected: v.Suspected}
	if v.SuspendedAt != nil {
		f.SuspendedAt = *v.SuspendedAt
	}
	return f
}

func (s *Service) keystoreFacts(view *store.View, f *facts) error {
	record, err := peek[key.Keystore](view, KindKeystore, f.key.Keystore)
	if err != nil {
		return err
	}
	f.driver, err = s.Keystore(f.key.Keystore)
	active := err == nil && f.driver.Active()
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f.keystore = policies.KeystoreState{ID: record.ID, Environment: record.Environment, Active: active}
	f.in.Keystore = &f.keystore
	return nil
}

// principalFacts reads who is calling. A caller whose own row is gone is nobody, and denied by policy.
func (s *Service) principalFacts(view *store.View, p identity.Principal, out *policies.Principal) error {
	*out = policies.Principal{Kind: string(p.Kind), ID: p.ID, Status: string(people.StatusLeft)}
	switch p.Kind {
	case identity.Application:
		app, err := peek[access.Application](view, KindApplication, p.ID)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		out.Status, out.Environment = app.Status, app.Environment
	case identity.Human, identity.Auditor:
		person, err := peek[people.Person](view, KindPerson, p.ID)
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
		out.Status = string(people.StatusActive)
	default:
		return fmt.Errorf("principal kind %q is unknown", p.Kind)
	}
	return s.credentialFacts(view, p, out)
}

// credentialFacts reads the token that proved the caller; signatures of people are checked by auth and end
// with their request.
func (s *Service) credentialFacts(view *store.View, p identity.Principal, out *policies.Principal) error {
	if p.Kind != identity.Application && p.Kind != identity.Auditor {
		return nil
	}
	token, err := peek[access.Token](view, KindToken, p.Credential)
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
