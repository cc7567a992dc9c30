package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/ceremony/keyfile"
	"conclave/custodian/jwk"
)

func custodianCommand() *cobra.Command {
	return parent("custodian", "Key files, and the people of this instance: invite, join, add, alter, remove",
		custodianKeygen(),
		custodianShow(),
		custodianInvite(),
		custodianInvitations(),
		proposal{use: "withdraw INVITATION", short: "Withdraw an invitation", name: "invitation.withdraw", member: "invitation", reasonMember: "reason"}.command(),
		custodianJoin(),
		custodianAdd(),
		custodianAlter(),
		custodianRole(),
		custodianHandover(),
		custodianRemove(),
	)
}

func custodianKeygen() *cobra.Command {
	c := &cobra.Command{
		Use: "keygen", Short: "Make a key file for a person: an approval key and a share-opening key", Args: exactly(),
		Long: "Makes a person's approval key, which signs, and share-opening key, which opens sealed shares, in one\n" +
			"file under a passphrase. Shows the public part, for the genesis file or the register, with fingerprints\n" +
			"to be compared in person or by voice.",
	}
	f := c.Flags()
	id := f.String("id", "", "person id: a-z 0-9 . _ -")
	out := f.String("out", "", "file to make; never overwritten")
	alg := f.String("alg", jwk.ES256, "approval algorithm: ES256 or EdDSA")
	development := f.Bool("development", false, "mark the keys as development data; lifts the rule on the passphrase's length")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		s.say("Making a key file for %s in %s (%s; P-256 for shares).", *id, *out, *alg)
		signer, err := s.newKeyFile(*id, *alg, *out, *development)
		if err != nil {
			return err
		}
		defer signer.Wipe()
		return s.showPublic(signer.Public())
	})
	return must(c, "id", "out")
}

// newKeyFile makes a person's keys and keeps them under a new passphrase. Wipe the signer.
func (s *session) newKeyFile(id, alg, out string, development bool) (*keyfile.Signer, error) {
	passphrase, err := s.newPassphrase()
	if err != nil {
		return nil, err
	}
	defer passphrase.Wipe()
	signer, err := keyfile.Generate(id, alg)
	if err != nil {
		return nil, err
	}
	if err := signer.Save(out, passphrase, keyfile.SaveOptions{Development: development}); err != nil {
		signer.Wipe()
		return nil, err
	}
	return signer, nil
}

func custodianShow() *cobra.Command {
	return &cobra.Command{
		Use: "show FILE", Short: "Show a key file's public part and the fingerprints to read aloud", Args: exactly("FILE"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			s.settings[setKeyFile] = args[0]
			if err := s.unlock(); err != nil {
				return err
			}
			return s.showPublic(s.signer.Public())
		}),
	}
}

func (s *session) showPublic(p keyfile.Public) error {
	if err := p.Check(); err != nil {
		return fmt.Errorf("public part: %w", err)
	}
	return s.show(p, func(w io.Writer) {
		facts(w, "id", p.ID, "approval key", p.ApprovalKey.Alg+" "+p.ApprovalKey.Kid, "share key", p.ShareKey.Alg+" "+p.ShareKey.Kid)
		if p.Development {
			fmt.Fprintln(w, "marked as development data")
		}
		fmt.Fprintf(w, "\nRead aloud and compare, all of it:\n  approval  %s\n  share     %s\n", p.ApprovalFingerprint, p.ShareFingerprint)
		fmt.Fprintln(w, "\nFor the genesis file or the register: --output json")
	})
}
