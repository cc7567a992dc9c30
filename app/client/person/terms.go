package person

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"conclave/app/api"
	"conclave/ceremony/statement"
	"conclave/custodian/people"
	"conclave/custodian/strictjson"
)

// Terms returns the exact bytes of an acknowledgement of the duties in force: filled in from the register, with the
// particulars that only the person knows (staff number, conflicts, backup, day of training).
func (p *Person) Terms(ctx context.Context, own people.Terms) ([]byte, error) {
	self, err := p.self(ctx)
	if err != nil {
		return nil, err
	}
	shares, err := p.API.MyShares(ctx)
	if err != nil {
		return nil, err
	}
	var sets []string
	for _, x := range shares {
		if !slices.Contains(sets, x.Set) {
			sets = append(sets, x.Set)
		}
	}
	person := &people.Person{ID: self.ID, Name: self.Name, StaffNumber: own.StaffNumber}
	for _, r := range self.Roles {
		person.Roles = append(person.Roles, people.Role(r))
	}
	terms := people.NewTerms(p.Trust.Instance, person, sets, p.Clock.Now())
	terms.Conflicts, terms.Backup, terms.TrainedOn = own.Conflicts, own.Backup, own.TrainedOn
	if _, _, err := terms.Validate(p.Trust.Instance, person, p.Clock.Now()); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(terms)
	if err != nil {
		return nil, fmt.Errorf("encoding acknowledgement: %w", err)
	}
	payload, err := strictjson.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding acknowledgement: %w", err)
	}
	return payload, nil
}

func (p *Person) self(ctx context.Context) (api.Person, error) {
	register, err := p.API.People(ctx)
	if err != nil {
		return api.Person{}, err
	}
	i := slices.IndexFunc(register, func(x api.Person) bool { return x.ID == p.Signer.ID() })
	if i < 0 {
		return api.Person{}, fmt.Errorf("%s is not in the register of people", p.Signer.ID())
	}
	return register[i], nil
}

// Acknowledge signs what Terms returned: the parameters of acknowledgement.sign.
func (p *Person) Acknowledge(terms []byte) (map[string]any, error) {
	envelope, err := p.Signer.Sign(statement.TypeAcknowledgement, terms)
	if err != nil {
		return nil, err
	}
	return map[string]any{"envelope": json.RawMessage(envelope)}, nil
}
