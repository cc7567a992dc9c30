package custodian

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// Read authorises and records a read: of keys, of the ledger, of evidence. The operation is one that
// policy knows, e.g. "ledger.read". Errors: *Denied, store errors.
func (s *Service) Read(ctx context.Context, p identity.Principal, operation string, target ledger.Target) error {
	for range maxDecides {
		view := s.store.View()
		in := policies.AuthoriseInput{Now: s.clock.Now(), Mode: policies.Mode(s.instance.Mode), Operation: operation}
		err := s.principalFacts(view, p, &in.Principal)
		var decision policies.Decision
		if err == nil {
			decision, err = s.policies.Authorise(ctx, in)
		}
		o := deniedFor(decision.Reasons)
		switch {
		case err != nil:
			o = outcomeOf("", err)
		case decision.Allow:
			o = outcome{result: allowed}
		}
		e := ledger.Entry{Type: operation, Actor: p, Node: s.node, Target: target, Outcome: o.result, Policy: s.policyMark()}
		if o.err != nil {
			e.Reason = codeOf(o.err)
			e.Detail = Detail(map[string]any{"reasons": o.reasons})
		}
		receipt, err := s.store.Append(ctx, &e, view.Epoch())
		if errors.Is(err, store.ErrEpochChanged) {
			continue
		}
		if err != nil {
			return fmt.Errorf("recording %s: %w", operation, err)
		}
		_, err = o.answer(receipt)
		return err
	}
	return fmt.Errorf("authority changed %d times during one read: %w", maxDecides, store.ErrUnavailable)
}

// RecordUnauthenticated records that callers from one source failed to prove who they are. The caller
// aggregates: at most one entry a second and source.
func (s *Service) RecordUnauthenticated(ctx context.Context, origin, code string, attempts int) error {
	view := s.store.View()
	e := ledger.Entry{
		Type:  "auth.failure",
		Actor: identity.Principal{Kind: identity.Node, ID: s.node, Origin: origin}, Node: s.node,
		Outcome: denied, Reason: code, Policy: s.policyMark(),
		Detail: Detail(map[string]any{"attempts": attempts}),
	}
	_, err := s.store.Append(ctx, &e, view.Epoch())
	if errors.Is(err, store.ErrEpochChanged) { // nothing was decided by authority: record it under the new one
		_, err = s.store.Append(ctx, &e, s.store.View().Epoch())
	}
	return err
}

// Place judges a key against every registered keystore at once.
func (s *Service) Place(ctx context.Context, view *store.View, k policies.PlacementKey) (policies.PlacementDecision, error) {
	if bad := view.Tampered(KindKeystore); len(bad) > 0 {
		return policies.PlacementDecision{}, &store.TamperedError{Kind: KindKeystore, ID: bad[0].ID}
	}
	in := policies.PlacementInput{Now: s.clock.Now(), Mode: policies.Mode(s.instance.Mode), Key: k}
	for row := range view.List(KindKeystore) {
		r, ok := row.Value.(*key.Keystore)
		if !ok {
			continue
		}
		in.Keystores = append(in.Keystores, policies.PlacementKeystore{
			ID: r.ID, Status: r.Status, FIPSStandard: r.FIPSStandard, FIPSLevel: r.FIPSLevel, Certificate: r.Certificate,
			CertificateStatus: r.CertificateStatus, Custody: string(r.Custody), Jurisdiction: r.Jurisdiction,
			Environment: r.Environment, KeyStrength: r.Capabilities.KeyStrength, Simulated: r.Simulated,
		})
	}
	return s.policies.Place(ctx, in)
}

// Recorded is one entry with the proof that it is in the ledger.
type Recorded struct {
	Raw        []byte
	Entry      *ledger.Entry
	Inclusion  [][]byte // RFC 6962 audit path
	Checkpoint []byte   // signed note that the path leads to
}

// Why opens the entry that a decision id names. store.ErrNotFound for an id of another ledger.
func (s *Service) Why(ctx context.Context, id string) (*Recorded, error) {
	seq, leaf, err := ParseDecisionID(id)
	if err != nil {
		return nil, err
	}
	note := s.store.Checkpoint()
	size := s.store.View().Head().Size
	if seq >= size {
		return nil, fmt.Errorf("decision %q: %w", id, store.ErrNotFound)
	}
	raw, entry, err := s.store.EntryAt(ctx, seq)
	if err != nil {
		return nil, fmt.Errorf("reading decision %q: %w", id, err)
	}
	if hash := ledger.LeafHash(raw); !bytes.Equal(hash[:4], leaf[:]) {
		return nil, fmt.Errorf("decision %q: %w", id, store.ErrNotFound)
	}
	proof, err := s.store.Inclusion(ctx, seq, size)
	if err != nil {
		return nil, fmt.Errorf("proving decision %q: %w", id, err)
	}
	out := &Recorded{Raw: raw, Entry: entry, Checkpoint: note}
	for _, h := range proof {
		out.Inclusion = append(out.Inclusion, h[:])
	}
	return out, nil
}
