package cli

import (
	"fmt"

	"github.com/spf13/cobra"

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
		payload, err := s.person().Terms(s.ctx, own)
		if err != nil {
			return err
		}
		s.say("%s\nYou sign, together with the form's SHA-256:\n%s\n", people.CurrentForm().Text(), payload)
		if err := s.confirm(*yes, fmt.Sprintf("Sign this acknowledgement as %s?", s.signer.ID())); err != nil {
			return err
		}
		params, err := s.person().Acknowledge(payload)
		if err != nil {
			return err
		}
		return s.proposeConnected("acknowledgement.sign", params, "acknowledgement of custodian duties")
	})
	return c
}
