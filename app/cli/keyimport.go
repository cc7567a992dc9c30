package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/ceremony/importfile"
	"conclave/custodian/ledger"
	"conclave/hsm"
	"conclave/hsm/keypair"
	"conclave/hsm/keywrap"
	"conclave/hsm/secret"
)

func keyImport() *cobra.Command {
	version := func(p *params) { p.number("version", "version", "version that was imported") }
	return parent("import", "Bring a key that was made elsewhere: in components, or wrapped",
		importComponents(), importBring(), importWrapped(), importPrepare(), importPublic(), importWrappingKeys(),
		proposal{
			use: "wrapping-key ID", short: "Make a one-time pair in a keystore for a key to be wrapped for", name: "wrappingkey.create", member: "id",
			flags: func(p *params) {
				p.text("keystore", "keystore", "", "keystore that the key is to live in")
				p.text("algorithm", "algorithm", "", "rsa-oaep-4096 (default) or rsa-oaep-3072")
				p.number("hours", "hours", "hours until it expires, at most 336; default: 24")
			},
			required: []string{"keystore"},
		}.command(),
		proposal{
			use: "withdraw WRAPPING-KEY", short: "End a wrapping key before its time", name: "wrappingkey.withdraw", member: "wrapping_key", reasonMember: "reason",
		}.command(),
		proposal{
			use: "confirm KEY", short: "Confirm the check value of an imported version, as its sender states it", name: "key.import-confirm", member: "key",
			long: "You are the second person: give the check value that you have from the key's sender, not the one that this\n" +
				"service shows. Only when they are equal is the version used. Who asked for the import does not confirm it.",
			flags: func(p *params) {
				version(p)
				p.text("check-value", "check_value", "", "check value that the sender states: 6 to 10 hexadecimal digits")
			},
			required: []string{"version", "check-value"},
		}.command(),
		proposal{
			use: "reject KEY", short: "Report that the check value differs: the import ends, its material is destroyed", name: "key.import-reject", member: "key", reasonMember: "reason",
			flags: version, required: []string{"version"},
		}.command())
}

// importFlags say which key a key made elsewhere becomes: a new one, or a new version of one that there is.
type importFlags struct {
	*params
	existing *bool
	check    *string
	reason   *string
}

func importFlagsOf(c *cobra.Command) importFlags {
	f := importFlags{params: newParams(c), existing: c.Flags().Bool("new-version", false, "of a key that there is, instead of a new key"),
		check: c.Flags().String("check-value", "", "check value of the key, as its sender states it: another one is not imported"), reason: c.Flags().String("reason", "", "why, for the record")}
	newKeyFlags(f.params)
	return f
}

func (f importFlags) collect(key string) (map[string]any, error) {
	about, err := f.params.collect()
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if *f.check != "" {
		out["check_value"] = *f.check
	}
	switch {
	case *f.existing && len(about) > 0:
		return nil, usagef("new-version: the key is what it is; leave out the flags that describe a new one")
	case *f.existing:
		out["key"] = key
	default:
		for _, need := range newKeyNeeds() {
			if !f.cmd.Flags().Changed(need) {
				return nil, usagef("%s: missing; a new key takes it (or is it --new-version?)", need)
			}
		}
		about["id"] = key
		out["new"] = about
	}
	return out, nil
}

func importComponents() *cobra.Command {
	c := &cobra.Command{
		Use: "components KEY", Short: "Propose to import a key that custodians enter in components", Args: exactly("KEY"),
		Long: "Proposes to import an AES-256 key whose full-length components (their XOR is the key) are entered one by one, each\n" +
			"by the custodian named for it. The check values are those on the components' forms: CMAC, 6 to 10 hexadecimal digits.",
	}
	f := importFlagsOf(c)
	holders := c.Flags().StringToString("holder", nil, "CUSTODIAN=CHECKVALUE of one component, in no particular order; repeat for each")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		params, err := f.collect(args[0])
		if err != nil {
			return err
		}
		list := []map[string]any{}
		for _, custodian := range sorted(*holders) {
			list = append(list, map[string]any{"custodian": custodian, "check_value": (*holders)[custodian]})
		}
		params["components"] = list
		return s.propose("key.import", params, *f.reason)
	})
	return must(c, "holder", "reason")
}

func importWrapped() *cobra.Command {
	c := &cobra.Command{
		Use: "wrapped KEY", Short: "Propose to import a key that came wrapped", Args: exactly("KEY"),
		Long: "Proposes to import the key in a file that conclave key import prepare made. It is opened in the keystore at once:\n" +
			"one for another wrapping key, altered, or of the wrong length is refused before anybody approves it.",
	}
	f := importFlagsOf(c)
	blob := c.Flags().String("blob", "", "file with the wrapped key")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		raw, err := readSmall(*blob, maxPublicFile)
		if err != nil {
			return err
		}
		b, err := importfile.ParseBlob(raw)
		if err != nil {
			return fmt.Errorf("%s: %w", *blob, err)
		}
		if err := s.loadTrust(); err != nil {
			return err
		}
		if b.Instance != s.trust.Instance {
			return fmt.Errorf("%s: it is for another instance", *blob)
		}
		params, err := f.collect(args[0])
		if err != nil {
			return err
		}
		if about, isNew := params["new"].(map[string]any); isNew {
			if _, given := about["algorithm"]; !given {
				about["algorithm"] = b.Algorithm
			}
		}
		params["wrapping_key"], params["wrapped"] = b.WrappingKey, base64.StdEncoding.EncodeToString(b.Wrapped)
		return s.propose("key.import", params, *f.reason)
	})
	return must(c, "blob", "reason")
}

