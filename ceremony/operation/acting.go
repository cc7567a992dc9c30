package operation

import (
	"errors"
	"fmt"
	"time"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/identity"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/policies"
)

// acting is who changes something, under which ceremony, why and when: what every record of it carries.
type acting struct {
	principal identity.Principal
	ceremony  string
	reason    string
	policy    string // digest of the bundle in force
	approvers []string
	at        time.Time
}

// act is the acting of an operation inside the transaction that records it. Its time is the transaction's,
// which never goes back, so that histories stay in order.
func act(env Env, tx *store.Tx, in Input, reason string) acting {
	return acting{principal: in.Requester, ceremony: in.Ceremony, reason: reason, policy: env.Policies.Digest(),
		approvers: in.Approvers, at: tx.Now()}
}

// foresee is the acting of an operation that is being judged.
func foresee(in Input, reason string) acting {
	return acting{principal: in.Requester, ceremony: in.Ceremony, reason: reason, at: in.Now}
}

// asked is which person acts, with which of their keys; empty for a node.
func (a acting) asked() access.Asked {
	if a.principal.Kind != identity.Human {
		return access.Asked{}
	}
	return access.Asked{AskedBy: a.principal.ID, AskedWith: a.principal.Credential}
}

// transition is a line of a version's history by this actor.
func (a acting) transition(id string) key.Transition {
	return key.Transition{ID: id, At: a.at, Actor: a.principal.String(), Ceremony: a.ceremony, Reason: a.reason}
}

// event is the entry that records what was done to target.
func (a acting) event(kind string, target ledger.Target, detail map[string]any) ledger.Entry {
	if detail == nil {
		detail = map[string]any{}
	}
	if a.reason != "" {
		detail["reason"] = a.reason
	}
	if len(a.approvers) > 0 {
		detail["approvers"] = a.approvers
	}
	e := ledger.Entry{Type: kind, Actor: a.principal, Target: target, Outcome: ledger.Done,
		Policy: custodian.PolicyMark(a.policy), Ceremony: a.ceremony}
	if len(detail) > 0 {
		e.Detail = custodian.Detail(detail)
	}
	ledger.ShrinkDetail(&e)
	return e
}

// put stores one row and appends the entry that explains it.
func (a acting) put(tx *store.Tx, kind store.Kind, id string, value any, e ledger.Entry) error {
	if err := tx.Put(kind, id, value); err != nil {
		return err
	}
	return tx.Append(e)
}

// result is what the caller is shown.
func result(data map[string]any) Result { return Result{Data: custodian.Detail(data)} }

// refusal is one reason why an operation is not possible now.
func refusal(code, message, remedy string) policies.Reason {
	return policies.Reason{Rule: "operation", Code: code, Message: message, Remedy: remedy}
}

// lifecycleRefusal turns a refused transition into a reason with its remedy; other errors pass.
func lifecycleRefusal(err error) ([]policies.Reason, error) {
	var t *key.TransitionError
	if !errors.As(err, &t) {
		return nil, err
	}
	return []policies.Reason{{Rule: "lifecycle.transition", Code: t.Code, Message: t.Error(), Remedy: transitionRemedy(t),
		Controls: []string{"nist-800-57:P1-7-TRANSITIONS"}}}, nil
}

func transitionRemedy(t *key.TransitionError) string {
	switch t.Code {
	case key.CodeFindingOpen:
		return "confirm the suspicion (key.compromise) or clear it (key.resume) first"
	case key.CodeDependents, key.CodeReprotection:
		return "protect the data anew under another version and state what is left (asset.rewrap), state that there is none (asset.register with none), or name who waives it: waiver"
	case key.CodeType:
		return "deactivate the version first (key.deactivate, or key.rotate), then destroy it"
	case key.CodeWait:
		return fmt.Sprintf("wait %d days from the approval", key.MinDestroyWait/key.Day)
	case key.CodeNotDue:
		return "wait for the date"
	case key.CodeLegalHold:
		return "a quorum lifts the hold (hold.lift)"
	case key.CodePeriodOver:
		return "its time is over: make a new version or a new key"
	case key.CodeAcknowledgement:
		return "the holders of the keystore's shares sign the acknowledgement of duties (acknowledgement.sign)"
	case key.CodeUnconfirmed:
		return "a second person compares its check value with what the sender states (key.import-confirm)"
	case key.CodePlacement:
		return "ask for the placement of this key and choose a keystore that fits"
	case key.CodeNoChange:
		return "nothing to do"
	case key.CodeTime:
		return "put the clock right"
	}
	return "the table of transitions says what is possible from " + string(t.From)
}
