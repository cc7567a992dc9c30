package cli

import (
	"encoding/base64"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/shamir"
)

func shareCommand() *cobra.Command {
	return parent("share", "Your shares: see, confirm, drill", shareList(),
		shareProof("confirm", "share.confirm", "issued", "Confirm that you hold your newly issued share"),
		shareProof("drill", "share.drill", "confirmed", "Prove in a drill that you still hold your share"))
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
				rows = append(rows, []string{x.Set, number(x.Epoch), number(x.Index), x.Custodian, x.Status})
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
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		list, err := s.client.MyShares(s.ctx)
		if err != nil {
			return err
		}
		done := 0
		for _, x := range list {
			if (*set != "" && x.Set != *set) || x.Status != status {
				continue
			}
			params, err := s.proveShare(x)
			if err != nil {
				return err
			}
			if err := s.proposeConnected(operation, params, use+" of own share"); err != nil {
				return err
			}
			done++
		}
		if done == 0 {
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

// proveShare opens a share, checks it against its commitment and signs its challenge.
func (s *session) proveShare(x api.Share) (map[string]any, error) {
	share, err := s.openShare(x)
	if err != nil {
		return nil, err
	}
	defer share.Wipe()
	challenge, err := base64.StdEncoding.DecodeString(x.Challenge)
	if err != nil {
		return nil, fmt.Errorf("challenge of %s: %w", share, err)
	}
	signature, err := share.Sign(challenge)
	if err != nil {
		return nil, err
	}
	s.say("Opened %s and checked it against its commitment. It stays here; a signature made with it goes out.", share)
	return map[string]any{
		"set": x.Set, "epoch": x.Epoch, "index": x.Index, "challenge": x.Challenge,
		"signature": base64.StdEncoding.EncodeToString(signature),
	}, nil
}

// openShare opens one's own sealed share and names it when it is not the one the register knows.
func (s *session) openShare(x api.Share) (*shamir.Share, error) {
	share, err := s.signer.OpenShare(x.Sealed)
	if err != nil {
		return nil, err
	}
	err = shamir.CheckShare(share, shamir.Register{
		Set: shamir.Set{ID: x.Set, Epoch: x.Epoch}, Commitments: map[int][]byte{x.Index: x.Commitment},
	})
	if err != nil {
		share.Wipe()
		return nil, err
	}
	return share, nil
}
