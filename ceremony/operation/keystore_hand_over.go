package operation

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"conclave/ceremony/shamir"
	"conclave/ceremony/statement"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/jwk"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/store"
	"conclave/hsm"
	"conclave/policies"
)

type handOverParams struct {
	Node     string `json:"node"`
	Keystore string `json:"keystore"`
	Boot     string `json:"boot"` // of the process that asks
}

// keystoreHandOver gives the activation secret of a keystore that is active here to a node that asks for it and whose
// enrolment allows it: sealed to the key of the process that asks, in the row in which it asked.
type keystoreHandOver struct{}

func (keystoreHandOver) Name() string { return "keystore.hand-over" }

// SecretType is the JWE "typ" of an activation secret on its way to another node.
const SecretType = "conclave-activation-secret"

// MaxSealedSecret bounds it, in bytes.
const MaxSealedSecret = 4 << 10

// handing is what an asking was found to be.
type handing struct {
	asked  *custodian.HandOver
	node   *custodian.Node
	record *key.Keystore
	to     shamir.Recipient
	deny   []policies.Reason
}

func (o keystoreHandOver) read(env Env, view *store.View, in Input) (*handing, error) {
	p, err := decode[handOverParams](in)
	if err != nil {
		return nil, err
	}
	h := new(handing)
	if h.node, _, err = lookup[custodian.Node](view, custodian.KindNode, "node", p.Node, "node"); err != nil {
		return nil, err
	}
	if h.record, err = keystoreRow(view, "keystore", p.Keystore); err != nil {
		return nil, err
	}
	h.asked, _, err = store.Get[custodian.HandOver](view, custodian.KindHandOver, custodian.HandOverID(p.Node, p.Keystore))
	if errors.Is(err, store.ErrNotFound) {
		h.deny = append(h.deny, refusal("not_asked", "node "+p.Node+" does not ask for the secret of keystore "+p.Keystore, "nothing to do"))
		return h, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what node %q asks for: %w", p.Node, err)
	}
	if h.asked.Boot != p.Boot || h.asked.Sealed != "" {
		h.deny = append(h.deny, refusal("not_asked", "it was answered, or another process of node "+p.Node+" asks now", "nothing to do"))
	}
	h.deny = append(h.deny, h.mayBeGiven(env)...)
	if h.to, err = h.collector(in.Instance.ID); err != nil {
		h.deny = append(h.deny, refusal("collector_refused", "the key that node "+p.Node+" asks with is refused: "+err.Error(), "start that node anew"))
	}
	return h, nil
}

// mayBeGiven is what stands against it as things are.
func (h *handing) mayBeGiven(env Env) []policies.Reason {
	var deny []policies.Reason
	if err := h.node.Standing(); err != nil {
		deny = append(deny, refusal("node_revoked", err.Error(), "a revoked node is given nothing"))
	}
	if !h.node.HandOver {
		deny = append(deny, refusal("hand_over_not_decided", "the enrolment of node "+h.node.ID+" does not allow it", "custodians bring their shares to that node"))
	}
	if h.record.Status != key.KeystoreRegistered {
		deny = append(deny, refusal("keystore_retired", "keystore "+h.record.ID+" is "+h.record.Status, "use a registered keystore"))
	}
	driver, err := env.Custodian.Keystore(h.record.ID)
	if _, conveys := driver.(hsm.Conveyor); err != nil || !conveys || !driver.Active() {
		deny = append(deny, refusal("nothing_to_hand_over", "keystore "+h.record.ID+" is not active on node "+env.Custodian.Node()+", or gives its secret to nobody", "custodians bring their shares to the node that asks"))
	}
	return deny
}

// collector is the key that is asked with, as the node that asks signed it.
func (h *handing) collector(instance string) (shamir.Recipient, error) {
	pinned, err := h.node.Pinned()
	if err != nil {
		return shamir.Recipient{}, err
	}
	envelope, err := dsse.Parse(h.asked.Collector)
	if err != nil {
		return shamir.Recipient{}, err
	}
	payload, _, err := envelope.VerifyNode(statement.TypeCollector, []ledger.NodeKey{pinned})
	if err != nil {
		return shamir.Recipient{}, err
	}
	var stated struct {
		Instance string         `json:"instance"`
		Node     string         `json:"node"`
		Boot     string         `json:"boot"`
		Key      jsontext.Value `json:"key"`
		At       string         `json:"at"`
	}
	if err := json.Unmarshal(payload, &stated, json.RejectUnknownMembers(true)); err != nil {
		return shamir.Recipient{}, err
	}
	if stated.Instance != instance || stated.Node != h.node.ID || stated.Boot != h.asked.Boot {
		return shamir.Recipient{}, errors.New("it was stated for another instance, node or process")
	}
	public, err := jwk.Parse(stated.Key)
	if err != nil {
		return shamir.Recipient{}, err
	}
	to := shamir.Recipient{KeyID: public.Thumbprint(), Key: stated.Key}
	_, err = to.JOSE()
	return to, err
}

func (o keystoreHandOver) Prepare(_ context.Context, env Env, view *store.View, in Input) (Plan, error) {
	h, err := o.read(env, view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := keystorePlan(h.record, fmt.Sprintf("Hand the activation secret of keystore %s to node %s", h.record.ID, h.node.ID))
	plan.Lines = append(plan.Lines, Line{Label: "from node", After: env.Custodian.Node()}, Line{Label: "to node", After: h.node.ID})
	plan.Quorum.Precedent, plan.Deny = h.node.EnrolledBy, h.deny
	return plan, nil
}

// Execute seals the secret into the row. It is opened, checked against the keystore's verifier and recorded as an
// activation by the node that asked, which then deletes the row.
func (o keystoreHandOver) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	h, err := o.read(env, tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	if len(h.deny) > 0 {
		return Result{}, &custodian.Denied{Code: h.deny[0].Code, Reasons: h.deny}
	}
	driver, err := env.Custodian.Keystore(h.record.ID)
	if err != nil {
		return Result{}, err
	}
	conveyor, ok := driver.(hsm.Conveyor)
	if !ok {
		return Result{}, hsm.ErrUnsupported
	}
	value, err := conveyor.Convey()
	if err != nil {
		return Result{}, err
	}
	defer value.Wipe()
	sealed, err := shamir.SealValue(SecretType, value, h.to)
	if err != nil {
		return Result{}, fmt.Errorf("sealing the activation secret of keystore %s: %w", h.record.ID, err)
	}
	a := act(env, tx, in, in.Reason)
	h.asked.Sealed, h.asked.By, h.asked.GivenAt, h.asked.Ceremony = sealed, env.Custodian.Node(), &a.at, in.Ceremony
	e := a.event("keystore.hand-over", ledger.Target{Type: "keystore", ID: h.record.ID},
		map[string]any{"node": h.node.ID, "by": env.Custodian.Node(), "boot": h.asked.Boot, "sealed_to": h.to.KeyID})
	if err := a.put(tx, custodian.KindHandOver, custodian.HandOverID(h.node.ID, h.record.ID), h.asked, e); err != nil {
		return Result{}, err
	}
	return result(map[string]any{"keystore": h.record.ID, "node": h.node.ID, "by": env.Custodian.Node()}), nil
}
