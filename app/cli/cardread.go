package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"conclave/ceremony/card"
	"conclave/ceremony/shamir"
	"conclave/hsm/secret"
)

// cardReader is where a share is read from paper instead of being opened with a key file.
type cardReader struct {
	file, passphraseFile *string
	echo                 *bool
}

// fromTerminal is the name that stands for typing and scanning.
const fromTerminal = "-"

func cardFlags(c *cobra.Command) *cardReader {
	return &cardReader{
		file: c.Flags().String("card", "", "read the share from its card instead: - to type it line by line or to scan its QR code,\n"+
			"or a file with its text"),
		passphraseFile: c.Flags().String("card-passphrase-file", "", "file with the passphrase of the card, where it has one; default: asked for"),
		echo:           c.Flags().Bool("card-echo", false, "show what is typed of a card; the terminal then keeps it"),
	}
}

// read takes the share off the card; nil where no card is used. It is wiped with the session.
func (r *cardReader) read(s *session) (*shamir.Share, error) {
	if *r.file == "" {
		return nil, nil
	}
	c, err := r.card(s)
	if err != nil {
		return nil, err
	}
	defer c.Wipe()
	share, err := r.open(s, c)
	if err != nil {
		return nil, err
	}
	s.closes = append(s.closes, share.Wipe)
	s.say("Read %s from its card.", share)
	return share, nil
}

// card reads the card's text, from a file, a pipe, or a person.
func (r *cardReader) card(s *session) (*card.Card, error) {
	if *r.file != fromTerminal {
		text, err := readPrivate(*r.file)
		if err != nil {
			return nil, err
		}
		defer text.Wipe()
		return card.Read(text)
	}
	if file, ok := s.in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return r.typed(s, int(file.Fd()))
	}
	b, err := io.ReadAll(io.LimitReader(s.in, maxCardText))
	if err != nil {
		return nil, fmt.Errorf("reading card: %w", err)
	}
	text := secret.New(b)
	defer text.Wipe()
	return card.Read(text)
}

// maxCardText bounds what is read of a card.
const maxCardText = 16 << 10

// readPrivate reads a file with a card's text, after checking that nobody else may.
func readPrivate(path string) (*secret.Bytes, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("card: %s has mode %04o: others may read the share in it; run: chmod 600 %s", path, mode.Perm(), path)
	}
	b, err := readSmall(path, maxCardText)
	if err != nil {
		return nil, err
	}
	return secret.New(b), nil
}

// typed asks for one line after the other. A line that is not right is asked for again; a scanner gives them all at once.
func (r *cardReader) typed(s *session, fd int) (*card.Card, error) {
	hidden := ", which is not shown"
	read := func() ([]byte, error) { return term.ReadPassword(fd) }
	if *r.echo {
		hidden = ""
		lines := bufio.NewReader(s.in)
		read = func() ([]byte, error) { return lines.ReadBytes('\n') }
	}
	s.say("Type the card line by line%s, or scan its QR code. An empty line gives up.", hidden)
	var reader card.Reader
	defer reader.Wipe()
	for !reader.Done() {
		of := ""
		if n := reader.Lines(); n > 0 {
			of = fmt.Sprintf(" of %d", n)
		}
		fmt.Fprintf(s.err, "Line %d%s: ", reader.Next(), of)
		line, err := read()
		if !*r.echo {
			fmt.Fprintln(s.err)
		}
		if err != nil {
			return nil, fmt.Errorf("reading card: %w", err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return nil, usagef("card: given up at line %d", reader.Next())
		}
		err = addLines(&reader, line)
		secret.Wipe(line)
		var wrong *card.LineError
		switch {
		case errors.As(err, &wrong):
			s.say("%v", err)
		case err != nil:
			return nil, err
		}
	}
	return reader.Card()
}

// addLines takes what was typed at once: one line, or what a scanner reads.
func addLines(reader *card.Reader, typed []byte) error {
	for line := range bytes.SplitSeq(bytes.TrimSpace(typed), []byte{card.LineBreak}) {
		if err := reader.Add(line); err != nil {
			return err
		}
	}
	return nil
}

// cardTries is how often a passphrase is asked for: a long card is not typed again for a slip.
const cardTries = 3

func (r *cardReader) open(s *session, c *card.Card) (*shamir.Share, error) {
	if !c.Protected() {
		return c.Open(nil)
	}
	for try := 1; ; try++ {
		phrase, err := s.cardPassphrase(*r.passphraseFile, fmt.Sprintf("Passphrase of the %s: ", c))
		if err != nil {
			return nil, err
		}
		share, err := c.Open(phrase)
		phrase.Wipe()
		if !errors.Is(err, card.ErrPassphrase) || *r.passphraseFile != "" || try == cardTries {
			return share, err
		}
		s.say("%v", err)
	}
}

// cardPassphrase is a card's own passphrase. That of the key file is never taken for it.
func (s *session) cardPassphrase(path, prompt string) (*secret.Bytes, error) {
	if path == "" {
		return s.ask(prompt, "card-passphrase: no terminal to ask on; give --card-passphrase-file FILE")
	}
	p, err := readSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usagef("card-passphrase-file: %v", err)
	}
	return p, err
}
