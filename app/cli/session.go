package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"conclave/app/client"
	"conclave/ceremony/keyfile"
	"conclave/custodian/clock"
	"conclave/custodian/ledger"
	"conclave/hsm/secret"
)

const maxSecretFile = 4 << 10

// session is one run of one command: its settings, streams, and what it opened.
type session struct {
	ctx      context.Context
	settings settings
	in       io.Reader
	out, err io.Writer
	clock    clock.Clock
	getenv   func(string) string

	trust         *ledger.TrustFile
	pinnedLogKeys []string // those that the trust file names itself
	signer        *keyfile.Signer
	client        *client.Client
	closes        []func()
}

// action adapts a command body to cobra: it opens the session and closes what the body opened.
func action(f func(s *session, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s := &session{
			ctx: cmd.Context(), in: cmd.InOrStdin(), out: cmd.OutOrStdout(), err: cmd.ErrOrStderr(),
			clock: clock.NewSystem(), getenv: os.Getenv,
		}
		if s.ctx == nil {
			s.ctx = context.Background()
		}
		defer s.close()
		var err error
		if s.settings, err = resolve(cmd.Flags(), s.getenv); err != nil {
			return err
		}
		return f(s, cmd, args)
	}
}

func (s *session) close() {
	for i := len(s.closes) - 1; i >= 0; i-- {
		s.closes[i]()
	}
}

// say tells what is about to happen, or how it went on, apart from results.
func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.err, "%s\n", clean(fmt.Sprintf(format, args...)))
}

// connectToken opens the client with a token, for the data plane.
func (s *session) connectToken() error {
	token, err := s.token()
	if err != nil {
		return err
	}
	if token == nil {
		return usagef("token: missing; give --%s FILE or CONCLAVE_TOKEN", setTokenFile)
	}
	return s.dial(client.Config{Token: token})
}

// connectAny opens the client as the person whose key file is configured, else with a token. Where a trust
// file is configured the ledger is held against everything seen before.
func (s *session) connectAny() error {
	if s.settings[setKeyFile] != "" {
		return s.connectPerson()
	}
	token, err := s.token()
	if err != nil {
		return err
	}
	if token == nil {
		return usagef("credentials: missing; give --%s FILE as a person, or --%s FILE as an application or auditor", setKeyFile, setTokenFile)
	}
	if err := s.dial(client.Config{Token: token}); err != nil {
		return err
	}
	if s.settings[setTrust] == "" {
		return nil
	}
	return s.checkLedger()
}

// connectPerson opens the client as a person. It takes a trust file, since signatures are made for one
// pinned instance, never for whatever a server says it is.
func (s *session) connectPerson() error {
	if s.settings[setKeyFile] == "" {
		return usagef("key-file: missing; this is done by a person: give --%s FILE", setKeyFile)
	}
	if err := s.loadTrust(); err != nil {
		return err
	}
	if err := s.unlock(); err != nil {
		return err
	}
	err := s.dial(client.Config{Signer: s.signer, Person: s.signer.ID(), Instance: s.trust.Instance})
	if err != nil {
		return err
	}
	return s.checkLedger()
}

// connectOptional uses the credentials that are configured, and none where none are.
func (s *session) connectOptional() error {
	if s.settings[setKeyFile] != "" || s.settings[setToken] != "" || s.settings[setTokenFile] != "" {
		return s.connectAny()
	}
	return s.dial(client.Config{})
}

func (s *session) dial(cfg client.Config) (err error) {
	cfg.URL, cfg.CAFile = s.settings[setURL], s.settings[setCA]
	cfg.CertFile, cfg.KeyFile = s.settings[setClientCert], s.settings[setClientKey]
	cfg.Clock, cfg.UserAgent = s.clock, "conclave-cli"
	if s.client, err = client.New(cfg); err != nil {
		return err
	}
	s.closes = append(s.closes, s.client.Close)
	return nil
}

func (s *session) checkLedger() error {
	if err := s.loadTrust(); err != nil {
		return err
	}
	_, _, err := s.seeLedger()
	if errors.Is(err, ledger.ErrRollback) || errors.Is(err, ledger.ErrFork) {
		return fmt.Errorf("%w\nWhere the instance was restored from a backup, `conclave ledger accept-recovery` judges that", err)
	}
	return err
}

