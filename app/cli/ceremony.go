package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/ceremony/statement"
	"conclave/custodian/ledger"
)

func ceremonyCommand() *cobra.Command {
	return parent("ceremony", "See, approve, reject, attend and follow ceremonies",
		ceremonyList(), ceremonyShow(),
		ceremonyBring(),
		ceremonyVote("approve", "Approve a ceremony: read it, check it, sign exactly that", statement.Approve),
		ceremonyVote("reject", "Reject a ceremony with a signature", statement.Reject),
		ceremonyVote("attend", "Attend as a witness and sign that you did", statement.Attend),
		ceremonyRun(), ceremonyCancel(), ceremonyExecute(), ceremonyTranscript(), ceremonyCall(), ceremonyAnswer(), ceremonyCalendar())
}

func ceremonyList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List open ceremonies and what they wait for", Args: exactly()}
	all := c.Flags().Bool("all", false, "ended ones too")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		list := []api.Ceremony{}
		for c, err := range s.client.Ceremonies(s.ctx, *all) {
			if err != nil {
				return err
			}
			list = append(list, c)
		}
		return s.show(list, func(w io.Writer) { writeCeremonies(w, list) })
	})
	return c
}

func ceremonyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show CEREMONY", Short: "Show what would happen, what it takes, and who has signed", Args: exactly("CEREMONY"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			c, err := s.client.Ceremony(s.ctx, args[0])
			if err != nil {
				return err
			}
			return s.showCeremony(c)
		}),
	}
}

func (s *session) showCeremony(c api.Ceremony) error {
	return s.show(c, func(w io.Writer) { writeCeremony(w, &c) })
}

// showAfter says what an act on a ceremony came to. What it is about was shown before the act.
func (s *session) showAfter(c api.Ceremony) error {
	return s.show(c, func(w io.Writer) { writeOutcome(w, &c) })
}

func ceremonyVote(use, short string, decision statement.Decision) *cobra.Command {
	c := &cobra.Command{Use: use + " CEREMONY", Short: short, Args: exactly("CEREMONY")}
	yes := c.Flags().Bool("yes", false, "sign without asking, once what is shown has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		shown, err := s.client.Ceremony(s.ctx, args[0])
		if err != nil {
			return err
		}
		if shown.Takes.Shares && decision == statement.Approve {
			return usagef("ceremony %s is approved by bringing a share; use: conclave ceremony bring %s", shown.ID, shown.ID)
		}
		if shown.Operation == confirmClock {
			if err := s.compareClocks(); err != nil {
				return err
			}
		}
		after, err := s.person().Vote(s.ctx, &shown, decision, s.review(&shown, *yes))
		if err != nil {
			return err
		}
		return s.showAfter(after)
	})
	return c
}

func ceremonyCancel() *cobra.Command {
	c := &cobra.Command{Use: "cancel CEREMONY", Short: "Cancel a ceremony of your own, or one in its waiting period", Args: exactly("CEREMONY")}
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		s.say("Cancelling ceremony %s.", args[0])
		after, err := s.client.Cancel(s.ctx, args[0], *reason)
		if err != nil {
			return err
		}
		return s.showAfter(after)
	})
	return must(c, "reason")
}

func ceremonyExecute() *cobra.Command {
	return &cobra.Command{
		Use: "execute CEREMONY", Short: "Try again to execute a ceremony that is due", Args: exactly("CEREMONY"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectPerson(); err != nil {
				return err
			}
			s.say("Executing ceremony %s.", args[0])
			after, err := s.client.Execute(s.ctx, args[0])
			if err != nil {
				return err
			}
			return s.showAfter(after)
		}),
	}
}

func ceremonyTranscript() *cobra.Command {
	c := &cobra.Command{
		Use: "transcript CEREMONY", Short: "Fetch a ceremony's signed transcript and check its signature", Args: exactly("CEREMONY"),
		Long: "Fetches the transcript, a DSSE envelope signed by the node, and checks its signature against the\n" +
			"trust file. Without -o the signed content is shown; with -o the envelope is kept.",
	}
	out := c.Flags().StringP("out", "o", "", "file to keep the signed envelope in; must not exist")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		if err := s.loadTrust(); err != nil {
			return err
		}
		envelope, err := s.client.Transcript(s.ctx, args[0])
		if err != nil {
			return err
		}
		payload, node, err := client.VerifyNode(s.trust, envelope, statement.TypeTranscript)
		if err != nil {
			return fmt.Errorf("transcript refused: %w", err)
		}
		s.say("Signature of node %s verified against the trust file.", node)
		if *out != "" {
			return writeNewFile(*out, envelope)
		}
		var shown bytes.Buffer
		if err := json.Indent(&shown, payload, "", "  "); err != nil {
			return fmt.Errorf("transcript refused: %w", err)
		}
		return s.show(json.RawMessage(payload), func(w io.Writer) { fmt.Fprintf(w, "%s\n", clean(shown.String())) })
	})
	return c
}

// writeNewFile writes a file whole or not at all, and never over another.
func writeNewFile(path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return usagef("%s exists and is left alone; give another name", path)
	}
	return ledger.WriteFileAtomic(path, data, 0o644)
}

// propose asks for a governed operation as the person, and shows what came of it.
func (s *session) propose(operation string, params any, reason string) error {
	if err := s.connectPerson(); err != nil {
		return err
	}
	return s.proposeAloud(operation, params, reason)
}

// proposeAloud is propose for a session that is connected already.
func (s *session) proposeAloud(operation string, params any, reason string) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("encoding params: %w", err)
	}
	s.say("Asking for %s as %s: %s", operation, s.signer.ID(), raw)
	return s.proposeConnected(operation, params, reason)
}

// proposeConnected asks for what the person has been shown already.
func (s *session) proposeConnected(operation string, params any, reason string) error {
	p, err := s.client.Propose(s.ctx, operation, params, reason)
	if err != nil {
		return err
	}
	result := struct {
		Ceremony api.Ceremony `json:"ceremony"`
		Once     string       `json:"once,omitempty"`
	}{p.Ceremony, p.Once}
	return s.show(result, func(w io.Writer) {
		if p.Ceremony.Ended() {
			writeOutcome(w, &p.Ceremony)
		} else {
			writeCeremony(w, &p.Ceremony)
		}
		if p.Once != "" {
			fmt.Fprintf(w, "\nShown this one time, and kept nowhere:\n%s\n", clean(p.Once))
		}
		if !p.Ceremony.Ended() {
			how := "approve"
			if p.Ceremony.Takes.Shares {
				how = "bring"
			}
			fmt.Fprintf(w, "\nOthers go on with: conclave ceremony %s %s\n", how, clean(p.Ceremony.ID))
			for _, part := range p.Ceremony.Components {
				fmt.Fprintf(w, "Component %d is for %s to enter: conclave key import bring %s\n", part.Index, clean(part.Custodian), clean(p.Ceremony.ID))
			}
		}
	})
}
