package cli

import (
	"fmt"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/client/person"
	"conclave/ceremony/statement"
)

// person is whose key file is open, at work through the API.
func (s *session) person() *person.Person {
	return &person.Person{API: s.client, Signer: s.signer, Trust: s.trust, StateDir: s.settings[setStateDir], Clock: s.clock}
}

// review shows what a decision on a ceremony signs, and asks.
func (s *session) review(c *api.Ceremony, yes bool) person.Review {
	return func(st statement.Statement, payload []byte) error {
		writeCeremony(s.err, c)
		s.say("\nYou sign these bytes (SHA-256 %s), with key %s:\n%s\n", client.Digest(payload), s.signer.KeyID(), payload)
		if st.Mode == statement.Development {
			s.say("This is a development instance: nothing in it is to be relied on.")
		}
		return s.confirm(yes, fmt.Sprintf("Sign %q as %s?", st.Decision, s.signer.ID()))
	}
}
