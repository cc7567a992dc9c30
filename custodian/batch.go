package custodian

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
)

// BatchItem is the result of one item; Err is what Use would have returned for it.
type BatchItem struct {
	Used
	Err error
}

// UseBatch does up to MaxBatch uses of one operation and records them as one entry that lists them. Items
// fail alone; an error of UseBatch itself means that nothing was done or answered.
func (s *Service) UseBatch(ctx context.Context, p identity.Principal, uses []Use) ([]BatchItem, error) {
	if len(uses) == 0 || len(uses) > MaxBatch {
		return nil, invalid("items", fmt.Sprintf("%d items", len(uses)), fmt.Sprintf("1 to %d", MaxBatch))
	}
	kind := useType(uses[0].Operation)
	switch {
	case kind == "":
		return nil, unknownOperation(uses[0].Operation)
	case uses[0].Operation == access.DataKeyPair: // each may take a second of a processor
		return nil, invalid("operation", "datakeypair has no batch", "one call a pair")
	}
	b := batch{principal: p, kind: kind, calls: make([]*call, len(uses)), refused: make([]error, len(uses))}
	defer func() {
		for _, c := range b.calls {
			if c != nil {
				s.release(c)
			}
		}
	}()
	for i := range uses {
		if uses[i].Operation != uses[0].Operation {
			return nil, invalid(fmt.Sprintf("items[%d]", i), "another operation than the first item", "one operation a batch")
		}
		b.calls[i], b.refused[i] = s.begin(p, &uses[i])
	}
	for range maxDecides {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("before deciding a batch: %w", err)
		}
		d := s.authority()
		b.attempt(ctx, s, d)
		receipt, err := s.recordBatch(ctx, d, &b)
		if err == nil {
			return b.answer(DecisionID(receipt)), nil
		}
		for i := range b.outcomes {
			b.outcomes[i].wipe()
		}
		if !errors.Is(err, store.ErrEpochChanged) {
			return nil, fmt.Errorf("recording a batch: %w", err)
		}
	}
	return nil, fmt.Errorf("authority changed %d times during one batch: %w", maxDecides, store.ErrUnavailable)
}

// batch is one UseBatch on its way through the door. An item has a call, or was refused as bad input.
type batch struct {
	principal identity.Principal
	kind      string // event type
	calls     []*call
	refused   []error
	outcomes  []outcome
}

// attempt judges and does every item under one authority state.
func (b *batch) attempt(ctx context.Context, s *Service, d *derived) {
	b.outcomes = make([]outcome, len(b.calls))
	for i, c := range b.calls {
		if c == nil {
			b.outcomes[i].fail(b.refused[i])
			continue
		}
		b.outcomes[i] = s.attempt(ctx, d, c)
	}
}

func (b *batch) answer(decision string) []BatchItem {
	items := make([]BatchItem, len(b.outcomes))
	for i := range b.outcomes {
		items[i].Used, items[i].Err = b.outcomes[i].answer(decision)
	}
	return items
}

// recordBatch makes the batch durable as one entry.
func (s *Service) recordBatch(ctx context.Context, d *derived, b *batch) (store.Receipt, error) {
	e := ledger.Entry{Type: b.kind, Actor: b.principal, Node: s.node, Target: b.target(), Policy: d.mark}
	e.Outcome, e.Reason = b.result()
	for i, c := range b.calls {
		if c != nil {
			s.logFailure(c, &b.outcomes[i])
		}
	}
	var err error
	if e.Detail, err = s.batchDetail(b, &e); err != nil {
		return store.Receipt{}, err
	}
	ledger.ShrinkDetail(&e)
	return s.store.Append(ctx, &e, d.view.Epoch())
}

// result is allow when any item was, else deny when any was refused, and the first reason of that kind.
func (b *batch) result() (result ledgerOutcome, reason string) {
	for _, want := range [...]ledgerOutcome{allowed, denied, failed} {
		for i := range b.outcomes {
			if o := &b.outcomes[i]; o.result == want {
				return want, o.reason()
			}
		}
	}
	return failed, ""
}

// target is what all items have in common: the key, and the version where that is the same too.
func (b *batch) target() ledger.Target {
	t := b.outcomes[0].target
	t.Type = "key"
	for i := range b.outcomes {
		o := &b.outcomes[i].target
		if o.ID != t.ID {
			return ledger.Target{Type: "key"}
		}
		if o.Version != t.Version {
			t.Version = 0
		}
	}
	return t
}

// batchContext is how many characters of a context's HMAC an item carries: 132 bits, and a full batch stays
// below the bound of one entry.
const batchContext = 22

