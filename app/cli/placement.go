package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/custodian/amount"
)

func policyPlace() *cobra.Command {
	c := &cobra.Command{
		Use: "place", Short: "Ask in which keystores a key could live, and what stands against the others", Args: exactly(),
		Long: "Judges a key that is there (--key), or one that might be, against every keystore at once, best first, and says\n" +
			"who can read the key at rest and in use. Data sets and owners can demand custody models; they count for --key.",
	}
	var in api.PlaceRequest
	f := c.Flags()
	f.StringVar(&in.Key, "key", "", "a key that is there; then nothing else")
	f.StringVar(&in.Classification, "classification", "", "public, internal, confidential, restricted, cardholder-data or ephi")
	f.StringVar(&in.Impact, "impact", "", "low, moderate or high")
	f.StringSliceVar(&in.Frameworks, "framework", nil, "pci-dss, hipaa; repeat for more")
	f.StringVar(&in.Jurisdiction, "jurisdiction", "", "where the key must stay")
	f.StringVar(&in.Environment, "environment", "", "production or test")
	f.StringVar(&in.Custody, "custody", "", "custody model demanded")
	f.StringVar(&in.Algorithm, "algorithm", "", "what the key is to be; default: aes-256")
	models := f.Bool("models", false, "also say of every custody model who can read a key under it")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		out, err := s.client.Place(s.ctx, in)
		if err != nil {
			return err
		}
		return s.show(out, func(w io.Writer) { writePlaces(w, out, *models) })
	})
	return c
}

func writePlaces(w io.Writer, out api.PlaceResponse, models bool) {
	needs := "no validated module"
	if out.Validated || out.LeastLevel > 0 {
		needs = fmt.Sprintf("FIPS level %d", out.LeastLevel)
	}
	fmt.Fprintf(w, "needs %s; best first: %s\n\n", needs, clean(out.BestFirst))
	for _, k := range out.Candidates {
		verdict := "may not live in"
		if k.Allowed {
			verdict = "may live in"
		}
		fmt.Fprintf(w, "%s %s", verdict, clean(k.Keystore))
		if k.Home {
			fmt.Fprint(w, ", where it is")
		}
		fmt.Fprintf(w, "\n  %s, %s, %s tenant, level %d counts\n", clean(k.FIPS), clean(k.Custody), clean(k.Tenancy), k.EffectiveLevel)
		fmt.Fprintf(w, "  can read it at rest: %s\n  can read it in use: %s\n", clean(k.ReadAtRest), clean(k.ReadInUse))
		if len(k.Exceptions) > 0 {
			fmt.Fprintf(w, "  by accepted risk: %s\n", clean(strings.Join(k.Exceptions, ", ")))
		}
		for _, r := range k.Reasons {
			writeReason(w, r)
		}
	}
	if len(out.Candidates) == 0 {
		fmt.Fprintln(w, "no keystore is registered")
	}
	if models {
		var rows [][]string
		for _, m := range out.Models {
			in := "wrapped, in the database"
			if m.StoresKeys {
				in = "in a device"
			}
			rows = append(rows, []string{m.Model, in, m.ReadAtRest, m.ReadInUse})
		}
		fmt.Fprintln(w)
		table(w, []string{"CUSTODY", "KEPT", "CAN READ AT REST", "CAN READ IN USE"}, rows)
	}
}

// keystoreFacts are the flags of keystore.alter.
func keystoreFacts(p *params) {
	p.change("fips-standard", "fips_standard", "140-2, 140-3, or nothing to claim none")
	p.number("fips-level", "fips_level", "FIPS level that the module was validated at; 0 to claim none")
	p.change("certificate", "certificate", "number of the CMVP certificate, or nothing for none")
	p.change("certificate-status", "certificate_status", "active, historical or revoked, as CMVP lists it")
	p.change("certificate-from", "certificate_from", "day of the validation, 2006-01-02")
	p.change("certificate-until", "certificate_until", "sunset of the certificate, 2006-01-02: historical from then on")
	p.change("custody", "custody", "self-hosted, cloud-native, byok or hyok")
	p.change("tenancy", "tenancy", "single or multi")
	p.change("jurisdiction", "jurisdiction", "where it is: ISO 3166-1 alpha-2, or a region that policy knows")
	p.change("environment", "environment", "production or test")
	p.change("location", "location", "where exactly, for the record")
	p.change("controller", "controller", "person answerable for it")
	p.change("make", "make", "maker")
	p.change("model", "model", "model")
	p.number("max-keys", "max_keys", "key versions that it may hold; 0: no bound")
	p.list("spec", "specs", "keys that it makes; repeat for each")
}

func keystoreAlter() *cobra.Command {
	c := &cobra.Command{
		Use: "alter KEYSTORE", Short: "Propose other facts or bounds of a keystore", Args: exactly("KEYSTORE"),
		Long: "Proposes what is to be on record of a keystore. What is left out stays as it is. The proposal shows which keys\n" +
			"would have to move, and which would get no new versions; that is part of what is signed.",
	}
	p := newParams(c)
	keystoreFacts(p)
	simulated := c.Flags().Bool("simulated", false, "it is a simulator; development only, and for good")
	refresh := c.Flags().Bool("refresh", false, "record all keys that its driver makes, and what it can do")
	reason := c.Flags().String("reason", "", "why, for the record")
	c.RunE = action(func(s *session, cmd *cobra.Command, args []string) error {
		params, err := p.collect()
		if err != nil {
			return err
		}
		params["keystore"] = args[0]
		if cmd.Flags().Changed("simulated") {
			params["simulated"] = *simulated
		}
		if err := s.connectPerson(); err != nil {
			return err
		}
		if *refresh {
			if params["specs"], err = s.offers(args[0]); err != nil {
				return err
			}
		}
		return s.proposeSaid("keystore.alter", params, *reason)
	})
	return must(c, "reason")
}

