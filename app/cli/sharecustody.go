package cli

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/keyfile"
	"conclave/custodian/amount"
	"conclave/custodian/jwk"
)

// maxPublicFile bounds a file with a key file's public part, and an attestation.
const maxPublicFile = 64 << 10

func shareMove() *cobra.Command {
	c := &cobra.Command{
		Use: "move", Short: "Seal your shares anew: to a new device, or to a backup key beside it", Args: exactly(),
		Long: "Opens each of your shares in use and seals it anew to the keys given; the shares stay the same and go nowhere\n" +
			"in the clear. Others approve and a witness attends before it counts. Without --to the share key stays as it is.\n" +
			"The old device's key file, or the backup from the safe, opens the shares with --share-key-file; a card opens the\n" +
			"share that is on it with --card.",
	}
	f := c.Flags()
	to := f.String("to", "", "public part of the new device's key file (custodian keygen --output json)")
	backup := f.String("backup", "", "public part of the key file that goes into the safe")
	noBackup := f.Bool("no-backup", false, "have no backup key from now on")
	reason := f.String("reason", "", "why, for the record")
	opens := openerFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		self := s.person()
		if err := opens.provide(s, self); err != nil {
			return err
		}
		device, safe, err := s.moveTo(*to, *backup, *noBackup)
		if err != nil {
			return err
		}
		params, err := self.MoveShares(s.ctx, device, safe)
		if err != nil {
			return err
		}
		params["reason"] = *reason
		s.say("Sealed %s anew, to key %s%s. Approvers compare: %s", amount.Of(len(params["shares"].([]map[string]any)), "share"), device.Thumbprint(), backupWords(safe), device.Fingerprint())
		return s.proposeConnected("share.move", params, *reason)
	})
	return must(c, "reason")
}

func backupWords(k *jwk.Key) string {
	if k == nil {
		return ", without a backup"
	}
	return " and backup key " + k.Thumbprint()
}

// moveTo reads the keys that shares are to be sealed to. What is not given stays as it is.
func (s *session) moveTo(to, backup string, noBackup bool) (jwk.Key, *jwk.Key, error) {
	device := s.signer.Public().ShareKey
	if to != "" {
		public, err := s.readPublic("to", to)
		if err != nil {
			return device, nil, err
		}
		device = public.ShareKey
	}
	if backup == "" {
		has, err := s.hasBackup()
		if err == nil && has && !noBackup {
			err = usagef("backup: you have a backup key; give --backup FILE with its public part, or --no-backup")
		}
		return device, nil, err
	}
	public, err := s.readPublic("backup", backup)
	return device, &public.ShareKey, err
}

func (s *session) hasBackup() (bool, error) {
	register, err := s.client.People(s.ctx)
	for _, p := range register {
		if p.ID == s.signer.ID() {
			return p.BackupShareKeyID != "", nil
		}
	}
	return false, err
}

// readPublic reads the public part of one's own other key file.
func (s *session) readPublic(flag, path string) (keyfile.Public, error) {
	var p keyfile.Public
	raw, err := readSmall(path, maxPublicFile)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, usagef("%s: %s is not the public part of a key file (custodian keygen --output json)", flag, path)
	}
	if err := p.Check(); err != nil {
		return p, fmt.Errorf("%s: %w", flag, err)
	}
	if p.ID != s.signer.ID() {
		return p, usagef("%s: %s is %s's, you are %s", flag, path, p.ID, s.signer.ID())
	}
	return p, nil
}

// shareOf picks one of the person's own shares.
func (s *session) shareOf(set string, epoch uint32) (api.Share, error) {
	list, err := s.client.MyShares(s.ctx)
	if err != nil {
		return api.Share{}, err
	}
	var found *api.Share
	for i := range list {
		x := &list[i]
		if x.Set == set && (epoch == 0 && x.InUse || epoch == x.Epoch) && (found == nil || x.Epoch < found.Epoch) {
			found = x
		}
	}
	if found == nil {
		return api.Share{}, fmt.Errorf("you hold no such share of set %s", set)
	}
	return *found, nil
}

func shareReportLost() *cobra.Command {
	c := &cobra.Command{
		Use: "report-lost SET", Short: "Report your share lost: it counts no more, at once", Args: exactly("SET"),
		Long: "Reports the share of the epoch in force, or of --epoch. The incident is on record with what is due by when.",
	}
	epoch := c.Flags().Uint32("epoch", 0, "epoch of the share; default: the one in force")
	exposed := c.Flags().Bool("exposed", false, "somebody else may have seen it")
	note := c.Flags().String("note", "", "what happened, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		x, err := s.shareOf(args[0], *epoch)
		if err != nil {
			return err
		}
		s.say("Reporting share %d of set %s, epoch %d, lost.", x.Index, x.Set, x.Epoch)
		params := map[string]any{"set": x.Set, "epoch": x.Epoch, "index": x.Index, "exposed": *exposed, "note": *note}
		return s.proposeConnected("share.report-lost", params, *note)
	})
	return must(c, "note")
}

func shareAttest() *cobra.Command {
	c := &cobra.Command{
		Use: "attest SET", Short: "Sign that your old share is destroyed, for a witness to hand in", Args: exactly("SET"),
		Long: "Signs that your share of an epoch no longer in force is destroyed, with every copy and every key that opened\n" +
			"it. The witness who saw it hands the file in (share destroyed).",
	}
	f := c.Flags()
	epoch := f.Uint32("epoch", 0, "epoch of the share")
	witness := f.String("witness", "", "person who saw it")
	method := f.String("method", "", "how it was destroyed")
	out := f.StringP("out", "o", "", "file for the attestation; must not exist")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		x, err := s.shareOf(args[0], *epoch)
		if err != nil {
			return err
		}
		envelope, err := s.person().AttestDestroyed(x, *witness, *method)
		if err != nil {
			return err
		}
		s.say("Signed that share %d of set %s, epoch %d, is destroyed (%s), seen by %s.", x.Index, x.Set, x.Epoch, *method, *witness)
		if err := writeNewFile(*out, envelope); err != nil {
			return err
		}
		return s.show(map[string]string{"attestation": *out}, func(w io.Writer) {
			fmt.Fprintf(w, "%s goes on with: conclave share destroyed %s\n", clean(*witness), clean(*out))
		})
	})
	return must(c, "epoch", "witness", "method", "out")
}

func shareDestroyed() *cobra.Command {
	c := &cobra.Command{Use: "destroyed FILE", Short: "As the witness, hand in a holder's attestation that a share is destroyed", Args: exactly("FILE")}
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		envelope, err := readSmall(args[0], maxPublicFile)
		if err != nil {
			return err
		}
		return s.propose("share.destroyed", map[string]any{"envelope": json.RawMessage(envelope)}, *reason)
	})
	return must(c, "reason")
}
