package cli

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"conclave/app/api"
	"conclave/app/client/filecrypt"
	"conclave/custodian"
)

// errNotValid ends a command whose answer is no.
var errNotValid = errors.New("not valid")

// maxSignatureFile bounds what is read as a signature, a MAC or a ciphertext, in bytes.
const maxSignatureFile = 64 << 10

func signCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "sign KEY FILE", Short: "Sign a file with a signature key", Args: exactly("KEY", "FILE"),
		Long: "Signs FILE (or - for standard input) and writes the signature in its standard form to -o, or shows it in\n" +
			"base64. Files over 64 KiB are hashed here and signed by their digest; Ed25519 takes no digest. Keep the\n" +
			"version that is shown: verifying names it.",
	}
	out, hashName, reason := c.Flags().StringP("out", "o", "", "file for the signature"), hashFlag(c), reasonFlag(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectToken(); err != nil {
			return err
		}
		in, err := s.signingInput(args[1], *hashName)
		if err != nil {
			return err
		}
		signed, err := s.client.Sign(s.ctx, args[0], api.SignRequest{Message: in.message, Digest: in.digest, Hash: in.hash, Reason: *reason})
		if err != nil {
			return err
		}
		if err := s.keep(*out, signed.Signature); err != nil {
			return err
		}
		return s.show(signed, func(w io.Writer) {
			facts(w, "key", signed.Key, "version", number(signed.Version), "algorithm", signed.Algorithm, "hash", orDash(signed.Hash),
				"signature", base64.StdEncoding.EncodeToString(signed.Signature), "warning", signed.Warning)
		})
	})
	return c
}

func verifySignatureCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "verify-signature KEY FILE", Short: "Verify a file's signature; exit code 1 where it is not valid", Args: exactly("KEY", "FILE"),
	}
	signature, version, hashName, reason := c.Flags().String("signature", "", "file with the signature"), versionFlag(c), hashFlag(c), reasonFlag(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectToken(); err != nil {
			return err
		}
		sig, err := readSmall(*signature, maxSignatureFile)
		if err != nil {
			return err
		}
		in, err := s.signingInput(args[1], *hashName)
		if err != nil {
			return err
		}
		answer, err := s.client.Verify(s.ctx, args[0], api.VerifyRequest{Version: *version, Message: in.message, Digest: in.digest, Hash: in.hash, Signature: sig, Reason: *reason})
		return s.verdict(answer, err)
	})
	return must(must(c, "signature"), "version")
}

func macCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "mac KEY FILE", Short: "Authenticate a file of up to 64 KiB with an HMAC key", Args: exactly("KEY", "FILE"),
	}
	out, reason := c.Flags().StringP("out", "o", "", "file for the MAC"), reasonFlag(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectToken(); err != nil {
			return err
		}
		message, err := s.message(args[1])
		if err != nil {
			return err
		}
		made, err := s.client.MAC(s.ctx, args[0], api.MACRequest{Message: message, Reason: *reason})
		if err != nil {
			return err
		}
		if err := s.keep(*out, made.MAC); err != nil {
			return err
		}
		return s.show(made, func(w io.Writer) {
			facts(w, "key", made.Key, "version", number(made.Version), "algorithm", made.Algorithm,
				"mac", base64.StdEncoding.EncodeToString(made.MAC), "warning", made.Warning)
		})
	})
	return c
}

func verifyMACCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "verify-mac KEY FILE", Short: "Verify a file's MAC; exit code 1 where it is not valid", Args: exactly("KEY", "FILE"),
	}
	mac, version, reason := c.Flags().String("mac", "", "file with the MAC"), versionFlag(c), reasonFlag(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectToken(); err != nil {
			return err
		}
		tag, err := readSmall(*mac, maxSignatureFile)
		if err != nil {
			return err
		}
		message, err := s.message(args[1])
		if err != nil {
			return err
		}
		answer, err := s.client.VerifyMAC(s.ctx, args[0], api.VerifyMACRequest{Version: *version, Message: message, MAC: tag, Reason: *reason})
		return s.verdict(answer, err)
	})
	return must(must(c, "mac"), "version")
}

func dataKeyPairCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "datakeypair KEY", Short: "Ask for a key pair whose private half is wrapped under KEY", Args: exactly("KEY"),
		Long: "Asks for a key pair of --algorithm. The public half comes in the clear, the private half wrapped under KEY;\n" +
			"with --plaintext it is shown too, as PKCS #8 in base64: mind where standard output goes.",
	}
	f := c.Flags()
	algorithm := f.String("algorithm", "ecdsa-p256", "what pair: ecdsa-p256, ecdsa-p384, ed25519, rsa-pss-3072, …")
	plaintext := f.Bool("plaintext", false, "show the private half itself")
	encryptionContext := f.StringToString("context", nil, "field=value bound to the private half; repeat for more")
	reason := reasonFlag(c)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectToken(); err != nil {
			return err
		}
		pair, err := s.client.DataKeyPair(s.ctx, args[0], api.DataKeyPairRequest{Algorithm: *algorithm, Context: *encryptionContext, Plaintext: *plaintext, Reason: *reason})
		if err != nil {
			return err
		}
		defer pair.Private.Wipe()
		out := struct {
			Key        string `json:"key"`
			Version    uint32 `json:"version"`
			Algorithm  string `json:"algorithm"`
			Public     string `json:"public"`
			Private    string `json:"plaintext,omitempty"`
			Ciphertext string `json:"ciphertext"`
			Warning    string `json:"warning,omitempty"`
		}{Key: pair.Key, Version: pair.Version, Algorithm: pair.Algorithm, Public: base64.StdEncoding.EncodeToString(pair.Public),
			Ciphertext: base64.StdEncoding.EncodeToString(pair.Ciphertext), Warning: pair.Warning}
		if pair.Private != nil {
			err := pair.Private.Use(func(b []byte) error {
				out.Private = base64.StdEncoding.EncodeToString(b)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return s.show(out, func(w io.Writer) {
			facts(w, "key", out.Key, "version", number(out.Version), "algorithm", out.Algorithm, "public half", out.Public,
				"private half", out.Private, "ciphertext", out.Ciphertext, "warning", out.Warning)
		})
	})
	return c
}

