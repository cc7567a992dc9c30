package auth

import (
	"errors"
	"net/http"

	"conclave/ceremony/nodes"
	"conclave/ceremony/shamir"
	"conclave/custodian"
	"conclave/custodian/dsse"
	"conclave/custodian/identity"
)

// Joining says which enrolled node asks for the keys of the instance, by its signature over the call, and the key that
// they are to be sealed to. Errors: *Refusal (counted and recorded by source), *store.TamperedError.
func (a *Authenticator) Joining(r *http.Request, envelope []byte) (identity.Principal, shamir.Recipient, error) {
	refuse := func(why *Refusal) (identity.Principal, shamir.Recipient, error) {
		_, err := a.refuse(r, why)
		return identity.Principal{}, shamir.Recipient{}, err
	}
	view, now := a.door.View(), a.clock.Now()
	known, err := custodian.NodeKeys(view, true)
	if err != nil {
		_, err = a.broken(r, err)
		return identity.Principal{}, shamir.Recipient{}, err
	}
	join, to, err := nodes.OpenJoin(envelope, known, a.door.Instance().ID, now)
	switch {
	case errors.Is(err, nodes.ErrOther): // whoever gets here has proven to hold the key
		return refuse(refusal("node_call", "the call is not accepted: "+err.Error()+"; compare the clocks"))
	case err != nil:
		return refuse(refusal("node_unknown", "no enrolled node signed this: people approve its enrolment first (node.enrol)"))
	}
	if err := custodian.NodeStanding(view, join.Node); errors.Is(err, custodian.ErrNodeRevoked) {
		return refuse(refusal("node_revoked", err.Error()))
	} else if err != nil {
		_, err = a.broken(r, err)
		return identity.Principal{}, shamir.Recipient{}, err
	}
	switch a.replays.use("node:"+join.Node, to.KeyID, join.At.Add(nodes.JoinLife), now) {
	case replayed:
		return refuse(refusal("request_replayed", "the call was used before: sign each anew"))
	case tooMany:
		return identity.Principal{}, shamir.Recipient{}, &Refusal{Code: CodeRateLimited, Detail: "too many calls by one node", RetryAfter: nodes.JoinLife}
	}
	credential := ""
	if parsed, err := dsse.Parse(envelope); err == nil {
		credential = parsed.KeyID()
	}
	return identity.Principal{Kind: identity.Node, ID: join.Node, Credential: credential, Origin: Origin(r)}, to, nil
}
