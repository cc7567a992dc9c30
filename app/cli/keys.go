package cli

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
)

func keyCommand() *cobra.Command {
	version := func(p *params) { p.number("version", "version", "version it is about") }
	return parent("key", "Keys: create, rotate, suspend, resume, end",
		keyList(), keyShow(), keyVersions(), keyPublic(), keyCreate(),
		proposal{use: "rotate KEY", short: "Make a new version now; earlier ones stay for decryption", name: "key.rotate", member: "key", reasonMember: "reason"}.command(),
		proposal{
			use: "suspend KEY", short: "Suspend a key at once; two others must release it", name: "key.suspend", member: "key", reasonMember: "reason",
			flags: func(p *params) {
				p.number("version", "version", "one version; default: every active one")
				p.bool("suspected", "suspected", "compromise is suspected")
				p.bool("campaign", "campaign", "with --suspected: begin to protect anew what is under it at once, within 30 days")
			},
		}.command(),
		proposal{
			use: "resume KEY", short: "Propose to release a suspended key", name: "key.resume", member: "key", reasonMember: "finding",
			flags: func(p *params) { p.number("version", "version", "one version; default: every suspended one") },
		}.command(),
		proposal{
			use: "compromise KEY", short: "Propose to mark a version compromised, for good", name: "key.compromise", member: "key", reasonMember: "reason",
			flags: version, required: []string{"version"},
		}.command(),
		proposal{
			use: "deactivate KEY", short: "Propose to end a version's protecting, for good", name: "key.deactivate", member: "key", reasonMember: "reason",
			flags: version, required: []string{"version"},
		}.command(),
		proposal{
			use: "destroy KEY", short: "Propose to destroy a version after its waiting period", name: "key.destroy", member: "key", reasonMember: "reason",
			flags: func(p *params) {
				version(p)
				p.text("waiver", "waiver", "", "who answers for data that is still under it, and why")
			},
			required: []string{"version"},
		}.command(),
		proposal{
			use: "controlled-use KEY", short: "Propose that an application reads one data set under a compromised version", name: "key.controlled-use", member: "key", reasonMember: "reason",
			long: "Proposes that an application may decrypt and rewrap one data set under a compromised version, for at most\n" +
				"seven days, so that it can be protected anew. Its grant is needed too; every call is recorded with the approval.",
			flags: func(p *params) {
				version(p)
				p.text("application", "application", "", "application that protects it anew")
				p.text("asset", "asset", "", "the data set, as registered")
				p.pairs("context", "context", "field=value that tells the data set apart in the encryption context; repeat for more")
				p.number("days", "days", "days until it ends, 1 to 7")
			},
			required: []string{"version", "application", "asset", "days"},
		}.command(),
		keyMove(), keyAlter(), keyReclassify(), keyExposure(), keyImport(), keyComponent())
}

func keyMove() *cobra.Command {
	return proposal{
		use: "move KEY", short: "Propose that a key lives in another keystore from now on", name: "key.move", member: "key", reasonMember: "reason",
		long: "Proposes to move a key: a version is made inside the other keystore and protects, earlier versions stay where\n" +
			"they are and decrypt. No key leaves a keystore. What is under earlier versions is to be protected anew: a campaign\n" +
			"is opened for each (campaign list). Where a key may live, policy place says.",
		flags: func(p *params) {
			p.text("to", "keystore", "", "keystore that it moves to")
			p.number("rewrap-days", "rewrap_days", "days until what is under earlier versions is protected anew; default: 90")
		},
		required: []string{"to"},
	}.command()
}

func keyAlter() *cobra.Command {
	return proposal{
		use: "alter KEY", short: "Propose another label, owner, purpose or rotation for a key", name: "key.alter", member: "key", reasonMember: "reason",
		flags: func(p *params) {
			p.text("label", "label", "", "name for people")
			p.text("owner", "owner", "", "person who takes it over")
			p.text("purpose", "purpose", "", "what it is for")
			p.number("rotate-days", "rotate_days", "days until it is rotated by itself")
		},
	}.command()
}

func keyReclassify() *cobra.Command {
	return proposal{
		use: "reclassify KEY", short: "Propose another class, impact or frameworks for a key", name: "key.reclassify", member: "key", reasonMember: "reason",
		long: "Proposes another class for a key. Where it may live and for how long is judged anew. Into a protected class,\n" +
			"grants that one person made end after 14 days unless a quorum approves them anew (grant alter).",
		flags: func(p *params) {
			p.text("classification", "classification", "", "public, internal, confidential, restricted, cardholder-data or ephi; default: as it is")
			p.text("impact", "impact", "", "FIPS 199 impact; default: as it is")
			p.list("framework", "frameworks", "framework it falls under; default: as they are")
			p.list("custody", "custody", "custody model that it may be under; repeat for more; default: as they are")
			p.number("oup-days", "oup_days", "days that new versions protect, where the class allows less")
			p.number("rup-days", "rup_days", "days that new versions decrypt")
			p.number("rotate-days", "rotate_days", "days until it is rotated by itself")
		},
	}.command()
}

