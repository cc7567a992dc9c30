package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	"conclave/app/api"
	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (s *server) policy(x *exchange) error {
	if err := x.authorise(readPolicy, "policy", ""); err != nil {
		return err
	}
	engine := s.door.Policies()
	rules, err := json.Marshal(engine.Rules())
	if err != nil {
		return fmt.Errorf("encoding rules: %w", err)
	}
	return x.json(http.StatusOK, api.Policy{Digest: engine.Digest(), Rules: rules})
}

// explain decides with a trace. Outside development only those may ask whom policy lets open decisions.
func (s *server) explain(x *exchange) error {
	var in api.ExplainRequest
	if err := x.decode(&in); err != nil {
		return err
	}
	operation := explainDecision
	if s.dev {
		operation = readPolicy
	}
	if err := x.authorise(operation, "policy", in.Point); err != nil {
		return err
	}
	found, err := s.door.Policies().Explain(x.ctx(), policies.Point(in.Point), in.Input)
	if err != nil {
		return err
	}
	return x.json(http.StatusOK, api.ExplainResponse{Decision: found.Decision, Trace: found.String()})
}

// decision opens a recorded decision. The application that it was about learns its code and nothing more.
func (s *server) decision(x *exchange) error {
	id := x.c.Param("id")
	if x.who.Kind == identity.Application {
		if err := x.authorise(readStatus, "decision", id); err != nil {
			return err
		}
	} else if err := x.authorise(explainDecision, "decision", id); err != nil {
		return err
	}
	found, err := s.door.Why(x.ctx(), id)
	if err != nil {
		return err
	}
	e := found.Entry
	out := api.Decision{ID: id, Seq: e.Seq, At: e.At, Type: e.Type, Target: target(e), Outcome: string(e.Outcome), Code: e.Reason}
	out.ReasonCode, out.Breakglass = justification(e.Detail)
	if x.who.Kind == identity.Application {
		if e.Actor.Kind != identity.Application || e.Actor.ID != x.who.ID {
			return fmt.Errorf("decision: %w", store.ErrNotFound)
		}
		return x.json(http.StatusOK, out)
	}
	out.Actor, out.Origin, out.Policy = e.Actor.String(), e.Actor.Origin, e.Policy
	if digest := custodian.PolicyOfMark(s.door.View(), e.Policy); digest != "" { // the bundle of that time, whole
		out.Policy = digest
	}
	out.Reasons = recordedReasons(e.Detail)
	out.Entry, out.Checkpoint = found.Raw, string(found.Checkpoint)
	for _, h := range found.Inclusion {
		out.Inclusion = append(out.Inclusion, base64Of(h))
	}
	return x.json(http.StatusOK, out)
}

func target(e *ledger.Entry) string {
	if e.Target.Version > 0 {
		return fmt.Sprintf("%s:%s/%d", e.Target.Type, e.Target.ID, e.Target.Version)
	}
	return e.Target.Type + ":" + e.Target.ID
}

// justification reads out of an entry's detail why the caller did it, and by which emergency access.
func justification(detail []byte) (reasonCode, breakglass string) {
	var d struct {
		ReasonCode string `json:"reason_code"`
		Breakglass string `json:"breakglass"`
	}
	if len(detail) == 0 || json.Unmarshal(detail, &d) != nil {
		return "", ""
	}
	return d.ReasonCode, d.Breakglass
}

// recordedReasons reads the reasons out of an entry's detail; none when it holds something else.
func recordedReasons(detail []byte) []api.Reason {
	var d struct {
		Reasons []policies.Reason `json:"reasons"`
	}
	if len(detail) == 0 || json.Unmarshal(detail, &d) != nil {
		return nil
	}
	return reasons(d.Reasons)
}
