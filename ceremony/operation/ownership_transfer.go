package operation

import (
	"context"
	"fmt"
	"slices"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/amount"
	"conclave/custodian/key"
	"conclave/custodian/ledger"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// maxTransfer bounds what one ceremony hands over, of each kind.
const maxTransfer = 100

type ownershipTransferParams struct {
	From         string   `json:"from"`
	To           string   `json:"to"`
	Keys         []string `json:"keys"`
	Applications []string `json:"applications"`
	Keystores    []string `json:"keystores"`
}

// ownershipTransfer makes somebody else answerable for keys, applications and keystores: all that are listed, or
// none. Neither who gives nor who takes approves.
type ownershipTransfer struct{}

func (ownershipTransfer) Name() string { return "ownership.transfer" }

// handOver is a transfer, judged.
type handOver struct {
	from, to     *people.Person
	row          store.Row
	keys         []*key.Key
	applications []*access.Application
	keystores    []*key.Keystore
}

func (ownershipTransfer) read(view *store.View, in Input) (*handOver, error) {
	p, err := decode[ownershipTransferParams](in)
	if err != nil {
		return nil, err
	}
	h := &handOver{}
	if h.from, h.row, err = personRow(view, "from", p.From); err != nil {
		return nil, err
	}
	if h.to, err = presentPerson(view, "to", p.To); err != nil {
		return nil, err
	}
	err = key.First([]error{
		key.CheckRange("keys", len(p.Keys), 0, maxTransfer, "keys"),
		key.CheckRange("applications", len(p.Applications), 0, maxTransfer, "applications"),
		key.CheckRange("keystores", len(p.Keystores), 0, maxTransfer, "keystores"),
		key.CheckRange("keys", len(p.Keys)+len(p.Applications)+len(p.Keystores), 1, 3*maxTransfer, "keys, applications and keystores together"),
	})
	if err == nil && p.From == p.To {
		err = &custodian.InputError{Field: "to", Problem: "who has it already", Allowed: "another person"}
	}
	if err != nil {
		return nil, err
	}
	return h, h.find(view, p)
}

// find reads what is handed over: each once, and the giver's.
func (h *handOver) find(view *store.View, p ownershipTransferParams) error {
	for i, id := range p.Keys {
		k, err := keyRow(view, fmt.Sprintf("keys[%d]", i), id)
		if err != nil {
			return err
		}
		if err := h.theirs(fmt.Sprintf("keys[%d]", i), k.Owner, p.Keys[:i], id); err != nil {
			return err
		}
		h.keys = append(h.keys, k)
	}
	for i, id := range p.Applications {
		x, _, err := lookup[access.Application](view, custodian.KindApplication, fmt.Sprintf("applications[%d]", i), id, "application")
		if err != nil {
			return err
		}
		if err := h.theirs(fmt.Sprintf("applications[%d]", i), x.Owner, p.Applications[:i], id); err != nil {
			return err
		}
		h.applications = append(h.applications, x)
	}
	for i, id := range p.Keystores {
		ks, err := keystoreRow(view, fmt.Sprintf("keystores[%d]", i), id)
		if err != nil {
			return err
		}
		if err := h.theirs(fmt.Sprintf("keystores[%d]", i), ks.Controller, p.Keystores[:i], id); err != nil {
			return err
		}
		h.keystores = append(h.keystores, ks)
	}
	return nil
}

func (h *handOver) theirs(field, owner string, before []string, id string) error {
	if slices.Contains(before, id) {
		return &custodian.InputError{Field: field, Problem: fmt.Sprintf("%q repeats", id), Allowed: "each once"}
	}
	if owner != h.from.ID {
		return &custodian.InputError{Field: field, Problem: fmt.Sprintf("%s is %s's", id, owner), Allowed: "what is " + h.from.ID + "'s"}
	}
	return nil
}

func (o ownershipTransfer) Prepare(_ context.Context, _ Env, view *store.View, in Input) (Plan, error) {
	h, err := o.read(view, in)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Target: Target{Type: "person", ID: h.from.ID, GovRevision: h.row.Revision},
		Title:    fmt.Sprintf("Hand over from %s to %s: %s, %s, %s", h.from.ID, h.to.ID, amount.Of(len(h.keys), "key"), amount.Of(len(h.applications), "application"), amount.Of(len(h.keystores), "keystore")),
		Subjects: []string{h.from.ID, h.to.ID}, Quorum: policies.QuorumInput{Target: policies.QuorumTarget{Type: "person", ID: h.from.ID}}}
	line := func(what, id string) {
		plan.Lines = append(plan.Lines, Line{Label: what + " " + id, Before: h.from.ID, After: fmt.Sprintf("%s (%s)", h.to.ID, h.to.Name)})
	}
	for _, k := range h.keys {
		line("key", k.ID)
		plan.Quorum.Target.Classifications = append(plan.Quorum.Target.Classifications, string(k.Classification))
	}
	for _, x := range h.applications {
		line("application", x.ID)
	}
	for _, ks := range h.keystores {
		line("keystore", ks.ID)
	}
	if len(h.keys) > 0 && !h.to.Has(people.RoleKeyOwner) {
		plan.Lines = append(plan.Lines, Line{Label: "beware", After: h.to.ID + " is no key owner: they can not grant the use of what they get (role.change)"})
	}
	if in.Requester.ID == h.to.ID {
		plan.Deny = append(plan.Deny, refusal(people.CodeExcludedSubject, "nobody asks for what others are to lose to them", "somebody else asks for it"))
	}
	return plan, nil
}

func (o ownershipTransfer) Execute(_ context.Context, env Env, tx *store.Tx, in Input) (Result, error) {
	h, err := o.read(tx.View(), in)
	if err != nil {
		return Result{}, err
	}
	a := act(env, tx, in, in.Reason)
	record := func(kind store.Kind, id string, value any) error {
		e := a.event("ownership.transfer", ledger.Target{Type: string(kind), ID: id}, map[string]any{"from": h.from.ID, "to": h.to.ID})
		return a.put(tx, kind, id, value, e)
	}
	for _, k := range h.keys {
		k.Owner = h.to.ID
		k.GovRevision++
		if err := record(custodian.KindKey, k.ID, k); err != nil {
			return Result{}, err
		}
	}
	for _, x := range h.applications {
		x.Owner = h.to.ID
		if err := record(custodian.KindApplication, x.ID, x); err != nil {
			return Result{}, err
		}
	}
	for _, ks := range h.keystores {
		ks.Controller = h.to.ID
		ks.GovRevision++
		if err := record(custodian.KindKeystore, ks.ID, ks); err != nil {
			return Result{}, err
		}
	}
	return result(map[string]any{"from": h.from.ID, "to": h.to.ID, "keys": len(h.keys), "applications": len(h.applications), "keystores": len(h.keystores)}), nil
}
