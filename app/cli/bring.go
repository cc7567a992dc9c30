package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client/person"
	"conclave/ceremony/keyfile"
	"conclave/ceremony/shamir"
)

// bringing is how a share is brought: the same to every ceremony that takes shares.
type bringing struct {
	yes    *bool
	opener *opener
}

// opener is what opens shares, where it is not the key file that signs: another key file, or a card.
type opener struct {
	keyFile, passphraseFile *string
	card                    *cardReader
}

func openerFlags(c *cobra.Command) *opener {
	return &opener{
		keyFile:        c.Flags().String("share-key-file", "", "key file that opens the share, where it is not the one that signs: the backup from the safe, or an older device's"),
		passphraseFile: c.Flags().String("share-passphrase-file", "", "file with the passphrase of --share-key-file; default: that of the key file that signs"),
		card:           cardFlags(c),
	}
}

// provide gives the person what opens their shares.
func (o *opener) provide(s *session, self *person.Person) error {
	var err error
	if self.Card, err = o.card.read(s); err != nil {
		return err
	}
	self.Opener, err = o.unlock(s)
	return err
}

// unlock opens the other key file; nil where there is none. It must be the same person's.
func (o *opener) unlock(s *session) (*keyfile.Signer, error) {
	if *o.keyFile == "" {
		return nil, nil
	}
	before := s.settings[setPassphraseFile]
	if *o.passphraseFile != "" {
		s.settings[setPassphraseFile] = *o.passphraseFile
	}
	defer func() { s.settings[setPassphraseFile] = before }()
	phrase, err := s.passphrase(fmt.Sprintf("Passphrase of %s: ", *o.keyFile))
	if err != nil {
		return nil, err
	}
	defer phrase.Wipe()
	signer, err := keyfile.Open(*o.keyFile, phrase)
	if err != nil {
		return nil, err
	}
	s.closes = append(s.closes, signer.Wipe)
	if signer.ID() != s.signer.ID() {
		return nil, usagef("share-key-file: it is %s's, you are %s", signer.ID(), s.signer.ID())
	}
	return signer, nil
}

func bringFlags(c *cobra.Command) bringing {
	return bringing{yes: c.Flags().Bool("yes", false, "sign without asking, once what is shown has been read"), opener: openerFlags(c)}
}

func ceremonyBring() *cobra.Command {
	c := &cobra.Command{
		Use: "bring CEREMONY", Short: "Bring your share to a ceremony that takes shares, with your signed approval", Args: exactly("CEREMONY"),
		Long: "Checks that the node's collector key is signed by a node that your trust file pins, opens your share of\n" +
			"the set and epoch that the ceremony names, checks it against its commitment, signs your approval, seals\n" +
			"the share to the collector and hands both in. The share never leaves this process in the clear.\n" +
			"With --card the share is read from paper; the key file then only signs.",
	}
	b := bringFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		shown, err := s.client.Ceremony(s.ctx, args[0])
		if err != nil {
			return err
		}
		return s.bring(&shown, b)
	})
	return c
}

// bring hands in the person's share for a ceremony that takes shares.
func (s *session) bring(ceremony *api.Ceremony, b bringing) error {
	if len(ceremony.Components) > 0 {
		return usagef("ceremony %s takes components of a key; use: conclave key import bring %s", ceremony.ID, ceremony.ID)
	}
	if !ceremony.Takes.Shares {
		return usagef("ceremony %s takes no shares; use: conclave ceremony approve %s", ceremony.ID, ceremony.ID)
	}
	self := s.person()
	if err := b.opener.provide(s, self); err != nil {
		return err
	}
	if want := (shamir.Set{ID: ceremony.ShareSet, Epoch: ceremony.ShareEpoch}); self.Card != nil && self.Card.Set() != want {
		return usagef("card: it is of %s, the ceremony takes shares of %s", self.Card.Set(), want)
	}
	key, recipient, err := self.Collector(s.ctx)
	if err != nil {
		return err
	}
	s.say("Collector key %s of node %s: signed by the node that the trust file pins.", recipient.KeyID, key.Node)
	share, err := self.ShareFor(s.ctx, ceremony)
	if errors.Is(err, person.ErrNoShare) {
		return fmt.Errorf("you hold no share of set %s, epoch %d, which this ceremony takes", ceremony.ShareSet, ceremony.ShareEpoch)
	}
	if err != nil {
		return err
	}
	defer share.Wipe()
	s.say("Opened %s and checked it against its commitment.", share)
	after, err := self.BringShare(s.ctx, ceremony, share, recipient, s.review(ceremony, *b.yes))
	if err != nil {
		return err
	}
	return s.showAfter(after)
}
