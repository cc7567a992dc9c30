package genesis

import (
	"fmt"
	"time"

	"conclave/ceremony/issue"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/hsm/soft"
	"conclave/policies"
)

// Beginning is everything that Apply writes: rows only. The activation secrets existed while it was made
// and are gone.
type Beginning struct {
	instance  custodian.Instance
	people    []*people.Person
	keystores []key.Keystore
	issued    []*issue.Issued
	node      custodian.Node
	policy    *policies.Engine
	file      *File
	at        time.Time
}

// Prepare checks the file and its signatures, makes each keystore's activation secret, splits it, seals the
// shares to their holders and forgets the rest. node is the first node, which is enrolled with the instance.
func Prepare(file []byte, envelopes [][]byte, node custodian.Node, at time.Time) (*Beginning, error) {
	f, err := Check(file, envelopes)
	if err != nil {
		return nil, err
	}
	b := &Beginning{file: f, node: node, at: at, instance: custodian.Instance{
		ID: Digest(file), Name: f.Name, Mode: f.Mode, PolicyDigest: f.PolicyDigest, Genesis: file, GenesisSignatures: envelopes}}
	if b.people, err = f.register(at); err != nil {
		return nil, err
	}
	for i := range f.Keystores {
		if err := b.makeKeystore(&f.Keystores[i]); err != nil {
			return nil, fmt.Errorf("making keystore %s: %w", f.Keystores[i].ID, err)
		}
	}
	return b, nil
}

// Carry gives the beginning the bundle that its file names, so that the instance keeps it and later programs, which
// carry another, can go on with it. A bundle of another digest is refused.
func (b *Beginning) Carry(policy *policies.Engine) error {
	if policy.Digest() != b.instance.PolicyDigest {
		return fmt.Errorf("policy_digest of the genesis file: %w", &custodian.PolicyMismatch{InForce: b.instance.PolicyDigest, Loaded: policy.Digest()})
	}
	b.policy = policy
	return nil
}

// Instance is the record that Apply writes. Its id is the digest of the file.
func (b *Beginning) Instance() custodian.Instance { return b.instance }

func (b *Beginning) makeKeystore(in *Keystore) error {
	activation, verifier, err := soft.NewActivation()
	if err != nil {
		return err
	}
	defer activation.Wipe()
	driver, err := soft.New(soft.Config{ID: in.ID, Verifier: verifier})
	if err != nil {
		return err
	}
	find := people.Among(b.people)
	order := issue.Order{Set: in.ShareSet.ID, Keystore: in.ID, Epoch: 1, Threshold: in.ShareSet.Threshold, RNG: driver.Facts().RNG, At: b.at}
	for _, id := range in.ShareSet.Holders {
		order.Holders = append(order.Holders, find(id))
	}
	issued, err := issue.Shares(activation, order)
	if err != nil {
		return err
	}
	b.issued = append(b.issued, issued)
	b.keystores = append(b.keystores, *in.record(driver, verifier, b.at))
	return nil
}

// record is the governed row of a keystore. What it claims is what its driver proves now, at most.
func (in *Keystore) record(driver hsm.Keystore, verifier []byte, at time.Time) *key.Keystore {
	r := &key.Keystore{ID: in.ID, Driver: in.Driver, Make: in.Make, Model: in.Model, Custody: hsm.CustodySelf,
		Jurisdiction: in.Jurisdiction, Environment: in.Environment, Location: in.Location, Controller: in.Controller,
		ShareSet: in.ShareSet.ID, Status: key.KeystoreRegistered, GovRevision: 1, Verifier: verifier,
		RegisteredAt: at, RegisteredBy: "genesis"}
	if driver != nil {
		r.SetFacts(driver)
	}
	return r
}

