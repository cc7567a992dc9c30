package cli

import (
	"bytes"
	_ "embed" // for the template
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"conclave/app/client"
	"conclave/ceremony/genesis"
	"conclave/ceremony/keyfile"
	"conclave/custodian/amount"
	"conclave/custodian/jwk"
	"conclave/custodian/ledger"
	"conclave/policies"
)

// Bounds of a directory of genesis signatures.
const (
	signatureSuffix   = ".sig"
	maxSignatures     = 1024
	maxSignatureBytes = 128 << 10
)

// Where the template wants people's keys, each with the person's id behind it.
const (
	approvalPlace  = "APPROVAL-KEY-OF-"
	sharePlace     = "SHARE-KEY-OF-"
	maxPublicBytes = 16 << 10
)

func genesisCommand() *cobra.Command {
	return parent("genesis", "Begin an instance: write, sign and check the genesis file", genesisTemplate(), genesisFill(), genesisSign(), genesisCheck())
}

//go:embed genesis-template.yaml
var genesisText string

func genesisTemplate() *cobra.Command {
	return &cobra.Command{
		Use: "template", Short: "Print a genesis file to start from, with comments", Args: exactly(),
		Long: "Prints a genesis file with comments. The digest of the policy that this program carries is filled in; the\n" +
			"keys are put in by genesis fill, or by hand.",
		RunE: action(func(s *session, _ *cobra.Command, _ []string) error {
			digest, err := policies.CarriedDigest()
			if err != nil {
				return err
			}
			_, err = io.WriteString(s.out, strings.Replace(genesisText, "POLICY-DIGEST", digest, 1))
			return err
		}),
	}
}

func genesisFill() *cobra.Command {
	return &cobra.Command{
		Use: "fill FILE PUBLIC…", Short: "Put people's public keys in the places that the template left for them",
		Long: "Puts the keys of each PUBLIC, which is what custodian show --output json prints, into FILE where it says\n" +
			"APPROVAL-KEY-OF-<id> and SHARE-KEY-OF-<id>. Compare the fingerprints that it shows with their owners.",
		Args: cobra.MinimumNArgs(2),
		RunE: action(func(s *session, _ *cobra.Command, args []string) error {
			file, err := readSmall(args[0], genesis.MaxFile)
			if err != nil {
				return fmt.Errorf("reading genesis file: %w", err)
			}
			for _, path := range args[1:] {
				if file, err = fillPerson(file, path, s); err != nil {
					return err
				}
			}
			return ledger.WriteFileAtomic(args[0], file, 0o644)
		}),
	}
}

// fillPerson puts one person's keys in their places.
func fillPerson(file []byte, path string, s *session) ([]byte, error) {
	raw, err := readSmall(path, maxPublicBytes)
	if err != nil {
		return nil, fmt.Errorf("reading public keys: %w", err)
	}
	var p keyfile.Public
	if err := json.Unmarshal(raw, &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("public keys in %s: %w", path, err)
	}
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("public keys in %s: %w", path, err)
	}
	if !bytes.Contains(file, []byte(approvalPlace+p.ID+"\n")) {
		return nil, usagef("%s: the genesis file has no place for %s; it would say approval_key: %s%s", path, p.ID, approvalPlace, p.ID)
	}
	for place, key := range map[string]jwk.Key{approvalPlace: p.ApprovalKey, sharePlace: p.ShareKey} {
		text, err := json.Marshal(key) // JSON is YAML
		if err != nil {
			return nil, fmt.Errorf("public keys in %s: %w", path, err)
		}
		file = bytes.ReplaceAll(file, []byte(place+p.ID+"\n"), append(text, '\n'))
	}
	s.say("%s\n  approval  %s\n  share     %s", p.ID, p.ApprovalFingerprint, p.ShareFingerprint)
	return file, nil
}

func genesisSign() *cobra.Command {
	c := &cobra.Command{
		Use: "sign FILE", Short: "Read a genesis file and sign exactly its bytes", Args: exactly("FILE"),
		Long: "Shows the genesis file and signs it with your key file (--key-file), to FILE.<your id>" + signatureSuffix + ".",
	}
	yes := c.Flags().Bool("yes", false, "sign without asking, once the file has been read")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if s.settings[setKeyFile] == "" {
			return usagef("key-file: missing; give --%s FILE", setKeyFile)
		}
		file, err := readSmall(args[0], genesis.MaxFile)
		if err != nil {
			return fmt.Errorf("reading genesis file: %w", err)
		}
		if bytes.Contains(file, []byte(approvalPlace)) || bytes.Contains(file, []byte(sharePlace)) {
			return usagef("%s still has places for keys, %s…; use: conclave genesis fill %s PUBLIC…", args[0], approvalPlace, args[0])
		}
		if _, err := genesis.Load(file); err != nil {
			return err
		}
		if err := s.unlock(); err != nil {
			return err
		}
		s.say("%s\nSHA-256 %s: compare it with the others who sign.", file, client.Digest(file))
		if err := s.confirm(*yes, fmt.Sprintf("Sign this beginning of an instance as %s?", s.signer.ID())); err != nil {
			return err
		}
		envelope, err := genesis.Sign(s.signer, file)
		if err != nil {
			return err
		}
		path := args[0] + "." + s.signer.ID() + signatureSuffix
		if err := writeNewFile(path, envelope); err != nil {
			return err
		}
		s.say("Signed: %s", path)
		return nil
	})
	return c
}

func genesisCheck() *cobra.Command {
	c := &cobra.Command{
		Use: "check FILE", Short: "Check a genesis file and the signatures of everybody named in it", Args: exactly("FILE"),
	}
	dir := c.Flags().String("signatures", "", "directory with the signatures (*"+signatureSuffix+")")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		file, err := readSmall(args[0], genesis.MaxFile)
		if err != nil {
			return fmt.Errorf("reading genesis file: %w", err)
		}
		envelopes, err := readSignatures(*dir)
		if err != nil {
			return err
		}
		if _, err := genesis.Check(file, envelopes); err != nil {
			return err
		}
		out := struct {
			Instance   string `json:"instance"`
			Signatures int    `json:"signatures"`
		}{client.Digest(file), len(envelopes)}
		return s.show(out, func(w io.Writer) {
			fmt.Fprintf(w, "Good: everybody named signed instance %s (%s).\n", out.Instance, amount.Of(out.Signatures, "signature"))
		})
	})
	return must(c, "signatures")
}

func readSignatures(dir string) ([][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading signatures: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), signatureSuffix) })
	if len(entries) == 0 || len(entries) > maxSignatures {
		return nil, usagef("signatures: %d files *%s in %s; allowed: 1 to %d", len(entries), signatureSuffix, dir, maxSignatures)
	}
	var envelopes [][]byte
	var failed error
	for _, e := range entries {
		b, err := readSmall(filepath.Join(dir, e.Name()), maxSignatureBytes)
		failed = errors.Join(failed, err)
		envelopes = append(envelopes, b)
	}
	if failed != nil {
		return nil, fmt.Errorf("reading signatures: %w", failed)
	}
	return envelopes, nil
}
