package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
)

func keystoreCommand() *cobra.Command {
	return parent("keystore", "Keystores: facts, tokens, activation, retirement",
		keystoreList(), keystoreShow(), keystoreActivate(), keystoreDeactivate(), keystoreRegister(), keystoreInitialise(), keystoreAlter(),
		proposal{use: "retire KEYSTORE", short: "Propose to take an empty keystore out of service for good", name: "keystore.retire", member: "keystore", reasonMember: "reason"}.command(),
		proposal{use: "zeroise KEYSTORE", short: "Propose to destroy every key in a keystore, for good", name: "keystore.zeroise", member: "keystore", reasonMember: "reason",
			long: "Proposes to destroy every key version in a keystore at once, and a token's contents with them. The statement lists what\n" +
				"becomes unreadable. Its custodians bring their shares (ceremony bring), a witness attends (ceremony attend); then it\n" +
				"waits, and one person may cancel it (ceremony cancel)."}.command())
}

func keystoreList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List keystores", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := s.client.Keystores(s.ctx)
			if err != nil {
				return err
			}
			return s.show(list, func(w io.Writer) { writeKeystores(w, list) })
		}),
	}
}

func keystoreDeactivate() *cobra.Command {
	c := &cobra.Command{Use: "deactivate KEYSTORE", Short: "Deactivate a keystore at once; a quorum's shares open it again", Args: exactly("KEYSTORE")}
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		return s.propose("keystore.deactivate", map[string]any{"keystore": args[0]}, *reason)
	})
	return must(c, "reason")
}

func keystoreRegister() *cobra.Command {
	c := &cobra.Command{
		Use: "register KEYSTORE", Short: "Register a keystore and issue the shares of its activation secret", Args: exactly("KEYSTORE"),
		Long: "Proposes a new keystore. When the ceremony completes, its activation secret is made, split, and each\n" +
			"share sealed to its holder; the keystore can be activated once enough shares are confirmed.",
	}
	p := newParams(c)
	p.text("driver", "driver", "software", "driver: software or pkcs11")
	p.text("jurisdiction", "jurisdiction", "", "where it is: ISO 3166-1 alpha-2, or a region that policy knows")
	p.text("environment", "environment", "", "production or test")
	p.text("location", "location", "", "where exactly, for the record")
	p.text("controller", "controller", "", "person answerable for it")
	p.text("custody", "custody", "", "custody model")
	p.text("make", "make", "", "maker")
	p.text("model", "model", "", "model")
	set := c.Flags().String("share-set", "", "id of its share set")
	module := c.Flags().String("token-module", "", "pkcs11: name of the module in the nodes' configuration")
	label := c.Flags().String("token-label", "", "pkcs11: label of the token")
	serial := c.Flags().String("token-serial", "", "pkcs11: serial number of the token")
	threshold := c.Flags().Int("threshold", 0, "shares that open it (m)")
	holders := c.Flags().StringSlice("holder", nil, "person who holds a share; repeat for each")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params["id"] = args[0]
		params["share_set"] = map[string]any{"id": *set, "threshold": *threshold, "holders": *holders}
		if *module != "" || *label != "" || *serial != "" {
			params["token"] = map[string]any{"module": *module, "label": *label, "serial": *serial}
		}
		return s.propose("keystore.register", params, *reason)
	})
	return must(c, "jurisdiction", "environment", "location", "controller", "share-set", "threshold", "holder", "reason")
}

func keystoreInitialise() *cobra.Command {
	return proposal{use: "initialise KEYSTORE", name: "keystore.initialise", member: "keystore",
		short: "Take over a token: it is erased, and only its shares open it",
		long: "Proposes to initialise the token that a keystore is. Its custodians bring their shares (ceremony bring) and a\n" +
			"witness attends (ceremony attend). The node that executes it needs pkcs11.so_pin_file."}.command()
}

func keystoreActivate() *cobra.Command {
	c := &cobra.Command{
		Use: "activate KEYSTORE", Short: "Bring your share to activate a keystore", Args: exactly("KEYSTORE"),
		Long: "Finds the open activation of the keystore, or asks for one, and brings your share to it, as ceremony bring does.",
	}
	b := bringFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		if err := s.closed(args[0]); err != nil {
			return err
		}
		ceremony, err := s.activation(args[0])
		if err != nil {
			return err
		}
		return s.bring(&ceremony, b)
	})
	return c
}

// closed refuses what is open already, or is not opened by shares.
func (s *session) closed(keystore string) error {
	keystores, err := s.client.Keystores(s.ctx)
	if err != nil {
		return err
	}
	for _, k := range keystores {
		switch {
		case k.ID != keystore:
		case k.Active:
			return fmt.Errorf("keystore %s is active already", keystore)
		case k.ShareSet != "":
			return nil
		}
	}
	return fmt.Errorf("keystore %s: not found, or it has no share set", keystore)
}

// activation finds the keystore's open activation ceremony, or asks for one.
func (s *session) activation(keystore string) (api.Ceremony, error) {
	const operation = "keystore.activate"
	status, err := s.client.Status(s.ctx) // each node asks for its own
	if err != nil {
		return api.Ceremony{}, err
	}
	for c, err := range s.client.Ceremonies(s.ctx, false) {
		if err != nil {
			return c, err
		}
		if c.Operation == operation && c.Target.ID == keystore && c.Requester.ID == status.Node {
			return c, nil
		}
	}
	s.say("Asking for %s of %s: there is no open ceremony for it.", operation, keystore)
	p, err := s.client.Propose(s.ctx, operation, map[string]any{"keystore": keystore}, "activation of "+keystore)
	return p.Ceremony, err
}
