package auth

import (
	"errors"
	"net/http"
	"strings"

	"conclave/custodian"
	"conclave/custodian/access"
	"conclave/custodian/people"
	"conclave/custodian/store"
)

// Invited finds the invitation whose secret a request bears, by its head alone: a caller without one gets no body
// read. Whether it can still be answered is told to who has the secret only. Errors: *Refusal (counted and recorded
// by source), *store.TamperedError.
func (a *Authenticator) Invited(r *http.Request) (*people.Invitation, error) {
	refuse := func(reason string) (*people.Invitation, error) {
		_, err := a.refuse(r, refusal(reason, notAccepted))
		return nil, err
	}
	values := r.Header["Authorization"]
	if len(values) != 1 || !strings.HasPrefix(values[0], bearer) {
		return refuse("invitation_missing")
	}
	presented, err := access.ParseInvitation(values[0][len(bearer):])
	if err != nil {
		return refuse("invitation_malformed")
	}
	i, _, err := store.Get[people.Invitation](a.door.View(), custodian.KindInvitation, presented.ID)
	if errors.Is(err, store.ErrNotFound) {
		return refuse("invitation_unknown")
	}
	if err != nil {
		_, err = a.broken(r, err)
		return nil, err
	}
	if !presented.Matches(i.SecretHash) {
		return refuse("invitation_secret")
	}
	return i, nil
}
