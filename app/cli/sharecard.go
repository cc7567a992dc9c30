package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/paper"
	"conclave/ceremony/card"
	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

func shareCard() *cobra.Command {
	c := &cobra.Command{
		Use: "card", Short: "Print your share on a card: text that can be typed, and a QR code", Args: exactly(),
		Long: "Opens your share on this machine, checks it against its commitment, and writes a PDF of one page. Nothing is\n" +
			"sent. The share on the card is encrypted under a passphrase of its own, which is kept in another place; with\n" +
			"--bare it is not, and only the bag protects it.\n" +
			"The file holds the share: its mode is 0600, and nothing else is written. -o - writes to standard output, so that\n" +
			"nothing stays on the disk (conclave share card … -o - | lp). The printer, its memory and its queue see the card\n" +
			"too: use one by cable, without a disk, and delete the file after printing.",
	}
	f := c.Flags()
	set := f.String("set", "", "share set; default: the only one that you hold a share of")
	epoch := f.Uint32("epoch", 0, "epoch of the share; default: the one in force")
	out := f.StringP("out", "o", "", "file for the PDF; must not exist; - for standard output")
	bare := f.Bool("bare", false, "without a passphrase: whoever reads the card has the share")
	phraseFile := f.String("new-passphrase-file", "", "file with the passphrase that the card gets; default: asked for, twice")
	form := f.String("form", "", "id that the card has or will have in the custody register")
	size := f.String("paper", paper.A4, "size of the paper: "+strings.Join(paper.Sizes(), " or "))
	opens := openerFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if *bare && *phraseFile != "" {
			return usagef("bare: it takes no passphrase; leave out --new-passphrase-file")
		}
		if err := s.connectPerson(); err != nil {
			return err
		}
		self := s.person()
		if err := opens.provide(s, self); err != nil {
			return err
		}
		line, named, err := s.named(*set, *epoch, *form)
		if err != nil {
			return err
		}
		share, err := self.OpenShare(line)
		if err != nil {
			return err
		}
		defer share.Wipe()
		var phrase *secret.Bytes
		if !*bare {
			if phrase, err = s.newCardPassphrase(*phraseFile); err != nil {
				return err
			}
			defer phrase.Wipe()
		}
		if err := s.printCard(share, line, phrase, named, *size, *out); err != nil {
			return err
		}
		return s.afterCard(named, *out, *bare)
	})
	return must(c, "out")
}

// newCardPassphrase asks twice when it has to ask.
func (s *session) newCardPassphrase(path string) (*secret.Bytes, error) {
	const alone = "new-passphrase-file: no terminal to ask on; give --new-passphrase-file FILE, or --bare"
	if path != "" {
		return s.cardPassphrase(path, "")
	}
	return twice(func(prompt string) (*secret.Bytes, error) { return s.ask(prompt, alone) })
}

// printCard puts the share on a card, reads the card back as it will be typed, and only then writes it.
func (s *session) printCard(share *shamir.Share, line api.Share, phrase *secret.Bytes, named paper.Share, size, out string) error {
	c, err := card.New(share, phrase, s.signer.Development())
	if err != nil {
		return err
	}
	defer c.Wipe()
	text, err := c.Text()
	if err != nil {
		return err
	}
	defer text.Wipe()
	back, err := card.Read(text)
	if err != nil {
		return fmt.Errorf("the card does not read back: %w", err)
	}
	defer back.Wipe()
	if err := fitsRegister(back, phrase, line); err != nil {
		return fmt.Errorf("the card does not read back: %w", err)
	}
	var page bytes.Buffer
	defer func() { secret.Wipe(page.Bytes()[:page.Len()]) }()
	if err := paper.Card(&page, size, named, c.Protected(), text); err != nil {
		return err
	}
	return s.writePage(out, page.Bytes())
}

// fitsRegister opens a card and holds its share against the register.
func fitsRegister(c *card.Card, phrase *secret.Bytes, line api.Share) error {
	share, err := c.Open(phrase)
	if err != nil {
		return err
	}
	defer share.Wipe()
	return checkLine(share, line)
}

func checkLine(share *shamir.Share, line api.Share) error {
	return shamir.CheckShare(share, shamir.Register{Set: shamir.Set{ID: line.Set, Epoch: line.Epoch}, Commitments: map[int][]byte{line.Index: line.Commitment}})
}