func keyPublic() *cobra.Command {
	c := &cobra.Command{
		Use: "public KEY", Short: "Show the public halves of a pair's versions", Args: exactly("KEY"),
		Long: "Shows the public halves of all versions. With --version and --pem only that one, as PEM for other tools.",
	}
	version, pem := versionFlag(c), c.Flags().Bool("pem", false, "the PEM of --version and nothing else")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectAny(); err != nil {
			return err
		}
		keys, err := s.client.PublicKeys(s.ctx, args[0])
		if err != nil {
			return err
		}
		if *pem {
			for _, k := range keys.Items {
				if k.Version == *version {
					_, err := io.WriteString(s.out, k.PEM)
					return err
				}
			}
			return usagef("version: %d; allowed: 1 to %d", *version, len(keys.Items))
		}
		return s.show(keys, func(w io.Writer) {
			var rows [][]string
			for _, k := range keys.Items {
				rows = append(rows, []string{number(k.Version), k.State, keys.Algorithm, k.CheckValue, day(k.OUPEnd), day(k.RUPEnd)})
			}
			table(w, []string{"VERSION", "STATE", "ALGORITHM", "CHECK VALUE", "SIGNS UNTIL", "VERIFIES UNTIL"}, rows)
			for _, k := range keys.Items {
				fmt.Fprintf(w, "\nversion %d\n%s", k.Version, clean(strings.TrimSpace(k.PEM))+"\n")
			}
		})
	})
	return c
}

func versionFlag(c *cobra.Command) *uint32 {
	return c.Flags().Uint32("version", 0, "key version it is of")
}

func hashFlag(c *cobra.Command) *string {
	return c.Flags().String("hash", "", "sha-256, sha-384 or sha-512; default: the one that goes with the key")
}

func reasonFlag(c *cobra.Command) *string {
	return c.Flags().String("reason", "", "reason code, where policy asks for one")
}

// verdict shows whether something was valid, and makes the exit code say it.
func (s *session) verdict(answer api.VerifyResponse, err error) error {
	if err != nil {
		return err
	}
	err = s.show(answer, func(w io.Writer) {
		word := "not valid"
		if answer.Valid {
			word = "valid"
		}
		facts(w, "key", answer.Key, "version", number(answer.Version), "answer", word)
	})
	if err == nil && !answer.Valid {
		return errNotValid
	}
	return err
}

// keep writes a result to a file, where one is named.
func (s *session) keep(path string, b []byte) error {
	if path == "" {
		return nil
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// signed is a file as it is to be signed: the message, or for a long one its digest.
type signed struct {
	message, digest []byte
	hash            string
}

// signingInput reads a file. What is too long to be sent is hashed here, in constant memory.
func (s *session) signingInput(path, hashName string) (signed, error) {
	file, err := s.open(path)
	if err != nil {
		return signed{}, err
	}
	defer file.Close()
	head, err := io.ReadAll(io.LimitReader(file, custodian.MaxMessage+1))
	if err != nil {
		return signed{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(head) <= custodian.MaxMessage {
		return signed{message: head, hash: hashName}, nil
	}
	if hashName == "" {
		return signed{}, usagef("hash: missing; %s is over %d bytes and is signed by its digest: name the hash, e.g. --hash sha-256", path, custodian.MaxMessage)
	}
	digest, err := newHash(hashName)
	if err != nil {
		return signed{}, err
	}
	digest.Write(head)
	if _, err := io.Copy(digest, file); err != nil {
		return signed{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return signed{digest: digest.Sum(nil), hash: hashName}, nil
}

func newHash(name string) (hash.Hash, error) {
	switch name {
	case "sha-256":
		return sha256.New(), nil
	case "sha-384":
		return sha512.New384(), nil
	case "sha-512":
		return sha512.New(), nil
	}
	return nil, usagef("hash: %q; allowed: sha-256, sha-384, sha-512", name)
}

// message reads a file that must go whole.
func (s *session) message(path string) ([]byte, error) {
	file, err := s.open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, custodian.MaxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(b) > custodian.MaxMessage {
		return nil, usagef("%s: over %d bytes; allowed: a MAC of at most that", path, custodian.MaxMessage)
	}
	return b, nil
}

func (s *session) open(path string) (io.ReadCloser, error) {
	if path == filecrypt.Std {
		return io.NopCloser(s.in), nil
	}
	return os.Open(path)
}