func importPublic() *cobra.Command {
	c := &cobra.Command{
		Use: "public WRAPPING-KEY", Short: "Fetch the public half of a wrapping key, signed by the node, for the machine that prepares a key", Args: exactly("WRAPPING-KEY"),
	}
	out := c.Flags().StringP("out", "o", "", "file to write")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectPerson(); err != nil {
			return err
		}
		envelope, err := s.client.WrappingKeyFile(s.ctx, args[0])
		if err != nil {
			return err
		}
		w, err := importfile.Open(envelope, s.trust, s.clock.Now())
		if err != nil {
			return err
		}
		if err := ledger.WriteFileAtomic(*out, append(envelope, '\n'), 0o644); err != nil {
			return err
		}
		return s.show(w, func(out io.Writer) { writeWrappingKey(out, w) })
	})
	return must(c, "out")
}

func writeWrappingKey(out io.Writer, w *importfile.WrappingKey) {
	facts(out, "wrapping key", w.WrappingKey, "keystore", w.Keystore, "instance", w.Instance, "stated by node", w.Node, "algorithm", string(w.Algorithm),
		"public half SHA-256", w.Fingerprint(), "check value", w.CheckValue, "expires", when(w.ExpiresAt))
}

// prepared is what the offline helper made, for people to pass on.
type prepared struct {
	File        string `json:"file"`
	Algorithm   string `json:"algorithm"`
	CheckValue  string `json:"check_value"`
	WrappingKey string `json:"wrapping_key"`
}

func importPrepare() *cobra.Command {
	c := &cobra.Command{
		Use: "prepare PUBLIC-FILE", Short: "Wrap a key on a machine without the service (offline)", Args: exactly("PUBLIC-FILE"),
		Long: "Wraps a key for the wrapping key in PUBLIC-FILE, which must be signed by a node that the trust file pins, and writes\n" +
			"a file that conclave key import wrapped takes. Nothing is contacted. The key comes from a file (32 bytes of AES-256 as they\n" +
			"are; an HMAC key; PKCS #8 DER for pairs), or is generated here and kept nowhere else. Pass the check value that it prints to the\n" +
			"second person by another way than the file.",
	}
	keyIn := c.Flags().String("key-material", "", "file with the key: raw bytes, or PKCS #8 (DER) for pairs")
	generate := c.Flags().Bool("generate", false, "make a new key here")
	algorithm := c.Flags().String("algorithm", string(hsm.AES256), "what the key is")
	out := c.Flags().StringP("out", "o", "", "file to write")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if (*keyIn == "") == !*generate {
			return usagef("key-material: give a file, or --generate, and not both")
		}
		if err := s.loadTrust(); err != nil {
			return err
		}
		raw, err := readSmall(args[0], maxPublicFile)
		if err != nil {
			return err
		}
		w, err := importfile.Open(raw, s.trust, s.clock.Now())
		if err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		s.say("Wrapping key %s of keystore %s, SHA-256 %s: signed by node %s, which the trust file pins.", w.WrappingKey, w.Keystore, w.Fingerprint(), w.Node)
		key, err := materialOf(*keyIn, hsm.Spec(*algorithm))
		if err != nil {
			return err
		}
		defer key.Wipe()
		blob, err := importfile.Prepare(w, hsm.Spec(*algorithm), key)
		if err != nil {
			return err
		}
		encoded, err := blob.Encode()
		if err != nil {
			return err
		}
		if err := ledger.WriteFileAtomic(*out, encoded, 0o644); err != nil {
			return err
		}
		done := prepared{File: *out, Algorithm: string(blob.Algorithm), CheckValue: blob.CheckValue, WrappingKey: blob.WrappingKey}
		return s.show(done, func(out io.Writer) {
			facts(out, "file", done.File, "algorithm", done.Algorithm, "check value", done.CheckValue, "wrapped for", done.WrappingKey)
		})
	})
	return must(c, "out")
}

// materialOf reads a key, or makes one where there is no file.
func materialOf(path string, spec hsm.Spec) (*secret.Bytes, error) {
	if !spec.Known() {
		return nil, usagef("algorithm: %q; allowed: %v", string(spec), hsm.Specs())
	}
	if path != "" {
		raw, err := readSmall(path, maxSecretFile)
		if err != nil {
			return nil, err
		}
		return secret.New(raw), nil
	}
	if n := keywrap.KeyBytes(spec); n > 0 {
		return secret.Random(n), nil
	}
	private, _, err := keypair.Generate(spec)
	return private, err
}

func importWrappingKeys() *cobra.Command {
	return &cobra.Command{
		Use: "wrapping-keys", Short: "List wrapping keys, open and ended", Args: exactly(),
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			if err := s.connectAny(); err != nil {
				return err
			}
			list, err := s.client.WrappingKeys(s.ctx)
			if err != nil {
				return err
			}
			return s.show(list, func(w io.Writer) {
				var rows [][]string
				for _, k := range list {
					rows = append(rows, []string{k.ID, k.Keystore, k.Status, k.Algorithm, k.CheckValue, when(k.ExpiresAt), k.CreatedBy, orDash(k.UsedBy), maybe(k.DestroyedAt)})
				}
				table(w, []string{"WRAPPING KEY", "KEYSTORE", "STATUS", "ALGORITHM", "CHECK VALUE", "EXPIRES", "BY", "USED BY", "PRIVATE HALF GONE"}, rows)
			})
		}),
	}
}

// originWords says where a version was made, and of what came from outside whether somebody confirmed it.
func originWords(v *api.Version) string {
	switch {
	case v.Import == nil:
		return v.Origin
	case v.Import.ConfirmedBy == "":
		return v.Origin + ", unconfirmed"
	}
	return v.Origin + ", confirmed by " + v.Import.ConfirmedBy
}

// errDiffers: what was entered is not what the form states.
var errDiffers = errors.New("check value differs")
