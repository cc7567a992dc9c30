package cli

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/custodian/people"
)

func dutyCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List what must follow from departures and lost devices, the most urgent first", Args: exactly()}
	all := list.Flags().Bool("all", false, "closed ones too")
	list.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		duties, err := s.client.Duties(s.ctx, *all)
		if err != nil {
			return err
		}
		return s.show(duties, func(w io.Writer) {
			var rows [][]string
			for _, d := range duties {
				state := "open"
				switch {
				case d.ClosedAt != nil:
					state = "closed by " + d.ClosedBy
				case d.Overdue:
					state = "OVERDUE"
				}
				rows = append(rows, []string{d.ID, d.Person, d.Kind, d.Task, when(d.DueAt), state, strings.Join(d.Outstanding[:min(len(d.Outstanding), 5)], ", ")})
			}
			table(w, []string{"DUTY", "PERSON", "KIND", "TASK", "DUE", "STATE", "OUTSTANDING"}, rows)
		})
	})
	return parent("duty", "What must follow from departures and lost devices", list, dutyRevoke(),
		proposal{use: "close DUTY", short: "Close a duty with a finding, as a security officer", name: "duty.close", member: "duty", reasonMember: "finding", findingHelp: "how it was done, or why it need not be"}.command())
}

// ending is the operation that ends one thing that a duty lists, and the parameter that names it.
type ending struct{ operation, member string }

// endingOf is what restricts at once what a duty of a kind lists.
func endingOf(kind people.DutyKind) (ending, bool) {
	switch kind {
	case people.DutyTokens:
		return ending{"token.revoke", "token"}, true
	case people.DutyInvitations:
		return ending{"invitation.withdraw", "invitation"}, true
	case people.DutyGrants:
		return ending{"grant.revoke", "grant"}, true
	case people.DutyEnrolments:
		return ending{"application.suspend", "application"}, true
	}
	return ending{}, false
}

func dutyRevoke() *cobra.Command {
	c := &cobra.Command{
		Use: "revoke DUTY", Short: "Revoke all that a duty lists: tokens, invitations, grants; applications are suspended", Args: exactly("DUTY"),
		Long: "Ends, one by one and at once, what the duty still lists: tokens and grants are revoked, invitations withdrawn,\n" +
			"applications suspended. The duty closes when nothing is left. What is to stay is explained by conclave duty close.",
	}
	reason := c.Flags().String("reason", "", "why, for the record")
	yes := c.Flags().Bool("yes", false, "do not ask")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		duties, err := s.client.Duties(s.ctx, false)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(duties, func(d api.Duty) bool { return d.ID == args[0] })
		if at < 0 {
			return fmt.Errorf("duty %s is not open", args[0])
		}
		end, ok := endingOf(people.DutyKind(duties[at].Kind))
		if !ok {
			return usagef("a duty about %s is not ended by revoking anything: %s", duties[at].Kind, duties[at].Task)
		}
		s.say("%s\n%s of: %s", duties[at].Task, end.operation, strings.Join(duties[at].Outstanding, ", "))
		if err := s.confirm(*yes, fmt.Sprintf("End these %d at once, as %s?", len(duties[at].Outstanding), s.signer.ID())); err != nil {
			return err
		}
		return s.endAll(end, duties[at].Outstanding, *reason)
	})
	return must(c, "reason")
}

// endAll ends each; one that fails does not keep the others.
func (s *session) endAll(end ending, ids []string, reason string) error {
	type ended struct {
		ID       string `json:"id"`
		Ceremony string `json:"ceremony,omitempty"`
		Error    string `json:"error,omitempty"`
	}
	out := []ended{}
	var failed []error
	for _, id := range ids {
		p, err := s.client.Propose(s.ctx, end.operation, map[string]any{end.member: id, "reason": reason}, reason)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s of %s: %w", end.operation, id, err))
			out = append(out, ended{ID: id, Error: err.Error()})
			continue
		}
		out = append(out, ended{ID: id, Ceremony: p.Ceremony.ID})
	}
	err := s.show(out, func(w io.Writer) {
		rows := make([][]string, 0, len(out))
		for _, e := range out {
			rows = append(rows, []string{e.ID, e.Ceremony, e.Error})
		}
		table(w, []string{"ENDED", "CEREMONY", "ERROR"}, rows)
	})
	return errors.Join(append(failed, err)...)
}
