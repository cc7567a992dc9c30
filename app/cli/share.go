package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func shareCommand() *cobra.Command {
	return parent("share", "Shares: see, confirm, drill, print, move, report lost, attest destroyed; re-issue and cut over", shareList(),
		shareProof("confirm", "share.confirm", "issued", "Confirm that you hold your newly issued share"),
		shareProof("drill", "share.drill", "confirmed", "Prove in a drill that you still hold your share"),
		shareCard(), shareCheckCard(), shareEnvelope(), shareMove(), shareRehearse(), shareReportLost(), shareAttest(), shareDestroyed(),
		proposal{use: "reissue SET", name: "shares.reissue", member: "set", short: "Issue new shares of the same quorum; the old stay in force until the cutover",
			long: "Opens a ceremony in which a quorum of the shares in force and a witness take part. A new secret is made, split,\n" +
				"sealed to the holders and forgotten. One holder more than the threshold confirms (share confirm), then the set\n" +
				"is cut over (share cutover).",
			flags: func(p *params) {
				p.list("holder", "holders", "person who is to hold a share, repeat for each; none: who holds them now")
			}}.command(),
		proposal{use: "cutover SET", name: "shares.cutover", member: "set", short: "Go over to the pending epoch: holders of new shares bring them (ceremony bring)"}.command(),
		proposal{use: "abandon SET", name: "shares.abandon", member: "set", reasonMember: "reason", short: "Give up the pending epoch at once; its shares open nothing"}.command())
}

func shareList() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List your shares, or all of the custody register", Args: exactly(),
		Long: "Lists your shares; with --all, or with a token, the whole custody register. No share is shown.",
	}
	all := c.Flags().Bool("all", false, "everybody's")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		fetch := s.client.MyShares
		if *all || s.signer == nil {
			fetch = s.client.Shares
		}
		list, err := fetch(s.ctx)
		if err != nil {
			return err
		}
		return s.show(list, func(w io.Writer) {
			var rows [][]string
			for _, x := range list {
				status := x.Status
				if !x.InUse {
					status += " (not in use)"
				}
				rows = append(rows, []string{x.Set, number(x.Epoch), number(x.Index), x.Custodian, status})
			}
			table(w, []string{"SET", "EPOCH", "INDEX", "CUSTODIAN", "STATUS"}, rows)
		})
	})
	return c
}

// shareProof opens the person's own shares of a status and signs the service's challenge with each: the
// share stays here.
func shareProof(use, operation, status, short string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: exactly()}
	set := c.Flags().String("set", "", "share set; default: every set you hold a share of")
	opens := openerFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		self := s.person()
		if err := opens.provide(s, self); err != nil {
			return err
		}
		list, err := s.client.MyShares(s.ctx)
		if err != nil {
			return err
		}
		done := 0
		for _, x := range list {
			if (*set != "" && x.Set != *set) || x.Status != status || !self.OnCard(x) {
				continue
			}
			params, err := self.ProveShare(x)
			if err != nil {
				return err
			}
			s.say("Took share %d of set %s, epoch %d, and checked it against its commitment. It stays here; a signature made with it goes out.", x.Index, x.Set, x.Epoch)
			if err := s.proposeConnected(operation, params, use+" of own share"); err != nil {
				return err
			}
			done++
		}
		if done == 0 {
			if self.Card != nil {
				return fmt.Errorf("the card is of %s, which is no share of yours to %s%s", self.Card, use, ofSet(*set))
			}
			return fmt.Errorf("you hold no share to %s%s", use, ofSet(*set))
		}
		return nil
	})
	return c
}

func ofSet(set string) string {
	if set == "" {
		return ""
	}
	return " in set " + set
}
