package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client"
	"conclave/app/client/person"
	"conclave/ceremony/keyfile"
	"conclave/custodian/jwk"
	"conclave/custodian/people"
)

// change maps a flag to a parameter that is sent whenever the flag was given, empty too: what was there is taken away.
func (p *params) change(flag, member, help string) {
	v := p.cmd.Flags().String(flag, "", help)
	p.put = append(p.put, func(out map[string]any) error {
		if p.cmd.Flags().Changed(flag) {
			out[member] = *v
		}
		return nil
	})
}

// withKeys is a command whose proposal brings a person's public keys: by an invitation, or from a file.
func withKeys(c *cobra.Command, operation, member string, share bool, flags func(p *params)) *cobra.Command {
	p := newParams(c)
	flags(p)
	p.text("compared", "compared", "", "how you compared the fingerprints with their holder: in-person or by-voice (not-compared: development only)")
	invitation := c.Flags().String("invitation", "", "invitation by which the keys were handed in")
	public := c.Flags().String("public", "", "file with the public part that conclave custodian keygen shows, as JSON")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.MarkFlagsOneRequired("invitation", "public")
	c.MarkFlagsMutuallyExclusive("invitation", "public")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params[member] = args[0]
		if err := s.connectPerson(); err != nil {
			return err
		}
		_, kept := params["keep_share_key"]
		if *invitation != "" {
			err = s.keysOfInvitation(*invitation, params, share && !kept)
		} else {
			err = s.keysOfFile(*public, args[0], params, share && !kept)
		}
		if err != nil {
			return err
		}
		return s.proposeSaid(operation, params, *reason)
	})
	return must(c, "compared", "reason")
}

// proposeSaid is propose for who is connected already.
func (s *session) proposeSaid(operation string, params map[string]any, reason string) error {
	raw, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("encoding params: %w", err)
	}
	s.say("Asking for %s as %s: %s", operation, s.signer.ID(), raw)
	return s.proposeConnected(operation, params, reason)
}

func (s *session) keysOfInvitation(id string, params map[string]any, share bool) error {
	list, err := s.client.Invitations(s.ctx)
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.ID != id {
			continue
		}
		if len(i.ApprovalKey) == 0 {
			return fmt.Errorf("invitation %s is %s: no keys were handed in", id, i.Status)
		}
		params["invitation"], params["approval_key"] = id, i.ApprovalKey
		if share {
			params["share_key"] = i.ShareKey
		}
		s.say("Keys handed in by %s:\n  approval  %s\n  share     %s", i.Person, i.ApprovalFingerprint, i.ShareFingerprint)
		return nil
	}
	return fmt.Errorf("invitation %s is not known", id)
}

func (s *session) keysOfFile(path, person string, params map[string]any, share bool) error {
	raw, err := readSmall(path, maxPublicFile)
	if err != nil {
		return err
	}
	var p keyfile.Public
	if err := json.Unmarshal(raw, &p); err != nil {
		return fmt.Errorf("%s: not the public part of a key file: %w", path, err)
	}
	if err := p.Check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if p.ID != person {
		return usagef("public: %s holds the keys of %s; allowed: those of %s", path, p.ID, person)
	}
	params["approval_key"] = p.ApprovalKey
	if share {
		params["share_key"] = p.ShareKey
	}
	s.say("Keys of %s:\n  approval  %s\n  share     %s", p.ID, p.ApprovalFingerprint, p.ShareFingerprint)
	return nil
}

func custodianAdd() *cobra.Command {
	c := &cobra.Command{
		Use: "add PERSON", Short: "Propose a new person, with keys that they handed in", Args: exactly("PERSON"),
		Long: "Proposes a new person. Compare the fingerprints shown with the person, in person or by voice, before you\n" +
			"propose it, and say how: the ceremony records it as your word, and approvers see it.",
	}
	return withKeys(c, "custodian.add", "id", true, func(p *params) {
		p.text("name", "name", "", "full name")
		p.text("staff-number", "staff_number", "", "staff number")
		p.text("organisation", "organisation", "", "whom an auditor from outside works for")
		p.time("until", "until", "when the access of an auditor from outside ends by itself")
		p.list("role", "roles", "role: custodian, security-officer, key-manager, key-owner, witness, auditor or administrator; repeat for more")
		p.list("group", "groups", "group; repeat for more")
		p.text("team", "team", "", "team")
		p.text("site", "site", "", "site")
		p.text("manager", "manager", "", "person they report to, or a name outside the register")
		p.text("backup", "backup", "", "custodian who stands in for them")
	})
}