// batchDetail lists the items in their order: {"count":n,"items":[…]} with, where keys differ, "keys" that "k"
// counts from 0, and "reason_code" where all have the same. An item's members are those of a single entry, left
// out where the batch's own fields say the same: "a" accept_risk, "b" breakglass, "c" start of ctx, "f" from_version, "i" start of input, "k" key,
// "n" not valid, "o" outcome, "r" reason, "rc" reason_code, "u" controlled_use, "v" version. Written by hand, in the order of RFC 8785, because a
// batch pays for a hundred of them.
func (s *Service) batchDetail(b *batch, e *ledger.Entry) ([]byte, error) {
	out := make([]byte, 0, 64+64*len(b.outcomes))
	out = strconv.AppendInt(append(out, `{"count":`...), int64(len(b.outcomes)), 10)
	out = append(out, `,"items":[`...)
	keys := map[string]int{}
	var names []string
	common := b.reasonCode()
	for i := range b.outcomes {
		if i > 0 {
			out = append(out, ',')
		}
		o := &b.outcomes[i]
		line := batchLine{key: -1}
		if e.Target.ID == "" && o.target.ID != "" {
			k, known := keys[o.target.ID]
			if !known {
				k = len(names)
				keys[o.target.ID], names = k, append(names, o.target.ID)
			}
			line.key = k
		}
		if o.result != e.Outcome || o.reason() != e.Reason {
			line.result, line.reason = o.result, o.reason()
		}
		if o.target.Version != e.Target.Version {
			line.version = o.target.Version
		}
		if c := b.calls[i]; c != nil {
			if err := s.describe(&line, c, o); err != nil {
				return nil, err
			}
		}
		if line.reasonCode == common {
			line.reasonCode = ""
		}
		out = line.append(out)
	}
	out = append(out, ']')
	for i, name := range names {
		out = append(out, [...]string{`,"keys":["`, `","`}[min(i, 1)]...)
		out = append(out, name...)
	}
	if len(names) > 0 {
		out = append(out, `"]`...)
	}
	out = appendMember(out, 0, "reason_code", common)
	return append(out, '}'), nil
}

// reasonCode is the one that all items have, or "".
func (b *batch) reasonCode() string {
	common := ""
	for i, c := range b.calls {
		switch {
		case c == nil || (i > 0 && c.use.ReasonCode != common):
			return ""
		case i == 0:
			common = c.use.ReasonCode
		}
	}
	return common
}

// batchLine is one item in a batch's detail; what is zero is left out.
type batchLine struct {
	acceptRisk  bool
	emergency   string
	controlled  string
	context     string
	input       string
	invalid     bool
	fromVersion uint32
	key         int // -1: the target's
	result      ledgerOutcome
	reason      string
	reasonCode  string
	version     uint32
}

// describe fills in what the request says.
func (s *Service) describe(l *batchLine, c *call, o *outcome) error {
	mark, err := s.contextMark(c, o)
	if err != nil {
		return err
	}
	l.context = mark[:min(batchContext, len(mark))]
	if l.input, err = s.inputMark(c, o.at); err != nil {
		return err
	}
	l.input = l.input[:min(batchContext, len(l.input))]
	l.invalid = c.use.verifies() && o.result == allowed && !o.used.Valid
	l.acceptRisk, l.reasonCode, l.emergency = c.use.AcceptRisk, c.use.ReasonCode, c.facts.emergency()
	if use := c.facts.controlled; use != nil {
		l.controlled = use.ID
	}
	if v := c.facts.process; v != nil && c.use.Operation == access.Rewrap {
		l.fromVersion = v.Version
	}
	return nil
}

func (l *batchLine) append(out []byte) []byte {
	out = append(out, '{')
	start := len(out)
	if l.acceptRisk {
		out = append(appendName(out, start, "a"), "true"...)
	}
	out = appendMember(out, start, "b", l.emergency)
	out = appendMember(out, start, "c", l.context)
	if l.fromVersion > 0 {
		out = appendNumber(out, start, "f", uint64(l.fromVersion))
	}
	out = appendMember(out, start, "i", l.input)
	if l.key >= 0 {
		out = appendNumber(out, start, "k", uint64(l.key))
	}
	if l.invalid {
		out = append(appendName(out, start, "n"), "true"...)
	}
	out = appendMember(out, start, "o", string(l.result))
	out = appendMember(out, start, "r", l.reason)
	out = appendMember(out, start, "rc", l.reasonCode)
	out = appendMember(out, start, "u", l.controlled)
	if l.version > 0 {
		out = appendNumber(out, start, "v", uint64(l.version))
	}
	return append(out, '}')
}

// appendMember appends a string member of an object that began at start; nothing when value is empty. Values
// are ids, codes and base64url, which JSON takes as they are.
func appendMember(dst []byte, start int, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = appendName(dst, start, name)
	dst = append(dst, '"')
	return append(append(dst, value...), '"')
}

func appendNumber(dst []byte, start int, name string, value uint64) []byte {
	return strconv.AppendUint(appendName(dst, start, name), value, 10)
}

func appendName(dst []byte, start int, name string) []byte {
	if len(dst) > start {
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	return append(append(dst, name...), `":`...)
}
