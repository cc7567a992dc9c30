package person

import (
	"encoding/json"
	"fmt"

	"conclave/app/api"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/statement"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// Joining is the answer to an invitation: the public part of a new key file, signed with it.
func Joining(i api.KeyInvitation, signer *keyfile.Signer) ([]byte, error) {
	public := signer.Public()
	approval, err := public.ApprovalKey.JSON()
	if err != nil {
		return nil, err
	}
	share, err := public.ShareKey.JSON()
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(people.Joining{Instance: i.Instance, Invitation: i.ID, Person: i.Person, ApprovalKey: approval, ShareKey: share})
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return signer.Sign(statement.TypeJoining, payload)
}
