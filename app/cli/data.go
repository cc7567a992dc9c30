package cli

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"conclave/app/client/filecrypt"
)

func dataKeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "datakey KEY", Short: "Ask for a data key", Args: exactly("KEY"),
		Long: "Asks for a data key, wrapped under KEY. With --plaintext the data key itself is shown too, in base64:\n" +
			"mind where standard output goes.",
	}
	f := c.Flags()
	n := f.Int("bytes", 32, "length of the data key")
	plaintext := f.Bool("plaintext", false, "show the data key itself")
	encryptionContext := f.StringToString("context", nil, "field=value bound to the data key; repeat for more")
	reason := f.String("reason-code", "", reasonCodeHelp)
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if err := s.connectToken(); err != nil {
			return err
		}
		caller := s.client.WithReasonCode(*reason)
		ask := caller.WrappedDataKey
		if *plaintext {
			ask = caller.DataKey
		}
		dk, err := ask(s.ctx, args[0], *n, *encryptionContext)
		if err != nil {
			return err
		}
		defer dk.Plaintext.Wipe()
		out := struct {
			Key        string `json:"key"`
			Version    uint32 `json:"version"`
			Plaintext  string `json:"plaintext,omitempty"`
			Ciphertext string `json:"ciphertext"`
			Warning    string `json:"warning,omitempty"`
		}{Key: dk.Key, Version: dk.Version, Ciphertext: base64.StdEncoding.EncodeToString(dk.Ciphertext), Warning: dk.Warning}
		if dk.Plaintext != nil {
			err := dk.Plaintext.Use(func(b []byte) error {
				out.Plaintext = base64.StdEncoding.EncodeToString(b)
				return nil
			})
			if err != nil {
				return err
			}
		}
		return s.show(out, func(w io.Writer) {
			facts(w, "key", out.Key, "version", number(out.Version), "plaintext", out.Plaintext, "ciphertext", out.Ciphertext, "warning", out.Warning)
		})
	})
	return c
}

// progressInterval is the least time between two drawings of a progress bar.
const progressInterval = 100 * time.Millisecond

// fileJob is what encrypt, decrypt and rewrap have in common.
type fileJob struct {
	out               string
	force             bool
	key               string
	encryptionContext map[string]string
	acceptRisk        bool
	reason            string
	byPerson          bool // a person may do it, by emergency access
}

// reasonCodeHelp: conclave policy show lists the codes with the rules that ask for them.
const reasonCodeHelp = "why, as a reason code of the policy; where policy asks for one, and with --accept-risk"

func (j *fileJob) common(c *cobra.Command, contextHelp string) {
	c.Flags().StringVarP(&j.out, "out", "o", "", "file to write, or - for standard output")
	c.Flags().BoolVar(&j.force, "force", false, "replace an existing file")
	c.Flags().StringVar(&j.reason, "reason-code", "", reasonCodeHelp)
	if contextHelp != "" {
		c.Flags().StringToStringVar(&j.encryptionContext, "context", nil, contextHelp)
	}
}

func encryptCommand() *cobra.Command {
	var j fileJob
	c := &cobra.Command{
		Use: "encrypt FILE", Short: "Encrypt a file of any size under a data key", Args: exactly("FILE"),
		Long: "Asks for one data key and encrypts FILE (or - for standard input) with it, in constant memory, to\n" +
			"FILE" + filecrypt.Suffix + " or what -o names. The wrapped data key stands in the file; the format is docs/file-format.md.",
	}
	c.Flags().StringVar(&j.key, "key", "", "key that wraps the data key")
	j.common(c, "field=value bound to the file, readable in it; repeat for more")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if j.out == "" {
			j.out = args[0] + filecrypt.Suffix
			if args[0] == filecrypt.Std {
				j.out = filecrypt.Std
			}
		}
		return s.runFile("Encrypting", args[0], j, func(job filecrypt.Job) (filecrypt.Done, error) {
			return filecrypt.EncryptFile(s.ctx, s.client.WithReasonCode(j.reason), job)
		})
	})
	return must(c, "key")
}