// writePage writes a PDF to a new file that only its owner may read, or to standard output.
func (s *session) writePage(path string, page []byte) error {
	if path == fromTerminal {
		_, err := s.out.Write(page)
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return usagef("out: %s exists and is left alone; give another name", path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(page)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func (s *session) afterCard(named paper.Share, out string, bare bool) error {
	kind, where := "paper-protected", ""
	if bare {
		kind = "paper"
	}
	if out != fromTerminal {
		where = " Then delete " + out + "."
	}
	form := named.Form
	if form == "" {
		form = "FORM"
	}
	s.say("Print it on a printer by cable: the printer and its queue see the share.%s", where)
	s.say("Look whether it reads:  conclave share check-card --card -")
	s.say("Put it into its bag before a witness, and record that; the witness signs too:")
	s.say("  conclave custody register %s --kind %s --set %s --epoch %d --new-serial SERIAL --site SITE --container CONTAINER --witness WITNESS --purpose \"card printed\"",
		form, kind, named.Set, named.Epoch)
	if out == fromTerminal {
		return nil
	}
	result := map[string]any{"card": out, "set": named.Set, "epoch": named.Epoch, "index": named.Index, "protected": !bare, "check_tag": named.Fingerprint}
	return s.show(result, func(w io.Writer) {
		fmt.Fprintf(w, "%s: share %d of set %s, epoch %d; check tag %s\n", clean(out), named.Index, clean(named.Set), named.Epoch, named.Fingerprint)
	})
}

// named picks one of the person's own shares and says everything about it that is printed.
func (s *session) named(set string, epoch uint32, form string) (api.Share, paper.Share, error) {
	set, err := s.onlySet(set)
	if err != nil {
		return api.Share{}, paper.Share{}, err
	}
	line, err := s.shareOf(set, epoch)
	if err != nil {
		return line, paper.Share{}, err
	}
	status, err := s.client.Status(s.ctx)
	if err != nil {
		return line, paper.Share{}, err
	}
	out := paper.Share{Instance: status.Name, InstanceID: s.trust.Instance, Development: s.trust.Mode == "development", Set: line.Set, Epoch: line.Epoch, Index: line.Index,
		Holder: line.Custodian, Fingerprint: card.Fingerprint(line.Commitment), Form: form, PrintedAt: s.clock.Now()}
	if out.Opens, out.Threshold, out.Total, err = s.opensWhat(line); err != nil {
		return line, out, err
	}
	register, err := s.client.People(s.ctx)
	for _, p := range register {
		if p.ID == line.Custodian {
			out.HolderName = p.Name
		}
	}
	if paper.Unprintable(out.HolderName) {
		s.say("The name %s has signs that are not in the font: the card names %s by id; write the name by hand.", out.HolderName, line.Custodian)
	}
	return line, out, err
}

// onlySet is the set that was named, or else the only one of which the person has a share in use.
func (s *session) onlySet(set string) (string, error) {
	if set != "" {
		return set, nil
	}
	list, err := s.client.MyShares(s.ctx)
	if err != nil {
		return "", err
	}
	for _, x := range list {
		switch {
		case !x.InUse || x.Set == set:
		case set != "":
			return "", usagef("set: you hold shares of several sets; give --set")
		default:
			set = x.Set
		}
	}
	if set == "" {
		return "", errors.New("you hold no share in use")
	}
	return set, nil
}

// opensWhat says what a share opens, together with how many of how many.
func (s *session) opensWhat(line api.Share) (opens string, threshold, total int, err error) {
	sets, err := s.client.ShareSets(s.ctx)
	if err != nil {
		return "", 0, 0, err
	}
	for _, x := range sets {
		if x.ID != line.Set {
			continue
		}
		opens = "backups"
		if x.Keystore != "" {
			opens = "keystore " + x.Keystore
		}
		if p := x.Pending; p != nil && p.Epoch == line.Epoch {
			return opens, p.Threshold, p.Total, nil
		}
		if x.Epoch == line.Epoch {
			return opens, x.Threshold, x.Total, nil
		}
	}
	return "", 0, 0, fmt.Errorf("share %d of set %s is of epoch %d, which opens nothing any more", line.Index, line.Set, line.Epoch)
}

func shareCheckCard() *cobra.Command {
	c := &cobra.Command{
		Use: "check-card", Short: "Prove on this machine that a card reads, against the share's commitment", Args: exactly(),
		Long: "Reads a card, opens it, and compares the share with the commitment in the register. Nothing of it is sent, and\n" +
			"nothing is recorded; conclave share drill --card is the same with a proof on record. With --offline no service is\n" +
			"asked: the check tag shown is then compared with the one printed on the card by eye.",
	}
	offline := c.Flags().Bool("offline", false, "ask no service; compare the check tag by eye")
	reads := cardFlags(c)
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if *offline {
			share, err := reads.read(s)
			if err != nil {
				return err
			}
			return s.showChecked(share, nil)
		}
		if err := s.connectPerson(); err != nil {
			return err
		}
		share, err := reads.read(s)
		if err != nil {
			return err
		}
		list, err := s.client.Shares(s.ctx)
		if err != nil {
			return err
		}
		for i := range list {
			if x := &list[i]; x.Set == share.Set().ID && x.Epoch == share.Set().Epoch && x.Index == share.Index() {
				if err := checkLine(share, *x); err != nil {
					return err
				}
				return s.showChecked(share, x)
			}
		}
		return fmt.Errorf("%w: the register has no %s", shamir.ErrNotIssued, share)
	})
	return must(c, "card")
}

func (s *session) showChecked(share *shamir.Share, line *api.Share) error {
	commitment, err := share.Commitment()
	if err != nil {
		return err
	}
	result := map[string]any{"set": share.Set().ID, "epoch": share.Set().Epoch, "index": share.Index(), "check_tag": card.Fingerprint(commitment), "fits_register": line != nil}
	if line != nil {
		result["custodian"], result["status"] = line.Custodian, line.Status
	}
	return s.show(result, func(w io.Writer) {
		if line == nil {
			fmt.Fprintf(w, "The card reads: %s. Compare its check tag with the printed one: %s\n", share, card.Fingerprint(commitment))
			return
		}
		fmt.Fprintf(w, "The card reads and is %s, held by %s, %s. Check tag %s\n", share, clean(line.Custodian), clean(line.Status), card.Fingerprint(commitment))
	})
}

func shareEnvelope() *cobra.Command {
	c := &cobra.Command{
		Use: "envelope", Short: "Print the envelope of your share's bag: names, place, serial, custody log", Args: exactly(),
		Long: "Writes a PDF to be printed on the tamper-evident bag, or put on it. No secret is in it. With --form it shows where\n" +
			"the form is by the custody register, and what the custody log says of it; what is not known is left to be written\n" +
			"by hand.",
	}
	f := c.Flags()
	set := f.String("set", "", "share set; default: the only one that you hold a share of")
	epoch := f.Uint32("epoch", 0, "epoch of the share; default: the one in force")
	out := f.StringP("out", "o", "", "file for the PDF; must not exist; - for standard output")
	form := f.String("form", "", "form of the custody register that lies in the bag")
	size := f.String("paper", paper.A4, "size of the paper: "+strings.Join(paper.Sizes(), " or "))
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		line, named, err := s.named(*set, *epoch, *form)
		if err != nil {
			return err
		}
		at, log, err := s.placeOf(line, *form)
		if err != nil {
			return err
		}
		var page bytes.Buffer
		if err := paper.Envelope(&page, *size, named, at, log); err != nil {
			return err
		}
		if err := s.writePage(*out, page.Bytes()); err != nil || *out == fromTerminal {
			return err
		}
		return s.show(map[string]any{"envelope": *out, "set": line.Set, "epoch": line.Epoch, "index": line.Index}, func(w io.Writer) {
			fmt.Fprintf(w, "%s: envelope for share %d of set %s, epoch %d\n", clean(*out), line.Index, clean(line.Set), line.Epoch)
		})
	})
	return must(c, "out")
}