func custodianAlter() *cobra.Command {
	return proposal{
		use: "alter PERSON", short: "Propose to change what the register says of a person", name: "custodian.alter", member: "person",
		long: "Proposes a change of the register. What is not named stays; an empty value takes away what was there.",
		flags: func(p *params) {
			p.change("name", "name", "full name")
			p.change("staff-number", "staff_number", "staff number")
			p.change("organisation", "organisation", "whom an auditor from outside works for")
			p.time("until", "until", "when the access of an auditor from outside ends by itself")
			p.change("team", "team", "team")
			p.change("site", "site", "site")
			p.change("manager", "manager", "person they report to, or a name outside the register")
			p.change("backup", "backup", "custodian who stands in for them")
			p.list("group", "groups", "group, all that they are in; repeat for more")
		},
	}.command()
}

func custodianRemove() *cobra.Command {
	return proposal{
		use: "remove PERSON", short: "Propose that a person leaves; what must follow is opened as duties", name: "custodian.remove", member: "person", reasonMember: "reason",
		flags: func(p *params) {
			p.list("cleartext", "cleartext", "key whose cleartext they saw; repeat for more")
		},
	}.command()
}

func custodianRole() *cobra.Command {
	return proposal{
		use: "role PERSON", short: "Propose the roles that a person is to have from now on", name: "role.change", member: "person",
		flags:    func(p *params) { p.list("role", "roles", "role, all that they are to have; repeat for more") },
		required: []string{"role"},
	}.command()
}

func custodianHandover() *cobra.Command {
	return proposal{
		use: "handover FROM", short: "Propose that somebody else becomes answerable for keys, applications or keystores", name: "ownership.transfer", member: "from",
		flags: func(p *params) {
			p.text("to", "to", "", "person who takes them over")
			p.list("key", "keys", "key; repeat for more")
			p.list("application", "applications", "application; repeat for more")
			p.list("keystore", "keystores", "keystore; repeat for more")
		},
		required: []string{"to"},
	}.command()
}

func custodianInvite() *cobra.Command {
	return proposal{
		use: "invite PERSON", short: "Invite a person to hand in public keys; the secret is shown once", name: "invitation.open", member: "person",
		long: "Opens an invitation for the person id given. Pass the secret, and the address of the service, to that person\n" +
			"alone: whoever has it can hand in keys in their place, which is why fingerprints are compared afterwards.",
		flags: func(p *params) {
			p.text("name", "name", "", "name of somebody who is not in the register yet")
			p.number("hours", "hours", "hours to answer, at most 336; default: a week")
		},
	}.command()
}

func custodianInvitations() *cobra.Command {
	c := register("", (*client.Client).Invitations,
		[]string{"INVITATION", "PERSON", "NAME", "STATUS", "OPENED BY", "UNTIL", "ANSWERED", "FROM", "APPROVAL FINGERPRINT"},
		func(i api.KeyInvitation) []string {
			return []string{i.ID, i.Person, i.Name, i.Status, i.OpenedBy, when(i.ExpiresAt), maybe(i.AnsweredAt), i.AnsweredFrom, i.ApprovalFingerprint}
		})
	c.Use, c.Short = "invitations", "List invitations and what was handed in"
	return c
}

// custodianJoin makes keys on the invited person's own machine and hands in their public part.
func custodianJoin() *cobra.Command {
	c := &cobra.Command{
		Use: "join", Short: "Answer an invitation: make a key file here and hand in its public part", Args: exactly(),
		Long: "Makes a key file under a passphrase, as keygen does, and hands in its public part with the invitation's\n" +
			"secret, signed with the new key. Then read the fingerprints aloud to who invited you. With --trust the\n" +
			"instance must be the one that the trust file pins.",
	}
	f := c.Flags()
	file := f.String("invitation", "", "file with the invitation's secret, cvi_…")
	out := f.String("out", "", "key file to make; never overwritten")
	alg := f.String("alg", jwk.ES256, "approval algorithm: ES256 or EdDSA")
	development := f.Bool("development", false, "mark the keys as development data; lifts the rule on the passphrase's length")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		secret, err := readSecret(*file)
		if err != nil {
			return fmt.Errorf("reading invitation: %w", err)
		}
		s.closes = append(s.closes, secret.Wipe)
		if err := s.dial(client.Config{Token: secret}); err != nil {
			return err
		}
		i, err := s.client.Invitation(s.ctx)
		if err != nil {
			return err
		}
		if err := s.checkInvited(i); err != nil {
			return err
		}
		s.say("Invited to instance %s as %s (%s) by %s, until %s. Making the key file %s.", i.Instance, i.Person, i.Name, i.OpenedBy, when(i.ExpiresAt), *out)
		signer, err := s.newKeyFile(i.Person, *alg, *out, *development)
		if err != nil {
			return err
		}
		defer signer.Wipe()
		envelope, err := person.Joining(i, signer)
		if err != nil {
			return err
		}
		if _, err := s.client.Join(s.ctx, envelope); err != nil {
			return fmt.Errorf("the key file %s was made, but its public part was not taken: %w", *out, err)
		}
		s.say("Handed in. Now compare the fingerprints with %s, in person or by voice.", i.OpenedBy)
		return s.showPublic(signer.Public())
	})
	return must(c, "invitation", "out")
}