func keyCreate() *cobra.Command {
	return proposal{
		use: "create KEY", short: "Propose a new key", name: "key.create", member: "id",
		long: "Proposes a new key. Where it may not live in the keystore named, the refusal says why and where it could.",
		flags: func(p *params) {
			newKeyFlags(p)
			p.text("template", "template", "", "template that it is made under, for lower classes: no quorum is asked again")
		},
		required: newKeyNeeds(),
	}.command()
}

// newKeyNeeds are the flags that a new key takes.
func newKeyNeeds() []string {
	return []string{"label", "classification", "impact", "jurisdiction", "environment", "owner", "keystore"}
}

// newKeyFlags say what a new key is to be, wherever its material comes from.
func newKeyFlags(p *params) {
	p.text("label", "label", "", "name for people")
	p.text("type", "type", "", "symmetric-data-encryption, symmetric-key-wrapping, symmetric-authentication, private-signature or private-key-transport; default: what goes with the algorithm")
	p.text("algorithm", "algorithm", "", "aes-256 (default), hmac-sha-256, ecdsa-p256, ed25519, rsa-pss-3072, rsa-oaep-3072, …")
	p.text("classification", "classification", "", "public, internal, confidential, restricted, cardholder-data or ephi")
	p.text("impact", "impact", "", "FIPS 199 impact: low, moderate or high")
	p.list("framework", "frameworks", "framework it falls under: pci-dss, hipaa; repeat for more")
	p.text("jurisdiction", "jurisdiction", "", "where the key must stay")
	p.text("environment", "environment", "", "production or test")
	p.text("owner", "owner", "", "person who owns it")
	p.text("purpose", "purpose", "", "what it is for")
	p.text("keystore", "keystore", "", "keystore it is to live in")
	p.list("custody", "custody", "custody model that it may be under: self-hosted, cloud-native, byok, hyok; repeat for more")
	p.number("oup-days", "oup_days", "days it protects (originator usage period)")
	p.number("rup-days", "rup_days", "days it decrypts, from activation (recipient usage period)")
	p.number("rotate-days", "rotate_days", "days until it is rotated by itself")
	p.time("activation-at", "activation_at", "day or instant from which it works; default: at once")
}

func keyList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the keys you may see", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list := []api.Key{}
			for k, err := range s.client.Keys(s.ctx) {
				if err != nil {
					return err
				}
				list = append(list, k)
			}
			return s.show(list, func(w io.Writer) {
				var rows [][]string
				for _, k := range list {
					rows = append(rows, []string{k.ID, k.State, number(k.Current), k.Classification, k.Impact, k.Jurisdiction, k.Environment, k.Keystore, k.Owner, day(k.OUPEnd)})
				}
				table(w, []string{"KEY", "STATE", "VERSION", "CLASSIFICATION", "IMPACT", "JURISDICTION", "ENVIRONMENT", "KEYSTORE", "OWNER", "PROTECTS UNTIL"}, rows)
			})
		}),
	}
}

func keyShow() *cobra.Command {
	return &cobra.Command{
		Use: "show KEY", Short: "Show one key", Args: exactly("KEY"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			k, err := s.client.Key(s.ctx, args[0])
			if err != nil {
				return err
			}
			return s.show(k, func(w io.Writer) {
				facts(w, "key", k.ID, "label", k.Label, "type", k.Type, "algorithm", k.Algorithm, "state", k.State, "current version", number(k.Current),
					"versions", number(k.Versions), "classification", k.Classification, "impact", k.Impact,
					"frameworks", strings.Join(k.Frameworks, ", "), "jurisdiction", k.Jurisdiction, "environment", k.Environment,
					"keystore", k.Keystore, "origin", k.Origin, "owner", k.Owner, "protects until", when(k.OUPEnd), "created", when(k.CreatedAt),
					"created by", k.CreatedBy, "governance revision", number(k.GovRevision))
			})
		}),
	}
}

func keyVersions() *cobra.Command {
	return &cobra.Command{
		Use: "versions KEY", Short: "Show a key's versions and their history", Args: exactly("KEY"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := s.client.Versions(s.ctx, args[0])
			if err != nil {
				return err
			}
			return s.show(list, func(w io.Writer) { writeVersions(w, list) })
		}),
	}
}

func writeVersions(w io.Writer, list []api.Version) {
	var rows, history [][]string
	for _, v := range list {
		state := v.State
		if v.Copies != "" { // of a destroyed one: what is known of copies that hold it
			state += ", " + v.Copies
		}
		rows = append(rows, []string{number(v.Version), state, v.Keystore, v.Algorithm, v.CheckValue, originWords(&v), orDash(v.FIPSClaim), when(v.ActivationAt), day(v.OUPEnd), day(v.RUPEnd)})
		for _, t := range v.History {
			history = append(history, []string{number(v.Version), when(t.At), t.ID, orDash(t.From), t.To, t.Actor, t.Ceremony, t.Reason})
		}
	}
	table(w, []string{"VERSION", "STATE", "KEYSTORE", "ALGORITHM", "CHECK VALUE", "ORIGIN", "FIPS CLAIM", "ACTIVATION", "PROTECTS UNTIL", "DECRYPTS UNTIL"}, rows)
	io.WriteString(w, "\n")
	table(w, []string{"VERSION", "AT", "TRANSITION", "FROM", "TO", "BY", "CEREMONY", "REASON"}, history)
}