// seeLedger holds the service's ledger against what is known of it; after it the session trusts the log keys that were
// shown to succeed those which the trust file pins.
func (s *session) seeLedger() (ledger.Head, []byte, error) {
	head, note, err := s.client.CheckLedger(s.ctx, s.trust, s.settings[setStateDir])
	if err == nil {
		s.trust, err = client.Followed(s.trust, s.settings[setStateDir])
	}
	return head, note, err
}

func (s *session) loadTrust() (err error) {
	if s.trust != nil {
		return nil
	}
	if s.settings[setTrust] == "" {
		return usagef("trust: missing; give --%s FILE, the trust file made at genesis, received from somebody you know", setTrust)
	}
	if s.trust, err = ledger.LoadTrustFile(s.settings[setTrust]); err == nil {
		s.pinnedLogKeys = s.trust.LogKeys
	}
	return err
}

// unlock opens the person's key file.
func (s *session) unlock() error {
	path := s.settings[setKeyFile]
	owner, _, err := keyfile.Owner(path)
	if err != nil {
		return err
	}
	passphrase, err := s.passphrase(fmt.Sprintf("Passphrase of %s's key file: ", owner))
	if err != nil {
		return err
	}
	defer passphrase.Wipe()
	if s.signer, err = keyfile.Open(path, passphrase); err != nil {
		return err
	}
	s.closes = append(s.closes, s.signer.Wipe)
	return nil
}

func (s *session) token() (*secret.Bytes, error) {
	if t := s.settings[setToken]; t != "" {
		return secret.New([]byte(strings.TrimSpace(t))), nil
	}
	path := s.settings[setTokenFile]
	if path == "" {
		return nil, nil
	}
	t, err := readSecret(path)
	if err != nil {
		return nil, fmt.Errorf("reading token file: %w", err)
	}
	return t, nil
}

// passphrase comes from a file, the environment, or a prompt on the terminal, in this order.
func (s *session) passphrase(prompt string) (*secret.Bytes, error) {
	if path := s.settings[setPassphraseFile]; path != "" {
		p, err := readSecret(path)
		if err != nil {
			return nil, fmt.Errorf("reading passphrase file: %w", err)
		}
		return p, nil
	}
	if p := s.getenv(envPassphrase); p != "" {
		return secret.New([]byte(p)), nil
	}
	return s.ask(prompt, fmt.Sprintf("passphrase: no terminal to ask on; give --%s FILE or %s", setPassphraseFile, envPassphrase))
}

// ask reads a secret from the terminal, without showing it; alone says what to do where there is none.
func (s *session) ask(prompt, alone string) (*secret.Bytes, error) {
	file, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil, usagef("%s", alone)
	}
	fmt.Fprint(s.err, clean(prompt))
	b, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(s.err)
	if err != nil {
		return nil, fmt.Errorf("reading passphrase: %w", err)
	}
	return secret.New(b), nil
}

// newPassphrase asks twice when it has to ask.
func (s *session) newPassphrase() (*secret.Bytes, error) {
	if s.settings[setPassphraseFile] != "" || s.getenv(envPassphrase) != "" {
		return s.passphrase("")
	}
	return twice(s.passphrase)
}

// twice asks for a new passphrase and for the same again.
func twice(ask func(prompt string) (*secret.Bytes, error)) (*secret.Bytes, error) {
	first, err := ask("New passphrase: ")
	if err != nil {
		return nil, err
	}
	second, err := ask("The same again: ")
	if err != nil {
		first.Wipe()
		return nil, err
	}
	defer second.Wipe()
	if !first.Equal(second) {
		first.Wipe()
		return nil, usagef("passphrase: the two entries differ")
	}
	return first, nil
}

// confirm asks for a yes. Without a terminal there is nobody to ask: --yes must say it.
func (s *session) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	file, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return usagef("%s Nobody is there to answer: add --yes once you have read what is shown", question)
	}
	fmt.Fprintf(s.err, "%s [yes/no] ", clean(question))
	line, err := bufio.NewReader(io.LimitReader(s.in, 64)).ReadString('\n')
	if err != nil {
		return fmt.Errorf("reading answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return usagef("not confirmed; nothing was done")
	}
	return nil
}

func readSecret(path string) (*secret.Bytes, error) {
	b, err := readSmall(path, maxSecretFile)
	if err != nil {
		return nil, err
	}
	trimmed := bytes.Clone(bytes.TrimRight(b, "\r\n"))
	secret.Wipe(b)
	return secret.New(trimmed), nil
}

func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: over %d bytes", path, limit)
	}
	return b, nil
}
