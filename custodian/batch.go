package custodian

import (
	"context"
	"errors"
	"fmt"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// BatchItem is the result of one item; Err is what Use would have returned for it.
type BatchItem struct {
	Used
	Err error
}

// batchLine is how the one entry of a batch lists an item.
type batchLine struct {
	Key     string        `json:"k,omitempty"`
	Version uint32        `json:"v,omitempty"`
	Outcome ledgerOutcome `json:"o"`
	Reason  string        `json:"r,omitempty"`
	Context string        `json:"c,omitempty"` // HMAC, as Entry.Context
}

// UseBatch does up to MaxBatch uses of one operation and records them as one entry that lists them. Items
// fail alone; an error of UseBatch itself means that nothing was done or answered.
func (s *Service) UseBatch(ctx context.Context, p identity.Principal, uses []Use) ([]BatchItem, error) {
	if len(uses) == 0 || len(uses) > MaxBatch {
		return nil, &InputError{"items", fmt.Sprintf("%d items", len(uses)), fmt.Sprintf("1 to %d", MaxBatch)}
	}
	parsed := make([]*ciphertext, len(uses))
	inputErrs := make([]error, len(uses))
	for i := range uses {
		if uses[i].Operation != uses[0].Operation {
			return nil, &InputError{fmt.Sprintf("items[%d]", i), "another operation than the first item", "one operation a batch"}
		}
		parsed[i], inputErrs[i] = s.check(&uses[i])
	}
	for range maxDecides {
		view := s.store.View()
		outcomes := make([]outcome, len(uses))
		for i := range uses {
			if inputErrs[i] != nil {
				outcomes[i] = failedWith(inputErrs[i])
				continue
			}
			outcomes[i] = s.attempt(ctx, view, p, &uses[i], parsed[i])
		}
		receipt, err := s.recordBatch(ctx, view, p, uses, outcomes)
		if err == nil {
			return answers(outcomes, receipt), nil
		}
		for i := range outcomes {
			outcomes[i].wipe()
		}
		if !errors.Is(err, store.ErrEpochChanged) {
			return nil, fmt.Errorf("recording a batch: %w", err)
		}
	}
	return nil, fmt.Errorf("authority changed %d times during one batch: %w", maxDecides, store.ErrUnavailable)
}

func answers(outcomes []outcome, receipt store.Receipt) []BatchItem {
	items := make([]BatchItem, len(outcomes))
	for i := range outcomes {
		items[i].Used, items[i].Err = outcomes[i].answer(receipt)
	}
	return items
}

func (s *Service) recordBatch(ctx context.Context, view *store.View, p identity.Principal, uses []Use, outcomes []outcome) (store.Receipt, error) {
	now := s.clock.Now()
	lines := make([]batchLine, len(outcomes))
	e := ledger.Entry{Type: "key.use." + string(uses[0].Operation), Actor: p, Node: s.node, Outcome: denied,
		Policy: s.policyMark(), Target: ledger.Target{Type: "key", ID: targetName(uses[0].Key)}}
	for i := range outcomes {
		o := &outcomes[i]
		lines[i] = batchLine{Key: o.used.Key, Version: o.used.Version, Outcome: o.result, Context: s.contexts.sum(uses[i].Context, now)}
		if o.err != nil {
			lines[i].Reason = codeOf(o.err)
		} else {
			e.Outcome, e.Target.Version = allowed, o.used.Version
		}
	}
	e.Detail = Detail(map[string]any{"count": len(lines), "items": lines})
	ledger.ShrinkDetail(&e)
	return s.store.Append(ctx, &e, view.Epoch())
}