// Apply writes the beginning: entry 0 with the instance's digest, then one entry for every person, keystore
// and share. It runs inside store.Initialise.
func (b *Beginning) Apply(tx *store.Tx) error {
	actor := identity.Principal{Kind: identity.Node, ID: b.node.ID}
	put := func(e ledger.Entry, kind store.Kind, id string, value any) error {
		if err := tx.Put(kind, id, value); err != nil {
			return err
		}
		e.Actor, e.Outcome, e.Ceremony = actor, ledger.Done, "genesis"
		e.Policy = custodian.PolicyMark(b.instance.PolicyDigest)
		return tx.Append(e)
	}
	signatures := make([]string, len(b.instance.GenesisSignatures))
	for i, envelope := range b.instance.GenesisSignatures {
		signatures[i] = Digest(envelope)
	}
	first := ledger.Entry{Type: "genesis", Target: ledger.Target{Type: "instance", ID: b.instance.ID},
		Detail: custodian.Detail(map[string]any{"instance": b.instance.ID, "mode": b.instance.Mode,
			"fingerprints_compared": b.file.Attestation.FingerprintsCompared, "attested_by": b.file.Attestation.By,
			"attested_at": b.file.Attestation.At.UTC().Format(time.RFC3339), "signature_sha256": signatures})}
	if err := put(first, custodian.KindInstance, custodian.InstanceRow, b.instance); err != nil {
		return err
	}
	if err := b.applyPolicy(tx, put); err != nil {
		return err
	}
	if err := put(ledger.Entry{Type: "node.enrol", Target: ledger.Target{Type: "node", ID: b.node.ID}}, custodian.KindNode, b.node.ID, b.node); err != nil {
		return err
	}
	for _, p := range b.people {
		e := ledger.Entry{Type: "custodian.add", Target: ledger.Target{Type: "person", ID: p.ID}}
		if err := put(e, custodian.KindPerson, p.ID, p); err != nil {
			return err
		}
	}
	for i := range b.keystores {
		if err := b.applyKeystore(put, i); err != nil {
			return err
		}
	}
	return nil
}

// applyPolicy stores the bundle in force.
func (b *Beginning) applyPolicy(tx *store.Tx, put putFunc) error {
	if b.policy == nil {
		return nil
	}
	record := custodian.GenesisBundle(b.policy, b.at)
	if err := custodian.PutPolicyBundle(tx, record, b.policy.Files()); err != nil {
		return err
	}
	e := ledger.Entry{Type: "policy.activate", Target: ledger.Target{Type: "policy", ID: record.Digest},
		Detail: custodian.Detail(map[string]any{"digest": record.Digest, "number": 1})}
	return put(e, custodian.KindPolicy, custodian.PolicyRow, custodian.PolicyInForce{Digest: record.Digest, Number: 1, Since: b.at, Ceremony: "genesis"})
}

type putFunc func(e ledger.Entry, kind store.Kind, id string, value any) error

func (b *Beginning) applyKeystore(put putFunc, i int) error {
	ks, issued := b.keystores[i], b.issued[i]
	e := ledger.Entry{Type: "keystore.register", Target: ledger.Target{Type: "keystore", ID: ks.ID}}
	if err := put(e, custodian.KindKeystore, ks.ID, ks); err != nil {
		return err
	}
	e = ledger.Entry{Type: "shareset.create", Target: ledger.Target{Type: "share_set", ID: issued.Set.ID},
		Detail: custodian.Detail(map[string]any{"threshold": issued.Set.Threshold, "total": issued.Set.Total,
			"epoch": issued.Set.Epoch, "scheme": issued.Set.Scheme, "rng": issued.Set.RNG, "module": issued.Set.Module})}
	if err := put(e, custodian.KindShareSet, issued.Set.ID, issued.Set); err != nil {
		return err
	}
	for _, s := range issued.Shares {
		id := people.ShareID(s.Set, s.Epoch, s.Index)
		e := ledger.Entry{Type: "share.issue", Target: ledger.Target{Type: "share", ID: id},
			Detail: custodian.Detail(map[string]any{"custodian": s.Custodian})}
		if err := put(e, custodian.KindShare, id, s); err != nil {
			return err
		}
	}
	return nil
}
