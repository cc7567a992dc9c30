package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

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
	log := register("Show the custody log", (*client.Client).CustodyLog,
		[]string{"ENTRY", "FORM", "ACTION", "WHO", "WITNESS", "OUT", "IN", "PURPOSE", "CEREMONY", "OLD BAG", "NEW BAG", "SEAL", "CONTAINER", "SITE", "STATE"},
		func(e api.CustodyEntry) []string {
			f := &e.Facts
			state := e.State
			if e.Late {
				state += ", second signature overdue"
			}
			return []string{e.ID, f.Form, f.Action, f.Who, f.Witness, maybe(f.OutAt), maybe(f.InAt), f.Purpose, orDash(f.Ceremony), orDash(f.OldSerial), orDash(f.NewSerial),
				orDash(f.Seal), orDash(f.Container), orDash(f.Site), state}
		})
	log.Use = "log"
	return parent("custody", "Physical forms of shares: register, bags, containers, custody log", list, log,
		custodyStep("register", "Register a physical form of your share", custodyIdentity, custodyBag, custodyPlace),
		custodyStep("seal", "Record that a form went into a bag with a new serial", custodyBag, custodyPlace),
		custodyStep("send", "Record that a form left for another site", custodyRead, func(p *params) {
			p.text("site", "site", "", "site that it goes to")
			p.text("carrier", "carrier", "", "person who carries it; default: you")
		}),
		custodyStep("receive", "Record that a form arrived", custodyRead, custodyPlace),
		custodyStep("open", "Record that a form was opened, for the ceremony named", custodyRead),
		custodyStep("check", "Record that a form's bag was looked at", custodyRead),
		custodyStep("lost", "Record that a form is lost"),
		custodyStep("retire", "Record that a form is taken out of use"),
		custodyStep("destroy", "Record that a form is destroyed"),
		countersign("countersign", true, "As the witness, sign an entry of the custody log: it counts from then on"),
		countersign("dispute", false, "As the witness, say that an entry is not so: it does not count, and a finding is opened"))
}

func custodyIdentity(p *params) {
	p.text("kind", "kind", "", "paper, paper-protected, token, smart-card, encrypted-file, or pin-letter: what opens one of them")
	p.text("set", "set", "", "share set")
	p.number("epoch", "epoch", "epoch of the share")
	p.number("index", "index", "number of the share")
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

// custodyStep records one thing done to a form.
func custodyStep(step, short string, flags ...func(*params)) *cobra.Command {
	c := &cobra.Command{
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
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params["form"], params["action"] = args[0], step
		purpose, _ := params["purpose"].(string)
		return s.propose("custody.record", params, purpose)
	})
	return must(c, "witness", "purpose")
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
