package ceremony

import (
	"fmt"

	"conclave/custodian"
	"conclave/custodian/identity"
	"conclave/custodian/people"
	"conclave/custodian/store"
	"conclave/policies"
)

// Bounds on ceremonies that wait for people. What one person does at once (classes P and D) and what the node
// asks for in its own name is never held up by them. Expiry makes room again. How much one person may ask for in time,
// of any class, is bounded by Allowance.
const (
	MaxOpen          = 2000 // over all requesters
	MaxOpenPerPerson = 50
)

// maxPrecedents is how many decisions a pre-authorised one may lead back over to the governed one.
const maxPrecedents = 8

// admit judges a proposal by what no policy can change: who may ask at all, for how much at once, and on which
// earlier decision.
func (e *Engine) admit(view *store.View, p identity.Principal, takes policies.QuorumDecision, precedent string) error {
	node := p.Kind == identity.Node && (takes.Class == policies.Attended || takes.Class == policies.PreAuthorised)
	if p.Kind != identity.Human && !node {
		return &IneligibleError{p.ID, "not-a-person", fmt.Sprintf("operations of class %s are for people to ask for", takes.Class)}
	}
	if takes.Class == policies.PreAuthorised {
		if err := rests(view, precedent); err != nil {
			return err
		}
	}
	if p.Kind == identity.Human && (takes.Class == policies.Governed || takes.Class == policies.Attended) {
		if err := people.Present(person(view)(p.ID)); err != nil {
			return ineligible(err)
		}
		return room(view, p)
	}
	return nil
}

// rests checks that a pre-authorised operation leads back to a decision that a quorum made: a completed governed
// or attended ceremony, or the genesis that everybody signed.
func rests(view *store.View, id string) error {
	refused := func(why string) error {
		return denial("precedent_missing", why, "cite the completed ceremony by which people decided this")
	}
	for range maxPrecedents {
		if id == "genesis" {
			return nil
		}
		c, _, err := store.Get[Ceremony](view, Kind, id)
		switch {
		case err != nil:
			return refused(fmt.Sprintf("the decision that it rests on, %q, is not on record", clip(id)))
		case c.State != Completed:
			return refused(fmt.Sprintf("ceremony %s, on which it rests, is %s", c.ID, c.State))
		}
		switch policies.Class(c.Class) {
		case policies.Governed, policies.Attended:
			return nil
		case policies.PreAuthorised:
			id = c.Cites
		default:
			return refused(fmt.Sprintf("ceremony %s, on which it rests, is of class %s: nobody but its requester decided it", c.ID, c.Class))
		}
	}
	return refused("it leads back over too many decisions")
}

// room refuses a proposal when too many wait already.
func room(view *store.View, p identity.Principal) error {
	all, own := 0, 0
	for _, c := range store.Active[Ceremony](view, Kind) {
		if all++; c.asked(p) {
			own++
		}
	}
	switch {
	case own >= MaxOpenPerPerson:
		return denial("too_many_open", fmt.Sprintf("%d ceremonies that %s asked for are open, which is the most for one person", own, p.ID),
			"have some of them decided, or cancel them")
	case all >= MaxOpen:
		return denial("too_many_open", fmt.Sprintf("%d ceremonies are open, which is the most at once", all),
			"wait until some are decided or expire")
	}
	return nil
}

func denial(code, message, remedy string) error {
	return &custodian.Denied{Code: code, Reasons: []policies.Reason{{Rule: "ceremony", Code: code, Message: message, Remedy: remedy}}}
}
