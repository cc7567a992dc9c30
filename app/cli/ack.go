package cli

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/operation"
	"conclave/ceremony/statement"
	"conclave/custodian/people"
)

func ackCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "ack", Short: "Read and sign the acknowledgement of custodian duties (PCI DSS 4.0.1, 3.7.8)", Args: exactly(),
	}
	f := c.Flags()
	var own people.Terms
	f.StringVar(&own.StaffNumber, "staff-number", "", "your staff number, where the register has one")
	f.StringVar(&own.Conflicts, "conflicts", "", "conflicts of interest that you declare")
	f.StringVar(&own.Backup, "backup", "", "name of who stands in for you")
	f.StringVar(&own.TrainedOn, "trained-on", "", "day of your training, as 2006-01-02")
	yes := f.Bool("yes", false, "sign without asking, once the form has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		terms, err := s.terms(own)
		if err != nil {
			return err
		}
		payload, err := canonicalTerms(terms)
		if err != nil {
			return err
		}
		s.say("%s\nYou sign, together with the form's SHA-256:\n%s\n", people.CurrentForm().Text(), payload)
		if err := s.confirm(*yes, fmt.Sprintf("Sign this acknowledgement as %s?", s.signer.ID())); err != nil {
			return err
		}
		envelope, err := s.signer.Sign(operation.AcknowledgementPayloadType, payload)
		if err != nil {
			return err
		}
		params := map[string]any{"envelope": json.RawMessage(envelope)}
		return s.proposeConnected("acknowledgement.sign", params, "acknowledgement of custodian duties")
	})
	return c
}

// terms fills in the terms of the form in force from the register and the person's own particulars.
func (s *session) terms(own people.Terms) (people.Terms, error) {
	register, err := s.client.People(s.ctx)
	if err != nil {
		return own, err
	}
	var self *api.Person
	for i := range register {
		if register[i].ID == s.signer.ID() {
			self = &register[i]
		}
	}
	if self == nil {
		return own, fmt.Errorf("%s is not in the register of people", s.signer.ID())
	}
	shares, err := s.client.MyShares(s.ctx)
	if err != nil {
		return own, err
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
	terms := people.NewTerms(person, sets, s.clock.Now())
	terms.Conflicts, terms.Backup, terms.TrainedOn = own.Conflicts, own.Backup, own.TrainedOn
	if _, _, err := terms.Validate(person, s.clock.Now()); err != nil {
		return terms, err
	}
	return terms, nil
}

func canonicalTerms(terms people.Terms) ([]byte, error) {
	raw, err := json.Marshal(terms)
	if err != nil {
		return nil, fmt.Errorf("encoding acknowledgement: %w", err)
	}
	payload, err := statement.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encoding acknowledgement: %w", err)
	}
	return payload, nil
}