func decryptCommand() *cobra.Command {
	j := fileJob{byPerson: true}
	c := &cobra.Command{
		Use: "decrypt FILE", Short: "Decrypt a file made by encrypt", Args: exactly("FILE"),
		Long: "Decrypts FILE (or - for standard input). The result appears under its name only once everything was\n" +
			"verified; standard output gets verified parts as they come, and only exit code 0 says that it is whole.\n" +
			"Applications bring a token. A person with --key-file decrypts by emergency access (conclave breakglass).",
	}
	j.common(c, "field=value that the file must be bound to; repeat for more")
	c.Flags().BoolVar(&j.acceptRisk, "accept-risk", false, "decrypt under a suspended key what was protected before its suspension")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if j.out == "" {
			j.out = filecrypt.DecryptedName(args[0])
			if args[0] == filecrypt.Std {
				j.out = filecrypt.Std
			}
			if j.out == "" {
				return usagef("out: missing; the name %s does not end in %s: give -o FILE", args[0], filecrypt.Suffix)
			}
		}
		return s.runFile("Decrypting", args[0], j, func(job filecrypt.Job) (filecrypt.Done, error) {
			return filecrypt.DecryptFile(s.ctx, s.client.WithReasonCode(j.reason), job)
		})
	})
	return c
}

func rewrapCommand() *cobra.Command {
	var j fileJob
	c := &cobra.Command{
		Use: "rewrap FILE", Short: "Put an encrypted file's data key under its key's current version", Args: exactly("FILE"),
		Long: "Replaces the wrapped data key in FILE by one under the key's current version, in place or to -o. The\n" +
			"content is copied as it is; neither it nor the data key is opened here.",
	}
	c.Flags().StringVar(&j.key, "key", "", "key that the file is under")
	j.common(c, "")
	c.RunE = action(func(s *session, _ *cobra.Command, args []string) error {
		if j.out == "" {
			j.out, j.force = args[0], true
		}
		return s.runFile("Rewrapping", args[0], j, func(job filecrypt.Job) (filecrypt.Done, error) {
			return filecrypt.RewrapFile(s.ctx, s.client.WithReasonCode(j.reason), job)
		})
	})
	return must(c, "key")
}

func (s *session) runFile(what, in string, j fileJob, run func(filecrypt.Job) (filecrypt.Done, error)) error {
	connect := s.connectToken
	if j.byPerson && s.settings[setKeyFile] != "" {
		connect = s.connectPerson
	}
	if err := connect(); err != nil {
		return err
	}
	s.say("%s %s to %s.", what, in, j.out)
	progress, finish := s.progress(in)
	done, err := run(filecrypt.Job{
		In: in, Out: j.out, Stdin: s.in, Stdout: s.out, Force: j.force, Key: j.key, Context: j.encryptionContext,
		AcceptRisk: j.acceptRisk, Progress: progress,
	})
	finish()
	if err != nil {
		return err
	}
	if done.Warning != "" {
		s.say("warning: %s", done.Warning)
	}
	// Standard output may carry the file itself.
	s.say("Done: %d bytes under %s version %d.", done.Bytes, done.Key, done.Version)
	return nil
}

// progress shows a bar on a terminal, and nothing elsewhere.
func (s *session) progress(in string) (report func(int64), finish func()) {
	file, ok := s.err.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, func() {}
	}
	size := int64(-1)
	if info, err := os.Stat(in); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	bar := progressbar.NewOptions64(size, progressbar.OptionSetWriter(s.err), progressbar.OptionShowBytes(true),
		progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(progressInterval))
	return func(n int64) { _ = bar.Set64(n) }, func() { _ = bar.Finish(); fmt.Fprint(s.err, "\r") }
}
