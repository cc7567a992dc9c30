package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/custodian/strictjson"
)

func custodyCommand() *cobra.Command {
	list := register("List the physical forms of shares: cards, tokens, smart cards, files", (*client.Client).ShareForms,
		[]string{"FORM", "SHARE", "CUSTODIAN", "KIND", "STATE", "SITE", "CONTAINER", "BAG", "CARRIER", "CHECKED", "PENDING"},
		func(f api.ShareForm) []string {
			return []string{f.ID, fmt.Sprintf("%s/%d/%d", f.Set, f.Epoch, f.Index), f.Custodian, f.Kind, f.State, orDash(f.Site), orDash(f.Container), orDash(f.Serial),
				orDash(f.Carrier), maybe(f.CheckedAt), orDash(f.Pending)}
		})
	log := register("Show the custody log, oldest entry first", custodyLog,
		[]string{"ENTRY", "FORM", "ACTION", "WHO", "WITNESS", "OUT", "IN", "PURPOSE", "CEREMONY", "OLD BAG", "NEW BAG", "SEAL", "CONTAINER", "SITE", "STATE"},
		func(e api.CustodyEntry) []string {
			f := &e.Facts
			seal := f.Seal
			if f.Read != "" && f.Read != f.OldSerial {
				seal += ", read " + f.Read
			}
			state := e.State
			if e.Late {
				state += ", second signature overdue"
			}
			return []string{e.ID, f.Form, f.Action, f.Who, f.Witness, maybe(f.OutAt), maybe(f.InAt), f.Purpose, orDash(f.Ceremony), orDash(f.OldSerial), orDash(f.NewSerial),
				orDash(seal), orDash(f.Container), orDash(f.Site), state}
		})
	log.Use = "log"
	return parent("custody", "Physical forms of shares: register, bags, containers, custody log", list, log,
		custodyRegister(),
		custodyDone("seal", "Record that a form went into a bag with a new serial", custodyBag, custodyPlace),
		custodyDone("send", "Record that a form left for another site", custodyRead, func(p *params) {
			p.text("site", "site", "", "site that it goes to")
			p.text("carrier", "carrier", "", "person who carries it; default: you")
		}),
		custodyDone("receive", "Record that a form arrived", custodyRead, custodyPlace),
		must(custodyDone("open", "Record that a form was opened, for the ceremony named", custodyRead), "ceremony"),
		custodyDone("check", "Record that a form's bag was looked at", custodyRead),
		custodyDone("lost", "Record that a form is lost"),
		custodyDone("retire", "Record that a form is taken out of use"),
		custodyDone("destroy", "Record that a form is destroyed"),
		countersign("countersign", true, "As the witness, sign an entry of the custody log: it counts from then on"),
		countersign("dispute", false, "As the witness, say that an entry is not so: it does not count, and a finding is opened"))
}

// custodyLog is the log in the order in which things were done.
func custodyLog(c *client.Client, ctx context.Context) ([]api.CustodyEntry, error) {
	list, err := c.CustodyLog(ctx)
	slices.SortStableFunc(list, func(a, b api.CustodyEntry) int {
		if order := a.Facts.At.Compare(b.Facts.At); order != 0 {
			return order
		}
		return a.RecordedAt.Compare(b.RecordedAt)
	})
	return list, err
}

// custodyRegister records a new form; which share it is of follows from the person and the set. A named backup, who may
// handle the holder's forms, names it.
func custodyRegister() *cobra.Command {
	c, record := custodyStep("register", "Register a physical form of your share", custodyBag, custodyPlace)
	kind := c.Flags().String("kind", "", "paper, paper-protected, token, smart-card, encrypted-file, or pin-letter: what opens one of them")
	set := c.Flags().String("set", "", "share set; default: the only one that you hold a share of")
	epoch := c.Flags().Uint32("epoch", 0, "epoch of the share; default: the one in force")
	index := c.Flags().Uint32("index", 0, "number of the share, where it is another's; default: your own")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		if *index != 0 {
			return record(s, args[0], map[string]any{"kind": *kind, "set": *set, "epoch": *epoch, "index": *index})
		}
		of, err := s.onlySet(*set)
		if err != nil {
			return err
		}
		line, err := s.shareOf(of, *epoch)
		if err != nil {
			return err
		}
		return record(s, args[0], map[string]any{"kind": *kind, "set": line.Set, "epoch": line.Epoch, "index": line.Index})
	})
	return must(c, "kind")
}

func custodyBag(p *params) {
	p.text("new-serial", "new_serial", "", "serial of the tamper-evident bag that it goes into")
}

func custodyPlace(p *params) {
	p.text("site", "site", "", "site where it is")
	p.text("container", "container", "", "safe, drawer or box")
}

func custodyRead(p *params) {
	p.text("serial", "serial", "", "serial as read from the bag")
	p.text("seal", "seal", "", "how the seal was found: intact, damaged or missing")
}

// custodyDone is the command of one thing done to a form.
func custodyDone(step, short string, flags ...func(*params)) *cobra.Command {
	c, record := custodyStep(step, short, flags...)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		return record(s, args[0], nil)
	})
	return c
}

// custodyStep is what the commands of the log have in common: their flags, and record, which proposes the entry with more beside them.
func custodyStep(step, short string, flags ...func(*params)) (c *cobra.Command, record func(s *session, form string, more map[string]any) error) {
	c = &cobra.Command{
		Use: step + " FORM", Short: short, Args: exactly("FORM"),
		Long: short + ".\nThe entry counts when the witness has signed it too (custody countersign).",
	}
	p := newParams(c)
	for _, add := range flags {
		add(p)
	}
	p.text("witness", "witness", "", "person who was there and will sign too")
	p.text("purpose", "purpose", "", "what for")
	p.text("ceremony", "ceremony", "", "ceremony that it serves")
	p.time("at", "at", "when it was done; default: now")
	return must(c, "witness", "purpose"), func(s *session, form string, more map[string]any) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		maps.Copy(params, more)
		params["form"], params["action"] = form, step
		purpose, _ := params["purpose"].(string)
		return s.proposeAloud("custody.record", params, purpose)
	}
}

// countersign shows an entry, computes its digest from what it shows, and signs.
func countersign(use string, agree bool, short string) *cobra.Command {
	c := &cobra.Command{Use: use + " ENTRY", Short: short, Args: exactly("ENTRY")}
	remark := c.Flags().String("remark", "", "what you saw, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		entries, err := s.client.CustodyLog(s.ctx)
		if err != nil {
			return err
		}
		for i := range entries {
			if entries[i].ID != args[0] {
				continue
			}
			shown, digest, err := custodyDigest(&entries[i].Facts)
			if err != nil {
				return err
			}
			s.say("Entry %s says (SHA-256 %s):\n%s", args[0], digest, shown)
			return s.proposeConnected("custody.countersign", map[string]any{"entry": args[0], "digest": digest, "agree": agree, "remark": *remark}, *remark)
		}
		return usagef("entry: %q is not in the custody log", clean(args[0]))
	})
	if agree {
		return c
	}
	return must(c, "remark")
}

// custodyDigest is what the witness signs, computed here from what is shown.
func custodyDigest(f *api.CustodyFacts) (shown []byte, digest string, err error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, "", fmt.Errorf("encoding what the entry says: %w", err)
	}
	if shown, err = strictjson.Canonical(raw); err != nil {
		return nil, "", fmt.Errorf("encoding what the entry says: %w", err)
	}
	sum := sha256.Sum256(shown)
	return shown, hex.EncodeToString(sum[:]), nil
}