// placeOf is what the register and the log say of a form of the person's share.
func (s *session) placeOf(line api.Share, form string) (paper.Place, []paper.Row, error) {
	var at paper.Place
	register, err := s.client.People(s.ctx)
	if err != nil {
		return at, nil, err
	}
	for _, p := range register {
		if p.ID == line.Custodian {
			at.Backup = p.Backup
		}
	}
	if form == "" {
		return at, nil, nil
	}
	forms, err := s.client.ShareForms(s.ctx)
	if err != nil {
		return at, nil, err
	}
	known := false
	for _, x := range forms {
		if x.ID != form {
			continue
		}
		if x.Set != line.Set || x.Epoch != line.Epoch || x.Index != line.Index {
			return at, nil, usagef("form: %s is of share %d of set %s, epoch %d", form, x.Index, x.Set, x.Epoch)
		}
		at.Site, at.Container, at.Serial, known = x.Site, x.Container, x.Serial, true
	}
	if !known {
		s.say("Form %s is not in the register yet: its place and serial are left to be written by hand.", form)
	}
	entries, err := s.client.CustodyLog(s.ctx)
	var rows []paper.Row
	for i := range entries {
		e := &entries[i]
		if x := &e.Facts; x.Form == form && e.State == "effective" {
			rows = append(rows, paper.Row{At: x.At.UTC().Format("2006-01-02 15:04"), Action: x.Action, Who: x.Who, Witness: x.Witness,
				Purpose: strings.TrimSpace(x.Purpose + " " + x.Ceremony), Before: x.OldSerial, After: x.NewSerial, Seal: x.Seal})
		}
	}
	return at, rows, err
}
