package custodian

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// record makes the outcome durable under the epoch it was decided in.
func (s *Service) record(ctx context.Context, d *derived, c *call, o *outcome) (store.Receipt, error) {
	e := ledger.Entry{Type: useType(c.use.Operation), Actor: c.principal, Node: s.node, Target: o.target,
		Outcome: o.result, Policy: d.mark}
	var err error
	if e.Context, err = s.contextMark(c, o); err != nil {
		return store.Receipt{}, err
	}
	e.Reason = o.reason()
	s.logFailure(c, o)
	detail, err := s.useDetail(c, o)
	if err != nil {
		return store.Receipt{}, err
	}
	if len(detail) > 0 {
		e.Detail = Detail(detail)
		ledger.ShrinkDetail(&e)
	}
	return s.store.Append(ctx, &e, d.view.Epoch())
}

// contextMark is how an entry shows the encryption context: "" for none, else its HMAC under the month's key.
func (s *Service) contextMark(c *call, o *outcome) (string, error) {
	if len(c.use.Context) == 0 {
		return "", nil
	}
	return s.contexts.sum(c.context, o.at)
}

// useDetail is what an entry says of a call beyond its fields; empty for an ordinary one.
func (s *Service) useDetail(c *call, o *outcome) (map[string]any, error) {
	u := &c.use
	reasons := o.reasons()
	emergency := c.facts.emergency()
	input, err := s.inputMark(c, o.at)
	if err != nil {
		return nil, err
	}
	if len(reasons) == 0 && u.ReasonCode == "" && !u.AcceptRisk && emergency == "" && c.facts.controlled == nil && u.Operation != access.Rewrap && u.Operation != access.DataKeyPair && input == "" {
		return nil, nil
	}
	detail := map[string]any{}
	if len(reasons) > 0 {
		detail["reasons"] = reasons
	}
	if u.ReasonCode != "" {
		detail["reason_code"] = u.ReasonCode
	}
	if u.AcceptRisk {
		detail["accept_risk"] = true
	}
	if use := c.facts.controlled; use != nil {
		detail["controlled_use"] = use.ID
	}
	if emergency != "" {
		detail["breakglass"] = emergency // the ceremony that opened the emergency access
	}
	if v := c.facts.process; v != nil && u.Operation == access.Rewrap {
		detail["from_version"] = v.Version // the target names the version that protects the result
	}
	if input != "" {
		detail["input"] = input
	}
	if u.verifies() && o.result == allowed {
		detail["valid"] = o.used.Valid
	}
	if u.Operation == access.DataKeyPair {
		detail["algorithm"] = u.Spec
	}
	return detail, nil
}

// emergency is the ceremony that opened the emergency access by which a call is judged; "" where a grant is there.
func (f *facts) emergency() string {
	if f.in.Grant == nil {
		return ""
	}
	return f.in.Grant.Emergency
}

// logFailure tells the operator's log what callers are not told. Refusals by policy are in the ledger.
func (s *Service) logFailure(c *call, o *outcome) {
	if o.cause == nil {
		return
	}
	s.log.Warn("data-plane call failed", "operation", c.use.Operation, "key", o.target.ID, "version", o.target.Version,
		"principal", c.principal.String(), "request", c.principal.RequestID, "code", o.reason(), "error", o.cause)
}

// useType is the event type of a data-plane operation, "" for what is none.
func useType(op access.Operation) string {
	switch op {
	case access.DataKey:
		return "key.use.datakey"
	case access.Encrypt:
		return "key.use.encrypt"
	case access.Decrypt:
		return "key.use.decrypt"
	case access.Rewrap:
		return "key.use.rewrap"
	case access.DataKeyPair:
		return "key.use.datakeypair"
	case access.Sign:
		return "key.use.sign"
	case access.VerifySignature:
		return "key.use.verify"
	case access.MAC:
		return "key.use.mac"
	case access.VerifyMAC:
		return "key.use.verify_mac"
	}
	return ""
}

// targetName makes a name that came from outside fit for an entry.
func targetName(id string) string {
	const most = 64
	return ledger.CleanText(id[:min(most, len(id))])
}

// PolicyMark is how entries name a policy bundle: the first 32 hex digits (128 bits) of its digest.
func PolicyMark(digest string) string { return digest[:min(32, len(digest))] }

// Mark is how entries name the bundle in force now.
func (s *Service) Mark() string { return PolicyMark(s.Policies().Digest()) }

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
// an id read from one ledger does not open an entry of another. Of a change with several entries it names the
// last.
func DecisionID(r store.Receipt) string {
	var room [1 + 13 + 1 + 8]byte
	id := append(room[:0], 'd')
	id = strconv.AppendUint(id, r.LastSeq, 36)
	id = append(id, '-')
	return string(hex.AppendEncode(id, r.Leaf[:4]))
}

// ParseDecisionID splits an id into the entry's position and the leaf-hash prefix it must have. It accepts the
// one spelling that DecisionID gives.
func ParseDecisionID(id string) (seq uint64, leaf [4]byte, err error) {
	bad := invalid("decision", fmt.Sprintf("%q is not a decision id", targetName(id)), "an id as answers carry it, e.g. d1k-00ff00ff")
	position, prefix, found := strings.Cut(strings.TrimPrefix(id, "d"), "-")
	if !found || len(prefix) != 8 || len(position) > 13 {
		return 0, leaf, bad
	}
	if seq, err = strconv.ParseUint(position, 36, 63); err != nil {
		return 0, leaf, bad
	}
	if _, err := hex.Decode(leaf[:], []byte(prefix)); err != nil {
		return 0, leaf, bad
	}
	canonical := store.Receipt{LastSeq: seq}
	copy(canonical.Leaf[:], leaf[:])
	if DecisionID(canonical) != id {
		return 0, leaf, bad
	}
	return seq, leaf, nil
}

// DeniedEntry is the entry of a refusal outside the data plane.
func (s *Service) DeniedEntry(eventType string, p identity.Principal, target ledger.Target, reasons []policies.Reason) ledger.Entry {
	e := ledger.Entry{Type: eventType, Actor: p, Node: s.node, Target: target, Outcome: ledger.Deny, Policy: s.Mark()}
	if len(reasons) > 0 {
		e.Reason = reasons[0].Code
		e.Detail = Detail(map[string]any{"reasons": reasons})
		ledger.ShrinkDetail(&e)
	}
	return e
}