// offers are the keys that the driver of a keystore makes.
func (s *session) offers(keystore string) ([]string, error) {
	list, err := s.client.Keystores(s.ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range list {
		if k.ID == keystore && len(k.Offers) > 0 {
			return k.Offers, nil
		}
	}
	return nil, fmt.Errorf("keystore %s: not found, or its driver does not run here", keystore)
}

func keystoreShow() *cobra.Command {
	return &cobra.Command{
		Use: "show KEYSTORE", Short: "Show the governed facts of a keystore, and who can read keys in it", Args: exactly("KEYSTORE"),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := s.client.Keystores(s.ctx)
			if err != nil {
				return err
			}
			for _, k := range list {
				if k.ID == args[0] {
					return s.show(k, func(w io.Writer) { writeKeystore(w, k) })
				}
			}
			return fmt.Errorf("keystore %s: not found", args[0])
		}),
	}
}

func writeKeystore(w io.Writer, k api.Keystore) {
	facts(w, "keystore", k.ID, "status", k.Status, "driver", k.Driver, "active here", yesNo(k.Active), "fips", k.FIPS, "validated on", k.CertificateFrom,
		"certificate's sunset", k.CertificateUntil, "custody", k.Custody, "tenancy", k.Tenancy, "jurisdiction", k.Jurisdiction, "environment", k.Environment,
		"location", k.Location, "controller", k.Controller, "share set", k.ShareSet, "makes", strings.Join(k.Makes, ", "),
		"takes wrapped", cmp.Or(strings.Join(k.Takes["wrapped"], ", "), "no keys"), "takes in components", cmp.Or(strings.Join(k.Takes["components"], ", "), "no keys"),
		"can read keys at rest", k.ReadAtRest, "can read keys in use", k.ReadInUse)
	if t := k.Token; t != nil {
		taken := "not yet (keystore initialise)"
		if t.InitialisedAt != nil {
			taken = when(*t.InitialisedAt) + ", ceremony " + t.InitialisedBy
		}
		facts(w, "token label", t.Label, "token serial number", t.Serial, "made by", strings.TrimSpace(t.Manufacturer+" "+t.Model), "firmware", t.Firmware,
			"module", t.Module, "initialised", taken)
	}
	writeMembers(w, k)
	for _, b := range k.Beyond {
		fmt.Fprintf(w, "NOT PROVED: %s\n", clean(b))
	}
}

func policyWhatIf() *cobra.Command {
	c := &cobra.Command{
		Use: "what-if", Short: "Ask which keys a change of a keystore, a key or the policy would strand; nothing is changed", Args: exactly(),
		Long: "Supposes one change: --keystore with facts as for keystore alter, --key with facts as for key reclassify, or\n" +
			"--bundle with the digest of a bundle that was handed in. The answer is what its proposal would show.",
	}
	keystore := c.Flags().String("keystore", "", "keystore whose facts would be others")
	key := c.Flags().String("key", "", "key that would be classified otherwise")
	bundle := c.Flags().String("bundle", "", "digest of the bundle that would be in force")
	p, k := newParams(c), newParams(c)
	keystoreFacts(p)
	k.text("classification", "classification", "", "with --key: public, internal, confidential, restricted, cardholder-data or ephi")
	k.text("impact", "impact", "", "with --key: FIPS 199 impact")
	k.list("framework", "frameworks", "with --key: framework it would fall under")
	c.RunE = action(func(s *session, _ *cobra.Command, _ []string) error {
		in, err := whatIf(p, k, *keystore, *key, *bundle)
		if err != nil {
			return err
		}
		if err := s.connectAny(); err != nil {
			return err
		}
		out, err := s.client.WhatIf(s.ctx, in)
		if err != nil {
			return err
		}
		return s.show(out, func(w io.Writer) { writeWhatIf(w, out) })
	})
	return c
}

func whatIf(ofKeystore, ofKey *params, keystore, key, bundle string) (api.WhatIfRequest, error) {
	in := api.WhatIfRequest{Bundle: bundle}
	for _, part := range []struct {
		id, member string
		flags      *params
		to         *json.RawMessage
	}{{keystore, "keystore", ofKeystore, &in.Keystore}, {key, "key", ofKey, &in.Key}} {
		given, err := part.flags.collect()
		if err != nil {
			return in, err
		}
		if part.id == "" {
			if len(given) > 0 && len(in.Keystore) == 0 {
				return in, usagef("say whose facts these are: --keystore or --key")
			}
			continue
		}
		given[part.member] = part.id
		if *part.to, err = json.Marshal(given); err != nil {
			return in, fmt.Errorf("encoding the change: %w", err)
		}
	}
	return in, nil
}

func writeWhatIf(w io.Writer, out api.WhatIf) {
	fmt.Fprintf(w, "%s would have to move, %d would get no new versions where they are\n", amount.Of(out.Stranded, "key"), out.NoNew)
	for _, c := range out.Changes {
		fmt.Fprintf(w, "\n%s in %s\n  before: %s\n  after:  %s\n  keys: %s\n", amount.Of(c.Count, "key"), clean(c.Facts), clean(c.Before), clean(c.After), clean(strings.Join(c.Keys, ", ")))
		for _, r := range c.Reasons {
			writeReason(w, r)
		}
	}
	if out.More > 0 {
		fmt.Fprintf(w, "\nand %s of keys\n", amount.Of(out.More, "further group"))
	}
	if len(out.Changes) == 0 {
		fmt.Fprintln(w, "no key would stand otherwise")
	}
}
