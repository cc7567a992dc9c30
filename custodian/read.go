package custodian

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// Read authorises and records a read: of keys, of the ledger, of evidence. The operation is one that
// policy knows, e.g. "ledger.read". Errors: *Denied, store errors.
func (s *Service) Read(ctx context.Context, p identity.Principal, operation string, target ledger.Target) error {
	target.ID = ledger.CleanText(target.ID)
	for range maxDecides {
		d := s.authority()
		o := outcome{at: s.clock.Now(), target: target, result: allowed}
		if err := s.judgeRead(ctx, d, p, operation, &o); err != nil {
			o.fail(err)
		}
		e := ledger.Entry{Type: operation, Actor: p, Node: s.node, Target: target, Outcome: o.result, Reason: o.reason(), Policy: d.mark}
		if o.err != nil {
			e.Detail = Detail(map[string]any{"reasons": o.reasons()})
			ledger.ShrinkDetail(&e)
		}
		if o.cause != nil {
			s.log.Warn("read failed", "operation", operation, "principal", p.String(), "request", p.RequestID, "code", e.Reason, "error", o.cause)
		}
		receipt, err := s.store.Append(ctx, &e, d.view.Epoch())
		if errors.Is(err, store.ErrEpochChanged) {
			continue
		}
		if err != nil {
			return fmt.Errorf("recording %s: %w", operation, err)
		}
		_, err = o.answer(DecisionID(receipt))
		return err
	}
	return fmt.Errorf("authority changed %d times during one read: %w", maxDecides, store.ErrUnavailable)
}

// judgeRead is nil when the read may be done. Applications read what they have a grant for.
func (s *Service) judgeRead(ctx context.Context, d *derived, p identity.Principal, operation string, o *outcome) error {
	if recoveryRead(d.view, p, operation, o.target) {
		return nil
	}
	if d.fault != nil {
		return d.fault
	}
	in := policies.AuthoriseInput{Now: o.at, Mode: policies.Mode(s.instance.Mode), Operation: operation}
	if err := s.principalFacts(d.view, p, &in.Principal); err != nil {
		return err
	}
	if p.Kind == identity.Application && o.target.Type == "key" {
		if g, _ := d.grant(p, o.target.ID, "", nil, o.at); g != nil {
			in.Grant = &g.facts
		}
	}
	decision, err := d.policies.Authorise(ctx, in)
	if err != nil {
		return err
	}
	if !decision.Allow {
		return denial(decision.Reasons...)
	}
	return nil
}

// recoveryRead: whoever may be needed to restore an earlier policy can see what that takes, whatever the bundle in
// force says, and were it broken: ceremonies, the policies and their history, the service's status, their own shares.
func recoveryRead(view *store.View, p identity.Principal, operation string, target ledger.Target) bool {
	switch operation {
	case "ceremony.read", "policy.read", "status.read":
	case "people.read":
		if target.Type != "share" || target.ID != p.ID {
			return false
		}
	default:
		return false
	}
	if p.Kind != identity.Human {
		return false
	}
	person, err := store.Peek[people.Person](view, KindPerson, p.ID)
	return err == nil && people.Present(person) == nil && (person.Has(people.RoleCustodian) || person.Has(people.RoleSecurityOfficer))
}

// RecordUnauthenticated records that callers from one source failed to prove who they are. The caller
// aggregates: at most one entry a second and source.
func (s *Service) RecordUnauthenticated(ctx context.Context, origin, code string, attempts int) error {
	e := ledger.Entry{
		Type:  "auth.failure",
		Actor: identity.Principal{Kind: identity.Node, ID: s.node, Origin: ledger.CleanText(origin)}, Node: s.node,
		Outcome: denied, Reason: ledger.CleanText(code), Policy: s.Mark(),
		Detail: Detail(map[string]any{"attempts": attempts}),
	}
	var err error
	for range maxDecides { // nothing was decided by authority: under whichever epoch holds
		if _, err = s.store.Append(ctx, &e, s.store.View().Epoch()); !errors.Is(err, store.ErrEpochChanged) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("recording failed authentication: %w", err)
	}
	return nil
}

// Recorded is one entry with the proof that it is in the ledger.
type Recorded struct {
	Raw        []byte
	Entry      *ledger.Entry
	Inclusion  [][]byte // RFC 6962 audit path
	Checkpoint []byte   // signed note that the path leads to
}

// Why opens the entry that a decision id names. *InputError for what is no decision id, store.ErrNotFound for
// an id of another ledger.
func (s *Service) Why(ctx context.Context, id string) (*Recorded, error) {
	seq, leaf, err := ParseDecisionID(id)
	if err != nil {
		return nil, err
	}
	view, note, _ := s.store.Published()
	size := view.Head().Size
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
	// The log may have grown since; the path must lead to the checkpoint that goes with it.
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
