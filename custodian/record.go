package custodian

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

type ledgerOutcome = ledger.Outcome

const (
	allowed = ledger.Allow
	denied  = ledger.Deny
	failed  = ledger.Failed
)

// record makes the outcome durable under the epoch it was decided in.
func (s *Service) record(ctx context.Context, view *store.View, p identity.Principal, u *Use, o *outcome) (store.Receipt, error) {
	e := ledger.Entry{
		Type:    "key.use." + string(u.Operation),
		Actor:   p,
		Node:    s.node,
		Target:  ledger.Target{Type: "key", ID: o.used.Key, Version: o.used.Version},
		Outcome: o.result,
		Policy:  s.policyMark(),
		Context: s.contexts.sum(u.Context, s.clock.Now()),
	}
	if e.Target.ID == "" {
		e.Target.ID = targetName(u.Key)
	}
	if o.err != nil {
		e.Reason = codeOf(o.err)
		s.log.Debug("data-plane call refused", "operation", u.Operation, "key", u.Key, "principal", p.String(), "reason", e.Reason)
	}
	if len(o.reasons) > 0 {
		e.Detail = Detail(map[string]any{"reasons": o.reasons})
		ledger.ShrinkDetail(&e)
	}
	return s.store.Append(ctx, &e, view.Epoch())
}

// targetName makes a key name that came from outside and led nowhere fit for an entry.
func targetName(id string) string {
	const most = 64
	return ledger.CleanText(id[:min(most, len(id))])
}

// policyMark is how entries name the bundle: the first 32 hex digits of its digest.
func (s *Service) policyMark() string { return PolicyMark(s.policies.Digest()) }

// PolicyMark is how entries name a policy bundle: the first 32 hex digits (128 bits) of its digest.
func PolicyMark(digest string) string { return digest[:min(32, len(digest))] }

// codeOf is the stable code under which a failure is recorded.
func codeOf(err error) string {
	var d *Denied
	switch {
	case errors.As(err, &d):
		return d.Code
	case errors.Is(err, ErrBadCiphertext):
		return "bad_ciphertext"
	case errors.Is(err, ErrNotThisKey):
		return "wrong_key"
	case errors.Is(err, ErrForeign):
		return "foreign_ciphertext"
	case errors.Is(err, hsm.ErrInactive):
		return CodeKeystoreInactive
	}
	return "keystore_error"
}

// Detail is the canonical form (RFC 8785) of what an entry says beyond its fields; nil when it cannot be
// encoded, which only a programming error brings about.
func Detail(v any) []byte {
	raw, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return nil
	}
	canonical := jsontext.Value(raw)
	if canonical.Canonicalize() != nil {
		return nil
	}
	return canonical
}

// DecisionID names the entry that records a decision: its position, and the start of its leaf hash so that
// an id read from one ledger does not open an entry of another.
func DecisionID(r store.Receipt) string {
	return "d" + strconv.FormatUint(r.Seq, 36) + "-" + hex.EncodeToString(r.Leaf[:4])
}

// ParseDecisionID splits an id into the entry's position and the leaf-hash prefix it must have.
func ParseDecisionID(id string) (seq uint64, leaf [4]byte, err error) {
	bad := &InputError{"decision", fmt.Sprintf("%q is not a decision id", targetName(id)), "an id as answers carry it, e.g. d1k-00ff00ff"}
	position, prefix, found := strings.Cut(strings.TrimPrefix(id, "d"), "-")
	if !found || !strings.HasPrefix(id, "d") || len(prefix) != 8 || len(position) > 13 {
		return 0, leaf, bad
	}
	if seq, err = strconv.ParseUint(position, 36, 63); err != nil {
		return 0, leaf, bad
	}
	if _, err := hex.Decode(leaf[:], []byte(prefix)); err != nil {
		return 0, leaf, bad
	}
	return seq, leaf, nil
}

// DeniedEntry is the entry of a refusal outside the data plane.
func (s *Service) DeniedEntry(eventType string, p identity.Principal, target ledger.Target, reasons []policies.Reason) ledger.Entry {
	e := ledger.Entry{Type: eventType, Actor: p, Node: s.node, Target: target, Outcome: ledger.Deny, Policy: s.policyMark()}
	if len(reasons) > 0 {
		e.Reason = reasons[0].Code
		e.Detail = Detail(map[string]any{"reasons": reasons})
		ledger.ShrinkDetail(&e)
	}
	return e
}