// checkInvited holds the invitation against what the person knows of the instance.
func (s *session) checkInvited(i api.KeyInvitation) error {
	if i.Status != string(people.InvitationOpen) {
		return fmt.Errorf("the invitation is %s", i.Status)
	}
	if s.settings[setTrust] == "" {
		return nil
	}
	if err := s.loadTrust(); err != nil {
		return err
	}
	if s.trust.Instance != i.Instance {
		return fmt.Errorf("the service is instance %s, the trust file pins %s", i.Instance, s.trust.Instance)
	}
	return nil
}

func credentialCommand() *cobra.Command {
	add := &cobra.Command{Use: "add PERSON", Short: "Propose one more approval key for a person", Args: exactly("PERSON")}
	renew := &cobra.Command{
		Use: "recover PERSON", Short: "Propose keys of a new device in place of lost ones, before a witness", Args: exactly("PERSON"),
		Long: "Proposes a new approval key and share key. All earlier approval keys are revoked but those that --keep names;\n" +
			"the share key is replaced unless --keep-share-key says why it was not lost. Shares sealed to the old share key,\n" +
			"and what was made with the revoked approval keys, are listed as duties (conclave duty list).",
	}
	return parent("credential", "Approval keys of people: add, revoke, recover",
		withKeys(add, "credential.add", "person", false, func(*params) {}),
		proposal{
			use: "revoke PERSON", short: "Revoke an approval key at once: your own, or as a security officer anybody's", name: "credential.revoke", member: "person", reasonMember: "reason",
			long: "Revokes an approval key at once and for good: your own, or as a security officer anybody's. Tokens, invitations,\n" +
				"grants and applications that were asked for with it stay, and are listed as duties: conclave duty revoke ends them.",
			flags:    func(p *params) { p.text("credential", "credential", "", "id of the key") },
			required: []string{"credential"},
		}.command(),
		withKeys(renew, "credential.recover", "person", true, func(p *params) {
			p.text("identity-proof", "identity_proof", "", "how you made sure who it is: document, whose knowledge of them")
			p.list("keep", "keep", "id of an approval key that was not lost; repeat for more")
			p.text("keep-share-key", "keep_share_key", "", "why the share key on record was not lost, and stays")
		}))
}

func alertsCommand() *cobra.Command {
	c := register("", (*client.Client).Alerts, []string{"KIND", "ABOUT", "DAYS", "MESSAGE"}, func(a api.Alert) []string {
		about := a.Person + a.Keystore
		if a.Key != "" {
			about = a.Key + " " + number(a.Version)
		}
		if a.Set != "" {
			about = strings.TrimSpace(a.Set + " " + a.Person)
		}
		days := ""
		if a.Days > 0 {
			days = number(a.Days)
		}
		return []string{a.Kind, about, days, a.Message}
	})
	c.Use, c.Short = "alerts", "Show what people should look at now"
	return c
}

func personShow() *cobra.Command {
	return &cobra.Command{
		Use: "show PERSON", Short: "Show one person, with all approval keys", Args: exactly("PERSON"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			p, err := s.client.Person(s.ctx, args[0])
			if err != nil {
				return err
			}
			return s.show(p, func(w io.Writer) { writePerson(w, p) })
		}),
	}
}

func writePerson(w io.Writer, p api.Person) {
	facts(w, "person", p.ID, "name", p.Name, "staff number", p.StaffNumber, "roles", strings.Join(p.Roles, ", "), "groups", strings.Join(p.Groups, ", "),
		"team", p.Team, "site", p.Site, "manager", p.Manager, "backup", p.Backup, "organisation", p.Organisation, "access ends", maybe(p.Until), "status", p.Status, "suspended", maybe(p.SuspendedAt),
		"suspended because", p.SuspendedReason, "suspended by", p.SuspendedBy, "left", maybe(p.LeftAt), "left because", p.LeftReason,
		"acknowledged", maybe(p.AcknowledgedAt), "acknowledged until", maybe(p.AckExpiresAt), "last active", maybe(p.LastActiveAt),
		"added", when(p.AddedAt), "added by", p.AddedBy, "share key", p.ShareKeyID)
	var rows [][]string
	for _, c := range p.Credentials {
		rows = append(rows, []string{c.ID, c.Alg, c.Fingerprint, when(c.AddedAt), strings.TrimSpace(c.Compared + " " + c.ComparedBy), maybe(c.RevokedAt), c.RevokedReason})
	}
	io.WriteString(w, "\n")
	table(w, []string{"APPROVAL KEY", "ALGORITHM", "FINGERPRINT", "ADDED", "COMPARED", "REVOKED", "BECAUSE"}, rows)
}
